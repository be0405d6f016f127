using ClipCuda.Tests.Data;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class TrainingStateTests : FolderTests
{
    private static readonly TrainingState State = new()
    {
        Step = 7,
        StepsPerEpoch = 5,
        BatchSize = 8,
        Samples = 41,
        Seed = 3,
        OptimizerSteps = 6,
        SkippedSteps = 2,
        SkippedInARow = 1,
        EvaluationDue = true,
        Score = 0.25,
    };

    [TestCase(0.25)]
    [TestCase(null)]
    public void Comes_back_as_it_was_written(double? score)
    {
        (State with { Score = score }).Write(Folder.Path);
        Assert.That(TrainingState.Read(Folder.Path), Is.EqualTo(State with { Score = score }));
    }

    [Test]
    public void A_score_that_is_no_number_is_none()
    {
        (State with { Score = double.NaN }).Write(Folder.Path);
        Assert.That(TrainingState.Read(Folder.Path).Score, Is.Null);
    }

    [TestCase(5, "epoch_1")]
    [TestCase(7, "step_7")]
    [TestCase(10, "epoch_2")]
    public void Is_named_by_the_epoch_or_within_one_by_the_step(long step, string name) => Assert.That((State with { Step = step }).Name, Is.EqualTo(name));

    [TestCase(9, false, false)]
    [TestCase(10, false, true)]
    [TestCase(10, true, false)]
    [TestCase(11, false, true)]
    public void Is_the_end_when_all_steps_and_evaluations_are_done(long step, bool evaluationDue, bool end) =>
        Assert.That((State with { Step = step, EvaluationDue = evaluationDue }).IsEnd(epochs: 2), Is.EqualTo(end));

    [Test]
    public void Without_a_state_there_is_no_resuming_and_the_way_out_is_named() =>
        Assert.That(() => TrainingState.Read(Folder.Path), Throws.TypeOf<FileNotFoundException>().With.Message.Contains("training.json").And.Message.Contains("--pretrained"));

    [TestCase("{")]
    [TestCase("{}")]
    [TestCase("[]")]
    [TestCase("""{"step": "x"}""")]
    public void A_damaged_file_is_named(string text)
    {
        string path = Folder.Write("training.json", text);
        Assert.That(() => TrainingState.Read(Folder.Path), Throws.TypeOf<InvalidDataException>().With.Message.Contains(path));
    }

    [Test]
    public void Steps_that_cannot_be_are_damage()
    {
        (State with { StepsPerEpoch = 1 }).Write(Folder.Path);
        string path = Folder.At("training.json");
        File.WriteAllText(path, File.ReadAllText(path).Replace("\"steps_per_epoch\": 1", "\"steps_per_epoch\": 0", StringComparison.Ordinal));
        Assert.That(() => TrainingState.Read(Folder.Path), Throws.TypeOf<InvalidDataException>().With.Message.Contains("0 an epoch"));
    }

    [Test]
    public void Everything_that_differs_is_named_at_once()
    {
        Assert.That(() => State.RequireSame(State with { Step = 0 }, "c"), Throws.Nothing);
        Assert.That(
            () => State.RequireSame(State with { Seed = 4, Samples = 40, BatchSize = 9 }, "c"),
            Throws.ArgumentException.With.Message.Contains("'c'").And.Message.Contains("--seed was 3 and is 4, the batch size was 8 and is 9, the number of samples was 41 and is 40"));
    }
}
