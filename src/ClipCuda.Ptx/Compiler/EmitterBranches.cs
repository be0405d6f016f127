using System.Reflection.Emit;

namespace ClipCuda.Ptx.Compiler;

/// <summary>Branches: all lanes one way, some of them, or a guess that all go one way, which ends the version where it fails.</summary>
internal sealed partial class Emitter
{
    private void WriteBranch(int b)
    {
        var block = _blocks[b];
        if (!_analysis.IsDivergent(b))
        {
            var otherwise = _il.DefineLabel();
            if (block.Condition >= 0) PushScalar(new Source(block.Condition), ValueType.Predicate);
            else Constant(0);
            _il.Emit(block.Negated ? OpCodes.Brtrue : OpCodes.Brfalse, otherwise);
            Goto(b, block.Target);
            _il.MarkLabel(otherwise);
            Goto(b, block.Next);
            return;
        }
        if (!_analysis.IsSpeculative(b))
        {
            PushBits(block.Condition);
            Part(b);
            return;
        }
        var bits = Temporary(typeof(int), 0);
        var (none, all, unsure, mixed) = (_il.DefineLabel(), _il.DefineLabel(), _il.DefineLabel(), _il.DefineLabel());
        bool certainAsScalars = TestAsScalars(block.Condition, all, none);
        if (certainAsScalars) _il.Emit(OpCodes.Br, unsure);
        else WriteBitTest();
        _il.MarkLabel(all);
        Goto(b, block.Negated ? block.Next : block.Target);
        _il.MarkLabel(none);
        Goto(b, block.Negated ? block.Target : block.Next);
        _outOfLine.Add(() =>
        {
            if (certainAsScalars)
            {
                _il.MarkLabel(unsure);
                _loop = _graph.LoopOf[b];
                WriteBitTest();
            }
            _il.MarkLabel(mixed);
            StoreState(nameof(WarpState.Condition), () => _il.Emit(OpCodes.Ldloc, bits));
            HandOver(b, new ResumePoint(Daring.Apart, b, AtBranch: true));
        });

        void WriteBitTest()
        {
            PushBits(block.Condition);
            _il.Emit(OpCodes.Stloc, bits);
            _il.Emit(OpCodes.Ldloc, bits);
            _il.Emit(OpCodes.Brfalse, none);
            _il.Emit(OpCodes.Ldloc, bits);
            Constant(-1);
            _il.Emit(OpCodes.Beq, all);
            _il.Emit(OpCodes.Br, mixed);
        }
    }

    /// <summary>
    /// Compares an index, base + lane · step, with a uniform value by its two ends alone: jumps where all lanes or none fulfil the condition, and
    /// goes on if that is not certain. False if the condition is none of that kind.
    /// </summary>
    private bool TestAsScalars(int condition, Label all, Label none)
    {
        if (_inlining.Of(condition) is not { Kind: OperationKind.Pure } compare || compare.Native is not { Kind: Native.Compare, Combine: Native.Move } native) return false;
        if (native.In is not (Number.S32 or Number.U32 or Number.S64 or Number.U64)) return false;
        int index = _analysis.ClassOf(compare.Sources[0]).IsAffine ? 0 : 1;
        if (_analysis.ClassOf(compare.Sources[index]) is not { IsAffine: true, Step: var step } || !_analysis.IsUniform(compare.Sources[1 - index]) || Math.Abs(step) >= 1 << 20) return false;
        var (type, clr) = (TypeOf(native.In), ClrTypeOf(native.In));
        bool signed = native.In is Number.S32 or Number.S64;
        var (first, last, bound, notCertain) = (Temporary(clr, 90), Temporary(clr, 91), Temporary(clr, 92), _il.DefineLabel());
        PushScalar(compare.Sources[index], type);
        _il.Emit(OpCodes.Stloc, first);
        _il.Emit(OpCodes.Ldloc, first);
        PushConstant((ulong)(31 * step), type);
        _il.Emit(OpCodes.Add);
        _il.Emit(OpCodes.Stloc, last);
        PushScalar(compare.Sources[1 - index], type);
        _il.Emit(OpCodes.Stloc, bound);
        var (least, greatest) = step > 0 ? (first, last) : (last, first);
        // Overflow between the lanes.
        Jump(greatest, Comparison.Less, least, notCertain);
        var comparison = index == 0 ? native.Comparison : Mirrored(native.Comparison);
        switch (comparison)
        {
            case Comparison.Less or Comparison.LessOrEqual:
                Jump(greatest, comparison, bound, all);
                Jump(least, Opposite(comparison), bound, none);
                break;
            case Comparison.Greater or Comparison.GreaterOrEqual:
                Jump(least, comparison, bound, all);
                Jump(greatest, Opposite(comparison), bound, none);
                break;
            default:
                var outside = comparison == Comparison.Equal ? none : all;
                Jump(bound, Comparison.Less, least, outside);
                Jump(bound, Comparison.Greater, greatest, outside);
                break;
        }
        _il.MarkLabel(notCertain);
        return true;

        void Jump(LocalBuilder a, Comparison comparison, LocalBuilder b, Label target)
        {
            _il.Emit(OpCodes.Ldloc, a);
            _il.Emit(OpCodes.Ldloc, b);
            _il.Emit(
                comparison switch
                {
                    Comparison.Less => signed ? OpCodes.Blt : OpCodes.Blt_Un,
                    Comparison.LessOrEqual => signed ? OpCodes.Ble : OpCodes.Ble_Un,
                    Comparison.Greater => signed ? OpCodes.Bgt : OpCodes.Bgt_Un,
                    _ => signed ? OpCodes.Bge : OpCodes.Bge_Un,
                },
                target);
        }

        static Comparison Mirrored(Comparison comparison) => comparison switch
        {
            Comparison.Less => Comparison.Greater,
            Comparison.LessOrEqual => Comparison.GreaterOrEqual,
            Comparison.Greater => Comparison.Less,
            Comparison.GreaterOrEqual => Comparison.LessOrEqual,
            _ => comparison,
        };

        static Comparison Opposite(Comparison comparison) => comparison switch
        {
            Comparison.Less => Comparison.GreaterOrEqual,
            Comparison.LessOrEqual => Comparison.Greater,
            Comparison.Greater => Comparison.LessOrEqual,
            _ => Comparison.Less,
        };
    }

