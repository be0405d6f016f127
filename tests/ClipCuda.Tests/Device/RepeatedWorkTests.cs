using ClipCuda.Devices;
using ClipCuda.Ops;
using ClipCuda.Tests.SoftCuda;

namespace ClipCuda.Tests.Devices;

/// <summary>The work doubles a number; what a device records is not run again by the host.</summary>
public sealed class RepeatedWorkTests
{
    [TestCase("cpu", 2)]
    [TestCase("cuda", 2)] // once as it is, once to be recorded
    public void Work_runs_each_time_whether_or_not_it_is_recorded(string name, int called)
    {
        using var prepared = TestDevices.Prepare(name);
        using var device = Device.Open(name, 1);
        using var buffer = device.Allocate(4, "x");
        var x = new Tensor(device, buffer.Start, DataType.Float32, 1);
        x.Upload([1f]);
        int calls = 0;
        using (var work = new RepeatedWork(device, () =>
        {
            calls++;
            Residual.AddInto(x, x);
        }))
        {
            for (int i = 0; i < 5; i++) work.Run();
            Assert.That(work.Refusal, Is.Null);
        }
        Assert.That((x.ToArray()[0], calls), Is.EqualTo((32f, called)));
    }

    [Test]
    public void Work_that_cannot_be_recorded_runs_as_it_is()
    {
        using var gpu = SoftGpu.Plug();
        using var device = Device.Open("cuda", 0);
        int calls = 0;
        using var work = new RepeatedWork(device, () =>
        {
            calls++;
            device.Synchronize();
        });
        for (int i = 0; i < 3; i++) work.Run();
        Assert.That(work.Refusal, Does.Contain("Waiting for the device: not possible while work is recorded"));
        Assert.That(calls, Is.EqualTo(4), "one of them was the attempt");
    }

    [Test]
    public void A_device_that_fails_while_it_records_is_an_error()
    {
        using var gpu = SoftGpu.Plug(s => s with { FailCall = "cuGraphInstantiateWithFlags", FailWith = 719, FailsForEver = true });
        using var device = Device.Open("cuda", 0);
        using var work = new RepeatedWork(device, () => { });
        work.Run();
        Assert.That(work.Run, Throws.TypeOf<DeviceException>().With.Message.Contains("cuGraphInstantiateWithFlags failed: CUDA_ERROR_LAUNCH_FAILED (719)"));
    }
}
