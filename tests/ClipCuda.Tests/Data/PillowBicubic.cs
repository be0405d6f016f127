namespace ClipCuda.Tests.Data;

/// <summary>
/// Pillow's antialiased bicubic on 8-bit RGB (Pillow, src/libImaging/Resample.c), one pixel at a time: for each output position a window of
/// support 2·scale around its centre, weights normalised in float64 and rounded to 22 fractional bits, the horizontal pass rounded to bytes,
/// then the vertical one.
/// </summary>
internal static class PillowBicubic
{
    private const int PrecisionBits = 22;

    /// <summary>Resizes so that the shorter side is <paramref name="size"/> (the longer one truncated) and cuts size × size out of the middle.</summary>
    public static byte[] ResizeAndCrop(byte[] rgb, int width, int height, int size)
    {
        int newWidth = width <= height ? size : (int)((long)size * width / height);
        int newHeight = width <= height ? (int)((long)size * height / width) : size;
        byte[] resized = Resize(rgb, width, height, newWidth, newHeight);
        int left = (int)Math.Round((newWidth - size) / 2.0, MidpointRounding.ToEven), top = (int)Math.Round((newHeight - size) / 2.0, MidpointRounding.ToEven);
        var window = new byte[size * size * 3];
        for (int y = 0; y < size; y++) Array.Copy(resized, ((top + y) * newWidth + left) * 3, window, y * size * 3, size * 3);
        return window;
    }

    public static byte[] Resize(byte[] rgb, int width, int height, int newWidth, int newHeight)
    {
        // Pillow leaves out a pass that would not change anything.
        byte[] rows = newWidth == width ? rgb : Pass(rgb, lines: height, length: width, newLength: newWidth, lineStride: width, step: 1, newLineStride: newWidth, newStep: 1);
        return newHeight == height ? rows : Pass(rows, lines: newWidth, length: height, newLength: newHeight, lineStride: 1, step: newWidth, newLineStride: 1, newStep: newWidth);
    }

    /// <summary>Resizes lines of pixels; strides and steps are in pixels.</summary>
    private static byte[] Pass(byte[] source, int lines, int length, int newLength, int lineStride, int step, int newLineStride, int newStep)
    {
        var result = new byte[lines * newLength * 3];
        double scale = (double)length / newLength, filterScale = Math.Max(scale, 1), support = 2 * filterScale;
        for (int x = 0; x < newLength; x++)
        {
            double centre = (x + 0.5) * scale;
            int first = Math.Max((int)(centre - support + 0.5), 0), last = Math.Min((int)(centre + support + 0.5), length);
            var weights = new double[last - first];
            double sum = 0;
            for (int i = 0; i < weights.Length; i++) sum += weights[i] = Cubic((i + first - centre + 0.5) * (1 / filterScale));
            int[] rounded = [.. weights.Select(weight => Rounded(weight * (1 / sum)))];
            for (int line = 0; line < lines; line++)
            {
                for (int channel = 0; channel < 3; channel++)
                {
                    int value = 1 << (PrecisionBits - 1);
                    for (int i = 0; i < rounded.Length; i++) value += source[(line * lineStride + (first + i) * step) * 3 + channel] * rounded[i];
                    result[(line * newLineStride + x * newStep) * 3 + channel] = (byte)Math.Clamp(value >> PrecisionBits, 0, 255);
                }
            }
        }
        return result;
    }

    private static int Rounded(double weight) => (int)(weight * (1 << PrecisionBits) + (weight < 0 ? -0.5 : 0.5));

    private static double Cubic(double x)
    {
        const double A = -0.5;
        x = Math.Abs(x);
        if (x < 1) return ((A + 2) * x - (A + 3)) * x * x + 1;
        return x < 2 ? (((x - 5) * x + 8) * x - 4) * A : 0;
    }
}
