using ClipCuda.Cli;

namespace ClipCuda.Tests.Cli;

public sealed class DurationOptionTests
{
    [TestCase("90s", 90)]
    [TestCase("11h30m", 41400)]
    [TestCase("1d2h3m4s", 93784)]
    [TestCase("11:30:00", 41400)]
    [TestCase("1-02:03:04", 93784)]
    [TestCase("100:00:00", 360000)]
    public void Takes_units_and_what_batch_queues_write(string text, int seconds) => Assert.That(DurationOption.Parse(text), Is.EqualTo(TimeSpan.FromSeconds(seconds)));

    [TestCase("")]
    [TestCase("90")]
    [TestCase("11:30")]
    [TestCase("1:60:00")]
    [TestCase("-1h")]
    [TestCase("1h 30m")]
    [TestCase("30m1h")]
    [TestCase("99999999999999999d")]
    public void Takes_nothing_that_could_mean_two_things(string text) => Assert.That(DurationOption.Parse(text), Is.Null);

    [Test]
    public void A_wrong_one_is_a_usage_error() => CommandLine.Run("train", "--max-time", "0s").MustFail(2, "--max-time", "11h30m");
}
