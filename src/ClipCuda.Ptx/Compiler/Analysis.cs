using System.Numerics;

namespace ClipCuda.Ptx.Compiler;

internal enum ValueKind
{
    /// <summary>Nothing reaches it yet.</summary>
    Unknown,

    /// <summary>The same in all lanes: a scalar.</summary>
    Uniform,

    /// <summary>A scalar plus lane times a constant.</summary>
    Affine,

    /// <summary>Repeats every so many lanes, a power of 2 from 2 to 16: what a warp reduction has after each of its steps.</summary>
    Periodic,
    Varying,
}

/// <param name="Step">The stride of an affine value, the period of a periodic one.</param>
internal readonly record struct ValueClass(ValueKind Kind, long Step = 0)
{
    public static readonly ValueClass Unknown = new(ValueKind.Unknown), Uniform = new(ValueKind.Uniform), Varying = new(ValueKind.Varying);

    public static ValueClass Affine(long stride) => stride == 0 ? Uniform : new(ValueKind.Affine, stride);

    public bool IsUniform => Kind == ValueKind.Uniform;

    public bool IsAffine => Kind == ValueKind.Affine;

    /// <summary>Kept as a scalar.</summary>
    public bool IsScalar => Kind is ValueKind.Uniform or ValueKind.Affine;

    public ValueClass Join(ValueClass other) =>
        Kind == ValueKind.Unknown ? other : other.Kind == ValueKind.Unknown || this == other ? this : Varying;
}

/// <summary>
/// How daring a version of a kernel is. Each version leaves off at the point where its assumption fails, and the next goes on there.
/// </summary>
internal enum Daring
{
    /// <summary>All lanes of a warp are alive and take large branches together; indices do not overflow between lanes.</summary>
    Together,

    /// <summary>Lanes may part anywhere; indices do not overflow between lanes.</summary>
    Apart,

    /// <summary>Nothing is assumed.</summary>
    Plain,
}

/// <summary>
/// What is known of each value in one version of a kernel: uniform, affine or varying; where lanes may wait while others run; and which floats
/// may hold a NaN that is not yet the one GPUs write. A web that a waiting lane still needs cannot be a scalar that running lanes change:
/// that one rule covers joins after divergent branches and values carried out of divergent loops.
/// </summary>
internal sealed class Analysis
{
    /// <summary>A branch whose region holds at most so many instructions runs under masks even in the daring version.</summary>
    private const int SmallRegion = 64;

    private readonly PtxEntry _entry;
    private readonly List<BasicBlock> _blocks;
    private readonly FlowGraph _graph;
    private readonly Webs _webs;
    private readonly Daring _daring;
    private readonly bool _linear;
    private readonly bool[] _pinned;
    private readonly Analysis? _bolder;
    private readonly Facts?[] _facts;
    private readonly ValueClass[] _results;

    /// <param name="linear">Neighbouring lanes have neighbouring <c>%tid.x</c> and equal y and z.</param>
    /// <param name="bolder">The version that may hand over to this one; whatever is scalar here is scalar there, and whoever waits there may wait here.</param>
    public Analysis(PtxEntry entry, List<BasicBlock> blocks, FlowGraph graph, Webs webs, Daring daring, bool linear, Analysis? bolder)
    {
        (_entry, _blocks, _graph, _webs, _daring, _linear, _bolder) = (entry, blocks, graph, webs, daring, linear, bolder);
        _pinned = new bool[webs.Count];
        _facts = new Facts?[webs.Operations];
        _results = new ValueClass[webs.Operations];
        Waiting = NewSets();
        do
        {
            Classify();
            Waiting = FindWaiting();
        }
        while (PinScalarsThatWaitingLanesNeed());
        foreach (int b in graph.Order) foreach (var operation in blocks[b].Operations) _results[operation.Number] = Compute(operation);
    }

    /// <summary>Class of each web.</summary>
    public ValueClass[] Classes { get; private set; } = [];

