namespace ClipCuda.Ptx.Compiler;

/// <summary>
/// Where a NaN must become 7FFFFFFF. Arithmetic on a CPU leaves other NaNs than a GPU writes; but as long as a value goes only into
/// arithmetic and comparisons nobody can tell. So such webs stay "raw", and the bits are put right where they are seen: at a
/// store, or at the definition if anything else looks at them. (Memory holds the right bits already, so what is loaded is never raw.)
/// </summary>
internal sealed class NaNs
{
    private readonly bool[] _raw;

    public NaNs(List<BasicBlock> blocks, FlowGraph graph, Webs webs)
    {
        // Made by arithmetic, or copied from such: putting its NaNs right never changes a NaN that a program put there itself.
        var made = new bool[webs.Count];
        for (int w = 0; w < webs.Count; w++) made[w] = webs.Types[w] is ValueType.Float or ValueType.Bits32 && webs.Definitions[w].Count > 0;
        for (bool changed = true; changed;)
        {
            changed = false;
            for (int w = 0; w < webs.Count; w++)
            {
                if (!made[w] || webs.Definitions[w].TrueForAll(d => MakesOrCopies(d, made))) continue;
                made[w] = false;
                changed = true;
            }
        }
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
    }

    /// <summary>The web may hold a NaN of any bits.</summary>
    public bool IsRaw(Source source) => source.IsWeb && _raw[source.Web];

    public bool IsRaw(int web) => _raw[web];

    private static bool MakesOrCopies(Operation operation, bool[] made)
    {
        if (operation.Kind == OperationKind.Shuffle) return made[operation.Sources[0].Web];
        if (operation.Kind != OperationKind.Pure) return false;
        var native = Natives.Get(operation.Opcode);
        if (native.MakesNaN || native.Kind is Native.IntegerToFloat or Native.Saturate) return true;
        if (!native.Copies || native.In is Number.S64 or Number.U64 or Number.Predicate) return false;
        return operation.Sources.Take(native.Kind == Native.Select ? 2 : 1)
            .All(s => s.IsWeb ? made[s.Web] : s.IsConstant && !float.IsNaN(BitConverter.UInt32BitsToSingle((uint)s.Bits)));
    }

    private bool Tolerates(Operation operation, int source)
    {
        switch (operation.Kind)
        {
            case OperationKind.Store:
                return source > 0 && operation.Type is "f32" or "b32" or "u32" or "s32";
            case OperationKind.Shuffle:
                return _raw[operation.Destinations[0]];
            case OperationKind.Pure:
                var native = Natives.Get(operation.Opcode);
                if (native.Copies && native.In is not Number.Predicate) return source == 2 || _raw[operation.Destinations[0]];
                return native.In == Number.F32;
            default:
                return false;
        }
    }
}
