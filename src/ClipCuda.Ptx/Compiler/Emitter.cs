using System.Reflection.Emit;
using System.Runtime.InteropServices;

namespace ClipCuda.Ptx.Compiler;

/// <summary>
/// Writes one method: the blocks that a warp may run from a resume point up to the next barrier or out of a loop with barriers. Control here; values, arithmetic and memory
/// in the other parts. Lanes that part at a branch wait in masks, one a block; the running ones take the next block in layout order
/// that anybody waits for, so that they meet again as early as they can. Where nobody can wait there are no masks at all.
/// </summary>
internal sealed partial class Emitter
{
    /// <summary>The JIT does not optimise beyond 60,000 bytes of IL, 20,000 instructions or 8,000 uses of locals; the last two come at some 55,000 bytes.</summary>
    private const int LongestOptimised = 50_000;

    private readonly CompiledVersion _version;
    private readonly Func<ResumePoint, int> _resumeNumber;
    private readonly List<BasicBlock> _blocks;
    private readonly FlowGraph _graph;
    private readonly Webs _webs;
    private readonly Analysis _analysis;
    private readonly Inlining _inlining;
    private readonly NaNs _nans;
    private readonly FrameLayout _frame;
    private readonly VectorIsa _isa;
    private readonly ILGenerator _il;
    private readonly List<int> _segment;
    private readonly Allocation _places;
    private readonly Dictionary<(int Block, int Pass), Label> _labels = [];
    private readonly Dictionary<int, LocalBuilder> _waiting = [];
    private readonly List<Action> _outOfLine = [];
    private readonly Dictionary<string, LocalBuilder> _pointers = [];
    private readonly LocalBuilder _current;
    private readonly HashSet<int> _handedOver = [];

    /// <summary>Ends after every loop.</summary>
    private readonly bool _brief;
    private readonly Label _handOver;
    private bool _handsOver;

    /// <summary>The loop of the block that is being written.</summary>
    private Loop? _loop;

    /// <summary>Which of the loop's passes is being written.</summary>
    private int _pass;
    private LocalBuilder[] _maskVectors = [];

    private Emitter(CompiledVersion version, ResumePoint entry, Func<ResumePoint, int> resumeNumber, ILGenerator il, bool brief)
    {
        _brief = brief;
        _version = version;
        _resumeNumber = resumeNumber;
        (_blocks, _graph, _webs, _analysis, _inlining, _nans, _frame, _isa) =
            (version.Kernel.Blocks, version.Kernel.Graph, version.Kernel.Webs, version.Analysis, version.Inlining, version.Kernel.NaNs, version.Kernel.Frame, version.Isa);
        _il = il;
        _segment = Reach(entry);
        _places = new Allocation(_segment, LiveAt(entry), _blocks, _graph, _webs, _analysis, _inlining, _frame, _isa, il, MayPass);
        _current = il.DeclareLocal(typeof(int));
        _handOver = il.DefineLabel();

        // Not a loop in whose middle the method begins.
        bool MayPass(Loop loop) =>
            !loop.Blocks.Contains(entry.Block) && LanePasses.Allow(loop, _blocks, _graph, _webs, _analysis, _inlining);
    }

    /// <summary>Compiles from a resume point on; <paramref name="arenaBytes"/> is what the method spills.</summary>
    public static Segment Compile(CompiledVersion version, ResumePoint entry, Func<ResumePoint, int> resumeNumber, out int arenaBytes)
    {
        var (method, emitter) = Write(version, entry, resumeNumber, brief: false);
        if (emitter._il.ILOffset > LongestOptimised) (method, emitter) = Write(version, entry, resumeNumber, brief: true);
        arenaBytes = emitter._places.ArenaBytes;
        return method.CreateDelegate<Segment>();
    }

    private static (DynamicMethod Method, Emitter Emitter) Write(CompiledVersion version, ResumePoint entry, Func<ResumePoint, int> resumeNumber, bool brief)
    {
        var method = new DynamicMethod($"{version.Kernel.Entry.Name}_{entry.Daring}_{entry.Block}", typeof(int), [typeof(WarpState).MakePointerType()], typeof(Emitter).Module, skipVisibility: true)
        {
            InitLocals = false,
        };
        var emitter = new Emitter(version, entry, resumeNumber, method.GetILGenerator(), brief);
        emitter.Write(entry);
        return (method, emitter);
    }

