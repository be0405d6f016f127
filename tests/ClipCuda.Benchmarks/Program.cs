// Times ClipCuda's CPU device against libtorch (TorchSharp) in one process and writes RESULTS.md and results.json.
// Arguments: [filter] [--quick] [--output FOLDER]. A filter is part of a row's or group's name; a filtered run writes files only where --output says.
using System.Diagnostics;
using ClipCuda.Benchmarks;
using ClipCuda.Devices;
using TorchSharp;

const int Threads = 2;

string? filter = null, output = null;
bool quick = false;
for (int i = 0; i < args.Length; i++)
{
    if (args[i] == "--quick") quick = true;
    else if (args[i] == "--output" && i + 1 < args.Length) output = args[++i];
    else if (filter is null && !args[i].StartsWith('-')) filter = args[i];
    else return Fail($"'{args[i]}' is not understood; usage: bench [filter] [--quick] [--output FOLDER].", 2);
}

LibTorch.Load();
torch.set_num_threads(Threads);
using var device = Device.Open("cpu", Threads);
// The two engines of the CPU device can be told apart once the second one is there.
using var interpreter = Device.Names.Contains("cpu:interpret") ? Device.Open("cpu:interpret", Threads) : null;

IEnumerable<Row> all = [.. GemmRows.All(device), .. KernelRows.All(device), .. OptimizerRows.All(device), .. StepRows.All(device), .. LoadRows.All(device), .. DataRows.All()];
if (interpreter is not null) all = all.Concat(KernelRows.Between(device, interpreter));
Row[] rows = [.. all.Where(row => filter is null || $"{row.Group}: {row.Name}".Contains(filter, StringComparison.OrdinalIgnoreCase))];
if (rows.Length == 0) return Fail($"No row's name contains '{filter}'.", 2);

var machine = Machine.Current(device.Description, Threads);
Console.WriteLine($"{machine.Processor}, {machine.Vectors} vectors; ours: {machine.Device}; theirs: libtorch {machine.LibTorch}, {torch.get_num_threads()} threads. A ratio above 1: ours is faster.");
long start = Stopwatch.GetTimestamp();
var measurements = new List<Measurement>();
int failures = 0;
foreach (var row in rows)
{
    try
    {
        var m = Rounds.Measure(row, quick ? Effort.Quick : Effort.Full);
        measurements.Add(m);
        Console.WriteLine($"{m.Ratio,7:0.00} [{m.RatioP10:0.00}, {m.RatioP90:0.00}] best {m.BestRatio:0.00}, others {m.OthersShare:0 %}  {Report.Time(m.OursMedian),8} ms, {m.Theirs} {Report.Time(m.TheirsMedian)} ms  {m.Name}");
    }
    catch (InvalidOperationException error)
    {
        failures++;
        Fail(error.Message, 1);
    }
}
Console.WriteLine($"{measurements.Count} rows in {Stopwatch.GetElapsedTime(start).TotalSeconds:0} s.");
if (failures > 0) return Fail($"{failures} of {rows.Length} rows do not compute the same on both sides; no results were written.", 1);
if (output is null && filter is null) output = ProjectFolder();
if (output is not null) new Report(machine, quick, measurements).Write(output);
return 0;

static int Fail(string message, int code)
{
    Console.Error.WriteLine($"error: {message}");
    return code;
}

static string ProjectFolder()
{
    for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
    {
        if (File.Exists(Path.Combine(folder.FullName, "ClipCuda.sln"))) return Path.Combine(folder.FullName, "tests", "ClipCuda.Benchmarks");
    }
    return Environment.CurrentDirectory;
}
