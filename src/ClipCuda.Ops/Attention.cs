namespace ClipCuda.Ops;

/// <summary>Multi-head scaled dot-product attention with an online softmax (Vaswani et al. 2017; Dao et al. 2022).</summary>
public static class Attention
{
    /// <summary>The widest head the kernels hold in shared memory.</summary>
    public const int MaxHeadWidth = 128;

    /// <summary>softmax(q·kᵀ / √D)·v for each head, D = width / heads.</summary>
    /// <param name="qkv">[batch, sequence, 3·width]: queries, keys and values side by side, each split into heads.</param>
    /// <param name="causal">A position sees itself and what comes before it only.</param>
    /// <returns>[batch, sequence, width].</returns>
    public static Tensor Forward(Tape tape, Tensor qkv, int heads, bool causal)
    {
        if (qkv.Shape is not [var batch, var sequence, var tripled] || tripled % 3 != 0)
            throw new ArgumentException($"qkv has shape {qkv.ShapeText}, expected [batch, sequence, 3·width].", nameof(qkv));
        int width = tripled / 3;
        if (heads < 1 || width % heads != 0 || width / heads > MaxHeadWidth)
            throw new ArgumentException($"{heads} heads do not split width {width} into heads of 1 to {MaxHeadWidth}.", nameof(heads));
        int headWidth = width / heads;
        // The widest head a kernel takes, the query or key rows a warp holds, and its warps at most (ATTENTION in attention.cu).
        (int bucket, int slots, int forwardWarps, int backwardWarps) = headWidth <= 32 ? (32, 8, 12, 8) : headWidth <= 64 ? (64, 6, 12, 8) : (128, 4, 8, 2);
        string kernel = headWidth == bucket ? $"{bucket}" : $"below_{bucket}";
        float scale = (float)(1 / Math.Sqrt(headWidth));
        int mask = causal ? 1 : 0;

        var device = tape.Device;
        var y = tape.Allocate(batch, sequence, width);
        var lse = tape.AllocateScratch(DataType.Float32, batch, heads, sequence);
        string forward = $"attention_forward_{kernel}";
        var (tiles, blocks, threads) = Tiles(forwardWarps);
        device.Kernel(forward).Launch(blocks, threads, y, lse, qkv, sequence, heads, headWidth, tiles, mask, scale);
        // Two products of [sequence, sequence] and [sequence, width], counted in full under a causal mask too, as PyTorch's counter does.
        device.Profile?.AddFlops(forward, 4.0 * batch * sequence * sequence * width);
        tape.Record(y, () =>
        {
            if (tape.GradientTarget(qkv) is not { } dqkv) return;
            var dy = tape.GradientOf(y);
            var delta = tape.AllocateScratch(DataType.Float32, lse.Shape);
            int rows = checked((int)lse.Elements);
            device.Kernel("attention_delta").Launch(Shapes.Ceiling(rows, 4), 128, delta, dy, y, sequence, heads, headWidth, rows);
            (tiles, _, threads) = Tiles(backwardWarps);
            // With several tiles of keys, dq is read again.
            device.Kernel($"attention_backward_{kernel}").Launch(
                batch * heads, threads, dqkv.Data.Moving(tiles > 1 ? dqkv.Bytes / 3 * 4 : dqkv.Bytes), dy, qkv, lse, delta, sequence, heads, headWidth, mask, scale);
        });
        return y;

        // As few tiles of rows as can be, of equal height, and no warp of the first without rows.
        (int Tiles, int Blocks, int Threads) Tiles(int mostWarps)
        {
            int height = Shapes.Ceiling(sequence, Shapes.Ceiling(sequence, mostWarps * slots));
            int warps = Shapes.Ceiling(height, slots);
            int count = Shapes.Ceiling(sequence, warps * slots);
            return (count, checked(count * batch * heads), 32 * warps);
        }
    }
}
