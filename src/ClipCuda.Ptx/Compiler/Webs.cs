namespace ClipCuda.Ptx.Compiler;

/// <summary>
/// Renames registers into webs: definitions that some use cannot tell apart share one, all others get webs of their own, so that a
/// register used for two things is two. Then which webs are live at the ends of each block.
/// </summary>
internal sealed class Webs
{
    private readonly List<BasicBlock> _blocks;
    private readonly FlowGraph _graph;

    private Webs(PtxEntry entry, List<BasicBlock> blocks, FlowGraph graph)
    {
        _blocks = blocks;
        _graph = graph;
        var definitions = new List<(int Block, int Operation, int Index, int Register)>();
        List<int>[] ofRegister = [.. entry.Registers.Select(_ => new List<int>())];
        foreach (int b in graph.Order)
        {
            var operations = blocks[b].Operations;
            for (int i = 0; i < operations.Count; i++)
            {
                operations[i].Block = b;
                operations[i].Number = Operations++;
                operations[i].SourceRegisters = Array.ConvertAll(operations[i].Sources, s => s.Web);
                operations[i].DestinationRegisters = [.. operations[i].Destinations];
                for (int d = 0; d < operations[i].Destinations.Length; d++)
                {
                    ofRegister[operations[i].Destinations[d]].Add(definitions.Count);
                    definitions.Add((b, i, d, operations[i].Destinations[d]));
                }
            }
        }
        var parent = Enumerable.Range(0, definitions.Count).ToArray();
        var reaching = ReachingDefinitions(definitions, ofRegister);
        // Without an operation, it is the condition at the end of the block.
        var uses = new List<(BasicBlock Block, Operation? Operation, int Source, int Definition)>();
        // What defined each register last in the block that is looked at.
        var (current, currentBlock) = (new int[entry.Registers.Count], new int[entry.Registers.Count]);
        Array.Fill(currentBlock, -1);
        int definition = 0;
        bool single = true;
        foreach (int b in graph.Order)
        {
            foreach (var operation in blocks[b].Operations)
            {
                operation.Reaching = new Operation?[operation.Sources.Length];
                for (int s = 0; s < operation.Sources.Length; s++)
                {
                    if (!operation.Sources[s].IsWeb) continue;
                    int found = Find(operation.Sources[s].Web, b);
                    uses.Add((blocks[b], operation, s, found));
                    if (single && found >= 0) operation.Reaching[s] = blocks[definitions[found].Block].Operations[definitions[found].Operation];
                }
                foreach (int register in operation.Destinations) (current[register], currentBlock[register]) = (definition++, b);
            }
            if (blocks[b].End == BlockEnd.Branch) uses.Add((blocks[b], null, 0, Find(blocks[b].Condition, b)));
        }
        var number = new int[definitions.Count];
        Array.Fill(number, -1);
        var types = new List<ValueType>();
        foreach (var (block, operation, s, use) in uses)
        {
            int web = use < 0 ? -1 : WebOf(use);
            if (operation is null) block.Condition = web;
            else operation.Sources[s] = use < 0 ? Source.Constant(0) : new Source(web);
        }
        for (int d = 0; d < definitions.Count; d++)
        {
            var (b, o, index, _) = definitions[d];
            blocks[b].Operations[o].Destinations[index] = WebOf(d);
        }
        UseConstants();
        Types = [.. types];
        Definitions = [.. Types.Select(_ => new List<Operation>())];
        Uses = new int[Types.Length];
        foreach (int b in graph.Order)
        {
            foreach (var operation in blocks[b].Operations)
            {
                foreach (int web in operation.Destinations) Definitions[web].Add(operation);
                foreach (var source in operation.Sources) if (source.IsWeb) Uses[source.Web]++;
            }
            if (blocks[b].End == BlockEnd.Branch && blocks[b].Condition >= 0) Uses[blocks[b].Condition]++;
        }
        (LiveIn, LiveOut) = Liveness();

        // The definition that reaches a use; those that reach it together are one web. −1 if none does.
        int Find(int register, int block)
        {
            single = true;
            if (currentBlock[register] == block) return current[register];
            int first = -1;
            foreach (int d in ofRegister[register])
            {
                if (!reaching[block][d]) continue;
                if (first < 0)
                {
                    first = d;
                    continue;
                }
                single = false;
                Join(first, d);
            }
            return first;
        }

        int Root(int d)
        {
            while (parent[d] != d) d = parent[d] = parent[parent[d]];
            return d;
        }

        void Join(int a, int b) => parent[Root(a)] = Root(b);

        int WebOf(int d)
        {
            int root = Root(d);
            if (number[root] >= 0) return number[root];
            int web = number[root] = types.Count;
            var register = entry.Registers[definitions[d].Register];
            types.Add(register.Bits == 1 ? ValueType.Predicate
                : register.Bits == 64 ? register.IsFloat ? ValueType.Double : ValueType.Bits64
                : register.IsFloat ? ValueType.Float : ValueType.Bits32);
            return web;
        }
    }

