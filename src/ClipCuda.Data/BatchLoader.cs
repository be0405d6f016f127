using System.Collections.Concurrent;
using System.Diagnostics;

namespace ClipCuda.Data;

/// <summary>How a <see cref="BatchLoader"/> reads its data set.</summary>
public sealed record LoaderOptions
{
    public required int BatchSize { get; init; }

    /// <summary>Tokens a caption, start and end included; at least 2.</summary>
    public required int ContextLength { get; init; }

    /// <summary>True: random order, captions and crops, full batches only. False: file order, whole images, every sample once.</summary>
    public bool Training { get; init; }

    public ulong Seed { get; init; }

    /// <summary>Threads that decode ahead; 0 decodes where the batches are used. The batches do not depend on it.</summary>
    public int Workers { get; init; } = 2;

    /// <summary>True: a sample is an image, with one of its captions (drawn anew each epoch in training, the first in evaluation). False: a sample is a row.</summary>
    public bool DrawCaptions { get; init; } = true;

    /// <summary>Which rectangles training draws.</summary>
    public RandomCrop Crop { get; init; } = new();

    /// <summary>Makes an image that cannot be decoded, and a caption that has to be cut, an error.</summary>
    public bool Strict { get; init; }
}

/// <summary>
/// Reads the batches of an epoch: decoded images, crop rectangles and token ids. Order, captions and crops are functions of (seed, epoch, sample)
/// alone, whatever the number of workers and wherever an epoch is begun.
/// <para>
/// An image that cannot be decoded is listed in <see cref="Skipped"/>. Evaluation leaves it out (its batch is smaller). Training, whose batches
/// stay full, takes the sample half an epoch further on in its place (or the next that can be decoded), so that a batch rarely holds one twice.
/// </para>
/// Used from one thread at a time; one epoch at a time, beginning another ends it.
/// </summary>
public sealed class BatchLoader : IDisposable
{
    private readonly CsvDataset _data;
    private readonly LoaderOptions _options;
    private readonly int[][] _captions;
    private readonly ConcurrentBag<HostBatch> _batches = [];
    private readonly ConcurrentBag<DecoderBuffers> _buffers = [];
    private readonly ConcurrentDictionary<int, SkippedImage> _undecodable = new();
    private OrderedPrefetch<HostBatch>? _reading;
    private bool _disposed;

    /// <summary>Checks the options and encodes every caption once.</summary>
    /// <exception cref="ArgumentException">An option is out of range, or the batch is larger than the training data.</exception>
    /// <exception cref="InvalidDataException">Strict, and a caption does not fit the context.</exception>
    public BatchLoader(CsvDataset data, ClipTokenizer tokenizer, LoaderOptions options)
    {
        if (options.BatchSize < 1) throw new ArgumentException($"The batch size is {options.BatchSize}; it must be at least 1.");
        if (options.ContextLength < 2) throw new ArgumentException($"The context length is {options.ContextLength}; it must be at least 2, for start and end.");
        if (options.Workers < 0) throw new ArgumentException($"The number of workers is {options.Workers}; it must be 0 or more.");
        options.Crop.Validate();
        _data = data;
        _options = options;
        SampleCount = options.DrawCaptions ? data.Samples.Count : data.Rows.Count;
        if (options.Training && options.BatchSize > SampleCount)
        {
            throw new ArgumentException(
                $"The batch size {options.BatchSize} is larger than the {SampleCount} {(options.DrawCaptions ? "images" : "rows")} of '{data.Path}'; use at most {SampleCount}.");
        }
        _captions = EncodeCaptions(tokenizer);
    }

    /// <summary>Samples of an epoch: images, or rows.</summary>
    public int SampleCount { get; }

    /// <summary>Batches of an epoch: the last incomplete one counts in evaluation only.</summary>
    public int BatchesPerEpoch => _options.Training ? SampleCount / _options.BatchSize : (SampleCount + _options.BatchSize - 1) / _options.BatchSize;

    /// <summary>Captions of the data set that are longer than the context and lost their tail.</summary>
    public int TruncatedCaptions { get; private set; }

    /// <summary>How long the user of the batches has waited for them so far.</summary>
    public TimeSpan Waited { get; private set; }

    /// <summary>Images left out so far, missing and undecodable, by line.</summary>
    public IReadOnlyList<SkippedImage> Skipped => [.. _data.Skipped.Concat(_undecodable.Values).OrderBy(image => image.Line)];

    /// <summary>Writes the ids of a row's caption: start, caption, end, zeros.</summary>
    public void CopyTokens(int row, Span<int> ids)
    {
        _captions[row].CopyTo(ids);
        ids[_captions[row].Length..].Clear();
    }

    /// <summary>The batches of an epoch from one on, in order. Errors of the workers are thrown here.</summary>
    /// <exception cref="InvalidDataException">Strict, and an image cannot be decoded; or none can.</exception>
    public IEnumerable<HostBatch> Epoch(int epoch, int firstBatch = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(epoch);
        ArgumentOutOfRangeException.ThrowIfNegative(firstBatch);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(firstBatch, BatchesPerEpoch);
        return Read((uint)epoch, firstBatch);
    }

