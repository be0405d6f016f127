using ClipCuda.Model;
using ClipCuda.Tests.Data;

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
            Assert.That(Presets.Find(preset.Name.ToUpperInvariant().Replace('/', '-').Replace('@', '-')), Is.SameAs(preset));
        }
    }

    /// <summary>The parameter counts that open_clip reports for these models, less ln_pre, the q/k/v biases and nothing else.</summary>
    [TestCase("ViT-B/32", 151_277_313, 768, 12, 512, 12)]
    [TestCase("ViT-B/16", 149_620_737, 768, 12, 512, 12)]
    [TestCase("ViT-L/14", 427_616_513, 1024, 24, 768, 12)]
    [TestCase("ViT-L/14@336", 427_944_193, 1024, 24, 768, 12)]
    public void The_number_of_parameters_is_the_published_one(string name, long openClip, int width, int layers, int textWidth, int textLayers)
    {
        long count = ParameterNames.Of(Presets.Find(name).Config, WeightDecayScope.All).Sum(spec => spec.Shape.Aggregate(1L, (product, extent) => product * extent));
        Assert.That(count, Is.EqualTo(openClip - 2 * width - 3L * width * layers - 3L * textWidth * textLayers));
    }

    /// <summary>As OpenAI built them nothing is less: the count that open_clip reports, and what it calls NAME-quickgelu.</summary>
    [TestCase("ViT-B-32-quickgelu", 151_277_313)]
    [TestCase("ViT-B-16-quickgelu", 149_620_737)]
    [TestCase("ViT-L-14-quickgelu", 427_616_513)]
    [TestCase("ViT-L-14-336-quickgelu", 427_944_193)]
    public void OpenAIs_transformers_have_the_published_number_of_parameters(string name, long openClip)
    {
        var config = Presets.Find(name).Config;
        Assert.That((config.Vision.LnPre, config.QuickGelu, config.QkvBias), Is.EqualTo((true, true, true)));
        Assert.That(ParameterNames.Of(config, WeightDecayScope.All).Sum(spec => spec.Shape.Aggregate(1L, (product, extent) => product * extent)), Is.EqualTo(openClip));
    }

    /// <summary>The parameter counts that open_clip reports (docs/model_profile.csv, in millions: 102.01, 119.69, 178.3, 290.98, 623.26).</summary>
    [TestCase("RN50", 102_007_137)]
    [TestCase("RN101", 119_688_033)]
    [TestCase("RN50x4", 178_300_601)]
    [TestCase("RN50x16", 290_979_217)]
    [TestCase("RN50x64", 623_258_305)]
    public void A_resnet_has_the_published_number_of_parameters(string name, long openClip)
    {
        long count = ParameterNames.Of(Presets.Find(name).Config, WeightDecayScope.All).Sum(spec => spec.Shape.Aggregate(1L, (product, extent) => product * extent));
        Assert.That(count, Is.EqualTo(openClip));
    }

    [Test]
    public void A_configuration_file_is_a_preset_of_its_own()
    {
        using var folder = new TemporaryFolder();
        string path = folder.Write("small.json", """
            {"embed_dim": 512, "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
             "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}}
            """);
        var preset = Presets.Find(path);
        Assert.That(preset.Config, Is.EqualTo(new ClipConfig(512, new(224, 32, 768, 12, 12, LnPre: true), new(77, 49408, 512, 12, 8), QkvBias: true)));
        Assert.That(preset.Training, Is.EqualTo(Presets.Find(Presets.Default).Training));
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
        Assert.That(() => Presets.Find("RN51"), Throws.ArgumentException.With.Message.EqualTo(
            "There is no model 'RN51'; there are emoji-small, ViT-B/32, ViT-B/16, ViT-L/14, ViT-L/14@336, ViT-B/32-quickgelu, ViT-B/16-quickgelu, ViT-L/14-quickgelu, ViT-L/14@336-quickgelu, RN50, RN101, RN50x4, RN50x16, RN50x64, and configuration files by path (.json)."));
}