    /// <summary>The number of operations in reachable blocks.</summary>
    public int Operations { get; }

    public ValueType[] Types { get; }

    public int Count => Types.Length;

    public List<Operation>[] Definitions { get; }

    /// <summary>How often each web is read.</summary>
    public int[] Uses { get; }

    public BitSet[] LiveIn { get; }

    public BitSet[] LiveOut { get; }

    public static Webs Build(PtxEntry entry, List<BasicBlock> blocks, FlowGraph graph) => new(entry, blocks, graph);

    /// <summary>A use that one move of an immediate reaches uses the immediate: clang keeps zeros in registers that later hold something else.</summary>
    private void UseConstants()
    {
        foreach (int b in _graph.Order)
        {
            foreach (var operation in _blocks[b].Operations)
            {
                if (operation.Kind is OperationKind.Shuffle or OperationKind.Fallback) continue;
                for (int s = 0; s < operation.Sources.Length; s++)
                {
                    if (operation.Reaching[s] is { Kind: OperationKind.Pure, Sources: [{ IsConstant: true } immediate] } move && move.Native.Kind == Native.Move)
                        operation.Sources[s] = immediate;
                }
            }
        }
    }

    private BitSet[] ReachingDefinitions(List<(int Block, int Operation, int Index, int Register)> definitions, List<int>[] ofRegister)
    {
        int count = _blocks.Count;
        var (enter, leave, kill) = (new BitSet[count], new BitSet[count], new BitSet[count]);
        for (int b = 0; b < count; b++) (enter[b], leave[b], kill[b]) = (new BitSet(definitions.Count), new BitSet(definitions.Count), new BitSet(definitions.Count));
        for (int d = 0; d < definitions.Count; d++)
        {
            int b = definitions[d].Block;
            foreach (int other in ofRegister[definitions[d].Register])
            {
                kill[b].Add(other);
                if (other < d && definitions[other].Block == b) leave[b].Remove(other);
            }
            leave[b].Add(d);
        }
        var scratch = new BitSet(definitions.Count);
        for (bool changed = true; changed;)
        {
            changed = false;
            foreach (int b in _graph.Order)
            {
                foreach (int p in _graph.Predecessors[b]) enter[b].UnionWith(leave[p]);
                scratch.CopyFrom(enter[b]);
                scratch.ExceptWith(kill[b]);
                changed |= leave[b].UnionWith(scratch);
            }
        }
        return enter;
    }

    private (BitSet[] In, BitSet[] Out) Liveness()
    {
        int count = _blocks.Count;
        var (liveIn, liveOut, used, killed) = (new BitSet[count], new BitSet[count], new BitSet[count], new BitSet[count]);
        for (int b = 0; b < count; b++) (liveIn[b], liveOut[b], used[b], killed[b]) = (new BitSet(Count), new BitSet(Count), new BitSet(Count), new BitSet(Count));
        foreach (int b in _graph.Order)
        {
            foreach (var operation in _blocks[b].Operations)
            {
                foreach (var source in operation.Sources) if (source.IsWeb && !killed[b][source.Web]) used[b].Add(source.Web);
                foreach (int web in operation.Destinations) killed[b].Add(web);
            }
            if (_blocks[b].End == BlockEnd.Branch && _blocks[b].Condition >= 0 && !killed[b][_blocks[b].Condition]) used[b].Add(_blocks[b].Condition);
        }
        var scratch = new BitSet(Count);
        for (bool changed = true; changed;)
        {
            changed = false;
            for (int i = _graph.Order.Count - 1; i >= 0; i--)
            {
                int b = _graph.Order[i];
                foreach (int next in _blocks[b].Successors()) liveOut[b].UnionWith(liveIn[next]);
                scratch.CopyFrom(liveOut[b]);
                scratch.ExceptWith(killed[b]);
                scratch.UnionWith(used[b]);
                changed |= liveIn[b].UnionWith(scratch);
            }
        }
        return (liveIn, liveOut);
    }
}
