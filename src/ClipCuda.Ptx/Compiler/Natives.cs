namespace ClipCuda.Ptx.Compiler;

internal enum Native
{
    Add,
    Subtract,
    Multiply,
    MultiplyWide,
    MultiplyHigh,
    MultiplyAdd,
    MultiplyAddWide,
    Divide,
    Remainder,
    Minimum,
    Maximum,
    Negate,
    Absolute,
    And,
    Or,
    Xor,
    Not,
    ShiftLeft,
    ShiftRight,
    Fused,
    SquareRoot,
    Reciprocal,
    ReciprocalSquareRoot,
    Exp2,
    Saturate,
    RoundToEven,
    RoundDown,
    RoundUp,
    RoundToZero,
    Move,
    SharedToGeneric,
    GenericToShared,
    Select,
    Compare,
    Extend,
    Truncate,
    IntegerToFloat,
    Parameter,
}

/// <summary>Types an instruction computes in; signedness matters to some.</summary>
internal enum Number
{
    S32,
    U32,
    S64,
    U64,
    F32,
    Predicate,
}

internal enum Comparison
{
    None,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    IsNumber,
    IsNaN,
}

/// <param name="In">Type of the first source (of a comparison, of what is compared).</param>
/// <param name="Flush">Denormal inputs and outputs become zero (<c>.ftz</c>).</param>
/// <param name="Unordered">A comparison that holds if either is NaN.</param>
/// <param name="Combine">How a comparison is combined with a third predicate: And, Or, or Move for none.</param>
internal sealed record NativeOperation(Native Kind, Number In, Number Out, bool Flush = false, Comparison Comparison = Comparison.None, bool Unordered = false, Native Combine = Native.Move)
{
    /// <summary>Its result is a float that arithmetic made, so that a NaN has to become 7FFFFFFF before anybody sees its bits.</summary>
    public bool MakesNaN => Out == Number.F32 && Kind is not (Native.Move or Native.Select or Native.Parameter or Native.IntegerToFloat or Native.Saturate);

    /// <summary>Passes bits on as they are.</summary>
    public bool Copies => Kind is Native.Move or Native.Select;

    public bool IsCommutative => Kind is Native.Add or Native.Multiply or Native.Minimum or Native.Maximum or Native.And or Native.Or or Native.Xor;
}

/// <summary>The instructions for which the compiler emits code of its own. All others the interpreter's handlers run.</summary>
internal static class Natives
{
    private static readonly Dictionary<string, NativeOperation> Table = Build();

    public static bool Contains(string opcode) => Table.ContainsKey(opcode);

    public static NativeOperation Get(string opcode) => Table[opcode];

    public static bool IsSpecial(string name) =>
        name is "%laneid" || name.Split('.') is ["%tid" or "%ntid" or "%ctaid" or "%nctaid", "x" or "y" or "z"];

