using System.Numerics;

namespace ClipCuda.Ptx;

// cvt between integers of 8 to 64 bits, floats of 16 to 64 bits, and each other (PTX ISA 9.7.9.21).
internal static class ConversionRows
{
    public static void AddTo(Dictionary<string, InstructionRow> rows)
    {
        var add = new RowBuilder(rows);
        FromInteger<byte>(add, rows, "u8");
        FromInteger<sbyte>(add, rows, "s8");
        FromInteger<ushort>(add, rows, "u16");
        FromInteger<short>(add, rows, "s16");
        FromInteger<uint>(add, rows, "u32");
        FromInteger<int>(add, rows, "s32");
        FromInteger<ulong>(add, rows, "u64");
        FromInteger<long>(add, rows, "s64");

        add.Unary<float, double, Widened>("cvt.f64.f32");
        add.Unary<float, double, WidenedFlushed>("cvt.ftz.f64.f32");
        add.Unary<double, float, NarrowedToEven>("cvt.rn.f32.f64");
        add.Unary<double, float, FlushedResult<NarrowedToEven>>("cvt.rn.ftz.f32.f64");
        Narrowed<Down>(add, "rm");
        Narrowed<Up>(add, "rp");
        Narrowed<ToZero>(add, "rz");
        add.Vector<FlushedUnary<Saturate>>("cvt.ftz.sat.f32.f32", "cvt.sat.ftz.f32.f32");
        add.Vector<FlushedUnary<RoundToEven>>("cvt.rni.ftz.f32.f32");
        add.Vector<FlushedUnary<RoundToZero>>("cvt.rzi.ftz.f32.f32");
        add.Vector<FlushedUnary<RoundDown>>("cvt.rmi.ftz.f32.f32");
        add.Vector<FlushedUnary<RoundUp>>("cvt.rpi.ftz.f32.f32");
        RoundedDouble<ToEven>(add, "rni");
        RoundedDouble<ToZero>(add, "rzi");
        RoundedDouble<Down>(add, "rmi");
        RoundedDouble<Up>(add, "rpi");

        add.Unary<Half, float, HalfToFloat>("cvt.f32.f16");
        add.Unary<Half, double, HalfToDouble>("cvt.f64.f16");
        add.Unary<float, ushort, FloatToHalf>("cvt.rn.f16.f32");
        add.Unary<float, ushort, FloatToHalfTruncated>("cvt.rz.f16.f32");
        add.Unary<ushort, float, BrainToFloat>("cvt.f32.bf16");
        add.Unary<float, ushort, FloatToBrain>("cvt.rn.bf16.f32");
        add.Unary<float, ushort, FloatToBrainTruncated>("cvt.rz.bf16.f32");
        add.MixedBinary<float, float, uint, PackedHalves>("cvt.rn.f16x2.f32");
        add.MixedBinary<float, float, uint, PackedBrains>("cvt.rn.bf16x2.f32");
    }

    private static void FromInteger<T>(RowBuilder add, Dictionary<string, InstructionRow> rows, string from)
        where T : unmanaged, IBinaryInteger<T>
    {
        To<byte>("u8");
        To<sbyte>("s8");
        To<ushort>("u16");
        To<short>("s16");
        To<uint>("u32");
        To<int>("s32");
        To<ulong>("u64");
        To<long>("s64");
        add.Unary<T, float, IntegerToFloat<T>>($"cvt.rn.f32.{from}");
        add.Unary<T, double, IntegerToDouble<T>>($"cvt.rn.f64.{from}");
        FromFloat<ToEven>("rni");
        FromFloat<ToZero>("rzi");
        FromFloat<Down>("rmi");
        FromFloat<Up>("rpi");

        void To<TTo>(string to)
            where TTo : unmanaged, IBinaryInteger<TTo>
        {
            // Some have a vector form already.
            if (!rows.ContainsKey($"cvt.{to}.{from}")) add.Unary<T, TTo, Truncated<T, TTo>>($"cvt.{to}.{from}");
            add.Unary<T, TTo, Clamped<T, TTo>>($"cvt.sat.{to}.{from}");
        }

        void FromFloat<TRound>(string rounding)
            where TRound : struct, IRounding
        {
            add.Unary<float, T, FloatToInteger<float, T, TRound>>($"cvt.{rounding}.{from}.f32");
            add.Unary<float, T, FlushedToInteger<T, TRound>>($"cvt.{rounding}.ftz.{from}.f32");
            add.Unary<double, T, FloatToInteger<double, T, TRound>>($"cvt.{rounding}.{from}.f64");
        }
    }

    private static void Narrowed<TRound>(RowBuilder add, string rounding)
        where TRound : struct, IRounding
    {
        add.Unary<double, float, NarrowedDirected<TRound>>($"cvt.{rounding}.f32.f64");
        add.Unary<double, float, FlushedResult<NarrowedDirected<TRound>>>($"cvt.{rounding}.ftz.f32.f64");
    }

    private static void RoundedDouble<TRound>(RowBuilder add, string rounding)
        where TRound : struct, IRounding => add.Unary<double, double, RoundedDouble<TRound>>($"cvt.{rounding}.f64.f64");
}

internal readonly struct Truncated<TFrom, TTo> : IScalarUnary<TFrom, TTo>
    where TFrom : IBinaryInteger<TFrom>
    where TTo : IBinaryInteger<TTo>
{
    public static TTo Apply(TFrom a) => TTo.CreateTruncating(a);
}

internal readonly struct Clamped<TFrom, TTo> : IScalarUnary<TFrom, TTo>
    where TFrom : IBinaryInteger<TFrom>
    where TTo : IBinaryInteger<TTo>
{
    public static TTo Apply(TFrom a) => TTo.CreateSaturating(a);
}

