namespace ClipCuda.Ops;

/// <summary>Multi-head attention of one query a sequence, as attention pooling needs it; <see cref="Attention"/> would work out a query a row.</summary>
public static class QueryAttention
{
    /// <summary>softmax(q·kᵀ / √D)·v for each head, D = width / heads.</summary>
    /// <param name="q">[batch, width].</param>
    /// <param name="k">[batch, sequence, width].</param>
    /// <param name="v">[batch, sequence, width].</param>
    /// <returns>[batch, width].</returns>
    public static Tensor Forward(Tape tape, Tensor q, Tensor k, Tensor v, int heads)
    {
        if (k.Shape is not [var batch, var sequence, var width]) throw new ArgumentException($"k has shape {k.ShapeText}, expected [batch, sequence, width].", nameof(k));
        Shapes.Require(q, nameof(q), batch, width);
        Shapes.Require(v, nameof(v), batch, sequence, width);
        if (heads < 1 || width % heads != 0) throw new ArgumentException($"{heads} heads do not divide width {width}.", nameof(heads));
        int headWidth = width / heads, blocks = checked(batch * heads);
        float scale = (float)(1 / Math.Sqrt(headWidth));
        var device = tape.Device;
        var y = tape.Allocate(batch, width);
        var weights = tape.AllocateScratch(DataType.Float32, batch, heads, sequence);
        device.Kernel("queryattention_forward").Launch(blocks, 128, y, weights, q, k, v, sequence, heads, headWidth, scale);
        tape.Record(y, () =>
        {
            var dy = tape.GradientOf(y);
            Tensor Target(Tensor input) => tape.GradientTarget(input) ?? tape.AllocateScratch(DataType.Float32, input.Shape);
            var slopes = tape.AllocateScratch(DataType.Float32, weights.Shape);
            device.Kernel("queryattention_backward").Launch(
                blocks, 128, Target(q), Target(k), Target(v), slopes, dy, weights, q, k, v, sequence, heads, headWidth, scale);
        });
        return y;
    }
}
