namespace ClipCuda.Tests;

/// <summary>Comparing arrays so that NaN always fails, and drawing random ones.</summary>
internal static class Numbers
{
    /// <summary>Fails unless |actual − expected| ≤ tolerance · max|expected| + floor everywhere; a NaN on either side fails.</summary>
    public static void AssertClose(ReadOnlySpan<float> actual, ReadOnlySpan<double> expected, double tolerance, double floor, string what)
    {
        Assert.That(actual.Length, Is.EqualTo(expected.Length), $"{what}: number of elements");
        double largest = 0;
        foreach (double value in expected)
        {
            Assert.That(double.IsFinite(value), Is.True, $"{what}: the reference itself is not finite");
            largest = Math.Max(largest, Math.Abs(value));
        }
        double allowed = tolerance * largest + floor, worst = -1;
        int at = -1;
        for (int i = 0; i < expected.Length; i++)
        {
            double error = Math.Abs(actual[i] - expected[i]);
            if (error <= worst) continue;
            (worst, at) = (error, i);
            if (double.IsNaN(error)) break;
        }
        if (!(worst <= allowed))
            Assert.Fail($"{what}: element {at} is {actual[at]:g9}, expected {expected[at]:g9}; error {worst:g3}, allowed {allowed:g3} (largest {largest:g3})");
    }

    /// <summary>Fails unless both hold the same bits.</summary>
    public static void AssertSameBits(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected, string what)
    {
        Assert.That(actual.Length, Is.EqualTo(expected.Length), $"{what}: number of elements");
        for (int i = 0; i < expected.Length; i++)
        {
            if (BitConverter.SingleToUInt32Bits(actual[i]) != BitConverter.SingleToUInt32Bits(expected[i]))
                Assert.Fail($"{what}: element {i} is {actual[i]:g9}, not the same bits as {expected[i]:g9}");
        }
    }

    /// <summary>A standard normal number (Box–Muller).</summary>
    public static float Normal(Random random)
    {
        double radius = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble()));
        return (float)(radius * Math.Cos(2 * Math.PI * random.NextDouble()));
    }
}
