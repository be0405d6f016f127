using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class RandomCropTests
{
    [TestCase(64, 64)]
    [TestCase(640, 427)]
    [TestCase(31, 90)]
    public void Lies_in_the_image_and_in_the_ranges(int width, int height)
    {
        var crop = new RandomCrop(0.3, 0.9, 0.75, 1.5);
        for (uint i = 0; i < 1000; i++)
        {
            var (x, y, w, h) = crop.Draw(width, height, Random(i));
            Assert.That(x >= 0 && y >= 0 && w >= 1 && h >= 1 && x + w <= width && y + h <= height, $"{x} {y} {w} {h}");
            if (IsFallback(crop, width, height, (x, y, w, h))) continue;
            // Both sides are rounded to whole pixels, each by at most half a pixel.
            Assert.That((double)(w + 0.5) * (h + 0.5), Is.GreaterThanOrEqualTo(0.3 * width * height));
            Assert.That((double)(w - 0.5) * (h - 0.5), Is.LessThanOrEqualTo(0.9 * width * height));
            Assert.That((w + 0.5) / (h - 0.5), Is.GreaterThanOrEqualTo(0.75));
            Assert.That((w - 0.5) / (h + 0.5), Is.LessThanOrEqualTo(1.5));
        }
    }

    [Test]
    public void Ratio_one_is_square_and_reaches_every_place()
    {
        var crop = new RandomCrop(0.8, 1, 1, 1);
        var corners = new HashSet<(int, int)>();
        double area = 0;
        for (uint i = 0; i < 2000; i++)
        {
            var (x, y, w, h) = crop.Draw(64, 64, Random(i));
            Assert.That(w, Is.EqualTo(h).And.InRange(57, 64)); // √0.8 · 64 = 57.2
            corners.Add((x, y));
            area += w * h / 4096.0 / 2000;
        }
        Assert.That(area, Is.EqualTo(0.9).Within(0.005)); // uniform in 0.8 … 1: deviation of the mean 0.058 / √2000 = 0.0013, rounding of sides below 0.002
        for (int x = 0; x <= 7; x++) Assert.That(corners, Does.Contain((x, 0)).And.Contain((0, x)));
    }

    [TestCase(300, 10, 143, 0, 13, 10)] // width round(10 · 4/3)
    [TestCase(10, 300, 0, 143, 10, 13)]
    public void A_very_long_image_gives_the_largest_centred_rectangle(int width, int height, int x, int y, int w, int h) =>
        Assert.That(new RandomCrop(0.8, 1).Draw(width, height, Random(0)), Is.EqualTo((x, y, w, h)));

    [Test]
    public void The_whole_area_at_the_ratio_of_the_image_is_the_image() =>
        Assert.That(new RandomCrop(1, 1, 1, 1).Draw(50, 50, Random(3)), Is.EqualTo((0, 0, 50, 50)));

    [Test]
    public void An_image_of_one_pixel_is_cropped_to_it() => Assert.That(new RandomCrop().Draw(1, 1, Random(0)), Is.EqualTo((0, 0, 1, 1)));

    [TestCase(0, 1, 1, 1, "area")]
    [TestCase(0.9, 0.8, 1, 1, "area")]
    [TestCase(0.5, 1.1, 1, 1, "area")]
    [TestCase(double.NaN, 1, 1, 1, "area")]
    [TestCase(0.5, 1, 0, 1, "ratio")]
    [TestCase(0.5, 1, 2, 1, "ratio")]
    [TestCase(0.5, 1, 1, double.PositiveInfinity, "ratio")]
    public void Bounds_out_of_range_are_an_error(double minArea, double maxArea, double minRatio, double maxRatio, string what) =>
        Assert.That(() => new RandomCrop(minArea, maxArea, minRatio, maxRatio).Validate(), Throws.ArgumentException.With.Message.Contains(what));

    private static Philox Random(uint index) => new(1, RandomPurpose.Crop, 0, index);

    /// <summary>The rectangle of the fallback may be larger than the largest share of the area.</summary>
    private static bool IsFallback(RandomCrop crop, int width, int height, (int, int, int, int) drawn) =>
        drawn == new RandomCrop(1, 1, crop.MinRatio, crop.MaxRatio).Draw(width, height, Random(0)) && (double)width / height is < 0.75 or > 1.5;
}
