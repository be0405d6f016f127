using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace ClipCuda.Ptx;

// Floating-point rows past the plain ones of InstructionTable: .ftz, directed rounding, approximations, f64. An .approx instruction is one stated
// formula, so that every engine and machine gives the same bits; each is at least as close as PTX ISA 9.7.3 asks.
internal static class FloatRows
{
    public static void AddTo(Dictionary<string, InstructionRow> rows)
    {
        var add = new RowBuilder(rows);
        add.VectorBinary<FlushedBinary<AddFloat>>("add.ftz.f32", "add.rn.ftz.f32");
        add.VectorBinary<FlushedBinary<SubtractFloat>>("sub.ftz.f32", "sub.rn.ftz.f32");
        add.VectorBinary<FlushedBinary<MultiplyFloat>>("mul.ftz.f32", "mul.rn.ftz.f32");
        add.VectorBinary<FlushedBinary<DivideFloat>>("div.rn.ftz.f32", "div.full.ftz.f32");
        add.VectorBinary<DivideFloat>("div.full.f32");
        add.VectorBinary<ApproximateQuotient>("div.approx.f32");
        add.VectorBinary<FlushedBinary<ApproximateQuotient>>("div.approx.ftz.f32");
        add.VectorBinary<FlushedBinary<MinimumFloat>>("min.ftz.f32");
        add.VectorBinary<FlushedBinary<MaximumFloat>>("max.ftz.f32");
        add.VectorTernary<FlushedTernary<FusedMultiplyAdd>>("fma.rn.ftz.f32");
        add.Vector<FlushedUnary<NegateFloat>>("neg.ftz.f32");
        add.Vector<FlushedUnary<AbsoluteFloat>>("abs.ftz.f32");
        add.Vector<SquareRoot>("sqrt.approx.f32");
        add.Vector<FlushedUnary<SquareRoot>>("sqrt.rn.ftz.f32", "sqrt.approx.ftz.f32");
        add.Vector<FlushedUnary<Reciprocal>>("rcp.rn.ftz.f32");
        add.Vector<FlushedUnary<ReciprocalSquareRoot>>("rsqrt.approx.ftz.f32");
        add.Unary<float, float, Log2>("lg2.approx.f32");
        add.Unary<float, float, FlushedScalar<Log2>>("lg2.approx.ftz.f32");
        add.Unary<float, float, HyperbolicTangent>("tanh.approx.f32");
        Directed<Down>(add, "rm");
        Directed<Up>(add, "rp");
        Directed<ToZero>(add, "rz");

        add.CompareFlushed<Equal<float>>("eq");
        add.CompareFlushed<OrderedNotEqual>("ne");
        add.CompareFlushed<Less<float>>("lt");
        add.CompareFlushed<LessOrEqual<float>>("le");
        add.CompareFlushed<Greater<float>>("gt");
        add.CompareFlushed<GreaterOrEqual<float>>("ge");
        add.CompareFlushed<UnorderedEqual>("equ");
        add.CompareFlushed<NotEqual<float>>("neu");
        add.CompareFlushed<UnorderedLess>("ltu");
        add.CompareFlushed<UnorderedLessOrEqual>("leu");
        add.CompareFlushed<UnorderedGreater>("gtu");
        add.CompareFlushed<UnorderedGreaterOrEqual>("geu");
        add.CompareFlushed<IsNumber>("num");
        add.CompareFlushed<IsNaN>("nan");

        add.Binary<double, AddDouble>("add.f64", "add.rn.f64");
        add.Binary<double, SubtractDouble>("sub.f64", "sub.rn.f64");
        add.Binary<double, MultiplyDouble>("mul.f64", "mul.rn.f64");
        add.Binary<double, DivideDouble>("div.rn.f64");
        add.Binary<double, MinimumDouble>("min.f64");
        add.Binary<double, MaximumDouble>("max.f64");
        add.Ternary<double, FusedDouble>("fma.rn.f64", "mad.rn.f64");
        add.Unary<double, double, NegateDouble>("neg.f64");
        add.Unary<double, double, AbsoluteDouble>("abs.f64");
        add.Unary<double, double, SquareRootDouble>("sqrt.rn.f64");
        add.Unary<double, double, ReciprocalDouble>("rcp.rn.f64");
        add.Compare<double, HoldsEqual<double>>("eq", "f64");
        add.Compare<double, HoldsNotEqual<double>>("ne", "f64");
        add.Compare<double, HoldsLess<double>>("lt", "f64");
        add.Compare<double, HoldsLessOrEqual<double>>("le", "f64");
        add.Compare<double, HoldsGreater<double>>("gt", "f64");
        add.Compare<double, HoldsGreaterOrEqual<double>>("ge", "f64");
        add.Compare<double, HoldsNot<double, HoldsNotEqual<double>>>("equ", "f64");
        add.Compare<double, HoldsNot<double, HoldsEqual<double>>>("neu", "f64");
        add.Compare<double, HoldsNot<double, HoldsGreaterOrEqual<double>>>("ltu", "f64");
        add.Compare<double, HoldsNot<double, HoldsGreater<double>>>("leu", "f64");
        add.Compare<double, HoldsNot<double, HoldsLessOrEqual<double>>>("gtu", "f64");
        add.Compare<double, HoldsNot<double, HoldsLess<double>>>("geu", "f64");
        add.Compare<double, HoldsNumber>("num", "f64");
        add.Compare<double, HoldsNot<double, HoldsNumber>>("nan", "f64");
    }

