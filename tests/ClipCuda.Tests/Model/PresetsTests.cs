using ClipCuda.Model;

namespace ClipCuda.Tests.Model;

public sealed class PresetsTests
{
    [Test]
    public void Every_preset_makes_sense_and_is_found_by_its_name()
    {
        foreach (var preset in Presets.All)
        {
            Assert.That(preset.Config.Validate(), Is.SameAs(preset.Config));
            Assert.That(Presets.Find(preset.Name), Is.SameAs(preset));
            Assert.That(Presets.Find(preset.Name.ToUpperInvariant().Replace('/', '-')), Is.SameAs(preset));
        }
    }

    /// <summary>The parameter counts that open_clip reports for these models, less ln_pre, the q/k/v biases and nothing else.</summary>
    [TestCase("ViT-B/32", 151_277_313, 768, 12, 512, 12)]
    [TestCase("ViT-B/16", 149_620_737, 768, 12, 512, 12)]
    [TestCase("ViT-L/14", 427_616_513, 1024, 24, 768, 12)]
    public void The_number_of_parameters_is_the_published_one(string name, long openClip, int width, int layers, int textWidth, int textLayers)
    {
        long count = ParameterNames.Of(Presets.Find(name).Config, WeightDecayScope.All).Sum(spec => spec.Shape.Aggregate(1L, (product, extent) => product * extent));
        Assert.That(count, Is.EqualTo(openClip - 2 * width - 3L * width * layers - 3L * textWidth * textLayers));
    }

    [Test]
    public void The_default_is_the_reference_projects()
    {
        var preset = Presets.Find(Presets.Default);
        Assert.That(preset.Config, Is.EqualTo(new ClipConfig(512, new(224, 32, 768, 12, 12), new(77, 49408, 512, 12, 8))));
        Assert.That(
            preset.Training,
            Is.EqualTo(new TrainingDefaults(3, 128, 1e-4, 0.01, WeightDecayScope.All, 0.9, 0.98, 1e-8, 1, 0, 42, Crop: null, DrawCaptions: false)));
    }

    [Test]
    public void An_unknown_name_lists_those_there_are() =>
        Assert.That(() => Presets.Find("RN51"), Throws.ArgumentException.With.Message.EqualTo("There is no model 'RN51'; there are emoji-small, ViT-B/32, ViT-B/16, ViT-L/14."));
}
