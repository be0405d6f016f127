using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace ClipCuda.Devices;

/// <summary>
/// Copies a panel of a GEMM operand into the order in which a micro-kernel reads it: for each k in turn, one element of each lane.
/// A lane is a row of op(A) or a column of op(B). What lanes past the edge of the matrix hold does not matter, as their products are
/// dropped; they become zeros or copies of the last lane, because left-over denormals would be slow.
/// </summary>
internal static unsafe class GemmPacking
{
    private const int Ahead = 64; // elements along a row that a transpose asks for early: too many rows for the hardware to follow

    /// <summary>
    /// panel[k · lanes + lane] = source[lane · laneStride + k · depthStride]; one of the strides is 1.
    /// </summary>
    public static void Pack(float* source, long laneStride, long depthStride, int lanes, int valid, int depth, float* panel)
    {
        if (laneStride == 1) PackContiguousLanes(source, depthStride, lanes, valid, depth, panel);
        else PackContiguousDepth(source, laneStride, lanes, valid, depth, panel);
    }

    /// <summary>Lanes lie side by side in memory. An end that is no whole vector is copied by one that overlaps the vector before.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PackContiguousLanes(float* source, long stride, int lanes, int valid, int depth, float* panel)
    {
        if (valid < lanes) new Span<float>(panel, depth * lanes).Clear();
        if (valid >= 16 && valid % 16 == 0)
        {
            for (int k = 0; k < depth; k++, source += stride, panel += lanes)
            {
                for (int lane = 0; lane < valid; lane += 16) *(Vector512<float>*)(panel + lane) = *(Vector512<float>*)(source + lane);
            }
        }
        else if (valid >= 8)
        {
            for (int k = 0; k < depth; k++, source += stride, panel += lanes)
            {
                for (int lane = 0; lane < valid - 8; lane += 8) *(Vector256<float>*)(panel + lane) = *(Vector256<float>*)(source + lane);
                *(Vector256<float>*)(panel + valid - 8) = *(Vector256<float>*)(source + valid - 8);
            }
        }
        else if (valid >= 4)
        {
            for (int k = 0; k < depth; k++, source += stride, panel += lanes)
            {
                *(Vector128<float>*)panel = *(Vector128<float>*)source;
                *(Vector128<float>*)(panel + valid - 4) = *(Vector128<float>*)(source + valid - 4);
            }
        }
        else
        {
            for (int k = 0; k < depth; k++, source += stride, panel += lanes)
            {
                for (int lane = 0; lane < valid; lane++) panel[lane] = source[lane];
            }
        }
    }

    /// <summary>Each lane is contiguous along k: the panel is a transpose, a group of lanes at a time; the last group overlaps the one before.</summary>
    private static void PackContiguousDepth(float* source, long stride, int lanes, int valid, int depth, float* panel)
    {
        // Rows a multiple of 4 KiB apart share one set of the first-level cache, which does not hold 16 of them.
        bool wide = Avx512F.IsSupported && stride % 1024 != 0;
        int narrow = Avx.IsSupported && lanes >= 8 ? 8 : Sse.IsSupported && lanes >= 4 ? 4 : 1;
        float** rows = stackalloc float*[8];
        for (int lane = 0; lane < lanes;)
        {
            if (wide && lane + 16 <= valid)
            {
                Transpose16(source + lane * stride, stride, lanes, depth, panel + lane);
                lane += 16;
                continue;
            }
            lane = Math.Min(lane, lanes - narrow);
            for (int i = 0; i < narrow; i++) rows[i] = source + Math.Min(lane + i, valid - 1) * stride;
            int done = narrow switch
            {
                8 => Transpose8(rows, lanes, depth, panel + lane),
                4 => Transpose4(rows, lanes, depth, panel + lane),
                _ => 0,
            };
            for (int k = done; k < depth; k++)
            {
                for (int i = 0; i < narrow; i++) panel[(long)k * lanes + lane + i] = rows[i][k];
            }
            lane += narrow;
        }
    }

    /// <summary>Sixteen lanes, at equal distances.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Transpose16(float* source, long stride, int lanes, int depth, float* panel)
    {
        float* end = source + depth;
        long quad = 4 * stride;
        for (; source + 16 <= end; source += 16, panel += 16L * lanes)
        {
            float* ahead = source + Ahead;
            for (int row = 0; row < 16; row += 4, ahead += quad)
            {
                Sse.Prefetch0(ahead);
                Sse.Prefetch0(ahead + stride);
                Sse.Prefetch0(ahead + 2 * stride);
                Sse.Prefetch0(ahead + 3 * stride);
            }
            TransposeFour(source, stride, quad, lanes, panel);
            TransposeFour(source + 4, stride, quad, lanes, panel + 4L * lanes);
            TransposeFour(source + 8, stride, quad, lanes, panel + 8L * lanes);
            TransposeFour(source + 12, stride, quad, lanes, panel + 12L * lanes);
        }
        for (; source + 4 <= end; source += 4, panel += 4L * lanes) TransposeFour(source, stride, quad, lanes, panel);
        for (; source < end; source++, panel += lanes)
        {
            for (int i = 0; i < 16; i++) panel[i] = source[i * stride];
        }
    }

