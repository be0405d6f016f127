namespace ClipCuda.Ptx.Compiler;

/// <summary>
/// Which values never get a place of their own: used once, in the block that computes them, they are computed where they are used and
/// stay on the IL stack. So a comparison folds into its select, and a broadcast load into its multiplication. A float that all lanes load from
/// one address may be used several times: instructions take it from memory as cheaply as from a register.
/// </summary>
internal sealed class Inlining
{
    private const int DeepestTree = 24;

    /// <summary>Uses of a broadcast load beyond which a register serves better.</summary>
    private const int MostBroadcasts = 4;

    /// <summary>Over so few instructions a value may be put off whatever it needs.</summary>
    private const int Near = 4;

    private readonly Operation?[] _inlined;
    private readonly bool[] _absorbed;

    public Inlining(List<BasicBlock> blocks, FlowGraph graph, Webs webs, Analysis analysis)
    {
        _inlined = new Operation?[webs.Count];
        _absorbed = new bool[webs.Count];
        Absorbed = [];
        foreach (int b in graph.Order) Plan(blocks[b], webs, analysis);
    }

    /// <summary>Shuffles that a reduction step does itself.</summary>
    public HashSet<Operation> Absorbed { get; }

    /// <summary>The operation that computes a web where it is used, or null if the web has a place.</summary>
    public Operation? Of(int web) => _inlined[web];

    /// <summary>The web is what such a shuffle gives; nobody else reads it.</summary>
    public bool IsAbsorbed(int web) => _absorbed[web];

    public bool IsInlined(Operation operation) => operation.Destinations.Length == 1 && _inlined[operation.Destinations[0]] == operation;

    private void Plan(BasicBlock block, Webs webs, Analysis analysis)
    {
        var operations = block.Operations;
        var trees = new Dictionary<int, Tree>();
        var leaves = new List<int>();
        for (int i = 0; i <= operations.Count; i++)
        {
            leaves.Clear();
            bool loads = false;
            int depth = 0;
            if (i < operations.Count)
            {
                var at = operations[i];
                int skip = -1;
                if (analysis.ReductionPeriod(at, out int shuffled) > 0 && webs.Uses[at.Sources[shuffled].Web] == 1)
                {
                    Absorbed.Add(at.Reaching[shuffled]!);
                    _absorbed[at.Sources[shuffled].Web] = true;
                    skip = shuffled;
                }
                // Fallbacks and shuffles want their operands in memory or in registers.
                bool accepts = at.Kind is OperationKind.Pure or OperationKind.Load or OperationKind.Store;
                bool scalar = at.Destinations.Length > 0 && analysis.ResultOf(at).IsScalar;
                for (int s = 0; s < at.Sources.Length; s++)
                {
                    if (!at.Sources[s].IsWeb || s == skip) continue;
                    Take(at.Sources[s].Web, i, accepts, scalar || (at.Kind != OperationKind.Pure && s == 0));
                }
                if (IsCandidate(at, webs, analysis) && depth < DeepestTree) trees[at.Destinations[0]] = new Tree(i, at, [.. leaves], loads || at.ReadsMemory, depth + 1);
            }
            else if (block.End == BlockEnd.Branch && block.Condition >= 0)
            {
                Take(block.Condition, i, true, true);
            }

            void Take(int web, int use, bool accepts, bool scalarUse)
            {
                if (accepts && trees.TryGetValue(web, out var tree) && Fits(tree, use) && !HoldsUp(tree, use, web) && (scalarUse || IsCheap(tree.Operation, analysis)))
                {
                    _inlined[web] = tree.Operation;
                    tree.Taken++;
                    foreach (int leaf in tree.Leaves) AddLeaf(leaf);
                    loads |= tree.Loads;
                    depth = Math.Max(depth, tree.Depth);
                    return;
                }
                AddLeaf(web);
            }
        }

        // A load that not every use could take needs a place after all.
        foreach (var tree in trees.Values)
        {
            int web = tree.Operation.Destinations[0];
            if (tree.Taken < webs.Uses[web]) _inlined[web] = null;
        }

        // Put off to where it is used, a value takes one register less, and keeps those busy that it is computed from. Of the sums of an unrolled loop
        // each would wait for the last factor, and all factors be in registers.
        bool HoldsUp(Tree tree, int use, int web) =>
            use - tree.At > Near && use < operations.Count && NativeOf(tree.Operation) == Native.Fused
            && ((NativeOf(operations[use]) == Native.Fused && operations[use].Sources[2] == new Source(web)) || NativeOf(operations[use]) == Native.Move)
            && LastReads(tree, use) > 1;

        // Vectors that nobody needs from there on.
        int LastReads(Tree tree, int use)
        {
            int count = 0;
            foreach (int leaf in tree.Leaves) if (!analysis.Classes[leaf].IsScalar && !IsRead(leaf, block, use, webs)) count++;
            return count;
        }

        void AddLeaf(int leaf)
        {
            if (!leaves.Contains(leaf)) leaves.Add(leaf);
        }

        static Native? NativeOf(Operation operation) => operation.Kind == OperationKind.Pure ? operation.Native.Kind : null;

        bool Fits(Tree tree, int use)
        {
            for (int k = tree.At + 1; k < use; k++)
            {
                if (tree.Loads && operations[k].WritesMemory) return false;
                foreach (int web in operations[k].Destinations) if (tree.Leaves.Contains(web)) return false;
            }
            return true;
        }
    }

