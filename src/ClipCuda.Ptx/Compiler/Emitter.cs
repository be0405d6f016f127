using System.Reflection.Emit;

namespace ClipCuda.Ptx.Compiler;

/// <summary>
/// Writes one method: the blocks that a warp may run from a resume point up to the next barrier or out of a loop with barriers. Its frame is here;
/// branches, loops, values, arithmetic and memory are in the other parts. Lanes that part at a branch wait in masks, one a block; the running
/// ones take the next block in layout order that anybody waits for, so that they meet again as early as they can. Where nobody can wait there
/// are no masks at all.
/// </summary>
internal sealed partial class Emitter
{
    /// <summary>The JIT does not optimise beyond 60,000 bytes of IL, 20,000 instructions or 8,000 uses of locals; the last two come at some 55,000 bytes.</summary>
    private const int LongestOptimised = 50_000;

    /// <summary>Enough IL for most methods.</summary>
    private const int UsualBytes = 8192;

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

    /// <summary>The web whose broadcast was loaded last in this block, or −1.</summary>
    private int _broadcast = -1;

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
        return method.CreateDelegate<Segment>(version);
    }

    private static (DynamicMethod Method, Emitter Emitter) Write(CompiledVersion version, ResumePoint entry, Func<ResumePoint, int> resumeNumber, bool brief)
    {
        var method = new DynamicMethod($"{version.Kernel.Entry.Name}_{entry.Daring}_{entry.Block}", typeof(int), [typeof(object), typeof(WarpState).MakePointerType()], typeof(Emitter).Module, skipVisibility: true)
        {
            InitLocals = false,
        };
        var emitter = new Emitter(version, entry, resumeNumber, method.GetILGenerator(UsualBytes), brief);
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
            (nameof(WarpState.Shared), OpCodes.Ldind_I8), (nameof(WarpState.Scratch), OpCodes.Ldind_I), (nameof(WarpState.Constants), OpCodes.Ldind_I)])
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
        _broadcast = -1;
        _loop = _graph.LoopOf[b];
        foreach (var operation in block.Operations)
        {
            if (_analysis.NeedsTest(operation)) WriteTest(operation);
            if (_version.Kernel.ChecksBounds) WriteBoundsCheck(operation);
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

    private void LeaveOrGoOn(int b, int outcome)
    {
        Dispatch(b, _graph.InOrder(b, _analysis.Waiting[b]), lastIsCertain: false);
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
        foreach (int waiting in _version.Kernel.Waiting)
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
        var native = operation.Native;
        var fails = _il.DefineLabel();
        if (native.Kind is Native.Minimum or Native.Maximum)
        {
            int affine = _analysis.ClassOf(operation.Sources[0]).IsAffine ? 0 : 1;
            long span = 31 * _analysis.ClassOf(operation.Sources[affine]).Step;
            bool signed = native.In is Number.S32 or Number.S64, wide = native.In == Number.S64;
            // In 64 bits: base ≥ least, base + span ≤ greatest, and on the right side of the uniform value.
            Widened(operation.Sources[affine], signed);
            if (wide) TestFarFromOverflow(fails);
            else TestRange(signed, span, fails);
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
            for (int s = 0; s < Analysis.WidenedSources(native); s++)
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
            PushScalar(source, TypeOf(native.In));
            if (!IsWide(TypeOf(native.In))) _il.Emit(signed ? OpCodes.Conv_I8 : OpCodes.Conv_U8);
        }
    }

    /// <summary>Takes a number of 64 bits from the stack; jumps unless its magnitude is below 2^62, to which no lane's distance matters.</summary>
    private void TestFarFromOverflow(Label fails)
    {
        _il.Emit(OpCodes.Ldc_I8, 1L << 62);
        _il.Emit(OpCodes.Add);
        _il.Emit(OpCodes.Ldc_I8, long.MaxValue);
        _il.Emit(OpCodes.Bgt_Un, fails);
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

    /// <summary>Pushes the warp's state, which comes second: a delegate of a static method with a first argument of its own needs no thunk that moves the others.</summary>
    private void PushWarp() => _il.Emit(OpCodes.Ldarg_1);

    /// <summary>Pushes a field of the warp's state.</summary>
    private void State(string field, OpCode load)
    {
        if (_pointers.TryGetValue(field, out var pointer))
        {
            _il.Emit(OpCodes.Ldloc, pointer);
            return;
        }
        PushWarp();
        Constant(WarpState.OffsetOf(field));
        _il.Emit(OpCodes.Add);
        _il.Emit(load);
    }

    /// <summary>Pushes a pointer of the warp's state plus an offset.</summary>
    private void PushPointer(string field, int offset)
    {
        State(field, OpCodes.Ldind_I);
        AddOffset(offset);
    }

    private void StoreState(string field, Action push)
    {
        PushWarp();
        Constant(WarpState.OffsetOf(field));
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