/// <summary>Rounded once. 64 bits go to 32 through a double only after their lowest bits are folded into one, which cannot round twice.</summary>
internal readonly struct IntegerToFloat<T> : IScalarUnary<T, float>
    where T : unmanaged, IBinaryInteger<T>
{
    public static unsafe float Apply(T a)
    {
        if (sizeof(T) < 8) return (float)double.CreateTruncating(a);
        bool negative = T.IsNegative(a);
        ulong size = ulong.CreateTruncating(negative ? T.Zero - a : a);
        if (size >> 53 != 0) size = (size & ~0xFFFUL) | ((size & 0xFFF) != 0 ? 0x800UL : 0);
        float result = (float)(double)size;
        return negative ? -result : result;
    }
}

internal readonly struct IntegerToDouble<T> : IScalarUnary<T, double>
    where T : unmanaged, IBinaryInteger<T>
{
    /// <summary>The upper half is exact in a double, so that the sum rounds once.</summary>
    public static unsafe double Apply(T a)
    {
        if (sizeof(T) < 8) return double.CreateTruncating(a);
        if (typeof(T) == typeof(long)) return (double)long.CreateTruncating(a);
        ulong value = ulong.CreateTruncating(a);
        return (uint)(value >> 32) * 4294967296.0 + (uint)value;
    }
}

internal readonly struct FlushedToInteger<T, TRound> : IScalarUnary<float, T>
    where T : unmanaged, IBinaryInteger<T>
    where TRound : struct, IRounding
{
    public static T Apply(float a) => FloatToInteger<float, T, TRound>.Apply(ScalarFloat.Flush(a));
}

internal readonly struct Widened : IScalarUnary<float, double>
{
    public static double Apply(float a) => float.IsNaN(a) ? ScalarDouble.MadeQuiet(a) : a;
}

internal readonly struct WidenedFlushed : IScalarUnary<float, double>
{
    public static double Apply(float a) => Widened.Apply(ScalarFloat.Flush(a));
}

internal readonly struct NarrowedToEven : IScalarUnary<double, float>
{
    public static float Apply(double a) => ScalarFloat.Canonical((float)a);
}

internal readonly struct NarrowedDirected<TRound> : IScalarUnary<double, float>
    where TRound : struct, IRounding
{
    public static float Apply(double a)
    {
        float nearest = ScalarFloat.Canonical((float)a);
        bool down = TRound.Mode == MidpointRounding.ToNegativeInfinity || (TRound.Mode == MidpointRounding.ToZero && a > 0);
        return down ? (nearest > a ? MathF.BitDecrement(nearest) : nearest) : nearest < a ? MathF.BitIncrement(nearest) : nearest;
    }
}

internal readonly struct FlushedResult<TOp> : IScalarUnary<double, float>
    where TOp : struct, IScalarUnary<double, float>
{
    public static float Apply(double a) => ScalarFloat.Flush(TOp.Apply(a));
}

internal readonly struct RoundedDouble<TRound> : IScalarUnary<double, double>
    where TRound : struct, IRounding
{
    public static double Apply(double a) => ScalarDouble.Result(Math.Round(a, TRound.Mode), a);
}

internal readonly struct HalfToFloat : IScalarUnary<Half, float>
{
    public static float Apply(Half a) => ScalarFloat.Canonical((float)a);
}

internal readonly struct HalfToDouble : IScalarUnary<Half, double>
{
    public static double Apply(Half a) => ScalarDouble.Result((double)a, (double)a);
}

/// <summary>A NaN of 16 bits is 7FFF.</summary>
internal readonly struct FloatToHalf : IScalarUnary<float, ushort>
{
    public static ushort Apply(float a) => float.IsNaN(a) ? (ushort)0x7FFF : BitConverter.HalfToUInt16Bits((Half)a);
}

internal readonly struct FloatToHalfTruncated : IScalarUnary<float, ushort>
{
    /// <summary>What rounding made larger goes back by one step; an overflow of a finite number to the largest finite one.</summary>
    public static ushort Apply(float a)
    {
        ushort bits = FloatToHalf.Apply(a);
        return !float.IsNaN(a) && MathF.Abs((float)BitConverter.UInt16BitsToHalf(bits)) > MathF.Abs(a) ? (ushort)(bits - 1) : bits;
    }
}

internal readonly struct BrainToFloat : IScalarUnary<ushort, float>
{
    public static float Apply(ushort a) => ScalarFloat.Canonical(BitConverter.UInt32BitsToSingle((uint)a << 16));
}

internal readonly struct FloatToBrain : IScalarUnary<float, ushort>
{
    public static ushort Apply(float a)
    {
        if (float.IsNaN(a)) return 0x7FFF;
        uint bits = BitConverter.SingleToUInt32Bits(a);
        return (ushort)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
    }
}

internal readonly struct FloatToBrainTruncated : IScalarUnary<float, ushort>
{
    public static ushort Apply(float a) => float.IsNaN(a) ? (ushort)0x7FFF : (ushort)(BitConverter.SingleToUInt32Bits(a) >> 16);
}

/// <summary>a becomes the upper half.</summary>
internal readonly struct PackedHalves : IMixedBinary<float, float, uint>
{
    public static uint Apply(float a, float b) => (uint)FloatToHalf.Apply(a) << 16 | FloatToHalf.Apply(b);
}

internal readonly struct PackedBrains : IMixedBinary<float, float, uint>
{
    public static uint Apply(float a, float b) => (uint)FloatToBrain.Apply(a) << 16 | FloatToBrain.Apply(b);
}
