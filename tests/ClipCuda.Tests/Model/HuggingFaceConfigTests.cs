using System.Text.Json;
using ClipCuda.Model;

namespace ClipCuda.Tests.Model;

public sealed class HuggingFaceConfigTests
{
    [Test]
    public void Reads_every_key() => Assert.That(Read(GoldenWeights.HuggingFaceConfig), Is.EqualTo(GoldenWeights.Config));

    /// <summary>The defaults of transformers are OpenAI's ViT-B/32.</summary>
    [TestCase("""{"model_type": "clip"}""")]
    [TestCase("""{"model_type": "clip", "text_config": {}, "vision_config": {}, "text_config_dict": null}""")]
    [TestCase("""{"model_type": "clip", "text_config": {"eos_token_id": 2, "bos_token_id": 0}}""", Description = "ids of before transformers' pull request 24773")]
    [TestCase("""{"model_type": "clip", "text_config": {"hidden_size": 9}, "text_config_dict": {"hidden_size": 512}, "vision_config": {"patch_size": 9}, "vision_config_dict": {}}""")]
    public void Absent_keys_have_transformers_defaults(string json) =>
        Assert.That(Read(json), Is.EqualTo(new ClipConfig(512, new(224, 32, 768, 12, 12, LnPre: true), new(77, 49408, 512, 12, 8), QuickGelu: true, QkvBias: true)));

    [Test]
    public void What_is_written_reads_back([Values] bool quickGelu, [Values(49408, 50000, 200)] int vocabulary)
    {
        var config = GoldenWeights.Config with { QuickGelu = quickGelu, Text = GoldenWeights.Config.Text with { VocabSize = vocabulary } };
        using var stream = new MemoryStream();
        using (var writer = new Utf8JsonWriter(stream))
        {
            writer.WriteStartObject();
            HuggingFaceConfig.Write(writer, config);
            writer.WriteEndObject();
        }
        using var json = JsonDocument.Parse(stream.ToArray());
        Assert.That(HuggingFaceConfig.Read(json.RootElement, "test"), Is.EqualTo(config));
        var text = json.RootElement.GetProperty("text_config");
        int end = vocabulary == 200 ? 199 : 49407;
        Assert.That((text.GetProperty("bos_token_id").GetInt32(), text.GetProperty("eos_token_id").GetInt32()), Is.EqualTo((end - 1, end)));
        Assert.That(text.GetProperty("hidden_act").GetString(), Is.EqualTo(quickGelu ? "quick_gelu" : "gelu"));
    }

    [TestCase("\"model_type\": \"clip\"", "\"model_type\": \"siglip\"", "c.json: 'model_type' is 'siglip', expected 'clip'")]
    [TestCase("\"eos_token_id\": 199", "\"eos_token_id\": 7", "c.json: 'text_config.eos_token_id' is 7; the text is pooled at the largest id, so it must be 199")]
    [TestCase("\"patch_size\": 16, \"hidden_act\": \"quick_gelu\"", "\"patch_size\": 16, \"hidden_act\": \"gelu\"", "c.json: 'text_config.hidden_act' is not the activation of the vision tower")]
    [TestCase("\"patch_size\": 16, \"hidden_act\": \"quick_gelu\"", "\"patch_size\": 16, \"hidden_act\": \"gelu_new\"", "c.json: 'vision_config.hidden_act' is 'gelu_new'")]
    [TestCase("\"patch_size\": 16", "\"patch_size\": 17", "c.json: Image size 48 is no multiple of patch size 17")]
    [TestCase("\"patch_size\": 16", "\"patch_size\": 16, \"num_channels\": 4", "c.json: 'vision_config.num_channels' must be 3")]
    [TestCase("\"patch_size\": 16", "\"patch_size\": 16, \"layer_norm_eps\": 1e-6", "c.json: 'vision_config.layer_norm_eps' is 1E-06, which must be 1E-05")]
    [TestCase("\"intermediate_size\": 256, \"num_hidden_layers\": 2, \"num_attention_heads\": 1, \"image_size\"", "\"intermediate_size\": 128, \"image_size\"", "c.json: 'vision_config.intermediate_size' is 128, which must be 4 times hidden_size, 64")]
    [TestCase("\"projection_dim\": 32", "\"projection_dim\": 3.5", "c.json: 'projection_dim' is no whole number")]
    [TestCase("\"text_config\": {", "\"text_config\": 3, \"x\": {", "c.json: 'text_config' is no object")]
    public void What_is_wrong_is_named(string right, string wrong, string message)
    {
        string changed = GoldenWeights.HuggingFaceConfig.Replace(right, wrong, StringComparison.Ordinal);
        Assert.That(changed, Is.Not.EqualTo(GoldenWeights.HuggingFaceConfig));
        Assert.That(
            () => Read(changed), Throws.TypeOf<InvalidDataException>().With.Message.StartsWith(message));
    }

    private static ClipConfig Read(string text)
    {
        using var json = JsonDocument.Parse(text);
        return HuggingFaceConfig.Read(json.RootElement, "c.json");
    }
}
