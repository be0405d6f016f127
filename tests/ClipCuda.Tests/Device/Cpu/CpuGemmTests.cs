using System.Runtime.InteropServices;
using ClipCuda.Devices;

namespace ClipCuda.Tests.Devices;

/// <summary>CpuGemm against a triple loop in float64, and its bits against themselves.</summary>
public sealed class CpuGemmTests
{
    private static readonly int[] Widths = [128, 256, 512];

    // Sizes of 1, primes, whole blocks of a kernel (14×32, 8×48), one less and one more than those and than a part of K.
    private static readonly (int M, int N, int K)[] Sizes =
    [
        (1, 1, 1), (1, 33, 7), (29, 1, 5), (13, 31, 1), (15, 33, 383), (14, 32, 384), (7, 17, 385), (113, 259, 11), (130, 67, 771), (2, 3, 1153),
        (8, 48, 20), (3, 131, 40), (131, 5, 40), (31, 8, 64), (20, 20, 20), (47, 97, 2),
    ];

    private static IEnumerable<TestCaseData> Products() =>
        from width in Widths
        from transposed in new[] { (A: false, B: false), (A: false, B: true), (A: true, B: false), (A: true, B: true) }
        select new TestCaseData(width, transposed.A, transposed.B)
            .SetArgDisplayNames($"Vector{width}", transposed.A ? "T" : "N", transposed.B ? "T" : "N");

    [TestCaseSource(nameof(Products))]
    public void Equals_the_triple_loop(int vectorBits, bool transposedA, bool transposedB)
    {
        using var device = new CpuDevice(2, check: true, vectorBits);
        foreach (var (m, n, k) in Sizes)
        {
            foreach (var (alpha, beta) in new[] { (1f, 0f), (0.37f, -1.3f) })
                Compare(device, new Problem(m, n, k, transposedA, transposedB, alpha, beta, Padding: 3));
        }
    }

    [TestCase(1f, 0f)]
    [TestCase(-0.5f, 1f)]
    public void Multiplies_every_matrix_of_a_batch(float alpha, float beta)
    {
        using var device = new CpuDevice(2, check: true);
        Compare(device, new Problem(5, 37, 19, false, true, alpha, beta, Padding: 1, Batch: 7));
        Compare(device, new Problem(17, 3, 400, true, false, alpha, beta, Padding: 0, Batch: 3));
        Compare(device, new Problem(9, 40, 21, false, false, alpha, beta, Padding: 2, Batch: 5, SharedB: true));
    }

    [Test]
    public void Multiplies_matrices_larger_than_its_workspace()
    {
        using var device = new CpuDevice(2, check: false);
        Compare(device, new Problem(4100, 5, 3, false, false, 1, 0, Padding: 0));
        Compare(device, new Problem(3, 8200, 2, false, true, 1, 1, Padding: 0));
    }

    [Test]
    public void Writes_matrices_of_c_that_lie_side_by_side()
    {
        using var device = new CpuDevice(1, check: true);
        // Two products of 3×2·2×4 whose results share rows of 9: columns 0–3 and 4–7, the last column untouched.
        float[] a = Random(12, 1), b = Random(16, 2), c = Random(27, 3);
        using var bufferA = Upload(device, a);
        using var bufferB = Upload(device, b);
        using var bufferC = Upload(device, c);
        device.Gemm(new GemmCall(3, 4, 2, new(bufferA.Start, 2, BatchStride: 6), new(bufferB.Start, 4, BatchStride: 8), new(bufferC.Start, 9, BatchStride: 4), Batch: 2));
        float[] result = Download(device, bufferC);
        for (int i = 0; i < 3; i++)
        {
            for (int j = 0; j < 9; j++)
            {
                int batch = j / 4;
                float expected = batch == 2
                    ? c[i * 9 + j]
                    : MathF.FusedMultiplyAdd(a[batch * 6 + i * 2 + 1], b[batch * 8 + 4 + j % 4], a[batch * 6 + i * 2] * b[batch * 8 + j % 4]);
                Assert.That(result[i * 9 + j], Is.EqualTo(expected));
            }
        }
    }