    /// <summary>For each block, where lanes may wait while it runs.</summary>
    public BitSet[] Waiting { get; private set; }

    public bool IsUniform(Source source) => source.IsWeb ? Classes[source.Web].IsUniform : ClassOf(source).IsUniform;

    /// <summary>Lanes may wait elsewhere, or be dead, while the block runs.</summary>
    public bool IsPartial(int block) => _daring != Daring.Together || !Waiting[block].IsEmpty;

    /// <summary>The lanes may part at the end of the block.</summary>
    public bool IsDivergent(int block) => _blocks[block] is { End: BlockEnd.Branch } at && at.Condition >= 0 && !Classes[at.Condition].IsUniform;

    /// <summary>The branch is taken for granted to go one way for all lanes; if it does not, the version ends there.</summary>
    public bool IsSpeculative(int block) => _daring == Daring.Together && IsDivergent(block) && !IsSmall(block);

    /// <summary>A lane that waits still needs what this web held before.</summary>
    public bool NeedsBlend(int block, int web)
    {
        foreach (int b in Waiting[block]) if (_webs.LiveIn[b][web]) return true;
        return false;
    }

    public ValueClass ClassOf(Source source)
    {
        if (source.IsWeb) return Classes[source.Web];
        return source.Special switch
        {
            null => ValueClass.Uniform,
            "%laneid" => ValueClass.Affine(1),
            "%tid.x" => _linear ? ValueClass.Affine(1) : ValueClass.Varying,
            "%tid.y" or "%tid.z" => _linear ? ValueClass.Uniform : ValueClass.Varying,
            _ => ValueClass.Uniform,
        };
    }

    /// <summary>The period of a reduction step, 1 to 16: a commutative operation on a value and its butterfly; 0 if it is none.</summary>
    public int ReductionPeriod(Operation operation, out int shuffled)
    {
        shuffled = 0;
        if (operation.Kind != OperationKind.Pure || operation.Sources.Length != 2) return 0;
        for (int s = 0; s < 2; s++)
        {
            if (operation.Reaching[s] is not { Kind: OperationKind.Shuffle } shuffle || shuffle.Block != operation.Block) continue;
            if (!operation.Native.IsCommutative || IsPartial(operation.Block)) return 0;
            var (value, source) = (operation.Sources[1 - s], shuffle.Sources[0]);
            if (!value.IsWeb || value.Web != source.Web) continue;
            var operations = _blocks[operation.Block].Operations;
            int from = operations.IndexOf(shuffle), to = operations.IndexOf(operation);
            if (from < 0 || from > to || operations.Skip(from).Take(to - from).Any(o => o.Destinations.Contains(value.Web))) continue;
            int period = Classes[value.Web] switch
            {
                { Kind: ValueKind.Varying } => 32,
                { Kind: ValueKind.Periodic, Step: var step } => (int)step,
                _ => 0,
            };
            if (period == 0 || shuffle.Offset * 2 != period) continue;
            shuffled = s;
            return period / 2;
        }
        return 0;
    }

    /// <summary>The class of what an operation computes, as it leaves the operation.</summary>
    public ValueClass ResultOf(Operation operation) => _results[operation.Number];

    /// <summary>The same by what is known of its sources so far.</summary>
    private ValueClass Compute(Operation operation)
    {
        switch (operation.Kind)
        {
            case OperationKind.Load:
                return ClassOf(operation.Sources[0]) is { Kind: ValueKind.Unknown or ValueKind.Uniform } address ? address : ValueClass.Varying;
            case OperationKind.Shuffle:
                return ClassOf(operation.Sources[0]) is { Kind: ValueKind.Unknown or ValueKind.Uniform } value ? value : ValueClass.Varying;
            case OperationKind.Pure:
                break;
            default:
                return ValueClass.Varying;
        }
        bool allUniform = true, allScalar = true;
        foreach (var source in operation.Sources)
        {
            var value = ClassOf(source);
            if (value.Kind == ValueKind.Unknown) return ValueClass.Unknown;
            allUniform &= value.IsUniform;
            allScalar &= value.IsScalar;
        }
        if (allUniform) return ValueClass.Uniform;
        int period = ReductionPeriod(operation, out _);
        if (period > 0) return period == 1 ? ValueClass.Uniform : new ValueClass(ValueKind.Periodic, period);
        var native = operation.Native;
        if (native.Kind == Native.Move) return ClassOf(operation.Sources[0]);
        // Only integers in which every non-uniform part is affine stay affine.
        return allScalar && native.Out is not (Number.F32 or Number.Predicate) ? AffineResult(operation, native, Array.ConvertAll(operation.Sources, ClassOf)) : ValueClass.Varying;
    }

