using System.Collections.Concurrent;
using System.Diagnostics;

namespace ClipCuda.Data;

/// <summary>Something of a data set that is not used.</summary>
/// <param name="Line">Of a CSV file the line, the header's being 1; of a tar shard the number of the entry, the first being 1.</param>
/// <param name="Path">What is skipped: the image file, or the entry.</param>
/// <param name="Reason">One sentence that names it.</param>
public sealed record SkippedImage(int Line, string Path, string Reason)
{
    /// <summary>Where it stands, for people: <c>line 3</c>.</summary>
    public string Place { get; init; } = $"line {Line}";
}

/// <summary>Seconds that all threads of a source spent, added up.</summary>
public readonly record struct SourceTimes(double Reading, double Decoding);

/// <summary>
/// Batches of decoded images, crop rectangles and token ids, epoch by epoch. What a batch holds is a function of (seed, epoch, number of the
/// batch) alone, whatever the number of workers and wherever an epoch is begun. Used from one thread at a time; one epoch at a time, beginning
/// another ends it.
/// </summary>
public abstract class BatchSource : IDisposable
{
    private readonly ConcurrentBag<HostBatch> _batches = [];
    private readonly ConcurrentBag<DecoderBuffers> _buffers = [];
    private OrderedPrefetch<HostBatch>? _reading;
    private bool _disposed;
    private long _readTicks, _decodeTicks;

    private protected BatchSource(LoaderOptions options)
    {
        options.Validate();
        Options = options;
    }

    /// <summary>What it is, in a few words: <c>3,155 images, 6,068 captions from 'train.csv'</c>.</summary>
    public abstract string Description { get; }

    /// <summary>Samples of an epoch.</summary>
    public abstract int SampleCount { get; }

    /// <summary>Batches of an epoch: the last incomplete one counts in evaluation only.</summary>
    public int BatchesPerEpoch => Options.Training ? SampleCount / Options.BatchSize : (SampleCount + Options.BatchSize - 1) / Options.BatchSize;

    /// <summary>What was left out so far, by its place.</summary>
    public abstract IReadOnlyList<SkippedImage> Skipped { get; }

    /// <summary>Captions found so far that are longer than the context and lose their tail.</summary>
    public abstract int TruncatedCaptions { get; }

    /// <summary>How long the user of the batches has waited for them so far.</summary>
    public TimeSpan Waited { get; private set; }

    /// <summary>What the threads did so far.</summary>
    public SourceTimes Times => new((double)Interlocked.Read(ref _readTicks) / Stopwatch.Frequency, (double)Interlocked.Read(ref _decodeTicks) / Stopwatch.Frequency);

    private protected LoaderOptions Options { get; }

    /// <summary>A size with the mean area of the first images that can be decoded.</summary>
    public abstract (int Width, int Height) TypicalSize();

    /// <summary>The batches of an epoch from one on, in order. Errors of the workers are thrown here.</summary>
    /// <exception cref="InvalidDataException">Strict, and something cannot be used; or nothing can.</exception>
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
        GC.SuppressFinalize(this);
    }

    /// <summary>Begins an epoch. Batches are asked for each once, from several threads, in no certain order.</summary>
    private protected abstract IEpochReader Begin(uint epoch, int firstBatch);

    /// <summary>Called when every batch of an epoch has been handed out.</summary>
    private protected virtual void End() { }

    /// <summary>Counts the time of some work.</summary>
    private protected void CountReading(long since) => Interlocked.Add(ref _readTicks, Stopwatch.GetTimestamp() - since);

    /// <inheritdoc cref="CountReading"/>
    private protected void CountDecoding(long since) => Interlocked.Add(ref _decodeTicks, Stopwatch.GetTimestamp() - since);

    /// <summary>Adds a sample with what is drawn for it; its pixels are in the memory reserved last.</summary>
    /// <param name="index">What the draws depend on, beside seed and epoch.</param>
    private protected void Add(HostBatch batch, (int Width, int Height) size, ReadOnlySpan<int> tokens, uint epoch, int index, int sample, int row)
    {
        var (width, height) = size;
        if (Options.Training)
        {
            var crop = Options.Crop.Draw(width, height, batch.Random.Begin(Options.Seed, RandomPurpose.Crop, epoch, (uint)index));
            batch.Add(width, height, crop, tokens, sample, row, Options.Augmentation.Draw(batch.Random.Begin(Options.Seed, RandomPurpose.Pixels, epoch, (uint)index)));
        }
        else
        {
            batch.Add(width, height, (0, 0, width, height), tokens, sample, row);
        }
    }

    /// <summary>The samples of an epoch in their order.</summary>
    private protected int[] Order(uint epoch)
    {
        int[] order = [.. Enumerable.Range(0, SampleCount)];
        if (Options.Shuffled) new Philox(Options.Seed, RandomPurpose.Order, epoch).Shuffle(order);
        return order;
    }

    /// <summary>Which of so many captions an image has in an epoch.</summary>
    private protected int DrawCaption(HostBatch batch, int captions, uint epoch, int index) =>
        Options.Training ? batch.Random.Begin(Options.Seed, RandomPurpose.Caption, epoch, (uint)index).Below(captions) : 0;

    /// <summary>A size with the mean area of some images.</summary>
    private protected static (int Width, int Height) MeanSize(IEnumerable<(int Width, int Height)> sizes)
    {
        double[] areas = [.. sizes.Select(size => (double)size.Width * size.Height)];
        int side = areas.Length == 0 ? 1 : (int)Math.Ceiling(Math.Sqrt(areas.Average()));
        return (side, side);
    }

    private IEnumerable<HostBatch> Read(uint epoch, int firstBatch)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        _reading?.Dispose();
        using var epochReader = Begin(epoch, firstBatch);
        using var reading = _reading = new OrderedPrefetch<HostBatch>(firstBatch, BatchesPerEpoch, Options.Workers, (number, stop) => Make(epochReader, number, stop));
        while (true)
        {
            long start = Stopwatch.GetTimestamp();
            var batch = reading.Take();
            Waited += Stopwatch.GetElapsedTime(start);
            if (batch is null) break;
            if (batch.Count > 0) yield return batch;
            else batch.Dispose();
        }
        End();
    }

    private HostBatch Make(IEpochReader reader, int number, CancellationToken stop)
    {
        if (!_batches.TryTake(out var batch)) batch = new HostBatch(Options.BatchSize, Options.ContextLength, _batches.Add);
        if (!_buffers.TryTake(out var buffers)) buffers = new DecoderBuffers();
        batch.Begin();
        reader.Fill(batch, number, buffers, stop);
        _buffers.Add(buffers);
        return batch;
    }
}

/// <summary>One epoch of a <see cref="BatchSource"/>.</summary>
internal interface IEpochReader : IDisposable
{
    /// <summary>Fills in the samples of a batch.</summary>
    void Fill(HostBatch batch, int number, DecoderBuffers buffers, CancellationToken stop);
}