    [Test]
    public void Does_not_read_c_when_beta_is_zero()
    {
        using var device = new CpuDevice(2, check: false);
        foreach (int k in new[] { 0, 5, 800 })
        {
            float[] a = Random(20 * k, 1), b = Random(k * 40, 2);
            using var bufferA = Upload(device, a);
            using var bufferB = Upload(device, b);
            using var bufferC = Upload(device, Enumerable.Repeat(float.NaN, 20 * 40).ToArray());
            device.Gemm(new GemmCall(20, 40, k, new(bufferA.Start, Math.Max(1, k)), new(bufferB.Start, 40), new(bufferC.Start, 40)));
            Assert.That(Download(device, bufferC), Has.None.NaN, $"K = {k}");
        }
    }

    [Test]
    public void Does_not_read_a_and_b_when_alpha_is_zero()
    {
        using var device = new CpuDevice(2, check: false);
        using var nan = Upload(device, Enumerable.Repeat(float.NaN, 36).ToArray());
        using var c = Upload(device, Enumerable.Range(0, 36).Select(i => (float)i).ToArray());
        device.Gemm(new GemmCall(6, 6, 6, new(nan.Start, 6), new(nan.Start, 6), new(c.Start, 6), Alpha: 0, Beta: 0.5f));
        Assert.That(Download(device, c), Is.EqualTo(Enumerable.Range(0, 36).Select(i => 0.5f * i)));
    }

    [Test]
    public void A_nan_in_a_reaches_its_row_and_no_other()
    {
        using var device = new CpuDevice(1, check: false);
        float[] a = Random(17 * 9, 1), b = Random(9 * 35, 2);
        a[4 * 9 + 3] = float.NaN;
        using var bufferA = Upload(device, a);
        using var bufferB = Upload(device, b);
        using var bufferC = device.Allocate(17 * 35 * sizeof(float), "C");
        device.Gemm(new GemmCall(17, 35, 9, new(bufferA.Start, 9), new(bufferB.Start, 35), new(bufferC.Start, 35)));
        float[] c = Download(device, bufferC);
        for (int i = 0; i < c.Length; i++) Assert.That(float.IsNaN(c[i]), Is.EqualTo(i / 35 == 4), $"element {i}");
    }

    // Large and small, shared and not; few rows or columns, which change places; panels packed once, often and not at all; several
    // blocks of work along K; rows 4 KiB apart, and used so often that they are packed; and the shapes of a loss over few pairs.
    private static IEnumerable<Problem> BitProblems()
    {
        yield return new Problem(217, 193, 401, false, true, 0.7f, 1.1f, Padding: 0);
        yield return new Problem(95, 300, 64, true, false, 0.7f, 1.1f, Padding: 0);
        yield return new Problem(3, 700, 1000, false, false, 1, 0, Padding: 0);
        yield return new Problem(3, 700, 1000, false, true, 0.7f, 1.1f, Padding: 1);
        yield return new Problem(900, 5, 1000, false, false, 0.7f, 1.1f, Padding: 0);
        yield return new Problem(900, 1, 1200, true, false, 1, 1, Padding: 0);
        yield return new Problem(130, 129, 3001, true, false, 1, 1, Padding: 0);
        yield return new Problem(401, 290, 770, false, true, 1, 0, Padding: 3);
        yield return new Problem(45, 97, 1024, false, true, 0.7f, 1.1f, Padding: 0);
        yield return new Problem(31, 2300, 70, false, false, 1, 0, Padding: 0);
        yield return new Problem(32, 32, 513, false, true, 14.3f, 0, Padding: 0);
        yield return new Problem(61, 45, 90, false, true, 0.7f, 1.1f, Padding: 2, Batch: 9);
        yield return new Problem(13, 200, 500, false, true, 1, 0, Padding: 0, Batch: 6, SharedB: true);
    }

    [TestCaseSource(nameof(BitProblems))]
    public void Bits_do_not_depend_on_threads_or_vector_width(object of)
    {
        var problem = (Problem)of;
        float[]? first = null;
        foreach (int vectorBits in Widths)
        {
            foreach (int threads in new[] { 1, 2, 3, 5 })
            {
                using var device = new CpuDevice(threads, check: false, vectorBits);
                float[] result = Run(device, problem);
                first ??= result;
                Assert.That(Bits(result).SequenceEqual(Bits(first)), $"{problem}, Vector{vectorBits}, {threads} threads");
            }
        }
    }

