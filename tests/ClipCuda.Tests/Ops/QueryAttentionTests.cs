using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class QueryAttentionTests
{
    /// <summary>Eight rows are added at a time; fewer, as many, and more.</summary>
    [TestCase(1, 1, 1, 1)]
    [TestCase(2, 8, 2, 5)]
    [TestCase(1, 24, 1, 3)]
    [TestCase(2, 5, 3, 7)]
    [TestCase(2, 50, 2, 64)]
    [TestCase(1, 145, 1, 33)]
    [TestCase(2, 3, 2, 130)]
    public void Matches_the_reference_and_its_gradients(int batch, int sequence, int heads, int headWidth)
    {
        int width = heads * headWidth;
        new OpTest
        {
            Inputs = [OpInput.Activation("q", [batch, width]), OpInput.Activation("k", [batch, sequence, width]), OpInput.Activation("v", [batch, sequence, width])],
            Op = (tape, t) => QueryAttention.Forward(tape, t[0], t[1], t[2], heads),
            Reference = x => Reference(x[0], x[1], x[2], batch, sequence, heads),
            OutputShape = [batch, width],
            // Scores of 130 products are off by some 1e-6, and with them the weights relatively; sums of 145 weighted rows.
            ForwardTolerance = 5e-6,
            GradientTolerance = 2e-5,
        }.Run();
    }

    [Test]
    [OnEveryDevice]
    public void Large_scores_do_not_overflow()
    {
        using var device = OpDevices.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        float[] y = QueryAttention.Forward(tape, tape.Input([100f], 1, 1), tape.Input([100f, -100f], 1, 2, 1), tape.Input([3f, 5f], 1, 2, 1), heads: 1).ToArray();
        Assert.That(y, Is.EqualTo(new[] { 3f }));
    }

    /// <summary>Without its subtraction, the exponential of the largest score would overflow; those of the others are 0. Beyond the 128 threads of a block.</summary>
    [Test]
    [OnEveryDevice]
    public void The_largest_score_is_found_wherever_it_is()
    {
        const int Sequence = 131;
        using var device = OpDevices.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        float[] ones = [.. Enumerable.Repeat(1f, Sequence)];
        float[] keys = [.. Enumerable.Range(0, Sequence * Sequence).Select(i => i / Sequence == i % Sequence ? 120f : -(i % 60))];
        float[] values = [.. Enumerable.Range(0, Sequence * Sequence).Select(i => (float)(i % Sequence))];
        var y = QueryAttention.Forward(tape, tape.Input(ones, Sequence, 1), tape.Input(keys, Sequence, Sequence, 1), tape.Input(values, Sequence, Sequence, 1), heads: 1);
        Assert.That(y.ToArray(), Is.EqualTo(Enumerable.Range(0, Sequence).Select(s => (float)s)));
    }

    [Test]
    [OnEveryDevice]
    public void Wrong_shapes_are_named()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device);
        var k = tape.Allocate(2, 5, 6);
        Assert.That(() => QueryAttention.Forward(tape, tape.Allocate(2, 5), k, k, 2), Throws.ArgumentException.With.Message.Contains("[2, 5], expected [2, 6]"));
        Assert.That(() => QueryAttention.Forward(tape, tape.Allocate(2, 6), k, k, 4), Throws.ArgumentException.With.Message.Contains("4 heads do not divide width 6"));
    }

    internal static double[] Reference(double[] q, double[] k, double[] v, int batch, int sequence, int heads)
    {
        int width = q.Length / batch, headWidth = width / heads;
        var y = new double[q.Length];
        for (int b = 0; b < batch; b++)
        {
            for (int h = 0; h < heads; h++)
            {
                int At(int s, int d) => (b * sequence + s) * width + h * headWidth + d;
                double[] weights = [.. Enumerable.Range(0, sequence).Select(s =>
                    Math.Exp(Enumerable.Range(0, headWidth).Sum(d => q[b * width + h * headWidth + d] * k[At(s, d)]) / Math.Sqrt(headWidth)))];
                double total = weights.Sum();
                for (int d = 0; d < headWidth; d++) y[b * width + h * headWidth + d] = Enumerable.Range(0, sequence).Sum(s => weights[s] / total * v[At(s, d)]);
            }
        }
        return y;
    }
}
