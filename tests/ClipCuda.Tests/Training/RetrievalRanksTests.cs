using ClipCuda.Devices;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class RetrievalRanksTests
{
    private Device _device = null!;

    [SetUp]
    public void SetUp() => _device = Device.Open("cpu", threads: 2);

    [TearDown]
    public void TearDown() => _device.Dispose();

    [TestCase(37, 1, 1, 16)]
    [TestCase(37, 3, 1, 7)]
    [TestCase(37, 1, 4, 7)]
    [TestCase(600, 2, 1, 5)] // over the edge of a tile both ways
    [TestCase(530, 3, 2, 5)]
    public void Agree_with_a_count_over_all_pairs_in_float64(int images, int captionsEach, int imagesEach, int width)
    {
        var random = new Philox(7, RandomPurpose.Initialization);
        int captions = images * captionsEach;
        // Whole numbers, so that float32 and float64 agree and ties are many.
        float[] imageRows = Whole(random, images * width), captionRows = Whole(random, captions * width);
        // What belongs to one image or caption are no neighbours.
        RetrievalPair[] pairs = [.. Enumerable.Range(0, captions).SelectMany(caption => Enumerable.Range(0, imagesEach).Select(i => new RetrievalPair((caption * 11 + i * 101) % images, caption))).Distinct()];

        var (imageToText, textToImage) = Ranks(imageRows, captionRows, pairs, images, width);

        var (expectedImages, expectedCaptions) = Counted(imageRows, captionRows, pairs, images, width);
        Assert.That(imageToText, Is.EqualTo(expectedImages));
        Assert.That(textToImage, Is.EqualTo(expectedCaptions));
        Assert.That(imageToText, Has.Some.GreaterThan(10).And.Some.LessThan(10), "a case in which all ranks are alike shows nothing");
    }

    [Test]
    public void A_collapsed_model_ranks_last()
    {
        const int Images = 700, Width = 33;
        float[] row = [.. Enumerable.Range(0, Width).Select(i => MathF.Sin(i))];
        float[] same = [.. Enumerable.Repeat(row, Images).SelectMany(values => values)];
        var (imageToText, textToImage) = Ranks(same, same, OneEach(Images), Images, Width);
        Assert.That(imageToText, Is.All.EqualTo(Images));
        Assert.That(textToImage, Is.All.EqualTo(Images));
    }

    [Test]
    public void A_perfect_model_ranks_first()
    {
        const int Images = 20;
        float[] identity = new float[Images * Images];
        for (int i = 0; i < Images; i++) identity[i * Images + i] = 1;
        var (imageToText, textToImage) = Ranks(identity, identity, OneEach(Images), Images, Images);
        Assert.That(imageToText, Is.All.EqualTo(1));
        Assert.That(textToImage, Is.All.EqualTo(1));
    }

    [Test]
    public void The_best_of_several_own_captions_counts_and_the_others_are_no_rivals()
    {
        // Image 0 scores 1, 3, 2 with captions 0 (its own), 1 (its own), 2 (image 1's); image 1 scores 5, 0, 4.
        float[] images = [1, 0, 0, 1], captions = [1, 5, 3, 0, 2, 4];
        var (imageToText, textToImage) = Ranks(images, captions, [new(0, 0), new(0, 1), new(1, 2)], 2, 2);
        Assert.That(imageToText, Is.EqualTo(new[] { 1, 2 }));
        Assert.That(textToImage, Is.EqualTo(new[] { 2, 1, 1 }));
    }

    [Test]
    public void The_best_of_several_own_images_counts_and_the_others_are_no_rivals()
    {
        // Caption 0 scores 1, 3, 2 with images 0 (its own), 1 (its own), 2 (caption 1's); caption 1 scores 5, 0, 4.
        float[] captions = [1, 0, 0, 1], images = [1, 5, 3, 0, 2, 4];
        var (imageToText, textToImage) = Ranks(images, captions, [new(0, 0), new(1, 0), new(2, 1)], 3, 2);
        Assert.That(textToImage, Is.EqualTo(new[] { 1, 2 }));
        Assert.That(imageToText, Is.EqualTo(new[] { 2, 1, 1 }));
    }

    [Test]
    public void A_hundred_thousand_images_and_captions_take_less_than_half_a_gigabyte()
    {
        const int Count = 100_000, Width = 512;
        using var device = new MeasuringDevice();
        using var ranks = new RetrievalRanks(device, Width, Count, Count);
        float[] rows = new float[1000 * Width];
        for (int i = 0; i < Count; i += 1000)
        {
            ranks.AddImages(rows);
            ranks.AddCaptions(rows);
        }
        var pairs = OneEach(Count);
        long before = GC.GetTotalAllocatedBytes(precise: true);
        // That device multiplies nothing: all scores are 0, and so tie.
        var (imageToText, textToImage) = ranks.Compute(pairs);
        long allocated = GC.GetTotalAllocatedBytes(precise: true) - before;
        TestContext.Out.WriteLine($"{device.PeakBytes:N0} bytes on the device, {allocated:N0} on the host; all scores would be {(long)sizeof(float) * Count * Count:N0}");
        Assert.That(imageToText.Concat(textToImage), Is.All.EqualTo(Count));
        // Two times 100,000 rows of 512 float32, and a tile; on the host some numbers an image and a pair.
        Assert.That(device.PeakBytes, Is.LessThan(2L * (Count + 512) * Width * sizeof(float) + (2 << 20)));
        Assert.That(allocated, Is.LessThan(100L * Count));
    }

    [Test]
    public void Leaves_no_buffer_behind()
    {
        Ranks([1, 2], [3, 4], OneEach(2), 2, 1);
        Assert.That(_device.LiveBuffers, Is.Zero);
    }

    [Test]
    public void Recall_is_the_share_of_ranks_up_to_k()
    {
        var recall = Recall.Of([1, 1, 4, 5, 9, 10, 11, 100]);
        Assert.That((recall.At1, recall.At5, recall.At10), Is.EqualTo((2 / 8.0, 4 / 8.0, 6 / 8.0)));
        Assert.That((recall.MeanRank, recall.MedianRank), Is.EqualTo((141 / 8.0, 7.0)));
        Assert.That(Recall.Of([3, 1, 8]).MedianRank, Is.EqualTo(3));
        Assert.That(() => Recall.Of([]), Throws.ArgumentException);
    }

    private (int[] ImageToText, int[] TextToImage) Ranks(float[] images, float[] captions, RetrievalPair[] pairs, int imageCount, int width)
    {
        using var ranks = new RetrievalRanks(_device, width, imageCount + 3, captions.Length / width);
        int half = imageCount / 2;
        ranks.AddImages(images.AsSpan(0, half * width));
        ranks.AddImages(images.AsSpan(half * width));
        ranks.AddCaptions(captions);
        return ranks.Compute(pairs);
    }

    private static RetrievalPair[] OneEach(int count) => [.. Enumerable.Range(0, count).Select(i => new RetrievalPair(i, i))];

    private static (int[] ImageToText, int[] TextToImage) Counted(float[] images, float[] captions, RetrievalPair[] pairs, int imageCount, int width)
    {
        double Score(int image, int caption)
        {
            double sum = 0;
            for (int k = 0; k < width; k++) sum += (double)images[image * width + k] * captions[caption * width + k];
            return sum;
        }
        var own = pairs.ToHashSet();
        bool Own(int image, int caption) => own.Contains(new RetrievalPair(image, caption));
        int[] allImages = [.. Enumerable.Range(0, imageCount)], allCaptions = [.. Enumerable.Range(0, captions.Length / width)];
        int[] imageToText = [.. allImages.Select(image =>
        {
            double best = allCaptions.Where(caption => Own(image, caption)).Max(caption => Score(image, caption));
            return 1 + allCaptions.Count(caption => !Own(image, caption) && Score(image, caption) >= best);
        })];
        int[] textToImage = [.. allCaptions.Select(caption =>
        {
            double best = allImages.Where(image => Own(image, caption)).Max(image => Score(image, caption));
            return 1 + allImages.Count(image => !Own(image, caption) && Score(image, caption) >= best);
        })];
        return (imageToText, textToImage);
    }

    private static float[] Whole(Philox random, int count) => [.. Enumerable.Range(0, count).Select(_ => (float)(random.Below(9) - 4))];
}
