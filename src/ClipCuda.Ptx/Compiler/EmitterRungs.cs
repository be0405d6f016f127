using System.Reflection.Emit;

namespace ClipCuda.Ptx.Compiler;

/// <summary>
/// Long expressions, in rungs. Each step of a polynomial waits for the one before, and a processor looks only some 60 instructions ahead for others
/// that need not wait: too few to find the next part's chain when the parts are written one after the other. So the parts go up together, a step
/// of each in turn.
/// </summary>
internal sealed partial class Emitter
{
    /// <summary>Expressions of fewer steps are short enough to be looked past.</summary>
    private const int FewestSteps = 6;

    /// <summary>For each inlined web that has been computed, a local a part.</summary>
    private readonly Dictionary<int, LocalBuilder[]> _rungs = [];

    /// <summary>Locals that no rung holds any more: the JIT follows only some hundreds.</summary>
    private readonly Stack<LocalBuilder[]> _freeRungs = [];

    /// <summary>Computes all that is inlined into an operation on values of a type, for <see cref="PushVector"/> to take.</summary>
    private void ClimbRungs(Operation operation, ValueType type, IEnumerable<int> parts)
    {
        foreach (var locals in _rungs.Values) _freeRungs.Push(locals);
        _rungs.Clear();
        if (IsWide(type) || StepsOf(operation) < FewestSteps) return;
        int[] group = [.. parts];
        if (group.Length > 1) Climb(operation, group);
    }

    private void Climb(Operation operation, int[] group)
    {
        foreach (var inner in InnerOf(operation))
        {
            int web = inner.Destinations[0];
            if (_rungs.ContainsKey(web)) continue;
            Climb(inner, group);
            if (_webs.Types[web] != ValueType.Float) continue;
            // A chain keeps its locals, as a sum in a loop does: of many short-lived ones the JIT's allocator puts away the wrong ones.
            var below = FirstRungs(inner).ToList();
            var locals = below.Count > 0 ? _rungs[below[0]] : FreeRung();
            foreach (int part in group)
            {
                PushVectorResult(inner, ValueType.Float, part);
                _il.Emit(OpCodes.Stloc, locals[part]);
            }
            foreach (int done in below)
            {
                if (done != below[0]) _freeRungs.Push(_rungs[done]);
                _rungs.Remove(done);
            }
            _rungs.Add(web, locals);
        }
    }

    private LocalBuilder[] FreeRung()
    {
        if (_freeRungs.TryPop(out var free)) return free;
        return [.. Enumerable.Range(0, 32 / _isa.Lanes).Select(_ => _il.DeclareLocal(_isa.Vector(typeof(float))))];
    }

    /// <summary>The rungs that an operation's result is computed from. Nothing else reads them: what is inlined is used once.</summary>
    private IEnumerable<int> FirstRungs(Operation operation)
    {
        foreach (var inner in InnerOf(operation))
        {
            if (_rungs.ContainsKey(inner.Destinations[0])) yield return inner.Destinations[0];
            else foreach (int web in FirstRungs(inner)) yield return web;
        }
    }

    /// <summary>The longest chain of arithmetic that is inlined into an operation, itself included.</summary>
    private int StepsOf(Operation operation)
    {
        int most = 0;
        foreach (var inner in InnerOf(operation)) most = Math.Max(most, StepsOf(inner));
        return most + (operation.Kind == OperationKind.Pure ? 1 : 0);
    }

    /// <summary>What is inlined into an operation: arithmetic whose results fill as many vectors as there are parts.</summary>
    private IEnumerable<Operation> InnerOf(Operation operation)
    {
        foreach (var source in operation.Sources)
        {
            if (source.IsWeb && !IsWide(_webs.Types[source.Web]) && _inlining.Of(source.Web) is { Kind: OperationKind.Pure } inner && !_analysis.ResultOf(inner).IsScalar)
                yield return inner;
        }
    }
}
