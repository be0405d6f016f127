using System.Diagnostics;
using System.Runtime.InteropServices;

namespace ClipCuda.Data;

/// <summary>
/// Made-up samples: images of noise of a given size, and captions that number them. They cost next to nothing to make, so a run on them shows what
/// the rest of the training takes.
/// </summary>
public sealed class SyntheticLoader : BatchSource
{
    private readonly ClipTokenizer _tokenizer;
    private readonly int _size;

    /// <param name="samples">Of an epoch.</param>
    /// <param name="size">Pixels a side.</param>
    /// <exception cref="ArgumentException">An option is out of range, or the batch is larger than an epoch.</exception>
    public SyntheticLoader(int samples, int size, ClipTokenizer tokenizer, LoaderOptions options)
        : base(options)
    {
        if (options.BatchSize > samples)
            throw new ArgumentException($"The batch size {options.BatchSize} is larger than the {samples} made-up samples of an epoch; use a smaller batch or more samples (--train-num-samples).");
        (SampleCount, _size, _tokenizer) = (samples, size, tokenizer);
    }

    /// <inheritdoc/>
    public override string Description => $"{SampleCount:N0} made-up images of {_size} x {_size} pixels with a caption each";

    /// <inheritdoc/>
    public override int SampleCount { get; }

    /// <inheritdoc/>
    public override int TruncatedCaptions => 0;

    /// <inheritdoc/>
    public override IReadOnlyList<SkippedImage> Skipped => [];

    /// <inheritdoc/>
    public override (int Width, int Height) TypicalSize() => (_size, _size);

    /// <inheritdoc/>
    private protected override IEpochReader Begin(uint epoch, int firstBatch) => new EpochReader(this, epoch);

    private sealed class EpochReader : IEpochReader
    {
        private readonly SyntheticLoader _loader;
        private readonly uint _epoch;
        private readonly int[] _order;

        public EpochReader(SyntheticLoader loader, uint epoch) => (_loader, _epoch, _order) = (loader, epoch, loader.Order(epoch));

        public void Fill(HostBatch batch, int number, DecoderBuffers buffers, CancellationToken stop)
        {
            int first = number * _loader.Options.BatchSize, size = _loader._size;
            int[] ids = new int[_loader.Options.ContextLength];
            foreach (int sample in _order.AsSpan(first, Math.Min(_loader.Options.BatchSize, _order.Length - first)))
            {
                stop.ThrowIfCancellationRequested();
                long start = Stopwatch.GetTimestamp();
                Noise(batch.Reserve(3 * size * size), (uint)sample);
                _loader._tokenizer.EncodeCaption($"picture number {sample}", ids);
                _loader.CountDecoding(start);
                _loader.Add(batch, (size, size), ids, _epoch, sample, sample, sample);
            }
        }

        public void Dispose() { }

        private void Noise(Span<byte> pixels, uint sample)
        {
            var random = new Philox(_loader.Options.Seed, RandomPurpose.MadeUpImage, 0, sample);
            var words = MemoryMarshal.Cast<byte, uint>(pixels);
            for (int i = 0; i < words.Length; i++) words[i] = random.NextUInt32();
            for (int i = words.Length * sizeof(uint); i < pixels.Length; i++) pixels[i] = (byte)random.NextUInt32();
        }
    }
}
