using System.Globalization;
using System.Text;
using ClipCuda.Data;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Ops;
using ClipCuda.Ptx;
using ClipCuda.Training;

namespace ClipCuda.Tests.Ptx;

/// <summary>
/// What a training step's kernels ask of a GPU's memory, counted by <c>cpu:check</c> on the shapes of ViT-B/32 and, for kernels that it has not, of RN50 at 96 pixels (one block of each tower and
/// stage, a small vocabulary: more of them are the same launches again), and how many of their threads an SM holds at most. kernels/README.md is this table.
/// </summary>
internal static class KernelTable
{
    private const int Batch = 2, ImageSide = 64, ResNetSide = 96, Vocabulary = 600;

    private const string Title = """
        # Kernels

        One file an op, forward and backward; each header says the math, the shapes, the launch and the bytes moved. `ptx/` holds what they compile to (`./build.sh kernels`).

        ## What they ask of memory

        Counted by `cpu:check` in a training step of ViT-B/32's shapes, and of RN50's (at 96 pixels) for kernels that ViT-B/32 has not (batch 2, one block of each tower and stage), as a GPU's profiler would, caches left out; `./build.sh counters` writes this file, and a
        test demands that it is so.

        - *MB*: different 32-byte sectors of each launch, which have to move whatever the cache does.
        - *of least*: these sectors over the least that hold the same bytes; where a launch takes single numbers, each has a sector to itself. *again*: all sectors that requests take, over the different ones; what is above 1 is for the cache.
        - *ideal*: sectors a request takes, over those it would take if its bytes lay side by side; 1 is coalesced.
        - *conflicts*: passes over shared memory beyond those that are needed, a request.
        - *an SM*: the share of its threads that blocks can fill, by launch bounds and shared memory (registers are the driver's to choose): compute capability 7.5 (1,024 threads, 16 blocks, 64 KiB) and
          9.0 (2,048, 32, 227 KiB, 1 KiB of each block reserved).


        """;

    private const string Header = """
        | kernel | threads | shared bytes | an SM 7.5 | an SM 9.0 | loads MB | of least | again | ideal | stores MB | of least | again | ideal | conflicts |
        |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|

        """;

    /// <summary>The kernels of a step of each model, by name.</summary>
    public static IReadOnlyList<CountedKernel> Measure()
    {
        CountedKernel[] counted =
        [
            .. MeasureStep("ViT-B/32", vision => vision with { Layers = 1 }),
            .. MeasureStep("RN50", vision => VisionConfig.ResNet(ResNetSide, vision.Width, new(1, 1, 1, 1), vision.Heads)),
        ];
        return [.. counted.DistinctBy(kernel => kernel.Entry.Name).OrderBy(kernel => kernel.Entry.Name, StringComparer.Ordinal)];
    }

    private static IEnumerable<CountedKernel> MeasureStep(string preset, Func<VisionConfig, VisionConfig> shorten)
    {
        var options = TrainingOptions.Of(Presets.Find(preset), "", null);
        options = options with { BatchSize = Batch, Model = options.Model with { Vision = shorten(options.Model.Vision), Text = options.Model.Text with { Layers = 1, VocabSize = Vocabulary } } };
        using var device = Device.Open("cpu:check", 2);
        using var model = new ClipModel(device, options.Model, options.WeightDecayScope);
        Initialization.Apply(model.Parameters, options.Model, options.Initialization, seed: 1);
        using var step = new TrainingStep(model, options);
        var profile = device.Profile = new DeviceProfile();
        byte[] rgb = new byte[Batch * 3 * ImageSide * ImageSide];
        new Random(1).NextBytes(rgb);
        ImageSlot[] images = [.. Enumerable.Range(0, Batch).Select(i => new ImageSlot(i * 3L * ImageSide * ImageSide, ImageSide, ImageSide, 0, 0, ImageSide, ImageSide))];
        int[] tokens = new int[Batch * options.Model.Text.ContextLength];
        MadeUpCaptions.Fill(new Random(1), options.Model.Text, tokens);
        step.Run(rgb, images, tokens, learningRate: 1e-4f);
        return [.. profile.Entries.Where(entry => entry.Counters is not null).Select(entry => new CountedKernel(device.Kernel(entry.Name).Entry, entry.Calls, entry.MovedBytes, entry.Counters!))];
    }

    public static string Text(IReadOnlyList<CountedKernel> kernels)
    {
        var text = new StringBuilder(Title).Append(Header);
        foreach (var (entry, _, _, counters) in kernels)
        {
            double conflicts = counters.SharedRequests == 0 ? 0 : (double)counters.BankConflicts / counters.SharedRequests;
            text.Append(CultureInfo.InvariantCulture, $"| {entry.Name} | {entry.MaxThreadsPerBlock} | {entry.StaticSharedBytes:N0} | {Occupancy(entry, 1024, 16, 64, 0):0 %} | {Occupancy(entry, 2048, 32, 227, 1):0 %} ");
            text.Append(CultureInfo.InvariantCulture, $"| {Cells(counters.Loads)} | {Cells(counters.Stores)} | {(counters.SharedRequests == 0 ? "" : conflicts.ToString("0.00", CultureInfo.InvariantCulture))} |\n");
        }
        return text.ToString();
    }

    /// <summary>Different sectors of the launches over the least that hold the same bytes.</summary>
    public static double OfLeast(GlobalTraffic traffic) => (double)traffic.DistinctSectors * KernelCounters.SectorBytes / traffic.DistinctBytes;

    public static double OfIdeal(GlobalTraffic traffic) => (double)traffic.Sectors / traffic.IdealSectors;

    private static string Cells(GlobalTraffic traffic) => traffic.Requests == 0
        ? " | | | "
        : string.Create(CultureInfo.InvariantCulture,
            $"{traffic.DistinctSectors * (double)KernelCounters.SectorBytes / 1e6:0.000} | {OfLeast(traffic):0.00} | {(double)traffic.Sectors / traffic.DistinctSectors:0.0} | {OfIdeal(traffic):0.00}");

    /// <param name="threads">Threads of an SM.</param>
    /// <param name="blocks">Blocks of an SM.</param>
    /// <param name="kibibytes">Shared memory of an SM.</param>
    /// <param name="reserved">Of that, what each block takes beyond its own.</param>
    private static double Occupancy(PtxEntry entry, int threads, int blocks, int kibibytes, int reserved)
    {
        int bytes = entry.StaticSharedBytes + 1024 * reserved;
        int fit = Math.Min(Math.Min(blocks, threads / entry.MaxThreadsPerBlock), bytes == 0 ? blocks : 1024 * kibibytes / bytes);
        return (double)fit * entry.MaxThreadsPerBlock / threads;
    }
}

/// <summary>What the launches of a kernel counted in one step.</summary>
/// <param name="MovedBytes">What their arguments say that they move.</param>
internal sealed record CountedKernel(PtxEntry Entry, long Launches, long MovedBytes, KernelCounters Counters)
{
    /// <summary>Sectors of launches that hold fewer bytes than they could, at most: the end of each buffer.</summary>
    public long PartlyUsedSectors => Launches * Entry.Parameters.Count(parameter => parameter.Size == 8);
}
