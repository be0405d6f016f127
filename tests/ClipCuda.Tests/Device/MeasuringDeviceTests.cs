using ClipCuda.Devices;
using ClipCuda.Ops;

namespace ClipCuda.Tests.Devices;

public sealed class MeasuringDeviceTests
{
    [Test]
    public void Counts_the_most_that_was_allocated_at_one_time()
    {
        using var device = new MeasuringDevice();
        var first = device.Allocate(1L << 40, "a terabyte");
        first.Dispose();
        using var second = device.Allocate(100, "second");
        using var third = device.Allocate(200, "third");
        Assert.That(device.PeakBytes, Is.EqualTo(1L << 40));
        Assert.That(device.LiveBytes, Is.EqualTo(300));
    }

    [Test]
    public void Runs_kernels_and_copies_without_memory()
    {
        using var device = new MeasuringDevice();
        using var tape = new Tape(device);
        var x = tape.Allocate(1 << 14, 1 << 14);
        Residual.AddInto(x, x);
        using var small = device.Allocate(16, "small");
        byte[] copy = [1, 2, 3];
        device.CopyToHost(small.Start, copy);
        Assert.That(copy, Is.All.Zero);
        Assert.That(device.PeakBytes, Is.EqualTo((4L << 28) + 16));
    }

    [Test]
    public void Checks_what_it_does_not_do()
    {
        using var device = new MeasuringDevice();
        using var small = device.Allocate(16, "small");
        Assert.That(() => device.Clear(small.Start, 17), Throws.TypeOf<DeviceException>());
    }
}
