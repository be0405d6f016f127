using System.Globalization;

namespace ClipCuda.Data;

/// <summary>
/// Settings of augmentation in open_clip's words, <c>KEY=VALUE</c> with numbers separated by commas, in brackets or not: <c>scale</c> and
/// <c>ratio</c> of random crops, <c>hflip</c>, <c>color_jitter</c> (one number for brightness, contrast and saturation; or three; or four with hue)
/// with <c>color_jitter_prob</c> (1 where a jitter is given without it), <c>gray_scale_prob</c>.
/// </summary>
public static class AugmentationSettings
{
    private const int MostTypos = 3;

    public static IReadOnlyList<string> Keys { get; } = ["scale", "ratio", "hflip", "color_jitter", "color_jitter_prob", "gray_scale_prob"];

    /// <summary>Applies settings, one after the other. Without a crop, <c>scale</c> or <c>ratio</c> begin one.</summary>
    /// <exception cref="ArgumentException">A key is unknown (the message has the nearest one), a value is no number or out of range.</exception>
    public static (RandomCrop? Crop, PixelAugmentation Pixels) Apply(RandomCrop? crop, PixelAugmentation pixels, IEnumerable<string> settings)
    {
        bool jitter = false, probability = false;
        foreach (string setting in settings)
        {
            int equals = setting.IndexOf('=');
            string key = equals < 0 ? setting : setting[..equals].Trim();
            if (!Keys.Contains(key)) throw new ArgumentException($"'{key}' is no setting of augmentation{Nearest(key)}; there are {string.Join(", ", Keys)}.");
            double[] values = equals < 0 ? [] : Numbers(key, setting[(equals + 1)..]);
            switch (key)
            {
                case "scale" when values.Length == 2:
                    crop = (crop ?? new RandomCrop()) with { MinArea = values[0], MaxArea = values[1] };
                    break;
                case "ratio" when values.Length == 2:
                    crop = (crop ?? new RandomCrop()) with { MinRatio = values[0], MaxRatio = values[1] };
                    break;
                case "hflip" when values.Length == 1:
                    pixels = pixels with { Flip = values[0] };
                    break;
                case "color_jitter" when values.Length is 1 or 3 or 4:
                    double Strength(int i) => values.Length == 1 ? values[0] : values[i];
                    pixels = pixels with { Brightness = Strength(0), Contrast = Strength(1), Saturation = Strength(2), Hue = values.Length == 4 ? values[3] : 0 };
                    jitter = true;
                    break;
                case "color_jitter_prob" when values.Length == 1:
                    pixels = pixels with { ColorJitterProbability = values[0] };
                    probability = true;
                    break;
                case "gray_scale_prob" when values.Length == 1:
                    pixels = pixels with { GrayScaleProbability = values[0] };
                    break;
                default:
                    throw new ArgumentException($"'{setting}' has {values.Length} numbers; {key} takes {(key is "scale" or "ratio" ? "2, least and most" : key == "color_jitter" ? "1, 3 or 4" : "1")}.");
            }
        }
        if (jitter && !probability) pixels = pixels with { ColorJitterProbability = 1 };
        crop?.Validate();
        pixels.Validate();
        return (crop, pixels);
    }

    private static double[] Numbers(string key, string text) =>
        [.. text.Trim(' ', '(', ')', '[', ']').Split(',', StringSplitOptions.TrimEntries).Select(part =>
            double.TryParse(part, NumberStyles.Float, CultureInfo.InvariantCulture, out double value) ? value : throw new ArgumentException($"'{part}' in {key} is not a number; write {key}=0.5 or {key}=0.5,1."))];

    private static string Nearest(string key)
    {
        string nearest = Keys.MinBy(known => EditDistance.Between(known, key))!;
        return EditDistance.Between(nearest, key) <= MostTypos ? $"; '{nearest}' is the nearest" : "";
    }
}
