using System.Reflection.Emit;

namespace ClipCuda.Ptx.Compiler;

/// <summary>
/// Where a web lives in a compiled method: IL locals, one a vector or one for a scalar; or memory at an offset, in the warp's frame if the web
/// has a place there, so that it need not be moved at barriers, else in the spill arena.
/// </summary>
internal sealed record Place(LocalBuilder[] Locals, int Offset, bool InFrame = false)
{
    public bool IsSpilled => Locals.Length == 0;
}

/// <summary>
/// Registers for one method, by linear scan over the webs' live intervals. The processor has 16 or 32 vector registers; what would not fit is
/// kept in aligned memory instead of the JIT's own unaligned spill slots, the seldom used first. Locals are used again
/// when their web is dead: the JIT gives up optimising beyond some hundreds. An innermost loop takes what it uses of the spilled into
/// registers of its own: loaded where it is entered, stored where it is left.
/// </summary>
internal sealed class Allocation
{
    private readonly Dictionary<int, Place> _places = [];
    private readonly Dictionary<Loop, Dictionary<int, Place>> _loopPlaces = [];

    /// <param name="segment">The method's blocks in layout order.</param>
    /// <param name="entry">Webs that are live where the method begins.</param>
    public Allocation(IReadOnlyList<int> segment, IEnumerable<int> entry, List<BasicBlock> blocks, FlowGraph graph, Webs webs, Analysis analysis, Inlining inlining, FrameLayout frame, VectorIsa isa, ILGenerator il)
    {
        var intervals = new Dictionary<int, Interval>();
        var loops = new Dictionary<Loop, LoopUse>();
        LoopUse? inside = null;
        foreach (int web in entry) Touch(web, -1, 0);
        int at = 0;
        foreach (int b in segment)
        {
            double weight = Math.Pow(10, Math.Min(graph.DepthOf(b), 4));
            int start = at;
            inside = graph.LoopOf[b] is { } loop && graph.IsInnermost(loop) ? loops.TryGetValue(loop, out var known) ? known : loops[loop] = new LoopUse(start) : null;
            foreach (var operation in blocks[b].Operations)
            {
                at++;
                if (inlining.Absorbed.Contains(operation)) continue;
                foreach (var source in operation.Sources) if (source.IsWeb && !inlining.IsAbsorbed(source.Web)) Touch(source.Web, at, weight);
                foreach (int web in operation.Destinations) Touch(web, at, weight);
            }
            at++;
            if (blocks[b].Condition >= 0) Touch(blocks[b].Condition, at, weight);
            foreach (int web in webs.LiveIn[b].Items()) Touch(web, start, 0);
            foreach (int web in webs.LiveOut[b].Items()) Touch(web, at, 0);
            // Who waits while this block runs needs what it will go on with.
            foreach (int waiting in analysis.Waiting[b].Items())
            {
                foreach (int web in webs.LiveIn[waiting].Items())
                {
                    Touch(web, start, 0);
                    Touch(web, at, 0);
                }
            }
            if (inside is not null) inside.Last = at;
        }
        inside = null;
        Scan(intervals.Values.OrderBy(i => i.First).ThenBy(i => i.Web), webs, analysis, frame, isa, il);
        foreach (var (loop, use) in loops) GiveRegisters(loop, use, intervals, webs, isa, il);

        void Touch(int web, int position, double weight)
        {
            if (inlining.Of(web) is { } inner)
            {
                // What an inlined value is computed from lives up to where it is used.
                foreach (var source in inner.Sources) if (source.IsWeb && position >= 0) Touch(source.Web, position, weight);
                return;
            }
            if (!intervals.TryGetValue(web, out var interval)) intervals.Add(web, interval = new Interval { Web = web, First = position, Last = position });
            interval.First = Math.Min(interval.First, position);
            interval.Last = Math.Max(interval.Last, position);
            interval.Weight += weight;
            if (inside is not null && weight > 0) inside.Refs[web] = inside.Refs.GetValueOrDefault(web) + 1;
        }
    }

    public int ArenaBytes { get; private set; }

    public Place this[int web] => _places[web];

    /// <summary>Where a web is while a loop runs.</summary>
    public Place In(Loop? loop, int web) => loop is not null && _loopPlaces.TryGetValue(loop, out var places) && places.TryGetValue(web, out var place) ? place : _places[web];

    /// <summary>The webs that a loop has in registers of its own.</summary>
    public IEnumerable<int> HeldBy(Loop? loop) => loop is not null && _loopPlaces.TryGetValue(loop, out var places) ? places.Keys : [];

    public bool Has(int web) => _places.ContainsKey(web);

    /// <summary>Vectors that hold a web.</summary>
    public static int Parts(int web, Webs webs, Analysis analysis, VectorIsa isa) => Parts(webs.Types[web], analysis.Classes[web], isa);

    public static int Parts(ValueType type, ValueClass value, VectorIsa isa)
    {
        int lanes = value.Kind == ValueKind.Periodic ? Math.Max((int)value.Step, isa.Lanes) : 32;
        return lanes / isa.Lanes * (type is ValueType.Bits64 or ValueType.Double ? 2 : 1);
    }

    public static Type ElementOf(ValueType type) => type switch
    {
        ValueType.Float => typeof(float),
        ValueType.Bits64 or ValueType.Double => typeof(long),
        _ => typeof(int),
    };

