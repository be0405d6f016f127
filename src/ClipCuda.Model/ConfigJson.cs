using System.Text.Json;

namespace ClipCuda.Model;

/// <summary>
/// Reads a model configuration in two dialects: open_clip's <c>model_cfg</c> (<c>head_width</c>, <c>no_ln_pre</c>) and this project's keys
/// (<c>heads</c>, <c>ln_pre</c>, <c>qkv_bias</c>). Writes open_clip's own keys only.
/// </summary>
public static class ConfigJson
{
    private static readonly string[] TopKeys = ["embed_dim", "quick_gelu", "qkv_bias", "vision_cfg", "text_cfg"];
    private static readonly string[] VisionKeys = ["image_size", "patch_size", "width", "layers", "heads", "head_width", "ln_pre", "no_ln_pre", "mlp_ratio"];
    private static readonly string[] TextKeys = ["context_length", "vocab_size", "width", "layers", "heads", "mlp_ratio"];

    /// <summary>The model of a configuration file: open_clip's <c>model_configs/NAME.json</c>, or a checkpoint's <c>open_clip_config.json</c>.</summary>
    /// <exception cref="IOException">There is no such file, or it cannot be read.</exception>
    /// <exception cref="InvalidDataException">It is no JSON, or not a configuration that is supported; the message names the key.</exception>
    public static ClipConfig ReadFile(string path)
    {
        using var json = JsonFile.Read(path);
        var root = json.RootElement;
        return Read(root.ValueKind == JsonValueKind.Object && root.TryGetProperty("model_cfg", out var model) ? model : root, path, qkvBias: true);
    }

    /// <param name="source">What an error calls the text: its file.</param>
    /// <param name="qkvBias">What an absent <c>qkv_bias</c> means.</param>
    /// <exception cref="InvalidDataException">A key is missing, unknown or of the wrong type; the message names it.</exception>
    public static ClipConfig Read(JsonElement json, string source, bool qkvBias)
    {
        var top = new JsonSection(json, "", source, TopKeys);
        var vision = top.Section("vision_cfg", VisionKeys);
        var text = top.Section("text_cfg", TextKeys);
        foreach (var section in (ReadOnlySpan<JsonSection>)[vision, text])
        {
            if (section.Has("mlp_ratio") && section.Number("mlp_ratio") != ClipConfig.MlpRatio) throw section.Error("mlp_ratio", $"must be {ClipConfig.MlpRatio}");
        }
        var config = new ClipConfig(
            top.Int("embed_dim"),
            vision.IsList("layers") ? ReadResNet(vision) : ReadTransformer(vision),
            new TextConfig(text.Int("context_length"), text.Int("vocab_size"), text.Int("width"), text.Int("layers"), text.Int("heads")),
            top.Bool("quick_gelu", absent: false), top.Bool("qkv_bias", absent: qkvBias));
        return Validated(config, source);
    }

    /// <summary>The keys in which two configurations differ, with their values.</summary>
    public static IReadOnlyList<(string Key, string First, string Second)> Differences(ClipConfig first, ClipConfig second)
    {
        Dictionary<string, string> a = Flatten(first), b = Flatten(second);
        return [.. a.Keys.Union(b.Keys).Select(key => (key, a.GetValueOrDefault(key, "none"), b.GetValueOrDefault(key, "none"))).Where(pair => pair.Item2 != pair.Item3)];
    }

    private static Dictionary<string, string> Flatten(ClipConfig config)
    {
        using var text = new MemoryStream();
        using (var writer = new Utf8JsonWriter(text)) WriteModelCfg(writer, config);
        using var json = JsonDocument.Parse(text.ToArray());
        var values = new Dictionary<string, string>(StringComparer.Ordinal) { ["qkv_bias"] = config.QkvBias ? "true" : "false" };
        Add(json.RootElement, "");
        return values;

        void Add(JsonElement section, string path)
        {
            foreach (var property in section.EnumerateObject())
            {
                if (property.Value.ValueKind == JsonValueKind.Object) Add(property.Value, $"{path}{property.Name}.");
                else values.Add(path + property.Name, property.Value.GetRawText());
            }
        }
    }

    internal static ClipConfig Validated(ClipConfig config, string source)
    {
        try
        {
            return config.Validate();
        }
        catch (ArgumentException error)
        {
            throw new InvalidDataException($"{source}: {error.Message}", error);
        }
    }

    /// <summary>open_clip's <c>model_cfg</c> of a configuration.</summary>
    public static void WriteModelCfg(Utf8JsonWriter writer, ClipConfig config)
    {
        writer.WriteStartObject();
        writer.WriteNumber("embed_dim", config.EmbedDim);
        writer.WriteBoolean("quick_gelu", config.QuickGelu);
        writer.WriteStartObject("vision_cfg");
        writer.WriteNumber("image_size", config.Vision.ImageSize);
        if (config.Vision.Stages is { } stages)
        {
            writer.WriteStartArray("layers");
            foreach (int blocks in stages.ToArray()) writer.WriteNumberValue(blocks);
            writer.WriteEndArray();
        }
        else
        {
            writer.WriteNumber("layers", config.Vision.Layers);
        }
        writer.WriteNumber("width", config.Vision.Width);
        writer.WriteNumber("head_width", config.Vision.FeatureWidth / config.Vision.Heads);
        if (config.Vision.Stages is null)
        {
            writer.WriteNumber("patch_size", config.Vision.PatchSize);
            writer.WriteBoolean("no_ln_pre", !config.Vision.LnPre);
        }
        else
        {
            writer.WriteNull("patch_size");
        }
        writer.WriteEndObject();
        writer.WriteStartObject("text_cfg");
        writer.WriteNumber("context_length", config.Text.ContextLength);
        writer.WriteNumber("vocab_size", config.Text.VocabSize);
        writer.WriteNumber("width", config.Text.Width);
        writer.WriteNumber("heads", config.Text.Heads);
        writer.WriteNumber("layers", config.Text.Layers);
        writer.WriteEndObject();
        writer.WriteEndObject();
    }

