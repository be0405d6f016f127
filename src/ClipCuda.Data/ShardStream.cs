namespace ClipCuda.Data;

/// <summary>A sample in its turn: the caption is -1 where one is to be drawn.</summary>
internal readonly record struct ShardTurn(ShardSample Sample, int Caption);

/// <summary>
/// The samples of one epoch of tar shards, in their order: shards shuffled (or drawn with replacement), read one after the other, and mixed by a
/// buffer that gives a random one of its samples for each that comes in. All of it follows from (seed, epoch), so that an epoch begun in the
/// middle goes through the shards' headers up to there, without the images. Batches take their turns; several threads may ask.
/// </summary>
internal sealed class ShardStream : IDisposable
{
    private const int WaitMilliseconds = 50;

    private readonly LoaderOptions _options;
    private readonly ShardOptions _shards;
    private readonly IEnumerator<ShardTurn> _source;
    private readonly Philox _mixing;
    private readonly List<ShardTurn> _buffer = [];
    private readonly object _gate = new();
    private bool _withImages, _ended;
    private int _nextBatch;

    /// <param name="read">Reads a shard; the function says whether images are wanted.</param>
    public ShardStream(LoaderOptions options, ShardOptions shards, uint epoch, int firstBatch, Func<string, Func<bool>, IEnumerable<ShardSample>> read)
    {
        (_options, _shards, _nextBatch) = (options, shards, firstBatch);
        _mixing = new Philox(options.Seed, RandomPurpose.ShuffleBuffer, epoch);
        _source = Source(epoch, read).GetEnumerator();
        for (long i = 0; i < (long)firstBatch * options.BatchSize; i++) Next();
        _withImages = true;
    }

    /// <summary>
    /// The samples of a batch, once those before it have been taken; and some that come later and may stand in for samples that turn out to be
    /// of no use.
    /// </summary>
    public (ShardTurn[] Batch, ShardTurn[] Spares) Take(int number, int spares, CancellationToken stop)
    {
        lock (_gate)
        {
            while (_nextBatch != number)
            {
                stop.ThrowIfCancellationRequested();
                Monitor.Wait(_gate, WaitMilliseconds);
            }
            var batch = new ShardTurn[_options.BatchSize];
            for (int i = 0; i < batch.Length; i++) batch[i] = Next();
            _nextBatch++;
            Monitor.PulseAll(_gate);
            return (batch, [.. _buffer.Take(spares)]);
        }
    }

    public void Dispose() => _source.Dispose();

    private ShardTurn Next()
    {
        if (!_options.Shuffled) return _source.MoveNext() ? _source.Current : throw new InvalidOperationException("The shards hold fewer samples than were counted.");
        while (!_ended && _buffer.Count < _shards.ShuffleBuffer)
        {
            if (_source.MoveNext()) _buffer.Add(_source.Current);
            else _ended = true;
        }
        if (_buffer.Count == 0) throw new InvalidDataException("The shards hold fewer samples than were counted; they have changed since the run began.");
        int at = _mixing.Below(_buffer.Count);
        var turn = _buffer[at];
        _buffer[at] = _buffer[^1];
        _buffer.RemoveAt(_buffer.Count - 1);
        return turn;
    }

    /// <summary>All samples of an epoch: one pass over the shards, or as many as it takes where the number of samples was given.</summary>
    private IEnumerable<ShardTurn> Source(uint epoch, Func<string, Func<bool>, IEnumerable<ShardSample>> read)
    {
        long given = 0;
        for (int pass = 0; ; pass++)
        {
            long before = given;
            foreach (string shard in Order(epoch, pass))
            {
                foreach (var sample in read(shard, () => _withImages))
                {
                    for (int caption = _options.DrawCaptions ? -1 : 0; caption < (_options.DrawCaptions ? 0 : sample.Captions.Count); caption++)
                    {
                        given++;
                        yield return new ShardTurn(sample, caption);
                    }
                }
            }
            if (given == before) throw new InvalidDataException($"No shard of '{_shards.Pattern}' holds a sample that can be used.");
            if (_shards.SampleCount is null && !_shards.Resampled) yield break;
        }
    }

    private IEnumerable<string> Order(uint epoch, int pass)
    {
        int count = _shards.Paths.Count;
        var random = new Philox(_options.Seed, RandomPurpose.Shards, epoch, (uint)pass);
        int[] order = [.. Enumerable.Range(0, count)];
        if (_shards.Resampled)
        {
            for (int i = 0; i < count; i++) order[i] = random.Below(count);
        }
        else if (_options.Shuffled)
        {
            random.Shuffle(order);
        }
        return order.Select(shard => _shards.Paths[shard]);
    }
}
