using System.CommandLine;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Ptx;
using ClipCuda.Training;

namespace ClipCuda.Cli;

/// <summary><c>profile</c>: a line a kernel and a GEMM shape with its share of a training step.</summary>
internal static class ProfileCommand
{
    private const int DefaultSteps = 5;

    public static Command Create()
    {
        var preset = TrainCommand.PresetOption();
        var batchSize = NumberOption.Whole("--batch-size", "pairs a step (default: the preset's)", least: 1);
        var steps = NumberOption.Whole("--steps", $"steps to time (default: {DefaultSteps})", least: 1);
        var tf32 = DeviceOption.CreateTf32();
        var model = new ModelFlags();
        var device = DeviceOption.Create();
        var threads = NumberOption.Whole("--threads", "threads that compute (default: one a core)", least: 1);
        var command = new Command("profile", "Show where the time of a training step goes, on made-up images.") { preset, batchSize, steps };
        model.AddTo(command);
        command.Add(device);
        command.Add(tf32);
        command.Add(threads);
        command.SetAction(parsed =>
        {
            var chosen = parsed.GetValue(preset) ?? Presets.Find(Presets.Sample);
            var options = TrainingOptions.Of(chosen, "", null);
            options = options with { Model = model.Apply(options.Model, parsed), BatchSize = parsed.GetValue(batchSize) ?? options.BatchSize };
            using var opened = Device.Open(parsed.GetValue(device)!, parsed.GetValue(threads) ?? 0, parsed.GetValue(tf32));
            Run(opened, options, parsed.GetValue(steps) ?? DefaultSteps, parsed.InvocationConfiguration.Output);
            return 0;
        });
        return command;
    }

    private static void Run(Device device, TrainingOptions options, int steps, TextWriter output)
    {
        output.WriteLine($"Device: {device.Announcement}");
        output.WriteLine($"Model: {options.ModelName}, batches of {options.BatchSize}");
        var profile = StepProfile.Run(device, options, steps);
        var peaks = DevicePeaks.Measure(device);
        output.WriteLine($"{"what",-44} {"calls",6} {"ms",9} {"share",7} {"GFLOP/s",8} {"of peak",7} {"GB/s",8} {"of copy",7}  (of a step)");
        foreach (var entry in profile.Entries)
        {
            double seconds = entry.Seconds / profile.Steps;
            string flops = Rate(entry.Flops / profile.Steps / seconds, peaks.FlopsPerSecond), moved = Rate(entry.MovedBytes / profile.Steps / seconds, peaks.BytesPerSecond);
            output.WriteLine($"{entry.Name,-44} {entry.Calls / profile.Steps,6} {seconds * 1e3,9:0.00} {seconds / profile.DeviceSeconds,7:0.0%} {flops,16} {moved,16}".TrimEnd());
        }
        output.WriteLine($"Peaks, measured: copying {peaks.BytesPerSecond / 1e9:0.0} GB/s, read and written; fused multiply-adds {peaks.FlopsPerSecond / 1e9:0} GFLOP/s; "
            + $"a GEMM {peaks.GemmFlopsPerSecond / 1e9:0} GFLOP/s; a launch takes {1e6 / peaks.LaunchesPerSecond:0.0} µs.");
        double gemm = profile.Entries.Where(e => e.IsGemm).Sum(e => e.Seconds) / profile.Steps;
        output.WriteLine($"A step takes {profile.StepSeconds * 1e3:0.0} ms (the median of {steps}); its kernels and GEMMs timed one by one {profile.DeviceSeconds * 1e3:0.0} ms, of which GEMMs {gemm / profile.DeviceSeconds:0%}.");
        double modelFlops = profile.ModelFlops / profile.StepSeconds;
        output.WriteLine($"That is {options.SamplesPerStep / profile.StepSeconds:0.0} pairs a second, and of the model's own operations (three times those forward) {modelFlops / 1e9:0.###} GFLOP/s: "
            + $"{modelFlops / peaks.FlopsPerSecond:0%} of the multiply-adds measured, {modelFlops / peaks.GemmFlopsPerSecond:0%} of the GEMM.");
        output.WriteLine($"It allocates {profile.ManagedBytes / 1024.0:0.0} KiB of managed memory on its thread, and nothing on the device.");
        WriteCounters(profile, output);

        static string Rate(double perSecond, double peak) => perSecond == 0 ? "" : $"{perSecond / 1e9:0.0} {perSecond / peak,7:0%}";
    }

    /// <summary>What <c>cpu:check</c> counted, as <see cref="KernelCounters"/> defines it; nothing on other devices.</summary>
    private static void WriteCounters(StepProfile profile, TextWriter output)
    {
        var counted = profile.Entries.Where(e => e.Counters is not null).OrderByDescending(e => e.Counters!.WarpInstructions).ToArray();
        if (counted.Length == 0) return;
        output.WriteLine();
        output.WriteLine($"{"counted in a step",-36} {"",12} {"active",7} {"diverging",9} | {"global loads",-28} | {"global stores",-28} | {"shared",-21}");
        output.WriteLine($"{"kernel",-36} {"instructions",12} {"lanes",7} {"branches",9} | {Traffic} | {Traffic} | {"requests",10} {"conflicts",10}");
        foreach (var entry in counted)
        {
            var counters = entry.Counters!;
            double divergent = counters.Branches == 0 ? 0 : (double)counters.DivergentBranches / counters.Branches;
            output.WriteLine($"{entry.Name,-36} {counters.WarpInstructions / profile.Steps,12} {counters.ActiveLanes,7:0.0%} {divergent,9:0.0%} | {Row(counters.Loads)} | {Row(counters.Stores)} | "
                + $"{counters.SharedRequests / profile.Steps,10} {counters.BankConflicts / profile.Steps,10}");
        }
        output.WriteLine("Instructions are PTX, one for each warp of 32. A request is one warp's access; sectors are of 32 bytes: 4 for 32 neighbouring numbers.");

        string Row(GlobalTraffic traffic) =>
            $"{traffic.Bytes / 1e6 / profile.Steps,9:0.000} {traffic.SectorsPerRequest,8:0.0} {traffic.DistinctSectors * (double)KernelCounters.SectorBytes / 1e6 / profile.Steps,9:0.000}";
    }

    private const string Traffic = "       MB sect/req   distinct";
}