    /// <summary>Sends the running lanes two ways; which of them hold the predicate is on the stack, as bits.</summary>
    private void Part(int b)
    {
        var block = _blocks[b];
        var taken = Temporary(typeof(int), 1);
        if (block.Negated) _il.Emit(OpCodes.Not);
        PushCurrent(b);
        _il.Emit(OpCodes.And);
        _il.Emit(OpCodes.Stloc, taken);
        AddToWaiting(block.Target, () => _il.Emit(OpCodes.Ldloc, taken));
        AddToWaiting(block.Next, () =>
        {
            PushCurrent(b);
            _il.Emit(OpCodes.Ldloc, taken);
            _il.Emit(OpCodes.Not);
            _il.Emit(OpCodes.And);
        });
        Dispatch(b, _graph.InOrder(b, _analysis.Waiting[b], block.Target, block.Next), lastIsCertain: true);
    }

    private void AddToWaiting(int block, Action push)
    {
        _il.Emit(OpCodes.Ldloc, _waiting[block]);
        push();
        _il.Emit(OpCodes.Or);
        _il.Emit(OpCodes.Stloc, _waiting[block]);
    }

    private void Goto(int b, int target)
    {
        var order = _graph.InOrder(b, _analysis.Waiting[b], target);
        if (order[0] != target)
        {
            AddToWaiting(target, () => PushCurrent(b));
            Dispatch(b, order, lastIsCertain: true);
            return;
        }
        if (_analysis.Waiting[b][target])
        {
            _il.Emit(OpCodes.Ldloc, _waiting[target]);
            PushCurrent(b);
            _il.Emit(OpCodes.Or);
            _il.Emit(OpCodes.Stloc, _current);
            Constant(0);
            _il.Emit(OpCodes.Stloc, _waiting[target]);
        }
        Jump(b, target);
    }

    /// <summary>On to the first block where somebody waits.</summary>
    private void Dispatch(int b, List<int> order, bool lastIsCertain)
    {
        for (int i = 0; i < order.Count; i++)
        {
            var nobody = _il.DefineLabel();
            bool certain = lastIsCertain && i == order.Count - 1;
            if (!certain)
            {
                _il.Emit(OpCodes.Ldloc, _waiting[order[i]]);
                _il.Emit(OpCodes.Brfalse, nobody);
            }
            _il.Emit(OpCodes.Ldloc, _waiting[order[i]]);
            _il.Emit(OpCodes.Stloc, _current);
            Constant(0);
            _il.Emit(OpCodes.Stloc, _waiting[order[i]]);
            Jump(b, order[i]);
            if (!certain) _il.MarkLabel(nobody);
        }
    }
}
