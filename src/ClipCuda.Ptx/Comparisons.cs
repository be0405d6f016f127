using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace ClipCuda.Ptx;

// Comparisons lane by lane, for the types that have no vector form, and what combines them with a third predicate. They are written so that
// the ordered ones are false for a NaN and the unordered ones true.
internal readonly struct HoldsEqual<T> : IScalarTest<T>
    where T : IComparisonOperators<T, T, bool>
{
    public static bool Apply(T a, T b) => a == b;
}

internal readonly struct HoldsNotEqual<T> : IScalarTest<T>
    where T : IComparisonOperators<T, T, bool>
{
    public static bool Apply(T a, T b) => a < b || a > b;
}

internal readonly struct HoldsLess<T> : IScalarTest<T>
    where T : IComparisonOperators<T, T, bool>
{
    public static bool Apply(T a, T b) => a < b;
}

internal readonly struct HoldsLessOrEqual<T> : IScalarTest<T>
    where T : IComparisonOperators<T, T, bool>
{
    public static bool Apply(T a, T b) => a <= b;
}

internal readonly struct HoldsGreater<T> : IScalarTest<T>
    where T : IComparisonOperators<T, T, bool>
{
    public static bool Apply(T a, T b) => a > b;
}

internal readonly struct HoldsGreaterOrEqual<T> : IScalarTest<T>
    where T : IComparisonOperators<T, T, bool>
{
    public static bool Apply(T a, T b) => a >= b;
}

/// <summary>Both are numbers.</summary>
internal readonly struct HoldsNumber : IScalarTest<double>
{
    public static bool Apply(double a, double b) => !double.IsNaN(a) && !double.IsNaN(b);
}

/// <summary>The opposite of a comparison: an unordered one is the opposite of an ordered one.</summary>
internal readonly struct HoldsNot<T, TOp> : IScalarTest<T>
    where TOp : struct, IScalarTest<T>
{
    public static bool Apply(T a, T b) => !TOp.Apply(a, b);
}

internal readonly struct Alone : IScalarBinary<int>
{
    public static int Apply(int a, int b) => a;
}

internal readonly struct BothHold : IScalarBinary<int>
{
    public static int Apply(int a, int b) => a & b;
}

internal readonly struct OneHolds : IScalarBinary<int>
{
    public static int Apply(int a, int b) => a | b;
}

internal readonly struct OnlyOneHolds : IScalarBinary<int>
{
    public static int Apply(int a, int b) => a ^ b;
}

/// <summary>A comparison whose denormal operands count as zero.</summary>
internal readonly struct FlushedCompare<TOp> : ICompare<float>
    where TOp : struct, ICompare<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => TOp.Apply(Float.Flush(a), Float.Flush(b));
}
