using ClipCuda.Model;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class MadeUpCaptionsTests
{
    [Test]
    public void Each_caption_is_start_words_end_and_zeros([Values(3, 8)] int context)
    {
        var text = new TextConfig(context, VocabSize: 20, Width: 8, Layers: 1, Heads: 1);
        int[] tokens = [.. Enumerable.Repeat(7, 50 * context)];
        MadeUpCaptions.Fill(new Random(1), text, tokens);
        foreach (int[] caption in tokens.Chunk(context))
        {
            int end = Array.IndexOf(caption, 19);
            Assert.That(caption[0], Is.EqualTo(18));
            Assert.That(end, Is.InRange(2, context - 1));
            Assert.That(caption[1..end], Is.All.InRange(0, 17));
            Assert.That(caption[(end + 1)..], Is.All.Zero);
        }
        Assert.That(tokens.Chunk(context).Select(caption => Array.IndexOf(caption, 19)).Distinct().Count(), Is.EqualTo(context - 2), "every length occurs");
    }
}
