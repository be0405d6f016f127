using ClipCuda.Devices;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class DevicePeaksTests
{
    /// <summary>A core of today does 1 to 200 GFLOP/s on vectors and copies 0.1 to 200 GB/s; a unit mistaken is off by a thousand.</summary>
    [Test]
    public void Peaks_are_those_of_a_machine()
    {
        using var device = Device.Open("cpu", threads: 1);
        var peaks = DevicePeaks.Measure(device);
        Assert.That(peaks.FlopsPerSecond, Is.InRange(1e9, 1e12));
        Assert.That(peaks.GemmFlopsPerSecond, Is.InRange(1e9, 1e12));
        Assert.That(peaks.BytesPerSecond, Is.InRange(1e8, 1e12));
        Assert.That(peaks.LaunchesPerSecond, Is.InRange(1e3, 1e9));
        Assert.That(device.LiveBuffers, Is.Zero);
    }
}
