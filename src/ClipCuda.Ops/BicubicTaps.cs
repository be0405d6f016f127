namespace ClipCuda.Ops;

/// <summary>
/// The taps of an antialiased bicubic resize along one axis, as Pillow computes them (src/libImaging/Resample.c, precompute_coeffs and
/// normalize_coeffs_8bpc): float64 weights of the cubic with a = −0.5 over 2·max(1, scale) input pixels either side, normalised to a sum
/// of 1, rounded to 22 fractional bits.
/// </summary>
public static class BicubicTaps
{
    private const int FractionBits = 22;

    /// <summary>Rows of [from, count, weights…] for outputs [first, first + count) of <paramref name="output"/>, all of the same pitch.</summary>
    public static (int[] Taps, int Pitch) Compute(int input, int output, int first, int count)
    {
        int pitch = 2 + (int)Math.Ceiling(2 * Math.Max((double)input / output, 1)) * 2 + 1;
        var taps = new int[count * pitch];
        for (int i = 0; i < count; i++)
        {
            var (from, weights) = Weights(input, output, first + i);
            var row = taps.AsSpan(i * pitch, pitch);
            (row[0], row[1]) = (from, weights.Length);
            for (int k = 0; k < weights.Length; k++) row[2 + k] = (int)((weights[k] < 0 ? -0.5 : 0.5) + weights[k] * (1 << FractionBits));
        }
        return (taps, pitch);
    }

    /// <summary>
    /// The same by column, so that neighbouring outputs' numbers are neighbours: the first input of each output, then each one's first weight, second and
    /// so on. All have as many, <c>Count</c>, some of them zero.
    /// </summary>
    public static (int[] Taps, int Count) ComputeColumns(int input, int output, int first, int count)
    {
        var (rows, pitch) = Compute(input, output, first, count);
        int most = Enumerable.Range(0, count).Max(i => rows[i * pitch + 1]);
        int[] columns = new int[(1 + most) * count];
        for (int i = 0; i < count; i++)
        {
            var row = rows.AsSpan(i * pitch, pitch);
            int from = Math.Min(row[0], input - most);
            columns[i] = from;
            for (int k = 0; k < row[1]; k++) columns[(1 + row[0] - from + k) * count + i] = row[2 + k];
        }
        return (columns, most);
    }

    /// <summary>The first input of one output and the weights from there, before they are rounded.</summary>
    public static (int First, double[] Weights) Weights(int input, int output, int index)
    {
        double scale = (double)input / output, filterScale = Math.Max(scale, 1), support = 2 * filterScale;
        double centre = (index + 0.5) * scale, total = 0;
        int from = Math.Max(0, (int)(centre - support + 0.5)), to = Math.Min(input, (int)(centre + support + 0.5));
        var weights = new double[to - from];
        for (int k = 0; k < weights.Length; k++) total += weights[k] = Cubic((k + from - centre + 0.5) * (1 / filterScale));
        if (total != 0)
        {
            for (int k = 0; k < weights.Length; k++) weights[k] /= total;
        }
        return (from, weights);
    }

    /// <summary>Keys' cubic convolution kernel with a = −0.5 (Keys 1981, equation 4).</summary>
    private static double Cubic(double x)
    {
        const double A = -0.5;
        x = Math.Abs(x);
        if (x < 1) return ((A + 2) * x - (A + 3)) * x * x + 1;
        return x < 2 ? (((x - 5) * x + 8) * x - 4) * A : 0;
    }
}
