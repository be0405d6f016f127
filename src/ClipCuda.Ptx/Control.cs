using System.Numerics;
using System.Runtime.Intrinsics;

namespace ClipCuda.Ptx;

/// <summary>
/// Branches, reconvergence, barriers, exits and what lanes of a warp exchange. Lanes that part at a branch meet at the branch block's
/// immediate post-dominator: the stack holds who waits there, and who has yet to go there.
/// </summary>
internal static unsafe class Control
{
    public static void Branch(ref Lanes lanes, in Instruction i) => lanes.Pc = i.Target;

    public static void BranchIf(ref Lanes lanes, in Instruction i)
    {
        var (low, high) = Taken(lanes, i);
        if ((low | high) == 0) return;
        ulong restLow = lanes.MaskLow & ~low, restHigh = lanes.MaskHigh & ~high;
        if ((restLow | restHigh) == 0)
        {
            lanes.Pc = i.Target;
            return;
        }
        int meet = i.Reconvergence;
        if (lanes.StackDepth == 0 || lanes.Stack[lanes.StackDepth - 1] is var top && !(top.Reconvergence == meet && top.Pc == meet))
            Push(ref lanes, meet, meet, lanes.MaskLow, lanes.MaskHigh);
        if (i.Target == meet)
        {
            lanes.SetMask(restLow, restHigh);
        }
        else
        {
            if (lanes.Pc != meet) Push(ref lanes, meet, lanes.Pc, restLow, restHigh);
            lanes.SetMask(low, high);
            lanes.Pc = i.Target;
        }
        if (lanes.Pc == meet) Reconverge(ref lanes, meet);
    }

    /// <summary>Stands before the first instruction of a block where lanes may meet.</summary>
    public static void Meet(ref Lanes lanes, in Instruction i) => Reconverge(ref lanes, lanes.Pc - 1);

    public static void Exit(ref Lanes lanes, in Instruction i)
    {
        lanes.AliveLow &= ~lanes.MaskLow;
        lanes.AliveHigh &= ~lanes.MaskHigh;
        while (lanes.StackDepth > 0)
        {
            var next = lanes.Stack[--lanes.StackDepth];
            ulong low = next.Low & lanes.AliveLow, high = next.High & lanes.AliveHigh;
            if ((low | high) == 0) continue;
            lanes.SetMask(low, high);
            lanes.Pc = next.Pc;
            return;
        }
        lanes.State = RunState.Exited;
    }

    /// <summary>A guarded exit: the lanes whose predicate holds end, the others go on.</summary>
    public static void ExitIf(ref Lanes lanes, in Instruction i)
    {
        var (low, high) = Taken(lanes, i);
        ulong restLow = lanes.MaskLow & ~low, restHigh = lanes.MaskHigh & ~high;
        if ((restLow | restHigh) == 0)
        {
            Exit(ref lanes, i);
            return;
        }
        lanes.AliveLow &= ~low;
        lanes.AliveHigh &= ~high;
        lanes.SetMask(restLow, restHigh);
    }

    public static void Trap(ref Lanes lanes, in Instruction i) => throw lanes.Group.Fault(i, "the kernel executed trap", FirstLane(lanes));

    public static void Barrier(ref Lanes lanes, in Instruction i)
    {
        if (lanes.MaskLow != lanes.AliveLow || lanes.MaskHigh != lanes.AliveHigh)
            throw lanes.Group.Fault(i, "divergent barrier: live threads of this warp are elsewhere", FirstLane(lanes));
        lanes.State = RunState.AtBarrier;
        lanes.Group.Barrier = default;
    }

    /// <summary>A barrier with a number (at A) and the threads that meet there (at B; 0: all).</summary>
    public static void NamedBarrier(ref Lanes lanes, in Instruction i)
    {
        Barrier(ref lanes, i);
        int lane = FirstLane(lanes);
        lanes.Group.Barrier = (((int*)(lanes.Registers + i.A))[lane], ((int*)(lanes.Registers + i.B))[lane]);
    }

    /// <summary>A call of what has no body here.</summary>
    public static void UnknownCall(ref Lanes lanes, in Instruction i)
    {
        string name = lanes.Group.Entry.Instructions[i.Origin].Operands[0].Name;
        throw lanes.Group.Fault(i, name.Length == 0 ? "an indirect call, which no engine runs" : $"a call of '{name}', which has no body in this module", FirstLane(lanes));
    }

    /// <summary>Nothing to do: lanes of a warp run in lockstep, memory is coherent.</summary>
    public static void Nothing(ref Lanes lanes, in Instruction i) { }

