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

    [TestCase(-1)]
    [TestCase(480)]
    public void Has_no_value_outside_the_run(int step) => Assert.That(() => Schedule.At(step), Throws.InstanceOf<ArgumentOutOfRangeException>());
}
