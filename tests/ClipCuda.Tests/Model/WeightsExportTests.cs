using System.Text.Json;
using ClipCuda.Model;
using ClipCuda.Tests.Data;

namespace ClipCuda.Tests.Model;

public sealed class WeightsExportTests : FolderTests
{
    [Test]
    public void A_Hugging_Face_folder_holds_what_transformers_saves()
    {
        using var weights = PretrainedWeights.Open(GoldenWeights.Path, quickGelu: true);
        WeightsExport.ToHuggingFace(Folder.Path, weights.Config, weights.Tensors);
        var (written, expected) = (GoldenWeights.Read(Folder.At("model.safetensors")), GoldenWeights.AsHuggingFace());
        Assert.That(written.Keys, Is.EquivalentTo(expected.Keys));
        foreach (var (name, (shape, values)) in expected)
        {
            Assert.That(written[name].Shape, Is.EqualTo(shape), name);
            Numbers.AssertSameBits(written[name].Values, values, name);
        }
        Assert.That(File.ReadAllText(Folder.At("model.safetensors")), Does.Contain("""{"__metadata__":{"format":"pt"},"""));
        using var preprocessor = JsonDocument.Parse(File.ReadAllText(Folder.At("preprocessor_config.json")));
        Assert.That(preprocessor.RootElement.GetProperty("crop_size").GetProperty("height").GetInt32(), Is.EqualTo(48));
        Assert.That(preprocessor.RootElement.GetProperty("size").GetProperty("shortest_edge").GetInt32(), Is.EqualTo(48));
        Assert.That(preprocessor.RootElement.GetProperty("image_mean")[0].GetDouble(), Is.EqualTo(0.48145466).Within(1e-7));
        using var again = PretrainedWeights.Open(Folder.Path);
        Assert.That(again.Config, Is.EqualTo(GoldenWeights.Config));
    }

    [Test]
    public void An_absent_bias_is_zeros_in_both_layouts()
    {
        var config = GoldenWeights.Config with { QkvBias = false };
        string path = Folder.At("w.safetensors");
        var tensors = GoldenWeights.Read(GoldenWeights.Path);
        foreach (string name in tensors.Keys.Where(name => name.Contains("in_proj_bias")).ToArray()) tensors.Remove(name);
        GoldenWeights.Write(path, tensors);
        using var weights = PretrainedWeights.Open(path, quickGelu: true);
        Assert.That(weights.Config, Is.EqualTo(config));
        WeightsExport.ToHuggingFace(Folder.At("hf"), config, weights.Tensors);
        WeightsExport.ToOpenClip(Folder.At("oc"), config, weights.Tensors);
        var (hugging, open) = (GoldenWeights.Read(Folder.At("hf/model.safetensors")), GoldenWeights.Read(Folder.At("oc/open_clip_model.safetensors")));
        Assert.That(hugging.Keys, Is.EquivalentTo(GoldenWeights.AsHuggingFace().Keys));
        Assert.That(open.Keys, Is.EquivalentTo(GoldenWeights.Read(GoldenWeights.Path).Keys));
        Assert.That(hugging["vision_model.encoder.layers.1.self_attn.v_proj.bias"].Values, Is.EqualTo(new float[64]));
        Assert.That(open["transformer.resblocks.0.attn.in_proj_bias"].Values, Is.EqualTo(new float[192]));
    }

    [Test]
    public void What_a_CLIPModel_cannot_be_is_refused_before_anything_is_written()
    {
        using var weights = PretrainedWeights.Open(GoldenWeights.Path, quickGelu: true);
        var without = weights.Config with { Vision = weights.Config.Vision with { LnPre = false } };
        Assert.That(() => WeightsExport.ToHuggingFace(Folder.At("hf"), without, weights.Tensors), Throws.TypeOf<InvalidDataException>().With.Message.Contains("no_ln_pre"));
        WeightTensor[] resNet = [.. weights.Tensors, WeightTensor.Zeros("visual.layer1.0.conv1.weight", "F32", 1)];
        Assert.That(
            () => WeightsExport.ToHuggingFace(Folder.At("hf"), weights.Config, resNet),
            Throws.TypeOf<InvalidDataException>().With.Message.Contains("'visual.layer1.0.conv1.weight'").And.Message.Contains("--to open_clip"));
        Assert.That(Directory.Exists(Folder.At("hf")), Is.False);
    }
}