    private static void Directed<TRound>(RowBuilder add, string rounding)
        where TRound : struct, IRounding
    {
        add.Binary<float, DirectedSum<TRound>>($"add.{rounding}.f32");
        add.Binary<float, DirectedDifference<TRound>>($"sub.{rounding}.f32");
        add.Binary<float, DirectedProduct<TRound>>($"mul.{rounding}.f32");
        add.Ternary<float, DirectedFused<TRound>>($"fma.{rounding}.f32");
        add.Ternary<float, FlushedFused<DirectedFused<TRound>>>($"fma.{rounding}.ftz.f32");
    }
}

/// <summary>.ftz: denormal inputs count as zero, a denormal result becomes zero, each of its sign.</summary>
internal readonly struct FlushedUnary<TOp> : IUnary<float, float>
    where TOp : struct, IUnary<float, float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a) => Float.Flush(TOp.Apply(Float.Flush(a)));
}

internal readonly struct FlushedBinary<TOp> : IBinary<float>
    where TOp : struct, IBinary<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => Float.Flush(TOp.Apply(Float.Flush(a), Float.Flush(b)));
}

internal readonly struct FlushedTernary<TOp> : ITernary<float>
    where TOp : struct, ITernary<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a, Vector512<float> b, Vector512<float> c) => Float.Flush(TOp.Apply(Float.Flush(a), Float.Flush(b), Float.Flush(c)));
}

internal readonly struct FlushedScalar<TOp> : IScalarUnary<float, float>
    where TOp : struct, IScalarUnary<float, float>
{
    public static float Apply(float a) => ScalarFloat.Flush(TOp.Apply(ScalarFloat.Flush(a)));
}

internal readonly struct FlushedFused<TOp> : IScalarTernary<float>
    where TOp : struct, IScalarTernary<float>
{
    public static float Apply(float a, float b, float c) => ScalarFloat.Flush(TOp.Apply(ScalarFloat.Flush(a), ScalarFloat.Flush(b), ScalarFloat.Flush(c)));
}

/// <summary>div.approx: a / b rounded, but for |b| above 2^126, where hardware multiplies by a reciprocal of 0: 0, or NaN of an infinite a (PTX ISA 9.7.3.8).</summary>
internal readonly struct ApproximateQuotient : IBinary<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Apply(Vector512<float> a, Vector512<float> b)
    {
        var size = Vector512.Abs(b);
        var large = Vector512.GreaterThan(size, Vector512.Create(8.5070592e37f)) & Vector512.LessThan(size, Vector512.Create(float.PositiveInfinity));
        var zero = b & Vector512.Create(-0f);
        return Float.Canonical(Vector512.ConditionalSelect(large, a * zero, a / b));
    }
}

