using System.Text.Json;

namespace ClipCuda.Model;

/// <summary>
/// The <c>config.json</c> of Hugging Face's CLIPModel (transformers' models/clip/configuration_clip.py). Keys that are absent have that file's
/// defaults; keys that say nothing about the model are ignored, as transformers does.
/// </summary>
public static class HuggingFaceConfig
{
    private const double LayerNormEpsilon = 1e-5;
    private const string QuickGelu = "quick_gelu", Gelu = "gelu";

    /// <summary>CLIP's vocabulary, the tokenizer's end token included.</summary>
    private const int ClipVocabulary = 49408;

    /// <summary>
    /// transformers' value from before its pull request 24773, an id of no meaning: with it the text is pooled at the largest id, as everywhere
    /// else.
    /// </summary>
    private const int LegacyEnd = 2;

    /// <param name="source">What an error calls the text: its file.</param>
    /// <exception cref="InvalidDataException">It is no CLIP, or one that this program cannot compute; the message names the key.</exception>
    public static ClipConfig Read(JsonElement json, string source, bool qkvBias = true)
    {
        var top = new JsonSection(json, "", source);
        if (top.Text("model_type", absent: "") is not "clip" and var type) throw top.Error("model_type", $"is '{type}', expected 'clip', a CLIPModel");
        var (vision, text) = (Section(top, "vision_config"), Section(top, "text_config"));
        int visionWidth = vision.Int("hidden_size", absent: 768), textWidth = text.Int("hidden_size", absent: 512), vocabulary = text.Int("vocab_size", absent: ClipVocabulary);
        if (vision.Int("num_channels", absent: 3) != 3) throw vision.Error("num_channels", "must be 3");
        RequireMlp(vision, visionWidth, absent: 3072);
        RequireMlp(text, textWidth, absent: 2048);
        bool quickGelu = IsQuickGelu(vision);
        if (IsQuickGelu(text) != quickGelu) throw text.Error("hidden_act", "is not the activation of the vision tower; both must be the same");
        int end = text.Int("eos_token_id", absent: ClipVocabulary - 1);
        if (end != LegacyEnd && end != EndOf(vocabulary) && end != vocabulary - 1)
            throw text.Error("eos_token_id", $"is {end}; the text is pooled at the largest id, so it must be {EndOf(vocabulary)} (or {LegacyEnd}, which means the same)");
        var config = new ClipConfig(
            top.Int("projection_dim", absent: 512),
            new VisionConfig(
                vision.Int("image_size", absent: 224), vision.Int("patch_size", absent: 32), visionWidth, vision.Int("num_hidden_layers", absent: 12),
                vision.Int("num_attention_heads", absent: 12), LnPre: true),
            new TextConfig(
                text.Int("max_position_embeddings", absent: 77), vocabulary, textWidth, text.Int("num_hidden_layers", absent: 12), text.Int("num_attention_heads", absent: 8)),
            quickGelu, qkvBias);
        return ConfigJson.Validated(config, source);
    }

    /// <summary>Writes the properties of the whole file.</summary>
    public static void Write(Utf8JsonWriter writer, ClipConfig config)
    {
        writer.WriteStartArray("architectures");
        writer.WriteStringValue("CLIPModel");
        writer.WriteEndArray();
        writer.WriteString("model_type", "clip");
        writer.WriteNumber("projection_dim", config.EmbedDim);
        writer.WriteNumber("logit_scale_init_value", 2.6592);
        writer.WriteStartObject("text_config");
        writer.WriteString("model_type", "clip_text_model");
        writer.WriteNumber("vocab_size", config.Text.VocabSize);
        writer.WriteNumber("max_position_embeddings", config.Text.ContextLength);
        writer.WriteNumber("bos_token_id", EndOf(config.Text.VocabSize) - 1);
        writer.WriteNumber("eos_token_id", EndOf(config.Text.VocabSize));
        WriteTower(writer, config, config.Text.Width, config.Text.Layers, config.Text.Heads);
        writer.WriteEndObject();
        writer.WriteStartObject("vision_config");
        writer.WriteString("model_type", "clip_vision_model");
        writer.WriteNumber("num_channels", 3);
        writer.WriteNumber("image_size", config.Vision.ImageSize);
        writer.WriteNumber("patch_size", config.Vision.PatchSize);
        WriteTower(writer, config, config.Vision.Width, config.Vision.Layers, config.Vision.Heads);
        writer.WriteEndObject();
    }

    private static void WriteTower(Utf8JsonWriter writer, ClipConfig config, int width, int layers, int heads)
    {
        writer.WriteNumber("hidden_size", width);
        writer.WriteNumber("intermediate_size", ClipConfig.MlpRatio * width);
        writer.WriteNumber("projection_dim", config.EmbedDim);
        writer.WriteNumber("num_hidden_layers", layers);
        writer.WriteNumber("num_attention_heads", heads);
        writer.WriteString("hidden_act", config.QuickGelu ? QuickGelu : Gelu);
        writer.WriteNumber("layer_norm_eps", LayerNormEpsilon);
        // With its point: transformers tells whole numbers from others.
        writer.WritePropertyName("attention_dropout");
        writer.WriteRawValue("0.0");
    }

    /// <summary>A <c>…_config_dict</c>, which very old files have, replaces the section beside it with itself and the defaults.</summary>
    private static JsonSection Section(JsonSection top, string key) => top.OptionalSection(key + "_dict") ?? top.OptionalSection(key) ?? top.Empty(key);

    private static void RequireMlp(JsonSection section, int width, int absent)
    {
        if (section.Int("intermediate_size", absent) is var hidden && hidden != (long)ClipConfig.MlpRatio * width)
            throw section.Error("intermediate_size", $"is {hidden}, which must be {ClipConfig.MlpRatio} times hidden_size, {width}");
        if (section.Number("layer_norm_eps", LayerNormEpsilon) is var epsilon && epsilon != LayerNormEpsilon) throw section.Error("layer_norm_eps", $"is {epsilon}, which must be {LayerNormEpsilon}");
    }

    private static bool IsQuickGelu(JsonSection section) => section.Text("hidden_act", absent: QuickGelu) switch
    {
        QuickGelu => true,
        Gelu => false,
        var other => throw section.Error("hidden_act", $"is '{other}'; '{QuickGelu}' and '{Gelu}' are supported"),
    };

    /// <summary>The end token of CLIP's tokenizer, or of a smaller vocabulary the last id.</summary>
    private static int EndOf(int vocabulary) => Math.Min(vocabulary, ClipVocabulary) - 1;
}
