using ClipCuda.Model;

namespace ClipCuda.Tests.Model;

public sealed class ClipConfigTests
{
    private static readonly ClipConfig Good = new(8, new(32, 8, 48, 2, 3), new(16, 300, 32, 2, 2));

    [Test]
    public void A_sensible_configuration_is_returned() => Assert.That(Good.Validate(), Is.SameAs(Good));

    [Test]
    public void A_sequence_is_the_class_token_and_the_patches() => Assert.That((Good.Vision.Patches, Good.Vision.SequenceLength), Is.EqualTo((16, 17)));

    [Test]
    public void A_resnet_pools_over_its_places_and_their_mean()
    {
        var vision = VisionConfig.ResNet(224, 64, new(3, 4, 6, 3), heads: 32);
        Assert.That((vision.SequenceLength, vision.FeatureWidth, vision.Layers, Good.Vision.FeatureWidth), Is.EqualTo((50, 2048, 16, 48)));
    }

    private static IEnumerable<TestCaseData> Senseless()
    {
        var resNet = Good with { Vision = VisionConfig.ResNet(64, 8, new(1, 1, 1, 1), heads: 4) };
        yield return new TestCaseData(resNet with { Vision = resNet.Vision with { ImageSize = 80 } }, "Image size 80 is no multiple of 32");
        yield return new TestCaseData(resNet with { Vision = resNet.Vision with { Width = 9 } }, "width 9 is odd");
        yield return new TestCaseData(resNet with { Vision = resNet.Vision with { Heads = 5 } }, "5 vision heads do not divide 32 times width 8");
        yield return new TestCaseData(resNet with { Vision = resNet.Vision with { PatchSize = 16 } }, "neither can be set (--patch-size, --vision-layers)");
        yield return new TestCaseData(resNet with { Vision = resNet.Vision with { Stages = new(1, 0, 1, 1) } }, "1,0,1,1 blocks has an empty stage");
        yield return new TestCaseData(Good with { Vision = Good.Vision with { ImageSize = 33 } }, "Image size 33 is no multiple of patch size 8");
        yield return new TestCaseData(Good with { Vision = Good.Vision with { Heads = 5 } }, "5 vision heads do not divide width 48");
        yield return new TestCaseData(Good with { Text = Good.Text with { Heads = 3 } }, "3 text heads do not divide width 32");
        yield return new TestCaseData(Good with { Vision = Good.Vision with { Width = 258, Heads = 2 } }, "2 vision heads of width 129 are wider than the 128");
        yield return new TestCaseData(Good with { Text = Good.Text with { Layers = 0 } }, "--text-layers is 0");
        yield return new TestCaseData(Good with { EmbedDim = -4 }, "--embed-dim is -4");
        yield return new TestCaseData(Good with { Text = Good.Text with { ContextLength = 2 } }, "Context length 2 has no room");
    }

    [TestCaseSource(nameof(Senseless))]
    public void What_makes_no_sense_is_named(ClipConfig config, string message) => Assert.That(config.Validate, Throws.ArgumentException.With.Message.Contains(message));
}
