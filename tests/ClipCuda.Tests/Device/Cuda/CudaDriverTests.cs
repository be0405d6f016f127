using ClipCuda.Devices;
using ClipCuda.Tests.SoftCuda;

namespace ClipCuda.Tests.Devices;

public sealed class CudaDriverTests
{
    [TestCase(11_040, "11.4")]
    [TestCase(12_080, "12.8")]
    [TestCase(13_000, "13.0")]
    public void Versions_are_as_people_write_them(int version, string text) => Assert.That(CudaDriver.Format(version), Is.EqualTo(text));

    [TestCase(CudaDriver.OutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY (2)", "--batch-size", true)]
    [TestCase(700, "CUDA_ERROR_ILLEGAL_ADDRESS (700)", "--device cpu:check shows where", false)]
    [TestCase(999, "CUDA_ERROR_UNKNOWN (999)", "dmesg", false)]
    [TestCase(CudaDriver.NoDevice, "CUDA_ERROR_NO_DEVICE (100)", "CUDA_VISIBLE_DEVICES", false)]
    [TestCase(900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED (900)", "", true)]
    public void An_error_names_call_result_and_text_and_says_what_to_do(int result, string name, string advice, bool well)
    {
        using var gpu = SoftGpu.Plug();
        var error = new CudaDriver(new LibraryBinding()).Error(result, "cuSomething", "a kernel");
        Assert.That(error.Message, Does.StartWith($"cuSomething (a kernel) failed: {name}: the text of result {result}.").And.Contain(advice));
        Assert.That(error.DeviceIsWell, Is.EqualTo(well));
    }
}