    private static Dictionary<string, NativeOperation> Build()
    {
        var table = new Dictionary<string, NativeOperation>(StringComparer.Ordinal);
        foreach (var (name, type) in new[] { ("s32", Number.S32), ("u32", Number.U32), ("s64", Number.S64), ("u64", Number.U64) })
        {
            Add(Native.Add, type, $"add.{name}");
            Add(Native.Subtract, type, $"sub.{name}");
            Add(Native.Multiply, type, $"mul.lo.{name}");
            Add(Native.MultiplyAdd, type, $"mad.lo.{name}");
            Add(Native.Divide, type, $"div.{name}");
            Add(Native.Remainder, type, $"rem.{name}");
            Add(Native.Minimum, type, $"min.{name}");
            Add(Native.Maximum, type, $"max.{name}");
            Add(Native.ShiftRight, type, $"shr.{name}");
            if (name[0] == 's')
            {
                Add(Native.Negate, type, $"neg.{name}");
                Add(Native.Absolute, type, $"abs.{name}");
            }
            Add(Native.Move, type, $"mov.{name}");
            Add(Native.Select, type, $"selp.{name}");
            Compares(type, name);
        }
        foreach (var (name, type) in new[] { ("b32", Number.U32), ("b64", Number.U64), ("pred", Number.Predicate) })
        {
            Add(Native.And, type, $"and.{name}");
            Add(Native.Or, type, $"or.{name}");
            Add(Native.Xor, type, $"xor.{name}");
            Add(Native.Not, type, $"not.{name}");
            Add(Native.Move, type, $"mov.{name}");
            if (type == Number.Predicate) continue;
            Add(Native.Select, type, $"selp.{name}");
            Add(Native.ShiftLeft, type, $"shl.{name}");
            Add(Native.ShiftRight, type, $"shr.{name}");
            Compare(Comparison.Equal, type, $"eq", name);
            Compare(Comparison.NotEqual, type, $"ne", name);
        }
        table.Add("mul.wide.s32", new(Native.MultiplyWide, Number.S32, Number.S64));
        table.Add("mul.wide.u32", new(Native.MultiplyWide, Number.U32, Number.U64));
        table.Add("mul.hi.s32", new(Native.MultiplyHigh, Number.S32, Number.S32));
        table.Add("mul.hi.u32", new(Native.MultiplyHigh, Number.U32, Number.U32));
        table.Add("mad.wide.s32", new(Native.MultiplyAddWide, Number.S32, Number.S64));
        table.Add("mad.wide.u32", new(Native.MultiplyAddWide, Number.U32, Number.U64));
        table.Add("cvt.s64.s32", new(Native.Extend, Number.S32, Number.S64));
        table.Add("cvt.u64.u32", new(Native.Extend, Number.U32, Number.U64));
        table.Add("cvt.s64.u32", new(Native.Extend, Number.U32, Number.S64));
        foreach (string opcode in (ReadOnlySpan<string>)["cvt.u32.u64", "cvt.s32.s64", "cvt.u32.s64"]) table.Add(opcode, new(Native.Truncate, Number.U64, Number.U32));
        foreach (string opcode in (ReadOnlySpan<string>)["cvta.to.global.u64", "cvta.global.u64"]) table.Add(opcode, new(Native.Move, Number.U64, Number.U64));
        table.Add("cvta.shared.u64", new(Native.SharedToGeneric, Number.U64, Number.U64));
        table.Add("cvta.to.shared.u64", new(Native.GenericToShared, Number.U64, Number.U64));
        table.Add("cvt.rn.f32.s32", new(Native.IntegerToFloat, Number.S32, Number.F32));
        table.Add("cvt.rn.f32.u32", new(Native.IntegerToFloat, Number.U32, Number.F32));
        table.Add("param", new(Native.Parameter, Number.U32, Number.U32));

        Add(Native.Add, Number.F32, "add.f32", "add.rn.f32");
        Add(Native.Subtract, Number.F32, "sub.f32", "sub.rn.f32");
        Add(Native.Multiply, Number.F32, "mul.f32", "mul.rn.f32");
        Add(Native.Divide, Number.F32, "div.rn.f32");
        Add(Native.Fused, Number.F32, "fma.rn.f32");
        Add(Native.Minimum, Number.F32, "min.f32");
        Add(Native.Maximum, Number.F32, "max.f32");
        Add(Native.Negate, Number.F32, "neg.f32");
        Add(Native.Absolute, Number.F32, "abs.f32");
        Add(Native.SquareRoot, Number.F32, "sqrt.rn.f32");
        Add(Native.Reciprocal, Number.F32, "rcp.rn.f32", "rcp.approx.f32");
        Add(Native.ReciprocalSquareRoot, Number.F32, "rsqrt.approx.f32");
        Add(Native.Exp2, Number.F32, "ex2.approx.f32");
        table.Add("ex2.approx.ftz.f32", new(Native.Exp2, Number.F32, Number.F32, Flush: true));
        table.Add("rcp.approx.ftz.f32", new(Native.Reciprocal, Number.F32, Number.F32, Flush: true));
        Add(Native.Saturate, Number.F32, "cvt.sat.f32.f32");
        Add(Native.RoundToEven, Number.F32, "cvt.rni.f32.f32");
        Add(Native.RoundDown, Number.F32, "cvt.rmi.f32.f32");
        Add(Native.RoundUp, Number.F32, "cvt.rpi.f32.f32");
        Add(Native.RoundToZero, Number.F32, "cvt.rzi.f32.f32");
        Add(Native.Move, Number.F32, "mov.f32");
        Add(Native.Select, Number.F32, "selp.f32");
        Compares(Number.F32, "f32");
        foreach (var (name, comparison) in Orders("u")) Compare(comparison, Number.F32, name, "f32", unordered: true);
        Compare(Comparison.IsNumber, Number.F32, "num", "f32");
        Compare(Comparison.IsNaN, Number.F32, "nan", "f32");
        return table;

        void Add(Native kind, Number type, params ReadOnlySpan<string> opcodes)
        {
            foreach (string opcode in opcodes) table.Add(opcode, new(kind, type, type));
        }

        void Compares(Number type, string name)
        {
            foreach (var (order, comparison) in Orders("")) Compare(comparison, type, order, name);
            if (name[0] != 'u') return;
            foreach (var (order, comparison) in new[] { ("lo", Comparison.Less), ("ls", Comparison.LessOrEqual), ("hi", Comparison.Greater), ("hs", Comparison.GreaterOrEqual) })
                Compare(comparison, type, order, name);
        }

        void Compare(Comparison comparison, Number type, string order, string name, bool unordered = false)
        {
            table.Add($"setp.{order}.{name}", new(Native.Compare, type, Number.Predicate, Comparison: comparison, Unordered: unordered));
            table.Add($"setp.{order}.and.{name}", new(Native.Compare, type, Number.Predicate, Comparison: comparison, Unordered: unordered, Combine: Native.And));
            table.Add($"setp.{order}.or.{name}", new(Native.Compare, type, Number.Predicate, Comparison: comparison, Unordered: unordered, Combine: Native.Or));
        }

        static (string, Comparison)[] Orders(string suffix) =>
            [($"eq{suffix}", Comparison.Equal), ($"ne{suffix}", Comparison.NotEqual), ($"lt{suffix}", Comparison.Less), ($"le{suffix}", Comparison.LessOrEqual),
                ($"gt{suffix}", Comparison.Greater), ($"ge{suffix}", Comparison.GreaterOrEqual)];
    }
}
