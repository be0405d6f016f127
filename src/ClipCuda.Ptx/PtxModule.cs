namespace ClipCuda.Ptx;

/// <summary>A PTX module: its entries, in the order of the file. Reading it checks syntax; what an engine runs is decided by the engine.</summary>
public sealed class PtxModule
{
    internal PtxModule(string name, IReadOnlyList<PtxEntry> entries)
    {
        Name = name;
        Entries = entries;
    }

    public string Name { get; }

    public IReadOnlyList<PtxEntry> Entries { get; }

    /// <summary>Reads PTX text.</summary>
    /// <exception cref="PtxException">The text is not PTX, or declares what is not supported; names module, line and column.</exception>
    public static PtxModule Parse(string text, string name) => new PtxParser(text, name).ParseModule();
}

/// <summary>A kernel's parameter: bytes <see cref="Offset"/> to Offset + Size of the argument block, naturally aligned as the driver lays it out.</summary>
public sealed record PtxParameter(string Name, int Offset, int Size);

/// <summary>One <c>.entry</c> of a module.</summary>
public sealed class PtxEntry
{
    internal PtxEntry(string module, string name)
    {
        Module = module;
        Name = name;
    }

    public string Module { get; }

    public string Name { get; }

    public IReadOnlyList<PtxParameter> Parameters { get; internal set; } = [];

    /// <summary>Shared memory that the entry declares itself.</summary>
    public int StaticSharedBytes { get; internal set; }

    /// <summary>The product of <c>.maxntid</c> or <c>.reqntid</c>; 0 where neither is given.</summary>
    public int MaxThreadsPerBlock { get; internal set; }

    /// <summary>
    /// It holds atomic instructions. Then <see cref="KernelProgram"/> runs it warp by warp, and whoever launches it must run its blocks in order on one
    /// thread: atomics are not atomic between threads of the host, and a sum of floats depends on the order.
    /// </summary>
    public bool HasAtomics => Instructions.Exists(i => i.Opcode.StartsWith("atom.", StringComparison.Ordinal) || i.Opcode.StartsWith("red.", StringComparison.Ordinal));

    /// <summary>It has barriers for part of a block, or several of them: only whole warps can wait at those.</summary>
    internal bool HasNamedBarriers => Instructions.Exists(i => IsBlockBarrier(i) && i.Operands is not [{ Kind: PtxOperandKind.Number, Value: 0 }]);

    internal static bool IsBlockBarrier(PtxInstruction instruction) => instruction.Opcode is "bar.sync" or "barrier.sync" or "barrier.sync.aligned";

    internal List<PtxRegister> Registers { get; } = [];

    internal List<PtxInstruction> Instructions { get; } = [];

    /// <summary>Shared variables by name: their offset; a dynamic array's is <see cref="DynamicShared"/>.</summary>
    internal Dictionary<string, int> SharedOffsets { get; } = new(StringComparer.Ordinal);

    internal const int DynamicShared = -1;

    /// <summary>Local variables by name: where they lie in each thread's own memory.</summary>
    internal Dictionary<string, int> LocalOffsets { get; } = new(StringComparer.Ordinal);

    /// <summary>Variables that calls in it take or give, until <see cref="Inliner"/> has replaced them: bytes and alignment.</summary>
    internal Dictionary<string, (int Bytes, int Alignment)> CallVariables { get; } = new(StringComparer.Ordinal);

    /// <summary>Local memory of a thread.</summary>
    internal int LocalBytes { get; set; }

    internal void AddLocal(string name, int bytes, int alignment)
    {
        int offset = (LocalBytes + alignment - 1) / alignment * alignment;
        LocalOffsets[name] = offset;
        LocalBytes = offset + bytes;
    }

    /// <summary>The .global and .const variables of its module.</summary>
    internal ModuleVariables Variables { get; init; } = new();
}

/// <summary>A .func: its body is an entry's, its parameters are those of the body.</summary>
internal sealed record PtxFunction(PtxEntry Body, IReadOnlyList<PtxParameter> Returns, bool IsDefined);

/// <summary>The variables that a call gives to and takes from a function.</summary>
internal sealed record PtxCall(string[] Returned, string[] Arguments);

/// <summary>A virtual register; predicates have 1 bit. IsFloat: declared as f32 or f64, which decides how the compiler keeps it, not what it may hold.</summary>
internal sealed record PtxRegister(string Name, int Bits, bool IsFloat = false);

internal sealed class PtxInstruction
{
    public required string Opcode { get; init; }

    public required PtxOperand[] Operands { get; init; }

    /// <summary>The register that guards it (<c>@%p</c>), or -1.</summary>
    public int Guard { get; init; } = -1;

    public bool GuardNegated { get; init; }

    /// <summary>Of a call, what it gives and takes.</summary>
    public PtxCall? Call { get; init; }

    public required int Line { get; init; }

    public required int Column { get; init; }

    /// <summary>Where in the CUDA source it comes from, such as <c>kernels/layernorm.cu:42</c>, or null.</summary>
    public string? Source { get; set; }

    /// <summary>The same as an index into the module's file table and a line; (0, 0) if unknown.</summary>
    public (int File, ulong Line) Location { get; init; }

    public override string ToString() => Opcode;
}

internal enum PtxOperandKind
{
    Register,

    /// <summary>An immediate; float literals are their bits.</summary>
    Number,

    /// <summary>A special register such as <c>%tid.x</c>, or the sink <c>_</c>.</summary>
    Special,

    /// <summary>A parameter or shared variable.</summary>
    Symbol,

    /// <summary>A branch target: an index into the instructions.</summary>
    Label,

    /// <summary><c>[base + offset]</c>.</summary>
    Address,

    /// <summary><c>{a, b}</c>.</summary>
    Vector,
}

/// <param name="Register">Index of the register (or of an address' base), or -1.</param>
/// <param name="Value">Bits of a number, offset of an address, index of a label's instruction.</param>
/// <param name="Name">Name of a symbol or special register (or of an address' base).</param>
internal sealed record PtxOperand(PtxOperandKind Kind, int Register = -1, long Value = 0, string Name = "", PtxOperand[]? Elements = null, bool IsFloatLiteral = false, bool Negated = false);