    /// <summary>Blocks that can run before the method ends, in layout order.</summary>
    private List<int> Reach(ResumePoint entry)
    {
        var seen = new HashSet<int>();
        var stack = new Stack<int>(entry.AtBranch ? _blocks[entry.Block].Successors().Where(b => !EndsMethod(entry.Block, b)) : [entry.Block]);
        foreach (int b in _analysis.Waiting[entry.Block].Items()) stack.Push(b);
        while (stack.TryPop(out int b))
        {
            if (!seen.Add(b)) continue;
            foreach (int waiting in _analysis.Waiting[b].Items()) stack.Push(waiting);
            if (_blocks[b].End == BlockEnd.Barrier) continue;
            foreach (int next in _blocks[b].Successors()) if (!EndsMethod(b, next)) stack.Push(next);
        }
        return [.. seen.OrderBy(b => _graph.Position[b])];
    }

    /// <summary>Webs that the lanes at a resume point, and those that wait, still need.</summary>
    private HashSet<int> LiveAt(ResumePoint point)
    {
        var live = new HashSet<int>((point.AtBranch ? _webs.LiveOut : _webs.LiveIn)[point.Block].Items());
        foreach (int b in _analysis.Waiting[point.Block].Items()) live.UnionWith(_webs.LiveIn[b].Items());
        return live;
    }

    private void Write(ResumePoint entry)
    {
        // In locals, so that loops have them in registers; those that nothing reads cost nothing.
        foreach (var (field, load) in (ReadOnlySpan<(string, OpCode)>)[
            (nameof(WarpState.Frame), OpCodes.Ldind_I), (nameof(WarpState.Arena), OpCodes.Ldind_I),
            (nameof(WarpState.Shared), OpCodes.Ldind_I8), (nameof(WarpState.Scratch), OpCodes.Ldind_I)])
        {
            State(field, load);
            var pointer = _il.DeclareLocal(load == OpCodes.Ldind_I8 ? typeof(long) : typeof(nint));
            _il.Emit(OpCodes.Stloc, pointer);
            _pointers.Add(field, pointer);
        }
        foreach (int b in _segment)
        {
            for (int pass = 0; pass < _places.PassesOf(_graph.LoopOf[b]); pass++) _labels.Add((b, pass), _il.DefineLabel());
            DeclareWaiting(b);
        }
        if (entry.AtBranch) DeclareWaiting(entry.Block);
        State(nameof(WarpState.Lanes), OpCodes.Ldind_I4);
        _il.Emit(OpCodes.Stloc, _current);
        foreach (var (block, mask) in _waiting)
        {
            if (_analysis.Waiting[entry.Block][block])
            {
                PushPointer(nameof(WarpState.Masks), 4 * block);
                _il.Emit(OpCodes.Ldind_I4);
            }
            else
            {
                Constant(0);
            }
            _il.Emit(OpCodes.Stloc, mask);
        }
        foreach (int web in LiveAt(entry).Where(_places.Has).Order()) LoadFromFrame(web);
        if (entry.AtBranch)
        {
            foreach (int web in _places.HeldBy(_graph.LoopOf[entry.Block])) MoveParts(web, _places[web], _places.In(_graph.LoopOf[entry.Block], web), null, 0);
            State(nameof(WarpState.Condition), OpCodes.Ldind_I4);
            Part(entry.Block);
        }
        else
        {
            Jump(-1, entry.Block);
        }
        foreach (int b in _segment)
        {
            var loop = _graph.LoopOf[b];
            int passes = _places.PassesOf(loop);
            if (passes == 1)
            {
                WriteBlock(b);
            }
            else if (b == loop!.Header)
            {
                WritePasses(loop, passes);
            }
        }
        // Grows while it is written.
        for (int i = 0; i < _outOfLine.Count; i++) _outOfLine[i]();
        WriteHandOver();
    }

    /// <summary>Locals for the lanes that may wait while a block runs, and for those that its branch may send two ways.</summary>
    private void DeclareWaiting(int b)
    {
        var parting = _blocks[b].End == BlockEnd.Branch && _analysis.IsDivergent(b) ? _blocks[b].Successors() : [];
        foreach (int waiting in _analysis.Waiting[b].Items().Concat(parting))
            if (!_waiting.ContainsKey(waiting)) _waiting.Add(waiting, _il.DeclareLocal(typeof(int)));
    }

