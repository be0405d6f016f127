namespace ClipCuda.Ptx;

/// <summary>
/// Immediate dominators of a graph, or on the reversed graph post-dominators: Cooper, Harvey, Kennedy, "A Simple, Fast Dominance Algorithm" (2001).
/// </summary>
internal static class Dominance
{
    /// <summary>The nodes that can be reached from a root, each after all that it leads to for the first time.</summary>
    public static List<int> PostOrder(int root, int count, Func<int, IEnumerable<int>> successors)
    {
        var order = new List<int>();
        var visited = new bool[count];
        var stack = new Stack<(int Node, IEnumerator<int> Next)>();
        visited[root] = true;
        stack.Push((root, successors(root).GetEnumerator()));
        while (stack.TryPeek(out var top))
        {
            if (!top.Next.MoveNext())
            {
                order.Add(top.Node);
                stack.Pop();
            }
            else if (!visited[top.Next.Current])
            {
                visited[top.Next.Current] = true;
                stack.Push((top.Next.Current, successors(top.Next.Current).GetEnumerator()));
            }
        }
        return order;
    }

    /// <summary>The immediate dominator of each node; the root is its own, a node that is never reached has −1.</summary>
    /// <param name="postOrder">From the root, which is its last.</param>
    public static int[] Immediate(List<int> postOrder, int count, Func<int, IEnumerable<int>> predecessors)
    {
        int root = postOrder[^1];
        var number = new int[count];
        Array.Fill(number, -1);
        for (int i = 0; i < postOrder.Count; i++) number[postOrder[i]] = i;
        var immediate = new int[count];
        Array.Fill(immediate, -1);
        immediate[root] = root;
        for (bool changed = true; changed;)
        {
            changed = false;
            for (int i = postOrder.Count - 2; i >= 0; i--)
            {
                int node = postOrder[i], best = -1;
                foreach (int p in predecessors(node))
                {
                    if (immediate[p] < 0) continue;
                    best = best < 0 ? p : Intersect(best, p);
                }
                changed |= immediate[node] != best;
                immediate[node] = best;
            }
        }
        return immediate;

        int Intersect(int a, int b)
        {
            while (a != b)
            {
                while (number[a] < number[b]) a = immediate[a];
                while (number[b] < number[a]) b = immediate[b];
            }
            return a;
        }
    }
}