/// <summary>Scalar pieces of float instructions.</summary>
internal static class ScalarFloat
{
    public static float Canonical(float value) => float.IsNaN(value) ? BitConverter.UInt32BitsToSingle(0x7FFFFFFF) : value;

    public static float Flush(float a) => float.IsSubnormal(a) ? MathF.CopySign(0, a) : a;

    /// <summary>2^x: n + f with n the nearest integer, and the Taylor polynomial of degree 13 of 2^f on |f| ≤ 1/2 (remainder below 2^-58).</summary>
    public static double Exp2(double x)
    {
        double n = Math.Round(x), t = (x - n) * 0.693147180559945309, y = 1;
        for (int k = 13; k > 0; k--) y = y * t / k + 1;
        return Math.ScaleB(y, (int)n);
    }

    /// <summary>a·b + c rounded once toward a direction: the sum in double, corrected by what that sum lost (Knuth's two-sum; the product is exact).</summary>
    public static float Fused(float a, float b, float c, MidpointRounding mode)
    {
        switch (mode)
        {
            case MidpointRounding.ToNegativeInfinity:
                return FusedDown(a, b, c);
            case MidpointRounding.ToPositiveInfinity:
                return Canonical(-FusedDown(-a, b, -c));
            default:
                double product = (double)a * b, sum = product + c;
                return sum == 0 ? (float)sum : sum > 0 ? FusedDown(a, b, c) : Canonical(-FusedDown(-a, b, -c));
        }
    }

    private static float FusedDown(float a, float b, float c)
    {
        double product = (double)a * b, sum = product + c;
        if (!double.IsFinite(sum)) return Canonical((float)sum);
        double part = sum - product, lost = (product - (sum - part)) + (c - part);
        // Numbers that cancel give −0 when rounding down; only +0 + +0 stays positive.
        if (sum == 0 && lost == 0) return double.IsNegative(product) || float.IsNegative(c) || product != 0 ? -0f : 0f;
        float nearest = (float)sum;
        return nearest > sum || (nearest == sum && lost < 0) ? MathF.BitDecrement(nearest) : nearest;
    }
}

internal readonly struct DirectedFused<TRound> : IScalarTernary<float>
    where TRound : struct, IRounding
{
    public static float Apply(float a, float b, float c) => ScalarFloat.Fused(a, b, c, TRound.Mode);
}

internal readonly struct DirectedSum<TRound> : IScalarBinary<float>
    where TRound : struct, IRounding
{
    public static float Apply(float a, float b) => ScalarFloat.Fused(a, 1, b, TRound.Mode);
}

internal readonly struct DirectedDifference<TRound> : IScalarBinary<float>
    where TRound : struct, IRounding
{
    public static float Apply(float a, float b) => ScalarFloat.Fused(a, 1, -b, TRound.Mode);
}

/// <summary>The added zero has the product's sign, so that it changes nothing.</summary>
internal readonly struct DirectedProduct<TRound> : IScalarBinary<float>
    where TRound : struct, IRounding
{
    public static float Apply(float a, float b) => ScalarFloat.Fused(a, b, float.IsNegative(a) != float.IsNegative(b) ? -0f : 0f, TRound.Mode);
}

/// <summary>
/// lg2.approx: x = m·2^e with m in [√½, √2); log2 m = 2/ln 2 · artanh t, t = (m − 1)/(m + 1), by its series up to t^17 (|t| below 0.172), in double,
/// and rounded once.
/// </summary>
internal readonly struct Log2 : IScalarUnary<float, float>
{
    public static float Apply(float a)
    {
        if (float.IsNaN(a) || a < 0) return ScalarFloat.Canonical(float.NaN);
        if (a == 0) return float.NegativeInfinity;
        if (float.IsPositiveInfinity(a)) return a;
        int exponent = Math.ILogB(a);
        double m = Math.ScaleB(a, -exponent);
        if (m >= 1.4142135623730951) (m, exponent) = (m / 2, exponent + 1);
        double t = (m - 1) / (m + 1), square = t * t, sum = 0;
        for (int k = 17; k >= 1; k -= 2) sum = sum * square + 1.0 / k;
        return (float)(exponent + 2.88539008177792681 * t * sum);
    }
}