    private void WriteBlock(int b)
    {
        var block = _blocks[b];
        _il.MarkLabel(_labels[(b, _pass)]);
        _maskVectors = [];
        _loop = _graph.LoopOf[b];
        foreach (var operation in block.Operations)
        {
            if (_analysis.NeedsTest(operation)) WriteTest(operation);
            if (_inlining.IsInlined(operation) || _inlining.Absorbed.Contains(operation)) continue;
            WriteOperation(operation);
        }
        switch (block.End)
        {
            case BlockEnd.Jump:
                Goto(b, block.Target);
                break;
            case BlockEnd.Branch:
                WriteBranch(b);
                break;
            case BlockEnd.Exit:
                LeaveOrGoOn(b, Outcome.Exited);
                break;
            case BlockEnd.Trap:
                WriteFault(block.Origin, b, Outcome.Trapped);
                break;
            case BlockEnd.Barrier:
                WriteBarrier(b);
                break;
        }
    }

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
        if (_inlining.Of(condition) is not { Kind: OperationKind.Pure } compare || Natives.Get(compare.Opcode) is not { Kind: Native.Compare, Combine: Native.Move } native) return false;
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
        Dispatch(b, _graph.InOrder(b, _analysis.Waiting[b].Items().Concat([block.Target, block.Next])), lastIsCertain: true);
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
        var order = _graph.InOrder(b, _analysis.Waiting[b].Items().Append(target));
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

    private void LeaveOrGoOn(int b, int outcome)
    {
        Dispatch(b, _graph.InOrder(b, _analysis.Waiting[b].Items()), lastIsCertain: false);
        Constant(outcome);
        _il.Emit(OpCodes.Ret);
    }

    private void WriteBarrier(int b)
    {
        foreach (int waiting in _analysis.Waiting[b].Items())
        {
            var nobody = _il.DefineLabel();
            _il.Emit(OpCodes.Ldloc, _waiting[waiting]);
            _il.Emit(OpCodes.Brfalse, nobody);
            WriteFault(_blocks[b].Origin, b, Outcome.DivergentBarrier);
            _il.MarkLabel(nobody);
        }
        WriteEnd(b, _blocks[b].Target, atOnce: false);
    }

    /// <summary>Ends the method; another one goes on, at once or when all warps have come to the barrier.</summary>
    private void WriteEnd(int b, int next, bool atOnce)
    {
        foreach (int web in _webs.LiveIn[next].Items().Where(_places.Has)) StoreToFrame(web);
        StoreState(nameof(WarpState.Lanes), () => PushCurrent(b));
        Constant(_resumeNumber(new ResumePoint(_version.Daring, next, AtBranch: false)) * 2 + (atOnce ? 1 : 0));
        _il.Emit(OpCodes.Ret);
    }

    private void WriteFault(int origin, int b, int outcome)
    {
        StoreState(nameof(WarpState.Fault), () => Constant(origin));
        StoreState(nameof(WarpState.Lanes), () => PushCurrent(b));
        Constant(outcome);
        _il.Emit(OpCodes.Ret);
    }

    /// <summary>Leaves everything to a less daring version; all places of a method share the code that writes the frame.</summary>
    private void HandOver(int b, ResumePoint point)
    {
        _handsOver = true;
        _handedOver.UnionWith(LiveAt(point));
        foreach (int web in _places.HeldBy(_graph.LoopOf[b])) MoveParts(web, _places.In(_graph.LoopOf[b], web), _places[web], null, 0);
        PushCurrent(b);
        _il.Emit(OpCodes.Stloc, _current);
        Constant(_resumeNumber(point) * 2 + 1);
        _il.Emit(OpCodes.Br, _handOver);
    }

    /// <summary>Writes what any of the places needs. Of a place's dead webs it writes whatever is in their registers, which nobody reads.</summary>
    private void WriteHandOver()
    {
        if (!_handsOver) return;
        _loop = null;
        var number = Temporary(typeof(int), 0);
        _il.MarkLabel(_handOver);
        _il.Emit(OpCodes.Stloc, number);
        foreach (int web in _handedOver.Where(_places.Has).Order()) StoreToFrame(web);
        StoreState(nameof(WarpState.Lanes), () => _il.Emit(OpCodes.Ldloc, _current));
        foreach (int waiting in Enumerable.Range(0, _blocks.Count).Where(q => _version.Kernel.MayWait(q)))
        {
            PushPointer(nameof(WarpState.Masks), 4 * waiting);
            if (_waiting.TryGetValue(waiting, out var mask)) _il.Emit(OpCodes.Ldloc, mask);
            else Constant(0);
            _il.Emit(OpCodes.Stind_I4);
        }
        _il.Emit(OpCodes.Ldloc, number);
        _il.Emit(OpCodes.Ret);
    }

    /// <summary>The lanes that run in a block, as bits.</summary>
    private void PushCurrent(int b)
    {
        if (_analysis.IsPartial(b)) _il.Emit(OpCodes.Ldloc, _current);
        else Constant(-1);
    }

