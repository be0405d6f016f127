using ClipCuda.Model;
using ClipCuda.Tests.Data;

namespace ClipCuda.Tests.Model;

public sealed class PlainWeightsTests : FolderTests
{
    [Test]
    public void The_configuration_is_that_of_the_shapes_and_the_activation_what_is_said([Values] bool quickGelu)
    {
        using var weights = PretrainedWeights.Open(GoldenWeights.Path, quickGelu);
        Assert.That(weights.Config, Is.EqualTo(GoldenWeights.Config with { QuickGelu = quickGelu }));
    }

    [Test]
    public void Without_a_word_on_the_activation_the_file_is_refused_unless_it_is_OpenAIs_archive()
    {
        Refuse(GoldenWeights.Path, null, "does not say which activation", "--activation quick_gelu");
        string archive = Changed(tensors => tensors.Add("input_resolution", ([], [48])));
        using var weights = PretrainedWeights.Open(archive);
        Assert.That(weights.Config, Is.EqualTo(GoldenWeights.Config));
        Assert.That(weights.Tensors.Select(tensor => tensor.Name), Does.Not.Contain("input_resolution"));
        Refuse(archive, false, "OpenAI's archives, whose models have quick_gelu true, not false");
    }

    [Test]
    public void A_file_without_biases_and_norm_is_a_model_without_them()
    {
        using var weights = PretrainedWeights.Open(
            Changed(tensors =>
            {
                foreach (string name in tensors.Keys.Where(name => name.Contains("in_proj_bias") || name.Contains("ln_pre")).ToArray()) tensors.Remove(name);
            }), quickGelu: false);
        Assert.That(weights.Config, Is.EqualTo(GoldenWeights.Config with { QuickGelu = false, QkvBias = false, Vision = GoldenWeights.Config.Vision with { LnPre = false } }));
    }

    [Test]
    public void What_the_shapes_do_not_tell_is_named()
    {
        Refuse(Path.Combine(AppContext.BaseDirectory, "golden", "clip_demo_vit", "weights.safetensors"), false, "vision transformer of width 48, whose number of heads is not known", "open_clip_config.json");
        Refuse(Changed(tensors => tensors.Remove("text_projection")), true, "lacks 'text_projection'");
        Refuse(Changed(tensors => tensors["visual.conv1.weight"] = ([3], new float[3])), true, "holds 'visual.conv1.weight' of shape [3], expected 4 dimensions");
        Refuse(Changed(tensors => tensors["visual.positional_embedding"] = ([9, 64], new float[9 * 64])), true, "of 9 rows, which are not a square of patches");
        Refuse(Changed(tensors => tensors.Add("transformer.resblocks.2147483647.ln_1.weight", ([1], [1]))), true, "--text-layers");
        Refuse(Changed(tensors => tensors.Add("transformer.resblocks.3.ln_1.weight", ([1], [1]))), true, "lacks 23 tensors: transformer.resblocks.2.ln_1.weight");
        Refuse(Changed(tensors => tensors.Add("visual.layer1.0.conv1.weight", ([1], [1]))), true, "holds a ResNet");
        GoldenWeights.Write(Folder.At("hf.safetensors"), GoldenWeights.AsHuggingFace());
        Refuse(Folder.At("hf.safetensors"), true, "names of Hugging Face's CLIPModel; put its config.json beside it");
    }

    private static void Refuse(string path, bool? quickGelu, params string[] says)
    {
        var error = Assert.Throws<InvalidDataException>(() => PretrainedWeights.Open(path, quickGelu).Dispose());
        foreach (string part in says) Assert.That(error!.Message, Does.Contain(part));
    }

    private string Changed(Action<Dictionary<string, (int[] Shape, float[] Values)>> change)
    {
        var tensors = GoldenWeights.Read(GoldenWeights.Path);
        change(tensors);
        GoldenWeights.Write(Folder.At("w.safetensors"), tensors);
        return Folder.At("w.safetensors");
    }
}
