namespace ClipCuda.Ptx.Compiler;

/// <summary>
/// The shape of a kernel's blocks: predecessors, dominators and post-dominators, natural loops, and an
/// order in which every block follows all its forward predecessors and loops are contiguous. Lanes that take turns through the blocks in that
/// order meet as early as they can.
/// </summary>
internal sealed class FlowGraph
{
    private readonly List<BasicBlock> _blocks;
    private readonly int[] _dominator;
    private readonly int[] _postDominator;

    /// <exception cref="NotCompilableException">A loop has two entries.</exception>
    public FlowGraph(List<BasicBlock> blocks)
    {
        _blocks = blocks;
        int count = blocks.Count;
        Predecessors = [.. Enumerable.Range(0, count).Select(_ => new List<int>())];
        var postOrder = Dominance.PostOrder(0, count, b => blocks[b].Successors());
        foreach (int b in postOrder)
        {
            foreach (int next in blocks[b].Successors()) Predecessors[next].Add(b);
        }
        _dominator = Dominance.Immediate(postOrder, count, b => Predecessors[b]);
        Loops = FindLoops(postOrder);
        LoopOf = new Loop?[count];
        foreach (var loop in Loops.OrderByDescending(l => l.Blocks.Count))
        {
            foreach (int b in loop.Blocks) LoopOf[b] = loop;
        }
        foreach (var loop in Loops) loop.Parent = Loops.Where(l => l != loop && l.Blocks.Contains(loop.Header) && l.Blocks.Count > loop.Blocks.Count).MinBy(l => l.Blocks.Count);
        Order = Layout(postOrder);
        Position = new int[count];
        Array.Fill(Position, -1);
        for (int i = 0; i < Order.Count; i++) Position[Order[i]] = i;
        _postDominator = PostDominators();
    }

    public List<int>[] Predecessors { get; }

    public List<Loop> Loops { get; }

    /// <summary>The innermost loop of each block.</summary>
    public Loop?[] LoopOf { get; }

    /// <summary>Reachable blocks in layout order.</summary>
    public List<int> Order { get; }

    /// <summary>Place of each block in <see cref="Order"/>; −1 if it is never reached.</summary>
    public int[] Position { get; }

    /// <summary>Where lanes that part at the end of a block meet at the latest; −1 if only at the exit.</summary>
    public int MeetingOf(int block) => _postDominator[block];

    public bool IsInnermost(Loop loop) => !Loops.Exists(l => l.Parent == loop);

    public int DepthOf(int block)
    {
        int depth = 0;
        for (var loop = LoopOf[block]; loop is not null; loop = loop.Parent) depth++;
        return depth;
    }

    /// <summary>Blocks where lanes wait, in the order in which they are to run after <paramref name="from"/>: inner loops before outer ones, forward before back.</summary>
    public List<int> InOrder(int from, BitSet waiting, params ReadOnlySpan<int> others)
    {
        var left = new List<int>();
        foreach (int b in waiting) left.Add(b);
        foreach (int b in others) if (!left.Contains(b)) left.Add(b);
        if (left.Count < 2) return left;
        left.Sort((a, b) => Position[a].CompareTo(Position[b]));
        var result = new List<int>(left.Count);
        for (var loop = LoopOf[from]; loop is not null; loop = loop.Parent)
        {
            Take(b => loop.Blocks.Contains(b) && Position[b] > Position[from]);
            Take(b => b == loop.Header);
        }
        result.AddRange(left);
        return result;

        void Take(Predicate<int> which)
        {
            result.AddRange(left.FindAll(which));
            left.RemoveAll(which);
        }
    }

    private bool Dominates(int a, int b)
    {
        while (true)
        {
            if (a == b) return true;
            if (b == 0) return false;
            b = _dominator[b];
        }
    }

    private List<Loop> FindLoops(List<int> postOrder)
    {
        var number = new int[_blocks.Count];
        for (int i = 0; i < postOrder.Count; i++) number[postOrder[i]] = i;
        var loops = new Dictionary<int, Loop>();
        foreach (int b in postOrder)
        {
            foreach (int header in _blocks[b].Successors())
            {
                if (number[header] < number[b]) continue;
                if (!Dominates(header, b)) throw new NotCompilableException("a loop with two entries");
                if (!loops.TryGetValue(header, out var loop)) loops.Add(header, loop = new Loop(header));
                var stack = new Stack<int>([b]);
                while (stack.TryPop(out int inside))
                {
                    if (!loop.Blocks.Add(inside)) continue;
                    foreach (int p in Predecessors[inside]) stack.Push(p);
                }
            }
        }
        return [.. loops.Values];
    }

    /// <summary>Kahn's topological order over forward edges; among ready blocks one of the innermost open loop goes first.</summary>
    private List<int> Layout(List<int> reachable)
    {
        var waitingFor = new int[_blocks.Count];
        foreach (int b in reachable) waitingFor[b] = Predecessors[b].Count(p => !IsBackEdge(p, b));
        var ready = new List<int> { 0 };
        var order = new List<int>();
        while (ready.Count > 0)
        {
            int pick = 0;
            for (var loop = order.Count == 0 ? null : LoopOf[order[^1]]; loop is not null; loop = loop.Parent)
            {
                int found = ready.FindIndex(b => loop.Blocks.Contains(b));
                if (found < 0) continue;
                pick = found;
                break;
            }
            int next = ready[pick];
            ready.RemoveAt(pick);
            order.Add(next);
            // What falls through comes next where it can.
            foreach (int successor in _blocks[next].Successors())
            {
                if (!IsBackEdge(next, successor) && --waitingFor[successor] == 0) ready.Insert(0, successor);
            }
        }
        return order;
    }

    public bool IsBackEdge(int from, int to) => LoopHeadedBy(to) is { } loop && loop.Blocks.Contains(from);

    private Loop? LoopHeadedBy(int block) => Loops.Find(l => l.Header == block);

    private int[] PostDominators()
    {
        // A virtual exit numbered past the blocks; endless loops hang on it too.
        int exit = _blocks.Count;
        var forward = new List<int>[exit + 1];
        var backward = new List<int>[exit + 1];
        for (int b = 0; b <= exit; b++) (forward[b], backward[b]) = ([], []);
        foreach (int b in Order)
        {
            var next = _blocks[b].Successors().ToList();
            if (next.Count == 0) next.Add(exit);
            forward[b] = next;
            foreach (int n in next) backward[n].Add(b);
        }
        var immediate = Dominance.Immediate(Dominance.PostOrder(exit, exit + 1, b => backward[b]), exit + 1, b => forward[b]);
        return [.. immediate.Take(exit).Select(b => b == exit ? -1 : b)];
    }
}

/// <summary>A natural loop.</summary>
internal sealed class Loop(int header)
{
    public int Header { get; } = header;

    public HashSet<int> Blocks { get; } = [header];

    public Loop? Parent { get; set; }
}
