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
/// registers of its own: loaded where it is entered, stored where it is left; if that is too much, in passes (<see cref="LanePasses"/>).
/// </summary>
internal sealed class Allocation
{
    private readonly Place?[] _places;
    private readonly Dictionary<Loop, Dictionary<int, Place>> _loopPlaces = [];
    private readonly Dictionary<Loop, int> _passes = [];

    /// <param name="segment">The method's blocks in layout order.</param>
    /// <param name="entry">Webs that are live where the method begins.</param>
    /// <param name="mayPass">Whether the method can run a loop in passes.</param>
    public Allocation(IReadOnlyList<int> segment, IEnumerable<int> entry, List<BasicBlock> blocks, FlowGraph graph, Webs webs, Analysis analysis, Inlining inlining, FrameLayout frame, VectorIsa isa, ILGenerator il, Func<Loop, bool> mayPass)
    {
        _places = new Place?[webs.Count];
        var intervals = new Interval?[webs.Count];
        var loops = new Dictionary<Loop, LoopUse>();
        LoopUse? inside = null;
        foreach (int web in entry) Touch(web, -1, 0);
        int at = 0;
        foreach (int b in segment)
        {
            double weight = Math.Pow(10, Math.Min(graph.DepthOf(b), 4));
            int start = at;
            inside = graph.LoopOf[b] is { } loop && graph.IsInnermost(loop) ? loops.TryGetValue(loop, out var known) ? known : loops[loop] = new LoopUse(start, webs.Count) : null;
            inside?.Blocks.Add((b, start));
            foreach (var operation in blocks[b].Operations)
            {
                at++;
                if (inlining.Absorbed.Contains(operation)) continue;
                foreach (var source in operation.Sources) if (source.IsWeb && !inlining.IsAbsorbed(source.Web)) Touch(source.Web, at, weight);
                foreach (int web in operation.Destinations) Touch(web, at, weight);
            }
            at++;
            if (blocks[b].Condition >= 0) Touch(blocks[b].Condition, at, weight);
            foreach (int web in webs.LiveIn[b]) Touch(web, start, 0);
            foreach (int web in webs.LiveOut[b]) Touch(web, at, 0);
            // Who waits while this block runs needs what it will go on with.
            foreach (int waiting in analysis.Waiting[b])
            {
                foreach (int web in webs.LiveIn[waiting])
                {
                    Touch(web, start, 0);
                    Touch(web, at, 0);
                }
            }
            if (inside is not null) inside.Last = at;
        }
        inside = null;
        foreach (var interval in intervals)
        {
            if (interval is null) continue;
            interval.IsVector = !analysis.Classes[interval.Web].IsScalar;
            interval.Parts = interval.IsVector ? Parts(interval.Web, webs, analysis, isa) : 1;
        }
        foreach (var (loop, use) in loops)
        {
            FindLive(use);
            int passes = mayPass(loop) ? PassesFor(use, intervals, isa) : 1;
            if (passes == 1) continue;
            _passes.Add(loop, passes);
            // What outlives an iteration is there through all passes, even where a single one would not need it yet or any more.
            foreach (int web in loop.Blocks.SelectMany(b => webs.LiveIn[b].Items().Concat(webs.LiveOut[b].Items())).Distinct())
            {
                Touch(web, use.First, 0);
                Touch(web, use.Last, 0);
            }
        }
        Scan([.. intervals.OfType<Interval>().OrderBy(i => i.First)], webs, analysis, frame, isa, il);
        var spare = new Dictionary<Type, List<LocalBuilder>>();
        foreach (var (loop, use) in loops) GiveRegisters(loop, use, intervals, webs, isa, il, spare);

        // Of vectors. Exactly, not from first to last: the sums of an unrolled loop pass their registers on.
        void FindLive(LoopUse use)
        {
            foreach (var (b, start) in use.Blocks)
            {
                var live = new BitSet(webs.Count);
                foreach (int web in webs.LiveOut[b]) if (!analysis.Classes[web].IsScalar) live.Add(web);
                var operations = blocks[b].Operations;
                if (blocks[b].Condition >= 0) Read(new Source(blocks[b].Condition));
                use.Mark(live, start + operations.Count + 1);
                for (int i = operations.Count - 1; i >= 0; i--)
                {
                    var operation = operations[i];
                    bool isWritten = !inlining.IsInlined(operation) && !inlining.Absorbed.Contains(operation);
                    if (isWritten) foreach (int web in operation.Destinations) if (!analysis.Classes[web].IsScalar) live.Add(web);
                    use.Mark(live, start + 1 + i);
                    if (!isWritten) continue;
                    foreach (int web in operation.Destinations) live.Remove(web);
                    foreach (var source in operation.Sources) Read(source);
                }
                use.Mark(live, start);

                void Read(Source source)
                {
                    if (!source.IsWeb || inlining.IsAbsorbed(source.Web)) return;
                    if (inlining.Of(source.Web) is not { } inner)
                    {
                        if (!analysis.Classes[source.Web].IsScalar) live.Add(source.Web);
                        return;
                    }
                    foreach (var leaf in inner.Sources) Read(leaf);
                }
            }
        }

        void Touch(int web, int position, double weight)
        {
            if (inlining.Of(web) is { } inner)
            {
                // What an inlined value is computed from lives up to where it is used.
                foreach (var source in inner.Sources) if (source.IsWeb && position >= 0) Touch(source.Web, position, weight);
                return;
            }
            var interval = intervals[web] ??= new Interval { Web = web, First = position, Last = position };
            interval.First = Math.Min(interval.First, position);
            interval.Last = Math.Max(interval.Last, position);
            interval.Weight += weight;
            if (inside is not null && weight > 0) inside.Refs[web] = inside.Refs.GetValueOrDefault(web) + 1;
        }
    }

