using ClipCuda.Tests.SoftCuda;

namespace ClipCuda.Tests;

/// <summary>
/// The devices that a test body runs on. Without CLIPCUDA_DEVICE these are the CPU's and <c>cuda</c> on a <see cref="SoftGpu"/>; with it, the named device
/// alone, and then <c>cuda</c> is the machine's own GPU, which must be there.
/// </summary>
internal static class TestDevices
{
    private static readonly string? Forced = Environment.GetEnvironmentVariable("CLIPCUDA_DEVICE");

    /// <summary>Whether a body runs on that device here.</summary>
    public static bool Runs(string name) => Forced is null ? name != "cuda" || SoftGpu.Missing is null : name == Forced;

    /// <summary>What <c>cuda</c> needs while a test runs: a soft GPU, or nothing where the real one is forced. Skips a test whose device does not run here.</summary>
    public static IDisposable? Prepare(string name)
    {
        // Whoever forces a device wants its results alone; the others are counted as skipped, not passed.
        if (Forced is not null && name != Forced) Assert.Ignore($"CLIPCUDA_DEVICE is {Forced}.");
        return name == "cuda" && Forced is null ? SoftGpu.Plug() : null;
    }
}
