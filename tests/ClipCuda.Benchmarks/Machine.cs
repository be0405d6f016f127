using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using TorchSharp;

namespace ClipCuda.Benchmarks;

/// <summary>What the numbers were measured on and with.</summary>
internal sealed record Machine(
    string Processor, int Cores, string Vectors, string System, string DotNet, string LibTorch, string TorchSharp, string Device, int Threads, string Date)
{
    public static Machine Current(string device, int threads) => new(
        ProcessorName(), Environment.ProcessorCount, WidestVector(), SystemName(), Environment.Version.ToString(), torch.__version__,
        typeof(torch).Assembly.GetName().Version?.ToString(3) ?? "unknown", device, threads, DateTime.UtcNow.ToString("yyyy-MM-dd"));

    private static string ProcessorName() =>
        FieldOf("/proc/cpuinfo", "model name", ':') ?? Environment.GetEnvironmentVariable("PROCESSOR_IDENTIFIER") ?? RuntimeInformation.ProcessArchitecture.ToString();

    private static string SystemName() => FieldOf("/etc/os-release", "PRETTY_NAME", '=')?.Trim('"') ?? RuntimeInformation.OSDescription;

    private static string WidestVector() =>
        Vector512.IsHardwareAccelerated ? "512-bit" : Vector256.IsHardwareAccelerated ? "256-bit" : Vector128.IsHardwareAccelerated ? "128-bit" : "none";

    private static string? FieldOf(string file, string field, char separator)
    {
        if (!File.Exists(file)) return null;
        string? line = File.ReadLines(file).FirstOrDefault(l => l.StartsWith(field, StringComparison.Ordinal));
        return line?[(line.IndexOf(separator, StringComparison.Ordinal) + 1)..].Trim();
    }
}
