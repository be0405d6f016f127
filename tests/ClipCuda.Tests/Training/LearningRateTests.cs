using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class LearningRateTests
{
    private static readonly LearningRate Schedule = new(Peak: 1e-3f, WarmupSteps: 50, Steps: 480);

    [TestCase(0, 2e-5)]
    [TestCase(24, 5e-4)]
    [TestCase(49, 1e-3)]
    [TestCase(50, 1e-3)]
    [TestCase(50 + 430 / 2, 5e-4)] // half way down the cosine
    [TestCase(479, 1e-3 * 1.33444571e-5)] // (1 + cos(π·429/430))/2
    public void Has_the_values_of_the_formula(int step, double expected) =>
        Assert.That(Schedule.At(step), Is.EqualTo(expected).Within(1e-3).Percent);

    [Test]
    public void Rises_through_the_warm_up_and_falls_after_it()
    {
        for (int step = 1; step < Schedule.Steps; step++)
        {
            if (step < 50) Assert.That(Schedule.At(step), Is.GreaterThan(Schedule.At(step - 1)), $"step {step}");
            else if (step > 50) Assert.That(Schedule.At(step), Is.LessThan(Schedule.At(step - 1)), $"step {step}");
        }
    }

    [Test]
    public void Starts_at_the_peak_without_a_warm_up() => Assert.That(new LearningRate(0.5f, 0, 10).At(0), Is.EqualTo(0.5f));

    [Test]
    public void A_run_shorter_than_its_warm_up_only_rises()
    {
        var schedule = new LearningRate(1, 100, 10);
        Assert.That(schedule.At(9), Is.EqualTo(0.1f).Within(1e-7f));
    }

    [Test]
    public void A_constant_rate_stays_after_the_warm_up()
    {
        var schedule = Schedule with { Schedule = LearningRateSchedule.Const };
        Assert.That(schedule.At(24), Is.EqualTo(5e-4f));
        foreach (int step in (ReadOnlySpan<int>)[49, 50, 479]) Assert.That(schedule.At(step), Is.EqualTo(1e-3f));
    }

    /// <summary>open_clip's const_lr_cooldown: (1 − (step − start) / (steps − start))^power · (base − end) + end, for steps 380 to 480.</summary>
    [TestCase(379, 1f, 1e-3)]
    [TestCase(380, 1f, 1e-3)]
    [TestCase(405, 1f, 0.75 * 9e-4 + 1e-4)]
    [TestCase(405, 2f, 0.5625 * 9e-4 + 1e-4)]
    [TestCase(405, 0.5f, 0.8660254037844386 * 9e-4 + 1e-4)]
    [TestCase(479, 1f, 0.01 * 9e-4 + 1e-4)]
    public void A_cooldown_follows_a_power(int step, float power, double expected)
    {
        var schedule = Schedule with { Schedule = LearningRateSchedule.ConstCooldown, CooldownSteps = 100, CooldownEnd = 1e-4f, CooldownPower = power };
        Assert.That(schedule.At(step), Is.EqualTo(expected).Within(1e-5).Percent);
    }

    [TestCase(379, 1e-3)]
    [TestCase(380, 1e-3)]
    [TestCase(405, 0.5e-3)] // 1 − √0.25
    [TestCase(461, 1e-4)] // 1 − √0.81
    public void The_decay_of_wsd_follows_a_root(int step, double expected) =>
        Assert.That((Schedule with { Schedule = LearningRateSchedule.Wsd, CooldownSteps = 100 }).At(step), Is.EqualTo(expected).Within(1e-4).Percent);

    /// <summary>A warm-up that reaches into the cooldown goes first; a cooldown over the whole run begins at once.</summary>
    [Test]
    public void The_warm_up_goes_first()
    {
        var schedule = new LearningRate(1, 10, 20) { Schedule = LearningRateSchedule.ConstCooldown, CooldownSteps = 20 };
        Assert.That(new[] { 0, 9, 10, 19 }.Select(step => schedule.At(step)), Is.EqualTo(new[] { 0.1f, 1f, 0.5f, 0.05f }).Within(1e-6f));
    }

    [TestCase(-1)]
    [TestCase(480)]
    public void Has_no_value_outside_the_run(int step) => Assert.That(() => Schedule.At(step), Throws.InstanceOf<ArgumentOutOfRangeException>());
}
