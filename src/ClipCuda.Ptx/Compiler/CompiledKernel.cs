namespace ClipCuda.Ptx.Compiler;

/// <summary>Where each web that lives across blocks lies in a warp's frame: the one format in which versions hand values to each other.</summary>
internal sealed class FrameLayout
{
    private readonly int[] _offsets;
    private readonly bool[] _scalar;
    private readonly bool[] _held;

    /// <param name="isScalar">Whether the number of lane 0 says all: a web is uniform in every version, or has the same stride.</param>
    public FrameLayout(FlowGraph graph, Webs webs, Func<int, bool> isScalar)
    {
        _offsets = new int[webs.Count];
        _scalar = new bool[webs.Count];
        _held = new bool[webs.Count];
        var live = new BitSet(webs.Count);
        foreach (int b in graph.Order) live.UnionWith(webs.LiveIn[b]);
        foreach (int web in live.Items())
        {
            _held[web] = true;
            _scalar[web] = isScalar(web);
            _offsets[web] = Bytes;
            Bytes += _scalar[web] ? 64 : webs.Types[web] is ValueType.Bits64 or ValueType.Double ? 256 : 128;
        }
    }

    public int Bytes { get; }

    public bool IsScalar(int web) => _scalar[web];

    public int OffsetOf(int web) => _offsets[web];

    /// <summary>The frame has room for all parts of the web.</summary>
    public bool HoldsVectors(int web) => _held[web] && !_scalar[web];
}

/// <summary>One way to compile a kernel: what is assumed of its lanes.</summary>
internal sealed class CompiledVersion(CompiledKernel kernel, Daring daring, Analysis analysis, VectorIsa isa)
{
    public CompiledKernel Kernel { get; } = kernel;

    public Daring Daring { get; } = daring;

    public Analysis Analysis { get; } = analysis;

    public VectorIsa Isa { get; } = isa;

    /// <summary>Made when the version's first method is: most kernels never need another version than the most daring.</summary>
    public Inlining Inlining => field ??= new(Kernel.Blocks, Kernel.Graph, Kernel.Webs, Analysis);
}

/// <summary>
/// An entry compiled for one vector width and one shape of thread indices. Methods are made when a warp first comes to their resume point.
/// Safe to use from many threads at once.
/// </summary>
internal sealed class CompiledKernel
{
    private const int MostSplits = 4;

    private readonly CompiledVersion[] _versions;
    private readonly Dictionary<ResumePoint, int> _numbers = [];
    private readonly List<ResumePoint> _points = [];
    private readonly Lock _lock = new();
    private readonly Instruction[] _code;
    private readonly int[] _codeIndex;
    private Segment?[] _segments = new Segment?[16];

    /// <param name="checksBounds">Each load and store asks <see cref="Bounds"/> first.</param>
    /// <exception cref="NotCompilableException">The kernel has to stay with the interpreter.</exception>
    /// <exception cref="PtxException">It holds an instruction that neither engine runs.</exception>
    public CompiledKernel(PtxEntry entry, int vectorBits, bool linear, bool checksBounds)
    {
        Entry = entry;
        ChecksBounds = checksBounds;
        var isa = VectorIsa.Of(vectorBits);
        (_code, File) = Decoder.Decode(entry, checks: false);
        // A guarded instruction is two: the guard, and what it guards. The second is what a handler runs.
        _codeIndex = new int[entry.Instructions.Count + 1];
        for (int i = 0; i < _code.Length; i++) _codeIndex[_code[i].Origin] = i;
        var splits = new HashSet<int>();
        Analysis[] analyses;
        for (int round = 0; ; round++)
        {
            Blocks = Lowering.Lower(entry, splits);
            Graph = new FlowGraph(Blocks);
            Webs = Webs.Build(entry, Blocks, Graph);
            analyses = new Analysis[3];
            for (int d = 0; d < 3; d++) analyses[d] = new Analysis(entry, Blocks, Graph, Webs, (Daring)d, linear, d == 0 ? null : analyses[d - 1]);
            int[] tested = [.. TestedWithin(analyses)];
            if (tested.Length == 0) break;
            if (round == MostSplits) throw new NotCompilableException("indices that cannot be tested");
            splits.UnionWith(tested);
        }
        NaNs = new NaNs(Blocks, Graph, Webs);
        Frame = new FrameLayout(Graph, Webs, web => analyses.All(a => a.Classes[web].IsScalar && a.Classes[web] == analyses[0].Classes[web]));
        _versions = [.. analyses.Select((a, d) => new CompiledVersion(this, (Daring)d, a, isa))];
        UsesHandlers = FindsHandlers();
        Waiting = new BitSet(Blocks.Count);
        foreach (var analysis in analyses) foreach (var waiting in analysis.Waiting) Waiting.UnionWith(waiting);
    }

