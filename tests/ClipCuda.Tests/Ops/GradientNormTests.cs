using System.Runtime.InteropServices;
using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class GradientNormTests
{
    /// <summary>Around the 8,192 elements of a block and the 256 partial sums of the second stage.</summary>
    [TestCase(1, 0f)]
    [TestCase(64, 1f)]
    [TestCase(256, 1f)]
    [TestCase(257, 1f)]
    [TestCase(1_792, 1f)]
    [TestCase(1_793, 1f)]
    [TestCase(2_048, 1f)]
    [TestCase(2_049, 1f)]
    [TestCase(8_192, 1f)]
    [TestCase(8_193, 1000f)]
    [TestCase(2_200_001, 1f)]
    [OnEveryDevice]
    public void The_norm_and_the_clip_factor_match_the_reference(int count, float maxNorm)
    {
        var random = new Random(count);
        float[] g = [.. Enumerable.Range(0, count).Select(_ => Numbers.Normal(random))];
        double norm = Math.Sqrt(g.Sum(x => (double)x * x));
        uint[]? bits = null;
        foreach (var (engine, threads) in (ReadOnlySpan<(string, int)>)[("cpu", 1), ("cpu", 2), ("cpu:check", 2)])
        {
            if (engine == "cpu:check" && count > 10_000) continue;
            using var device = OpDevices.Open(engine, threads);
            using var parameters = new ParameterSet(device, [new ParameterSpec("p", [count], Decays: true)]);
            using var gradientNorm = new GradientNorm(parameters);
            parameters["p"].Gradient!.Upload(g);
            gradientNorm.Compute(maxNorm);
            var result = new float[2];
            device.CopyToHost(gradientNorm.Result, MemoryMarshal.AsBytes(result.AsSpan()));
            // Half of (32 + 16 + 2 + 8) roundings of 2^-24, all terms being positive.
            Numbers.AssertClose(result, [norm, maxNorm > 0 ? Math.Min(1, maxNorm / (norm + 1e-6)) : 1], 2e-6, 0, engine);
            Assert.That(gradientNorm.ReadNorm(), Is.EqualTo(result[0]));
            Assert.That(result.Select(BitConverter.SingleToUInt32Bits), Is.EqualTo(bits ??= [.. result.Select(BitConverter.SingleToUInt32Bits)]), "the same bits on every engine");
        }
    }

    /// <summary>1e-6 is added to the norm, and the factor is never above 1.</summary>
    [TestCase(1e-6f, 1e-6f, 0.5f)]
    [TestCase(1f, 0.75f, 0.75f)]
    [TestCase(1f, 1.5f, 1f)]
    [TestCase(1f, 3f, 1f)]
    [TestCase(1f, 0f, 1f)]
    [OnEveryDevice]
    public void The_factor_shortens_only(float gradient, float maxNorm, float factor)
    {
        using var device = OpDevices.Open("cpu:check", 1);
        using var parameters = new ParameterSet(device, [new ParameterSpec("p", [1], Decays: true)]);
        using var gradientNorm = new GradientNorm(parameters);
        parameters["p"].Gradient!.Upload([gradient]);
        gradientNorm.Compute(maxNorm);
        var result = new float[2];
        device.CopyToHost(gradientNorm.Result, MemoryMarshal.AsBytes(result.AsSpan()));
        Numbers.AssertClose(result, [gradient, Math.Min(1, maxNorm > 0 ? maxNorm / (gradient + 1e-6) : 1)], 2e-7, 0, "norm and factor"); // three roundings
        Assert.That(result[1], Is.EqualTo(factor).Within(2e-6f));
    }

    /// <summary>As PyTorch does: NaN makes every gradient NaN, infinity makes the factor zero.</summary>
    [TestCase(float.NaN, float.NaN, float.NaN)]
    [TestCase(float.PositiveInfinity, float.PositiveInfinity, 0f)]
    [OnEveryDevice]
    public void A_gradient_that_is_not_finite_shows_in_the_norm_and_in_the_factor(float bad, float norm, float factor)
    {
        using var device = OpDevices.Open("cpu", 1);
        using var parameters = new ParameterSet(device, [new ParameterSpec("p", [3], Decays: true)]);
        using var gradientNorm = new GradientNorm(parameters);
        parameters["p"].Gradient!.Upload([1, bad, 2]);
        gradientNorm.Compute(1);
        var result = new float[2];
        device.CopyToHost(gradientNorm.Result, MemoryMarshal.AsBytes(result.AsSpan()));
        Assert.That(result, Is.EqualTo(new[] { norm, factor }));
    }
}