    /// <summary>An operation that keeps an affine value only if a test of its scalars succeeds; if not, the version ends before it.</summary>
    public bool NeedsTest(Operation operation)
    {
        if (operation.Kind != OperationKind.Pure || _daring == Daring.Plain || !ResultOf(operation).IsAffine) return false;
        var native = operation.Native;
        if (native.Kind is Native.Minimum or Native.Maximum) return true;
        for (int s = 0; s < WidenedSources(native); s++) if (ClassOf(operation.Sources[s]).IsAffine && !FactsOf(operation, s).IsSmall) return true;
        return false;
    }

    /// <summary>How many of its sources an operation widens, all of 32 bits: its first ones.</summary>
    public static int WidenedSources(NativeOperation native) => native.Kind switch
    {
        Native.Extend => 1,
        Native.MultiplyWide or Native.MultiplyAddWide => 2,
        _ => 0,
    };

    private ValueClass AffineResult(Operation operation, NativeOperation native, ValueClass[] sources)
    {
        long Stride(int s) => sources[s].IsAffine ? sources[s].Step : 0;
        bool Constant(int s, out long value)
        {
            value = (long)operation.Sources[s].Bits;
            if (operation.Sources[s].IsConstant) return true;
            if (operation.Reaching[s] is { Kind: OperationKind.Pure } move && move.Native.Kind == Native.Move && move.Sources[0].IsConstant)
            {
                value = (long)move.Sources[0].Bits;
                return true;
            }
            return false;
        }
        switch (native.Kind)
        {
            case Native.Add:
                return ValueClass.Affine(Stride(0) + Stride(1));
            case Native.Subtract:
                return ValueClass.Affine(Stride(0) - Stride(1));
            case Native.Negate:
                return ValueClass.Affine(-Stride(0));
            case Native.Multiply or Native.MultiplyAdd:
                return Product(out long product) ? ValueClass.Affine(Wrap(product + (native.Kind == Native.MultiplyAdd ? Stride(2) : 0))) : ValueClass.Varying;
            case Native.ShiftLeft when sources[1].IsUniform && Constant(1, out long count) && count is >= 0 and < 32:
                return ValueClass.Affine(Wrap(Stride(0) << (int)count));
            case Native.SharedToGeneric or Native.GenericToShared:
                return ValueClass.Affine(Stride(0));
            case Native.Truncate:
                return ValueClass.Affine((int)Stride(0));
            case Native.Extend:
                return Widens(0) ? ValueClass.Affine(Stride(0)) : ValueClass.Varying;
            case Native.MultiplyWide or Native.MultiplyAddWide:
                return Product(out product) && Widens(0) && Widens(1) ? ValueClass.Affine(product + (native.Kind == Native.MultiplyAddWide ? Stride(2) : 0)) : ValueClass.Varying;
            case Native.Minimum or Native.Maximum when native.In is Number.S32 or Number.U32 or Number.S64 && _daring != Daring.Plain:
                int affine = sources[0].IsAffine ? 0 : 1;
                return sources[1 - affine].IsUniform && Stride(affine) is > 0 and < 1 << 20 ? sources[affine] : ValueClass.Varying;
            // The lanes differ in the low bits only: shifted out or masked away, nothing of them is left.
            case Native.ShiftRight when native.In is Number.U32 or Number.U64 && LaneBits(0) is > 0 and var bits && Constant(1, out long count) && count is >= 0 and < 32:
                return count >= bits ? ValueClass.Uniform : Stride(0) % (1L << (int)count) == 0 ? ValueClass.Affine(Stride(0) >> (int)count) : ValueClass.Varying;
            case Native.And when LaneBits(0) is > 0 and var bits && Constant(1, out long mask):
                return Masked(bits, mask, Stride(0));
            // No bit is set in both: their sum.
            case Native.Or when Disjoint(FactsOf(operation, 0), FactsOf(operation, 1)):
                return ValueClass.Affine(Stride(0) + Stride(1));
            default:
                return ValueClass.Varying;
        }

        bool Product(out long product)
        {
            product = 0;
            int affine = sources[0].IsAffine ? 0 : 1;
            if (!sources[0].IsUniform && !sources[1].IsUniform) return false;
            if (sources[0].IsUniform && sources[1].IsUniform) return true;
            if (!Constant(1 - affine, out long factor)) return false;
            // A 32-bit factor counts as the instruction reads it.
            if (native.In == Number.S32) factor = (int)factor;
            else if (native.In == Number.U32) factor = (uint)factor;
            product = Stride(affine) * factor;
            return true;
        }

        long Wrap(long stride) => native.Out is Number.S64 or Number.U64 ? stride : (int)stride;

        // Whether lanes of a 32-bit value stay neighbours when it is widened: known, or tested before.
        bool Widens(int s) => sources[s].IsUniform || (Math.Abs(Stride(s)) < 1 << 20 && (_daring != Daring.Plain || FactsOf(operation, s).IsSmall));

        int LaneBits(int s) => sources[s].IsAffine && sources[1 - s].IsUniform ? FactsOf(operation, s).LaneBits : 0;

        // A mask that takes all bits in which lanes differ, or none of them.
        static ValueClass Masked(int bits, long mask, long stride)
        {
            long lanes = (1L << bits) - 1;
            if ((mask & lanes) == 0) return ValueClass.Uniform;
            long used = long.IsPow2(stride) ? lanes & -stride : lanes;
            return (mask & used) == used ? ValueClass.Affine(stride) : ValueClass.Varying;
        }
    }

