namespace ClipCuda.Ops;

/// <summary>
/// A batch of captions on the device: their ids, where each ends, and for backward which block owns which rows of the table's gradient. All of it lies in one
/// buffer whose layout depends on the sizes alone: recorded work finds the next batch where this one was.
/// </summary>
public sealed class TokenBatch
{
    /// <summary>Rows of one id that one block sums; a more frequent id (padding) is cut into chunks of this size.</summary>
    private const int ChunkRows = 64;

    /// <summary>An id that owns no rows; a block that used it would leave the table.</summary>
    private const int Nobody = -1;

    private readonly int _vocabulary;
    private readonly int[] _host;
    private readonly int[] _starts;
    private readonly long[]? _keys;
    private readonly Tensor _device;

    /// <param name="sequence">Ids of a caption.</param>
    /// <param name="owners">Whether backward is to run.</param>
    /// <param name="allocate">Gives room for so many integers.</param>
    public TokenBatch(int batch, int sequence, int vocabulary, bool owners, Func<int, Tensor> allocate)
    {
        (Batch, Sequence, _vocabulary) = (batch, sequence, vocabulary);
        int tokens = checked(batch * sequence), ids = Math.Min(tokens, vocabulary);
        // An id has a chunk for every 64 rows, and one for the rest.
        int chunks = Math.Min(tokens, ids + tokens / ChunkRows);
        int[] lengths = owners ? [tokens, batch, tokens, chunks + 1, ids + 1, ids] : [tokens, batch];
        _starts = new int[lengths.Length + 1];
        for (int i = 0; i < lengths.Length; i++) _starts[i + 1] = checked(_starts[i] + lengths[i]);
        _host = new int[_starts[^1]];
        _keys = owners ? new long[tokens] : null;
        _device = allocate(_host.Length);
        (Ids, Ends) = (Part(0), Part(1));
        if (owners) Owners = new OwnerPlan(Part(2), Part(3), Part(4), Part(5));
    }

    public int Batch { get; }

    public int Sequence { get; }

    /// <summary>[batch · sequence], caption by caption.</summary>
    public Tensor Ids { get; }

    /// <summary>[batch]: the position of each caption's largest id, which is CLIP's end token.</summary>
    public Tensor Ends { get; }

    /// <summary>Different ids in the batch, and chunks of rows of one id; 0 if backward is not to run.</summary>
    internal int DistinctIds { get; private set; }

    /// <inheritdoc cref="DistinctIds"/>
    internal int Chunks { get; private set; }

    /// <summary>Null if backward is not to run.</summary>
    internal OwnerPlan? Owners { get; }

    /// <param name="tokens">Batch · sequence ids, caption by caption.</param>
    /// <exception cref="ArgumentException">An id lies outside the vocabulary, or there are not as many as fit.</exception>
    public void Upload(ReadOnlySpan<int> tokens)
    {
        if (tokens.Length != (long)Batch * Sequence) throw new ArgumentException($"{tokens.Length} ids are not {Batch} captions of {Sequence}.", nameof(tokens));
        for (int i = 0; i < tokens.Length; i++)
        {
            if ((uint)tokens[i] >= (uint)_vocabulary)
                throw new ArgumentException($"Caption {i / Sequence} of the batch holds token {tokens[i]} at position {i % Sequence}; the vocabulary has {_vocabulary}.", nameof(tokens));
        }
        tokens.CopyTo(HostPart(0));
        var ends = HostPart(1);
        for (int b = 0; b < Batch; b++) ends[b] = IndexOfLargest(tokens.Slice(b * Sequence, Sequence));
        if (_keys is not null) PlanOwners(tokens, _keys);
        _device.Upload(_host);
    }

    private void PlanOwners(ReadOnlySpan<int> tokens, long[] keys)
    {
        Span<int> order = HostPart(2), chunks = HostPart(3), owners = HostPart(4), ids = HostPart(5);
        // Sorting (id, position) pairs as one number is stable by construction.
        for (int i = 0; i < keys.Length; i++) keys[i] = ((long)tokens[i] << 32) | (uint)i;
        Array.Sort(keys);
        (int owned, int cut) = (0, 0);
        for (int i = 0; i < keys.Length; i++)
        {
            order[i] = (int)keys[i];
            int id = (int)(keys[i] >> 32);
            bool changes = owned == 0 || ids[owned - 1] != id;
            if (changes) (owners[owned], ids[owned++]) = (cut, id);
            if (changes || i - chunks[cut - 1] == ChunkRows) chunks[cut++] = i;
        }
        chunks[cut..].Fill(keys.Length);
        owners[owned..].Fill(cut);
        ids[owned..].Fill(Nobody);
        (DistinctIds, Chunks) = (owned, cut);
    }

    private Tensor Part(int index) => new(_device.Device, _device.Data + (long)sizeof(int) * _starts[index], DataType.Int32, _starts[index + 1] - _starts[index]);

    private Span<int> HostPart(int index) => _host.AsSpan(_starts[index].._starts[index + 1]);

    private static int IndexOfLargest(ReadOnlySpan<int> ids)
    {
        int at = 0;
        for (int i = 1; i < ids.Length; i++)
        {
            if (ids[i] > ids[at]) at = i;
        }
        return at;
    }

    /// <param name="Order">Positions sorted by id, equal ids in the order of the batch.</param>
    /// <param name="Chunks">Where each chunk starts in Order; then the end, until there is no more room.</param>
    /// <param name="Starts">Where each id's chunks start in Chunks; then the end, until there is no more room.</param>
    /// <param name="Ids">The distinct ids, ascending.</param>
    internal sealed record OwnerPlan(Tensor Order, Tensor Chunks, Tensor Starts, Tensor Ids);
}
