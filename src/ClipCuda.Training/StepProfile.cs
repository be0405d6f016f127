using System.Diagnostics;
using ClipCuda.Data;
using ClipCuda.Devices;
using ClipCuda.Model;

namespace ClipCuda.Training;

/// <summary>
/// Where the time of a training step goes: whole steps on made-up images and captions, first as they run in training, then with every kernel and
/// GEMM timed by itself.
/// </summary>
public sealed class StepProfile
{
    /// <summary>Steps before anything is timed: kernels are compiled and buffers allocated in them.</summary>
    private const int WarmUp = 2;

    /// <summary>Side of the made-up images, that of the bundled drawings.</summary>
    private const int ImageSide = 64;

    private StepProfile(DeviceProfile profile, double stepSeconds, double modelFlops, long managedBytes, int steps) =>
        (Entries, StepSeconds, DeviceSeconds, ModelFlops, ManagedBytes, Steps) = ([.. profile.Entries], stepSeconds, profile.Seconds / steps, modelFlops, managedBytes, steps);

    /// <summary>Kernels and GEMMs, what took longest first; sums over all timed steps.</summary>
    public IReadOnlyList<DeviceProfile.Entry> Entries { get; }

    /// <summary>Median of a whole step, host included.</summary>
    public double StepSeconds { get; }

    /// <summary>Kernels and GEMMs of a step together.</summary>
    public double DeviceSeconds { get; }

    /// <summary>What a step's pairs ask for: three times <see cref="ForwardFlops"/>, because backward multiplies each factor's gradient.</summary>
    public double ModelFlops { get; }

    /// <summary>Managed memory that a step allocates on the thread that runs it.</summary>
    public long ManagedBytes { get; }

    public int Steps { get; }

    public static StepProfile Run(Device device, TrainingOptions options, int steps)
    {
        using var model = new ClipModel(device, options.Model, options.WeightDecayScope);
        Initialization.Apply(model.Parameters, options.Model, options.Initialization, options.Seed);
        using var step = new TrainingStep(model, options);
        var batch = new MadeUpBatch(options);
        for (int i = 0; i < WarmUp; i++) batch.Run(step, i);
        var seconds = new double[steps];
        long managed = GC.GetAllocatedBytesForCurrentThread(), allocations = device.Allocations;
        for (int i = 0; i < steps; i++)
        {
            long start = Stopwatch.GetTimestamp();
            batch.Run(step, i);
            seconds[i] = Stopwatch.GetElapsedTime(start).TotalSeconds;
        }
        managed = (GC.GetAllocatedBytesForCurrentThread() - managed) / steps;
        if (device.Allocations != allocations) throw new InvalidOperationException($"{steps} steps allocated device memory {device.Allocations - allocations} times.");
        Array.Sort(seconds);
        var profile = device.Profile = new DeviceProfile();
        try
        {
            for (int i = 0; i < steps; i++) batch.Run(step, i);
        }
        finally
        {
            device.Profile = null;
        }
        return new StepProfile(profile, seconds[steps / 2], 3 * ForwardFlops.Of(options.Model).Pair * options.SamplesPerStep, managed, steps);
    }

    /// <summary>Noise for pixels, and captions of random words and lengths.</summary>
    private sealed class MadeUpBatch
    {
        private readonly TrainingOptions _options;
        private readonly byte[] _rgb = new byte[3 * ImageSide * ImageSide];
        private readonly ImageSlot[] _images;
        private readonly int[] _tokens;

        public MadeUpBatch(TrainingOptions options)
        {
            _options = options;
            var random = new Random(options.Seed);
            random.NextBytes(_rgb);
            _images = new ImageSlot[options.SamplesPerStep];
            Array.Fill(_images, new ImageSlot(0, ImageSide, ImageSide, 0, 0, ImageSide, ImageSide));
            _tokens = new int[options.SamplesPerStep * options.Model.Text.ContextLength];
        }

        public void Run(TrainingStep step, int seed)
        {
            MadeUpCaptions.Fill(new Random(_options.Seed + seed + 1), _options.Model.Text, _tokens);
            step.Run(_rgb, _images, _tokens, _options.LearningRate);
        }
    }
}