    private static bool Disjoint(Facts a, Facts b) => (a.IsSmall && b.Zeros >= BitLength(a.High)) || (b.IsSmall && a.Zeros >= BitLength(b.High));

    private static int BitLength(long value) => 64 - BitOperations.LeadingZeroCount((ulong)value);

    private Facts FactsOf(Operation operation, int s)
    {
        var source = operation.Sources[s];
        if (source.IsConstant) return Facts.Of((long)source.Bits);
        if (source.Special is { } special) return FactsOfSpecial(special);
        return operation.Reaching[s] is { } definition ? FactsOf(definition) : Facts.None;
    }

    private Facts FactsOfSpecial(string special) => special switch
    {
        "%laneid" => new(0, 31, 0, 5),
        "%tid.x" => new(0, (_entry.MaxThreadsPerBlock > 0 ? _entry.MaxThreadsPerBlock : 1024) - 1, 0, 5),
        "%tid.y" or "%tid.z" => new(0, 1023, 0, 0),
        "%ntid.x" or "%ntid.y" or "%ntid.z" => new(1, 1024, 0, 0),
        // The limit of a grid in x (CUDA C++ Programming Guide, Technical Specifications); y and z have less.
        "%ctaid.x" or "%ctaid.y" or "%ctaid.z" => new(0, int.MaxValue - 1, 0, 0),
        _ => Facts.None,
    };

