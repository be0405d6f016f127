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

    public WarpGroup(PtxEntry entry, Instruction[] code, int index, int registerBytes, SharedChecker? checker)
    {
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

    /// <summary>Which 128 threads of the block these are.</summary>
    public int Index { get; }

    public SharedChecker? Checker { get; }

    public string Name => Entry.Name;

    public Dim3 Block { get; set; }

    public (int X, int Y, int Z) BlockIndex { get; set; }

    /// <summary>Makes the group ready for a new block: all its threads alive, at the first instruction.</summary>
    public void Start(int threads, byte* shared, byte* parameters)
    {
        int count = Math.Min(Lanes.Count, threads - Index * Lanes.Count);
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
        int thread = Index * Lanes.Count + lane;
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
