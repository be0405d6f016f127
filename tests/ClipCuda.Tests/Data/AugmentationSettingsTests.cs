using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class AugmentationSettingsTests
{
    [Test]
    public void Settings_are_open_clips()
    {
        var (crop, pixels) = AugmentationSettings.Apply(null, new(), ["scale=(0.4, 1.0)", "color_jitter=0.32,0.3,0.2,0.08", "color_jitter_prob=0.8", "gray_scale_prob=0.2", "hflip=0.5"]);
        Assert.That(crop, Is.EqualTo(new RandomCrop(0.4, 1)));
        Assert.That(pixels, Is.EqualTo(new PixelAugmentation(0.5, 0.8, 0.32, 0.3, 0.2, 0.08, 0.2)));
        Assert.That(AugmentationSettings.Apply(null, new(), ["color_jitter=0.4"]), Is.EqualTo(((RandomCrop?)null, new PixelAugmentation(0, 1, 0.4, 0.4, 0.4))), "a jitter without a probability is always made");
        Assert.That(AugmentationSettings.Apply(new RandomCrop(0.8, 1, 1, 1), new(), ["scale=0.5,0.9"]).Crop, Is.EqualTo(new RandomCrop(0.5, 0.9, 1, 1)));
    }

    [TestCase("color_jiter=0.4", "'color_jitter' is the nearest")]
    [TestCase("mixup=1", "no setting of augmentation; there are")]
    [TestCase("scale=0.4", "takes 2, least and most")]
    [TestCase("scale", "has 0 numbers")]
    [TestCase("hflip=often", "'often' in hflip is not a number")]
    [TestCase("hflip=1.5", "hflip is 1.5; it must be from 0 to 1")]
    [TestCase("color_jitter=0,0,0,0.6", "hue is 0.6; it must be from 0 to 0.5")]
    [TestCase("scale=0.4,2", "share of the area")]
    [TestCase("gray_scale_prob=NaN", "gray_scale_prob is NaN")]
    public void What_makes_no_sense_is_told(string setting, string message) =>
        Assert.That(() => AugmentationSettings.Apply(null, new(), [setting]), Throws.ArgumentException.With.Message.Contains(message));
}
