using System.Numerics;

namespace ClipCuda.Ptx;

// Integer instructions that run lane by lane: 16-bit arithmetic, bit fields, permutations, high products. Definitions: PTX ISA 9.7.1 (integer
// arithmetic) and 9.7.8 (logic and shift).
internal static class IntegerRows
{
    public static void AddTo(Dictionary<string, InstructionRow> rows)
    {
        var add = new RowBuilder(rows);
        add.Binary<ushort, AddShort>("add.s16", "add.u16");
        add.Binary<ushort, SubtractShort>("sub.s16", "sub.u16");
        add.Binary<ushort, MultiplyShort>("mul.lo.s16", "mul.lo.u16");
        add.Ternary<ushort, MultiplyAddShort>("mad.lo.s16", "mad.lo.u16");
        add.Binary<short, Least<short>>("min.s16");
        add.Binary<ushort, Least<ushort>>("min.u16");
        add.Binary<short, Greatest<short>>("max.s16");
        add.Binary<ushort, Greatest<ushort>>("max.u16");
        add.Binary<short, Divide<short>>("div.s16");
        add.Binary<ushort, Divide<ushort>>("div.u16");
        add.Binary<short, Remainder<short>>("rem.s16");
        add.Binary<ushort, Remainder<ushort>>("rem.u16");
        add.Unary<ushort, ushort, Opposite<ushort>>("neg.s16");
        add.Unary<short, ushort, Magnitude16>("abs.s16");
        add.Unary<ushort, ushort, Complement16>("not.b16");
        add.MixedBinary<ushort, uint, ushort, ShiftLeft16>("shl.b16");
        add.MixedBinary<ushort, uint, ushort, ShiftRight16>("shr.u16", "shr.b16");
        add.MixedBinary<short, uint, short, ShiftRightSigned16>("shr.s16");
        add.MixedBinary<short, short, int, MultiplyWide16>("mul.wide.s16");
        add.MixedBinary<ushort, ushort, uint, MultiplyWideUnsigned16>("mul.wide.u16");
        add.MixedTernary<short, short, int, int, MultiplyAddWide16>("mad.wide.s16");
        add.MixedTernary<ushort, ushort, uint, uint, MultiplyAddWideUnsigned16>("mad.wide.u16");
        add.Binary<short, MultiplyHigh<short, int>>("mul.hi.s16");
        add.Binary<ushort, MultiplyHigh<ushort, uint>>("mul.hi.u16");
        Compares<short>(add, "s16");
        Compares<ushort>(add, "u16");
        add.Compare<ushort, HoldsLess<ushort>>("lo", "u16");
        add.Compare<ushort, HoldsLessOrEqual<ushort>>("ls", "u16");
        add.Compare<ushort, HoldsGreater<ushort>>("hi", "u16");
        add.Compare<ushort, HoldsGreaterOrEqual<ushort>>("hs", "u16");
        add.Compare<ushort, HoldsEqual<ushort>>("eq", "b16");
        add.Compare<ushort, HoldsNotEqual<ushort>>("ne", "b16");

        add.Binary<long, MultiplyHigh<long, Int128>>("mul.hi.s64");
        add.Ternary<int, MultiplyAddHigh<int, long>>("mad.hi.s32");
        add.Ternary<uint, MultiplyAddHigh<uint, ulong>>("mad.hi.u32");
        add.Ternary<long, MultiplyAddHigh<long, Int128>>("mad.hi.s64");
        add.Ternary<ulong, MultiplyAddHigh<ulong, UInt128>>("mad.hi.u64");
        add.Ternary<short, AbsoluteDifference<short>>("sad.s16");
        add.Ternary<ushort, AbsoluteDifference<ushort>>("sad.u16");
        add.Ternary<int, AbsoluteDifference<int>>("sad.s32");
        add.Ternary<uint, AbsoluteDifference<uint>>("sad.u32");
        add.Ternary<long, AbsoluteDifference<long>>("sad.s64");
        add.Ternary<ulong, AbsoluteDifference<ulong>>("sad.u64");
        add.Binary<int, AddSaturating>("add.sat.s32");
        add.Binary<int, SubtractSaturating>("sub.sat.s32");

        add.Ternary<int, BitFieldExtractSigned32>("bfe.s32");
        add.MixedTernary<ulong, uint, uint, ulong, BitFieldExtract64>("bfe.u64");
        add.MixedTernary<long, uint, uint, long, BitFieldExtractSigned64>("bfe.s64");
        add.Quaternary<uint, BitFieldInsert32>("bfi.b32");
        add.Quaternary<ulong, BitFieldInsert64>("bfi.b64");
        add.Unary<uint, uint, FindBit<uint>>("bfind.u32");
        add.Unary<int, uint, FindBit<int>>("bfind.s32");
        add.Unary<ulong, uint, FindBit<ulong>>("bfind.u64");
        add.Unary<long, uint, FindBit<long>>("bfind.s64");
        add.Unary<uint, uint, FindBitShift<uint>>("bfind.shiftamt.u32");
        add.Unary<int, uint, FindBitShift<int>>("bfind.shiftamt.s32");
        add.Unary<ulong, uint, FindBitShift<ulong>>("bfind.shiftamt.u64");
        add.Unary<long, uint, FindBitShift<long>>("bfind.shiftamt.s64");
        add.Unary<uint, uint, ReverseBits32>("brev.b32");
        add.Unary<ulong, ulong, ReverseBits64>("brev.b64");
        add.Unary<ulong, uint, PopulationCount64>("popc.b64");
        add.Unary<ulong, uint, LeadingZeros64>("clz.b64");
        add.Ternary<uint, FunnelLeftWrap>("shf.l.wrap.b32");
        add.Ternary<uint, FunnelLeftClamp>("shf.l.clamp.b32");
        add.Ternary<uint, FunnelRightWrap>("shf.r.wrap.b32");
        add.Ternary<uint, FunnelRightClamp>("shf.r.clamp.b32");
        add.Ternary<uint, PermuteBytes>("prmt.b32");
        add.Quaternary<uint, Lookup3>("lop3.b32");
    }

