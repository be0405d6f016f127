using ClipCuda.Data;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Ops;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class PairBuffersTests
{
    private const int Side = 20, Pairs = 3;

    [Test]
    public void Other_pairs_come_to_the_same_place()
    {
        using var run = new TinyRun();
        var options = run.Options("");
        using var device = Device.Open("cpu", 1);
        using (var model = new ClipModel(device, options.Model))
        using (var preprocess = new Preprocess(device, options.Model.Vision.ImageSize, Preprocess.ClipMean, Preprocess.ClipDeviation))
        using (var buffers = new PairBuffers(model, options, Pairs))
        using (var tape = new Tape(device))
        {
            var (pixels, ids) = (buffers.Pixels.Data.Address, buffers.Tokens.Ids.Data.Address);
            for (int seed = 1; seed < 3; seed++)
            {
                byte[] rgb = new byte[Pairs * Side * Side * 3];
                new Random(seed).NextBytes(rgb);
                ImageSlot[] images = [.. Enumerable.Range(0, Pairs).Select(i => new ImageSlot(i * Side * Side * 3, Side, Side, 0, 0, Side, Side))];
                int[] tokens = [.. Enumerable.Range(seed, Pairs * options.Model.Text.ContextLength)];
                buffers.Fill(preprocess, rgb, images, tokens);
                Assert.That((buffers.Pixels.Data.Address, buffers.Tokens.Ids.Data.Address), Is.EqualTo((pixels, ids)));
                Assert.That(buffers.Tokens.Ids.ToInt32Array(), Is.EqualTo(tokens));
                Numbers.AssertSameBits(buffers.Pixels.ToArray(), PixelInput.Run(tape, preprocess, rgb, images, options.Model.Vision.ImageSize, options.Fit).ToArray(), "pixels");
            }
        }
        Assert.That(device.LiveBuffers, Is.Zero);
    }
}
