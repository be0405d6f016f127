using ClipCuda.Data;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Ops;

namespace ClipCuda.Training;

/// <summary>
/// How much memory a run takes, found by running a step and an evaluation's batch on a <see cref="MeasuringDevice"/>, to which is added
/// what the loaders, the GEMM's workspace and the writing of a checkpoint take on the host.
/// </summary>
public sealed class MemoryEstimate
{
    private const long WorkspaceBytes = 64 << 20; // packed panels of GEMM, registers of the interpreter's threads, compiled code
    private const double BufferSlack = 1.5; // a growing buffer is made half as large again as it has to be
    private readonly TrainingOptions _options;
    private readonly int _valImages, _valCaptions;
    private readonly int _width, _height;

    /// <param name="image">How large the images are.</param>
    /// <param name="val">What is evaluated.</param>
    public MemoryEstimate(TrainingOptions options, (int Width, int Height) image, PairDataset? val = null)
    {
        _options = options;
        (_valImages, _valCaptions) = (val?.Samples.Count ?? 0, val?.Rows.Count ?? 0);
        (_width, _height) = image;
        using var device = new MeasuringDevice();
        using var model = new ClipModel(device, options.Model, options.WeightDecayScope, options.Frozen);
        Parameters = model.Parameters.Count;
    }

    /// <summary>Parameters of the model.</summary>
    public long Parameters { get; }

    /// <summary>Bytes a run with that batch size takes, the device's and the host's together.</summary>
    public long Bytes(int batchSize) => DeviceBytes(batchSize) + HostBytes(batchSize);

    /// <summary>Of these, the bytes of buffers on the device.</summary>
    internal long DeviceBytes(int batchSize) => Measure(batchSize) * (_options.Device == "cpu:check" ? 2 : 1); // it knows of each byte whether it was written

    /// <summary>The rest: loaders, a checkpoint on its way to the disk, and what computes.</summary>
    internal long HostBytes(int batchSize)
    {
        long hostBatch = (long)(BufferSlack * batchSize * _options.AccumFreq * _width * _height * 3);
        long loaders = (_valImages > 0 ? 2 : 1) * (_options.Workers + 2L) * hostBatch;
        long checkpoint = 3 * Parameters * sizeof(float); // the copy that is written: weights and two moments
        return loaders + checkpoint + WorkspaceBytes;
    }

    /// <summary>Says what is needed and what is free, of the device's memory and the host's where those are two.</summary>
    /// <exception cref="ArgumentException">The run does not fit; the message names the largest batch that does.</exception>
    public string Check(Device device) => device.HasOwnMemory
        ? Check(new Memory(" of the device", DeviceBytes, device.FreeBytes), new Memory(" of the host", HostBytes, Device.FreeHostBytes))
        : Check(device.FreeBytes);

    /// <inheritdoc cref="Check(Device)"/>
    internal string Check(long free) => Check(new Memory("", Bytes, free));

    /// <summary>The largest batch size up to a bound that fits into so many bytes; 0 if none does.</summary>
    internal int LargestBatch(long free, int most) => LargestBatch(most, new Memory("", Bytes, free));

    private string Check(params Memory[] memories)
    {
        int batch = _options.BatchSize;
        string line = $"a batch of {batch} needs about {string.Join(", and ", memories.Select(memory => memory.Describe(batch)))}";
        if (Array.TrueForAll(memories, memory => memory.Fits(batch))) return $"Memory: {line}.";
        int largest = LargestBatch(batch - 1, memories);
        throw new ArgumentException(
            largest > 0
                ? $"Not enough memory: {line}; the largest batch that fits is {largest} (--batch-size {largest})."
                : $"Not enough memory: {line}; not even a batch of 1 fits, so use a smaller model or free some memory.");
    }

    private static int LargestBatch(int most, params Memory[] memories)
    {
        int fits = 0, tooLarge = most + 1;
        while (tooLarge - fits > 1)
        {
            int middle = fits + (tooLarge - fits) / 2;
            if (Array.TrueForAll(memories, memory => memory.Fits(middle))) fits = middle;
            else tooLarge = middle;
        }
        return fits;
    }

    internal static string Format(long bytes) => bytes >= 1L << 30 ? $"{bytes / (double)(1 << 30):F1} GiB" : $"{bytes / (double)(1 << 20):F0} MiB";

    private long Measure(int batchSize)
    {
        using var device = new MeasuringDevice();
        using var model = new ClipModel(device, _options.Model, _options.WeightDecayScope, _options.Frozen);
        using var step = new TrainingStep(model, _options with { BatchSize = batchSize });
        byte[] rgb = new byte[3L * _width * _height];
        var images = new ImageSlot[batchSize * _options.AccumFreq];
        Array.Fill(images, new ImageSlot(0, _width, _height, 0, 0, _width, _height));
        // As many different tokens as can be: each has a row of partial sums in backward.
        int[] tokens = [.. Enumerable.Range(0, images.Length * _options.Model.Text.ContextLength).Select(i => i % _options.Model.Text.VocabSize)];
        step.Run(rgb, images, tokens, 0);
        if (_valImages > 0)
        {
            // The last batch is smaller, and its activations are buffers of their own.
            int rest = _valImages % batchSize;
            if (rest > 0) Encode(model, step, rgb, images.AsSpan(0, rest), tokens.AsSpan(0, rest * _options.Model.Text.ContextLength));
            device.Allocate(sizeof(float) * (long)_options.Model.EmbedDim * ((long)_valImages + _valCaptions), "embeddings");
        }
        // The images above are one and the same; Preprocess keeps room for all of them and a quarter more.
        return device.PeakBytes + (batchSize - 1L) * rgb.Length * 5 / 4;
    }

    private static void Encode(ClipModel model, TrainingStep step, byte[] rgb, ReadOnlySpan<ImageSlot> images, ReadOnlySpan<int> tokens)
    {
        var pixels = PixelInput.Run(step.Tape, step.Preprocess, rgb, images, model.Config.Vision.ImageSize, ImageFit.Centre);
        ClipLoss.Forward(step.Tape, model.EncodeImage(step.Tape, pixels), model.EncodeText(step.Tape, tokens, images.Length), model.LogitScale);
        step.Tape.Reset();
    }

    /// <summary>Some memory: whose it is, what a batch size needs of it, and what is free.</summary>
    private sealed record Memory(string Whose, Func<int, long> Needs, long Free)
    {
        public bool Fits(int batchSize) => Needs(batchSize) <= Free;

        public string Describe(int batchSize) => $"{Format(Needs(batchSize))}{Whose}, {Format(Free)} are free";
    }
}
