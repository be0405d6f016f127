using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class AdamWTests
{
    private const float Beta1 = 0.9f, Beta2 = 0.98f, Epsilon = 1e-6f, Decay = 0.1f;

    private static readonly float[] LearningRates = [1e-2f, 7e-3f, 3e-3f, 1e-3f];

    [TestCase("cpu", 1)]
    [TestCase("cpu", 2)]
    [TestCase("cpu:check", 2)]
    [OnEveryDevice]
    public void Four_steps_match_the_reference_with_and_without_decay(string engine, int threads) => Check(engine, threads, plain: 67, decaying: 300);

    /// <summary>A block takes 256 elements eight times: once for each, decay ends there, and with it the last block ends there.</summary>
    [Test]
    [OnEveryDevice]
    public void Four_steps_match_the_reference_in_every_part_of_a_block([Range(0, 7)] int part) => Check("cpu:check", 1, plain: 2048, decaying: 256 * part + 64);

    /// <summary>Sets of parameters are multiples of 64 elements, which the kernel is not told: in any vector of a warp's stretch, decay ends and the count does.</summary>
    [TestCase(1, 0)]
    [TestCase(2048 + 3 * 256 + 2 * 32 + 1, 2048 + 256 + 7 * 32 + 1)]
    [TestCase(2048 + 3 * 256 + 5 * 32 + 20, 2048 + 2 * 256 + 3 * 32 + 7)]
    [OnEveryDevice]
    public void A_step_ends_at_any_element(int count, int decayed)
    {
        const float Keep = 0.75f, Rate = 0.01f, Correction = 2, Clip = 0.5f;
        var random = new Random(count);
        float[] p = Draw(random, count), m = Draw(random, count), g = Draw(random, count), v = [.. Draw(random, count).Select(x => 0.5f + x * x)];
        double[] first = new double[count], second = new double[count], value = new double[count];
        for (int i = 0; i < count; i++)
        {
            double gradient = Clip * (double)g[i];
            first[i] = Beta1 * (double)m[i] + (1 - (double)Beta1) * gradient;
            second[i] = Beta2 * (double)v[i] + (1 - (double)Beta2) * gradient * gradient;
            value[i] = p[i] * (i < decayed ? Keep : 1.0) - Rate * first[i] / (Math.Sqrt(second[i]) * Correction + Epsilon);
        }
        using var device = OpDevices.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        Tensor values = tape.Input(p, count), firsts = tape.Input(m, count), seconds = tape.Input(v, count);
        device.Kernel("adamw_step").Launch(
            Shapes.Stretches(count), 256, values.Data, firsts.Data, seconds.Data, tape.Input(g, count).Data, tape.Input([Keep, Rate, Correction], 3).Data, tape.Input([0, Clip], 2).Data,
            (long)count, (long)decayed, Beta1, 1 - Beta1, Beta2, 1 - Beta2, Epsilon);
        // The moments round two and three times (1 − β is exact in float); the values twice, and updates of at most 0.03 eight times.
        Numbers.AssertClose(firsts.ToArray(), first, 1.2e-7, 0, "first moments");
        Numbers.AssertClose(seconds.ToArray(), second, 1.8e-7, 0, "second moments");
        Numbers.AssertClose(values.ToArray(), value, 1.2e-7, 0.03 * 5e-7, "values");
    }

    private static void Check(string engine, int threads, int plain, int decaying)
    {
        var random = new Random(5);
        int[] counts = [plain, decaying];
        float[][] values = [.. counts.Select(n => Draw(random, n))];
        double[][] expected = [.. counts.Select((_, i) => Array.ConvertAll(values[i], x => (double)x))], m = [.. counts.Select(n => new double[n])], v = [.. counts.Select(n => new double[n])];
        using var device = OpDevices.Open(engine, threads);
        using var parameters = new ParameterSet(device, [new ParameterSpec("bias", [plain], Decays: false), new ParameterSpec("weight", [decaying], Decays: true)]);
        using var norm = new GradientNorm(parameters);
        using var optimizer = new AdamW(parameters, Beta1, Beta2, Epsilon, Decay);
        for (int i = 0; i < 2; i++) parameters[parameters.Names[i]].Upload(values[i]);
        for (int step = 1; step <= LearningRates.Length; step++)
        {
            float[][] g = [.. counts.Select(n => Draw(random, n))];
            for (int i = 0; i < 2; i++) parameters[parameters.Names[i]].Gradient!.Upload(g[i]);
            norm.Compute(maxNorm: 5);
            optimizer.Step(LearningRates[step - 1], norm.Result);
            double total = Math.Sqrt(g.Sum(a => a.Sum(x => (double)x * x))), clip = Math.Min(1, 5 / (total + 1e-6));
            for (int i = 0; i < 2; i++) Reference(expected[i], m[i], v[i], g[i], clip, LearningRates[step - 1], i == 1 ? Decay : 0, step);
        }
        Assert.That(optimizer.StepCount, Is.EqualTo(4));
        // Each update is below 2·lr and carries a few relative roundings, 2e-6 with the norm's; the value rounds by 2^-24 a step.
        for (int i = 0; i < 2; i++) Numbers.AssertClose(parameters[parameters.Names[i]].ToArray(), expected[i], 4 * 6e-8, 2.1e-2 * 2 * 4e-6, parameters.Names[i]);
        Assert.That(parameters.Values.ToArray()[decaying..((decaying + 63) / 64 * 64)], Is.All.Zero, "gaps stay zero");
    }

    [Test]
    [OnEveryDevice]
    public void Moments_that_would_be_denormal_become_zero()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var parameters = new ParameterSet(device, [new ParameterSpec("p", [2], Decays: false)]);
        using var norm = new GradientNorm(parameters);
        using var optimizer = new AdamW(parameters, Beta1, Beta2, Epsilon, Decay);
        // 0.1·g is denormal for the first; g² underflows for both, so √v = 0 and the second moves by lr·m̂/ε.
        parameters["p"].Gradient!.Upload([5e-38f, 5e-30f]);
        norm.Compute(0);
        optimizer.Step(1f, norm.Result);
        Assert.That(parameters["p"].ToArray()[0], Is.Zero);
        Assert.That(parameters["p"].ToArray()[1], Is.EqualTo(-5e-24f).Within(0.001).Percent);
    }

    /// <summary>Around 2^-126 in every part of a block; with these betas the moments are exact.</summary>
    [Test]
    [OnEveryDevice]
    public void Moments_down_to_the_smallest_normal_number_stay()
    {
        const float Half = 0.5f, ThreeQuarters = 0.75f, Tiny = 1e-20f;
        double smallest = Math.ScaleB(1, -126);
        // First moments of 1/2, 1 and 3/2 times 2^-126, whose squares vanish; second moments of 1/4, 1 and 9/4 times 2^-126.
        float[] gradients = [.. ((double[])[smallest, 2 * smallest, -3 * smallest, Math.ScaleB(1, -63), Math.ScaleB(1, -62), Math.ScaleB(-1.5, -62)]).Select(g => (float)g)];
        using var device = OpDevices.Open("cpu:check", 1);
        using var parameters = new ParameterSet(device, [new ParameterSpec("p", [2048], Decays: false)]);
        using var norm = new GradientNorm(parameters);
        using var optimizer = new AdamW(parameters, Half, ThreeQuarters, Tiny, Decay);
        float[] g = [.. Enumerable.Range(0, 2048).Select(i => gradients[i % gradients.Length])];
        parameters["p"].Gradient!.Upload(g);
        norm.Compute(0);
        optimizer.Step(1f, norm.Result);
        float[] p = parameters["p"].ToArray();
        for (int i = 0; i < p.Length; i++)
        {
            double m = 0.5 * g[i], v = 0.25 * g[i] * g[i];
            if (Math.Abs(m) < smallest) m = 0;
            if (v < smallest) v = 0;
            double expected = -2 * m / (2 * Math.Sqrt(v) + Tiny); // lr / (1 − β1) = 2, 1 / √(1 − β2) = 2
            Assert.That(p[i], Is.EqualTo(expected).Within(Math.Abs(expected) * 4e-7), $"element {i}, gradient {g[i]}"); // six roundings
        }
    }

    private static void Reference(double[] p, double[] m, double[] v, float[] g, double clip, double rate, double decay, int step)
    {
        for (int i = 0; i < p.Length; i++)
        {
            double gradient = g[i] * clip;
            p[i] *= 1 - rate * decay;
            m[i] = Beta1 * m[i] + (1 - Beta1) * gradient;
            v[i] = Beta2 * v[i] + (1 - Beta2) * gradient * gradient;
            p[i] -= rate * (m[i] / (1 - Math.Pow(Beta1, step))) / (Math.Sqrt(v[i] / (1 - Math.Pow(Beta2, step))) + Epsilon);
        }
    }

    private static float[] Draw(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => Numbers.Normal(random))];
}
