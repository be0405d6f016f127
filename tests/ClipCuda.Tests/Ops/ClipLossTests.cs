using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class ClipLossTests
{
    // A logit is a chain of D fused multiply-adds, its rounding D·2^-25 of |a||b| = 1 on average, times the scale e^l; exp makes it relative, and adds
    // with log and the sums about 8 roundings of its own. Of long chains the roundings cancel.
    private static double ErrorOfALogit(int width) => Math.Min(1e-6, (width + 8) * Math.ScaleB(1, -25));

    /// <summary>Around the four images of a block, the 32 lanes of a warp and the 32 texts of a block; few columns spread the logits.</summary>
    [Test]
    public void Matches_the_reference_and_its_gradients([Values(1, 2, 3, 5, 31, 33, 67)] int batch, [Values(1, 3, 33)] int width) => Check(batch, width, 1.1f);

    /// <summary>Several strips of images, the last one shorter or not.</summary>
    [TestCase(5, 1)]
    [TestCase(9, 3)]
    [TestCase(37, 8)]
    [TestCase(37, 36)]
    public void Matches_the_reference_over_several_strips(int batch, int strip) => Check(batch, width: 3, 1.1f, strip);

    /// <summary>A batch of which one strip holds not all images has the loss and the gradients of one strip, but for the order of its sums.</summary>
    [Test]
    public void A_large_batch_takes_several_strips()
    {
        const int Batch = 1030, Width = 3;
        using var device = OpDevices.Open("cpu", 2);
        using var tape = new Tape(device, recording: false);
        var random = new Random(1);
        var (image, text, scale) = (tape.Input(Unit(random, Batch, Width), Batch, Width), tape.Input(Unit(random, Batch, Width), Batch, Width), tape.Input([2f]));
        float whole = ClipLoss.Forward(tape, image, text, scale, keys: null, strip: Batch).ToArray()[0];
        // The loss is near ln 1,030 ≈ 7: the roundings of the two lse and of the mean.
        Assert.That(ClipLoss.Forward(tape, image, text, scale).ToArray()[0], Is.EqualTo(whole).Within(4 * Math.ScaleB(1, -22)));
    }

    /// <summary>One text among the first 32 or behind them is like all images, where all others have nothing of them: e^100 is no float, e^-100 is 0, e^-5 and e^-1.04 weigh.</summary>
    [Test]
    public void One_text_may_outweigh_all_others([Values(3, 35, 39)] int large, [Values(1.04f, 5, 100)] float scale) =>
        Check(Same(40), OneLike(40, large), batch: 40, width: 2, MathF.Log(scale));

    /// <summary>The same of an image, of any of the four warps that share them, in one of three strips or in all.</summary>
    [Test]
    public void One_image_may_outweigh_all_others([Values(0, 5, 34, 39)] int large, [Values(1.04f, 100)] float scale, [Values(16, 40)] int strip) =>
        Check(OneLike(40, large), Same(40), batch: 40, width: 2, MathF.Log(scale), strip: strip);

    /// <summary>e^-100 is no normal float and counts as 0.</summary>
    [Test]
    public void A_scale_of_zero_makes_all_pairs_equal() => Check(batch: 5, width: 3, logitScale: -100);

    /// <summary>Beyond the 128 rows that the last kernel adds at a time.</summary>
    [Test]
    public void Matches_the_reference_beyond_the_threads_of_a_block() => Check(batch: 131, width: 3, 1.1f);

    [Test]
    public void Is_safe_at_the_largest_scale([Values(2, 40, 67)] int batch, [Values(2, 16)] int width) => Check(batch, width, MathF.Log(100));

    /// <summary>More pairs than a block has threads.</summary>
    [Test]
    [OnEveryDevice]
    public void The_gradient_of_the_scale_is_the_sum_over_all_images([Values(1, 128, 300)] int batch)
    {
        using var device = OpDevices.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        var gradient = tape.Input([10f]);
        var partial = tape.Input([.. Enumerable.Range(1, batch).Select(i => (float)i)], batch);
        device.Kernel("cliploss_gradient_scale").Launch(1, 128, gradient.Data, partial.Data, batch);
        Assert.That(gradient.ToArray(), Is.EqualTo(new[] { 10f + batch * (batch + 1) / 2 }));
    }

    /// <summary>Equal captions and equal pictures of different pairs leave both denominators and get no gradient of each other; a pair itself stays.</summary>
    [Test]
    public void Pairs_of_equal_keys_are_no_negatives_of_each_other([Values(2, 5, 37)] int batch, [Values] bool images, [Values] bool texts)
    {
        var random = new Random(batch);
        int[] keys =
        [
            .. Enumerable.Range(0, batch).Select(i => images ? i % 3 : i),
            .. Enumerable.Range(0, batch).Select(i => texts ? i / 2 : i + 7),
        ];
        Check(Unit(random, batch, 3), Unit(random, batch, 3), batch, width: 3, 1.1f, keys, strip: 16);
    }

    /// <summary>Where all are of one key no negative is left: the loss and its gradients are 0.</summary>
    [Test]
    public void The_loss_of_equal_pairs_is_zero() =>
        Check(Unit(new Random(1), 5, 3), Unit(new Random(2), 5, 3), batch: 5, width: 3, MathF.Log(100), new int[10]);

    [Test]
    [OnEveryDevice]
    public void The_loss_of_equal_embeddings_is_the_logarithm_of_the_batch()
    {
        using var device = OpDevices.Open("cpu:check", 2);
        using var tape = new Tape(device, recording: false);
        float[] ones = [.. Enumerable.Range(0, 7 * 4).Select(_ => 0.5f)];
        float loss = ClipLoss.Forward(tape, tape.Input(ones, 7, 4), tape.Input(ones, 7, 4), tape.Input([2f])).ToArray()[0];
        Assert.That(loss, Is.EqualTo(Math.Log(7)).Within(1e-5)); // lse ≈ 9.3 rounds to 2^-21
    }

    /// <summary>All logits being 0, a row's log-sum-exp is the logarithm itself.</summary>
    [Test]
    [OnEveryDevice]
    public void The_loss_of_zero_embeddings_is_the_logarithm_to_a_few_ulp()
    {
        for (int batch = 1; batch <= 67; batch++)
        {
            using var device = OpDevices.Open("cpu:check", 1);
            using var tape = new Tape(device, recording: false);
            var zero = tape.Input(new float[batch], batch, 1);
            float loss = ClipLoss.Forward(tape, zero, zero, tape.Input([0f])).ToArray()[0];
            // 0.85 ulp of the logarithm, and the sum of equal numbers in a tree.
            Assert.That(loss, Is.EqualTo(Math.Log(batch)).Within(Math.Log(batch) * 4 * Math.ScaleB(1, -24)), $"batch {batch}");
        }
    }

    [TestCase(-1f, 0f)]
    [TestCase(0.5f, 0.5f)]
    [TestCase(2.5f, 2.5f)]
    [TestCase(9f, 4.60517019f)]
    [OnEveryDevice]
    public void The_scale_is_clamped_to_between_1_and_100(float before, float after)
    {
        using var device = OpDevices.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        var scale = tape.Input([before]);
        ClipLoss.ClampLogitScale(scale);
        Assert.That(scale.ToArray(), Is.EqualTo(new[] { after }));
    }

    [Test]
    [OnEveryDevice]
    public void A_scale_that_is_no_number_shows_in_the_loss_and_survives_the_clamp()
    {
        using var device = OpDevices.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        var scale = tape.Input([float.NaN]);
        var unit = tape.Input([1f, 0, 0, 1], 2, 2);
        Assert.That(ClipLoss.Forward(tape, unit, unit, scale).ToArray(), Is.EqualTo(new[] { float.NaN }));
        ClipLoss.ClampLogitScale(scale);
        Assert.That(scale.ToArray(), Is.EqualTo(new[] { float.NaN }));
    }

    [Test]
    [OnEveryDevice]
    public void An_embedding_that_is_no_number_shows_in_the_loss([Values(0, 33)] int row)
    {
        using var device = OpDevices.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        float[] image = [.. Enumerable.Repeat(0.5f, 34 * 3)], text = [.. image];
        text[row * 3 + 1] = float.NaN;
        Assert.That(ClipLoss.Forward(tape, tape.Input(image, 34, 3), tape.Input(text, 34, 3), tape.Input([1f])).ToArray(), Is.EqualTo(new[] { float.NaN }));
    }

    [Test]
    [OnEveryDevice]
    public void Embeddings_of_unequal_shapes_are_refused()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device);
        Assert.That(() => ClipLoss.Forward(tape, tape.Allocate(2, 3), tape.Allocate(2, 4), tape.Allocate()), Throws.ArgumentException.With.Message.Contains("text has shape [2, 4], expected [2, 3]"));
    }

    private static void Check(int batch, int width, float logitScale, int strip = int.MaxValue)
    {
        var random = new Random(batch * 1000 + width);
        Check(Unit(random, batch, width), Unit(random, batch, width), batch, width, logitScale, strip: strip);
    }

    private static void Check(float[] image, float[] text, int batch, int width, float logitScale, int[]? keys = null, int strip = int.MaxValue)
    {
        double scale = Math.Max(1, Math.Exp(logitScale)); // where it is less, the logarithm rounds by more
        new OpTest
        {
            Inputs =
            [
                new OpInput("image", [batch, width], OpInputKind.Activation, Values: image),
                new OpInput("text", [batch, width], OpInputKind.Activation, Values: text),
                new OpInput("logit_scale", [], OpInputKind.Parameter, Values: [logitScale]),
            ],
            Op = (tape, t) => ClipLoss.Forward(tape, t[0], t[1], t[2], keys is null ? null : tape.Input(keys, 2, batch), strip),
            Reference = x => [Reference(x[0], x[1], x[2][0], batch, keys)],
            OutputShape = [],
            ForwardTolerance = ErrorOfALogit(width) * scale,
            GradientTolerance = 4 * ErrorOfALogit(width) * scale,
            // With one pair, or one dimension, the gradients are zero in exact arithmetic: what is left is the rounding of a softmax near 1, times the scale.
            Floor = batch == 1 || width == 1 || keys?.Distinct().Count() == 1 ? 1e-6 * scale : 1e-8 * scale,
        }.Run();
    }

    private static float[] Same(int rows) => [.. Enumerable.Range(0, 2 * rows).Select(i => i % 2 == 0 ? 1f : 0)];

    /// <summary>One row like those of <see cref="Same"/>; the others have nothing of it.</summary>
    private static float[] OneLike(int rows, int one) => [.. Enumerable.Range(0, 2 * rows).Select(i => (i / 2 == one) == (i % 2 == 0) ? 1f : 0)];

    private static float[] Unit(Random random, int rows, int width)
    {
        double[] x = [.. Enumerable.Range(0, rows * width).Select(_ => (double)Numbers.Normal(random))];
        return [.. L2NormalizeTests.Reference(x, width).Select(v => (float)v)];
    }

    /// <param name="keys">As the op's, without which every other pair is a negative.</param>
    internal static double Reference(double[] image, double[] text, double logitScale, int batch, int[]? keys = null)
    {
        int width = image.Length / batch;
        double loss = 0;
        for (int i = 0; i < batch; i++)
        {
            int[] seen = [.. Enumerable.Range(0, batch).Where(j => j == i || keys is null || (keys[i] != keys[j] && keys[batch + i] != keys[batch + j]))];
            loss += (LogSumExp([.. seen.Select(j => Logit(i, j))]) + LogSumExp([.. seen.Select(j => Logit(j, i))]) - 2 * Logit(i, i)) / (2 * batch);
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
