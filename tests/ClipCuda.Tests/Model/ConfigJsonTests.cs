using System.Text.Json;
using ClipCuda.Model;
using ClipCuda.Tests.Data;

namespace ClipCuda.Tests.Model;

public sealed class ConfigJsonTests
{
    private const string OpenClip = """
        {"embed_dim": 512, "quick_gelu": true,
         "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
         "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}}
        """;

    [Test]
    public void Reads_open_clips_dialect_with_its_defaults()
    {
        var config = Read(OpenClip);
        Assert.That(config, Is.EqualTo(new ClipConfig(512, new(224, 32, 768, 12, 12, LnPre: true), new(77, 49408, 512, 12, 8), QuickGelu: true, QkvBias: true)));
    }

    [Test]
    public void Reads_its_own_dialect()
    {
        var config = Read("""
            {"embed_dim": 24, "qkv_bias": false, "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 48, "layers": 2, "heads": 3, "ln_pre": false},
             "text_cfg": {"context_length": 16, "vocab_size": 300, "width": 32, "layers": 2, "heads": 2}}
            """);
        Assert.That(config, Is.EqualTo(new ClipConfig(24, new(32, 8, 48, 2, 3), new(16, 300, 32, 2, 2))));
    }

    /// <summary>open_clip's model_configs/RN50.json and RN50x64.json.</summary>
    [TestCase("RN50", 1024, 224, "[3, 4, 6, 3]", 64, 512, 8)]
    [TestCase("RN50x64", 1024, 448, "[3, 15, 36, 10]", 128, 1024, 16)]
    public void A_list_of_layers_is_a_resnet(string preset, int embed, int size, string layers, int width, int textWidth, int textHeads)
    {
        string json = $$"""
            {"embed_dim": {{embed}}, "quick_gelu": true, "vision_cfg": {"image_size": {{size}}, "layers": {{layers}}, "width": {{width}}, "patch_size": null},
             "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": {{textWidth}}, "layers": 12, "heads": {{textHeads}} } }
            """;
        Assert.That(Read(json), Is.EqualTo(Presets.Find(preset).Config));
    }

    [Test]
    public void A_resnet_that_is_written_reads_back()
    {
        var config = new ClipConfig(24, VisionConfig.ResNet(64, 8, new(1, 2, 3, 4), heads: 4), new(16, 300, 32, 2, 2), QkvBias: true);
        using var stream = new MemoryStream();
        using (var writer = new Utf8JsonWriter(stream)) ConfigJson.WriteModelCfg(writer, config);
        using var json = JsonDocument.Parse(stream.ToArray());
        Assert.That(ConfigJson.Read(json.RootElement, "test", qkvBias: true), Is.EqualTo(config));
    }

    [Test]
    public void A_file_is_read_with_and_without_what_wraps_it()
    {
        using var folder = new TemporaryFolder();
        string plain = folder.Write("plain.json", OpenClip), wrapped = folder.Write("wrapped.json", "{\"model_cfg\": " + OpenClip + ", \"preprocess_cfg\": {}}");
        Assert.That(ConfigJson.ReadFile(wrapped), Is.EqualTo(ConfigJson.ReadFile(plain)).And.EqualTo(Read(OpenClip)));
        string broken = folder.Write("broken.json", "{");
        Assert.That(() => ConfigJson.ReadFile(broken), Throws.TypeOf<InvalidDataException>().With.Message.Contains("broken.json' is no JSON"));
        Assert.That(() => ConfigJson.ReadFile(broken + ".json"), Throws.TypeOf<FileNotFoundException>());
    }

    [Test]
    public void What_is_written_reads_back([Values] bool quickGelu, [Values] bool lnPre)
    {
        var config = new ClipConfig(24, new(32, 8, 48, 2, 3, lnPre), new(16, 300, 32, 2, 2), quickGelu, QkvBias: true);
        using var stream = new MemoryStream();
        using (var writer = new Utf8JsonWriter(stream)) ConfigJson.WriteModelCfg(writer, config);
        using var json = JsonDocument.Parse(stream.ToArray());
        Assert.That(ConfigJson.Read(json.RootElement, "test", qkvBias: true), Is.EqualTo(config));
    }

    [TestCase("\"width\": 768", "\"wdith\": 768", "c.json: 'vision_cfg.wdith' is not supported here; known are image_size")]
    [TestCase("\"embed_dim\": 512,", "", "c.json: 'embed_dim' is missing.")]
    [TestCase("\"embed_dim\": 512", "\"embed_dim\": 1.5", "c.json: 'embed_dim' is no whole number.")]
    [TestCase("\"embed_dim\": 512", "\"embed_dim\": \"512\"", "c.json: 'embed_dim' is no whole number.")]
    [TestCase("\"quick_gelu\": true", "\"quick_gelu\": 1", "c.json: 'quick_gelu' is neither true nor false.")]
    [TestCase("\"patch_size\": 32", "\"patch_size\": 33", "c.json: Image size 224 is no multiple of patch size 33")]
    [TestCase("\"patch_size\": 32", "\"patch_size\": 32, \"head_width\": 100", "c.json: 'vision_cfg.head_width' is 100, which does not divide width 768.")]
    [TestCase("\"patch_size\": 32", "\"patch_size\": 32, \"mlp_ratio\": 2.0", "c.json: 'vision_cfg.mlp_ratio' must be 4.")]
    [TestCase("\"layers\": 12, \"width\"", "\"layers\": [3, 4, 6], \"width\"", "c.json: 'vision_cfg.layers' has 3 numbers; a ResNet has 4 stages.")]
    [TestCase("\"layers\": 12, \"width\"", "\"layers\": [3, 4, 6, 0.5], \"width\"", "c.json: 'vision_cfg.layers' holds what is no whole number.")]
    [TestCase("\"layers\": 12, \"width\"", "\"layers\": [3, 4, 6, 0], \"width\"", "c.json: A ResNet of 3,4,6,0 blocks has an empty stage")]
    [TestCase("\"layers\": 12, \"width\": 768", "\"layers\": [3, 4, 6, 3], \"head_width\": 7, \"width\": 64", "c.json: 'vision_cfg.head_width' is 7, which does not divide width 2048.")]
    public void What_is_wrong_is_named(string right, string wrong, string message) =>
        Assert.That(() => Read(OpenClip.Replace(right, wrong, StringComparison.Ordinal)), Throws.TypeOf<InvalidDataException>().With.Message.StartsWith(message));

    private static ClipConfig Read(string text)
    {
        using var json = JsonDocument.Parse(text);
        return ConfigJson.Read(json.RootElement, "c.json", qkvBias: true);
    }
}