    public int ArenaBytes { get; private set; }

    public Place this[int web] => _places[web]!;

    /// <summary>Where a web is while a loop runs.</summary>
    public Place In(Loop? loop, int web) => loop is not null && _loopPlaces.TryGetValue(loop, out var places) && places.TryGetValue(web, out var place) ? place : this[web];

    /// <summary>The webs that a loop has in registers of its own.</summary>
    public IEnumerable<int> HeldBy(Loop? loop) => loop is not null && _loopPlaces.TryGetValue(loop, out var places) ? places.Keys : [];

    public bool Has(int web) => _places[web] is not null;

    /// <summary>In how many passes the lanes run a loop: 1, or a power of 2.</summary>
    public int PassesOf(Loop? loop) => loop is not null && _passes.TryGetValue(loop, out int passes) ? passes : 1;

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

    private void Scan(Interval[] intervals, Webs webs, Analysis analysis, FrameLayout frame, VectorIsa isa, ILGenerator il)
    {
        var free = new Dictionary<Type, Stack<LocalBuilder>>();
        var freeArena = new Dictionary<int, Stack<int>>();
        var active = new List<Interval>();
        int budget = Budget(isa), used = 0;
        // First decide who is spilled, then hand out places. Scalars are left to the JIT, which spills the seldom used ones.
        foreach (var interval in intervals)
        {
            if (!interval.IsVector) continue;
            End(interval.First, done => used -= done.Parts);
            active.Add(interval);
            used += interval.Parts;
            while (used > budget && active.MinBy(a => a.Weight / (a.Last - a.First + 1)) is { } least)
            {
                least.Spilled = true;
                active.Remove(least);
                used -= least.Parts;
            }
        }
        active.Clear();
        foreach (var interval in intervals)
        {
            End(interval.First, GiveBack);
            active.Add(interval);
            if (interval.Spilled)
            {
                if (frame.HoldsVectors(interval.Web) && analysis.Classes[interval.Web].Kind == ValueKind.Varying)
                {
                    _places[interval.Web] = new Place([], frame.OffsetOf(interval.Web), InFrame: true);
                    continue;
                }
                if (!ArenaOf(interval.Parts).TryPop(out int offset))
                {
                    offset = ArenaBytes;
                    ArenaBytes += interval.Parts * isa.Bytes;
                }
                _places[interval.Web] = new Place([], offset);
                continue;
            }
            var type = interval.IsVector ? isa.Vector(ElementOf(webs.Types[interval.Web])) : ScalarType(webs.Types[interval.Web]);
            var locals = new LocalBuilder[interval.Parts];
            for (int p = 0; p < locals.Length; p++) locals[p] = LocalsOf(type).TryPop(out var local) ? local : il.DeclareLocal(type);
            _places[interval.Web] = new Place(locals, 0);
        }

        // Of the active, takes out those that ended before a position.
        void End(int position, Action<Interval> ended)
        {
            int kept = 0;
            for (int i = 0; i < active.Count; i++)
            {
                if (active[i].Last < position) ended(active[i]);
                else active[kept++] = active[i];
            }
            active.RemoveRange(kept, active.Count - kept);
        }

        void GiveBack(Interval interval)
        {
            var place = this[interval.Web];
            if (place.IsSpilled && !place.InFrame) ArenaOf(interval.Parts).Push(place.Offset);
            foreach (var local in place.Locals) LocalsOf(local.LocalType).Push(local);
        }

        Stack<LocalBuilder> LocalsOf(Type type) => free.TryGetValue(type, out var stack) ? stack : free[type] = [];

        Stack<int> ArenaOf(int parts) => freeArena.TryGetValue(parts, out var stack) ? stack : freeArena[parts] = [];
    }