    /// <summary>Four k of sixteen lanes: lanes 4q … 4q + 3 fill the q-th 128 bits of four vectors, in which 4×4 transposes run side by side.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void TransposeFour(float* source, long stride, long quad, int lanes, float* panel)
    {
        var v0 = Gather(source, quad);
        var v1 = Gather(source + stride, quad);
        var v2 = Gather(source + 2 * stride, quad);
        var v3 = Gather(source + 3 * stride, quad);
        var low01 = Avx512F.UnpackLow(v0, v1);
        var low23 = Avx512F.UnpackLow(v2, v3);
        var high01 = Avx512F.UnpackHigh(v0, v1);
        var high23 = Avx512F.UnpackHigh(v2, v3);
        *(Vector512<float>*)panel = Avx512F.Shuffle(low01, low23, 0x44);
        *(Vector512<float>*)(panel + lanes) = Avx512F.Shuffle(low01, low23, 0xEE);
        *(Vector512<float>*)(panel + 2L * lanes) = Avx512F.Shuffle(high01, high23, 0x44);
        *(Vector512<float>*)(panel + 3L * lanes) = Avx512F.Shuffle(high01, high23, 0xEE);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Gather(float* row, long quad)
    {
        var gathered = Vector256.ToVector512Unsafe(Vector128.ToVector256Unsafe(*(Vector128<float>*)row));
        gathered = Avx512F.InsertVector128(gathered, *(Vector128<float>*)(row + quad), 1);
        gathered = Avx512F.InsertVector128(gathered, *(Vector128<float>*)(row + 2 * quad), 2);
        return Avx512F.InsertVector128(gathered, *(Vector128<float>*)(row + 3 * quad), 3);
    }

    /// <summary>The same for eight lanes that need not lie at equal distances; returns how many k are done.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int Transpose8(float** rows, int lanes, int depth, float* panel)
    {
        float* r0 = rows[0], r1 = rows[1], r2 = rows[2], r3 = rows[3], r4 = rows[4], r5 = rows[5], r6 = rows[6], r7 = rows[7];
        int k = 0;
        for (; k + 4 <= depth; k += 4, panel += 4L * lanes)
        {
            var v0 = Vector256.Create(*(Vector128<float>*)(r0 + k), *(Vector128<float>*)(r4 + k));
            var v1 = Vector256.Create(*(Vector128<float>*)(r1 + k), *(Vector128<float>*)(r5 + k));
            var v2 = Vector256.Create(*(Vector128<float>*)(r2 + k), *(Vector128<float>*)(r6 + k));
            var v3 = Vector256.Create(*(Vector128<float>*)(r3 + k), *(Vector128<float>*)(r7 + k));
            var low01 = Avx.UnpackLow(v0, v1);
            var low23 = Avx.UnpackLow(v2, v3);
            var high01 = Avx.UnpackHigh(v0, v1);
            var high23 = Avx.UnpackHigh(v2, v3);
            *(Vector256<float>*)panel = Avx.Shuffle(low01, low23, 0x44);
            *(Vector256<float>*)(panel + lanes) = Avx.Shuffle(low01, low23, 0xEE);
            *(Vector256<float>*)(panel + 2L * lanes) = Avx.Shuffle(high01, high23, 0x44);
            *(Vector256<float>*)(panel + 3L * lanes) = Avx.Shuffle(high01, high23, 0xEE);
        }
        return k;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int Transpose4(float** rows, int lanes, int depth, float* panel)
    {
        float* r0 = rows[0], r1 = rows[1], r2 = rows[2], r3 = rows[3];
        int k = 0;
        for (; k + 4 <= depth; k += 4, panel += 4L * lanes)
        {
            Vector128<float> v0 = *(Vector128<float>*)(r0 + k), v1 = *(Vector128<float>*)(r1 + k);
            Vector128<float> v2 = *(Vector128<float>*)(r2 + k), v3 = *(Vector128<float>*)(r3 + k);
            var low01 = Sse.UnpackLow(v0, v1);
            var low23 = Sse.UnpackLow(v2, v3);
            var high01 = Sse.UnpackHigh(v0, v1);
            var high23 = Sse.UnpackHigh(v2, v3);
            *(Vector128<float>*)panel = Sse.MoveLowToHigh(low01, low23);
            *(Vector128<float>*)(panel + lanes) = Sse.MoveHighToLow(low23, low01);
            *(Vector128<float>*)(panel + 2L * lanes) = Sse.MoveLowToHigh(high01, high23);
            *(Vector128<float>*)(panel + 3L * lanes) = Sse.MoveHighToLow(high23, high01);
        }
        return k;
    }
}
