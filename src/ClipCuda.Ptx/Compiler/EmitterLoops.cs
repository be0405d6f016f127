using System.Reflection.Emit;

namespace ClipCuda.Ptx.Compiler;

/// <summary>
/// Into loops, out of them, and in passes through them: what a loop has in registers of its own moves between these and memory, and where
/// lanes run it in passes, each pass begins with the scalars that the first one began with.
/// </summary>
internal sealed partial class Emitter
{
    private readonly Dictionary<Loop, List<(LocalBuilder Scalar, LocalBuilder Kept)>> _keptScalars = [];

    private void WritePasses(Loop loop, int passes)
    {
        for (_pass = 0; _pass < passes; _pass++) foreach (int b in _segment.Where(loop.Blocks.Contains)) WriteBlock(b);
        _pass = 0;
    }

    /// <summary>
    /// To where a loop that has barriers is left, and methods begin in it: what follows is a method of its own, instead of being part of all of
    /// them. Where a method is too long nevertheless, to where any loop is left.
    /// </summary>
    private bool EndsMethod(int from, int to) =>
        FollowsLoopThatEnds(to) && !_graph.IsBackEdge(from, to) && !_analysis.IsPartial(from) && (!_analysis.IsDivergent(from) || _analysis.IsSpeculative(from));

    private readonly Dictionary<int, bool> _followsLoop = [];

    private bool FollowsLoopThatEnds(int block)
    {
        if (_followsLoop.TryGetValue(block, out bool known)) return known;
        return _followsLoop[block] = _graph.Loops.Exists(l =>
            !l.Blocks.Contains(block) && _graph.Predecessors[block].Exists(l.Blocks.Contains) && (_brief || l.Blocks.Any(b => _blocks[b].End == BlockEnd.Barrier)));
    }

    /// <summary>Goes from a block (−1: the method's start) to another.</summary>
    private void Jump(int from, int to)
    {
        var (left, entered) = (from < 0 ? null : _graph.LoopOf[from], _graph.LoopOf[to]);
        bool ends = from >= 0 && EndsMethod(from, to);
        if (left == entered && !ends)
        {
            _il.Emit(OpCodes.Br, _labels[(to, _pass)]);
            return;
        }
        foreach (int web in _places.HeldBy(left).Where(w => IsWanted(to, w))) MoveParts(web, _places.In(left, web), _places[web], left, _pass);
        int passes = _places.PassesOf(left);
        if (_pass + 1 < passes)
        {
            foreach (var (scalar, kept) in KeptScalarsOf(left!)) Copy(kept, scalar);
            Enter(left, left!.Header, _pass + 1);
            return;
        }
        if (ends)
        {
            var (loop, pass) = (_loop, _pass);
            (_loop, _pass) = (null, 0);
            WriteEnd(from, to, atOnce: true);
            (_loop, _pass) = (loop, pass);
            return;
        }
        if (_places.PassesOf(entered) > 1) foreach (var (scalar, kept) in KeptScalarsOf(entered!)) Copy(scalar, kept);
        Enter(entered, to, 0);

        void Copy(LocalBuilder source, LocalBuilder target)
        {
            _il.Emit(OpCodes.Ldloc, source);
            _il.Emit(OpCodes.Stloc, target);
        }
    }

    private void Enter(Loop? loop, int to, int pass)
    {
        foreach (int web in _places.HeldBy(loop).Where(w => IsWanted(to, w))) MoveParts(web, _places[web], _places.In(loop, web), loop, pass);
        _il.Emit(OpCodes.Br, _labels[(to, pass)]);
    }

    private bool IsWanted(int block, int web) => _webs.LiveIn[block][web] || _analysis.NeedsBlend(block, web);

    /// <summary>The scalars that an iteration changes for the next one, and where they are kept as they were before the first.</summary>
    private List<(LocalBuilder Scalar, LocalBuilder Kept)> KeptScalarsOf(Loop loop)
    {
        if (_keptScalars.TryGetValue(loop, out var known)) return known;
        var changed = loop.Blocks.SelectMany(b => _blocks[b].Operations).SelectMany(o => o.Destinations).ToHashSet();
        return _keptScalars[loop] = [.. _webs.LiveIn[loop.Header].Items()
            .Where(w => changed.Contains(w) && _analysis.Classes[w].IsScalar && _places.Has(w))
            .Select(w => _places[w].Locals[0]).Select(l => (l, _il.DeclareLocal(l.LocalType)))];
    }

    /// <summary>Moves the parts of a web that a pass of a loop works on.</summary>
    private void MoveParts(int web, Place from, Place to, Loop? loop, int pass)
    {
        var type = ElementOf(_webs.Types[web]);
        foreach (int p in PartsIn(loop, pass, Math.Max(from.Locals.Length, to.Locals.Length)))
        {
            if (to.IsSpilled) PushMemory(to, p);
            if (!from.IsSpilled)
            {
                _il.Emit(OpCodes.Ldloc, from.Locals[p]);
            }
            else
            {
                PushMemory(from, p);
                LoadVectorAt(0, type);
            }
            if (to.IsSpilled) StoreVector(type);
            else _il.Emit(OpCodes.Stloc, to.Locals[p]);
        }
    }

    private IEnumerable<int> PartsIn(Loop? loop, int pass, int parts)
    {
        int count = parts / _places.PassesOf(loop);
        return Enumerable.Range(pass * count, count);
    }
}
