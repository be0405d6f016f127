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
    public (int First, int Last)[] LiveRanges(Func<PtxInstruction, IEnumerable<int>> reads, Func<PtxInstruction, IEnumerable<int>> writes)
    {
        var code = _entry.Instructions;
        int words = (_entry.Registers.Count + 63) / 64;
        ulong[][] liveIn = NewSets(words), liveOut = NewSets(words), used = NewSets(words), killed = NewSets(words);
        for (int block = 0; block < Starts.Length; block++)
        {
            for (int i = Starts[block]; i < End(block); i++)
            {
                foreach (int r in reads(code[i]))
                {
                    if ((killed[block][r / 64] >> r & 1) == 0) used[block][r / 64] |= 1UL << r;
                }
                // A guarded write leaves other lanes' values alone, so it does not end a life.
                if (code[i].Guard >= 0) continue;
                foreach (int r in writes(code[i])) killed[block][r / 64] |= 1UL << r;
            }
        }
        for (bool changed = true; changed;)
        {
            changed = false;
            for (int block = Starts.Length - 1; block >= 0; block--)
            {
                for (int w = 0; w < words; w++)
                {
                    foreach (int next in _successors[block]) liveOut[block][w] |= liveIn[next][w];
                    ulong before = liveIn[block][w];
                    liveIn[block][w] = used[block][w] | (liveOut[block][w] & ~killed[block][w]);
                    changed |= before != liveIn[block][w];
                }
            }
        }
        var ranges = new (int First, int Last)[_entry.Registers.Count];
        Array.Fill(ranges, (-1, -1));
        for (int block = 0; block < Starts.Length; block++)
        {
            for (int r = 0; r < ranges.Length; r++)
            {
                if ((liveIn[block][r / 64] >> r & 1) != 0) Extend(r, Starts[block]);
                if ((liveOut[block][r / 64] >> r & 1) != 0) Extend(r, End(block));
            }
            for (int i = Starts[block]; i < End(block); i++)
            {
                foreach (int r in reads(code[i])) Extend(r, i);
                foreach (int r in writes(code[i])) Extend(r, i);
            }
        }
        return ranges;

        void Extend(int r, int at) => ranges[r] = ranges[r].First < 0 ? (at, at) : (Math.Min(ranges[r].First, at), Math.Max(ranges[r].Last, at));
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

    private ulong[][] NewSets(int words) => [.. Enumerable.Range(0, Exit + 1).Select(_ => new ulong[words])];
}
