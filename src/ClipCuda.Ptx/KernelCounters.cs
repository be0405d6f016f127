using System.Numerics;

namespace ClipCuda.Ptx;

/// <summary>
/// What a GPU's profiler would say of a kernel: instructions and how full their warps are, divergence, memory requests and the sectors they take, bank
/// conflicts. Only a checked <see cref="KernelProgram"/> counts, and what it counts is PTX as 32-lane warps run it: an assembler's own choices, caches and time
/// are not in it. Not safe for several threads: each has its own, which <see cref="Add"/> brings together.
/// </summary>
/// <param name="launch">What <see cref="MemoryMap.StartLaunch"/> gave; the same for all parts of one launch.</param>
public sealed class KernelCounters(PtxEntry entry, int launch)
{
    /// <summary>What memory is moved in (CUDA C++ Best Practices Guide, "Coalesced Access to Global Memory").</summary>
    public const int SectorBytes = 32;

    private const int Banks = 32, BankBytes = 4;

    private readonly long[] _executed = new long[entry.Instructions.Count];

    internal int Launch { get; } = launch;

    /// <summary>Instructions, one for each warp that issues it; a guarded one counts whatever its guard says.</summary>
    public long WarpInstructions { get; private set; }

    /// <summary>The same, one for each active thread.</summary>
    public long ThreadInstructions { get; private set; }

    /// <summary>Active threads of a warp on average, as a share of 32.</summary>
    public double ActiveLanes => Ratio(ThreadInstructions, WarpInstructions * Lanes.WarpLanes);

    /// <summary>Conditional branches, one for each warp.</summary>
    public long Branches { get; private set; }

    /// <summary>Those at which threads of the warp went both ways.</summary>
    public long DivergentBranches { get; private set; }

    /// <summary>Global memory that was read; an atomic counts here and in <see cref="Stores"/>.</summary>
    public GlobalTraffic Loads { get; } = new();

    public GlobalTraffic Stores { get; } = new();

    /// <summary>Loads and stores of shared memory, one for each warp.</summary>
    public long SharedRequests { get; private set; }

    /// <summary>
    /// Passes over shared memory beyond what the requests take without conflict. A pass serves any addresses of which no two are different words of one of
    /// 32 banks of 4 bytes (CUDA C++ Programming Guide, "Shared Memory"); 8 bytes a thread take a pass for each half of a warp, 16 one for each quarter.
    /// </summary>
    public long BankConflicts { get; private set; }

    /// <summary>How many warps executed an instruction, by its place in the entry: which code a launch reached.</summary>
    public IReadOnlyList<long> Executed => _executed;

    /// <summary>An empty one for another part of the same launch.</summary>
    public KernelCounters Another() => new(entry, Launch);

    /// <summary>Adds what another one of the same entry counted.</summary>
    public void Add(KernelCounters other)
    {
        for (int i = 0; i < _executed.Length; i++) _executed[i] += other._executed[i];
        WarpInstructions += other.WarpInstructions;
        ThreadInstructions += other.ThreadInstructions;
        Branches += other.Branches;
        DivergentBranches += other.DivergentBranches;
        Loads.Add(other.Loads);
        Stores.Add(other.Stores);
        SharedRequests += other.SharedRequests;
        BankConflicts += other.BankConflicts;
    }

    internal static double Ratio(long part, long whole) => whole == 0 ? 0 : (double)part / whole;

    /// <summary>An instruction that is about to run.</summary>
    internal void Step(in Lanes lanes, in Instruction at)
    {
        if (at.IsMarker) return;
        bool branch = entry.Instructions[at.Origin] is { Guard: >= 0 } guarded && ControlFlow.IsBranch(guarded);
        var (takenLow, takenHigh) = branch ? Control.Taken(lanes, at) : default;
        for (int warp = 0; warp < Lanes.Warps; warp++)
        {
            uint active = lanes.WarpMask(warp);
            if (active == 0) continue;
            _executed[at.Origin]++;
            WarpInstructions++;
            ThreadInstructions += BitOperations.PopCount(active);
            if (!branch) continue;
            uint taken = (uint)((warp < 2 ? takenLow : takenHigh) >> (warp * Lanes.WarpLanes));
            Branches++;
            if (taken != 0 && taken != active) DivergentBranches++;
        }
    }