    /// <summary>A guarded instruction: i.Target is one past it; it runs with the mask narrowed to its predicate.</summary>
    public static void Guarded(ref Lanes lanes, in Instruction i)
    {
        var (low, high) = Taken(lanes, i);
        ref readonly var inner = ref lanes.Group.Code[lanes.Pc];
        lanes.Pc = i.Target;
        if ((low | high) == 0) return;
        (ulong beforeLow, ulong beforeHigh) = (lanes.MaskLow, lanes.MaskHigh);
        lanes.SetMask(low, high);
        if (lanes.Full) inner.Full(ref lanes, inner);
        else inner.Masked(ref lanes, inner);
        lanes.SetMask(beforeLow, beforeHigh);
    }

    /// <summary>shfl.sync (PTX ISA 9.7.9.6): lanes read each other's A within a warp; i.Target holds the mode, D1 the optional predicate.</summary>
    public static void Shuffle(ref Lanes lanes, in Instruction i)
    {
        byte* file = lanes.Registers;
        int* d = (int*)(file + i.D), a = (int*)(file + i.A), b = (int*)(file + i.B), c = (int*)(file + i.C);
        int* p = i.D1 < 0 ? null : (int*)(file + i.D1);
        int* values = stackalloc int[Lanes.WarpLanes];
        for (int warp = 0; warp < Lanes.Warps; warp++)
        {
            uint active = lanes.WarpMask(warp);
            if (active == 0) continue;
            int start = warp * Lanes.WarpLanes;
            Vector512.Load(a + start).Store(values);
            Vector512.Load(a + start + 16).Store(values + 16);
            for (uint left = active; left != 0; left &= left - 1)
            {
                int lane = BitOperations.TrailingZeroCount(left);
                int amount = b[start + lane] & 31, clamp = c[start + lane] & 31, segment = c[start + lane] >> 8 & 31;
                int last = (lane & segment) | (clamp & ~segment), first = lane & segment;
                int from = i.Target switch
                {
                    ShuffleUp => lane - amount,
                    ShuffleDown => lane + amount,
                    ShuffleButterfly => lane ^ amount,
                    _ => first | (amount & ~segment),
                };
                bool inRange = i.Target == ShuffleUp ? from >= last : from <= last;
                d[start + lane] = values[inRange ? from : lane];
                if (p is not null) p[start + lane] = inRange ? -1 : 0;
            }
        }
    }

    /// <summary>The meeting place of lanes that only meet at the exit.</summary>
    public const int NeverMeets = -1;

    public const int ShuffleUp = 0, ShuffleDown = 1, ShuffleButterfly = 2, ShuffleIndex = 3;

    /// <summary>shfl.sync.bfly of whole warps (c = 31) by one constant amount: a permutation of vectors.</summary>
    public static void Butterfly(ref Lanes lanes, in Instruction i)
    {
        int* d = (int*)(lanes.Registers + i.D), a = (int*)(lanes.Registers + i.A);
        int amount = *(int*)(lanes.Registers + i.B) & 31;
        var order = Vector512.Create(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) ^ Vector512.Create(amount & 15);
        int swap = amount & 16;
        for (int start = 0; start < Lanes.Count; start += Lanes.WarpLanes)
        {
            var low = Vector512.Shuffle(Vector512.Load(a + start + swap), order);
            var high = Vector512.Shuffle(Vector512.Load(a + start + (16 - swap)), order);
            low.Store(d + start);
            high.Store(d + start + 16);
        }
    }

    /// <summary>The active lanes for which an instruction's guard holds.</summary>
    internal static (ulong Low, ulong High) Taken(in Lanes lanes, in Instruction i)
    {
        var (low, high) = Lanes.Collect(lanes.Registers + i.A);
        return i.Negated ? (~low & lanes.MaskLow, ~high & lanes.MaskHigh) : (low & lanes.MaskLow, high & lanes.MaskHigh);
    }

    private static void Reconverge(ref Lanes lanes, int at)
    {
        while (lanes.StackDepth > 0 && lanes.Stack[lanes.StackDepth - 1].Reconvergence == at)
        {
            var entry = lanes.Stack[--lanes.StackDepth];
            ulong low = entry.Low & lanes.AliveLow, high = entry.High & lanes.AliveHigh;
            if ((low | high) == 0) continue;
            lanes.SetMask(low, high);
            lanes.Pc = entry.Pc;
            if (entry.Pc != at) return;
        }
        if (lanes.Pc == at) lanes.Pc = at + 1;
    }

    private static void Push(ref Lanes lanes, int reconvergence, int pc, ulong low, ulong high)
    {
        if (lanes.StackDepth == WarpGroup.StackEntries) throw new PtxException($"{lanes.Group.Name}: branches are nested too deeply.");
        lanes.Stack[lanes.StackDepth++] = new ReconvergenceEntry { Reconvergence = reconvergence, Pc = pc, Low = low, High = high };
    }

    private static int FirstLane(in Lanes lanes) =>
        lanes.MaskLow != 0 ? BitOperations.TrailingZeroCount(lanes.MaskLow) : 64 + BitOperations.TrailingZeroCount(lanes.MaskHigh);
}
