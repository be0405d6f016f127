using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text;

namespace ClipCuda.Data;

/// <summary>
/// The batches of a data set's images. Order, captions and crops are functions of (seed, epoch, sample) alone.
/// <para>
/// An image that cannot be decoded is listed in <see cref="Skipped"/>. Evaluation leaves it out (its batch is smaller). Training, whose batches
/// stay full, takes the sample half an epoch further on in its place (or the next that can be decoded), so that a batch rarely holds one twice.
/// </para>
/// Captions are encoded when they are used; the first <see cref="PairDataset.LookedAtFirst"/> also at once, so that cut ones are known early.
/// </summary>
public sealed class BatchLoader : BatchSource
{
    private const int SampledImages = 8;

    private readonly PairDataset _data;
    private readonly ClipTokenizer _tokenizer;
    private readonly ConcurrentDictionary<int, SkippedImage> _undecodable = new();
    private readonly ConcurrentDictionary<int, bool> _cut = new(); // rows

    /// <summary>Checks the options and the first captions.</summary>
    /// <exception cref="ArgumentException">An option is out of range, or the batch is larger than the training data.</exception>
    /// <exception cref="InvalidDataException">Strict, and a caption does not fit the context.</exception>
    public BatchLoader(PairDataset data, ClipTokenizer tokenizer, LoaderOptions options)
        : base(options)
    {
        _data = data;
        _tokenizer = tokenizer;
        SampleCount = options.DrawCaptions ? data.Samples.Count : data.Rows.Count;
        if (options.Training && options.BatchSize > SampleCount)
        {
            throw new ArgumentException(
                $"The batch size {options.BatchSize} is larger than the {SampleCount} {(options.DrawCaptions ? "images" : "rows")} of '{data.Path}'; use at most {SampleCount}.");
        }
        var parallel = new ParallelOptions { MaxDegreeOfParallelism = Math.Max(1, options.Workers) };
        Parallel.For(0, Math.Min(data.Rows.Count, PairDataset.LookedAtFirst), parallel, () => new int[options.ContextLength], (row, _, ids) =>
        {
            Encode(row, ids);
            return ids;
        }, _ => { });
        if (options.Strict && !_cut.IsEmpty) throw TooLong(_cut.Keys.Min());
    }

    /// <inheritdoc/>
    public override string Description
    {
        get
        {
            string some = _data.Rows.Count > PairDataset.LookedAtFirst ? $" of the first {PairDataset.LookedAtFirst:N0}" : "";
            string cut = TruncatedCaptions == 0 ? "" : $" ({TruncatedCaptions:N0}{some} too long for the context and cut)";
            return $"{_data.Samples.Count:N0} images, {_data.Rows.Count:N0} captions{cut} from '{_data.Path}'";
        }
    }

    /// <summary>Samples of an epoch: images, or rows.</summary>
    public override int SampleCount { get; }

    /// <inheritdoc/>
    public override int TruncatedCaptions => _cut.Count;

    /// <summary>Rows and images left out so far, by line.</summary>
    public override IReadOnlyList<SkippedImage> Skipped => [.. _data.Skipped.Concat(_undecodable.Values).OrderBy(image => image.Line)];

    /// <inheritdoc/>
    public override (int Width, int Height) TypicalSize() => MeanSize(_data.Samples.Take(SampledImages).Select(sample => Size(sample.Image)).Where(size => size.Width > 0));

    /// <summary>Writes the ids of a row's caption: start, caption, end, zeros.</summary>
    public void CopyTokens(int row, Span<int> ids) => Encode(row, ids);

    /// <inheritdoc/>
    private protected override IEpochReader Begin(uint epoch, int firstBatch) => new EpochReader(this, epoch);

    /// <inheritdoc/>
    private protected override void End()
    {
        if (_undecodable.Count == _data.Samples.Count) throw NoImageLeft();
    }

