using ClipCuda.Ptx;

namespace ClipCuda.Devices;

/// <summary>
/// Where a device's time goes: seconds and calls a kernel and a GEMM shape. Set <see cref="Device.Profile"/> and it fills; every call is then
/// waited for, so that its time is its own. <c>cpu:check</c> also counts what its kernels do.
/// </summary>
public sealed class DeviceProfile
{
    private readonly Dictionary<string, Entry> _entries = new(StringComparer.Ordinal);

    /// <summary>What took the most time first.</summary>
    public IEnumerable<Entry> Entries => _entries.Values.OrderByDescending(e => e.Seconds);

    public double Seconds => _entries.Values.Sum(e => e.Seconds);

    public void Clear() => _entries.Clear();

    internal void Add(string name, bool isGemm, double seconds, double flops, long movedBytes)
    {
        var entry = Find(name, isGemm);
        entry.Calls++;
        entry.Seconds += seconds;
        entry.Flops += flops;
        entry.MovedBytes += movedBytes;
    }

    /// <summary>Adds the operations of a kernel that multiplies matrices; its op says so after launching it.</summary>
    public void AddFlops(string kernel, double flops) => _entries[kernel].Flops += flops;

    /// <summary>Adds what a launch counted.</summary>
    internal void Count(string kernel, KernelCounters counters)
    {
        var entry = Find(kernel, isGemm: false);
        if (entry.Counters is null) entry.Counters = counters;
        else entry.Counters.Add(counters);
    }

    private Entry Find(string name, bool isGemm)
    {
        if (!_entries.TryGetValue(name, out var entry)) _entries.Add(name, entry = new Entry(name, isGemm));
        return entry;
    }

    /// <summary>A kernel, by its entry name, or a GEMM, by its transposes and shape.</summary>
    public sealed class Entry(string name, bool isGemm)
    {
        public string Name { get; } = name;

        public bool IsGemm { get; } = isGemm;

        public long Calls { get; internal set; }

        public double Seconds { get; internal set; }

        /// <summary>Floating-point operations of a GEMM, and of kernels that multiply matrices where <see cref="AddFlops"/> was told of them.</summary>
        public double Flops { get; internal set; }

        /// <summary>Bytes of global memory that the kernel's launches have to read and write, each once, by what their arguments say; 0 for GEMMs.</summary>
        public long MovedBytes { get; internal set; }

        /// <summary>What a device that checks kernels counted in them, else null.</summary>
        public KernelCounters? Counters { get; internal set; }
    }
}
