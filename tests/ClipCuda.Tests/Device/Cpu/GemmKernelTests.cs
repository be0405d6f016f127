using ClipCuda.Devices;

namespace ClipCuda.Tests.Devices;

/// <summary>Every micro-kernel that a plan may choose, against the chain of fused multiply-adds that it is specified as.</summary>
public sealed unsafe class GemmKernelTests
{
    [TestCase(128)]
    [TestCase(256)]
    [TestCase(512)]
    public void Every_shape_is_one_chain_an_element(int vectorBits)
    {
        foreach (int vectors in GemmPlan.VectorCounts)
        {
            for (int rows = 1; rows <= GemmKernel.MaxRows(vectors); rows++)
            {
                var kernel = GemmKernel.Get(vectorBits, rows, vectors);
                Assert.That((kernel.Rows, kernel.Columns), Is.EqualTo((rows, vectors * vectorBits / 32)));
                Assert.That(rows * kernel.Columns, Is.LessThanOrEqualTo(GemmKernel.MaxElements));
                foreach (var (depth, alpha, beta) in new[] { (1, 1f, 0f), (7, -0.75f, 0f), (7, 1.5f, 1f), (2, 0.3f, -0.6f) }) Compare(kernel, depth, alpha, beta);
            }
        }
    }

    [Test]
    public void A_width_that_no_machine_has_is_refused() =>
        Assert.That(() => GemmKernel.Get(64, 1, 1), Throws.TypeOf<ArgumentOutOfRangeException>());

    private static void Compare(GemmKernel kernel, int depth, float alpha, float beta)
    {
        // Rows of each operand are longer than the kernel needs; what lies between must stay as it is.
        int strideA = kernel.Rows + 3, strideB = kernel.Columns + 5, strideC = kernel.Columns + 7;
        float[] a = Numbers(depth * strideA, 1), b = Numbers(depth * strideB, 2), c = Numbers(kernel.Rows * strideC, 3);
        var expected = (float[])c.Clone();
        for (int row = 0; row < kernel.Rows; row++)
        {
            for (int column = 0; column < kernel.Columns; column++)
            {
                float sum = 0;
                for (int k = 0; k < depth; k++) sum = MathF.FusedMultiplyAdd(a[k * strideA + row], b[k * strideB + column], sum);
                ref float element = ref expected[row * strideC + column];
                element = beta == 0 ? alpha * sum : MathF.FusedMultiplyAdd(alpha, sum, beta * element);
            }
        }
        string which = $"{kernel.Rows}×{kernel.Columns}, depth {depth}, alpha {alpha}, beta {beta}";
        var apart = (float[])c.Clone();
        fixed (float* pa = a, pb = b, pc = c)
            kernel.Multiply(depth, pa, strideA * sizeof(float), sizeof(float), pb, strideB * sizeof(float), pc, strideC * sizeof(float), alpha, beta);
        Assert.That(c, Is.EqualTo(expected), which);
        int rowStride = 2 * depth + 3;
        var rows = new float[kernel.Rows * rowStride];
        for (int row = 0; row < kernel.Rows; row++)
        {
            for (int k = 0; k < depth; k++) rows[row * rowStride + 2 * k] = a[k * strideA + row];
        }
        fixed (float* pa = rows, pb = b, pc = apart)
            kernel.MultiplyApart(depth, pa, 2 * sizeof(float), rowStride * sizeof(float), pb, strideB * sizeof(float), pc, strideC * sizeof(float), alpha, beta);
        Assert.That(apart, Is.EqualTo(expected), $"{which}, rows apart");
    }

    private static float[] Numbers(int count, uint stream)
    {
        var random = new Philox(23, RandomPurpose.Initialization, index: stream);
        var numbers = new float[count];
        foreach (ref float number in numbers.AsSpan()) number = (float)random.Normal();
        return numbers;
    }
}