    /// <summary>A few registers stay for what is on the IL stack and for masks.</summary>
    private static int Budget(VectorIsa isa) => isa.Registers - 6;

    /// <summary>Of a loop in passes, whose body is little else than its own values, fewer.</summary>
    private static int BudgetOfPass(VectorIsa isa) => isa.Registers - 2;

    /// <summary>As few as it takes for what is alive at once in the loop to be in registers.</summary>
    private static int PassesFor(LoopUse use, Interval?[] intervals, VectorIsa isa)
    {
        var pressure = new Pressure(use);
        foreach (int web in use.Refs.Keys) if (intervals[web] is { IsVector: true } interval) pressure.Add(use.PlacesOf(web), interval.Parts);
        if (pressure.Most <= Budget(isa)) return 1;
        int passes = 2;
        while (passes < 32 / isa.Lanes && pressure.Most > passes * BudgetOfPass(isa)) passes *= 2;
        return passes;
    }

    /// <param name="spare">Locals that loops take turns in using.</param>
    private void GiveRegisters(Loop loop, LoopUse use, Interval?[] intervals, Webs webs, VectorIsa isa, ILGenerator il, Dictionary<Type, List<LocalBuilder>> spare)
    {
        int passes = PassesOf(loop), budget = passes == 1 ? Budget(isa) : BudgetOfPass(isa);
        var pressure = new Pressure(use);
        foreach (var other in intervals)
        {
            if (other is not { Spilled: false, IsVector: true } || other.Last < use.First || other.First > use.Last) continue;
            // The JIT puts away what the passes do not touch.
            if (use.Refs.ContainsKey(other.Web)) pressure.Add(use.PlacesOf(other.Web), other.Parts / passes);
            else if (passes == 1) pressure.Add(Enumerable.Range(Math.Max(other.First, use.First), Math.Min(other.Last, use.Last) - Math.Max(other.First, use.First) + 1), other.Parts);
        }
        var places = new Dictionary<int, Place>();
        var taken = new Dictionary<Type, int>();
        foreach (var (web, _) in use.Refs.OrderByDescending(r => r.Value).ThenBy(r => r.Key))
        {
            var interval = intervals[web]!;
            int parts = interval.Parts / passes;
            if (!interval.Spilled || parts == 0 || !pressure.HasRoom(use.PlacesOf(web), parts, budget)) continue;
            pressure.Add(use.PlacesOf(web), parts);
            var type = isa.Vector(ElementOf(webs.Types[web]));
            var locals = new LocalBuilder[parts];
            for (int p = 0; p < parts; p++) locals[p] = Spare(type);
            places.Add(web, new Place([.. Enumerable.Range(0, interval.Parts).Select(p => locals[p % parts])], 0));
        }
        if (places.Count > 0) _loopPlaces.Add(loop, places);

        LocalBuilder Spare(Type type)
        {
            int number = taken.GetValueOrDefault(type);
            taken[type] = number + 1;
            if (!spare.TryGetValue(type, out var locals)) spare.Add(type, locals = []);
            if (number == locals.Count) locals.Add(il.DeclareLocal(type));
            return locals[number];
        }
    }

    /// <summary>How a uniform value or the base of an affine one is kept; a float in lane 0 of a small vector, so that scalars and vectors share their code.</summary>
    public static Type ScalarType(ValueType type) => type switch
    {
        ValueType.Float => typeof(System.Runtime.Intrinsics.Vector128<float>),
        ValueType.Bits64 or ValueType.Double => typeof(long),
        _ => typeof(int),
    };

    private sealed class LoopUse(int first, int webs)
    {
        private readonly List<int>?[] _places = new List<int>?[webs];

        public int First { get; } = first;

        public int Last { get; set; }

        /// <summary>Its blocks, and where they begin.</summary>
        public List<(int Block, int Start)> Blocks { get; } = [];

        /// <summary>How often each web is mentioned in it.</summary>
        public Dictionary<int, int> Refs { get; } = [];

        /// <summary>Where in it a web holds what is still read.</summary>
        public List<int> PlacesOf(int web) => _places[web] ??= [];

        public void Mark(BitSet live, int place)
        {
            foreach (int web in live) PlacesOf(web).Add(place);
        }
    }

    /// <summary>How many registers hold something at each place of a loop.</summary>
    private sealed class Pressure(LoopUse use)
    {
        private readonly int[] _registers = new int[use.Last - use.First + 1];

        public int Most => _registers.Max();

        public void Add(IEnumerable<int> places, int registers)
        {
            foreach (int place in places) _registers[place - use.First] += registers;
        }

        public bool HasRoom(IEnumerable<int> places, int registers, int budget) => places.All(place => _registers[place - use.First] + registers <= budget);
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
    }
}
