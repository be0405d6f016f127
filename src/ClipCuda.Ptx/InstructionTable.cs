namespace ClipCuda.Ptx;

/// <summary>Width in bits of an operand's register as it lies in the file: 32 (also 16-bit registers and predicates) or 64.</summary>
internal enum Width
{
    None = 0,
    W32 = Lanes.Bytes32,
    W64 = Lanes.Bytes64,
}

/// <summary>How an instruction is run: its handlers and the widths of its operands.</summary>
internal sealed unsafe class InstructionRow(
    delegate*<ref Lanes, in Instruction, void> full, delegate*<ref Lanes, in Instruction, void> masked, Width d, Width a, Width b, Width c, Width e = Width.None)
{
    public delegate*<ref Lanes, in Instruction, void> Full { get; } = full;

    public delegate*<ref Lanes, in Instruction, void> Masked { get; } = masked;

    public Width D { get; } = d;

    public Width A { get; } = a;

    public Width B { get; } = b;

    public Width C { get; } = c;

    /// <summary>A fourth source, which lies at <see cref="Instruction.D1"/>.</summary>
    public Width E { get; } = e;

    public int Sources => E != Width.None ? 4 : C != Width.None ? 3 : B != Width.None ? 2 : 1;
}

/// <summary>
/// The one table of elementwise instructions: opcode → handlers. Adding one is a line here, and a row in its test. Memory, control and
/// shuffles, whose operands have forms of their own, are decoded in <see cref="Decoder"/>.
/// </summary>
internal static unsafe class InstructionTable
{
    private static readonly Dictionary<string, InstructionRow> Rows = Build();

    public static IReadOnlyCollection<string> Opcodes => Rows.Keys;

    public static InstructionRow? Find(string opcode) => Rows.GetValueOrDefault(opcode);

