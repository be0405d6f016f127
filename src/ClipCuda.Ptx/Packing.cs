namespace ClipCuda.Ptx;

/// <summary>mov between a register and a vector of narrower ones (PTX ISA 9.7.9.2, "pack" and "unpack"); the first element holds the lowest bits.</summary>
internal static unsafe class Packing
{
    /// <summary>i.Elements registers at A, B, C, D1 into one of i.Target bits at D.</summary>
    public static void Pack(ref Lanes lanes, in Instruction i)
    {
        byte* file = lanes.Registers;
        int* offsets = stackalloc int[] { i.A, i.B, i.C, i.D1 };
        int bits = i.Target / i.Elements;
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (!lanes.IsActive(lane)) continue;
            ulong value = 0;
            for (int e = 0; e < i.Elements; e++) value |= (((uint*)(file + offsets[e]))[lane] & (ulong.MaxValue >> (64 - bits))) << (e * bits);
            if (i.Target == 64) ((ulong*)(file + i.D))[lane] = value;
            else ((uint*)(file + i.D))[lane] = (uint)value;
        }
    }

    /// <summary>One register of i.Target bits at A into i.Elements at D, D1, D2, D3.</summary>
    public static void Unpack(ref Lanes lanes, in Instruction i)
    {
        byte* file = lanes.Registers;
        int* offsets = stackalloc int[] { i.D, i.D1, i.D2, i.D3 };
        int bits = i.Target / i.Elements;
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (!lanes.IsActive(lane)) continue;
            ulong value = i.Target == 64 ? ((ulong*)(file + i.A))[lane] : ((uint*)(file + i.A))[lane];
            for (int e = 0; e < i.Elements; e++) ((uint*)(file + offsets[e]))[lane] = (uint)(value >> (e * bits) & (ulong.MaxValue >> (64 - bits)));
        }
    }
}
