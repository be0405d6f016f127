namespace ClipCuda.Devices;

/// <summary>
/// Where a device's time goes: seconds and calls a kernel and a GEMM shape. Set <see cref="Device.Profile"/> and it fills; every call is then
/// waited for, so that its time is its own.
/// </summary>
public sealed class DeviceProfile
{
    private readonly Dictionary<string, Entry> _entries = new(StringComparer.Ordinal);

    /// <summary>What took the most time first.</summary>
    public IEnumerable<Entry> Entries => _entries.Values.OrderByDescending(e => e.Seconds);

    public double Seconds => _entries.Values.Sum(e => e.Seconds);

    public void Clear() => _entries.Clear();

    internal void Add(string name, bool isGemm, double seconds, double flops)
    {
        if (!_entries.TryGetValue(name, out var entry)) _entries.Add(name, entry = new Entry(name, isGemm));
        entry.Calls++;
        entry.Seconds += seconds;
        entry.Flops += flops;
    }

    /// <summary>A kernel, by its entry name, or a GEMM, by its transposes and shape.</summary>
    public sealed class Entry(string name, bool isGemm)
    {
        public string Name { get; } = name;

        public bool IsGemm { get; } = isGemm;

        public long Calls { get; internal set; }

        public double Seconds { get; internal set; }

        /// <summary>Floating-point operations of a GEMM; of kernels nobody counts them here.</summary>
        public double Flops { get; internal set; }
    }
}
