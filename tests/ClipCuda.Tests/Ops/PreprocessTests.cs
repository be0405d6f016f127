using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class PreprocessTests
{
    private static readonly float[] Mean = [0.48145466f, 0.4578275f, 0.40821073f], Deviation = [0.26862954f, 0.26130258f, 0.27577711f];

    [TestCase("cpu", 2)]
    [TestCase("cpu:check", 2)]
    [OnEveryDevice]
    public void A_batch_of_any_sizes_is_equal_to_the_byte(string engine, int threads)
    {
        const int Size = 13;
        var random = new Random(11);
        (int Width, int Height)[] sizes = [(13, 13), (1, 1), (40, 17), (9, 50), (64, 64), (200, 3)];
        var bytes = new List<byte>();
        var images = new List<PreprocessImage>();
        foreach (var (width, height) in sizes)
        {
            images.Add(PreprocessImage.Centre(bytes.Count, width, height, Size));
            if (width > 8 && height > 8) images.Add(PreprocessImage.Crop(bytes.Count, width, height, 3, 2, width - 5, height - 7, Size));
            // Steep noise, so that the cubic overshoots and clips.
            for (int i = 0; i < width * height * 3; i++) bytes.Add((byte)(random.Next(3) == 0 ? random.Next(256) : 255 * random.Next(2)));
        }
        byte[] rgb = [.. bytes];
        using var device = OpDevices.Open(engine, threads);
        using var tape = new Tape(device, recording: false);
        using var preprocess = new Preprocess(device, Size, Mean, Deviation);
        var pixels = tape.Allocate(images.Count, 3, Size, Size);
        preprocess.Run(rgb, [.. images], pixels);
        float[] actual = pixels.ToArray();
        for (int n = 0; n < images.Count; n++)
        {
            byte[] expected = Reference(rgb, images[n], Size);
            for (int i = 0; i < expected.Length; i++)
            {
                int channel = i % 3, at = (n * 3 + channel) * Size * Size + i / 3;
                Assert.That(actual[at], Is.EqualTo((expected[i] / 255f - Mean[channel]) / Deviation[channel]), $"image {n}, pixel {i / 3}, channel {channel}");
            }
        }
    }

    [Test]
    [OnEveryDevice]
    public void A_second_batch_allocates_nothing()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device, recording: false);
        using var preprocess = new Preprocess(device, 4, Mean, Deviation);
        var pixels = tape.Allocate(1, 3, 4, 4);
        preprocess.Run(new byte[300], [PreprocessImage.Centre(0, 10, 10, 4)], pixels);
        long allocations = device.Allocations;
        preprocess.Run(new byte[270], [PreprocessImage.Crop(0, 9, 10, 0, 1, 9, 9, 4)], pixels);
        Assert.That(device.Allocations, Is.EqualTo(allocations));
    }

    /// <summary>Half a pixel of offset rounds to even; the longer side is truncated.</summary>
    [TestCase(100, 50, 32, 64, 32, 16, 0)]
    [TestCase(35, 32, 32, 35, 32, 2, 0)]
    [TestCase(32, 37, 32, 32, 37, 0, 2)]
    [TestCase(10, 33, 32, 32, 105, 0, 36)]
    public void The_centre_window_is_where_torchvision_puts_it(int width, int height, int size, int resizedWidth, int resizedHeight, int x, int y)
    {
        var image = PreprocessImage.Centre(0, width, height, size);
        Assert.That((image.ResizedWidth, image.ResizedHeight, image.WindowX, image.WindowY), Is.EqualTo((resizedWidth, resizedHeight, x, y)));
    }

    [Test]
    [OnEveryDevice]
    public void A_crop_outside_its_image_is_refused()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device, recording: false);
        using var preprocess = new Preprocess(device, 4, Mean, Deviation);
        Assert.That(
            () => preprocess.Run(new byte[300], [PreprocessImage.Crop(0, 10, 10, 5, 0, 6, 5, 4)], tape.Allocate(1, 3, 4, 4)),
            Throws.ArgumentException.With.Message.Contains("Image 0 of the batch"));
    }

    /// <summary>Pillow's resize (src/libImaging/Resample.c), written for reading: every output pixel on its own, both passes on the whole crop.</summary>
    private static byte[] Reference(byte[] rgb, PreprocessImage image, int size)
    {
        var crop = new byte[image.CropHeight, image.CropWidth, 3];
        for (int y = 0; y < image.CropHeight; y++)
        {
            for (int x = 0; x < image.CropWidth; x++)
            {
                for (int c = 0; c < 3; c++) crop[y, x, c] = rgb[image.Offset + ((image.CropY + y) * image.Width + image.CropX + x) * 3 + c];
            }
        }
        var across = new byte[image.CropHeight, image.ResizedWidth, 3];
        for (int x = 0; x < image.ResizedWidth; x++)
        {
            for (int y = 0; y < image.CropHeight; y++)
            {
                for (int c = 0; c < 3; c++) across[y, x, c] = Sample(image.CropWidth, image.ResizedWidth, x, k => crop[y, k, c]);
            }
        }
        var result = new byte[size * size * 3];
        for (int y = 0; y < size; y++)
        {
            for (int x = 0; x < size; x++)
            {
                for (int c = 0; c < 3; c++)
                    result[(y * size + x) * 3 + c] = Sample(image.CropHeight, image.ResizedHeight, image.WindowY + y, k => across[k, image.WindowX + x, c]);
            }
        }
        return result;
    }

    private static byte Sample(int input, int output, int at, Func<int, byte> source)
    {
        double scale = (double)input / output, stretch = Math.Max(1, scale), centre = (at + 0.5) * scale;
        int from = Math.Max(0, (int)(centre - 2 * stretch + 0.5)), to = Math.Min(input, (int)(centre + 2 * stretch + 0.5));
        double[] weights = [.. Enumerable.Range(from, to - from).Select(k => Cubic((k - centre + 0.5) * (1 / stretch)))];
        long sum = 1 << 21;
        for (int k = from; k < to; k++)
        {
            double weight = weights[k - from] / weights.Sum();
            sum += source(k) * (long)Math.Truncate(weight * (1 << 22) + (weight < 0 ? -0.5 : 0.5));
        }
        return (byte)Math.Clamp(sum >> 22, 0, 255);
    }

    private static double Cubic(double x) => Math.Abs(x) switch
    {
        < 1 and var a => (1.5 * a - 2.5) * a * a + 1,
        < 2 and var a => (((a - 5) * a + 8) * a - 4) * -0.5,
        _ => 0,
    };
}
