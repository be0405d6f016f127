namespace ClipCuda.Ops;

/// <summary>Token and positional embedding. In backward each distinct id has one owner, which adds its rows in the order of the batch.</summary>
public static class TokenEmbedding
{
    /// <summary>table[id] + positions.</summary>
    /// <param name="table">[vocabulary, width].</param>
    /// <param name="positions">[sequence, width].</param>
    /// <returns>[batch, sequence, width].</returns>
    /// <exception cref="ArgumentException">Sizes do not fit.</exception>
    public static Tensor Forward(Tape tape, TokenBatch tokens, Tensor table, Tensor positions)
    {
        if (table.Shape is not [_, var width]) throw new ArgumentException($"table has shape {table.ShapeText}, expected [vocabulary, width].", nameof(table));
        (int batch, int sequence) = (tokens.Batch, tokens.Sequence);
        Shapes.Require(positions, nameof(positions), sequence, width);
        var device = tape.Device;
        var y = tape.Allocate(batch, sequence, width);
        device.Kernel("tokenembedding_forward").Launch(tokens.Ids.Width, 128, y, tokens.Ids, table.Data.Moving(Rows(tokens.DistinctIds)), positions, sequence, width);
        tape.Record(y, () =>
        {
            var (order, chunks, starts, ids) = tokens.Owners ?? throw new InvalidOperationException("The batch of tokens was made for forward alone.");
            var dy = tape.GradientOf(y);
            int mostChunks = chunks.Width - 1;
            var partial = tape.AllocateScratch(DataType.Float32, mostChunks, width);
            device.Kernel("tokenembedding_backward_partial").Launch(mostChunks, 128, partial.Data.Moving(Rows(tokens.Chunks)), dy, order, chunks, width);
            device.Kernel("tokenembedding_backward_table").Launch(ids.Width, 128, table.Gradient!.Data.Moving(2 * Rows(tokens.DistinctIds)), partial.Data.Moving(Rows(tokens.Chunks)), ids, starts, width);
            device.Kernel("tokenembedding_backward_positions")
                .Launch(new(Shapes.Ceiling(width, 128), sequence), 128, positions.Gradient!.Updated, dy, batch, sequence, width);
        });
        return y;

        long Rows(int count) => (long)count * width * sizeof(float);
    }
}
