using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text;
using ClipCuda.Model;

namespace ClipCuda.Tests.GpuPack;

/// <summary>
/// Puts a machine's first GPU to the proof and writes one Markdown report: the machine, the tests of kernels, golden numbers and gradients on <c>cuda</c>, NVIDIA's
/// compute-sanitizer where it is installed, a training run, and where the time of a training step goes. Each part is a process with a time limit
/// (<see cref="ReportPart"/>); one that fails, hangs or dies is reported, and the next one runs. All of it takes at most ten minutes.
/// </summary>
internal static class GpuReport
{
    public const string Verb = "gpu-report", ProgramVerb = "clipcuda";

    private const string Ops = @"^ClipCuda\.Tests\.Ops\.", Sanitizer = "compute-sanitizer";

    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(590);

    /// <summary>A part starts this executable again, whether it was started itself or through <c>dotnet</c>.</summary>
    private static readonly string[] Self = Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet" ? [Environment.ProcessPath!, typeof(GpuReport).Assembly.Location] : [Environment.ProcessPath!];

    /// <param name="args"><c>--small</c>: few tests and tiny models, for a trial; <c>--output FILE</c> (default: report.md).</param>
    /// <returns>0 if nothing failed, else 1.</returns>
    public static int Run(string[] args, TextWriter console)
    {
        string path = "report.md";
        bool small = false;
        for (int i = 0; i < args.Length; i++)
        {
            if (args[i] == "--small") small = true;
            else if (args[i] == "--output" && i + 1 < args.Length) path = args[++i];
            else throw new ArgumentException($"'{args[i]}' is no flag of {Verb}; there are --small and --output FILE.");
        }
        long start = Stopwatch.GetTimestamp();
        var devices = new ReportPart("devices", [.. Self, ProgramVerb, "devices"], TimeSpan.FromSeconds(60), HasTests: false, _ => true).Run(Limit);
        string gpu = devices.Shown.FirstOrDefault(line => line.StartsWith("cuda", StringComparison.Ordinal)) ?? string.Join(' ', devices.Failed);
        if (!gpu.StartsWith("cuda:0", StringComparison.Ordinal)) throw new InvalidOperationException($"There is no GPU to report on. {gpu}");

        string scratch = Directory.CreateTempSubdirectory("clipcuda-").FullName;
        var results = new List<PartResult>();
        try
        {
            foreach (var part in Parts(small, scratch))
            {
                var result = part.Run(Limit - Stopwatch.GetElapsedTime(start));
                results.Add(result);
                console.WriteLine($"{result.Title}: {Counts([result])} ({Seconds(result.Time)})");
                foreach (string failure in result.Failed) console.WriteLine($"  {failure}");
            }
        }
        finally
        {
            Directory.Delete(scratch, recursive: true);
        }
        if (FindSanitizer() is null) results.Add(new PartResult(Sanitizer, 0, [], [$"memcheck and racecheck{TestRun.Because}{Sanitizer} is not installed (neither in PATH nor in the folder of the CUDA toolkit)"], [], TimeSpan.Zero));
        AtomicFile.Write(path, stream => stream.Write(Encoding.UTF8.GetBytes(Text(gpu["cuda:0".Length..].Trim(), results, Stopwatch.GetElapsedTime(start)))));
        console.WriteLine($"{Counts(results)} in {Seconds(Stopwatch.GetElapsedTime(start))}; the report is {Path.GetFullPath(path)}");
        return results.Exists(result => result.Failed.Count > 0) ? 1 : 0;
    }

    private static IEnumerable<ReportPart> Parts(bool small, string scratch)
    {
        yield return Tests("Kernels: forward and gradients against float64", small ? $"{Ops}(GeluTests|ResidualTests)$" : $@"{Ops}|^ClipCuda\.Tests\.Devices\.(DeviceTests|KernelTests|RepeatedWorkTests)$", 170);
        yield return Tests("Golden numbers of PyTorch and OpenAI's code", @"^ClipCuda\.Tests\.Training\.VerificationTests$", 60);
        yield return Tests(
            "Gradients of whole models, recorded steps",
            small ? @"^ClipCuda\.Tests\.Model\.ClipModelTests$" : @"^ClipCuda\.Tests\.(Model\.(ClipModelTests|ModifiedResNetTests)|Training\.(GradientCacheTests|TrainingStepTests))$", 60);

        string[] tiny = small
            ? ["--image-size", "16", "--patch-size", "16", "--vision-width", "16", "--vision-layers", "1", "--vision-heads", "1", "--text-width", "16", "--text-layers", "1", "--text-heads", "1", "--context-length", "8", "--embed-dim", "8"]
            : [];
        yield return Command("Training", 60, line => line.StartsWith("epoch", StringComparison.Ordinal) || line.StartsWith("Model", StringComparison.Ordinal) || line.StartsWith("Trained", StringComparison.Ordinal),
            ["train", "--epochs", small ? "1" : "5", "--logs", scratch, .. tiny, "--batch-size", small ? "1024" : "128"]);
        string[] profile = ["profile", .. small ? tiny : ["--model-name", "ViT-B/32"], "--batch-size", small ? "8" : "128", "--steps", small ? "1" : "10"];
        yield return Command("A training step, float32", 60, _ => true, profile);
        yield return Command("A training step, TF32", 60, _ => true, [.. profile, "--tf32"]);

        if (FindSanitizer() is not { } sanitizer) yield break;
        foreach (string tool in (string[])["memcheck", "racecheck"])
        {
            string classes = small ? $"{Ops}GeluTests$" : $"{Ops}(AttentionTests|BiasTests|ClipLossTests|GradientNormTests|LayerNormTests)$";
            var part = Tests($"{Sanitizer} {tool}", classes, 60);
            // Its own findings make its exit code, so that they fail the part even if every test passes.
            yield return part with { Command = [sanitizer, "--tool", tool, "--error-exitcode", "99", .. part.Command], Shows = line => line.StartsWith("=========", StringComparison.Ordinal) };
        }
    }