    private static VisionConfig ReadTransformer(JsonSection vision)
    {
        int width = vision.Int("width");
        bool lnPre = vision.Has("ln_pre") ? vision.Bool("ln_pre") : !vision.Bool("no_ln_pre", absent: false);
        return new VisionConfig(vision.Int("image_size"), vision.Int("patch_size"), width, vision.Int("layers"), ReadHeads(vision, width), lnPre);
    }

    /// <summary>What a ResNet has no use for is ignored, as open_clip does: its own files give it <c>"patch_size": null</c>.</summary>
    private static VisionConfig ReadResNet(JsonSection vision)
    {
        int[] layers = vision.Ints("layers");
        if (layers is not [var first, var second, var third, var fourth]) throw vision.Error("layers", $"has {layers.Length} numbers; a ResNet has 4 stages");
        int width = vision.Int("width"), heads = ReadHeads(vision, (long)VisionConfig.ResNetStride * width);
        return VisionConfig.ResNet(vision.Int("image_size"), width, new ResNetStages(first, second, third, fourth), heads);
    }

    private static int ReadHeads(JsonSection vision, long width)
    {
        if (vision.Has("heads")) return vision.Int("heads");
        // open_clip's default (CLIPVisionCfg.head_width).
        int headWidth = vision.Has("head_width") ? vision.Int("head_width") : 64;
        if (headWidth < 1 || width % headWidth != 0 || width / headWidth > int.MaxValue) throw vision.Error("head_width", $"is {headWidth}, which does not divide width {width}");
        return (int)(width / headWidth);
    }
}

/// <summary>One object of a configuration file; errors name the file and the key's path.</summary>
internal sealed class JsonSection
{
    private static readonly JsonElement EmptyObject = JsonElement.Parse("{}");

    private readonly JsonElement _json;
    private readonly string _path;
    private readonly string _source;

    /// <summary>A section in which every key is allowed.</summary>
    public JsonSection(JsonElement json, string path, string source)
    {
        (_json, _path, _source) = (json, path, source);
        if (json.ValueKind != JsonValueKind.Object) throw new InvalidDataException(path.Length == 0 ? $"{source} holds no object." : $"{source}: '{path.TrimEnd('.')}' is no object.");
    }

    public JsonSection(JsonElement json, string path, string source, ReadOnlySpan<string> known)
        : this(json, path, source)
    {
        foreach (var property in json.EnumerateObject())
        {
            if (!known.Contains(property.Name)) throw Error(property.Name, $"is not supported here; known are {string.Join(", ", known.ToArray())}");
        }
    }

    public bool Has(string key) => _json.TryGetProperty(key, out _);

    public JsonSection Section(string key, ReadOnlySpan<string> known) => new(Get(key), $"{_path}{key}.", _source, known);

    /// <summary>A section in which every key is allowed; null if it is absent or null.</summary>
    public JsonSection? OptionalSection(string key) =>
        _json.TryGetProperty(key, out var value) && value.ValueKind != JsonValueKind.Null ? new JsonSection(value, $"{_path}{key}.", _source) : null;

    /// <summary>A section of that name without keys.</summary>
    public JsonSection Empty(string key) => new(EmptyObject, $"{_path}{key}.", _source);

    public string Text(string key, string absent) => !Has(key) ? absent : Get(key) is { ValueKind: JsonValueKind.String } value ? value.GetString()! : throw Error(key, "is no text");

    public int Int(string key, int absent) => Has(key) ? Int(key) : absent;

    public double Number(string key, double absent) => Has(key) ? Number(key) : absent;

    public int Int(string key) =>
        Get(key) is { ValueKind: JsonValueKind.Number } value && value.TryGetInt32(out int number) ? number : throw Error(key, "is no whole number");

    public bool IsList(string key) => _json.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.Array;

    public int[] Ints(string key) =>
        [.. Get(key).EnumerateArray().Select(item => item.ValueKind == JsonValueKind.Number && item.TryGetInt32(out int number) ? number : throw Error(key, "holds what is no whole number"))];

    public double Number(string key) => Get(key) is { ValueKind: JsonValueKind.Number } value ? value.GetDouble() : throw Error(key, "is no number");

    public double[] Numbers(string key) =>
        Get(key) is { ValueKind: JsonValueKind.Array } value && value.EnumerateArray().All(item => item.ValueKind == JsonValueKind.Number)
            ? [.. value.EnumerateArray().Select(item => item.GetDouble())]
            : throw Error(key, "is no array of numbers");

    public bool Bool(string key, bool? absent = null)
    {
        if (absent is { } value && !Has(key)) return value;
        return Get(key).ValueKind switch
        {
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            _ => throw Error(key, "is neither true nor false"),
        };
    }

    public InvalidDataException Error(string key, string what) => new($"{_source}: '{_path}{key}' {what}.");

    private JsonElement Get(string key) => _json.TryGetProperty(key, out var value) ? value : throw Error(key, "is missing");
}
