using System.Numerics;
using System.Runtime.CompilerServices;

namespace ClipCuda.Ptx;

/// <summary>y = f(a, b) of one lane.</summary>
internal interface IScalarBinary<T>
{
    static abstract T Apply(T a, T b);
}

/// <summary>y = f(a, b, c) of one lane.</summary>
internal interface IScalarTernary<T>
{
    static abstract T Apply(T a, T b, T c);
}

/// <summary>y = f(a) of one lane.</summary>
internal interface IScalarUnary<TFrom, TTo>
{
    static abstract TTo Apply(TFrom a);
}

/// <summary>Handlers of instructions for which there is no vector form: a loop over the active lanes.</summary>
internal static unsafe class LaneByLane
{
    public static void Unary<TFrom, TTo, TOp, TMask>(ref Lanes lanes, in Instruction i)
        where TFrom : unmanaged
        where TTo : unmanaged
        where TOp : struct, IScalarUnary<TFrom, TTo>
        where TMask : struct, IMask
    {
        // Narrow registers occupy 32-bit lanes.
        int to = Math.Max(4, sizeof(TTo)), from = Math.Max(4, sizeof(TFrom));
        byte* d = lanes.Registers + i.D, a = lanes.Registers + i.A;
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (TMask.Partial && !lanes.IsActive(lane)) continue;
            var result = TOp.Apply(*(TFrom*)(a + lane * from));
            if (sizeof(TTo) < 4) *(uint*)(d + lane * 4) = 0;
            *(TTo*)(d + lane * to) = result;
        }
    }

    public static void Binary<T, TOp, TMask>(ref Lanes lanes, in Instruction i)
        where T : unmanaged
        where TOp : struct, IScalarBinary<T>
        where TMask : struct, IMask
    {
        T* d = (T*)(lanes.Registers + i.D), a = (T*)(lanes.Registers + i.A), b = (T*)(lanes.Registers + i.B);
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (!TMask.Partial || lanes.IsActive(lane)) d[lane] = TOp.Apply(a[lane], b[lane]);
        }
    }

    public static void Ternary<T, TOp, TMask>(ref Lanes lanes, in Instruction i)
        where T : unmanaged
        where TOp : struct, IScalarTernary<T>
        where TMask : struct, IMask
    {
        T* d = (T*)(lanes.Registers + i.D), a = (T*)(lanes.Registers + i.A), b = (T*)(lanes.Registers + i.B), c = (T*)(lanes.Registers + i.C);
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (!TMask.Partial || lanes.IsActive(lane)) d[lane] = TOp.Apply(a[lane], b[lane], c[lane]);
        }
    }
}

/// <summary>x / 0 is all ones; the smallest number over −1 is itself.</summary>
internal readonly struct Divide<T> : IScalarBinary<T>
    where T : IBinaryInteger<T>, IMinMaxValue<T>
{
    public static T Apply(T a, T b) => T.IsZero(b) ? ~T.Zero : T.IsNegative(b) && b == ~T.Zero ? T.Zero - a : a / b;
}

/// <summary>x % 0 is x; a remainder by −1 is 0.</summary>
internal readonly struct Remainder<T> : IScalarBinary<T>
    where T : IBinaryInteger<T>, IMinMaxValue<T>
{
    public static T Apply(T a, T b) => T.IsZero(b) ? a : T.IsNegative(b) && b == ~T.Zero ? T.Zero : a % b;
}

internal readonly struct MultiplyHigh32 : IScalarBinary<uint>
{
    public static uint Apply(uint a, uint b) => (uint)((ulong)a * b >> 32);
}

internal readonly struct MultiplyHighSigned32 : IScalarBinary<int>
{
    public static int Apply(int a, int b) => (int)((long)a * b >> 32);
}

internal readonly struct MultiplyHigh64 : IScalarBinary<ulong>
{
    public static ulong Apply(ulong a, ulong b) => Math.BigMul(a, b, out _);
}

/// <summary>bfe.u32: c bits of a from bit b; no bits give 0.</summary>
internal readonly struct BitFieldExtract : IScalarTernary<uint>
{
    public static uint Apply(uint a, uint b, uint c)
    {
        int from = (int)(b & 255), count = (int)(c & 255);
        return from > 31 || count == 0 ? 0 : (a >> from) & (count > 31 ? uint.MaxValue : (1u << count) - 1);
    }
}

internal readonly struct PopulationCount : IScalarUnary<uint, uint>
{
    public static uint Apply(uint a) => (uint)BitOperations.PopCount(a);
}

internal readonly struct LeadingZeros : IScalarUnary<uint, uint>
{
    public static uint Apply(uint a) => (uint)BitOperations.LeadingZeroCount(a);
}

/// <summary>A conversion between types whose C# cast has PTX's meaning (integers, and integers to floats with rounding to nearest even).</summary>
internal readonly struct Cast<TFrom, TTo> : IScalarUnary<TFrom, TTo>
    where TFrom : INumberBase<TFrom>
    where TTo : INumberBase<TTo>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TTo Apply(TFrom a) => TTo.CreateTruncating(a);
}

/// <summary>Float to integer: rounded to an integer in the direction TRound, saturated; NaN gives 0 (PTX ISA, cvt).</summary>
internal readonly struct FloatToInteger<TFrom, TTo, TRound> : IScalarUnary<TFrom, TTo>
    where TFrom : IFloatingPointIeee754<TFrom>
    where TTo : IBinaryInteger<TTo>
    where TRound : struct, IRounding
{
    public static TTo Apply(TFrom a) => TFrom.IsNaN(a) ? TTo.Zero : TTo.CreateSaturating(TFrom.Round(a, TRound.Mode));
}

internal interface IRounding
{
    static abstract MidpointRounding Mode { get; }
}

internal readonly struct ToEven : IRounding
{
    public static MidpointRounding Mode => MidpointRounding.ToEven;
}

internal readonly struct ToZero : IRounding
{
    public static MidpointRounding Mode => MidpointRounding.ToZero;
}

internal readonly struct Down : IRounding
{
    public static MidpointRounding Mode => MidpointRounding.ToNegativeInfinity;
}

internal readonly struct Up : IRounding
{
    public static MidpointRounding Mode => MidpointRounding.ToPositiveInfinity;
}