    private void Encode(int row, Span<int> ids)
    {
        var bytes = _data.CaptionBytesOf(row);
        Span<char> caption = bytes.Length <= CsvDataset.MostOnStack ? stackalloc char[bytes.Length] : new char[bytes.Length];
        if (_tokenizer.EncodeCaption(caption[..Encoding.UTF8.GetChars(bytes, caption)], ids)) _cut.TryAdd(row, true);
    }

    private static (int Width, int Height) Size(ImagePlace place)
    {
        try
        {
            var image = ImageDecoder.Decode(place);
            return (image.Width, image.Height);
        }
        catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException)
        {
            return (0, 0); // it is reported when its turn comes
        }
    }

    private InvalidDataException TooLong(int row)
    {
        string caption = _data.CaptionOf(row);
        return new(
            $"{_data.PlaceOf(row)}: the caption has {_tokenizer.Encode(caption).Length} tokens, the context of {Options.ContextLength} holds {Options.ContextLength - 2}; shorten it or raise the context length.");
    }

    private InvalidDataException NoImageLeft()
    {
        var first = Skipped[0];
        return new($"No image of '{_data.Path}' can be used; the first, {first.Place}: {first.Reason}");
    }

    private sealed class EpochReader : IEpochReader
    {
        private readonly BatchLoader _loader;
        private readonly uint _epoch;
        private readonly int[] _order;

        public EpochReader(BatchLoader loader, uint epoch) => (_loader, _epoch, _order) = (loader, epoch, loader.Order(epoch));

        public void Fill(HostBatch batch, int number, DecoderBuffers buffers, CancellationToken stop)
        {
            var options = _loader.Options;
            int first = number * options.BatchSize, end = Math.Min(first + options.BatchSize, _order.Length);
            for (int position = first; position < end; position++)
            {
                stop.ThrowIfCancellationRequested();
                if (TryAdd(batch, _order[position], buffers) || !options.Training) continue;
                AddReplacement(batch, position, buffers, stop);
            }
        }

        public void Dispose() { }

        private void AddReplacement(HostBatch batch, int position, DecoderBuffers buffers, CancellationToken stop)
        {
            for (int i = 0; i < _order.Length; i++)
            {
                stop.ThrowIfCancellationRequested();
                int other = (int)(((long)position + _order.Length / 2 + i) % _order.Length);
                if (TryAdd(batch, _order[other], buffers)) return;
            }
            throw _loader.NoImageLeft();
        }

        private bool TryAdd(HostBatch batch, int sample, DecoderBuffers buffers)
        {
            var (data, options) = (_loader._data, _loader.Options);
            int image = options.DrawCaptions ? sample : data.SampleOf(sample);
            if (_loader._undecodable.ContainsKey(image)) return false;
            var place = data.ImageOf(image);
            (int Width, int Height) size;
            try
            {
                long start = Stopwatch.GetTimestamp();
                var file = buffers.Read(place);
                _loader.CountReading(start);
                start = Stopwatch.GetTimestamp();
                size = ImageDecoder.Decode(file, place.Name, buffers, batch.Reserve);
                _loader.CountDecoding(start);
            }
            catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException)
            {
                if (options.Strict) throw new InvalidDataException($"{data.PlaceOf(data.RowsOf(image)[0])}: {e.Message}", e);
                _loader._undecodable.TryAdd(image, data.Skip(image, e.Message));
                return false;
            }
            int row = sample;
            if (options.DrawCaptions)
            {
                var rows = data.RowsOf(image);
                row = rows[_loader.DrawCaption(batch, rows.Count, _epoch, image)];
            }
            Span<int> ids = options.ContextLength <= 1024 ? stackalloc int[options.ContextLength] : new int[options.ContextLength];
            _loader.Encode(row, ids);
            if (options.Strict && _loader._cut.ContainsKey(row)) throw _loader.TooLong(row);
            _loader.Add(batch, size, ids, _epoch, sample, image, row);
            return true;
        }
    }
}
