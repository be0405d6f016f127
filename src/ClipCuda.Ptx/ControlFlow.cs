namespace ClipCuda.Ptx;

/// <summary>
/// The control-flow graph of an entry: basic blocks, live registers at their ends, and immediate post-dominators, where lanes that
/// parted at a branch meet again. Block <see cref="Exit"/> is virtual: every <c>ret</c>, <c>exit</c> and <c>trap</c> leads to it.
/// </summary>
internal sealed class ControlFlow
{
    private readonly PtxEntry _entry;
    private readonly List<int>[] _successors;
    private readonly int[] _immediatePostDominator;

    public ControlFlow(PtxEntry entry)
    {
        _entry = entry;
        var code = entry.Instructions;
        var starts = new SortedSet<int> { 0 };
        for (int i = 0; i < code.Count; i++)
        {
            if (!EndsBlock(code[i])) continue;
            starts.Add(i + 1);
            if (IsBranch(code[i])) starts.Add((int)code[i].Operands[0].Value);
        }
        starts.Remove(code.Count);
        Starts = [.. starts];
        BlockOf = new int[code.Count + 1];
        BlockOf[code.Count] = Exit;
        for (int block = 0; block < Starts.Length; block++)
        {
            for (int i = Starts[block]; i < End(block); i++) BlockOf[i] = block;
        }
        _successors = [.. Enumerable.Range(0, Starts.Length).Select(Successors), []];
        _immediatePostDominator = PostDominators();
    }

    /// <summary>Index of each block's first instruction.</summary>
    public int[] Starts { get; }

    /// <summary>The block of each instruction; one past the last belongs to <see cref="Exit"/>.</summary>
    public int[] BlockOf { get; }

    public int Exit => Starts.Length;

    /// <summary>Where lanes that part at the end of this instruction's block meet again; the number of instructions if only at the exit.</summary>
    public int ReconvergenceOf(int instruction)
    {
        int block = _immediatePostDominator[BlockOf[instruction]];
        return block < 0 || block == Exit ? _entry.Instructions.Count : Starts[block];
    }

    public int End(int block) => block + 1 < Starts.Length ? Starts[block + 1] : _entry.Instructions.Count;

    /// <summary>The first and last instruction at which each register holds a value that is still wanted; (-1, -1) if it is never used.</summary>
    /// <param name="reads">Appends what an instruction reads.</param>
    /// <param name="writes">Appends what it writes.</param>
    public (int First, int Last)[] LiveRanges(Action<PtxInstruction, List<int>> reads, Action<PtxInstruction, List<int>> writes)
    {
        var code = _entry.Instructions;
        BitSet[] liveIn = NewSets(), liveOut = NewSets(), used = NewSets(), killed = NewSets();
        var ranges = new (int First, int Last)[_entry.Registers.Count];
        Array.Fill(ranges, (-1, -1));
        var registers = new List<int>();
        for (int block = 0; block < Starts.Length; block++)
        {
            for (int i = Starts[block]; i < End(block); i++)
            {
                registers.Clear();
                reads(code[i], registers);
                foreach (int r in registers)
                {
                    if (!killed[block][r]) used[block].Add(r);
                    Extend(r, i);
                }
                registers.Clear();
                writes(code[i], registers);
                foreach (int r in registers)
                {
                    // A guarded write leaves other lanes' values alone, so it does not end a life.
                    if (code[i].Guard < 0) killed[block].Add(r);
                    Extend(r, i);
                }
            }
        }
        var scratch = new BitSet(ranges.Length);
        for (bool changed = true; changed;)
        {
            changed = false;
            for (int block = Starts.Length - 1; block >= 0; block--)
            {
                foreach (int next in _successors[block]) liveOut[block].UnionWith(liveIn[next]);
                scratch.CopyFrom(liveOut[block]);
                scratch.ExceptWith(killed[block]);
                scratch.UnionWith(used[block]);
                changed |= liveIn[block].UnionWith(scratch);
            }
        }
        for (int block = 0; block < Starts.Length; block++)
        {
            foreach (int r in liveIn[block]) Extend(r, Starts[block]);
            foreach (int r in liveOut[block]) Extend(r, End(block));
        }
        return ranges;

        void Extend(int r, int at) => ranges[r] = ranges[r].First < 0 ? (at, at) : (Math.Min(ranges[r].First, at), Math.Max(ranges[r].Last, at));

        BitSet[] NewSets() => [.. Enumerable.Range(0, Exit + 1).Select(_ => new BitSet(_entry.Registers.Count))];
    }

    public static bool IsBranch(PtxInstruction instruction) => instruction.Opcode is "bra" or "bra.uni";

    public static bool IsExit(PtxInstruction instruction) => instruction.Opcode is "ret" or "ret.uni" or "exit" or "trap";

    private static bool EndsBlock(PtxInstruction instruction) => IsBranch(instruction) || IsExit(instruction);

    private List<int> Successors(int block)
    {
        var last = _entry.Instructions[End(block) - 1];
        var successors = new List<int>();
        if (IsBranch(last)) successors.Add(BlockOf[(int)last.Operands[0].Value]);
        if (IsExit(last)) successors.Add(Exit);
        if (!EndsBlock(last) || last.Guard >= 0) successors.Add(BlockOf[End(block)]);
        return successors;
    }

    private int[] PostDominators()
    {
        var predecessors = Enumerable.Range(0, Exit + 1).Select(_ => new List<int>()).ToArray();
        for (int block = 0; block < Exit; block++)
        {
            foreach (int next in _successors[block]) predecessors[next].Add(block);
        }
        return Dominance.Immediate(Dominance.PostOrder(Exit, Exit + 1, b => predecessors[b]), Exit + 1, b => _successors[b]);
    }
}