    private static ReportPart Tests(string title, string classes, int seconds) => new(title, [.. Self, TestRun.Verb, classes], TimeSpan.FromSeconds(seconds), HasTests: true);

    private static ReportPart Command(string title, int seconds, Func<string, bool> shows, string[] args) =>
        new(title, [.. Self, ProgramVerb, .. args, "--device", "cuda"], TimeSpan.FromSeconds(seconds), HasTests: false, shows);

    /// <summary>Where NVIDIA's tool is; null if it is not installed.</summary>
    private static string? FindSanitizer()
    {
        string[] toolkits = [.. new[] { Environment.GetEnvironmentVariable("CUDA_PATH"), Environment.GetEnvironmentVariable("CUDA_HOME"), "/usr/local/cuda" }.OfType<string>()];
        return (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)
            .Concat(toolkits.SelectMany(toolkit => (string[])[Path.Combine(toolkit, "bin"), Path.Combine(toolkit, Sanitizer)]))
            .Select(folder => Path.Combine(folder, OperatingSystem.IsWindows() ? Sanitizer + ".exe" : Sanitizer))
            .FirstOrDefault(File.Exists);
    }

    private static string Text(string gpu, List<PartResult> results, TimeSpan time)
    {
        var text = new StringBuilder();
        string version = typeof(ClipCuda.Cli.Program).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion;
        text.Append(CultureInfo.InvariantCulture, $"# ClipCuda on {gpu.Split(',')[0]}\n\n{DateTime.UtcNow:yyyy-MM-dd HH:mm} UTC, ClipCuda {version}: **{Counts(results)}** in {Seconds(time)}.\n\n");
        text.Append(CultureInfo.InvariantCulture, $"- GPU: {gpu}\n");
        if (FirstLine("/proc/driver/nvidia/version", "") is { } driver) text.Append(CultureInfo.InvariantCulture, $"- Driver: {driver}\n");
        text.Append(CultureInfo.InvariantCulture, $"- CPU: {FirstLine("/proc/cpuinfo", "model name")?.Split(':')[^1].Trim() ?? RuntimeInformation.ProcessArchitecture.ToString()}, {Environment.ProcessorCount} threads\n");
        text.Append(CultureInfo.InvariantCulture, $"- System: {RuntimeInformation.OSDescription}, {RuntimeInformation.FrameworkDescription}\n\n");

        text.Append("| part | passed | failed | skipped | seconds |\n|---|---:|---:|---:|---:|\n");
        foreach (var result in results) text.Append(CultureInfo.InvariantCulture, $"| {result.Title} | {result.Passed} | {result.Failed.Count} | {result.Skipped.Count} | {result.Time.TotalSeconds:0.0} |\n");
        foreach (var result in results.Where(result => result.Failed.Count > 0))
        {
            text.Append(CultureInfo.InvariantCulture, $"\n## Failed: {result.Title}\n\n");
            foreach (string failure in result.Failed) text.Append(CultureInfo.InvariantCulture, $"- {failure}\n");
        }
        if (results.Exists(result => result.Skipped.Count > 0)) text.Append("\n## Skipped\n\n");
        foreach (var reason in results.SelectMany(result => result.Skipped).GroupBy(line => line[(line.LastIndexOf(TestRun.Because, StringComparison.Ordinal) + TestRun.Because.Length)..], StringComparer.Ordinal))
            text.Append(CultureInfo.InvariantCulture, $"- {reason.Count()} × {reason.Key}\n");
        foreach (var result in results.Where(result => result.Shown.Count > 0))
            text.Append(CultureInfo.InvariantCulture, $"\n## {result.Title}\n\n```text\n{string.Join('\n', result.Shown)}\n```\n");
        return text.ToString();
    }

    private static string? FirstLine(string path, string start) => File.Exists(path) ? File.ReadLines(path).FirstOrDefault(line => line.StartsWith(start, StringComparison.Ordinal)) : null;

    private static string Counts(IReadOnlyCollection<PartResult> results) =>
        string.Create(CultureInfo.InvariantCulture, $"{results.Sum(r => r.Passed):N0} passed, {results.Sum(r => r.Failed.Count):N0} failed, {results.Sum(r => r.Skipped.Count):N0} skipped");

    private static string Seconds(TimeSpan time) => string.Create(CultureInfo.InvariantCulture, $"{time.TotalSeconds:0.0} s");
}
