using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace ClipCuda.Devices;

/// <summary>
/// A micro-kernel: the product of a packed panel of Rows rows and one of Columns columns, every element of the tile one chain of
/// fused multiply-adds from k = 0 on. All kernels give the same bits; they differ in how many accumulators the machine's registers
/// hold. Accumulators are locals, written out, because that is what keeps them in registers.
/// </summary>
internal sealed unsafe class GemmKernel
{
    /// <summary>28 accumulators, 2 loads and a broadcast of 32 zmm registers.</summary>
    public static readonly GemmKernel Wide512 = new("Vector512", 14, 32, &Multiply14x32);

    /// <summary>24 accumulators, 3 loads and a broadcast of 32 zmm registers, for few rows or columns in multiples of 48.</summary>
    public static readonly GemmKernel Low512 = new("Vector512", 8, 48, &Multiply8x48);

    /// <summary>12 accumulators, 2 loads and a broadcast of 16 ymm registers.</summary>
    public static readonly GemmKernel Wide256 = new("Vector256", 6, 16, &Multiply6x16);

    /// <summary>16 accumulators, 2 loads and a broadcast of 32 NEON registers.</summary>
    public static readonly GemmKernel Wide128 = new("Vector128", 8, 8, &Multiply8x8);

    private readonly delegate*<int, float*, float*, float*, void> _multiply;

    private GemmKernel(string name, int rows, int columns, delegate*<int, float*, float*, float*, void> multiply)
    {
        Name = name;
        Rows = rows;
        Columns = columns;
        _multiply = multiply;
    }

    /// <summary>Those that this machine accelerates, the fastest first.</summary>
    public static GemmKernel[] Available =>
        Vector512.IsHardwareAccelerated ? [Wide512, Low512]
        : Vector256.IsHardwareAccelerated ? [Wide256]
        : [Wide128];

    public string Name { get; }

    public int Rows { get; }

    public int Columns { get; }

    /// <summary>Of some kernels the one that computes the fewest elements beyond the edges of an M × N matrix; the first of equals.</summary>
    public static GemmKernel BestFor(GemmKernel[] kernels, int m, int n) =>
        kernels.MinBy(kernel => Padded(m, kernel.Rows) * Padded(n, kernel.Columns))!;

