using System.CommandLine;
using ClipCuda.Devices;
using ClipCuda.Model;
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
        var model = new ModelFlags();
        var device = DeviceOption.Create();
        var threads = NumberOption.Whole("--threads", "threads that compute (default: one a core)", least: 1);
        var command = new Command("profile", "Show where the time of a training step goes, on made-up images.") { preset, batchSize, steps };
        model.AddTo(command);
        command.Add(device);
        command.Add(threads);
        command.SetAction(parsed =>
        {
            var chosen = parsed.GetValue(preset) ?? Presets.Find(Presets.Sample);
            var options = TrainingOptions.Of(chosen, "", null);
            options = options with { Model = model.Apply(options.Model, parsed), BatchSize = parsed.GetValue(batchSize) ?? options.BatchSize };
            return Run(parsed.GetValue(device)!, parsed.GetValue(threads) ?? 0, options, parsed.GetValue(steps) ?? DefaultSteps, parsed.InvocationConfiguration.Output);
        });
        return command;
    }

    private static int Run(string deviceName, int threads, TrainingOptions options, int steps, TextWriter output)
    {
        using var device = Device.Open(deviceName, threads);
        output.WriteLine($"Device: {device.Announcement}");
        output.WriteLine($"Model: {options.ModelName}, batches of {options.BatchSize}");
        var profile = StepProfile.Run(device, options, steps);
        output.WriteLine($"{"what",-44} {"calls",6} {"ms",9} {"share",7} {"GFLOP/s",8}   (of a step)");
        foreach (var entry in profile.Entries)
        {
            double seconds = entry.Seconds / profile.Steps;
            string rate = entry.IsGemm ? $"{entry.Flops / entry.Seconds / 1e9,8:0}" : $"{"",8}";
            output.WriteLine($"{entry.Name,-44} {entry.Calls / profile.Steps,6} {seconds * 1e3,9:0.00} {seconds / profile.DeviceSeconds,7:0.0%} {rate}");
        }
        double gemm = profile.Entries.Where(e => e.IsGemm).Sum(e => e.Seconds) / profile.Steps;
        output.WriteLine($"A step takes {profile.StepSeconds * 1e3:0.0} ms (the median of {steps}); its kernels and GEMMs timed one by one {profile.DeviceSeconds * 1e3:0.0} ms, of which GEMMs {gemm / profile.DeviceSeconds:0%}.");
        return 0;
    }
}
