namespace ClipCuda.Ptx.Compiler;

/// <summary>
/// Where a NaN must become 7FFFFFFF. Arithmetic on a CPU leaves other NaNs than a GPU writes; but as long as a value goes only into
/// arithmetic and comparisons nobody can tell. So such webs stay "raw", and the bits are put right where they are seen: at a
/// store, or at the definition if anything else looks at them. (Memory holds the right bits already, so what is loaded is never raw.)
/// One use of bits is as good as arithmetic: shifted into the factor 2^n of a product whose other factor is then NaN itself, as in exp.
/// </summary>
internal sealed class NaNs
{
    private readonly bool[] _raw, _mustBePutRight, _quiet;
    private readonly Webs _webs;
    private readonly List<(Operation User, int Source)>?[] _users;

    public NaNs(List<BasicBlock> blocks, FlowGraph graph, Webs webs)
    {
        _webs = webs;
        _users = new List<(Operation, int)>?[webs.Count];
        foreach (int b in graph.Order)
        {
            foreach (var operation in blocks[b].Operations)
            {
                for (int s = 0; s < operation.Sources.Length; s++) if (operation.Sources[s].IsWeb) (_users[operation.Sources[s].Web] ??= []).Add((operation, s));
            }
        }
        // Made by arithmetic, or copied from such: putting its NaNs right never changes a NaN that a program put there itself.
        var made = Hereditary(MakesOrCopies);
        _quiet = Hereditary(IsQuietWith);
        _raw = [.. made];
        for (bool changed = true; changed;)
        {
            changed = false;
            foreach (int b in graph.Order)
            {
                foreach (var operation in blocks[b].Operations)
                {
                    for (int s = 0; s < operation.Sources.Length; s++)
                    {
                        if (operation.Sources[s] is not { IsWeb: true, Web: var web } || !_raw[web] || Tolerates(operation, s)) continue;
                        _raw[web] = false;
                        changed = true;
                    }
                }
            }
        }
        _mustBePutRight = new bool[webs.Count];
        var ranges = new FloatRange?[webs.Operations];
        Predicate<Operation> mayBeNaN = d => FloatRange.Of(d, ranges).MayBeNaN;
        for (int w = 0; w < webs.Count; w++) _mustBePutRight[w] = !_raw[w] && webs.Definitions[w].Exists(mayBeNaN);
    }

    /// <summary>Webs all of whose definitions have a property, which those that copy have if their sources do.</summary>
    private bool[] Hereditary(Func<Operation, bool[], bool> holds)
    {
        var result = new bool[_webs.Count];
        for (int w = 0; w < result.Length; w++) result[w] = _webs.Types[w] is ValueType.Float or ValueType.Bits32 && _webs.Definitions[w].Count > 0;
        Predicate<Operation> holdsNow = d => holds(d, result);
        for (bool changed = true; changed;)
        {
            changed = false;
            for (int w = 0; w < result.Length; w++)
            {
                if (!result[w] || _webs.Definitions[w].TrueForAll(holdsNow)) continue;
                result[w] = false;
                changed = true;
            }
        }
        return result;
    }

    /// <summary>The value is never a signalling NaN, as what arithmetic gives never is.</summary>
    public bool IsQuiet(Source source) => IsIn(_quiet, source);

    /// <summary>The web may hold a NaN of any bits.</summary>
    public bool IsRaw(Source source) => source.IsWeb && _raw[source.Web];

    /// <summary>What arithmetic gives a web has to be put right at once.</summary>
    public bool MustBePutRight(int web) => _mustBePutRight[web];

    private static bool MakesOrCopies(Operation operation, bool[] made)
    {
        if (operation.Kind == OperationKind.Shuffle) return made[operation.Sources[0].Web];
        if (operation.Kind != OperationKind.Pure) return false;
        var native = operation.Native;
        if (native.MakesNaN || native.Kind is Native.IntegerToFloat or Native.Saturate) return true;
        if (!native.Copies || native.In is Number.S64 or Number.U64 or Number.Predicate) return false;
        return IsIn(made, operation.Sources[0]) && (native.Kind != Native.Select || IsIn(made, operation.Sources[1]));
    }

