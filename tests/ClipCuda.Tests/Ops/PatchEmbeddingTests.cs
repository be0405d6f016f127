using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class PatchEmbeddingTests
{
    /// <summary>A warp takes a row of a patch, 32 pixels at a time.</summary>
    [TestCase(1, 4, 4, 4, 5)]
    [TestCase(2, 2, 3, 1, 4)]
    [TestCase(1, 33, 66, 33, 3)]
    [TestCase(1, 65, 65, 65, 2)]
    [TestCase(3, 6, 8, 2, 7)]
    [TestCase(2, 10, 5, 5, 131)]
    [TestCase(2, 7, 7, 7, 129)]
    [TestCase(4, 4, 2, 2, 3)]
    [TestCase(11, 4, 2, 2, 3)]
    public void Matches_the_reference_and_its_gradients(int batch, int height, int imageWidth, int patch, int width)
    {
        int sequence = 1 + height / patch * (imageWidth / patch);
        var random = new Random(7);
        float[] pixels = [.. Enumerable.Range(0, batch * 3 * height * imageWidth).Select(_ => Numbers.Normal(random))];
        new OpTest
        {
            Inputs = [OpInput.Parameter("convolution", [width, 3, patch, patch]), OpInput.Parameter("class", [width]), OpInput.Parameter("positions", [sequence, width])],
            Op = (tape, t) => PatchEmbedding.Forward(tape, tape.Input(pixels, batch, 3, height, imageWidth), t[0], t[1], t[2]),
            Reference = x => Reference(Array.ConvertAll(pixels, p => (double)p), x[0], x[1], x[2], height, imageWidth, patch),
            OutputShape = [batch, sequence, width],
            ForwardTolerance = 5e-6, // chains of 3·patch² fused multiply-adds, whose partial sums grow with the result: √(3·65²)·2^-25 where they go at random
            GradientTolerance = 2e-6, // sums over at most 36 rows
        }.Run();
    }

    [Test]
    [OnEveryDevice]
    public void An_image_that_patches_do_not_tile_is_refused()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device);
        Assert.That(
            () => PatchEmbedding.Forward(tape, tape.Allocate(1, 3, 8, 9), tape.Allocate(2, 3, 4, 4), tape.Allocate(2), tape.Allocate(5, 2)),
            Throws.ArgumentException.With.Message.Contains("multiples of 4"));
    }

    internal static double[] Reference(double[] pixels, double[] convolution, double[] classToken, double[] positions, int height, int imageWidth, int patch)
    {
        int width = classToken.Length, across = imageWidth / patch, sequence = positions.Length / width, batch = pixels.Length / (3 * height * imageWidth);
        var y = new double[batch * sequence * width];
        for (int i = 0; i < y.Length; i++)
        {
            int c = i % width, s = i / width % sequence, b = i / width / sequence;
            y[i] = positions[s * width + c];
            if (s == 0)
            {
                y[i] += classToken[c];
                continue;
            }
            int top = (s - 1) / across * patch, left = (s - 1) % across * patch;
            for (int k = 0; k < 3 * patch * patch; k++)
            {
                int channel = k / (patch * patch), row = k / patch % patch, column = k % patch;
                y[i] += convolution[c * 3 * patch * patch + k] * pixels[((b * 3 + channel) * height + top + row) * imageWidth + left + column];
            }
        }
        return y;
    }
}
