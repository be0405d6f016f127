using ClipCuda.Devices;
using ClipCuda.Tests.SoftCuda;

namespace ClipCuda.Tests.Devices;

public sealed class DeviceListTests
{
    [Test]
    public void GPUs_are_listed_by_the_names_they_are_opened_by()
    {
        using var gpu = SoftGpu.Plug(s => s with { Devices = 2 });
        var devices = DeviceList.Find().ToArray();
        Assert.That(devices.Select(device => device.Name), Is.EqualTo((string[])["cuda:0", "cuda:1", .. ManagedCudaPlugIn.IsThere ? (string[])["managedcuda:0", "managedcuda:1"] : [], "cpu"]));
        foreach (var listed in devices)
        {
            using var device = Device.Open(listed.Name, 0);
            Assert.That(device.Description, Is.EqualTo(listed.Description));
        }
    }

    [Test]
    public void What_makes_GPUs_unusable_is_said()
    {
        using (SoftGpu.Plug(s => s with { FailCall = "cublasGetProperty" }))
            Assert.That(DeviceList.Find().First().Description, Does.StartWith("Soft GPU 0, ").And.Contain("unusable: cublasGetProperty failed: CUBLAS_STATUS_EXECUTION_FAILED (13)"));
        using (SoftGpu.Plug(s => s with { DriverVersion = 11_000 }))
            Assert.That(DeviceList.Find().First(), Is.EqualTo(new ListedDevice("cuda", "none: The NVIDIA driver supports CUDA 11.0; ClipCuda needs 11.4. Update the driver.")));
    }
}
