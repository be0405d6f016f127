namespace ClipCuda.Ptx;

/// <summary>vote.sync and activemask (PTX ISA 9.7.13.7–9): what the running lanes of a warp say together.</summary>
internal static unsafe class Votes
{
    public const int All = 0, Any = 1, Uniform = 2, Ballot = 3;

    /// <summary>A is the lane's predicate, i.Target which question; D gets a predicate, or for Ballot the lanes whose predicate holds.</summary>
    public static void Vote(ref Lanes lanes, in Instruction i)
    {
        int* d = (int*)(lanes.Registers + i.D), a = (int*)(lanes.Registers + i.A);
        for (int warp = 0; warp < Lanes.Warps; warp++)
        {
            uint active = lanes.WarpMask(warp), holds = 0;
            int start = warp * Lanes.WarpLanes;
            for (int lane = 0; lane < Lanes.WarpLanes; lane++) if (a[start + lane] != 0) holds |= 1u << lane;
            holds &= active;
            int result = i.Target switch
            {
                All => holds == active ? -1 : 0,
                Any => holds != 0 ? -1 : 0,
                Uniform => holds == active || holds == 0 ? -1 : 0,
                _ => (int)holds,
            };
            for (int lane = 0; lane < Lanes.WarpLanes; lane++) if ((active >> lane & 1) != 0) d[start + lane] = result;
        }
    }

    public static void ActiveMask(ref Lanes lanes, in Instruction i)
    {
        int* d = (int*)(lanes.Registers + i.D);
        for (int warp = 0; warp < Lanes.Warps; warp++)
        {
            uint active = lanes.WarpMask(warp);
            for (int lane = 0; lane < Lanes.WarpLanes; lane++) if ((active >> lane & 1) != 0) d[warp * Lanes.WarpLanes + lane] = (int)active;
        }
    }
}
