namespace ClipCuda.Data;

/// <summary>
/// The rectangle of torchvision's RandomResizedCrop: its area is uniform between two shares of the image's, its aspect ratio (width / height)
/// log-uniform between two bounds. Ten tries to fit it in; then the largest centred rectangle within the bounds.
/// </summary>
public sealed record RandomCrop(double MinArea = 0.8, double MaxArea = 1, double MinRatio = 3.0 / 4, double MaxRatio = 4.0 / 3)
{
    private const int Tries = 10;

    /// <exception cref="ArgumentException">A bound is out of range; written so that NaN is.</exception>
    public void Validate()
    {
        if (!(MinArea > 0 && MinArea <= MaxArea && MaxArea <= 1))
            throw new ArgumentException($"The crop's share of the area goes from {MinArea} to {MaxArea}; it must be above 0, at most 1 and in order.");
        if (!(MinRatio > 0 && MinRatio <= MaxRatio && double.IsFinite(MaxRatio)))
            throw new ArgumentException($"The crop's aspect ratio goes from {MinRatio} to {MaxRatio}; it must be above 0 and in order.");
    }

    internal (int X, int Y, int Width, int Height) Draw(int width, int height, Philox random)
    {
        double area = (double)width * height;
        for (int i = 0; i < Tries; i++)
        {
            double target = area * random.Uniform(MinArea, MaxArea), ratio = Math.Exp(random.Uniform(Math.Log(MinRatio), Math.Log(MaxRatio)));
            int cropWidth = (int)Math.Round(Math.Sqrt(target * ratio)), cropHeight = (int)Math.Round(Math.Sqrt(target / ratio));
            if (cropWidth < 1 || cropWidth > width || cropHeight < 1 || cropHeight > height) continue;
            int y = random.Below(height - cropHeight + 1), x = random.Below(width - cropWidth + 1);
            return (x, y, cropWidth, cropHeight);
        }
        double whole = (double)width / height;
        int centreWidth = whole > MaxRatio ? Math.Max(1, (int)Math.Round(height * MaxRatio)) : width;
        int centreHeight = whole < MinRatio ? Math.Max(1, (int)Math.Round(width / MinRatio)) : height;
        return ((width - centreWidth) / 2, (height - centreHeight) / 2, centreWidth, centreHeight);
    }
}