    private static Dictionary<string, InstructionRow> Build()
    {
        var rows = new Dictionary<string, InstructionRow>(StringComparer.Ordinal);

        // Integers. Addition, multiplication and logic are the same for both signs.
        Binary<uint, Add<uint>>("add.s32", "add.u32");
        Binary<ulong, Add<ulong>>("add.s64", "add.u64");
        Binary<uint, Subtract<uint>>("sub.s32", "sub.u32");
        Binary<ulong, Subtract<ulong>>("sub.s64", "sub.u64");
        Binary<uint, Multiply<uint>>("mul.lo.s32", "mul.lo.u32");
        Binary<ulong, Multiply<ulong>>("mul.lo.s64", "mul.lo.u64");
        Ternary<uint, MultiplyAdd<uint>>("mad.lo.s32", "mad.lo.u32");
        Ternary<ulong, MultiplyAdd<ulong>>("mad.lo.s64", "mad.lo.u64");
        Wide<long, AllLanes>("mul.wide.s32");
        Wide<ulong, AllLanes>("mul.wide.u32");
        Wide<long, SomeLanes>("mad.wide.s32");
        Wide<ulong, SomeLanes>("mad.wide.u32");
        Scalar<uint, MultiplyHigh32>("mul.hi.u32");
        Scalar<int, MultiplyHighSigned32>("mul.hi.s32");
        Scalar<ulong, MultiplyHigh64>("mul.hi.u64");
        Scalar<int, Divide<int>>("div.s32");
        Scalar<uint, Divide<uint>>("div.u32");
        Scalar<long, Divide<long>>("div.s64");
        Scalar<ulong, Divide<ulong>>("div.u64");
        Scalar<int, Remainder<int>>("rem.s32");
        Scalar<uint, Remainder<uint>>("rem.u32");
        Scalar<long, Remainder<long>>("rem.s64");
        Scalar<ulong, Remainder<ulong>>("rem.u64");
        Binary<int, Minimum<int>>("min.s32");
        Binary<uint, Minimum<uint>>("min.u32");
        Binary<long, Minimum<long>>("min.s64");
        Binary<ulong, Minimum<ulong>>("min.u64");
        Binary<int, Maximum<int>>("max.s32");
        Binary<uint, Maximum<uint>>("max.u32");
        Binary<long, Maximum<long>>("max.s64");
        Binary<ulong, Maximum<ulong>>("max.u64");
        Unary<int, Negate<int>>("neg.s32");
        Unary<long, Negate<long>>("neg.s64");
        Unary<int, Absolute<int>>("abs.s32");
        Unary<long, Absolute<long>>("abs.s64");
        Binary<uint, And<uint>>("and.b32", "and.b16", "and.pred");
        Binary<ulong, And<ulong>>("and.b64");
        Binary<uint, Or<uint>>("or.b32", "or.b16", "or.pred");
        Binary<ulong, Or<ulong>>("or.b64");
        Binary<uint, Xor<uint>>("xor.b32", "xor.b16", "xor.pred");
        Binary<ulong, Xor<ulong>>("xor.b64");
        Unary<uint, Not<uint>>("not.b32", "not.pred");
        Unary<ulong, Not<ulong>>("not.b64");
        Binary<uint, ShiftLeft32>("shl.b32");
        Binary<uint, ShiftRight32>("shr.u32", "shr.b32");
        Binary<int, ShiftRightSigned32>("shr.s32");
        Shift64<ShiftLeft64>("shl.b64");
        Shift64<ShiftRight64>("shr.u64", "shr.b64");
        Shift64<ShiftRightSigned64>("shr.s64");
        ScalarTernary<uint, BitFieldExtract>("bfe.u32");
        ScalarUnary<uint, uint, PopulationCount>("popc.b32");
        ScalarUnary<uint, uint, LeadingZeros>("clz.b32");

        // Floats.
        Binary<float, AddFloat>("add.f32", "add.rn.f32");
        Binary<float, SubtractFloat>("sub.f32", "sub.rn.f32");
        Binary<float, MultiplyFloat>("mul.f32", "mul.rn.f32");
        Binary<float, DivideFloat>("div.rn.f32");
        Binary<float, MinimumFloat>("min.f32");
        Binary<float, MaximumFloat>("max.f32");
        Ternary<float, FusedMultiplyAdd>("fma.rn.f32");
        Unary<float, NegateFloat>("neg.f32");
        Unary<float, AbsoluteFloat>("abs.f32");
        Unary<float, SquareRoot>("sqrt.rn.f32");
        Unary<float, Reciprocal>("rcp.rn.f32", "rcp.approx.f32");
        Unary<float, ReciprocalFlush>("rcp.approx.ftz.f32");
        Unary<float, ReciprocalSquareRoot>("rsqrt.approx.f32");
        Unary<float, Exp2>("ex2.approx.f32");
        Unary<float, Exp2Flush>("ex2.approx.ftz.f32");

        // Moves and choices.
        Unary<uint, Copy<uint>>("mov.b32", "mov.u32", "mov.s32", "mov.f32", "mov.pred", "mov.u16", "mov.s16", "mov.b16", "cvta.to.global.u32");
        Unary<ulong, Copy<ulong>>("mov.b64", "mov.u64", "mov.s64", "mov.f64", "cvta.to.global.u64", "cvta.global.u64", "cvta.to.const.u64", "cvta.const.u64",
            "cvta.local.u64", "cvta.to.local.u64");
        Select<uint>(Width.W32, "selp.b32", "selp.u32", "selp.s32", "selp.f32", "selp.b16", "selp.u16", "selp.s16");
        Select<ulong>(Width.W64, "selp.b64", "selp.u64", "selp.s64", "selp.f64");

        // Comparisons.
        Compares<int>("s32");
        Compares<long>("s64");
        Compares<float>("f32");
        UnsignedCompares<uint>("u32", "b32");
        UnsignedCompares<ulong>("u64", "b64");
        UnorderedCompares();

        // Conversions.
        Extend<int, long>("cvt.s64.s32");
        Extend<uint, ulong>("cvt.u64.u32", "cvt.s64.u32");
        Add("cvt.u32.u64", &Elementwise.Truncate<AllLanes>, &Elementwise.Truncate<SomeLanes>, Width.W32, Width.W64);
        Add("cvt.s32.s64", &Elementwise.Truncate<AllLanes>, &Elementwise.Truncate<SomeLanes>, Width.W32, Width.W64);
        Add("cvt.u32.s64", &Elementwise.Truncate<AllLanes>, &Elementwise.Truncate<SomeLanes>, Width.W32, Width.W64);
        Unary<float, RoundToEven>("cvt.rni.f32.f32");
        Unary<float, RoundToZero>("cvt.rzi.f32.f32");
        Unary<float, RoundDown>("cvt.rmi.f32.f32");
        Unary<float, RoundUp>("cvt.rpi.f32.f32");
        Unary<float, Saturate>("cvt.sat.f32.f32");

        IntegerRows.AddTo(rows);
        FloatRows.AddTo(rows);
        ConversionRows.AddTo(rows);
        return rows;

        void Add(string opcode, delegate*<ref Lanes, in Instruction, void> full, delegate*<ref Lanes, in Instruction, void> masked,
            Width d, Width a, Width b = Width.None, Width c = Width.None) =>
            rows.Add(opcode, new InstructionRow(full, masked, d, a, b, c));

        void Unary<T, TOp>(params string[] opcodes)
            where T : unmanaged
            where TOp : struct, IUnary<T, T>
        {
            var width = WidthOf<T>();
            foreach (string opcode in opcodes) Add(opcode, &Elementwise.Unary<T, TOp, AllLanes>, &Elementwise.Unary<T, TOp, SomeLanes>, width, width);
        }

        void Binary<T, TOp>(params string[] opcodes)
            where T : unmanaged
            where TOp : struct, IBinary<T>
        {
            var width = WidthOf<T>();
            foreach (string opcode in opcodes) Add(opcode, &Elementwise.Binary<T, TOp, AllLanes>, &Elementwise.Binary<T, TOp, SomeLanes>, width, width, width);
        }

        void Ternary<T, TOp>(params string[] opcodes)
            where T : unmanaged
            where TOp : struct, ITernary<T>
        {
            var width = WidthOf<T>();
            foreach (string opcode in opcodes)
                Add(opcode, &Elementwise.Ternary<T, TOp, AllLanes>, &Elementwise.Ternary<T, TOp, SomeLanes>, width, width, width, width);
        }

        void Wide<T, TAdd>(string opcode)
            where T : unmanaged
            where TAdd : struct, IMask =>
            Add(opcode, &Elementwise.MultiplyWide<T, TAdd, AllLanes>, &Elementwise.MultiplyWide<T, TAdd, SomeLanes>,
                Width.W64, Width.W32, Width.W32, TAdd.Partial ? Width.W64 : Width.None);

        void Shift64<TOp>(params string[] opcodes)
            where TOp : struct, IBinary<ulong>
        {
            foreach (string opcode in opcodes)
                Add(opcode, &Elementwise.Shift64<TOp, AllLanes>, &Elementwise.Shift64<TOp, SomeLanes>, Width.W64, Width.W64, Width.W32);
        }

        void Extend<TFrom, TTo>(params string[] opcodes)
            where TFrom : unmanaged
            where TTo : unmanaged
        {
            foreach (string opcode in opcodes)
                Add(opcode, &Elementwise.Extend<TFrom, TTo, AllLanes>, &Elementwise.Extend<TFrom, TTo, SomeLanes>, Width.W64, Width.W32);
        }

        void Select<T>(Width width, params string[] opcodes)
            where T : unmanaged
        {
            foreach (string opcode in opcodes) Add(opcode, &Elementwise.Select<T, AllLanes>, &Elementwise.Select<T, SomeLanes>, width, width, width, Width.W32);
        }

        void Scalar<T, TOp>(string opcode)
            where T : unmanaged
            where TOp : struct, IScalarBinary<T>
        {
            var width = WidthOf<T>();
            Add(opcode, &LaneByLane.Binary<T, TOp, AllLanes>, &LaneByLane.Binary<T, TOp, SomeLanes>, width, width, width);
        }

        void ScalarTernary<T, TOp>(string opcode)
            where T : unmanaged
            where TOp : struct, IScalarTernary<T>
        {
            var width = WidthOf<T>();
            Add(opcode, &LaneByLane.Ternary<T, TOp, AllLanes>, &LaneByLane.Ternary<T, TOp, SomeLanes>, width, width, width, width);
        }

        void ScalarUnary<TFrom, TTo, TOp>(params string[] opcodes)
            where TFrom : unmanaged
            where TTo : unmanaged
            where TOp : struct, IScalarUnary<TFrom, TTo>
        {
            foreach (string opcode in opcodes)
                Add(opcode, &LaneByLane.Unary<TFrom, TTo, TOp, AllLanes>, &LaneByLane.Unary<TFrom, TTo, TOp, SomeLanes>, WidthOf<TTo>(), WidthOf<TFrom>());
        }

        void Compare<T, TOp>(string name, string type)
            where T : unmanaged
            where TOp : struct, ICompare<T>
        {
            var width = WidthOf<T>();
            Add($"setp.{name}.{type}", &Elementwise.Compare<T, TOp, First, AllLanes>, &Elementwise.Compare<T, TOp, First, SomeLanes>, Width.W32, width, width);
            Add($"setp.{name}.and.{type}", &Elementwise.Compare<T, TOp, And<int>, AllLanes>, &Elementwise.Compare<T, TOp, And<int>, SomeLanes>, Width.W32, width, width, Width.W32);
            Add($"setp.{name}.xor.{type}", &Elementwise.Compare<T, TOp, Xor<int>, AllLanes>, &Elementwise.Compare<T, TOp, Xor<int>, SomeLanes>, Width.W32, width, width, Width.W32);
            Add($"setp.{name}.or.{type}", &Elementwise.Compare<T, TOp, Or<int>, AllLanes>, &Elementwise.Compare<T, TOp, Or<int>, SomeLanes>, Width.W32, width, width, Width.W32);
        }

        void Compares<T>(string type)
            where T : unmanaged
        {
            Compare<T, Equal<T>>("eq", type);
            if (typeof(T) == typeof(float)) Compare<float, OrderedNotEqual>("ne", type);
            else Compare<T, NotEqual<T>>("ne", type);
            Compare<T, Less<T>>("lt", type);
            Compare<T, LessOrEqual<T>>("le", type);
            Compare<T, Greater<T>>("gt", type);
            Compare<T, GreaterOrEqual<T>>("ge", type);
        }

        void UnsignedCompares<T>(string type, string bits)
            where T : unmanaged
        {
            Compares<T>(type);
            Compare<T, Equal<T>>("eq", bits);
            Compare<T, NotEqual<T>>("ne", bits);
            Compare<T, Less<T>>("lo", type);
            Compare<T, LessOrEqual<T>>("ls", type);
            Compare<T, Greater<T>>("hi", type);
            Compare<T, GreaterOrEqual<T>>("hs", type);
        }

        void UnorderedCompares()
        {
            Compare<float, UnorderedEqual>("equ", "f32");
            Compare<float, NotEqual<float>>("neu", "f32");
            Compare<float, UnorderedLess>("ltu", "f32");
            Compare<float, UnorderedLessOrEqual>("leu", "f32");
            Compare<float, UnorderedGreater>("gtu", "f32");
            Compare<float, UnorderedGreaterOrEqual>("geu", "f32");
            Compare<float, IsNumber>("num", "f32");
            Compare<float, IsNaN>("nan", "f32");
        }
    }

    private static Width WidthOf<T>()
        where T : unmanaged => sizeof(T) == 8 ? Width.W64 : Width.W32;
}
