namespace ClipCuda.Data;

/// <summary>
/// What was drawn for one image: whether it is flipped and grey, and its colour changes in their order. The default changes nothing.
/// </summary>
/// <param name="Order">The four changes (0 brightness, 1 contrast, 2 saturation, 3 hue) in two bits each, the first lowest; ignored without <paramref name="Jitter"/>.</param>
/// <param name="Hue">What is added to the hue, a share of the whole circle.</param>
public readonly record struct PixelDraw(bool Flip, bool Gray, bool Jitter, int Order, float Brightness, float Contrast, float Saturation, float Hue);

/// <summary>
/// Random changes of pixels in training, in open_clip's terms: horizontal flip, torchvision's ColorJitter with a probability, and grey scale with
/// a probability. A jitter strength s draws a factor uniform in [max(0, 1 − s), 1 + s], for hue a shift uniform in [−s, s]; the four changes
/// come in random order. Every number is drawn whatever the probabilities, so that one setting does not move the draws of another.
/// </summary>
public sealed record PixelAugmentation(
    double Flip = 0, double ColorJitterProbability = 0, double Brightness = 0, double Contrast = 0, double Saturation = 0, double Hue = 0, double GrayScaleProbability = 0)
{
    private const double MostHue = 0.5;

    /// <exception cref="ArgumentException">A number is out of range; written so that NaN is.</exception>
    public void Validate()
    {
        foreach (var (what, value, most) in new[]
        {
            ("hflip", Flip, 1), ("color_jitter_prob", ColorJitterProbability, 1), ("gray_scale_prob", GrayScaleProbability, 1),
            ("color_jitter's brightness", Brightness, double.MaxValue), ("color_jitter's contrast", Contrast, double.MaxValue),
            ("color_jitter's saturation", Saturation, double.MaxValue), ("color_jitter's hue", Hue, MostHue),
        })
        {
            if (!(value >= 0 && value <= most)) throw new ArgumentException($"{what} is {value}; it must be {(most == double.MaxValue ? "at least 0" : $"from 0 to {most}")}.");
        }
    }

    internal PixelDraw Draw(Philox random)
    {
        bool flip = random.Uniform() < Flip, jitter = random.Uniform() < ColorJitterProbability, gray = random.Uniform() < GrayScaleProbability;
        float brightness = Factor(Brightness), contrast = Factor(Contrast), saturation = Factor(Saturation), hue = (float)random.Uniform(-Hue, Hue);
        Span<int> order = [0, 1, 2, 3];
        random.Shuffle(order);
        return jitter
            ? new(flip, gray, true, order[0] | order[1] << 2 | order[2] << 4 | order[3] << 6, brightness, contrast, saturation, hue)
            : new(flip, gray, false, 0, 1, 1, 1, 0);

        float Factor(double strength) => (float)random.Uniform(Math.Max(0, 1 - strength), 1 + strength);
    }
}