    private static bool IsQuietWith(Operation operation, bool[] quiet)
    {
        if (operation.Kind != OperationKind.Pure) return MakesOrCopies(operation, quiet);
        return operation.Native.Kind switch
        {
            // Of these two the processor only changes the sign.
            Native.Negate or Native.Absolute => IsIn(quiet, operation.Sources[0]),
            // And of two NaNs these give one as it is.
            Native.Minimum or Native.Maximum => (IsIn(quiet, operation.Sources[0]) && IsIn(quiet, operation.Sources[1])) || IsNumber(operation.Sources[0]) || IsNumber(operation.Sources[1]),
            _ => MakesOrCopies(operation, quiet),
        };
    }

    /// <summary>A web with a property, or a number, which has all of them.</summary>
    private static bool IsIn(bool[] webs, Source source) => source.IsWeb ? webs[source.Web] : IsNumber(source);

    private static bool IsNumber(Source source) => source.IsConstant && !float.IsNaN(BitConverter.UInt32BitsToSingle((uint)source.Bits));

    private bool Tolerates(Operation operation, int source)
    {
        switch (operation.Kind)
        {
            case OperationKind.Store:
                return source > 0 && operation.Type is "f32" or "b32" or "u32" or "s32";
            case OperationKind.Shuffle:
                return _raw[operation.Destinations[0]];
            case OperationKind.Pure:
                var native = operation.Native;
                if (native.Copies && native.In is not Number.Predicate) return source == 2 || _raw[operation.Destinations[0]] || OnlyScalesNaN(operation, operation.Destinations[0]);
                return native.In == Number.F32 || (native.Kind == Native.ShiftLeft && source == 0 && OnlyScalesNaN(operation, operation.Destinations[0]));
            default:
                return false;
        }
    }

    /// <summary>
    /// Bits that <paramref name="shift"/> (a shift, or a move before or after one) passes on reach products only, within its block, whose other factor is
    /// NaN if what was shifted is.
    /// </summary>
    private bool OnlyScalesNaN(Operation shift, int web)
    {
        if (shift.Reaching[0] is not { } root || root.Block != shift.Block || _webs.Definitions[web].Count != 1) return false;
        while (root.Kind == OperationKind.Pure && root.Native.Kind is Native.Move or Native.ShiftLeft)
        {
            if (root.Reaching[0] is not { } from || from.Block != shift.Block) return false;
            root = from;
        }
        return Reaches(web);

        bool Reaches(int from) => _users[from] is { } users && users.TrueForAll(use =>
        {
            if (use.User.Kind != OperationKind.Pure || use.User.Block != shift.Block || use.User.Origin < root.Origin || use.User.Reaching[use.Source] is null) return false;
            var native = use.User.Native;
            return native switch
            {
                { Kind: Native.Multiply, In: Number.F32 } => IsNaNWith(use.User.Reaching[1 - use.Source], root, []),
                { Kind: Native.Move } or { Kind: Native.ShiftLeft } when use.Source == 0 && _webs.Definitions[use.User.Destinations[0]].Count == 1 => Reaches(use.User.Destinations[0]),
                _ => false,
            };
        });
    }

    /// <summary>An operation whose result is NaN if that of <paramref name="root"/> is.</summary>
    /// <param name="seen">Operations that were looked at: many paths lead to one.</param>
    private static bool IsNaNWith(Operation? operation, Operation root, HashSet<Operation> seen)
    {
        if (operation == root) return true;
        if (operation is not { Kind: OperationKind.Pure } || operation.Block != root.Block || operation.Origin < root.Origin || !seen.Add(operation)) return false;
        var native = operation.Native;
        return native is { In: Number.F32, Kind: Native.Move or Native.Add or Native.Subtract or Native.Multiply or Native.Fused or Native.Negate }
            && operation.Reaching.Any(source => IsNaNWith(source, root, seen));
    }
}