    /// <summary>tile[Rows, Columns] = a[depth, Rows]ᵀ · b[depth, Columns].</summary>
    public void Multiply(int depth, float* a, float* b, float* tile) => _multiply(depth, a, b, tile);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Multiply14x32(int depth, float* a, float* b, float* tile)
    {
        Vector512<float> c0_0 = Vector512<float>.Zero, c0_1 = Vector512<float>.Zero;
        Vector512<float> c1_0 = Vector512<float>.Zero, c1_1 = Vector512<float>.Zero;
        Vector512<float> c2_0 = Vector512<float>.Zero, c2_1 = Vector512<float>.Zero;
        Vector512<float> c3_0 = Vector512<float>.Zero, c3_1 = Vector512<float>.Zero;
        Vector512<float> c4_0 = Vector512<float>.Zero, c4_1 = Vector512<float>.Zero;
        Vector512<float> c5_0 = Vector512<float>.Zero, c5_1 = Vector512<float>.Zero;
        Vector512<float> c6_0 = Vector512<float>.Zero, c6_1 = Vector512<float>.Zero;
        Vector512<float> c7_0 = Vector512<float>.Zero, c7_1 = Vector512<float>.Zero;
        Vector512<float> c8_0 = Vector512<float>.Zero, c8_1 = Vector512<float>.Zero;
        Vector512<float> c9_0 = Vector512<float>.Zero, c9_1 = Vector512<float>.Zero;
        Vector512<float> c10_0 = Vector512<float>.Zero, c10_1 = Vector512<float>.Zero;
        Vector512<float> c11_0 = Vector512<float>.Zero, c11_1 = Vector512<float>.Zero;
        Vector512<float> c12_0 = Vector512<float>.Zero, c12_1 = Vector512<float>.Zero;
        Vector512<float> c13_0 = Vector512<float>.Zero, c13_1 = Vector512<float>.Zero;
        for (int k = 0; k < depth; k++, a += 14, b += 32)
        {
            Vector512<float> b0 = *(Vector512<float>*)b, b1 = *(Vector512<float>*)(b + 16);
            var ai = Vector512.Create(a[0]);
            c0_0 = Vector512.FusedMultiplyAdd(ai, b0, c0_0);
            c0_1 = Vector512.FusedMultiplyAdd(ai, b1, c0_1);
            ai = Vector512.Create(a[1]);
            c1_0 = Vector512.FusedMultiplyAdd(ai, b0, c1_0);
            c1_1 = Vector512.FusedMultiplyAdd(ai, b1, c1_1);
            ai = Vector512.Create(a[2]);
            c2_0 = Vector512.FusedMultiplyAdd(ai, b0, c2_0);
            c2_1 = Vector512.FusedMultiplyAdd(ai, b1, c2_1);
            ai = Vector512.Create(a[3]);
            c3_0 = Vector512.FusedMultiplyAdd(ai, b0, c3_0);
            c3_1 = Vector512.FusedMultiplyAdd(ai, b1, c3_1);
            ai = Vector512.Create(a[4]);
            c4_0 = Vector512.FusedMultiplyAdd(ai, b0, c4_0);
            c4_1 = Vector512.FusedMultiplyAdd(ai, b1, c4_1);
            ai = Vector512.Create(a[5]);
            c5_0 = Vector512.FusedMultiplyAdd(ai, b0, c5_0);
            c5_1 = Vector512.FusedMultiplyAdd(ai, b1, c5_1);
            ai = Vector512.Create(a[6]);
            c6_0 = Vector512.FusedMultiplyAdd(ai, b0, c6_0);
            c6_1 = Vector512.FusedMultiplyAdd(ai, b1, c6_1);
            ai = Vector512.Create(a[7]);
            c7_0 = Vector512.FusedMultiplyAdd(ai, b0, c7_0);
            c7_1 = Vector512.FusedMultiplyAdd(ai, b1, c7_1);
            ai = Vector512.Create(a[8]);
            c8_0 = Vector512.FusedMultiplyAdd(ai, b0, c8_0);
            c8_1 = Vector512.FusedMultiplyAdd(ai, b1, c8_1);
            ai = Vector512.Create(a[9]);
            c9_0 = Vector512.FusedMultiplyAdd(ai, b0, c9_0);
            c9_1 = Vector512.FusedMultiplyAdd(ai, b1, c9_1);
            ai = Vector512.Create(a[10]);
            c10_0 = Vector512.FusedMultiplyAdd(ai, b0, c10_0);
            c10_1 = Vector512.FusedMultiplyAdd(ai, b1, c10_1);
            ai = Vector512.Create(a[11]);
            c11_0 = Vector512.FusedMultiplyAdd(ai, b0, c11_0);
            c11_1 = Vector512.FusedMultiplyAdd(ai, b1, c11_1);
            ai = Vector512.Create(a[12]);
            c12_0 = Vector512.FusedMultiplyAdd(ai, b0, c12_0);
            c12_1 = Vector512.FusedMultiplyAdd(ai, b1, c12_1);
            ai = Vector512.Create(a[13]);
            c13_0 = Vector512.FusedMultiplyAdd(ai, b0, c13_0);
            c13_1 = Vector512.FusedMultiplyAdd(ai, b1, c13_1);
        }
        var to = (Vector512<float>*)tile;
        to[0] = c0_0; to[1] = c0_1;
        to[2] = c1_0; to[3] = c1_1;
        to[4] = c2_0; to[5] = c2_1;
        to[6] = c3_0; to[7] = c3_1;
        to[8] = c4_0; to[9] = c4_1;
        to[10] = c5_0; to[11] = c5_1;
        to[12] = c6_0; to[13] = c6_1;
        to[14] = c7_0; to[15] = c7_1;
        to[16] = c8_0; to[17] = c8_1;
        to[18] = c9_0; to[19] = c9_1;
        to[20] = c10_0; to[21] = c10_1;
        to[22] = c11_0; to[23] = c11_1;
        to[24] = c12_0; to[25] = c12_1;
        to[26] = c13_0; to[27] = c13_1;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Multiply8x48(int depth, float* a, float* b, float* tile)
    {
        Vector512<float> c0_0 = Vector512<float>.Zero, c0_1 = Vector512<float>.Zero, c0_2 = Vector512<float>.Zero;
        Vector512<float> c1_0 = Vector512<float>.Zero, c1_1 = Vector512<float>.Zero, c1_2 = Vector512<float>.Zero;
        Vector512<float> c2_0 = Vector512<float>.Zero, c2_1 = Vector512<float>.Zero, c2_2 = Vector512<float>.Zero;
        Vector512<float> c3_0 = Vector512<float>.Zero, c3_1 = Vector512<float>.Zero, c3_2 = Vector512<float>.Zero;
        Vector512<float> c4_0 = Vector512<float>.Zero, c4_1 = Vector512<float>.Zero, c4_2 = Vector512<float>.Zero;
        Vector512<float> c5_0 = Vector512<float>.Zero, c5_1 = Vector512<float>.Zero, c5_2 = Vector512<float>.Zero;
        Vector512<float> c6_0 = Vector512<float>.Zero, c6_1 = Vector512<float>.Zero, c6_2 = Vector512<float>.Zero;
        Vector512<float> c7_0 = Vector512<float>.Zero, c7_1 = Vector512<float>.Zero, c7_2 = Vector512<float>.Zero;
        for (int k = 0; k < depth; k++, a += 8, b += 48)
        {
            Vector512<float> b0 = *(Vector512<float>*)b, b1 = *(Vector512<float>*)(b + 16), b2 = *(Vector512<float>*)(b + 32);
            var ai = Vector512.Create(a[0]);
            c0_0 = Vector512.FusedMultiplyAdd(ai, b0, c0_0);
            c0_1 = Vector512.FusedMultiplyAdd(ai, b1, c0_1);
            c0_2 = Vector512.FusedMultiplyAdd(ai, b2, c0_2);
            ai = Vector512.Create(a[1]);
            c1_0 = Vector512.FusedMultiplyAdd(ai, b0, c1_0);
            c1_1 = Vector512.FusedMultiplyAdd(ai, b1, c1_1);
            c1_2 = Vector512.FusedMultiplyAdd(ai, b2, c1_2);
            ai = Vector512.Create(a[2]);
            c2_0 = Vector512.FusedMultiplyAdd(ai, b0, c2_0);
            c2_1 = Vector512.FusedMultiplyAdd(ai, b1, c2_1);
            c2_2 = Vector512.FusedMultiplyAdd(ai, b2, c2_2);
            ai = Vector512.Create(a[3]);
            c3_0 = Vector512.FusedMultiplyAdd(ai, b0, c3_0);
            c3_1 = Vector512.FusedMultiplyAdd(ai, b1, c3_1);
            c3_2 = Vector512.FusedMultiplyAdd(ai, b2, c3_2);
            ai = Vector512.Create(a[4]);
            c4_0 = Vector512.FusedMultiplyAdd(ai, b0, c4_0);
            c4_1 = Vector512.FusedMultiplyAdd(ai, b1, c4_1);
            c4_2 = Vector512.FusedMultiplyAdd(ai, b2, c4_2);
            ai = Vector512.Create(a[5]);
            c5_0 = Vector512.FusedMultiplyAdd(ai, b0, c5_0);
            c5_1 = Vector512.FusedMultiplyAdd(ai, b1, c5_1);
            c5_2 = Vector512.FusedMultiplyAdd(ai, b2, c5_2);
            ai = Vector512.Create(a[6]);
            c6_0 = Vector512.FusedMultiplyAdd(ai, b0, c6_0);
            c6_1 = Vector512.FusedMultiplyAdd(ai, b1, c6_1);
            c6_2 = Vector512.FusedMultiplyAdd(ai, b2, c6_2);
            ai = Vector512.Create(a[7]);
            c7_0 = Vector512.FusedMultiplyAdd(ai, b0, c7_0);
            c7_1 = Vector512.FusedMultiplyAdd(ai, b1, c7_1);
            c7_2 = Vector512.FusedMultiplyAdd(ai, b2, c7_2);
        }
        var to = (Vector512<float>*)tile;
        to[0] = c0_0; to[1] = c0_1; to[2] = c0_2;
        to[3] = c1_0; to[4] = c1_1; to[5] = c1_2;
        to[6] = c2_0; to[7] = c2_1; to[8] = c2_2;
        to[9] = c3_0; to[10] = c3_1; to[11] = c3_2;
        to[12] = c4_0; to[13] = c4_1; to[14] = c4_2;
        to[15] = c5_0; to[16] = c5_1; to[17] = c5_2;
        to[18] = c6_0; to[19] = c6_1; to[20] = c6_2;
        to[21] = c7_0; to[22] = c7_1; to[23] = c7_2;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Multiply6x16(int depth, float* a, float* b, float* tile)
    {
        Vector256<float> c0_0 = Vector256<float>.Zero, c0_1 = Vector256<float>.Zero;
        Vector256<float> c1_0 = Vector256<float>.Zero, c1_1 = Vector256<float>.Zero;
        Vector256<float> c2_0 = Vector256<float>.Zero, c2_1 = Vector256<float>.Zero;
        Vector256<float> c3_0 = Vector256<float>.Zero, c3_1 = Vector256<float>.Zero;
        Vector256<float> c4_0 = Vector256<float>.Zero, c4_1 = Vector256<float>.Zero;
        Vector256<float> c5_0 = Vector256<float>.Zero, c5_1 = Vector256<float>.Zero;
        for (int k = 0; k < depth; k++, a += 6, b += 16)
        {
            Vector256<float> b0 = *(Vector256<float>*)b, b1 = *(Vector256<float>*)(b + 8);
            var ai = Vector256.Create(a[0]);
            c0_0 = Vector256.FusedMultiplyAdd(ai, b0, c0_0);
            c0_1 = Vector256.FusedMultiplyAdd(ai, b1, c0_1);
            ai = Vector256.Create(a[1]);
            c1_0 = Vector256.FusedMultiplyAdd(ai, b0, c1_0);
            c1_1 = Vector256.FusedMultiplyAdd(ai, b1, c1_1);
            ai = Vector256.Create(a[2]);
            c2_0 = Vector256.FusedMultiplyAdd(ai, b0, c2_0);
            c2_1 = Vector256.FusedMultiplyAdd(ai, b1, c2_1);
            ai = Vector256.Create(a[3]);
            c3_0 = Vector256.FusedMultiplyAdd(ai, b0, c3_0);
            c3_1 = Vector256.FusedMultiplyAdd(ai, b1, c3_1);
            ai = Vector256.Create(a[4]);
            c4_0 = Vector256.FusedMultiplyAdd(ai, b0, c4_0);
            c4_1 = Vector256.FusedMultiplyAdd(ai, b1, c4_1);
            ai = Vector256.Create(a[5]);
            c5_0 = Vector256.FusedMultiplyAdd(ai, b0, c5_0);
            c5_1 = Vector256.FusedMultiplyAdd(ai, b1, c5_1);
        }
        var to = (Vector256<float>*)tile;
        to[0] = c0_0; to[1] = c0_1;
        to[2] = c1_0; to[3] = c1_1;
        to[4] = c2_0; to[5] = c2_1;
        to[6] = c3_0; to[7] = c3_1;
        to[8] = c4_0; to[9] = c4_1;
        to[10] = c5_0; to[11] = c5_1;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Multiply8x8(int depth, float* a, float* b, float* tile)
    {
        Vector128<float> c0_0 = Vector128<float>.Zero, c0_1 = Vector128<float>.Zero;
        Vector128<float> c1_0 = Vector128<float>.Zero, c1_1 = Vector128<float>.Zero;
        Vector128<float> c2_0 = Vector128<float>.Zero, c2_1 = Vector128<float>.Zero;
        Vector128<float> c3_0 = Vector128<float>.Zero, c3_1 = Vector128<float>.Zero;
        Vector128<float> c4_0 = Vector128<float>.Zero, c4_1 = Vector128<float>.Zero;
        Vector128<float> c5_0 = Vector128<float>.Zero, c5_1 = Vector128<float>.Zero;
        Vector128<float> c6_0 = Vector128<float>.Zero, c6_1 = Vector128<float>.Zero;
        Vector128<float> c7_0 = Vector128<float>.Zero, c7_1 = Vector128<float>.Zero;
        for (int k = 0; k < depth; k++, a += 8, b += 8)
        {
            Vector128<float> b0 = *(Vector128<float>*)b, b1 = *(Vector128<float>*)(b + 4);
            var ai = Vector128.Create(a[0]);
            c0_0 = Vector128.FusedMultiplyAdd(ai, b0, c0_0);
            c0_1 = Vector128.FusedMultiplyAdd(ai, b1, c0_1);
            ai = Vector128.Create(a[1]);
            c1_0 = Vector128.FusedMultiplyAdd(ai, b0, c1_0);
            c1_1 = Vector128.FusedMultiplyAdd(ai, b1, c1_1);
            ai = Vector128.Create(a[2]);
            c2_0 = Vector128.FusedMultiplyAdd(ai, b0, c2_0);
            c2_1 = Vector128.FusedMultiplyAdd(ai, b1, c2_1);
            ai = Vector128.Create(a[3]);
            c3_0 = Vector128.FusedMultiplyAdd(ai, b0, c3_0);
            c3_1 = Vector128.FusedMultiplyAdd(ai, b1, c3_1);
            ai = Vector128.Create(a[4]);
            c4_0 = Vector128.FusedMultiplyAdd(ai, b0, c4_0);
            c4_1 = Vector128.FusedMultiplyAdd(ai, b1, c4_1);
            ai = Vector128.Create(a[5]);
            c5_0 = Vector128.FusedMultiplyAdd(ai, b0, c5_0);
            c5_1 = Vector128.FusedMultiplyAdd(ai, b1, c5_1);
            ai = Vector128.Create(a[6]);
            c6_0 = Vector128.FusedMultiplyAdd(ai, b0, c6_0);
            c6_1 = Vector128.FusedMultiplyAdd(ai, b1, c6_1);
            ai = Vector128.Create(a[7]);
            c7_0 = Vector128.FusedMultiplyAdd(ai, b0, c7_0);
            c7_1 = Vector128.FusedMultiplyAdd(ai, b1, c7_1);
        }
        var to = (Vector128<float>*)tile;
        to[0] = c0_0; to[1] = c0_1;
        to[2] = c1_0; to[3] = c1_1;
        to[4] = c2_0; to[5] = c2_1;
        to[6] = c3_0; to[7] = c3_1;
        to[8] = c4_0; to[9] = c4_1;
        to[10] = c5_0; to[11] = c5_1;
        to[12] = c6_0; to[13] = c6_1;
        to[14] = c7_0; to[15] = c7_1;
    }

    private static long Padded(int value, int multiple) => ((long)value + multiple - 1) / multiple * multiple;
}
