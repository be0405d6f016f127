namespace ClipCuda.Ptx;

/// <summary>A PTX module: its entries, in the order of the file. What an engine runs is decided by the engine.</summary>
public sealed class PtxModule
{
    internal PtxModule(string name, IReadOnlyList<PtxEntry> entries)
    {
        Name = name;
        Entries = entries;
    }

    public string Name { get; }

    public IReadOnlyList<PtxEntry> Entries { get; }

    /// <summary>Reads PTX text, all of it.</summary>
    /// <exception cref="PtxException">The text is not PTX, or declares what is not supported; names module, line and column.</exception>
    public static PtxModule Parse(string text, string name) => new PtxParser(text, name).ParseModule(bodies: true);

    /// <summary>Reads PTX text but for the bodies of entries and functions: an entry's is read, with those of the functions it calls, when it is first asked for.</summary>
    /// <exception cref="PtxException">What is outside of bodies is not PTX or not supported, or a body has no end; names module, line and column.</exception>
    public static PtxModule ParseOnDemand(string text, string name) => new PtxParser(text, name).ParseModule(bodies: false);
}

/// <summary>A kernel's parameter: bytes <see cref="Offset"/> to Offset + Size of the argument block, naturally aligned as the driver lays it out.</summary>
public sealed record PtxParameter(string Name, int Offset, int Size);

/// <summary>
/// One <c>.entry</c> of a module. Its body may not have been read yet (<see cref="PtxModule.ParseOnDemand"/>): then whoever first asks for anything in it
/// reads it, safely from many threads at once, and whoever asks for anything in one that is wrong gets the <see cref="PtxException"/>.
/// </summary>
public sealed class PtxEntry
{
    private readonly Lazy<PtxBody> _body;

    /// <param name="readBody">Reads the body, with all calls replaced.</param>
    internal PtxEntry(string module, string name, Func<PtxBody> readBody)
    {
        Module = module;
        Name = name;
        _body = new Lazy<PtxBody>(readBody);
    }

    public string Module { get; }

    public string Name { get; }

    public IReadOnlyList<PtxParameter> Parameters { get; internal init; } = [];

    /// <summary>The product of <c>.maxntid</c> or <c>.reqntid</c>; 0 where neither is given.</summary>
    public int MaxThreadsPerBlock { get; internal init; }

    /// <summary>Shared memory that the entry declares itself.</summary>
    /// <exception cref="PtxException">The body is not PTX, or declares what is not supported; names module, line and column.</exception>
    public int StaticSharedBytes => _body.Value.StaticSharedBytes;

    /// <summary>
    /// It holds atomic instructions. Then <see cref="KernelProgram"/> runs it warp by warp, and whoever launches it must run its blocks in order on one
    /// thread: atomics are not atomic between threads of the host, and a sum of floats depends on the order.
    /// </summary>
    /// <exception cref="PtxException">The body is not PTX, or declares what is not supported; names module, line and column.</exception>
    public bool HasAtomics => Instructions.Exists(i => i.Opcode.StartsWith("atom.", StringComparison.Ordinal) || i.Opcode.StartsWith("red.", StringComparison.Ordinal));

    /// <summary>It has barriers for part of a block, or several of them: only whole warps can wait at those.</summary>
    internal bool HasNamedBarriers => Instructions.Exists(i => PtxBody.IsBlockBarrier(i) && i.Operands is not [{ Kind: PtxOperandKind.Number, Value: 0 }]);

    /// <inheritdoc cref="PtxBody.Registers"/>
    internal List<PtxRegister> Registers => _body.Value.Registers;

    internal List<PtxInstruction> Instructions => _body.Value.Instructions;

    /// <inheritdoc cref="PtxBody.SharedOffsets"/>
    internal Dictionary<string, int> SharedOffsets => _body.Value.SharedOffsets;

    /// <inheritdoc cref="PtxBody.LocalOffsets"/>
    internal Dictionary<string, int> LocalOffsets => _body.Value.LocalOffsets;

    /// <inheritdoc cref="PtxBody.LocalBytes"/>
    internal int LocalBytes => _body.Value.LocalBytes;

    /// <summary>The .global and .const variables of its module.</summary>
    internal ModuleVariables Variables { get; init; } = new();

    /// <summary>Reads the body now if nobody has yet.</summary>
    internal void ReadBody() => _ = _body.Value;
}

/// <summary>A .func; without a body it is declared only.</summary>
/// <param name="Body">Read when an entry that calls it is.</param>
internal sealed record PtxFunction(IReadOnlyList<PtxParameter> Parameters, IReadOnlyList<PtxParameter> Returns, Lazy<PtxBody>? Body);

/// <summary>The variables that a call gives to and takes from a function.</summary>
internal sealed record PtxCall(string[] Returned, string[] Arguments);

/// <summary>A virtual register; predicates have 1 bit. IsFloat: declared as f32 or f64, which decides how the compiler keeps it, not what it may hold.</summary>
internal sealed record PtxRegister(string Name, int Bits, bool IsFloat = false);

internal sealed class PtxInstruction
{
    public required string Opcode { get; init; }

    /// <summary>What stands between the dots of the opcode.</summary>
    public string[] OpcodeParts => field ??= Opcode.Split('.');

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