    private static void Compares<T>(RowBuilder add, string type)
        where T : unmanaged, IComparisonOperators<T, T, bool>
    {
        add.Compare<T, HoldsEqual<T>>("eq", type);
        add.Compare<T, HoldsNotEqual<T>>("ne", type);
        add.Compare<T, HoldsLess<T>>("lt", type);
        add.Compare<T, HoldsLessOrEqual<T>>("le", type);
        add.Compare<T, HoldsGreater<T>>("gt", type);
        add.Compare<T, HoldsGreaterOrEqual<T>>("ge", type);
    }
}

internal readonly struct AddShort : IScalarBinary<ushort>
{
    public static ushort Apply(ushort a, ushort b) => (ushort)(a + b);
}

internal readonly struct SubtractShort : IScalarBinary<ushort>
{
    public static ushort Apply(ushort a, ushort b) => (ushort)(a - b);
}

internal readonly struct MultiplyShort : IScalarBinary<ushort>
{
    public static ushort Apply(ushort a, ushort b) => (ushort)((uint)a * b);
}

internal readonly struct MultiplyAddShort : IScalarTernary<ushort>
{
    public static ushort Apply(ushort a, ushort b, ushort c) => (ushort)((uint)a * b + c);
}

internal readonly struct Least<T> : IScalarBinary<T>
    where T : INumber<T>
{
    public static T Apply(T a, T b) => a < b ? a : b;
}

internal readonly struct Greatest<T> : IScalarBinary<T>
    where T : INumber<T>
{
    public static T Apply(T a, T b) => a > b ? a : b;
}

internal readonly struct Opposite<T> : IScalarUnary<T, T>
    where T : IBinaryInteger<T>
{
    public static T Apply(T a) => unchecked(T.Zero - a);
}

internal readonly struct Magnitude16 : IScalarUnary<short, ushort>
{
    public static ushort Apply(short a) => (ushort)(a < 0 ? -a : a);
}

internal readonly struct Complement16 : IScalarUnary<ushort, ushort>
{
    public static ushort Apply(ushort a) => (ushort)~a;
}

internal readonly struct ShiftLeft16 : IMixedBinary<ushort, uint, ushort>
{
    public static ushort Apply(ushort a, uint b) => b > 15 ? (ushort)0 : (ushort)(a << (int)b);
}

internal readonly struct ShiftRight16 : IMixedBinary<ushort, uint, ushort>
{
    public static ushort Apply(ushort a, uint b) => b > 15 ? (ushort)0 : (ushort)(a >> (int)b);
}