    public PtxEntry Entry { get; }

    public bool ChecksBounds { get; }

    public List<BasicBlock> Blocks { get; }

    public FlowGraph Graph { get; }

    public Webs Webs { get; }

    public NaNs NaNs { get; }

    public FrameLayout Frame { get; }

    /// <summary>The interpreter's register file and code, for instructions that its handlers run.</summary>
    public RegisterFile File { get; }

    public Instruction[] Code => _code;

    /// <summary>The largest spill arena of any method so far; grows as methods are made.</summary>
    public int ArenaBytes { get; private set; }

    /// <summary>Some instruction runs in the interpreter's handler.</summary>
    public bool UsesHandlers { get; }

    /// <summary>The instructions that are to be tested before, but do not begin their blocks.</summary>
    private IEnumerable<int> TestedWithin(Analysis[] analyses)
    {
        foreach (int b in Graph.Order)
        {
            for (int i = 1; i < Blocks[b].Operations.Count; i++)
            {
                var operation = Blocks[b].Operations[i];
                foreach (var analysis in analyses)
                {
                    if (!analysis.NeedsTest(operation)) continue;
                    yield return operation.Origin;
                    break;
                }
            }
        }
    }

    private bool FindsHandlers()
    {
        foreach (int b in Graph.Order)
        {
            foreach (var operation in Blocks[b].Operations)
            {
                if (operation.Kind == OperationKind.Fallback) return true;
                if (operation.Kind != OperationKind.Pure) continue;
                foreach (var version in _versions) if (!VectorForm.Exists(operation, version.Analysis)) return true;
            }
        }
        return false;
    }

    /// <summary>How a register's bits are kept, its floats aside.</summary>
    public ValueType TypeOf(int register) => Entry.Registers[register].Bits switch
    {
        1 => ValueType.Predicate,
        64 => ValueType.Bits64,
        _ => ValueType.Bits32,
    };

    public int CodeIndexOf(int origin) => _codeIndex[origin];

    public int FileOffsetOf(int register) => File.Offset(register);

    /// <summary>Where lanes may wait while others run, in any version.</summary>
    public BitSet Waiting { get; }

    /// <summary>The number of a resume point; 0 is the daring start, 1 that of a warp whose lanes do not all exist.</summary>
    public int NumberOf(ResumePoint point)
    {
        lock (_lock)
        {
            if (_numbers.TryGetValue(point, out int number)) return number;
            number = _points.Count;
            _points.Add(point);
            _numbers.Add(point, number);
            if (number >= _segments.Length) Array.Resize(ref _segments, 2 * number);
            return number;
        }
    }

    /// <summary>The method of a resume point, made if it is the first time.</summary>
    public Segment SegmentOf(int number)
    {
        if (Volatile.Read(ref _segments) is var made && made[number] is { } segment) return segment;
        lock (_lock)
        {
            if (_segments[number] is { } other) return other;
            var point = _points[number];
            segment = Emitter.Compile(_versions[(int)point.Daring], point, NumberOf, out int arena);
            ArenaBytes = Math.Max(ArenaBytes, arena);
            _segments[number] = segment;
            return segment;
        }
    }
}
