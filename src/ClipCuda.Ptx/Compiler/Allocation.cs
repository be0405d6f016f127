using System.Reflection.Emit;

namespace ClipCuda.Ptx.Compiler;

/// <summary>Where a web lives in a compiled method: IL locals, one a vector or one for a scalar, or a piece of the spill arena.</summary>
internal sealed record Place(LocalBuilder[] Locals, int Arena)
{
    public bool IsSpilled => Locals.Length == 0;
}

/// <summary>
/// Registers for one method, by linear scan over the webs' live intervals. The processor has 16 or 32 vector registers; what would not fit is
/// kept in an aligned arena instead of the JIT's own unaligned spill slots, the seldom used first. Locals are used again
/// when their web is dead: the JIT gives up optimising beyond some hundreds.
/// </summary>
internal sealed class Allocation
{
    private readonly Dictionary<int, Place> _places = [];

    /// <param name="segment">The method's blocks in layout order.</param>
    /// <param name="entry">Webs that are live where the method begins.</param>
    public Allocation(IReadOnlyList<int> segment, IEnumerable<int> entry, List<BasicBlock> blocks, FlowGraph graph, Webs webs, Analysis analysis, Inlining inlining, VectorIsa isa, ILGenerator il)
    {
        var intervals = new Dictionary<int, Interval>();
        foreach (int web in entry) Touch(web, -1, 0);
        int at = 0;
        foreach (int b in segment)
        {
            double weight = Math.Pow(10, Math.Min(graph.DepthOf(b), 4));
            int start = at;
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
        }
        Scan(intervals.Values.OrderBy(i => i.First).ThenBy(i => i.Web), webs, analysis, isa, il);

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
        }
    }

    public int ArenaBytes { get; private set; }

    public Place this[int web] => _places[web];

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

    private void Scan(IEnumerable<Interval> intervals, Webs webs, Analysis analysis, VectorIsa isa, ILGenerator il)
    {
        var free = new Dictionary<Type, Stack<LocalBuilder>>();
        var freeArena = new Dictionary<int, Stack<int>>();
        var active = new List<Interval>();
        // A few registers stay for what is on the IL stack and for masks.
        int budget = isa.Registers - 6, used = 0;
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
                used -= done.Registers(webs);
            }
            active.Add(interval);
            used += interval.Registers(webs);
            while (used > budget && active.Where(a => a.IsVector).MinBy(a => a.Weight / (a.Last - a.First + 1)) is { } least)
            {
                least.Spilled = true;
                active.Remove(least);
                used -= least.Registers(webs);
            }
        }
        active.Clear();
        foreach (var interval in all)
        {
            foreach (var done in active.Where(a => a.Last < interval.First).ToList())
            {
                active.Remove(done);
                var place = _places[done.Web];
                if (place.IsSpilled) ArenaOf(done.Parts).Push(place.Arena);
                foreach (var local in place.Locals) LocalsOf(local.LocalType).Push(local);
            }
            active.Add(interval);
            if (interval.Spilled)
            {
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

    /// <summary>How a uniform value or the base of an affine one is kept; a float in lane 0 of a small vector, so that scalars and vectors share their code.</summary>
    public static Type ScalarType(ValueType type) => type switch
    {
        ValueType.Float => typeof(System.Runtime.Intrinsics.Vector128<float>),
        ValueType.Bits64 or ValueType.Double => typeof(long),
        _ => typeof(int),
    };

    private sealed class Interval
    {
        public int Web;
        public int First;
        public int Last;
        public int Parts;
        public double Weight;
        public bool IsVector;
        public bool Spilled;

        public int Registers(Webs webs) => IsVector ? Parts : webs.Types[Web] == ValueType.Float ? 1 : 0;
    }
}
