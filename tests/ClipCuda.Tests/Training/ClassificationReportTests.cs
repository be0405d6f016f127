using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class ClassificationReportTests
{
    [Test]
    public void Counts_first_places_first_fives_and_the_mean_over_classes()
    {
        var counter = new ClassificationCounter(classes: 7);
        counter.Add([9, 1, 2, 3, 4, 5, 6], label: 0); // first
        counter.Add([9, 1, 2, 3, 4, 5, 6], label: 6); // second
        counter.Add([9, 1, 2, 3, 4, 5, 6], label: 3); // fifth
        counter.Add([9, 1, 2, 3, 4, 5, 6], label: 2); // sixth
        counter.Add([0, 0, 8, 0, 0, 0, 0], label: 2); // first
        counter.Add([0, 0, 8, 0, 0, 0, 0], label: 2); // first
        // Right: 1 of 1, 0 of 1, 0 of 1, 2 of 3; three classes have no image.
        Assert.That(counter.Report(), Is.EqualTo(new ClassificationReport(6, 7, 3 / 6.0, 5 / 6.0, (1 + 0 + 0 + 2 / 3.0) / 4)));
    }

    [Test]
    public void Ties_count_against_the_model()
    {
        var counter = new ClassificationCounter(classes: 6);
        counter.Add([1, 1, 1, 1, 1, 1], label: 0);
        counter.Add([2, 2, 1, 1, 1, 1], label: 1);
        Assert.That(counter.Report(), Is.EqualTo(new ClassificationReport(2, 6, 0, 0.5, 0)));
    }

    [Test]
    public void Fewer_than_five_classes_have_no_first_five()
    {
        var counter = new ClassificationCounter(classes: 2);
        counter.Add([1, 0], label: 0);
        Assert.That(counter.Report(), Is.EqualTo(new ClassificationReport(1, 2, 1, null, 1)));
        Assert.That(() => new ClassificationCounter(2).Report(), Throws.InvalidOperationException);
    }
}
