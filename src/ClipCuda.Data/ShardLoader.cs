using System.Collections.Concurrent;
using System.Diagnostics;

namespace ClipCuda.Data;

/// <summary>How tar shards are read.</summary>
/// <param name="Pattern">As <see cref="ShardNames"/> takes it.</param>
/// <param name="Paths">The shards it stands for.</param>
public sealed record ShardOptions(string Pattern, IReadOnlyList<string> Paths)
{
    /// <summary>Draws shards with replacement, in place of going through each once an epoch.</summary>
    public bool Resampled { get; init; }

    /// <summary>Samples of an epoch; null counts those of the shards, which reads all headers once.</summary>
    public int? SampleCount { get; init; }

    /// <summary>How many samples are mixed with one another.</summary>
    public int ShuffleBuffer { get; init; } = 1000;
}

/// <summary>
/// The batches of tar shards (see <see cref="ShardReader"/>), streamed. Captions, crops and colours are functions of (seed, epoch, position in
/// the epoch). An image that cannot be decoded is listed in <see cref="Skipped"/>, and one that waits in the shuffle buffer stands in for it (or,
/// where there is none, another of the batch), so that batches stay full and later ones stay the same.
/// </summary>
public sealed class ShardLoader : BatchSource
{
    private const int Spares = 16, SampledImages = 8, SamplesAShard = 1 << 20;

    private readonly ShardOptions _shards;
    private readonly ClipTokenizer _tokenizer;
    private readonly Dictionary<string, long> _firstSample = new(StringComparer.Ordinal); // of a shard, counted over all
    private readonly ConcurrentDictionary<string, SkippedImage> _skipped = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, bool> _undecodable = new(StringComparer.Ordinal), _cut = new(StringComparer.Ordinal);
    private readonly long _images, _captions;

    /// <summary>Checks the options and, unless the number of samples is given, counts what the shards hold.</summary>
    /// <exception cref="ArgumentException">An option is out of range, or the batch is larger than an epoch.</exception>
    /// <exception cref="InvalidDataException">The shards hold nothing that can be used; or (strict) something that cannot.</exception>
    public ShardLoader(ShardOptions shards, ClipTokenizer tokenizer, LoaderOptions options)
        : base(options)
    {
        if (shards.ShuffleBuffer < 1) throw new ArgumentException($"The shuffle buffer is {shards.ShuffleBuffer}; it must hold at least 1 sample.");
        (_shards, _tokenizer) = (shards, tokenizer);
        for (int i = 0; i < shards.Paths.Count; i++) _firstSample.TryAdd(shards.Paths[i], (long)i * SamplesAShard);
        if (shards.SampleCount is { } given)
        {
            SampleCount = given;
        }
        else
        {
            foreach (string path in shards.Paths.Distinct(StringComparer.Ordinal))
            {
                _firstSample[path] = _images;
                foreach (var sample in Read(path, () => false))
                {
                    _images++;
                    _captions += sample.Captions.Count;
                }
            }
            long samples = options.DrawCaptions ? _images : _captions;
            if (samples == 0) throw Nothing();
            SampleCount = samples <= int.MaxValue ? (int)samples : throw new ArgumentException($"The shards hold {samples:N0} samples; say how many make an epoch (--train-num-samples).");
        }
        if (options.BatchSize > SampleCount)
            throw new ArgumentException($"The batch size {options.BatchSize} is larger than the {SampleCount} samples of an epoch of '{shards.Pattern}'; use at most {SampleCount}.");
    }

    /// <inheritdoc/>
    public override string Description
    {
        get
        {
            string what = _shards.SampleCount is null ? $"{_images:N0} images, {_captions:N0} captions" : $"{SampleCount:N0} samples an epoch";
            return $"{what} in {_shards.Paths.Count:N0} shard{(_shards.Paths.Count == 1 ? "" : "s")}{(_shards.Resampled ? " drawn with replacement" : "")} from '{_shards.Pattern}'";
        }
    }

    /// <inheritdoc/>
    public override int SampleCount { get; }

    /// <inheritdoc/>
    public override int TruncatedCaptions => _cut.Count;

