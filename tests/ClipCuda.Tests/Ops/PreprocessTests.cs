using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class PreprocessTests
{
    private static readonly float[] Mean = [0.48145466f, 0.4578275f, 0.40821073f], Deviation = [0.26862954f, 0.26130258f, 0.27577711f];

    /// <summary>A warp takes 32 pixels of a row: less than that, as many, and more.</summary>
    [TestCase("cpu", 2, 13)]
    [TestCase("cpu:check", 2, 13)]
    [TestCase("cpu:check", 2, 32)]
    [TestCase("cpu", 2, 70)]
    [TestCase("cpu:check", 2, 70)]
    [OnEveryDevice]
    public void A_batch_of_any_sizes_is_equal_to_the_byte(string engine, int threads, int size)
    {
        var random = new Random(11);
        (int Width, int Height)[] sizes = [(13, 13), (1, 1), (40, 17), (9, 50), (64, 64), (200, 3)];
        var bytes = new List<byte>();
        var images = new List<PreprocessImage>();
        foreach (var (width, height) in sizes)
        {
            images.Add(PreprocessImage.Centre(bytes.Count, width, height, size));
            if (width > 8 && height > 8) images.Add(PreprocessImage.Crop(bytes.Count, width, height, 3, 2, width - 5, height - 7, size));
            // Steep noise, so that the cubic overshoots and clips.
            for (int i = 0; i < width * height * 3; i++) bytes.Add((byte)(random.Next(3) == 0 ? random.Next(256) : 255 * random.Next(2)));
        }
        byte[] rgb = [.. bytes];
        using var device = OpDevices.Open(engine, threads);
        using var tape = new Tape(device, recording: false);
        using var preprocess = new Preprocess(device, size, Mean, Deviation);
        var pixels = tape.Allocate(images.Count, 3, size, size);
        preprocess.Run(rgb, [.. images], pixels);
        float[] actual = pixels.ToArray();
        for (int n = 0; n < images.Count; n++)
        {
            int image = n;
            byte[] expected = OpDevices.Derive(() => Reference(rgb, images[image], size));
            for (int i = 0; i < expected.Length; i++)
            {
                int channel = i % 3, at = (n * 3 + channel) * size * size + i / 3;
                Assert.That(actual[at], Is.EqualTo((expected[i] / 255f - Mean[channel]) / Deviation[channel]), $"image {n}, pixel {i / 3}, channel {channel}");
            }
        }
    }

    [TestCase("cpu", 2)]
    [TestCase("cpu:check", 2)]
    public void A_flip_is_the_mirror_image_to_the_byte(string engine, int threads)
    {
        const int Size = 11;
        byte[] rgb = Noise(3 * 23 * 17, 5);
        var image = PreprocessImage.Crop(0, 23, 17, 2, 3, 19, 12, Size);
        float[] plain = Pixels(engine, threads, Size, rgb, [image], []), flipped = Pixels(engine, threads, Size, rgb, [image with { Flip = true }], []);
        for (int row = 0; row < 3 * Size; row++)
            Assert.That(flipped[(row * Size)..((row + 1) * Size)], Is.EqualTo(plain[(row * Size)..((row + 1) * Size)].Reverse()));
    }

    /// <summary>
    /// Against torchvision's formulas in float64. A change does a handful of roundings on numbers of at most 1, hue the most: three divisions and a
    /// fused sum of magnitudes up to 8 give 8·2⁻²⁴·3 ≈ 12 units of 2⁻²³ in k, times the range of at most 1. A contrast's mean sums size²/256 pixels
    /// a thread and 16 partial sums: (size²/256 + 16)·2⁻²⁴ ≤ 2⁻¹⁹ here. Contrast and saturation factors of up to 2 double what came before. Four
    /// changes: 4 · (12·2⁻²³ + 2⁻¹⁹) · 2² ≈ 5.4e-5 before the normalisation divides by 0.26. The pixels are more and fewer than a block's threads.
    /// </summary>
    [TestCase("cpu", 1, 19)]
    [TestCase("cpu", 2, 19)]
    [TestCase("cpu:check", 2, 19)]
    [TestCase("cpu:check", 2, 11)]
    public void Colours_are_torchvisions(string engine, int threads, int size)
    {
        const double Tolerance = 5.4e-5 / 0.26;
        var random = new Random(3);
        var images = new List<PreprocessImage>();
        var changes = new List<ColourChange>();
        byte[] rgb = Noise(3 * size * size, 7);
        for (int i = 0; i < 24; i++)
        {
            int[] order = [0, 1, 2, 3];
            random.Shuffle(order);
            images.Add(PreprocessImage.Crop(0, size, size, 0, 0, size, size, size));
            changes.Add(new ColourChange(
                i % 6 != 5, order[0] | order[1] << 2 | order[2] << 4 | order[3] << 6, Factor(), Factor(), Factor(), (float)(random.NextDouble() - 0.5), i % 4 == 3));
        }
        changes[0] = changes[0] with { Brightness = 1, Contrast = 1, Saturation = 1, Hue = 0 };
        changes[1] = changes[1] with { Saturation = 0, Hue = 0.5f };
        // One change alone, four times: brightness, and contrast, whose mean is another each time.
        changes[2] = changes[2] with { Order = 0 };
        changes[4] = changes[4] with { Order = 0b01_01_01_01, Contrast = 0.5f };
        float[] actual = Pixels(engine, threads, size, rgb, [.. images], [.. changes]);
        double worst = 0;
        for (int n = 0; n < changes.Count; n++)
        {
            double[][] expected = Changed(rgb, changes[n]);
            for (int i = 0; i < size * size; i++)
            {
                for (int c = 0; c < 3; c++)
                {
                    double error = Math.Abs(actual[(n * 3 + c) * size * size + i] - (expected[i][c] - Mean[c]) / Deviation[c]);
                    if (!(error <= Tolerance)) Assert.Fail($"image {n} ({changes[n]}), pixel {i}, channel {c}: off by {error}");
                    worst = Math.Max(worst, error);
                }
            }
        }
        TestContext.Out.WriteLine($"share of the tolerance used: {worst / Tolerance:P1}");

        float Factor() => (float)(2 * random.NextDouble());
    }

    [Test]
    public void An_image_without_a_change_has_the_bits_it_has_without_the_colour_kernel()
    {
        const int Size = 9;
        byte[] rgb = Noise(3 * 20 * 15, 9);
        PreprocessImage[] images = [PreprocessImage.Centre(0, 20, 15, Size), PreprocessImage.Centre(0, 20, 15, Size)];
        float[] plain = Pixels("cpu", 2, Size, rgb, images, []), beside = Pixels("cpu", 2, Size, rgb, images, [default, new ColourChange(false, 0, 0, 0, 0, 0, Gray: true)]);
        int half = plain.Length / 2;
        Tests.Numbers.AssertSameBits(beside.Take(half).ToArray(), plain.Take(half).ToArray(), "the first image");
        Assert.That(beside[half..], Is.Not.EqualTo(plain[half..]));
    }

    [Test]
    public void Colour_changes_are_one_an_image() =>
        Assert.That(
            () => Pixels("cpu", 1, 4, new byte[48], [PreprocessImage.Centre(0, 4, 4, 4)], new ColourChange[2]), Throws.ArgumentException.With.Message.Contains("2 colour changes for 1 images"));

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

    private static byte[] Noise(int bytes, int seed)
    {
        byte[] noise = new byte[bytes];
        new Random(seed).NextBytes(noise);
        return noise;
    }

    private static float[] Pixels(string engine, int threads, int size, byte[] rgb, PreprocessImage[] images, ColourChange[] changes)
    {
        using var device = OpDevices.Open(engine, threads);
        using var tape = new Tape(device, recording: false);
        using var preprocess = new Preprocess(device, size, Mean, Deviation);
        var pixels = tape.Allocate(images.Length, 3, size, size);
        preprocess.Run(rgb, images, pixels, changes);
        return pixels.ToArray();
    }

    /// <summary>torchvision's adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue and rgb_to_grayscale on float tensors, in their own words.</summary>
    private static double[][] Changed(byte[] rgb, ColourChange change)
    {
        double[][] x = [.. rgb.Chunk(3).Select(pixel => pixel.Select(value => value / 255.0).ToArray())];
        for (int step = 0; change.Jitter && step < 4; step++)
        {
            double mean = x.Average(Gray);
            x = (change.Order >> 2 * step & 3) switch
            {
                0 => [.. x.Select(pixel => Blend(pixel, 0, change.Brightness))],
                1 => [.. x.Select(pixel => Blend(pixel, mean, change.Contrast))],
                2 => [.. x.Select(pixel => Blend(pixel, Gray(pixel), change.Saturation))],
                _ => [.. x.Select(pixel => ToRgb(ToHsv(pixel), change.Hue))],
            };
        }
        return change.Gray ? [.. x.Select(pixel => new[] { Gray(pixel), Gray(pixel), Gray(pixel) })] : x;

        static double Gray(double[] pixel) => 0.2989 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2];
        static double[] Blend(double[] pixel, double other, double ratio) => [.. pixel.Select(value => Math.Clamp(ratio * value + (1 - ratio) * other, 0, 1))];
    }

    private static (double H, double S, double V) ToHsv(double[] pixel)
    {
        double largest = pixel.Max(), range = largest - pixel.Min();
        if (range == 0) return (0, 0, largest);
        double rc = (largest - pixel[0]) / range, gc = (largest - pixel[1]) / range, bc = (largest - pixel[2]) / range;
        double h = pixel[0] == largest ? bc - gc : pixel[1] == largest ? 2 + rc - bc : 4 + gc - rc;
        return ((h / 6 + 1) % 1, range / largest, largest);
    }

    private static double[] ToRgb((double H, double S, double V) hsv, double shift)
    {
        double h = ((hsv.H + shift) % 1 + 1) % 1, i = Math.Floor(h * 6), f = h * 6 - i, v = hsv.V;
        double p = v * (1 - hsv.S), q = v * (1 - hsv.S * f), t = v * (1 - hsv.S * (1 - f));
        return ((int)i % 6) switch
        {
            0 => [v, t, p],
            1 => [q, v, p],
            2 => [p, v, t],
            3 => [p, q, v],
            4 => [t, p, v],
            _ => [v, p, q],
        };
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
