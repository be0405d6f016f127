using System.Numerics;

namespace ClipCuda.Ptx;

/// <summary>
/// The live regions of global memory and, byte by byte, which of it has been written: what check mode holds every access against.
/// Regions may be added and removed between launches only.
/// </summary>
/// <param name="tracksWrites">False where only the regions matter, which then need no memory for their bytes.</param>
public sealed class MemoryMap(bool tracksWrites = true)
{
    private readonly SortedList<ulong, Region> _regions = [];
    private int _launches;

    public void Add(ulong start, long bytes, string label) => _regions.Add(start, new Region(start, bytes, label, tracksWrites));

    public void Remove(ulong start) => _regions.Remove(start);

    /// <summary>Marks bytes as written by the host or by a library.</summary>
    public void MarkInitialised(ulong start, long bytes)
    {
        if (Find(start) is not { } region) throw new ArgumentException($"No region holds address 0x{start:x}.", nameof(start));
        region.Written.AsSpan(checked((int)(start - region.Start)), checked((int)bytes)).Fill(true);
    }

    /// <summary>Where in a range of one region the first byte lies that has not been written, counted from its start; −1 if there is none.</summary>
    public long FirstUninitialised(ulong start, long bytes)
    {
        if (Find(start) is not { } region) throw new ArgumentException($"No region holds address 0x{start:x}.", nameof(start));
        return region.Written.AsSpan(checked((int)(start - region.Start)), checked((int)bytes)).IndexOf(false);
    }

    /// <summary>A number for a launch whose sectors are counted.</summary>
    public int StartLaunch() => ++_launches;

    /// <summary>Notes that a launch reads, or writes, bytes of a sector; returns whether it is the first time, and which bytes it had not before. Nothing is noted of what lies in no region.</summary>
    /// <param name="bytes">A bit a byte of the sector, one or more.</param>
    internal (bool First, uint Fresh) Touch(long sector, uint bytes, bool write, int launch)
    {
        ulong address = (ulong)sector * KernelCounters.SectorBytes + (uint)BitOperations.TrailingZeroCount(bytes);
        if (Find(address) is not { } region || address - region.Start >= (ulong)region.Bytes) return default;
        ref long touched = ref region.Touches(write)[(ulong)sector - region.Start / KernelCounters.SectorBytes];
        while (true)
        {
            long before = Volatile.Read(ref touched);
            bool first = (int)(before >> 32) != launch;
            uint known = first ? 0 : (uint)before;
            if (Interlocked.CompareExchange(ref touched, ((long)launch << 32) | known | bytes, before) == before) return (first, bytes & ~known);
        }
    }

    /// <summary>Null if the access is fine (a write is noted), else what is wrong with it.</summary>
    internal string? Check(ulong address, int bytes, bool write)
    {
        var region = Find(address);
        if (Misses(region, address, bytes) is { } problem) return problem;
        ulong offset = address - region!.Start;
        var written = region.Written.AsSpan((int)offset, bytes);
        if (write) written.Fill(true);
        else if (written.Contains(false)) return $"of uninitialised memory in buffer '{region.Label}' (offset {offset} of {region.Bytes})";
        return null;
    }

    /// <summary>Null if one region holds the bytes, else where they lie.</summary>
    internal string? Misses(ulong address, int bytes) => Misses(Find(address), address, bytes);

    private static string? Misses(Region? region, ulong address, int bytes)
    {
        if (region is null) return $"at 0x{address:x}, in no buffer";
        ulong offset = address - region.Start; // may exceed 2⁶³: addresses that a wrong kernel computes are anywhere
        if (offset > (ulong)region.Bytes || offset + (uint)bytes > (ulong)region.Bytes)
            return $"past the end of buffer '{region.Label}' (offset {offset} of {region.Bytes})";
        return null;
    }

    /// <summary>Start and end of the region that holds the addresses [start, end); null if none holds all of them.</summary>
    internal (ulong Start, ulong End)? Holding(ulong start, ulong end)
    {
        if (Find(start) is not { } region || end > region.Start + (ulong)region.Bytes) return null;
        return (region.Start, region.Start + (ulong)region.Bytes);
    }

    /// <summary>The last region that starts at or before an address.</summary>
    private Region? Find(ulong address)
    {
        var starts = _regions.Keys;
        int low = 0, high = starts.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (starts[middle] <= address) low = middle + 1;
            else high = middle;
        }
        return low == 0 ? null : _regions.Values[low - 1];
    }

    private sealed class Region(ulong start, long bytes, string label, bool tracksWrites)
    {
        public ulong Start { get; } = start;

        public long Bytes { get; } = bytes;

        public string Label { get; } = label;

        public bool[] Written { get; } = tracksWrites ? new bool[bytes] : [];

        private long[]? _read, _stored;

        /// <summary>The last launch that read, or wrote, each sector, and below it a bit for each of the bytes it took.</summary>
        public long[] Touches(bool write)
        {
            ref var touches = ref write ? ref _stored : ref _read;
            return touches ?? Interlocked.CompareExchange(ref touches, new long[Bytes / KernelCounters.SectorBytes + 2], null) ?? touches;
        }
    }
}