    /// <summary>Bounds of a value in all lanes, from constants and thread indices; loops are not looked through.</summary>
    private Facts FactsOf(Operation definition)
    {
        if (_facts[definition.Number] is { } known) return known;
        _facts[definition.Number] = Facts.None;
        if (definition.Kind != OperationKind.Pure || definition.Destinations.Length != 1) return Facts.None;
        var native = definition.Native;
        if (native.Out is Number.F32 or Number.Predicate) return Facts.None;
        var a = definition.Sources.Length > 0 ? FactsOf(definition, 0) : Facts.None;
        var b = definition.Sources.Length > 1 ? FactsOf(definition, 1) : Facts.None;
        bool constant = b.Low == b.High;
        var result = native.Kind switch
        {
            Native.Move => a,
            Native.Extend => a.IsSmall ? a : a with { Low = long.MinValue, High = long.MaxValue },
            Native.Add => Bounded(a.Low + b.Low, a.High + b.High, Math.Min(a.Zeros, b.Zeros), SumBits()),
            Native.Multiply or Native.MultiplyWide => Bounded(a.Low * b.Low, a.High * b.High, a.Zeros + b.Zeros, constant && b.Low > 0 && long.IsPow2(b.Low) ? ShiftedBits(b.Zeros) : 0),
            Native.ShiftLeft when constant && b.Low is >= 0 and < 31 => Bounded(a.Low << (int)b.Low, a.High << (int)b.Low, a.Zeros + (int)b.Low, ShiftedBits((int)b.Low)),
            Native.ShiftRight when constant && b.Low is >= 0 and < 31 => Bounded(a.Low >> (int)b.Low, a.High >> (int)b.Low, 0, a.LaneBits > b.Low ? a.LaneBits - (int)b.Low : 0),
            // The low five bits of tid.x are the lane; those of a sum with a multiple of 32 too. A mask leaves what it takes where it is.
            Native.And when constant && b.Low >= 0 => new(0, a.IsSmall ? Math.Min(a.High, b.High) : b.High, Math.Max(a.Zeros, b.Zeros), a.LaneBits),
            Native.Or when a.IsSmall && b.IsSmall => Bounded(Math.Max(a.Low, b.Low), a.High + b.High, Math.Min(a.Zeros, b.Zeros), SumBits()),
            Native.Or => Facts.None with { Zeros = Math.Min(a.Zeros, b.Zeros) },
            _ => Facts.None,
        };
        _facts[definition.Number] = result;
        return result;

        // Of numbers that are not small only the trailing zeros are kept: they survive a wrap.
        Facts Bounded(long low, long high, int zeros, int laneBits) =>
            a.IsSmall && b.IsSmall && high <= int.MaxValue ? new(low, high, zeros, laneBits) : Facts.None with { Zeros = zeros };

        int SumBits() => a.LaneBits > 0 && b.LaneBits == 0 && b.Zeros >= a.LaneBits ? a.LaneBits : b.LaneBits > 0 && a.LaneBits == 0 && a.Zeros >= b.LaneBits ? b.LaneBits : 0;

        int ShiftedBits(int count) => a.LaneBits > 0 ? a.LaneBits + count : 0;
    }

    private void Classify()
    {
        Classes = new ValueClass[_webs.Count];
        Array.Clear(_facts);
        for (int w = 0; w < _webs.Count; w++)
        {
            if (_pinned[w] || _bolder?.Classes[w].Kind == ValueKind.Periodic) Classes[w] = ValueClass.Varying;
            else if (_bolder is not null) Classes[w] = _bolder.Classes[w];
        }
        // From nothing known upwards; a class only ever rises.
        for (bool changed = true; changed;)
        {
            changed = false;
            foreach (int b in _graph.Order)
            {
                foreach (var operation in _blocks[b].Operations)
                {
                    if (operation.Destinations.Length == 0) continue;
                    var result = Compute(operation);
                    foreach (int web in operation.Destinations)
                    {
                        var joined = Classes[web].Join(result);
                        changed |= joined != Classes[web];
                        Classes[web] = joined;
                    }
                }
            }
        }
        for (int w = 0; w < _webs.Count; w++) if (Classes[w].Kind == ValueKind.Unknown) Classes[w] = ValueClass.Varying;
    }