    [Test]
    public void A_width_that_no_machine_has_is_refused() =>
        Assert.That(() => new CpuDevice(1, check: false, vectorBits: 1024), Throws.TypeOf<ArgumentOutOfRangeException>());

    [Test]
    public void Repeated_calls_allocate_nothing()
    {
        using var device = new CpuDevice(2, check: false);
        using var a = Upload(device, Random(200 * 300, 1));
        using var b = Upload(device, Random(300 * 250, 2));
        using var c = device.Allocate(200 * 250 * sizeof(float), "C");
        GemmCall[] calls =
        [
            new(200, 250, 300, new(a.Start, 300), new(b.Start, 300, Transposed: true), new(c.Start, 250)),
            new(200, 3, 300, new(a.Start, 300), new(b.Start, 250), new(c.Start, 250)),
            new(7, 7, 7, new(a.Start, 7), new(b.Start, 7), new(c.Start, 7)),
        ];
        long before = 0;
        for (int round = 0; round < 4; round++)
        {
            if (round == 2) before = GC.GetAllocatedBytesForCurrentThread();
            foreach (var call in calls) device.Gemm(call);
        }
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    [Test]
    public void Bits_of_an_element_do_not_depend_on_the_matrix_around_it()
    {
        const int M = 61, N = 83, K = 500;
        using var device = new CpuDevice(2, check: false);
        float[] a = Random(M * K, 1), b = Random(K * N, 2);
        using var bufferA = Upload(device, a);
        using var bufferB = Upload(device, b);
        using var whole = device.Allocate(M * N * sizeof(float), "whole");
        device.Gemm(new GemmCall(M, N, K, new(bufferA.Start, K), new(bufferB.Start, N), new(whole.Start, N)));
        float[] expected = Download(device, whole);
        foreach (var (row, rows, column, columns) in new[] { (0, 1, 0, 1), (5, 17, 7, 40), (60, 1, 50, 33), (31, 30, 82, 1) })
        {
            using var part = device.Allocate(rows * columns * sizeof(float), "part");
            device.Gemm(new GemmCall(
                rows, columns, K, new(bufferA.At(row * K * sizeof(float)), K), new(bufferB.At(column * sizeof(float)), N), new(part.Start, columns)));
            float[] result = Download(device, part);
            for (int i = 0; i < result.Length; i++)
                Assert.That(result[i], Is.EqualTo(expected[(row + i / columns) * N + column + i % columns]), $"part at ({row}, {column}), element {i}");
        }
    }

    [Test]
    public void Each_part_of_k_is_one_chain_of_fused_multiply_adds()
    {
        const int K = 900; // three parts of 300
        using var device = new CpuDevice(2, check: false);
        float[] a = Random(K, 1), b = Random(K, 2);
        using var bufferA = Upload(device, a);
        using var bufferB = Upload(device, b);
        using var bufferC = Upload(device, [0.25f]);
        device.Gemm(new GemmCall(1, 1, K, new(bufferA.Start, K), new(bufferB.Start, 1), new(bufferC.Start, 1), Alpha: 1.5f, Beta: 3));
        float expected = 3 * 0.25f;
        for (int part = 0; part < 3; part++)
        {
            float chain = 0;
            for (int k = 300 * part; k < 300 * (part + 1); k++) chain = MathF.FusedMultiplyAdd(a[k], b[k], chain);
            expected = MathF.FusedMultiplyAdd(1.5f, chain, expected);
        }
        Assert.That(Download(device, bufferC)[0], Is.EqualTo(expected));
    }

    private static ReadOnlySpan<int> Bits(float[] values) => MemoryMarshal.Cast<float, int>(values);

    /// <summary>|c − ref| ≤ (K + 3) · 2⁻²⁴ · (|alpha| Σ|a||b| + |beta c|): K roundings of the chain, then alpha, beta and their sum.</summary>
    private static void Compare(CpuDevice device, Problem p)
    {
        float[] result = Run(device, p);
        Assert.That(result, Has.Length.EqualTo(p.C.Length));
        for (int batch = 0; batch < p.Batch; batch++)
        {
            for (int i = 0; i < p.M; i++)
            {
                for (int j = 0; j < p.StrideC; j++)
                {
                    long at = batch * p.BatchC + (long)i * p.StrideC + j;
                    if (j >= p.N)
                    {
                        if (BitConverter.SingleToInt32Bits(result[at]) != BitConverter.SingleToInt32Bits(p.C[at])) Assert.Fail($"{p}: the padding at ({i}, {j}) was written");
                        continue;
                    }
                    double sum = 0, magnitude = 0;
                    for (int k = 0; k < p.K; k++)
                    {
                        double a = p.A[batch * p.BatchA + (p.TransposedA ? (long)k * p.StrideA + i : (long)i * p.StrideA + k)];
                        double b = p.B[(p.SharedB ? 0 : batch * p.BatchB) + (p.TransposedB ? (long)j * p.StrideB + k : (long)k * p.StrideB + j)];
                        sum += a * b;
                        magnitude += Math.Abs(a * b);
                    }
                    double expected = p.Alpha * sum + (p.Beta == 0 ? 0 : (double)p.Beta * p.C[at]);
                    double allowed = (p.K + 3) * Math.ScaleB(1, -24) * (Math.Abs(p.Alpha) * magnitude + (p.Beta == 0 ? 0 : Math.Abs((double)p.Beta * p.C[at])));
                    if (!(Math.Abs(result[at] - expected) <= allowed)) Assert.Fail($"{p}: element ({i}, {j}) of matrix {batch} is {result[at]}, expected {expected} ± {allowed}");
                }
            }
        }
    }

    private static float[] Run(CpuDevice device, Problem p)
    {
        using var a = Upload(device, p.A);
        using var b = Upload(device, p.B);
        using var c = Upload(device, p.C);
        device.Gemm(new GemmCall(
            p.M, p.N, p.K,
            new(a.Start, p.StrideA, p.TransposedA, p.BatchA),
            new(b.Start, p.StrideB, p.TransposedB, p.SharedB ? 0 : p.BatchB),
            new(c.Start, p.StrideC, BatchStride: p.BatchC),
            p.Alpha, p.Beta, p.Batch));
        device.Synchronize();
        return Download(device, c);
    }

    private static float[] Random(int count, uint stream)
    {
        var random = new Philox(17, RandomPurpose.Initialization, index: stream);
        var values = new float[count];
        foreach (ref float value in values.AsSpan()) value = (float)random.Normal();
        return values;
    }

    private static DeviceBuffer Upload(CpuDevice device, float[] values)
    {
        var buffer = device.Allocate(Math.Max(1, values.Length) * sizeof(float), "operand");
        device.CopyToDevice(MemoryMarshal.AsBytes(values.AsSpan()), buffer.Start);
        return buffer;
    }

    private static float[] Download(CpuDevice device, DeviceBuffer buffer)
    {
        var values = new float[buffer.Bytes / sizeof(float)];
        device.CopyToHost(buffer.Start, MemoryMarshal.AsBytes(values.AsSpan()));
        return values;
    }

    /// <summary>Operands with random contents; rows of each are Padding elements longer than they need to be.</summary>
    private sealed record Problem(
        int M, int N, int K, bool TransposedA, bool TransposedB, float Alpha, float Beta, int Padding, int Batch = 1, bool SharedB = false)
    {
        public int StrideA { get; } = (TransposedA ? M : K) + Padding;

        public int StrideB { get; } = (TransposedB ? K : N) + Padding;

        public int StrideC { get; } = N + Padding;

        public long BatchA => (long)(TransposedA ? K : M) * StrideA;

        public long BatchB => (long)(TransposedB ? N : K) * StrideB;

        public long BatchC => (long)M * StrideC;

        public float[] A { get; } = Random(Batch * (TransposedA ? K : M) * ((TransposedA ? M : K) + Padding), 1);

        public float[] B { get; } = Random((SharedB ? 1 : Batch) * (TransposedB ? N : K) * ((TransposedB ? K : N) + Padding), 2);

        public float[] C { get; } = Random(Batch * M * (N + Padding), 3);

        public override string ToString() => $"{M}×{N}×{K} {(TransposedA ? 'T' : 'N')}{(TransposedB ? 'T' : 'N')}, batch {Batch}, alpha {Alpha}, beta {Beta}";
    }
}
