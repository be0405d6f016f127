namespace ClipCuda.Devices;

/// <summary>
/// Device memory that is kept when it is freed and given out again, so that a steady state asks the driver for nothing. Blocks are handed out in the order of
/// one stream: what is asked for after a block was given back runs after all that was asked for before.
/// </summary>
/// <param name="allocate">Asks the driver; null if it has not that much.</param>
/// <param name="free">Gives a block back to the driver.</param>
internal sealed class CudaArena(Func<long, ulong?> allocate, Action<ulong> free)
{
    private const long Granule = 512, LargeGranule = 2 << 20;

    private readonly Dictionary<ulong, long> _sizes = [];
    private readonly SortedSet<(long Bytes, ulong Address)> _idle = [];

    /// <summary>Bytes that are kept and not in use.</summary>
    public long IdleBytes { get; private set; }

    /// <summary>The smallest idle block that fits and wastes at most a quarter, or else a new one; null if there is no memory left.</summary>
    public ulong? Allocate(long bytes)
    {
        if (bytes > long.MaxValue - LargeGranule) return null;
        long granule = bytes < LargeGranule / 2 ? Granule : LargeGranule, size = (bytes + granule - 1) / granule * granule;
        foreach (var block in _idle.GetViewBetween((size, 0), (size + size / 4, ulong.MaxValue)))
        {
            _idle.Remove(block);
            IdleBytes -= block.Bytes;
            return block.Address;
        }
        var address = allocate(size);
        if (address is null && _idle.Count > 0)
        {
            Trim();
            address = allocate(size);
        }
        if (address is { } found) _sizes.Add(found, size);
        return address;
    }

    public void Free(ulong address)
    {
        long bytes = _sizes[address];
        _idle.Add((bytes, address));
        IdleBytes += bytes;
    }

    /// <summary>Gives every idle block back to the driver.</summary>
    public void Trim()
    {
        foreach (var (_, address) in _idle)
        {
            _sizes.Remove(address);
            free(address);
        }
        _idle.Clear();
        IdleBytes = 0;
    }
}
