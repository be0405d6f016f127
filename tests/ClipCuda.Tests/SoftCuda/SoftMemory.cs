using System.Runtime.InteropServices;
using ClipCuda.Devices;

namespace ClipCuda.Tests.SoftCuda;

/// <summary>The memory of a <see cref="SoftGpu"/>: allocations on the device, pinned memory of the host, and which accesses of them are ordered.</summary>
internal sealed unsafe class SoftMemory(SoftGpu gpu)
{
    private const int PoisonedBytes = 4 << 20;

    private readonly SortedList<ulong, SoftAllocation> _allocations = [];
    private readonly Dictionary<ulong, PinnedMemory> _pinned = [];
    private readonly List<SoftAllocation> _condemned = []; // freed, though a free in a stream that broke has not run

    public long UsedBytes { get; private set; }

    public int Live => _allocations.Count + _pinned.Count;

    /// <summary>Contents are undefined, so they are NaN.</summary>
    public SoftAllocation Allocate(long bytes)
    {
        if (bytes <= 0) throw gpu.Misuse(1, $"an allocation of {bytes} bytes");
        if (bytes > gpu.MemoryBytes - UsedBytes) throw new SoftError(CudaDriver.OutOfMemory);
        var allocation = new SoftAllocation(gpu.Engine.Allocate(bytes, "soft allocation"));
        if (gpu.Engine.Name == "cpu") new Span<byte>((void*)allocation.Address, (int)Math.Min(bytes, PoisonedBytes)).Fill(0xFF);
        _allocations.Add(allocation.Address, allocation);
        UsedBytes += bytes;
        return allocation;
    }

    /// <summary>Takes an allocation out of the table; its memory goes when <see cref="SoftAllocation.Buffer"/> is disposed of.</summary>
    public SoftAllocation Free(ulong address, string call)
    {
        if (!_allocations.Remove(address, out var allocation)) throw gpu.Misuse(1, $"{call}: {address:x} is no live allocation");
        allocation.IsFreed = true;
        _condemned.Add(allocation);
        UsedBytes -= allocation.Buffer.Bytes;
        return allocation;
    }

    /// <summary>The live allocation that holds the whole range.</summary>
    public DevicePointer Find(ulong address, long bytes, string call)
    {
        var allocation = Holding(address) ?? throw gpu.Misuse(1, $"{call}: {address:x} lies in no live allocation{(IsPinned(address, 1) ? " but in host memory" : "")}");
        long offset = (long)(address - allocation.Address);
        if (bytes < 0 || bytes > allocation.Buffer.Bytes - offset)
            throw gpu.Misuse(1, $"{call}: {bytes} bytes at {offset} of an allocation of {allocation.Buffer.Bytes}");
        return allocation.Buffer.At(offset);
    }

    public SoftAllocation? Holding(ulong address)
    {
        int low = 0, high = _allocations.Count - 1;
        while (low <= high)
        {
            int middle = (low + high) / 2;
            var allocation = _allocations.Values[middle];
            if (address < allocation.Address) high = middle - 1;
            else if (address >= allocation.Address + (ulong)allocation.Buffer.Bytes) low = middle + 1;
            else return allocation;
        }
        return null;
    }

    public void* AllocatePinned(long bytes)
    {
        void* memory = NativeMemory.AlignedAlloc((nuint)bytes, 256);
        _pinned.Add((ulong)memory, new PinnedMemory(bytes));
        return memory;
    }

    public void FreePinned(void* memory, string call)
    {
        if (!_pinned.TryGetValue((ulong)memory, out var pinned)) throw gpu.Misuse(1, $"{call}: {(ulong)memory:x} is no pinned memory");
        if (pinned.Uses.Exists(use => !gpu.Streams.HostHasSeen(use.Stream, use.Tick))) throw gpu.Misuse(1, $"{call}: a copy may still use the memory");
        _pinned.Remove((ulong)memory);
        NativeMemory.AlignedFree(memory);
    }

    /// <summary>Demands pinned memory, as copies that run beside the host need it, and notes who uses it.</summary>
    public void UsePinned(ulong address, long bytes, SoftStream stream, string call)
    {
        var pinned = _pinned.FirstOrDefault(p => address >= p.Key && address + (ulong)bytes <= p.Key + (ulong)p.Value.Bytes).Value
            ?? throw gpu.Misuse(1, $"{call}: {bytes} bytes at {address:x} are {(Holding(address) is null ? "pageable" : "device")} memory, not pinned");
        pinned.Uses.RemoveAll(use => use.Stream == stream.Number);
        pinned.Uses.Add((stream.Number, stream.NextTick));
    }

    public void Clear()
    {
        foreach (var allocation in _allocations.Values.Concat(_condemned)) allocation.Buffer.Dispose();
        _condemned.Clear();
        foreach (ulong pinned in _pinned.Keys) NativeMemory.AlignedFree((void*)pinned);
        _allocations.Clear();
        _pinned.Clear();
        UsedBytes = 0;
    }

    private bool IsPinned(ulong address, long bytes) => _pinned.Any(p => address >= p.Key && address + (ulong)bytes <= p.Key + (ulong)p.Value.Bytes);

    private sealed record PinnedMemory(long Bytes)
    {
        public List<(int Stream, long Tick)> Uses { get; } = [];
    }
}

/// <summary>Device memory, and the accesses that nothing later has superseded.</summary>
internal sealed class SoftAllocation(DeviceBuffer buffer)
{
    public DeviceBuffer Buffer { get; } = buffer;

    public ulong Address => Buffer.Address;

    public bool IsFreed { get; set; }

    public List<(int Stream, long Tick, long Start, long End, bool Writes)> Accesses { get; } = [];
}

/// <summary>Bytes that a piece of work reads or writes.</summary>
internal readonly record struct SoftAccess(SoftAllocation Allocation, long Start, long End, bool Writes)
{
    public static SoftAccess Whole(SoftAllocation allocation, bool writes) => new(allocation, 0, allocation.Buffer.Bytes, writes);
}
