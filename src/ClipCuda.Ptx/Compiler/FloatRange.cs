namespace ClipCuda.Ptx.Compiler;

/// <summary>
/// Bounds of a float, from the constants, minima and maxima it was computed with: enough to see that a clamped argument and the polynomials of
/// it are never NaN. Only straight code is looked through.
/// </summary>
internal readonly record struct FloatRange(double Low, double High, bool MayBeNaN)
{
    /// <summary>Results beyond may have become infinite by rounding.</summary>
    private const double Finite = 3.4e38;

    private const int DeepestChain = 64;

    private static readonly FloatRange Anything = new(double.NegativeInfinity, double.PositiveInfinity, MayBeNaN: true);

    private bool IsFinite => !MayBeNaN && Low >= -Finite && High <= Finite;

    /// <summary>The range of what an operation computes.</summary>
    /// <param name="known">Those found before, by the operation's number: what many results depend on is looked at once.</param>
    public static FloatRange Of(Operation? operation, FloatRange?[] known, int depth = 0)
    {
        if (operation is not { Kind: OperationKind.Pure } || depth > DeepestChain) return Anything;
        if (known[operation.Number] is { } range) return range;
        known[operation.Number] = Anything; // what a loop that leads back here finds
        range = Compute(operation, known, depth);
        known[operation.Number] = range;
        return range;
    }

    private static FloatRange Compute(Operation operation, FloatRange?[] known, int depth)
    {
        var native = operation.Native;
        if (native.Kind == Native.IntegerToFloat) return new(int.MinValue, uint.MaxValue, MayBeNaN: false);
        if (native.Flush || (native.In != Number.F32 && !native.Copies)) return Anything;
        switch (native.Kind)
        {
            case Native.Move:
                return Source(0);
            case Native.Select:
                return Source(0).Join(Source(1));
            case Native.Absolute:
                var x = Source(0);
                return new(Math.Max(0, Math.Max(x.Low, -x.High)), Math.Max(Math.Abs(x.Low), Math.Abs(x.High)), x.MayBeNaN);
            case Native.Negate:
                return Source(0).Negated();
            case Native.Minimum:
                return Minimum(Source(0), Source(1));
            case Native.Maximum:
                return Minimum(Source(0).Negated(), Source(1).Negated()).Negated();
            case Native.Add:
                return Sum(Source(0), Source(1));
            case Native.Subtract:
                return Sum(Source(0), Source(1).Negated());
            case Native.Multiply:
                return Product(Source(0), Source(1));
            case Native.Fused:
                return Sum(Product(Source(0), Source(1)), Source(2));
            default:
                return Anything;
        }

        FloatRange Source(int s)
        {
            var source = operation.Sources[s];
            if (!source.IsConstant) return source.IsWeb ? Of(operation.Reaching[s], known, depth + 1) : Anything;
            float value = BitConverter.UInt32BitsToSingle((uint)source.Bits);
            return float.IsNaN(value) ? Anything : new(value, value, MayBeNaN: false);
        }
    }

    private FloatRange Join(FloatRange other) => new(Math.Min(Low, other.Low), Math.Max(High, other.High), MayBeNaN || other.MayBeNaN);

    private FloatRange Negated() => new(-High, -Low, MayBeNaN);

    /// <summary>The lesser of two; of a number and a NaN the number.</summary>
    private static FloatRange Minimum(FloatRange a, FloatRange b)
    {
        double high = Math.Min(a.High, b.High);
        if (a.MayBeNaN) high = b.High;
        if (b.MayBeNaN) high = a.MayBeNaN ? Math.Max(a.High, b.High) : a.High;
        return new(Math.Min(a.Low, b.Low), high, a.MayBeNaN && b.MayBeNaN);
    }

    private static FloatRange Sum(FloatRange a, FloatRange b) =>
        a.IsFinite && b.IsFinite ? new FloatRange(a.Low + b.Low, a.High + b.High, MayBeNaN: false).Rounded() : Anything;

    private static FloatRange Product(FloatRange a, FloatRange b)
    {
        if (!a.IsFinite || !b.IsFinite) return Anything;
        var (p, q, r, s) = (a.Low * b.Low, a.Low * b.High, a.High * b.Low, a.High * b.High);
        return new FloatRange(Math.Min(Math.Min(p, q), Math.Min(r, s)), Math.Max(Math.Max(p, q), Math.Max(r, s)), MayBeNaN: false).Rounded();
    }

    /// <summary>Widened by more than a float's rounding.</summary>
    private FloatRange Rounded() => new(Low - Math.Abs(Low) * 1e-6 - float.Epsilon, High + Math.Abs(High) * 1e-6 + float.Epsilon, MayBeNaN);
}
