using ClipCuda.Model;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class ForwardFlopsTests
{
    // open_clip's docs/model_profile.csv: image_gflops and text_gflops, rounded to 0.01.
    [TestCase("ViT-B/32", 8.82, 5.96, 14.78)]
    [TestCase("ViT-B/16", 35.13, 5.96, 41.09)]
    [TestCase("ViT-L/14", 162.03, 13.3, 175.33)]
    public void Agree_with_open_clips_profile(string name, double image, double text, double pair)
    {
        var flops = ForwardFlops.Of(Presets.Find(name).Config);
        Assert.That(flops.Image / 1e9, Is.EqualTo(image).Within(0.01));
        Assert.That(flops.Text / 1e9, Is.EqualTo(text).Within(0.01));
        Assert.That(flops.Pair / 1e9, Is.EqualTo(pair).Within(0.01));
    }

    [Test]
    public void Are_two_for_each_multiply_add_of_products()
    {
        // Image: 2 × 2 patches of 3·8·8 numbers and a class token, whose row of zeros goes through the product of patches too, width 12;
        // text: 5 tokens, width 6; 7 numbers an embedding.
        var flops = ForwardFlops.Of(new ClipConfig(7, new(ImageSize: 16, PatchSize: 8, Width: 12, Layers: 2, Heads: 3), new(ContextLength: 5, VocabSize: 11, Width: 6, Layers: 1, Heads: 2)));
        Assert.That(flops.Image, Is.EqualTo(2 * (5 * 192 * 12 + 2 * (5 * 12 * 12 * 12 + 2 * 5 * 5 * 12) + 12 * 7)));
        Assert.That(flops.Text, Is.EqualTo(2 * (5 * 12 * 6 * 6 + 2 * 5 * 5 * 6 + 6 * 7)));
    }
}
