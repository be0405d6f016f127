using System.Numerics;

namespace ClipCuda.Ptx;

/// <summary>Whether a program checks every access; a type, so that the unchecked engine holds no trace of it.</summary>
internal interface IChecks
{
    static abstract bool Enabled { get; }
}

internal readonly struct Unchecked : IChecks
{
    public static bool Enabled => false;
}

internal readonly struct Checked : IChecks
{
    public static bool Enabled => true;
}

/// <summary>
/// What check mode knows of a block: for each byte of shared memory which warp wrote it and which read it since the last barrier.
/// A read of another warp's write, or a write over another warp's read or write, within one barrier interval is a race. Warps
/// themselves run in lockstep. Global accesses are held against the <see cref="MemoryMap"/>.
/// </summary>
/// <param name="stepLimit">Instructions in one block after which a kernel counts as one that never ends.</param>
internal sealed unsafe class SharedChecker(MemoryMap map, long stepLimit)
{
    private const int NoWarp = -1, ManyWarps = -2, AtomicWarps = -3;

    /// <summary>Less a warp: only atomics of that warp wrote.</summary>
    private const int AtomicWarp = -4;

    private int[] _writer = [];
    private int[] _reader = [];
    private bool[] _written = [];
    private int _bytes;
    private long _steps;
    private bool _atomic;

    /// <summary>If set, what runs is counted into it.</summary>
    public KernelCounters? Counters { get; set; }

    public void StartBlock(int sharedBytes)
    {
        _bytes = sharedBytes;
        _steps = 0;
        if (_written.Length < sharedBytes) (_writer, _reader, _written) = (new int[sharedBytes], new int[sharedBytes], new bool[sharedBytes]);
        Array.Clear(_written);
        StartInterval();
    }

    /// <summary>All groups have come to a barrier: what was written is everybody's.</summary>
    public void StartInterval()
    {
        Array.Fill(_writer, NoWarp);
        Array.Fill(_reader, NoWarp);
    }

    public void CountStep(WarpGroup group, in Instruction at)
    {
        if (++_steps > stepLimit) throw group.Fault(at, $"still running after {stepLimit} instructions", 0);
        Counters?.Step(group.Lanes, at);
    }

    public void Read(ref Lanes lanes, in Instruction i, int bytes, bool shared) => Check(ref lanes, i, bytes, shared, write: false);

    public void Write(ref Lanes lanes, in Instruction i, int bytes, bool shared) => Check(ref lanes, i, bytes, shared, write: true);

    /// <summary>Atomic accesses of several warps to one place are no race with each other.</summary>
    public void Atomic(ref Lanes lanes, in Instruction i, int bytes, bool shared)
    {
        _atomic = true;
        Check(ref lanes, i, bytes, shared, write: false);
        Check(ref lanes, i, bytes, shared, write: true);
        _atomic = false;
    }

    private void Check(ref Lanes lanes, in Instruction i, int bytes, bool shared, bool write)
    {
        long* addresses = (long*)(lanes.Registers + i.A);
        var group = lanes.Group;
        if (Counters is not null) Count(ref lanes, addresses, i.Immediate, bytes, shared, write);
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (!lanes.IsActive(lane)) continue;
            long address = addresses[lane] + i.Immediate;
            string verb = write ? "write" : "read";
            if ((address & (bytes - 1)) != 0)
                throw group.Fault(i, $"misaligned {verb} of {bytes} bytes at address 0x{address:x}", lane);
            if (!shared && address >= (long)lanes.Shared && address + bytes <= (long)lanes.Shared + _bytes) address -= (long)lanes.Shared;
            else if (!shared)
            {
                if (group.Entry.Variables.Holds((ulong)address, bytes) || group.IsLocal(address, bytes, lane)) continue;
                if (map.Check((ulong)address, bytes, write) is { } problem) throw group.Fault(i, $"{verb} of {bytes} bytes {problem}", lane);
                continue;
            }
            if (address < 0 || address + bytes > _bytes)
                throw group.Fault(i, $"{verb} of {bytes} bytes at offset {address} of {_bytes} bytes of shared memory", lane);
            int warp = (group.FirstThread + lane) / Lanes.WarpLanes;
            for (int at = (int)address; at < (int)address + bytes; at++)
            {
                if (write) CheckSharedWrite(group, i, lane, warp, at);
                else CheckSharedRead(group, i, lane, warp, at);
            }
        }
    }

    private void Count(ref Lanes lanes, long* addresses, long shift, int bytes, bool shared, bool write)
    {
        Span<long> offsets = stackalloc long[Lanes.WarpLanes], global = stackalloc long[Lanes.WarpLanes];
        for (int warp = 0; warp < Lanes.Warps; warp++)
        {
            int count = 0;
            offsets.Fill(-1);
            for (uint left = lanes.WarpMask(warp); left != 0; left &= left - 1)
            {
                int lane = BitOperations.TrailingZeroCount(left), thread = warp * Lanes.WarpLanes + lane;
                long address = addresses[thread] + shift, offset = shared ? address : address - (long)lanes.Shared;
                if (offset >= 0 && offset + bytes <= _bytes) offsets[lane] = offset;
                else if (!shared && !lanes.Group.IsLocal(address, bytes, thread)) global[count++] = address;
            }
            Counters!.CountShared(offsets, bytes);
            Counters.CountGlobal(global[..count], bytes, write, map);
        }
    }

    /// <summary>Whether what was written is another warp's: to a plain access also its atomics, to an atomic only its plain writes.</summary>
    private bool IsForeign(int writer, int warp) => writer != NoWarp && writer != warp && writer != AtomicWarp - warp && (!_atomic || writer >= 0);

    private static string Name(int warp) => warp < NoWarp ? "an atomic" : $"warp {warp}";

    private void CheckSharedRead(WarpGroup group, in Instruction i, int lane, int warp, int at)
    {
        if (!_written[at]) throw group.Fault(i, $"read of uninitialised shared memory at offset {at}", lane);
        if (IsForeign(_writer[at], warp))
            throw group.Fault(i, $"race: reads shared memory at offset {at}, which {Name(_writer[at])} wrote since the last barrier", lane);
        if (_atomic) return;
        _reader[at] = _reader[at] == NoWarp || _reader[at] == warp ? warp : ManyWarps;
    }

    private void CheckSharedWrite(WarpGroup group, in Instruction i, int lane, int warp, int at)
    {
        if (IsForeign(_writer[at], warp))
            throw group.Fault(i, $"race: writes shared memory at offset {at}, which {Name(_writer[at])} wrote since the last barrier", lane);
        if (_reader[at] != NoWarp && _reader[at] != warp)
            throw group.Fault(i, $"race: writes shared memory at offset {at}, which another warp read since the last barrier", lane);
        if (!_atomic || _writer[at] == warp) _writer[at] = warp;
        else _writer[at] = _writer[at] == NoWarp || _writer[at] == AtomicWarp - warp ? AtomicWarp - warp : AtomicWarps;
        _written[at] = true;
    }
}