    /// <summary>One warp's access to global memory by lanes at these addresses.</summary>
    internal void CountGlobal(ReadOnlySpan<long> addresses, int bytes, bool write, MemoryMap map)
    {
        if (addresses.IsEmpty) return;
        var traffic = write ? Stores : Loads;
        traffic.Requests++;
        traffic.Bytes += (long)addresses.Length * bytes;
        // An access is aligned and at most 16 bytes wide: it lies in one sector.
        Span<long> seen = stackalloc long[Lanes.WarpLanes];
        Span<uint> taken = stackalloc uint[Lanes.WarpLanes];
        int count = 0, asked = 0;
        foreach (long address in addresses)
        {
            long sector = address / SectorBytes;
            int at = count > 0 && seen[count - 1] == sector ? count - 1 : seen[..count].IndexOf(sector);
            if (at < 0) (seen[count], taken[count], at) = (sector, 0, count++);
            taken[at] |= ((1u << bytes) - 1) << (int)(address % SectorBytes);
        }
        for (int i = 0; i < count; i++)
        {
            var (first, fresh) = map.Touch(seen[i], taken[i], write, Launch);
            if (first) traffic.DistinctSectors++;
            traffic.DistinctBytes += BitOperations.PopCount(fresh);
            asked += BitOperations.PopCount(taken[i]);
        }
        traffic.Sectors += count;
        traffic.IdealSectors += (asked + SectorBytes - 1) / SectorBytes;
    }

    /// <summary>One warp's access to shared memory: the offset of every lane, or −1 where it takes no part.</summary>
    internal void CountShared(ReadOnlySpan<long> offsets, int bytes)
    {
        if (offsets.IndexOfAnyExcept(-1) < 0) return;
        SharedRequests++;
        int words = Math.Max(1, bytes / BankBytes), lanes = Lanes.WarpLanes / words;
        Span<long> seen = stackalloc long[Lanes.WarpLanes];
        Span<int> load = stackalloc int[Banks];
        for (int first = 0; first < Lanes.WarpLanes; first += lanes)
        {
            int count = 0;
            load.Clear();
            foreach (long offset in offsets.Slice(first, lanes))
            {
                for (int w = 0; offset >= 0 && w < words; w++)
                {
                    long word = offset / BankBytes + w;
                    if (seen[..count].Contains(word)) continue;
                    seen[count++] = word;
                    load[(int)(word % Banks)]++;
                }
            }
            int passes = 0;
            foreach (int bank in load) passes = Math.Max(passes, bank);
            if (passes > 1) BankConflicts += passes - 1;
        }
    }
}

/// <summary>What one kind of access to global memory moves.</summary>
public sealed class GlobalTraffic
{
    /// <summary>Instructions, one for each warp.</summary>
    public long Requests { get; internal set; }

    /// <summary>Bytes that threads asked for.</summary>
    public long Bytes { get; internal set; }

    /// <summary>32-byte sectors that the requests take, each on its own: 4 a request when 32 threads access neighbouring 4-byte numbers.</summary>
    public long Sectors { get; internal set; }

    /// <summary>Different sectors of a launch, summed over launches: what moves at least, however large the cache is.</summary>
    public long DistinctSectors { get; internal set; }

    /// <summary>Sectors that the requests would take if the bytes of each lay side by side.</summary>
    public long IdealSectors { get; internal set; }

    /// <summary>Different bytes of a launch, summed over launches.</summary>
    public long DistinctBytes { get; internal set; }

    public double SectorsPerRequest => KernelCounters.Ratio(Sectors, Requests);

    internal void Add(GlobalTraffic other)
    {
        Requests += other.Requests;
        Bytes += other.Bytes;
        Sectors += other.Sectors;
        DistinctSectors += other.DistinctSectors;
        IdealSectors += other.IdealSectors;
        DistinctBytes += other.DistinctBytes;
    }
}