    /// <inheritdoc/>
    public override IReadOnlyList<SkippedImage> Skipped => [.. _skipped.Values.OrderBy(skipped => skipped.Path, StringComparer.Ordinal).ThenBy(skipped => skipped.Line)];

    /// <inheritdoc/>
    public override (int Width, int Height) TypicalSize()
    {
        var buffers = new DecoderBuffers();
        byte[] pixels = [];
        var sizes = new List<(int, int)>();
        foreach (var sample in Read(_shards.Paths[0], () => true).Take(SampledImages))
        {
            try
            {
                sizes.Add(ImageDecoder.Decode(sample.Bytes, sample.Image.Name, buffers, bytes => pixels = new byte[bytes]));
            }
            catch (InvalidDataException)
            {
                // It is reported when its turn comes.
            }
        }
        return MeanSize(sizes);
    }

    /// <inheritdoc/>
    private protected override IEpochReader Begin(uint epoch, int firstBatch) => new EpochReader(this, epoch, firstBatch);

    private IEnumerable<ShardSample> Read(string path, Func<bool> withImages) => new ShardReader(path, Skip).Read(withImages);

    private void Skip(SkippedImage skipped)
    {
        if (Options.Strict) throw new InvalidDataException($"{skipped.Place}: {skipped.Reason}");
        _skipped.TryAdd($"{skipped.Path}\n{skipped.Line}", skipped);
    }

    private InvalidDataException Nothing()
    {
        var first = Skipped;
        return new($"No sample of '{_shards.Pattern}' can be used" + (first.Count > 0 ? $"; the first, {first[0].Place}: {first[0].Reason}" : "; its shards are empty."));
    }

    private sealed class EpochReader(ShardLoader loader, uint epoch, int firstBatch) : IEpochReader
    {
        private readonly ShardStream _stream = new(loader.Options, loader._shards, epoch, firstBatch, loader.Read);

        public void Fill(HostBatch batch, int number, DecoderBuffers buffers, CancellationToken stop)
        {
            long start = Stopwatch.GetTimestamp();
            var (turns, spares) = _stream.Take(number, Spares, stop);
            loader.CountReading(start);
            int first = number * loader.Options.BatchSize;
            for (int i = 0; i < turns.Length; i++)
            {
                stop.ThrowIfCancellationRequested();
                var turn = turns[i];
                // A place in the batch draws the same whoever stands in it.
                if (!TryAdd(batch, turn, first + i, buffers) && !spares.Concat(turns).Any(other => TryAdd(batch, other, first + i, buffers))) throw loader.Nothing();
            }
        }

        public void Dispose() => _stream.Dispose();

        private bool TryAdd(HostBatch batch, ShardTurn turn, int position, DecoderBuffers buffers)
        {
            var sample = turn.Sample;
            string key = sample.ImagePlace.Name;
            if (loader._undecodable.ContainsKey(key)) return false;
            (int Width, int Height) size;
            try
            {
                long start = Stopwatch.GetTimestamp();
                ReadOnlySpan<byte> bytes = sample.Bytes is { } read ? read : buffers.Read(sample.ImagePlace);
                loader.CountReading(start);
                start = Stopwatch.GetTimestamp();
                size = ImageDecoder.Decode(bytes, key, buffers, batch.Reserve);
                loader.CountDecoding(start);
            }
            catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException)
            {
                loader.Skip(sample.Skip(e.Message));
                loader._undecodable.TryAdd(key, true);
                return false;
            }
            int caption = turn.Caption >= 0 ? turn.Caption : loader.DrawCaption(batch, sample.Captions.Count, epoch, position);
            int[] ids = new int[loader.Options.ContextLength];
            if (loader._tokenizer.EncodeCaption(sample.Captions[caption], ids))
            {
                loader._cut.TryAdd($"{key}\n{caption}", true);
                if (loader.Options.Strict) throw new InvalidDataException($"'{key}': a caption does not fit the context of {ids.Length} tokens; shorten it or raise the context length.");
            }
            int number = (int)((loader._firstSample[sample.Shard] + sample.Number) & int.MaxValue);
            loader.Add(batch, size, ids, epoch, position, number, position);
            return true;
        }
    }
}
