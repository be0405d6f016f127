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

/// <summary>y = f(a, b) of one lane, of types that need not be the same.</summary>
internal interface IMixedBinary<TA, TB, TTo>
{
    static abstract TTo Apply(TA a, TB b);
}

/// <summary>y = f(a, b, c) of one lane, of types that need not be the same.</summary>
internal interface IMixedTernary<TA, TB, TC, TTo>
{
    static abstract TTo Apply(TA a, TB b, TC c);
}

/// <summary>y = f(a, b, c, e) of one lane; c and e have 32 bits.</summary>
internal interface IScalarQuaternary<T>
{
    static abstract T Apply(T a, T b, uint c, uint e);
}

/// <summary>Whether a comparison of one lane holds.</summary>
internal interface IScalarTest<T>
{
    static abstract bool Apply(T a, T b);
}

/// <summary>
/// Handlers of instructions for which there is no vector form: a loop over the active lanes. Types of 8 and 16 bits lie in lanes of 32; what
/// is above them is not looked at, and what is written extends by its own sign.
/// </summary>
internal static unsafe class LaneByLane
{
    public static void Unary<TFrom, TTo, TOp, TMask>(ref Lanes lanes, in Instruction i)
        where TFrom : unmanaged
        where TTo : unmanaged
        where TOp : struct, IScalarUnary<TFrom, TTo>
        where TMask : struct, IMask
    {
        byte* d = lanes.Registers + i.D, a = lanes.Registers + i.A;
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (!TMask.Partial || lanes.IsActive(lane)) Set(d, lane, TOp.Apply(Get<TFrom>(a, lane)));
        }
    }

    public static void Binary<T, TOp, TMask>(ref Lanes lanes, in Instruction i)
        where T : unmanaged
        where TOp : struct, IScalarBinary<T>
        where TMask : struct, IMask
    {
        byte* d = lanes.Registers + i.D, a = lanes.Registers + i.A, b = lanes.Registers + i.B;
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (!TMask.Partial || lanes.IsActive(lane)) Set(d, lane, TOp.Apply(Get<T>(a, lane), Get<T>(b, lane)));
        }
    }

    public static void Ternary<T, TOp, TMask>(ref Lanes lanes, in Instruction i)
        where T : unmanaged
        where TOp : struct, IScalarTernary<T>
        where TMask : struct, IMask
    {
        byte* d = lanes.Registers + i.D, a = lanes.Registers + i.A, b = lanes.Registers + i.B, c = lanes.Registers + i.C;
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (!TMask.Partial || lanes.IsActive(lane)) Set(d, lane, TOp.Apply(Get<T>(a, lane), Get<T>(b, lane), Get<T>(c, lane)));
        }
    }

    public static void MixedBinary<TA, TB, TTo, TOp, TMask>(ref Lanes lanes, in Instruction i)
        where TA : unmanaged
        where TB : unmanaged
        where TTo : unmanaged
        where TOp : struct, IMixedBinary<TA, TB, TTo>
        where TMask : struct, IMask
    {
        byte* d = lanes.Registers + i.D, a = lanes.Registers + i.A, b = lanes.Registers + i.B;
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (!TMask.Partial || lanes.IsActive(lane)) Set(d, lane, TOp.Apply(Get<TA>(a, lane), Get<TB>(b, lane)));
        }
    }

    public static void MixedTernary<TA, TB, TC, TTo, TOp, TMask>(ref Lanes lanes, in Instruction i)
        where TA : unmanaged
        where TB : unmanaged
        where TC : unmanaged
        where TTo : unmanaged
        where TOp : struct, IMixedTernary<TA, TB, TC, TTo>
        where TMask : struct, IMask
    {
        byte* d = lanes.Registers + i.D, a = lanes.Registers + i.A, b = lanes.Registers + i.B, c = lanes.Registers + i.C;
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (!TMask.Partial || lanes.IsActive(lane)) Set(d, lane, TOp.Apply(Get<TA>(a, lane), Get<TB>(b, lane), Get<TC>(c, lane)));
        }
    }

    /// <summary>Four sources: the last is at D1.</summary>
    public static void Quaternary<T, TOp, TMask>(ref Lanes lanes, in Instruction i)
        where T : unmanaged
        where TOp : struct, IScalarQuaternary<T>
        where TMask : struct, IMask
    {
        byte* file = lanes.Registers;
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (TMask.Partial && !lanes.IsActive(lane)) continue;
            Set(file + i.D, lane, TOp.Apply(Get<T>(file + i.A, lane), Get<T>(file + i.B, lane), Get<uint>(file + i.C, lane), Get<uint>(file + i.D1, lane)));
        }
    }

    /// <summary>setp: C is a third predicate, combined with the result by TCombine.</summary>
    public static void Compare<T, TOp, TCombine, TMask>(ref Lanes lanes, in Instruction i)
        where T : unmanaged
        where TOp : struct, IScalarTest<T>
        where TCombine : struct, IScalarBinary<int>
        where TMask : struct, IMask
    {
        byte* file = lanes.Registers;
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (TMask.Partial && !lanes.IsActive(lane)) continue;
            int holds = TOp.Apply(Get<T>(file + i.A, lane), Get<T>(file + i.B, lane)) ? -1 : 0;
            Set(file + i.D, lane, TCombine.Apply(holds, Get<int>(file + i.C, lane)));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Get<T>(byte* register, int lane)
        where T : unmanaged => *(T*)(register + lane * Math.Max(4, sizeof(T)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Set<T>(byte* register, int lane, T value)
        where T : unmanaged
    {
        if (sizeof(T) >= 4) ((T*)register)[lane] = value;
        else if (typeof(T) == typeof(sbyte)) ((int*)register)[lane] = (sbyte)(object)value;
        else if (typeof(T) == typeof(short)) ((int*)register)[lane] = (short)(object)value;
        else if (typeof(T) == typeof(byte)) ((uint*)register)[lane] = (byte)(object)value;
        else if (typeof(T) == typeof(ushort)) ((uint*)register)[lane] = (ushort)(object)value;
        else ((uint*)register)[lane] = BitConverter.HalfToUInt16Bits((Half)(object)value);
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

/// <summary>
/// Float to integer: rounded to an integer in the direction TRound, saturated. NaN gives 0 from f32 to at most 32 bits, and else the
/// highest bit alone (PTX ISA 9.7.9.21, cvt, "Floating point to integer").
/// </summary>
internal readonly struct FloatToInteger<TFrom, TTo, TRound> : IScalarUnary<TFrom, TTo>
    where TFrom : IFloatingPointIeee754<TFrom>
    where TTo : unmanaged, IBinaryInteger<TTo>
    where TRound : struct, IRounding
{
    public static unsafe TTo Apply(TFrom a) =>
        !TFrom.IsNaN(a) ? TTo.CreateSaturating(TFrom.Round(a, TRound.Mode))
        : typeof(TFrom) == typeof(double) || sizeof(TTo) == 8 ? TTo.One << (8 * sizeof(TTo) - 1)
        : TTo.Zero;
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