internal readonly struct ShiftRightSigned16 : IMixedBinary<short, uint, short>
{
    public static short Apply(short a, uint b) => (short)(a >> (int)Math.Min(b, 15));
}

internal readonly struct MultiplyWide16 : IMixedBinary<short, short, int>
{
    public static int Apply(short a, short b) => a * b;
}

internal readonly struct MultiplyWideUnsigned16 : IMixedBinary<ushort, ushort, uint>
{
    public static uint Apply(ushort a, ushort b) => (uint)a * b;
}

internal readonly struct MultiplyAddWide16 : IMixedTernary<short, short, int, int>
{
    public static int Apply(short a, short b, int c) => a * b + c;
}

internal readonly struct MultiplyAddWideUnsigned16 : IMixedTernary<ushort, ushort, uint, uint>
{
    public static uint Apply(ushort a, ushort b, uint c) => (uint)a * b + c;
}

/// <summary>The upper half of a product; TWide holds all of it.</summary>
internal readonly struct MultiplyHigh<T, TWide> : IScalarBinary<T>
    where T : unmanaged, IBinaryInteger<T>
    where TWide : IBinaryInteger<TWide>
{
    public static unsafe T Apply(T a, T b) => T.CreateTruncating((TWide.CreateTruncating(a) * TWide.CreateTruncating(b)) >> (8 * sizeof(T)));
}

internal readonly struct MultiplyAddHigh<T, TWide> : IScalarTernary<T>
    where T : unmanaged, IBinaryInteger<T>
    where TWide : IBinaryInteger<TWide>
{
    public static T Apply(T a, T b, T c) => unchecked(MultiplyHigh<T, TWide>.Apply(a, b) + c);
}

/// <summary>c + |a − b|.</summary>
internal readonly struct AbsoluteDifference<T> : IScalarTernary<T>
    where T : IBinaryInteger<T>
{
    public static T Apply(T a, T b, T c) => unchecked(c + (a < b ? b - a : a - b));
}

internal readonly struct AddSaturating : IScalarBinary<int>
{
    public static int Apply(int a, int b) => (int)Math.Clamp((long)a + b, int.MinValue, int.MaxValue);
}

internal readonly struct SubtractSaturating : IScalarBinary<int>
{
    public static int Apply(int a, int b) => (int)Math.Clamp((long)a - b, int.MinValue, int.MaxValue);
}

/// <summary>bfe.s32: what lies above the field, or above the word, is the sign of the field's highest bit in the word.</summary>
internal readonly struct BitFieldExtractSigned32 : IScalarTernary<int>
{
    public static int Apply(int a, int b, int c) => (int)BitFieldExtractSigned64.Field(a, (uint)b, (uint)c, 32);
}

internal readonly struct BitFieldExtractSigned64 : IMixedTernary<long, uint, uint, long>
{
    public static long Apply(long a, uint b, uint c) => Field(a, b, c, 64);

    public static long Field(long a, uint b, uint c, int width)
    {
        int from = (int)(b & 255), count = (int)(c & 255);
        if (count == 0) return 0;
        // Past the word all bits are copies of its sign.
        long shifted = a >> Math.Min(from, width - 1);
        return count >= width ? shifted : shifted << (64 - count) >> (64 - count);
    }
}

internal readonly struct BitFieldExtract64 : IMixedTernary<ulong, uint, uint, ulong>
{
    public static ulong Apply(ulong a, uint b, uint c)
    {
        int from = (int)(b & 255), count = (int)(c & 255);
        return from > 63 || count == 0 ? 0 : (a >> from) & (count > 63 ? ulong.MaxValue : (1UL << count) - 1);
    }
}

/// <summary>bfi: b with e bits of it from bit c on replaced by the low bits of a.</summary>
internal readonly struct BitFieldInsert32 : IScalarQuaternary<uint>
{
    public static uint Apply(uint a, uint b, uint c, uint e) => (uint)BitFieldInsert64.Apply(a, b, c, e);
}

internal readonly struct BitFieldInsert64 : IScalarQuaternary<ulong>
{
    public static ulong Apply(ulong a, ulong b, uint c, uint e)
    {
        int from = (int)(c & 255), count = (int)(e & 255);
        if (from > 63) return b;
        ulong mask = (count > 63 ? ulong.MaxValue : (1UL << count) - 1) << from;
        return (b & ~mask) | ((a << from) & mask);
    }
}

