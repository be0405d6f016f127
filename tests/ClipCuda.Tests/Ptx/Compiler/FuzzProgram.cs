using ClipCuda.Ptx;

namespace ClipCuda.Tests.Ptx.Compiler;

/// <summary>Which threads hold the same value of a variable, or take a path together; a larger one implies the smaller.</summary>
internal enum Uniformity
{
    Lane,
    Warp,
    Block,
}

/// <summary>
/// A register of a random program, by the class of its value (p predicate, h b16, r b32, f f32, R b64, d f64). A variable that is uniform
/// is only ever written with uniform values in uniform code, which is what makes barriers and shuffles safe to generate.
/// </summary>
internal sealed record Variable(char Class, Uniformity Level, int Index)
{
    /// <summary>All that a program may use, in the order of their place in the dump.</summary>
    public static readonly Variable[] All =
    [
        .. Many('p', 5, 2, 2), .. Many('h', 3, 0, 1), .. Many('r', 7, 3, 4), .. Many('f', 5, 1, 2), .. Many('R', 4, 1, 3), .. Many('d', 2, 0, 1),
    ];

    public string Name => $"%{Class}{"lwb"[(int)Level]}{Index}";

    public override string ToString() => Name;

    private static IEnumerable<Variable> Many(char type, int lane, int warp, int block) =>
        Enumerable.Range(0, lane).Select(i => new Variable(type, Uniformity.Lane, i))
            .Concat(Enumerable.Range(0, warp).Select(i => new Variable(type, Uniformity.Warp, i)))
            .Concat(Enumerable.Range(0, block).Select(i => new Variable(type, Uniformity.Block, i)));
}

/// <summary>What an instruction reads: a variable, an immediate, or one of the registers that the prologue sets.</summary>
internal sealed record Operand(string Text, Uniformity Level, Variable? Variable = null)
{
    public static Operand Of(Variable variable) => new(variable.Name, variable.Level, variable);

    public static Operand Of(long number) => new(number.ToString(), Uniformity.Block);

    public override string ToString() => Text;
}

/// <summary><c>@%p</c> or <c>@!%p</c>.</summary>
internal sealed record Guard(Variable Predicate, bool Negated)
{
    public override string ToString() => $"@{(Negated ? "!" : "")}{Predicate} ";
}

/// <summary>How the address of a load or store comes from the thread.</summary>
internal enum Place
{
    /// <summary>Input, element (thread of the grid) · scale + offset.</summary>
    Grid,

    /// <summary>Input, element (thread of the block) · scale + (uniform index &amp; 63).</summary>
    Block,

    /// <summary>Input, element index &amp; 1023.</summary>
    Scattered,

    /// <summary>Input, element min(thread + scale, threads − 1).</summary>
    Clamped,

    /// <summary>Input, element threads − 1 − thread.</summary>
    Reversed,

    /// <summary>Input, element thread + scale − 2^32, for the threads only where that does not wrap.</summary>
    Wrapped,

    /// <summary>Input, the element that a grid-stride loop is at.</summary>
    Induction,

    /// <summary>The thread's own element of a plane of the output.</summary>
    Plane,

    /// <summary>The thread's own 64 bytes of the output.</summary>
    Own,

    /// <summary>The thread's own element of a plane in shared memory.</summary>
    SharedPlane,

    /// <summary>The thread's own 16 bytes of shared memory.</summary>
    SharedOwn,
}

internal sealed record Access(Place Place, string Type, int Elements, Operand Index, int Scale, int Offset, int Form)
{
    public int ElementBytes => int.Parse(Type.AsSpan(1)) / 8;

    public int Bytes => ElementBytes * Elements;

    public bool IsShared => Place is Place.SharedPlane or Place.SharedOwn;
}

internal enum LoopForm
{
    While,
    DoWhile,

    /// <summary>index = thread; while (index &lt; limit) index += threads.</summary>
    Stride,
}

internal enum Departure
{
    Break,
    Continue,
    Return,
    Exit,
}

internal abstract record Statement;

internal sealed record Assign(string Opcode, Variable Target, Operand[] Sources, Guard? Guard) : Statement;

internal sealed record Widen(Variable Target, Operand Index, int Scale, int Offset, int Form) : Statement;

internal sealed record Load(Variable[] Targets, Access Access, Guard? Guard) : Statement;

internal sealed record Store(Operand[] Values, Access Access, Guard? Guard) : Statement;

internal sealed record If(Guard Condition, Statement[] Then, Statement[] Else) : Statement;

internal sealed record Loop(LoopForm Form, Operand Trips, int Limit, Statement[] Body, int Depth) : Statement;

internal sealed record Leave(Departure Kind, Guard? Guard) : Statement;

internal sealed record Barrier : Statement;

internal sealed record Shuffle(Variable Target, Variable? InRange, string Mode, Operand Value, Operand Amount, int Clamp) : Statement;

/// <summary>Butterflies by 16, 8, 4, 2 and 1 (or fewer), each with a combining instruction.</summary>
internal sealed record Reduce(Variable Target, Operand Value, string Opcode, int Smallest) : Statement;

/// <summary>Every thread writes its slot of shared memory, and reads another's after a barrier.</summary>
internal sealed record Exchange(Variable Target, Operand Value, Operand? Second, Guard? Guard, Operand Index, int Form) : Statement;

/// <summary>A random program: what stands between the prologue, which gives every variable a first value, and the epilogue, which dumps them.</summary>
internal sealed record FuzzProgram(int Seed, LaunchShape Shape, Statement[] Body)
{
    public int Threads => (int)Shape.Block.Count;

    public int GridThreads => (int)(Shape.Grid.Count * Shape.Block.Count);

    public bool WholeWarps => Threads % 32 == 0;

    public override string ToString() => $"program {Seed}, grid {Shape.Grid}, block {Shape.Block}\n{ProgramWriter.Write(this)}";
}