/// <summary>tanh.approx: 1 − 2/(e^2x + 1) in double, and x − x³/3 below 2^-7 (a relative error of x⁴·2/15); rounded once.</summary>
internal readonly struct HyperbolicTangent : IScalarUnary<float, float>
{
    public static float Apply(float a)
    {
        double x = a;
        if (float.IsNaN(a)) return ScalarFloat.Canonical(a);
        if (Math.Abs(x) < 0.0078125) return (float)(x * (1 - x * x / 3));
        if (Math.Abs(x) > 20) return a > 0 ? 1 : -1;
        return (float)(1 - 2 / (ScalarFloat.Exp2(x * 2.88539008177792681) + 1));
    }
}

/// <summary>
/// NaNs of f64: payloads are kept (PTX ISA 9.7.3, "NaN payloads are supported for double-precision instructions"); here the first NaN operand's, made
/// quiet, and FFF8000000000000 where an operation on numbers makes one.
/// </summary>
internal static class ScalarDouble
{
    private const ulong Quiet = 0x0008000000000000;

    public static double Result(double result, double a, double b = 0, double c = 0) =>
        !double.IsNaN(result) ? result
        : double.IsNaN(a) ? MadeQuiet(a)
        : double.IsNaN(b) ? MadeQuiet(b)
        : double.IsNaN(c) ? MadeQuiet(c)
        : BitConverter.UInt64BitsToDouble(0xFFF8000000000000);

    public static double MadeQuiet(double nan) => BitConverter.UInt64BitsToDouble(BitConverter.DoubleToUInt64Bits(nan) | Quiet);
}

internal readonly struct AddDouble : IScalarBinary<double>
{
    public static double Apply(double a, double b) => ScalarDouble.Result(a + b, a, b);
}

internal readonly struct SubtractDouble : IScalarBinary<double>
{
    public static double Apply(double a, double b) => ScalarDouble.Result(a - b, a, b);
}

internal readonly struct MultiplyDouble : IScalarBinary<double>
{
    public static double Apply(double a, double b) => ScalarDouble.Result(a * b, a, b);
}

internal readonly struct DivideDouble : IScalarBinary<double>
{
    public static double Apply(double a, double b) => ScalarDouble.Result(a / b, a, b);
}

internal readonly struct MinimumDouble : IScalarBinary<double>
{
    public static double Apply(double a, double b) => ScalarDouble.Result(double.MinNumber(a, b), a, b);
}

internal readonly struct MaximumDouble : IScalarBinary<double>
{
    public static double Apply(double a, double b) => ScalarDouble.Result(double.MaxNumber(a, b), a, b);
}

internal readonly struct FusedDouble : IScalarTernary<double>
{
    public static double Apply(double a, double b, double c) => ScalarDouble.Result(Math.FusedMultiplyAdd(a, b, c), a, b, c);
}

internal readonly struct NegateDouble : IScalarUnary<double, double>
{
    public static double Apply(double a) => BitConverter.UInt64BitsToDouble(BitConverter.DoubleToUInt64Bits(a) ^ 0x8000000000000000);
}

internal readonly struct AbsoluteDouble : IScalarUnary<double, double>
{
    public static double Apply(double a) => BitConverter.UInt64BitsToDouble(BitConverter.DoubleToUInt64Bits(a) & 0x7FFFFFFFFFFFFFFF);
}

internal readonly struct SquareRootDouble : IScalarUnary<double, double>
{
    public static double Apply(double a) => ScalarDouble.Result(Math.Sqrt(a), a);
}

internal readonly struct ReciprocalDouble : IScalarUnary<double, double>
{
    public static double Apply(double a) => ScalarDouble.Result(1 / a, a);
}
