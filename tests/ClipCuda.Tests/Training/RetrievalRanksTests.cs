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

    [TestCase(37, 1, 16)]
    [TestCase(37, 3, 7)]
    [TestCase(600, 2, 5)] // over the edge of a tile both ways
    public void Agree_with_a_count_over_all_pairs_in_float64(int images, int captionsEach, int width)
    {
        var random = new Philox(7, RandomPurpose.Initialization);
        // Whole numbers, so that float32 and float64 agree and ties are many.
        float[] imageRows = Whole(random, images * width), captionRows = Whole(random, images * captionsEach * width);
        // Captions of one image are not neighbours.
        int[] imageOfCaption = [.. Enumerable.Range(0, images * captionsEach).Select(caption => caption * 11 % images)];

        var (imageToText, textToImage) = Ranks(imageRows, captionRows, imageOfCaption, images, width);

        var (expectedImages, expectedCaptions) = Counted(imageRows, captionRows, imageOfCaption, images, width);
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
        var (imageToText, textToImage) = Ranks(same, same, [.. Enumerable.Range(0, Images)], Images, Width);
        Assert.That(imageToText, Is.All.EqualTo(Images));
        Assert.That(textToImage, Is.All.EqualTo(Images));
    }

    [Test]
    public void A_perfect_model_ranks_first()
    {
        const int Images = 20;
        float[] identity = new float[Images * Images];
        for (int i = 0; i < Images; i++) identity[i * Images + i] = 1;
        var (imageToText, textToImage) = Ranks(identity, identity, [.. Enumerable.Range(0, Images)], Images, Images);
        Assert.That(imageToText, Is.All.EqualTo(1));
        Assert.That(textToImage, Is.All.EqualTo(1));
    }

    [Test]
    public void The_best_of_several_own_captions_counts_and_the_others_are_no_rivals()
    {
        // Image 0 scores 1, 3, 2 with captions 0 (its own), 1 (its own), 2 (image 1's); image 1 scores 5, 0, 4.
        float[] images = [1, 0, 0, 1], captions = [1, 5, 3, 0, 2, 4];
        var (imageToText, textToImage) = Ranks(images, captions, [0, 0, 1], 2, 2);
        Assert.That(imageToText, Is.EqualTo(new[] { 1, 2 }));
        Assert.That(textToImage, Is.EqualTo(new[] { 2, 1, 1 }));
    }

    [Test]
    public void Leaves_no_buffer_behind()
    {
        Ranks([1, 2], [3, 4], [0, 1], 2, 1);
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

    private (int[] ImageToText, int[] TextToImage) Ranks(float[] images, float[] captions, int[] imageOfCaption, int imageCount, int width)
    {
        using var ranks = new RetrievalRanks(_device, width, imageCount, imageOfCaption);
        int half = imageCount / 2;
        ranks.AddImages(0, images.AsSpan(0, half * width));
        ranks.AddImages(half, images.AsSpan(half * width));
        ranks.AddCaptions(0, captions);
        return ranks.Compute();
    }

    private static (int[] ImageToText, int[] TextToImage) Counted(float[] images, float[] captions, int[] imageOfCaption, int imageCount, int width)
    {
        double Score(int image, int caption) => Enumerable.Range(0, width).Sum(k => (double)images[image * width + k] * captions[caption * width + k]);
        var all = Enumerable.Range(0, imageOfCaption.Length).ToArray();
        int[] imageToText = [.. Enumerable.Range(0, imageCount).Select(image =>
        {
            double best = all.Where(caption => imageOfCaption[caption] == image).Max(caption => Score(image, caption));
            return 1 + all.Count(caption => imageOfCaption[caption] != image && Score(image, caption) >= best);
        })];
        int[] textToImage = [.. all.Select(caption =>
        {
            double own = Score(imageOfCaption[caption], caption);
            return 1 + Enumerable.Range(0, imageCount).Count(image => image != imageOfCaption[caption] && Score(image, caption) >= own);
        })];
        return (imageToText, textToImage);
    }

    private static float[] Whole(Philox random, int count) => [.. Enumerable.Range(0, count).Select(_ => (float)(random.Below(9) - 4))];
}