    /// <summary>Whether the region of a divergent branch is small and simple: no loop, exit or barrier up to where its lanes meet.</summary>
    private bool IsSmall(int block)
    {
        int meeting = _graph.MeetingOf(block);
        if (meeting < 0 || _graph.LoopOf[meeting] != _graph.LoopOf[block] || _graph.Position[meeting] <= _graph.Position[block]) return false;
        var seen = new HashSet<int> { meeting };
        var stack = new Stack<int>(_blocks[block].Successors());
        int instructions = 0;
        while (stack.TryPop(out int b))
        {
            if (!seen.Add(b)) continue;
            if (_blocks[b].End is not (BlockEnd.Jump or BlockEnd.Branch) || _graph.LoopOf[b] != _graph.LoopOf[block] || _graph.Position[b] <= _graph.Position[block]) return false;
            instructions += _blocks[b].Operations.Count;
            if (instructions > SmallRegion) return false;
            foreach (int next in _blocks[b].Successors()) stack.Push(next);
        }
        return true;
    }

    private BitSet[] FindWaiting()
    {
        var waiting = NewSets();
        if (_bolder is not null)
        {
            for (int b = 0; b < waiting.Length; b++) waiting[b].UnionWith(_bolder.Waiting[b]);
        }
        for (bool changed = true; changed;)
        {
            changed = false;
            foreach (int b in _graph.Order)
            {
                foreach (var order in Orders(b, waiting[b]))
                {
                    // While one of them runs, those after it wait.
                    for (int i = 0; i < order.Count; i++)
                    {
                        for (int j = i + 1; j < order.Count; j++) changed |= waiting[order[i]].Add(order[j]);
                    }
                }
            }
        }
        return waiting;
    }

    /// <summary>The blocks that are to run in turn, one order for each way that control may go from the end of a block.</summary>
    private IEnumerable<List<int>> Orders(int b, BitSet waiting)
    {
        var block = _blocks[b];
        switch (block.End)
        {
            case BlockEnd.Barrier:
                break;
            case BlockEnd.Branch when IsDivergent(b) && !IsSpeculative(b):
                yield return _graph.InOrder(b, waiting, block.Target, block.Next);
                break;
            case BlockEnd.Exit or BlockEnd.Trap:
                yield return _graph.InOrder(b, waiting);
                break;
            case BlockEnd.Jump or BlockEnd.Branch when !waiting.IsEmpty:
                foreach (int target in block.Successors()) yield return _graph.InOrder(b, waiting, target);
                break;
        }
    }

    private BitSet[] NewSets() => [.. _blocks.Select(_ => new BitSet(_blocks.Count))];

    private bool PinScalarsThatWaitingLanesNeed()
    {
        bool found = false;
        foreach (int b in _graph.Order)
        {
            if (Waiting[b].IsEmpty) continue;
            foreach (var operation in _blocks[b].Operations)
            {
                foreach (int web in operation.Destinations)
                {
                    if (_pinned[web] || Classes[web].Kind == ValueKind.Varying || !NeedsBlend(b, web)) continue;
                    _pinned[web] = found = true;
                }
            }
        }
        return found;
    }

    /// <param name="Low">Least value in any lane, read as a signed number.</param>
    /// <param name="Zeros">Bits at the low end that are 0 in all lanes.</param>
    /// <param name="LaneBits">If not 0, lanes differ in so many bits at the low end and no others: those bits are lane times stride, and 0 in lane 0.</param>
    private readonly record struct Facts(long Low, long High, int Zeros, int LaneBits)
    {
        public static readonly Facts None = new(long.MinValue, long.MaxValue, 0, 0);

        public static Facts Of(long value) => new((int)value, (int)value, value == 0 ? 32 : BitOperations.TrailingZeroCount(value), 0);

        /// <summary>Not negative, and far from overflow: widening it as signed or unsigned is the same.</summary>
        public bool IsSmall => Low >= 0 && High <= int.MaxValue;
    }
}
