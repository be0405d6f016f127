using ClipCuda.Devices;

namespace ClipCuda.Tests.Devices;

/// <summary>What the checking CPU device catches beside the kernels.</summary>
public sealed unsafe class CpuDeviceTests
{
    [TestCase(-1, "1 bytes before the start")]
    [TestCase(-256, "256 bytes before the start")]
    [TestCase(100, "0 bytes past the end")]
    [TestCase(355, "255 bytes past the end")]
    public void A_byte_written_beside_a_buffer_is_found_and_named(int offset, string where)
    {
        using var device = Device.Open("cpu:check", 1);
        using var sound = device.Allocate(100, "sound");
        var hurt = device.Allocate(100, "hurt");
        device.Synchronize();
        ((byte*)hurt.Address)[offset]++;
        AssertFound(device.Synchronize);
        AssertFound(hurt.Dispose);
        Assert.That(device.LiveBuffers, Is.EqualTo(1));
        device.Synchronize();

        void AssertFound(Action check) => Assert.That(check, Throws.TypeOf<DeviceException>().With.Message.Contains($"{where} of buffer 'hurt'"));
    }
}
