namespace ClipCuda.Ptx.Compiler;

/// <summary>What a web holds: decides the element type of the vectors that keep it.</summary>
internal enum ValueType
{
    Bits32,
    Float,
    Bits64,
    Double,

    /// <summary>A predicate: a lane mask of 32 bits a lane, all ones or zero; 0 or 1 where it is uniform.</summary>
    Predicate,
}

internal enum OperationKind
{
    /// <summary>Lane by lane, without side effects: arithmetic, moves, comparisons, parameters, special registers.</summary>
    Pure,
    Load,
    Store,
    Shuffle,

    /// <summary>What the compiler has no code of its own for: the interpreter's handler runs it, a call an instruction.</summary>
    Fallback,
}

internal enum MemorySpace
{
    /// <summary>Global, constant and generic addresses: the machine's own.</summary>
    Global,

    /// <summary>Offsets into the block's shared memory.</summary>
    Shared,
}

/// <summary>An operand: a register (later its web), a special register, or an immediate.</summary>
internal readonly record struct Source(int Web, ulong Bits = 0, string? Special = null)
{
    public bool IsWeb => Web >= 0;

    public bool IsConstant => Web < 0 && Special is null;

    public static Source Constant(ulong bits) => new(-1, bits);
}

/// <summary>
/// An instruction of the compiler: registers are numbers of the entry until <see cref="Webs"/> renames them; a guard has become a branch.
/// </summary>
internal sealed class Operation
{
    public required OperationKind Kind { get; init; }

    /// <summary>The PTX opcode; <c>param</c> for parameters, whose byte offset is <see cref="Offset"/>.</summary>
    public required string Opcode { get; init; }

    /// <summary>What a pure operation computes.</summary>
    public NativeOperation Native => field ??= Natives.Get(Opcode);

    /// <summary>The type at the end of the opcode, such as <c>f32</c>; for memory what memory holds.</summary>
    public required string Type { get; init; }

    public int[] Destinations { get; init; } = [];

    /// <summary>Sources; of loads the address, of stores the address and then the values.</summary>
    public Source[] Sources { get; init; } = [];

    public MemorySpace Space { get; init; }

    /// <summary>Added to the address.</summary>
    public long Offset { get; init; }

    /// <summary>Index into the entry's instructions.</summary>
    public required int Origin { get; init; }

    /// <summary>The entry's registers behind the webs, where the interpreter's handler may have to run the instruction.</summary>
    public int[] SourceRegisters { get; set; } = [];

    public int[] DestinationRegisters { get; set; } = [];

    public int Block { get; set; }

    /// <summary>Counts the operations of reachable blocks; see <see cref="Webs.Operations"/>.</summary>
    public int Number { get; set; }

    /// <summary>For each source the one definition that reaches it; null if it is none or several.</summary>
    public Operation?[] Reaching { get; set; } = [];

    public bool ReadsMemory => Kind is OperationKind.Load;

    public bool WritesMemory => Kind is OperationKind.Store or OperationKind.Fallback;

    public override string ToString() => $"{string.Join(",", Destinations)} = {Opcode} {string.Join(",", Sources)}";
}

internal enum BlockEnd
{
    /// <summary>To <see cref="BasicBlock.Target"/>.</summary>
    Jump,

    /// <summary>To <see cref="BasicBlock.Target"/> where the condition holds (or does not, if negated), else to <see cref="BasicBlock.Next"/>.</summary>
    Branch,
    Exit,
    Trap,

    /// <summary>All warps of the block wait for each other; then <see cref="BasicBlock.Target"/>.</summary>
    Barrier,
}

internal sealed class BasicBlock(int index)
{
    public int Index { get; } = index;

    public List<Operation> Operations { get; } = [];

    public BlockEnd End { get; set; }

    public int Target { get; set; } = -1;

    public int Next { get; set; } = -1;

    /// <summary>The predicate of a branch: a register, later its web.</summary>
    public int Condition { get; set; } = -1;

    public bool Negated { get; set; }

    /// <summary>The instruction at its end, for messages.</summary>
    public int Origin { get; set; }

    public IEnumerable<int> Successors()
    {
        if (End is BlockEnd.Jump or BlockEnd.Barrier or BlockEnd.Branch) yield return Target;
        if (End == BlockEnd.Branch && Next != Target) yield return Next;
    }
}
