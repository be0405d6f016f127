using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class SyntheticLoaderTests
{
    private static readonly ClipTokenizer Tokenizer = new(Path.Combine(DataFolder.Find(), DataFolder.Merges));

    [Test]
    public void Images_are_noise_that_depends_on_the_sample_alone()
    {
        var options = new LoaderOptions { BatchSize = 3, ContextLength = 8, Training = true, Seed = 1 };
        using var one = new SyntheticLoader(7, size: 5, Tokenizer, options);
        using var two = new SyntheticLoader(7, size: 5, Tokenizer, options with { Workers = 0, Shuffle = false });
        Assert.That((one.SampleCount, one.BatchesPerEpoch), Is.EqualTo((7, 2)));
        Dictionary<int, string> first = Images(one.Epoch(0)), second = Images(two.Epoch(1));
        foreach (var (sample, bytes) in first)
        {
            if (second.TryGetValue(sample, out string? again)) Assert.That(bytes, Is.EqualTo(again));
        }
        Assert.That(first.Values, Is.Unique);
        Assert.That(Images(one.Epoch(0, 1)).Keys, Is.EqualTo(first.Keys.Skip(3)));
        Assert.That(() => new SyntheticLoader(2, 5, Tokenizer, options), Throws.ArgumentException.With.Message.Contains("--train-num-samples"));
    }

    private static Dictionary<int, string> Images(IEnumerable<HostBatch> epoch)
    {
        var images = new Dictionary<int, string>();
        foreach (var batch in epoch)
        {
            using (batch)
            {
                for (int i = 0; i < batch.Count; i++) images.Add(batch.SampleIndices[i], Convert.ToHexString(batch.Rgb.Slice((int)batch.Images[i].Offset, 75)));
            }
        }
        return images;
    }
}
