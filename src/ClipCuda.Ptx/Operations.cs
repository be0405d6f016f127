using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace ClipCuda.Ptx;

// What the elementwise instructions compute, one small struct each. Any f32 NaN result is 7FFFFFFF, as GPUs write it (PTX ISA, section
// 9.7.3). Shift amounts past the width clamp (9.7.8.7–8). Division by zero gives all ones, a remainder by zero the dividend, as GPUs do.
internal static class Float
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Canonical(Vector512<float> value) =>
        Vector512.ConditionalSelect(Vector512.Equals(value, value), value, Vector512.Create(0x7FFFFFFF).AsSingle());

    /// <summary>Lanes where one of the two is NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Unordered(Vector512<float> a, Vector512<float> b) => ~(Vector512.Equals(a, a) & Vector512.Equals(b, b));

    /// <summary>Denormals become zero of their sign.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Flush(Vector512<float> value)
    {
        var tiny = Vector512.LessThan(Vector512.Abs(value), Vector512.Create(1.17549435e-38f));
        return Vector512.ConditionalSelect(tiny, value & Vector512.Create(-0f), value);
    }

    /// <summary>
    /// ex2.approx: x = n + f with n the nearest integer; 2^f by its Taylor polynomial of degree 7 on |f| ≤ 1/2 (remainder below 2^-26),
    /// scaled by 2^n in two steps so that denormal results round once.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Exp2(Vector512<float> x)
    {
        x = Vector512.Min(Vector512.Max(x, Vector512.Create(-160f)), Vector512.Create(160f));
        var n = Vector512.Round(x);
        var f = x - n;
        var y = Vector512.Create(1.52527338e-5f);
        y = Vector512.FusedMultiplyAdd(y, f, Vector512.Create(1.54035304e-4f));
        y = Vector512.FusedMultiplyAdd(y, f, Vector512.Create(1.33335581e-3f));
        y = Vector512.FusedMultiplyAdd(y, f, Vector512.Create(9.61812911e-3f));
        y = Vector512.FusedMultiplyAdd(y, f, Vector512.Create(5.55041087e-2f));
        y = Vector512.FusedMultiplyAdd(y, f, Vector512.Create(2.40226507e-1f));
        y = Vector512.FusedMultiplyAdd(y, f, Vector512.Create(6.93147181e-1f));
        y = Vector512.FusedMultiplyAdd(y, f, Vector512<float>.One);
        var whole = Vector512.ConvertToInt32Native(n);
        var half = Vector512.ShiftRightArithmetic(whole, 1);
        var bias = Vector512.Create(127);
        var first = Vector512.ShiftLeft(half + bias, 23).AsSingle();
        var second = Vector512.ShiftLeft(whole - half + bias, 23).AsSingle();
        return y * first * second;
    }
}

internal readonly struct Add<T> : IBinary<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> a, Vector512<T> b) => a + b;
}

internal readonly struct Subtract<T> : IBinary<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> a, Vector512<T> b) => a - b;
}

internal readonly struct Multiply<T> : IBinary<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> a, Vector512<T> b) => a * b;
}

internal readonly struct Minimum<T> : IBinary<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> a, Vector512<T> b) => Vector512.Min(a, b);
}

internal readonly struct Maximum<T> : IBinary<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> a, Vector512<T> b) => Vector512.Max(a, b);
}

internal readonly struct And<T> : IBinary<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> a, Vector512<T> b) => a & b;
}

internal readonly struct Or<T> : IBinary<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> a, Vector512<T> b) => a | b;
}

internal readonly struct Xor<T> : IBinary<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> a, Vector512<T> b) => a ^ b;
}

internal readonly struct AndNot<T> : IBinary<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> a, Vector512<T> b) => a & ~b;
}

internal readonly struct Copy<T> : IUnary<T, T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> a) => a;
}

internal readonly struct Not<T> : IUnary<T, T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> a) => ~a;
}

internal readonly struct Negate<T> : IUnary<T, T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> a) => Vector512<T>.Zero - a;
}

internal readonly struct Absolute<T> : IUnary<T, T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> a) => Vector512.Abs(a);
}

/// <summary>a · b + c in integers.</summary>
internal readonly struct MultiplyAdd<T> : ITernary<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> a, Vector512<T> b, Vector512<T> c) => a * b + c;
}

internal readonly struct ShiftLeft32 : IBinary<uint>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Apply(Vector512<uint> a, Vector512<uint> b) => Vector512.LessThan(b, Vector512.Create(32u)) & Shift.Left(a, b);
}

internal readonly struct ShiftRight32 : IBinary<uint>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Apply(Vector512<uint> a, Vector512<uint> b) => Vector512.LessThan(b, Vector512.Create(32u)) & Shift.Right(a, b);
}

internal readonly struct ShiftRightSigned32 : IBinary<int>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Apply(Vector512<int> a, Vector512<int> b) => Shift.RightSigned(a, Vector512.Min(b.AsUInt32(), Vector512.Create(31u)));
}

internal readonly struct ShiftLeft64 : IBinary<ulong>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<ulong> Apply(Vector512<ulong> a, Vector512<ulong> b) => Vector512.LessThan(b, Vector512.Create(64UL)) & Shift.Left(a, b);
}

