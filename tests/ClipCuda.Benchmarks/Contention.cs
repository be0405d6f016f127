using System.Diagnostics;

namespace ClipCuda.Benchmarks;

/// <summary>
/// How much of the machine other processes took while something was measured. libgomp's barriers spin, so that a core taken away costs libtorch
/// more than it costs us: ratios of a busy machine flatter. Linux only (/proc/stat); elsewhere the share is unknown.
/// </summary>
internal sealed class Contention
{
    private const double TicksASecond = 100; // USER_HZ, the same on every architecture .NET runs on

    private readonly long _start = Stopwatch.GetTimestamp();
    private readonly double _others = OtherSeconds();

    /// <summary>The share of all cores since construction, 0 to 1; NaN if unknown.</summary>
    public double Share() =>
        Math.Clamp((OtherSeconds() - _others) / (Stopwatch.GetElapsedTime(_start).TotalSeconds * Environment.ProcessorCount), 0, 1);

    /// <summary>Processor seconds of everybody else since boot.</summary>
    private static double OtherSeconds()
    {
        if (!OperatingSystem.IsLinux()) return double.NaN;
        // cpu user nice system idle iowait irq softirq steal …
        string[] fields = File.ReadLines("/proc/stat").First().Split(' ', StringSplitOptions.RemoveEmptyEntries);
        double all = 0;
        foreach (int field in (ReadOnlySpan<int>)[1, 2, 3, 6, 7, 8]) all += long.Parse(fields[field]);
        return all / TicksASecond - Environment.CpuUsage.TotalTime.TotalSeconds;
    }
}