    /// <summary>Whether what a web holds before an operation of the block is read by it or later.</summary>
    private static bool IsRead(int web, BasicBlock block, int from, Webs webs)
    {
        for (int k = from; k < block.Operations.Count; k++)
        {
            foreach (var source in block.Operations[k].Sources) if (source.Web == web) return true;
            if (block.Operations[k].Destinations.Contains(web)) return false;
        }
        return webs.LiveOut[block.Index][web];
    }

    private static bool IsCandidate(Operation at, Webs webs, Analysis analysis)
    {
        if (at.Destinations is not [int web] || webs.Uses[web] > (IsBroadcast(at, webs, analysis) ? MostBroadcasts : 1) || webs.Definitions[web].Count != 1) return false;
        if (analysis.Classes[web] != analysis.ResultOf(at) || analysis.Classes[web].Kind == ValueKind.Periodic) return false;
        if (analysis.NeedsTest(at) || analysis.ReductionPeriod(at, out _) > 0) return false;
        if (at.Kind == OperationKind.Load) return analysis.IsUniform(at.Sources[0]) || (MemoryForm.Of(at, analysis, webs) == MemoryShape.Contiguous && !analysis.IsPartial(at.Block));
        return at.Kind == OperationKind.Pure && VectorForm.Exists(at, analysis);
    }

    private static bool IsBroadcast(Operation at, Webs webs, Analysis analysis) =>
        at.Kind == OperationKind.Load && webs.Types[at.Destinations[0]] == ValueType.Float && analysis.IsUniform(at.Sources[0]);

    /// <summary>A varying value costs as much wherever it is computed; a scalar that vectors use would be computed for each of them.</summary>
    private static bool IsCheap(Operation at, Analysis analysis) =>
        !analysis.ResultOf(at).IsScalar || at.Kind == OperationKind.Load || (at.Kind == OperationKind.Pure && at.Native.Kind is Native.Move or Native.Parameter && at.Sources.All(s => s.IsConstant));

    private sealed record Tree(int At, Operation Operation, int[] Leaves, bool Loads, int Depth)
    {
        /// <summary>Uses that compute it where they are.</summary>
        public int Taken { get; set; }
    }
}

/// <summary>How a load or store meets memory.</summary>
internal enum MemoryShape
{
    /// <summary>All lanes at one address.</summary>
    Uniform,

    /// <summary>Neighbouring lanes at neighbouring elements: a vector access.</summary>
    Contiguous,

    /// <summary>Lanes at a constant distance.</summary>
    Strided,

    /// <summary>Anywhere.</summary>
    Scattered,
}

internal static class MemoryForm
{
    public static MemoryShape Of(Operation operation, Analysis analysis, Webs webs)
    {
        var address = analysis.ClassOf(operation.Sources[0]);
        if (address.IsUniform) return MemoryShape.Uniform;
        if (!address.IsAffine) return MemoryShape.Scattered;
        int values = operation.Kind == OperationKind.Load ? operation.Destinations.Length : operation.Sources.Length - 1;
        if (values != 1 || address.Step != ElementBytes(operation.Type)) return MemoryShape.Strided;
        // The register may be wider than what memory holds.
        int value = operation.Kind == OperationKind.Load ? operation.Destinations[0] : operation.Sources[1].Web;
        bool wide = value >= 0 ? webs.Types[value] is ValueType.Bits64 or ValueType.Double : address.Step == 8;
        return address.Step == (wide ? 8 : 4) ? MemoryShape.Contiguous : MemoryShape.Strided;
    }

    public static int ElementBytes(string type) => type switch
    {
        "b8" or "u8" or "s8" => 1,
        "b16" or "u16" or "s16" => 2,
        "b64" or "u64" or "s64" or "f64" => 8,
        _ => 4,
    };
}

/// <summary>Which operations on varying values have vector code; the others run lane by lane in the interpreter's handlers.</summary>
internal static class VectorForm
{
    public static bool Exists(Operation operation, Analysis analysis)
    {
        if (analysis.ResultOf(operation).IsScalar) return true;
        var native = operation.Native;
        return native.Kind switch
        {
            Native.Divide or Native.Remainder => native.In is Number.F32 or Number.S32 or Number.U32,
            Native.ShiftLeft or Native.ShiftRight => operation.Sources[1].IsConstant,
            Native.IntegerToFloat => native.In is Number.S32 or Number.U32,
            Native.MultiplyHigh => false,
            _ => true,
        };
    }
}
