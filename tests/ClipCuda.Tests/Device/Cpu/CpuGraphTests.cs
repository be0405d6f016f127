using ClipCuda.Devices;

namespace ClipCuda.Tests.Devices.Cpu;

public sealed class CpuGraphTests
{
    /// <summary>A clear and a copy: nothing happens while they are recorded, both each time they are launched.</summary>
    [Test]
    public void Recorded_work_runs_when_it_is_launched()
    {
        using var device = Device.Open("cpu", 1);
        using var x = device.Allocate(4, "x");
        using var y = device.Allocate(4, "y");
        device.CopyToDevice([1, 2, 3, 4], x.Start);
        device.CopyToDevice([5, 6, 7, 8], y.Start);
        using var graph = device.Capture(() =>
        {
            device.Copy(x.Start, y.Start, 4);
            device.Clear(x.Start, 2);
        });
        Assert.That((Read(x), Read(y)), Is.EqualTo(("1 2 3 4", "5 6 7 8")));
        graph.Launch();
        Assert.That((Read(x), Read(y)), Is.EqualTo(("0 0 3 4", "1 2 3 4")));
        graph.Launch();
        Assert.That((Read(x), Read(y)), Is.EqualTo(("0 0 3 4", "0 0 3 4")));

        string Read(DeviceBuffer buffer)
        {
            var bytes = new byte[4];
            device.CopyToHost(buffer.Start, bytes);
            return string.Join(' ', bytes);
        }
    }

    [Test]
    public void A_graph_that_was_disposed_is_refused()
    {
        using var device = Device.Open("cpu", 1);
        var graph = device.Capture(() => { });
        graph.Dispose();
        Assert.That(graph.Launch, Throws.TypeOf<ObjectDisposedException>());
    }

    /// <summary>After work that could not be recorded the device runs calls as they come again.</summary>
    [Test]
    public void Work_that_fails_leaves_no_recording_behind()
    {
        using var device = Device.Open("cpu", 1);
        using var x = device.Allocate(4, "x");
        device.CopyToDevice([1, 2, 3, 4], x.Start);
        Assert.That(() => device.Capture(device.Synchronize), Throws.TypeOf<DeviceException>());
        device.Clear(x.Start, 4);
        var bytes = new byte[4];
        device.CopyToHost(x.Start, bytes);
        Assert.That(bytes, Is.All.Zero);
    }
}
