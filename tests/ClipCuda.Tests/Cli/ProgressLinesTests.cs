using ClipCuda.Cli;

namespace ClipCuda.Tests.Cli;

public sealed class ProgressLinesTests
{
    [Test]
    public void Says_how_far_it_is_every_ten_seconds_and_counts_only_its_own_work_for_the_rate()
    {
        using var output = new StringWriter();
        var time = new ManualTime();
        var progress = new ProgressLines(output, 100_000, "embedded", time);
        progress.Report(50_000); // of an earlier run
        time.Advance(9);
        progress.Report(50_900);
        Assert.That(output.ToString(), Is.Empty);
        time.Advance(1);
        progress.Report(51_000);
        time.Advance(9);
        progress.Report(52_000);
        time.Advance(1);
        progress.Report(53_000);
        Assert.That(output.ToString(), Is.EqualTo("51,000 of 100,000 embedded, 100/s\n53,000 of 100,000 embedded, 150/s\n"));
    }

    private sealed class ManualTime : TimeProvider
    {
        private long _seconds;

        public override long TimestampFrequency => 1;

        public override long GetTimestamp() => _seconds;

        public void Advance(int seconds) => _seconds += seconds;
    }
}
