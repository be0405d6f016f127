using ClipCuda.Devices;
using ClipCuda.Tests.SoftCuda;

namespace ClipCuda.Tests.Devices;

/// <summary>Products are held against a reference in <see cref="CudaDeviceTests"/>.</summary>
public sealed class CuBlasTests
{
    [TestCase(3, "cublasGemmEx (2×3×4) failed: CUBLAS_STATUS_ALLOC_FAILED (3): ", "--batch-size", true)]
    [TestCase(13, "cublasGemmEx (2×3×4) failed: CUBLAS_STATUS_EXECUTION_FAILED (13): ", "--device cpu:check", false)]
    [TestCase(99, "cublasGemmEx (2×3×4) failed: unknown status (99): ", "no description", false)]
    public void An_error_names_the_call_and_the_status_and_says_what_to_do(int status, string says, string advice, bool well)
    {
        var error = CuBlas.Error(status, "cublasGemmEx", "2×3×4");
        Assert.That(error.Message, Does.StartWith(says).And.Contain(advice).And.Not.Contain('\n'));
        Assert.That(error.DeviceIsWell, Is.EqualTo(well));
    }

    [Test]
    public void A_failing_product_is_named_with_its_sizes()
    {
        using var gpu = SoftGpu.Plug(s => s with { FailCall = "cublasGemmStridedBatchedEx", FailWith = 719 });
        using var device = Device.Open("cuda", 0);
        using var buffer = device.Allocate(4096, "x");
        var operand = new GemmOperand(buffer.Start, 4, false, 16);
        Assert.That(
            () => device.Gemm(new GemmCall(2, 3, 4, operand, operand, new(buffer.At(2048), 4, false, 16), Batch: 2)),
            Throws.TypeOf<DeviceException>().With.Message.StartsWith("cublasGemmStridedBatchedEx (2×3×4) failed: CUBLAS_STATUS_EXECUTION_FAILED (13)"));
    }
}