    /// <summary>Stops the workers.</summary>
    public void Dispose()
    {
        _disposed = true;
        _reading?.Dispose();
    }

    private IEnumerable<HostBatch> Read(uint epoch, int firstBatch)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        int[] order = Order(epoch);
        _reading?.Dispose();
        using var reading = _reading = new OrderedPrefetch<HostBatch>(firstBatch, BatchesPerEpoch, _options.Workers, (number, stop) => Make(order, epoch, number, stop));
        while (true)
        {
            long start = Stopwatch.GetTimestamp();
            var batch = reading.Take();
            Waited += Stopwatch.GetElapsedTime(start);
            if (batch is null) break;
            if (batch.Count > 0) yield return batch;
            else batch.Dispose();
        }
        if (_undecodable.Count == _data.Samples.Count) throw NoImageLeft();
    }

    private int[] Order(uint epoch)
    {
        int[] order = [.. Enumerable.Range(0, SampleCount)];
        if (_options.Training) new Philox(_options.Seed, RandomPurpose.Order, epoch).Shuffle(order);
        return order;
    }

    private HostBatch Make(int[] order, uint epoch, int number, CancellationToken stop)
    {
        if (!_batches.TryTake(out var batch)) batch = new HostBatch(_options.BatchSize, _options.ContextLength, _batches.Add);
        if (!_buffers.TryTake(out var buffers)) buffers = new DecoderBuffers();
        batch.Begin();
        int first = number * _options.BatchSize, end = Math.Min(first + _options.BatchSize, order.Length);
        for (int position = first; position < end; position++)
        {
            stop.ThrowIfCancellationRequested();
            if (TryAdd(batch, order[position], epoch, buffers) || !_options.Training) continue;
            AddReplacement(batch, order, position, epoch, buffers, stop);
        }
        _buffers.Add(buffers);
        return batch;
    }

    private void AddReplacement(HostBatch batch, int[] order, int position, uint epoch, DecoderBuffers buffers, CancellationToken stop)
    {
        for (int i = 0; i < order.Length; i++)
        {
            stop.ThrowIfCancellationRequested();
            int other = (int)(((long)position + order.Length / 2 + i) % order.Length);
            if (TryAdd(batch, order[other], epoch, buffers)) return;
        }
        throw NoImageLeft();
    }

    private bool TryAdd(HostBatch batch, int sample, uint epoch, DecoderBuffers buffers)
    {
        int image = _options.DrawCaptions ? sample : _data.Rows[sample].Sample;
        if (_undecodable.ContainsKey(image)) return false;
        string path = _data.Samples[image].Path;
        int width, height;
        try
        {
            (width, height) = ImageDecoder.Decode(path, buffers, batch.Reserve);
        }
        catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException)
        {
            int line = _data.Rows[_data.Samples[image].Rows[0]].Line;
            if (_options.Strict) throw new InvalidDataException($"CSV '{_data.Path}', line {line}: {e.Message}", e);
            _undecodable.TryAdd(image, new SkippedImage(line, path, e.Message));
            return false;
        }
        var crop = _options.Training ? _options.Crop.Draw(width, height, new Philox(_options.Seed, RandomPurpose.Crop, epoch, (uint)sample)) : (0, 0, width, height);
        int row = _options.DrawCaptions ? DrawCaption(image, epoch) : sample;
        batch.Add(width, height, crop, _captions[row], image, row);
        return true;
    }

    private int DrawCaption(int image, uint epoch)
    {
        var rows = _data.Samples[image].Rows;
        return rows[_options.Training ? new Philox(_options.Seed, RandomPurpose.Caption, epoch, (uint)image).Below(rows.Count) : 0];
    }

    /// <summary>The ids of every row's caption up to its end token.</summary>
    private int[][] EncodeCaptions(ClipTokenizer tokenizer)
    {
        var captions = new int[_data.Rows.Count][];
        var cut = new bool[captions.Length];
        var parallel = new ParallelOptions { MaxDegreeOfParallelism = Math.Max(1, _options.Workers) };
        Parallel.For(0, captions.Length, parallel, () => new int[_options.ContextLength], (row, _, ids) =>
        {
            cut[row] = tokenizer.EncodeCaption(_data.Rows[row].Caption, ids);
            captions[row] = ids[..(Array.LastIndexOf(ids, tokenizer.EndId) + 1)];
            return ids;
        }, _ => { });
        TruncatedCaptions = cut.Count(isCut => isCut);
        if (_options.Strict && TruncatedCaptions > 0)
        {
            var row = _data.Rows[Array.IndexOf(cut, true)];
            throw new InvalidDataException(
                $"CSV '{_data.Path}', line {row.Line}: the caption has {tokenizer.Encode(row.Caption).Length} tokens, the context of {_options.ContextLength} holds {_options.ContextLength - 2}; shorten it or raise the context length.");
        }
        return captions;
    }

    private InvalidDataException NoImageLeft()
    {
        var first = Skipped[0];
        return new($"No image of '{_data.Path}' can be used; the first, line {first.Line}: {first.Reason}");
    }
}