internal readonly struct ShiftRight64 : IBinary<ulong>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<ulong> Apply(Vector512<ulong> a, Vector512<ulong> b) => Vector512.LessThan(b, Vector512.Create(64UL)) & Shift.Right(a, b);
}

internal readonly struct ShiftRightSigned64 : IBinary<ulong>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<ulong> Apply(Vector512<ulong> a, Vector512<ulong> b) => Shift.RightSigned(a.AsInt64(), Vector512.Min(b, Vector512.Create(63UL))).AsUInt64();
}

internal readonly struct AddFloat : IBinary<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => Float.Canonical(a + b);
}

internal readonly struct SubtractFloat : IBinary<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => Float.Canonical(a - b);
}

internal readonly struct MultiplyFloat : IBinary<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => Float.Canonical(a * b);
}

internal readonly struct DivideFloat : IBinary<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => Float.Canonical(a / b);
}

internal readonly struct MinimumFloat : IBinary<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => Float.Canonical(Vector512.MinNumber(a, b));
}

internal readonly struct MaximumFloat : IBinary<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => Float.Canonical(Vector512.MaxNumber(a, b));
}

internal readonly struct NegateFloat : IUnary<float, float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a) => Float.Canonical(-a);
}

internal readonly struct AbsoluteFloat : IUnary<float, float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a) => Float.Canonical(Vector512.Abs(a));
}

internal readonly struct SquareRoot : IUnary<float, float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a) => Float.Canonical(Vector512.Sqrt(a));
}

internal readonly struct Reciprocal : IUnary<float, float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a) => Float.Canonical(Vector512<float>.One / a);
}

/// <summary>rsqrt.approx: 1 / sqrt(a), each rounded.</summary>
internal readonly struct ReciprocalSquareRoot : IUnary<float, float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a) => Float.Canonical(Vector512<float>.One / Vector512.Sqrt(a));
}

internal readonly struct Exp2 : IUnary<float, float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a) => Float.Canonical(Float.Exp2(a));
}

internal readonly struct Exp2Flush : IUnary<float, float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a) => Float.Canonical(Float.Flush(Float.Exp2(Float.Flush(a))));
}

internal readonly struct ReciprocalFlush : IUnary<float, float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a) => Float.Canonical(Float.Flush(Vector512<float>.One / Float.Flush(a)));
}

internal readonly struct RoundToEven : IUnary<float, float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a) => Float.Canonical(Vector512.Round(a));
}

internal readonly struct RoundDown : IUnary<float, float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a) => Float.Canonical(Vector512.Floor(a));
}

internal readonly struct RoundUp : IUnary<float, float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a) => Float.Canonical(Vector512.Ceiling(a));
}

internal readonly struct RoundToZero : IUnary<float, float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a) => Float.Canonical(Vector512.Truncate(a));
}

/// <summary>cvt.sat: to [0, 1], NaN to 0.</summary>
internal readonly struct Saturate : IUnary<float, float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a) => Vector512.ConditionalSelect(Vector512.Equals(a, a), Vector512.Min(Vector512.Max(a, Vector512<float>.Zero), Vector512<float>.One), Vector512<float>.Zero);
}

internal readonly struct FusedMultiplyAdd : ITernary<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a, Vector512<float> b, Vector512<float> c) => Float.Canonical(Vector512.FusedMultiplyAdd(a, b, c));
}

internal readonly struct Equal<T> : ICompare<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> a, Vector512<T> b) => Vector512.Equals(a, b);
}

internal readonly struct NotEqual<T> : ICompare<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> a, Vector512<T> b) => ~Vector512.Equals(a, b);
}

internal readonly struct Less<T> : ICompare<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> a, Vector512<T> b) => Vector512.LessThan(a, b);
}

internal readonly struct LessOrEqual<T> : ICompare<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> a, Vector512<T> b) => Vector512.LessThanOrEqual(a, b);
}

internal readonly struct Greater<T> : ICompare<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> a, Vector512<T> b) => Vector512.GreaterThan(a, b);
}

internal readonly struct GreaterOrEqual<T> : ICompare<T>
    where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> a, Vector512<T> b) => Vector512.GreaterThanOrEqual(a, b);
}

internal readonly struct OrderedNotEqual : ICompare<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => ~(Vector512.Equals(a, b) | Float.Unordered(a, b));
}

internal readonly struct UnorderedEqual : ICompare<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => Vector512.Equals(a, b) | Float.Unordered(a, b);
}

internal readonly struct UnorderedLess : ICompare<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => ~Vector512.GreaterThanOrEqual(a, b);
}

internal readonly struct UnorderedLessOrEqual : ICompare<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => ~Vector512.GreaterThan(a, b);
}

internal readonly struct UnorderedGreater : ICompare<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => ~Vector512.LessThanOrEqual(a, b);
}

internal readonly struct UnorderedGreaterOrEqual : ICompare<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => ~Vector512.LessThan(a, b);
}

internal readonly struct IsNumber : ICompare<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => ~Float.Unordered(a, b);
}

internal readonly struct IsNaN : ICompare<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => Float.Unordered(a, b);
}

/// <summary>A comparison without a third predicate.</summary>
internal readonly struct First : IBinary<int>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Apply(Vector512<int> a, Vector512<int> b) => a;
}
