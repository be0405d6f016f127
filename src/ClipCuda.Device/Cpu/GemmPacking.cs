using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace ClipCuda.Devices;

/// <summary>
/// Copies panels of a GEMM operand into the order in which a micro-kernel reads them: for each k in turn, one element of each lane.
/// A lane is a row of op(A) or a column of op(B); a panel has an even number of lanes, and those past the edge of the matrix become zeros.
/// </summary>
internal static unsafe class GemmPacking
{
    /// <summary>
    /// Lanes lie side by side in memory: element (lane, k) is at source[k · stride + lane]. Packs as many panels, one after another in
    /// memory, as <paramref name="valid"/> lanes fill: whole rows of the source are read from left to right.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PackContiguousLanes(float* source, long stride, int lanes, int valid, int depth, float* panels)
    {
        long panelElements = (long)depth * lanes;
        for (int k = 0; k < depth; k++, source += stride, panels += lanes)
        {
            float* from = source;
            float* to = panels;
            int left = valid;
            for (; left >= lanes; left -= lanes, from += lanes, to += panelElements)
            {
                int lane = 0;
                for (; lane + 8 <= lanes; lane += 8) *(Vector256<float>*)(to + lane) = *(Vector256<float>*)(from + lane);
                for (; lane + 2 <= lanes; lane += 2) *(long*)(to + lane) = *(long*)(from + lane);
            }
            if (left == 0) continue;
            for (int lane = 0; lane < lanes; lane++) to[lane] = lane < left ? from[lane] : 0;
        }
    }

    /// <summary>Each lane is contiguous along k: element (lane, k) is at source[lane · stride + k]; a panel is its transpose.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PackContiguousDepth(float* source, long stride, int lanes, int valid, int depth, float* panel)
    {
        int lane = 0;
        if (Sse.IsSupported)
        {
            for (; lane + 4 <= valid; lane += 4)
                PackFourLanes(source + lane * stride, stride, lanes, depth, panel + lane);
        }
        for (; lane < lanes; lane++)
        {
            float* from = source + lane * stride;
            float* to = panel + lane;
            if (lane < valid)
            {
                for (int k = 0; k < depth; k++) to[(long)k * lanes] = from[k];
            }
            else
            {
                for (int k = 0; k < depth; k++) to[(long)k * lanes] = 0;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PackFourLanes(float* source, long stride, int lanes, int depth, float* panel)
    {
        float* s0 = source, s1 = s0 + stride, s2 = s1 + stride, s3 = s2 + stride;
        int k = 0;
        for (; k + 4 <= depth; k += 4, panel += 4L * lanes)
        {
            Vector128<float> r0 = *(Vector128<float>*)(s0 + k), r1 = *(Vector128<float>*)(s1 + k);
            Vector128<float> r2 = *(Vector128<float>*)(s2 + k), r3 = *(Vector128<float>*)(s3 + k);
            var low01 = Sse.UnpackLow(r0, r1);
            var low23 = Sse.UnpackLow(r2, r3);
            var high01 = Sse.UnpackHigh(r0, r1);
            var high23 = Sse.UnpackHigh(r2, r3);
            *(Vector128<float>*)panel = Sse.MoveLowToHigh(low01, low23);
            *(Vector128<float>*)(panel + lanes) = Sse.MoveHighToLow(low23, low01);
            *(Vector128<float>*)(panel + 2L * lanes) = Sse.MoveLowToHigh(high01, high23);
            *(Vector128<float>*)(panel + 3L * lanes) = Sse.MoveHighToLow(high23, high01);
        }
        for (; k < depth; k++, panel += lanes) *(Vector128<float>*)panel = Vector128.Create(s0[k], s1[k], s2[k], s3[k]);
    }
}
