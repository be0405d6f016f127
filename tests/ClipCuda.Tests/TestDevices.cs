using ClipCuda.Devices;
using ClipCuda.Tests.SoftCuda;

namespace ClipCuda.Tests;

/// <summary>
/// The devices that a test body runs on. Without CLIPCUDA_DEVICE these are the CPU's and <c>cuda</c> and, if its plug-in is there, <c>managedcuda</c> on a
/// <see cref="SoftGpu"/>; with it, the named device alone, and then the latter two are the machine's own GPU, which must be there. How many bodies ran on each is told at the end.
/// </summary>
internal static class TestDevices
{
    public const string Cpu = "cpu";

    private static readonly string? Forced = Environment.GetEnvironmentVariable("CLIPCUDA_DEVICE");
    private static readonly SortedDictionary<string, int> Bodies = new(StringComparer.Ordinal);

    /// <summary>One of each kind, <c>managedcuda</c> among them whether or not its plug-in is there: what a test runs on that takes long.</summary>
    public static string[] Names { get; } = [Cpu, "cpu:check", CudaDevice.Kind, ManagedCudaPlugIn.Kind];

    /// <summary>What a test that names an engine of the CPU's runs on: those, which is <see cref="Cpu"/>, and the others in their place.</summary>
    public static IEnumerable<string> Replacements => Forced is not null ? [Forced.StartsWith(Cpu, StringComparison.Ordinal) ? Cpu : Forced] : Names.Where(name => name != "cpu:check" && Runs(name));

    /// <summary>Whether the machine's own GPU is what tests run on.</summary>
    public static bool ForcesGpu => Forced is not null && !Forced.StartsWith(Cpu, StringComparison.Ordinal);

    /// <summary>Whether a body runs on that device here.</summary>
    public static bool Runs(string name) => Forced is null ? !IsSoft(name) || (SoftGpu.Missing is null && (name != ManagedCudaPlugIn.Kind || ManagedCudaPlugIn.IsThere)) : name == Forced;

    /// <summary>
    /// Counts a body that runs on a device, and gives what <c>cuda</c> needs meanwhile: a soft GPU, or nothing where the real one is forced. Skips a test whose device
    /// does not run here.
    /// </summary>
    public static IDisposable? Prepare(string name)
    {
        // Whoever forces a device wants its results alone; the others are counted as skipped, not passed.
        if (Forced is not null && name != Forced && !(name == Cpu && Forced.StartsWith(Cpu, StringComparison.Ordinal))) Assert.Ignore($"CLIPCUDA_DEVICE is {Forced}.");
        if (name == ManagedCudaPlugIn.Kind && !ManagedCudaPlugIn.IsThere && Forced is null) Assert.Ignore("The ManagedCuda plug-in is not built (./build.sh build managedcuda).");
        var gpu = IsSoft(name) && Forced is null ? SoftGpu.Plug() : null;
        lock (Bodies) Bodies[name] = Bodies.GetValueOrDefault(name) + 1;
        return gpu;
    }

    /// <summary>What ran where, in one line.</summary>
    public static string Matrix()
    {
        lock (Bodies)
        {
            if (Bodies.Count == 0) return "";
            string missing = SoftGpu.Missing is { } reason ? $"; none on cuda: {reason}" : ManagedCudaPlugIn.IsThere ? "" : "; none on managedcuda: its plug-in is not built";
            string forced = Forced is null ? "" : $" (CLIPCUDA_DEVICE is {Forced})";
            return $"Test bodies by device: {string.Join(", ", Bodies.Select(body => $"{body.Key}{(IsSoft(body.Key) && Forced is null ? " on the soft driver" : "")} {body.Value:N0}"))}{missing}{forced}";
        }
    }

    private static bool IsSoft(string name) => name is CudaDevice.Kind or ManagedCudaPlugIn.Kind;
}

/// <summary>Tells, when all tests are through, what ran where.</summary>
[SetUpFixture]
public sealed class DeviceMatrix
{
    [OneTimeTearDown]
    public void Tell()
    {
        if (TestDevices.Matrix() is { Length: > 0 } matrix) TestContext.Error.WriteLine(matrix);
    }
}
