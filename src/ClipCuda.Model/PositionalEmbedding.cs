using ClipCuda.Ops;

namespace ClipCuda.Model;

/// <summary>Positional embeddings of weights for another image size or context length.</summary>
public static class PositionalEmbedding
{
    /// <summary>Fills the target, whose size is another, and says how.</summary>
    /// <param name="source">Text: [context, width]; images: [1 + side², width], the class token first.</param>
    /// <param name="target">The same with another context or side; what it holds is kept for text positions that the source does not have.</param>
    public static string Fit(WeightTensor source, Tensor target)
    {
        int width = target.Width, from = source.Shape[0], to = target.Shape[0];
        float[] old = source.ToFloats();
        if (source.Name.StartsWith("visual.", StringComparison.Ordinal))
        {
            int oldSide = (int)Math.Round(Math.Sqrt(from - 1)), newSide = (int)Math.Round(Math.Sqrt(to - 1));
            target.Upload([.. old.AsSpan(0, width), .. ResizeGrid(old.AsSpan(width), oldSide, newSide, width)]);
            return $"Positions of images: resized from {oldSide}×{oldSide} to {newSide}×{newSide} patches (bicubic)";
        }
        int kept = Math.Min(from, to);
        float[] positions = target.ToArray();
        old.AsSpan(0, kept * width).CopyTo(positions);
        target.Upload(positions);
        return $"Positions of captions: {(to < from ? $"the first {to} of {from} are kept" : $"{from} are kept, {to - from} more start afresh")}";
    }

    /// <summary>
    /// Resizes a square grid of vectors as open_clip's resize_pos_embed does (torch's interpolate, bicubic, antialias, align_corners=False): the cubic
    /// with a = −0.5, widened when the grid shrinks (ATen's UpSampleKernel.cpp, which follows Pillow), rows after columns, in float64.
    /// </summary>
    /// <param name="grid">[oldSide, oldSide, width].</param>
    /// <returns>[newSide, newSide, width].</returns>
    public static float[] ResizeGrid(ReadOnlySpan<float> grid, int oldSide, int newSide, int width)
    {
        // Columns: [oldSide, newSide, width].
        var wide = new double[(long)oldSide * newSide * width];
        for (int x = 0; x < newSide; x++)
        {
            var (first, weights) = BicubicTaps.Weights(oldSide, newSide, x);
            for (int y = 0; y < oldSide; y++)
            {
                for (int k = 0; k < weights.Length; k++)
                {
                    for (int c = 0; c < width; c++) wide[(y * newSide + x) * width + c] += weights[k] * grid[(y * oldSide + first + k) * width + c];
                }
            }
        }
        var sums = new double[newSide * width];
        var result = new float[newSide * newSide * width];
        for (int y = 0; y < newSide; y++)
        {
            var (first, weights) = BicubicTaps.Weights(oldSide, newSide, y);
            Array.Clear(sums);
            for (int k = 0; k < weights.Length; k++)
            {
                for (int i = 0; i < sums.Length; i++) sums[i] += weights[k] * wide[(first + k) * sums.Length + i];
            }
            for (int i = 0; i < sums.Length; i++) result[y * sums.Length + i] = (float)sums[i];
        }
        return result;
    }
}