    private void Scan(IEnumerable<Interval> intervals, Webs webs, Analysis analysis, FrameLayout frame, VectorIsa isa, ILGenerator il)
    {
        var free = new Dictionary<Type, Stack<LocalBuilder>>();
        var freeArena = new Dictionary<int, Stack<int>>();
        var active = new List<Interval>();
        int budget = Budget(isa), used = 0;
        var all = intervals.ToList();
        foreach (var interval in all)
        {
            interval.IsVector = !analysis.Classes[interval.Web].IsScalar;
            interval.Parts = interval.IsVector ? Parts(interval.Web, webs, analysis, isa) : 1;
        }
        // First decide who is spilled, then hand out places.
        foreach (var interval in all)
        {
            foreach (var done in active.Where(a => a.Last < interval.First).ToList())
            {
                active.Remove(done);
                used -= done.Registers;
            }
            active.Add(interval);
            used += interval.Registers;
            while (used > budget && active.Where(a => a.IsVector).MinBy(a => a.Weight / (a.Last - a.First + 1)) is { } least)
            {
                least.Spilled = true;
                active.Remove(least);
                used -= least.Registers;
            }
        }
        active.Clear();
        foreach (var interval in all)
        {
            foreach (var done in active.Where(a => a.Last < interval.First).ToList())
            {
                active.Remove(done);
                var place = _places[done.Web];
                if (place.IsSpilled && !place.InFrame) ArenaOf(done.Parts).Push(place.Offset);
                foreach (var local in place.Locals) LocalsOf(local.LocalType).Push(local);
            }
            active.Add(interval);
            if (interval.Spilled)
            {
                if (frame.HoldsVectors(interval.Web) && analysis.Classes[interval.Web].Kind == ValueKind.Varying)
                {
                    _places.Add(interval.Web, new Place([], frame.OffsetOf(interval.Web), InFrame: true));
                    continue;
                }
                if (!ArenaOf(interval.Parts).TryPop(out int offset))
                {
                    offset = ArenaBytes;
                    ArenaBytes += interval.Parts * isa.Bytes;
                }
                _places.Add(interval.Web, new Place([], offset));
                continue;
            }
            var type = interval.IsVector ? isa.Vector(ElementOf(webs.Types[interval.Web])) : ScalarType(webs.Types[interval.Web]);
            var locals = new LocalBuilder[interval.Parts];
            for (int p = 0; p < locals.Length; p++) locals[p] = LocalsOf(type).TryPop(out var local) ? local : il.DeclareLocal(type);
            _places.Add(interval.Web, new Place(locals, 0));
        }

        Stack<LocalBuilder> LocalsOf(Type type) => free.TryGetValue(type, out var stack) ? stack : free[type] = [];

        Stack<int> ArenaOf(int parts) => freeArena.TryGetValue(parts, out var stack) ? stack : freeArena[parts] = [];
    }

    /// <summary>A few registers stay for what is on the IL stack and for masks.</summary>
    private static int Budget(VectorIsa isa) => isa.Registers - 6;

    private void GiveRegisters(Loop loop, LoopUse use, Dictionary<int, Interval> intervals, Webs webs, VectorIsa isa, ILGenerator il)
    {
        // What is in registers anyway while the loop runs, at the worst moment: where it begins, or where one more value begins.
        var others = intervals.Values.Where(i => !i.Spilled && i.IsVector && i.Last >= use.First && i.First <= use.Last).ToList();
        int most = others.Select(i => Math.Max(i.First, use.First)).Distinct()
            .Select(at => others.Where(i => i.First <= at && i.Last >= at).Sum(i => i.Parts)).DefaultIfEmpty(0).Max();
        int left = Budget(isa) - most;
        var places = new Dictionary<int, Place>();
        foreach (var (web, _) in use.Refs.OrderByDescending(r => r.Value).ThenBy(r => r.Key))
        {
            var interval = intervals[web];
            if (!interval.Spilled || interval.Parts > left) continue;
            left -= interval.Parts;
            var type = isa.Vector(ElementOf(webs.Types[web]));
            places.Add(web, new Place([.. Enumerable.Range(0, interval.Parts).Select(_ => il.DeclareLocal(type))], 0));
        }
        if (places.Count > 0) _loopPlaces.Add(loop, places);
    }

    /// <summary>How a uniform value or the base of an affine one is kept; a float in lane 0 of a small vector, so that scalars and vectors share their code.</summary>
    public static Type ScalarType(ValueType type) => type switch
    {
        ValueType.Float => typeof(System.Runtime.Intrinsics.Vector128<float>),
        ValueType.Bits64 or ValueType.Double => typeof(long),
        _ => typeof(int),
    };

    private sealed class LoopUse(int first)
    {
        public int First { get; } = first;

        public int Last { get; set; }

        /// <summary>How often each web is mentioned in it.</summary>
        public Dictionary<int, int> Refs { get; } = [];
    }

    private sealed class Interval
    {
        public int Web;
        public int First;
        public int Last;
        public int Parts;
        public double Weight;
        public bool IsVector;
        public bool Spilled;

        /// <summary>Scalars are left to the JIT, which spills the seldom used ones.</summary>
        public int Registers => IsVector ? Parts : 0;
    }
}
