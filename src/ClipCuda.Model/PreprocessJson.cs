using System.Text.Json;
using ClipCuda.Ops;

namespace ClipCuda.Model;

/// <summary>
/// What is done to an image before a model sees it, in the words of open_clip (<c>preprocess_cfg</c>) and of Hugging Face
/// (<c>preprocessor_config.json</c>). This program does one thing, CLIP's: shorter side resized with bicubic filter, centre cropped, CLIP's mean and
/// deviation. Weights that were trained on anything else would be silently worse, so reading them is an error.
/// </summary>
internal static class PreprocessJson
{
    private const int PillowBicubic = 3;

    /// <summary>Numbers that are written with eight digits differ by less.</summary>
    private const double Tolerance = 1e-6;

    public static void WriteOpenClip(Utf8JsonWriter writer, int imageSize)
    {
        writer.WriteStartObject("preprocess_cfg");
        writer.WriteNumber("size", imageSize);
        writer.WriteString("mode", "RGB");
        WriteNumbers(writer, "mean", Preprocess.ClipMean);
        WriteNumbers(writer, "std", Preprocess.ClipDeviation);
        writer.WriteString("interpolation", "bicubic");
        writer.WriteString("resize_mode", "shortest");
        writer.WriteEndObject();
    }

    public static void WriteHuggingFace(Utf8JsonWriter writer, int imageSize)
    {
        writer.WriteString("image_processor_type", "CLIPImageProcessor");
        foreach (string step in (ReadOnlySpan<string>)["do_convert_rgb", "do_resize", "do_center_crop", "do_rescale", "do_normalize"]) writer.WriteBoolean(step, true);
        writer.WriteStartObject("size");
        writer.WriteNumber("shortest_edge", imageSize);
        writer.WriteEndObject();
        writer.WriteStartObject("crop_size");
        writer.WriteNumber("height", imageSize);
        writer.WriteNumber("width", imageSize);
        writer.WriteEndObject();
        writer.WriteNumber("resample", PillowBicubic);
        writer.WriteNumber("rescale_factor", 1 / 255.0);
        WriteNumbers(writer, "image_mean", Preprocess.ClipMean);
        WriteNumbers(writer, "image_std", Preprocess.ClipDeviation);
    }

    /// <exception cref="InvalidDataException">Something else is asked for; the message names the key.</exception>
    public static void RequireOpenClip(JsonSection section)
    {
        RequireNumbers(section, "mean", Preprocess.ClipMean);
        RequireNumbers(section, "std", Preprocess.ClipDeviation);
        RequireText(section, "interpolation", "bicubic");
        RequireText(section, "resize_mode", "shortest");
        RequireText(section, "mode", "RGB");
    }

    /// <inheritdoc cref="RequireOpenClip"/>
    public static void RequireHuggingFace(JsonSection section)
    {
        RequireNumbers(section, "image_mean", Preprocess.ClipMean);
        RequireNumbers(section, "image_std", Preprocess.ClipDeviation);
        foreach (string step in (ReadOnlySpan<string>)["do_resize", "do_center_crop", "do_rescale", "do_normalize"])
        {
            if (!section.Bool(step, absent: true)) throw section.Error(step, "is false; images are always prepared in CLIP's way");
        }
        if (section.Int("resample", absent: PillowBicubic) != PillowBicubic) throw section.Error("resample", $"must be {PillowBicubic}, bicubic");
    }

    private static void RequireNumbers(JsonSection section, string key, ReadOnlySpan<float> clip)
    {
        if (!section.Has(key)) return;
        double[] numbers = section.Numbers(key);
        bool same = numbers.Length == clip.Length;
        for (int i = 0; same && i < numbers.Length; i++) same = Math.Abs(numbers[i] - clip[i]) <= Tolerance;
        if (!same) throw section.Error(key, $"is [{string.Join(", ", numbers)}]; images are always normalised with CLIP's, [{string.Join(", ", clip.ToArray())}]");
    }

    private static void RequireText(JsonSection section, string key, string value)
    {
        if (section.Text(key, absent: value) is var text && text != value) throw section.Error(key, $"is '{text}'; images are always prepared in CLIP's way, '{value}'");
    }

    private static void WriteNumbers(Utf8JsonWriter writer, string key, ReadOnlySpan<float> numbers)
    {
        writer.WriteStartArray(key);
        foreach (float number in numbers) writer.WriteNumberValue(number);
        writer.WriteEndArray();
    }
}