    /// <summary>Hands over where the scalars of an affine operation would overflow between lanes, or a minimum would not be its affine side in all lanes.</summary>
    private void WriteTest(Operation operation)
    {
        var native = Natives.Get(operation.Opcode);
        var fails = _il.DefineLabel();
        if (native.Kind is Native.Minimum or Native.Maximum)
        {
            int affine = _analysis.ClassOf(operation.Sources[0]).IsAffine ? 0 : 1;
            long span = 31 * _analysis.ClassOf(operation.Sources[affine]).Step;
            bool signed = native.In == Number.S32;
            // In 64 bits: base ≥ least, base + span ≤ greatest, and on the right side of the uniform value.
            Widened(operation.Sources[affine], signed);
            TestRange(signed, span, fails);
            Widened(operation.Sources[affine], signed);
            if (native.Kind == Native.Minimum)
            {
                _il.Emit(OpCodes.Ldc_I8, span);
                _il.Emit(OpCodes.Add);
            }
            Widened(operation.Sources[1 - affine], signed);
            _il.Emit(native.Kind == Native.Minimum ? OpCodes.Bgt : OpCodes.Blt, fails);
        }
        else
        {
            foreach (int s in Analysis.WidenedSources(operation, native))
            {
                if (_analysis.ClassOf(operation.Sources[s]) is not { IsAffine: true } value) continue;
                Widened(operation.Sources[s], native.In == Number.S32);
                TestRange(native.In == Number.S32, 31 * value.Step, fails);
            }
        }
        int b = operation.Block;
        _outOfLine.Add(() =>
        {
            _il.MarkLabel(fails);
            HandOver(b, new ResumePoint(_version.Daring + 1, b, AtBranch: false));
        });

        void Widened(Source source, bool signed)
        {
            PushScalar(source, ValueType.Bits32);
            _il.Emit(signed ? OpCodes.Conv_I8 : OpCodes.Conv_U8);
        }
    }

    /// <summary>Takes a base of 64 bits from the stack; jumps if lane 31 would overflow 32 bits.</summary>
    private void TestRange(bool signed, long span, Label fails)
    {
        _il.Emit(OpCodes.Ldc_I8, span);
        _il.Emit(OpCodes.Add);
        if (span >= 0)
        {
            _il.Emit(OpCodes.Ldc_I8, signed ? int.MaxValue : uint.MaxValue);
            _il.Emit(OpCodes.Bgt, fails);
        }
        else
        {
            _il.Emit(OpCodes.Ldc_I8, signed ? int.MinValue : 0L);
            _il.Emit(OpCodes.Blt, fails);
        }
    }

    /// <summary>In the shortest form: the length of the IL counts (see <see cref="ConstantVectors"/>).</summary>
    private void Constant(int value)
    {
        if (value is >= sbyte.MinValue and <= sbyte.MaxValue) _il.Emit(OpCodes.Ldc_I4_S, (sbyte)value);
        else _il.Emit(OpCodes.Ldc_I4, value);
    }

    private void ConstantLong(long value)
    {
        if (value is < int.MinValue or > int.MaxValue)
        {
            _il.Emit(OpCodes.Ldc_I8, value);
            return;
        }
        Constant((int)value);
        _il.Emit(OpCodes.Conv_I8);
    }

    /// <summary>Pushes a field of the warp's state.</summary>
    private void State(string field, OpCode load)
    {
        if (_pointers.TryGetValue(field, out var pointer))
        {
            _il.Emit(OpCodes.Ldloc, pointer);
            return;
        }
        _il.Emit(OpCodes.Ldarg_0);
        Constant((int)Marshal.OffsetOf<WarpState>(field));
        _il.Emit(OpCodes.Add);
        _il.Emit(load);
    }

    /// <summary>Pushes a pointer of the warp's state plus an offset.</summary>
    private void PushPointer(string field, int offset)
    {
        State(field, OpCodes.Ldind_I);
        Constant(offset);
        _il.Emit(OpCodes.Add);
    }

    private void StoreState(string field, Action push)
    {
        _il.Emit(OpCodes.Ldarg_0);
        Constant((int)Marshal.OffsetOf<WarpState>(field));
        _il.Emit(OpCodes.Add);
        push();
        _il.Emit(OpCodes.Stind_I4);
    }

    private readonly Dictionary<(Type, int), LocalBuilder> _temporaries = [];

    /// <summary>A local for the moment, by type and a number that tells apart what is in use at once.</summary>
    private LocalBuilder Temporary(Type type, int number)
    {
        if (!_temporaries.TryGetValue((type, number), out var local)) _temporaries.Add((type, number), local = _il.DeclareLocal(type));
        return local;
    }
}
