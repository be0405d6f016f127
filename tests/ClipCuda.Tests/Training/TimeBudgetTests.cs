using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class TimeBudgetTests
{
    private sealed class Clock : TimeProvider
    {
        public long Seconds { get; set; }

        public override long TimestampFrequency => 1;

        public override long GetTimestamp() => Seconds;
    }

    /// <summary>Half as much again as the longest so far, and five seconds.</summary>
    [TestCase(0, true)]
    [TestCase(49, true)]
    [TestCase(50, false)]
    [TestCase(100, false)]
    public void There_is_time_as_long_as_a_step_and_a_checkpoint_fit_in(int elapsed, bool fits)
    {
        var clock = new Clock { Seconds = 1000 };
        var budget = new TimeBudget(TimeSpan.FromSeconds(60), clock);
        clock.Seconds += elapsed;
        Assert.That(budget.Allows(TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(3)), Is.EqualTo(fits));
        Assert.That(new TimeBudget(null, clock).Allows(TimeSpan.FromDays(1), TimeSpan.FromDays(1)));
    }
}
