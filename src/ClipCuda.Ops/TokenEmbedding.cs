using System.Numerics;

namespace ClipCuda.Ops;

/// <summary>Token and positional embedding. In backward each distinct id has one owner, which adds its rows in the order of the batch.</summary>
public static class TokenEmbedding
{
    /// <summary>Rows of one id that one block sums; a more frequent id (padding) is cut into chunks of this size.</summary>
    private const int ChunkRows = 64;

    /// <summary>table[id] + positions.</summary>
    /// <param name="tokens">batch · sequence ids, caption by caption.</param>
    /// <param name="table">[vocabulary, width].</param>
    /// <param name="positions">[sequence, width].</param>
    /// <returns>[batch, sequence, width].</returns>
    /// <exception cref="ArgumentException">An id lies outside the vocabulary, or sizes do not fit.</exception>
    public static Tensor Forward(Tape tape, ReadOnlySpan<int> tokens, int batch, Tensor table, Tensor positions)
    {
        if (table.Shape is not [var vocabulary, var width]) throw new ArgumentException($"table has shape {table.ShapeText}, expected [vocabulary, width].", nameof(table));
        if (positions.Shape is not [var sequence, var second] || second != width)
            throw new ArgumentException($"positions have shape {positions.ShapeText}, expected [sequence, {width}].", nameof(positions));
        if (tokens.Length != (long)batch * sequence) throw new ArgumentException($"{tokens.Length} ids are not {batch} captions of {sequence}.", nameof(tokens));
        for (int i = 0; i < tokens.Length; i++)
        {
            if ((uint)tokens[i] >= (uint)vocabulary)
                throw new ArgumentException($"Caption {i / sequence} of the batch holds token {tokens[i]} at position {i % sequence}; the vocabulary has {vocabulary}.", nameof(tokens));
        }
        var device = tape.Device;
        var y = tape.Allocate(batch, sequence, width);
        var ids = tape.Input(tokens, tokens.Length);
        device.Kernel("tokenembedding_forward").Launch(tokens.Length, 128, y.Data, ids.Data, table.Data, positions.Data, sequence, width);
        if (!tape.Recording) return y;

        var plan = OwnerPlan.Of(tokens);
        tape.Record(y, () =>
        {
            var dy = tape.GradientOf(y);
            var order = tape.Input(plan.Order, plan.Order.Length);
            var chunks = tape.Input(plan.Chunks, plan.Chunks.Length);
            var owners = tape.Input(plan.Owners, plan.Owners.Length);
            var distinct = tape.Input(plan.Ids, plan.Ids.Length);
            // The number of chunks differs from batch to batch; a few sizes for all let the tape use its buffers again.
            int rows = checked((int)BitOperations.RoundUpToPowerOf2((uint)plan.Chunks.Length - 1));
            var partial = tape.AllocateScratch(DataType.Float32, rows, width);
            device.Kernel("tokenembedding_backward_partial").Launch(plan.Chunks.Length - 1, 128, partial.Data, dy.Data, order.Data, chunks.Data, width);
            device.Kernel("tokenembedding_backward_table").Launch(plan.Ids.Length, 128, table.Gradient!.Data, partial.Data, distinct.Data, owners.Data, width);
            device.Kernel("tokenembedding_backward_positions")
                .Launch(new(Shapes.Ceiling(width, 128), sequence), 128, positions.Gradient!.Data, dy.Data, batch, sequence, width);
        });
        return y;
    }

    /// <param name="Order">Positions sorted by id, equal ids in the order of the batch.</param>
    /// <param name="Chunks">Where each chunk starts in Order, and the end.</param>
    /// <param name="Owners">Where each id's chunks start in Chunks, and the end.</param>
    /// <param name="Ids">The distinct ids, ascending.</param>
    private sealed record OwnerPlan(int[] Order, int[] Chunks, int[] Owners, int[] Ids)
    {
        public static OwnerPlan Of(ReadOnlySpan<int> tokens)
        {
            // Sorting (id, position) pairs as one number is stable by construction.
            var keys = new long[tokens.Length];
            for (int i = 0; i < keys.Length; i++) keys[i] = ((long)tokens[i] << 32) | (uint)i;
            Array.Sort(keys);
            var order = new int[keys.Length];
            List<int> chunks = [], owners = [], ids = [];
            for (int i = 0; i < keys.Length; i++)
            {
                order[i] = (int)keys[i];
                int id = (int)(keys[i] >> 32);
                bool changes = ids.Count == 0 || ids[^1] != id;
                if (changes)
                {
                    owners.Add(chunks.Count);
                    ids.Add(id);
                }
                if (changes || i - chunks[^1] == ChunkRows) chunks.Add(i);
            }
            owners.Add(chunks.Count);
            chunks.Add(keys.Length);
            return new OwnerPlan(order, [.. chunks], [.. owners], [.. ids]);
        }
    }
}
