using System.Runtime.CompilerServices;

namespace ClipCuda.Ptx;

/// <summary>
/// The memory of up to 128 threads of a block while they run: register file, active mask, stack of waiting lanes. Groups of a block take
/// turns at barriers; a group is used again for the same place of the next block.
/// </summary>
internal sealed unsafe class WarpGroup
{
    public const int StackEntries = 256;

    private readonly byte[] _memory;
    private readonly int _liveLanes;

    public WarpGroup(PtxEntry entry, Instruction[] code, int index, int registerBytes, SharedChecker? checker, int liveLanes = Lanes.Count)
    {
        _liveLanes = liveLanes;
        Entry = entry;
        Code = code;
        Index = index;
        Checker = checker;
        _memory = AllocateAligned(registerBytes + Lanes.Bytes32 + StackEntries * sizeof(ReconvergenceEntry), out byte* start);
        Lanes.Registers = start;
        Lanes.MaskVector = start + registerBytes;
        Lanes.Stack = (ReconvergenceEntry*)(start + registerBytes + Lanes.Bytes32);
        Lanes.Group = this;
    }

    public Lanes Lanes;

    public PtxEntry Entry { get; }

    public Instruction[] Code { get; }

    /// <summary>Which group of the block this is.</summary>
    public int Index { get; }

    /// <summary>The thread of lane 0. Where warps have to run one after another, a group uses 32 of its lanes only.</summary>
    public int FirstThread => Index * _liveLanes;

    /// <summary>The barrier at which the group waits, and for how many threads it waits there; 0: all.</summary>
    public (int Id, int Threads) Barrier { get; set; }

    public SharedChecker? Checker { get; }

    public string Name => Entry.Name;

    public Dim3 Block { get; set; }

    public (int X, int Y, int Z) BlockIndex { get; set; }

    /// <summary>Whether bytes lie in the local memory of a lane.</summary>
    public bool IsLocal(long address, int bytes, int lane)
    {
        long start = (long)Lanes.Registers + LocalStart + (long)lane * LocalStride;
        return address >= start && address + bytes <= start + Entry.LocalBytes;
    }

    /// <summary>Where in the register file local memory lies, for checks.</summary>
    public int LocalStart { get; set; }

    public int LocalStride { get; set; }

    /// <summary>Makes the group ready for a new block: all its threads alive, at the first instruction.</summary>
    public void Start(int threads, byte* shared, byte* parameters)
    {
        int count = Math.Min(_liveLanes, threads - FirstThread);
        ulong low = count >= 64 ? ulong.MaxValue : (1UL << count) - 1;
        ulong high = count >= 128 ? ulong.MaxValue : count <= 64 ? 0 : (1UL << (count - 64)) - 1;
        (Lanes.AliveLow, Lanes.AliveHigh) = (low, high);
        Lanes.SetMask(low, high);
        Lanes.StackDepth = 0;
        Lanes.Pc = 0;
        Lanes.Shared = shared;
        Lanes.Parameters = parameters;
        Lanes.State = RunState.Running;
    }

    /// <summary>Runs until the group exits or waits at a barrier.</summary>
    public void Run<TChecks>()
        where TChecks : struct, IChecks
    {
        Lanes.State = RunState.Running;
        fixed (Instruction* code = Code)
        {
            while (Lanes.State == RunState.Running)
            {
                ref readonly var instruction = ref code[Lanes.Pc++];
                if (TChecks.Enabled) Checker!.CountStep(this, instruction);
                if (Lanes.Full) instruction.Full(ref Lanes, instruction);
                else instruction.Masked(ref Lanes, instruction);
            }
        }
    }

    /// <summary>An error at an instruction: kernel, CUDA line, PTX line, block and thread.</summary>
    public PtxException Fault(in Instruction at, string what, int lane)
    {
        var instruction = Entry.Instructions[Math.Min(at.Origin, Entry.Instructions.Count - 1)];
        int thread = FirstThread + lane;
        var (x, y, z) = (thread % Block.X, thread / Block.X % Block.Y, thread / (Block.X * Block.Y));
        string source = instruction.Source is null ? "" : $"{instruction.Source} ";
        return new PtxException($"{Name}: {what}, at {source}({Entry.Module}:{instruction.Line}), block {BlockIndex}, thread {(x, y, z)}.");
    }

    /// <summary>Pinned zeroed memory that the collector frees; <paramref name="start"/> is its first multiple of 128.</summary>
    public static byte[] AllocateAligned(int bytes, out byte* start)
    {
        byte[] memory = GC.AllocateArray<byte>(bytes + 128, pinned: true);
        start = (byte*)(((nint)Unsafe.AsPointer(ref memory[0]) + 127) & ~127);
        return memory;
    }
}
