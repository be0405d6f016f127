namespace ClipCuda.Ptx;

/// <summary>Adds rows to the instruction table: one generic method for each shape of operation, which finds the widths from the types.</summary>
internal readonly unsafe struct RowBuilder(Dictionary<string, InstructionRow> rows)
{
    public void Unary<TFrom, TTo, TOp>(params ReadOnlySpan<string> opcodes)
        where TFrom : unmanaged
        where TTo : unmanaged
        where TOp : struct, IScalarUnary<TFrom, TTo>
    {
        foreach (string opcode in opcodes)
            rows.Add(opcode, new(&LaneByLane.Unary<TFrom, TTo, TOp, AllLanes>, &LaneByLane.Unary<TFrom, TTo, TOp, SomeLanes>, WidthOf<TTo>(), WidthOf<TFrom>(), Width.None, Width.None));
    }

    public void Binary<T, TOp>(params ReadOnlySpan<string> opcodes)
        where T : unmanaged
        where TOp : struct, IScalarBinary<T>
    {
        var width = WidthOf<T>();
        foreach (string opcode in opcodes) rows.Add(opcode, new(&LaneByLane.Binary<T, TOp, AllLanes>, &LaneByLane.Binary<T, TOp, SomeLanes>, width, width, width, Width.None));
    }

    public void Ternary<T, TOp>(params ReadOnlySpan<string> opcodes)
        where T : unmanaged
        where TOp : struct, IScalarTernary<T>
    {
        var width = WidthOf<T>();
        foreach (string opcode in opcodes) rows.Add(opcode, new(&LaneByLane.Ternary<T, TOp, AllLanes>, &LaneByLane.Ternary<T, TOp, SomeLanes>, width, width, width, width));
    }

    public void MixedBinary<TA, TB, TTo, TOp>(params ReadOnlySpan<string> opcodes)
        where TA : unmanaged
        where TB : unmanaged
        where TTo : unmanaged
        where TOp : struct, IMixedBinary<TA, TB, TTo>
    {
        foreach (string opcode in opcodes)
        {
            rows.Add(opcode, new(&LaneByLane.MixedBinary<TA, TB, TTo, TOp, AllLanes>, &LaneByLane.MixedBinary<TA, TB, TTo, TOp, SomeLanes>,
                WidthOf<TTo>(), WidthOf<TA>(), WidthOf<TB>(), Width.None));
        }
    }

    public void MixedTernary<TA, TB, TC, TTo, TOp>(params ReadOnlySpan<string> opcodes)
        where TA : unmanaged
        where TB : unmanaged
        where TC : unmanaged
        where TTo : unmanaged
        where TOp : struct, IMixedTernary<TA, TB, TC, TTo>
    {
        foreach (string opcode in opcodes)
        {
            rows.Add(opcode, new(&LaneByLane.MixedTernary<TA, TB, TC, TTo, TOp, AllLanes>, &LaneByLane.MixedTernary<TA, TB, TC, TTo, TOp, SomeLanes>,
                WidthOf<TTo>(), WidthOf<TA>(), WidthOf<TB>(), WidthOf<TC>()));
        }
    }

    public void Quaternary<T, TOp>(string opcode)
        where T : unmanaged
        where TOp : struct, IScalarQuaternary<T>
    {
        var width = WidthOf<T>();
        rows.Add(opcode, new(&LaneByLane.Quaternary<T, TOp, AllLanes>, &LaneByLane.Quaternary<T, TOp, SomeLanes>, width, width, width, Width.W32, Width.W32));
    }

    /// <summary>setp of one comparison, alone and combined with a third predicate.</summary>
    public void Compare<T, TOp>(string name, params ReadOnlySpan<string> types)
        where T : unmanaged
        where TOp : struct, IScalarTest<T>
    {
        foreach (string type in types)
        {
            Combined<T, TOp, Alone>($"setp.{name}.{type}", Width.None);
            Combined<T, TOp, BothHold>($"setp.{name}.and.{type}", Width.W32);
            Combined<T, TOp, OneHolds>($"setp.{name}.or.{type}", Width.W32);
            Combined<T, TOp, OnlyOneHolds>($"setp.{name}.xor.{type}", Width.W32);
        }
    }

    public void Vector<TOp>(params ReadOnlySpan<string> opcodes)
        where TOp : struct, IUnary<float, float>
    {
        foreach (string opcode in opcodes)
            rows.Add(opcode, new(&Elementwise.Unary<float, TOp, AllLanes>, &Elementwise.Unary<float, TOp, SomeLanes>, Width.W32, Width.W32, Width.None, Width.None));
    }

    public void VectorBinary<TOp>(params ReadOnlySpan<string> opcodes)
        where TOp : struct, IBinary<float>
    {
        foreach (string opcode in opcodes)
            rows.Add(opcode, new(&Elementwise.Binary<float, TOp, AllLanes>, &Elementwise.Binary<float, TOp, SomeLanes>, Width.W32, Width.W32, Width.W32, Width.None));
    }

    public void VectorTernary<TOp>(params ReadOnlySpan<string> opcodes)
        where TOp : struct, ITernary<float>
    {
        foreach (string opcode in opcodes)
            rows.Add(opcode, new(&Elementwise.Ternary<float, TOp, AllLanes>, &Elementwise.Ternary<float, TOp, SomeLanes>, Width.W32, Width.W32, Width.W32, Width.W32));
    }

    /// <summary>setp.*.ftz.f32: both operands flushed.</summary>
    public void CompareFlushed<TOp>(string name)
        where TOp : struct, ICompare<float>
    {
        rows.Add($"setp.{name}.ftz.f32", new(
            &Elementwise.Compare<float, FlushedCompare<TOp>, First, AllLanes>, &Elementwise.Compare<float, FlushedCompare<TOp>, First, SomeLanes>, Width.W32, Width.W32, Width.W32, Width.None));
        rows.Add($"setp.{name}.and.ftz.f32", new(
            &Elementwise.Compare<float, FlushedCompare<TOp>, And<int>, AllLanes>, &Elementwise.Compare<float, FlushedCompare<TOp>, And<int>, SomeLanes>, Width.W32, Width.W32, Width.W32, Width.W32));
        rows.Add($"setp.{name}.or.ftz.f32", new(
            &Elementwise.Compare<float, FlushedCompare<TOp>, Or<int>, AllLanes>, &Elementwise.Compare<float, FlushedCompare<TOp>, Or<int>, SomeLanes>, Width.W32, Width.W32, Width.W32, Width.W32));
        rows.Add($"setp.{name}.xor.ftz.f32", new(
            &Elementwise.Compare<float, FlushedCompare<TOp>, Xor<int>, AllLanes>, &Elementwise.Compare<float, FlushedCompare<TOp>, Xor<int>, SomeLanes>, Width.W32, Width.W32, Width.W32, Width.W32));
    }

    private void Combined<T, TOp, TCombine>(string opcode, Width third)
        where T : unmanaged
        where TOp : struct, IScalarTest<T>
        where TCombine : struct, IScalarBinary<int>
    {
        var width = WidthOf<T>();
        rows.Add(opcode, new(&LaneByLane.Compare<T, TOp, TCombine, AllLanes>, &LaneByLane.Compare<T, TOp, TCombine, SomeLanes>, Width.W32, width, width, third));
    }

    private static Width WidthOf<T>()
        where T : unmanaged => sizeof(T) == 8 ? Width.W64 : Width.W32;
}
