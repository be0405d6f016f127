using ClipCuda.Devices;
using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class ClipLossTests
{
    // A logit is a chain of D fused multiply-adds, its rounding D·2^-25 of |a||b| = 1 on average, times the scale e^l; exp makes it relative.
    private const double ErrorOfALogit = 1e-6;

    /// <summary>Around the tiles of 32 rows, the chunks of 32 and the 128 columns of a block.</summary>
    [Test]
    public void Matches_the_reference_and_its_gradients([Values(1, 2, 31, 33, 67)] int batch, [Values(1, 31, 33, 129)] int width) => Check(batch, width, 1.1f);

    [Test]
    public void Is_safe_at_the_largest_scale([Values(2, 40)] int batch) => Check(batch, 16, MathF.Log(100));

    [Test]
    public void The_loss_of_equal_embeddings_is_the_logarithm_of_the_batch()
    {
        using var device = Device.Open("cpu:check", 2);
        using var tape = new Tape(device, recording: false);
        float[] ones = [.. Enumerable.Range(0, 7 * 4).Select(_ => 0.5f)];
        float loss = ClipLoss.Forward(tape, tape.Input(ones, 7, 4), tape.Input(ones, 7, 4), tape.Input([2f])).ToArray()[0];
        Assert.That(loss, Is.EqualTo(Math.Log(7)).Within(1e-5)); // lse ≈ 9.3 rounds to 2^-21
    }

    [TestCase(-1f, 0f)]
    [TestCase(2.5f, 2.5f)]
    [TestCase(9f, 4.60517019f)]
    public void The_scale_is_clamped_to_between_1_and_100(float before, float after)
    {
        using var device = Device.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        var scale = tape.Input([before]);
        ClipLoss.ClampLogitScale(scale);
        Assert.That(scale.ToArray(), Is.EqualTo(new[] { after }));
    }

    [Test]
    public void A_scale_that_is_no_number_shows_in_the_loss_and_survives_the_clamp()
    {
        using var device = Device.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        var scale = tape.Input([float.NaN]);
        var unit = tape.Input([1f, 0, 0, 1], 2, 2);
        Assert.That(ClipLoss.Forward(tape, unit, unit, scale).ToArray(), Is.EqualTo(new[] { float.NaN }));
        ClipLoss.ClampLogitScale(scale);
        Assert.That(scale.ToArray(), Is.EqualTo(new[] { float.NaN }));
    }

    [Test]
    public void An_embedding_that_is_no_number_shows_in_the_loss([Values(0, 33)] int row)
    {
        using var device = Device.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        float[] image = [.. Enumerable.Repeat(0.5f, 34 * 3)], text = [.. image];
        text[row * 3 + 1] = float.NaN;
        Assert.That(ClipLoss.Forward(tape, tape.Input(image, 34, 3), tape.Input(text, 34, 3), tape.Input([1f])).ToArray(), Is.EqualTo(new[] { float.NaN }));
    }

    [Test]
    public void Embeddings_of_unequal_shapes_are_refused()
    {
        using var device = Device.Open("cpu", 1);
        using var tape = new Tape(device);
        Assert.That(() => ClipLoss.Forward(tape, tape.Allocate(2, 3), tape.Allocate(2, 4), tape.Allocate()), Throws.ArgumentException.With.Message.Contains("text has shape [2, 4], expected [2, 3]"));
    }

    private static void Check(int batch, int width, float logitScale)
    {
        var random = new Random(batch * 1000 + width);
        double scale = Math.Exp(logitScale);
        new OpTest
        {
            Inputs =
            [
                new OpInput("image", [batch, width], OpInputKind.Activation, Values: Unit(random, batch, width)),
                new OpInput("text", [batch, width], OpInputKind.Activation, Values: Unit(random, batch, width)),
                new OpInput("logit_scale", [], OpInputKind.Parameter, Values: [logitScale]),
            ],
            Op = (tape, t) => ClipLoss.Forward(tape, t[0], t[1], t[2]),
            Reference = x => [Reference(x[0], x[1], x[2][0], batch)],
            OutputShape = [],
            ForwardTolerance = ErrorOfALogit * scale,
            GradientTolerance = 4 * ErrorOfALogit * scale,
            // With one pair, or one dimension, the gradients are zero in exact arithmetic: what is left is the rounding of a softmax near 1, times the scale.
            Floor = 1e-6 * scale,
        }.Run();
    }

    private static float[] Unit(Random random, int rows, int width)
    {
        double[] x = [.. Enumerable.Range(0, rows * width).Select(_ => (double)Numbers.Normal(random))];
        return [.. L2NormalizeTests.Reference(x, width).Select(v => (float)v)];
    }

    internal static double Reference(double[] image, double[] text, double logitScale, int batch)
    {
        int width = image.Length / batch;
        double loss = 0;
        for (int i = 0; i < batch; i++)
        {
            double[] row = [.. Enumerable.Range(0, batch).Select(j => Logit(i, j))], column = [.. Enumerable.Range(0, batch).Select(j => Logit(j, i))];
            loss += (LogSumExp(row) + LogSumExp(column) - 2 * row[i]) / (2 * batch);
        }
        return loss;

        double Logit(int i, int j)
        {
            double sum = 0;
            for (int d = 0; d < width; d++) sum += image[i * width + d] * text[j * width + d];
            return Math.Exp(logitScale) * sum;
        }

        static double LogSumExp(double[] values)
        {
            double largest = values.Max();
            return largest + Math.Log(values.Sum(v => Math.Exp(v - largest)));
        }
    }
}