/// <summary>bfind: the place of the highest bit that is not a sign bit; all ones if there is none.</summary>
internal readonly struct FindBit<T> : IScalarUnary<T, uint>
    where T : unmanaged, IBinaryInteger<T>
{
    public static unsafe uint Apply(T a)
    {
        if (T.IsNegative(a)) a = ~a;
        return (uint)(8 * sizeof(T) - 1 - int.CreateTruncating(T.LeadingZeroCount(a)));
    }
}

/// <summary>bfind.shiftamt: by how much to shift left so that the bit comes to the top.</summary>
internal readonly struct FindBitShift<T> : IScalarUnary<T, uint>
    where T : unmanaged, IBinaryInteger<T>
{
    public static unsafe uint Apply(T a)
    {
        uint place = FindBit<T>.Apply(a);
        return place == uint.MaxValue ? place : (uint)(8 * sizeof(T) - 1) - place;
    }
}

internal readonly struct ReverseBits32 : IScalarUnary<uint, uint>
{
    public static uint Apply(uint a) => (uint)(ReverseBits64.Apply(a) >> 32);
}

internal readonly struct ReverseBits64 : IScalarUnary<ulong, ulong>
{
    public static ulong Apply(ulong a)
    {
        a = (a >> 1 & 0x5555555555555555) | (a & 0x5555555555555555) << 1;
        a = (a >> 2 & 0x3333333333333333) | (a & 0x3333333333333333) << 2;
        a = (a >> 4 & 0x0F0F0F0F0F0F0F0F) | (a & 0x0F0F0F0F0F0F0F0F) << 4;
        return System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(a);
    }
}

internal readonly struct PopulationCount64 : IScalarUnary<ulong, uint>
{
    public static uint Apply(ulong a) => (uint)BitOperations.PopCount(a);
}

internal readonly struct LeadingZeros64 : IScalarUnary<ulong, uint>
{
    public static uint Apply(ulong a) => (uint)BitOperations.LeadingZeroCount(a);
}

/// <summary>shf.l: the upper word of b:a shifted left; amounts wrap at 32.</summary>
internal readonly struct FunnelLeftWrap : IScalarTernary<uint>
{
    public static uint Apply(uint a, uint b, uint c) => (uint)((((ulong)b << 32 | a) << (int)(c & 31)) >> 32);
}

internal readonly struct FunnelLeftClamp : IScalarTernary<uint>
{
    public static uint Apply(uint a, uint b, uint c) => c >= 32 ? a : FunnelLeftWrap.Apply(a, b, c);
}

/// <summary>shf.r: the lower word of b:a shifted right; amounts wrap at 32.</summary>
internal readonly struct FunnelRightWrap : IScalarTernary<uint>
{
    public static uint Apply(uint a, uint b, uint c) => (uint)(((ulong)b << 32 | a) >> (int)(c & 31));
}

internal readonly struct FunnelRightClamp : IScalarTernary<uint>
{
    public static uint Apply(uint a, uint b, uint c) => c >= 32 ? b : FunnelRightWrap.Apply(a, b, c);
}

/// <summary>prmt: each byte is one of the eight of b:a, or its sign eight times, by a nibble of c.</summary>
internal readonly struct PermuteBytes : IScalarTernary<uint>
{
    public static uint Apply(uint a, uint b, uint c)
    {
        ulong bytes = (ulong)b << 32 | a;
        uint result = 0;
        for (int i = 0; i < 4; i++)
        {
            int select = (int)(c >> 4 * i);
            uint value = (byte)(bytes >> 8 * (select & 7));
            if ((select & 8) != 0) value = (value & 0x80) != 0 ? 0xFFu : 0;
            result |= value << 8 * i;
        }
        return result;
    }
}

/// <summary>lop3: bit by bit the entry of table e whose number the bits of a, b, c spell.</summary>
internal readonly struct Lookup3 : IScalarQuaternary<uint>
{
    public static uint Apply(uint a, uint b, uint c, uint e)
    {
        uint result = 0;
        for (int entry = 0; entry < 8; entry++)
        {
            if ((e >> entry & 1) == 0) continue;
            result |= ((entry & 4) != 0 ? a : ~a) & ((entry & 2) != 0 ? b : ~b) & ((entry & 1) != 0 ? c : ~c);
        }
        return result;
    }
}
