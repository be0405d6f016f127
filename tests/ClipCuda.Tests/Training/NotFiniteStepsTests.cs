using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class NotFiniteStepsTests
{
    [Test]
    public void Skipped_steps_are_counted_and_too_many_in_a_row_are_the_end()
    {
        using var tiny = new TinyModel();
        var steps = new NotFiniteSteps(tiny.Model, most: 3);
        Assert.That(steps.Add(1, null), Is.Null);
        Assert.That(steps.Add(2, "the loss is NaN"), Is.EqualTo("Step 2 skipped: the loss is NaN, not a finite number (1 skipped so far)"));
        Assert.That(steps.Add(3, "the loss is ∞"), Does.Contain("2 skipped so far"));
        Assert.That(steps.Add(4, null), Is.Null);
        Assert.That((steps.Total, steps.InARow), Is.EqualTo((2L, 0)));
        steps.Add(5, "the loss is NaN");
        steps.Add(6, "the loss is NaN");
        Assert.That(
            () => steps.Add(7, "the gradient of 'visual.proj' is NaN"),
            Throws.TypeOf<NotFiniteNumberException>().With.Message.StartsWith("Step 7: the gradient of 'visual.proj' is NaN, not a finite number; so it was for 3 steps in a row, since step 5,").And.Message.Contains("--lr"));
        Assert.That(steps.Total, Is.EqualTo(5));
    }

    [Test]
    public void Weights_that_are_not_finite_are_the_end_at_once()
    {
        using var tiny = new TinyModel();
        var steps = new NotFiniteSteps(tiny.Model, most: 3);
        float[] weights = tiny.Model.Parameters["text_projection"].ToArray();
        weights[^1] = float.PositiveInfinity;
        tiny.Model.Parameters["text_projection"].Upload(weights);
        Assert.That(() => steps.Add(9, "the loss is NaN"), Throws.TypeOf<NotFiniteNumberException>().With.Message.StartsWith("Step 9: the loss is NaN").And.Message.Contains("'text_projection'").And.Message.Contains("earlier checkpoint"));
    }

    [Test]
    public void Many_skipped_steps_make_few_lines()
    {
        using var tiny = new TinyModel();
        var steps = new NotFiniteSteps(tiny.Model, most: 2);
        var shown = new List<long>();
        for (long step = 1; step <= 600; step += 2)
        {
            if (steps.Add(step, "the loss is NaN") is not null) shown.Add(steps.Total);
            steps.Add(step + 1, null);
        }
        Assert.That(shown, Is.EqualTo(new long[] { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 100, 200, 300 }));
    }

    [Test]
    public void The_first_number_that_is_not_finite_is_found()
    {
        Assert.That(NotFiniteSteps.FirstIn([1, float.MaxValue, -0f]), Is.Null);
        Assert.That(NotFiniteSteps.FirstIn([1, float.NegativeInfinity, float.NaN]), Is.EqualTo(float.NegativeInfinity));
    }
}
