using ClipCuda.Data;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class EpochWatchTests
{
    [Test]
    public void The_bottleneck_is_what_steps_waited_for()
    {
        var report = new EpochReport(Seconds: 10, Waited: 0.1, new SourceTimes(Reading: 1, Decoding: 3), Workers: 1);
        Assert.That($"{report}", Does.StartWith("10.0 s, 1.0 % of them waiting for data; bottleneck: the device"));
        Assert.That($"{report with { Waited = 4 }}", Does.Contain("40.0 %").And.Contain("decoding images"));
        Assert.That($"{report with { Waited = 4, Times = new SourceTimes(9, 3), Workers = 1000 }}", Does.Contain("reading files").And.Contain("clipcuda pack"));
    }
}
