using ClipCuda.Tests.Data;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class MetricsFileTests
{
    [Test]
    public void Every_row_has_every_column_and_is_on_disk_at_once()
    {
        using var folder = new TemporaryFolder();
        string path = folder.At("metrics.csv");
        using var metrics = new MetricsFile(path);
        metrics.Add(Examples.Step);
        metrics.Add(epoch: 1, step: 24, Examples.Evaluation);
        metrics.Add(epoch: 1, step: 24, Examples.Classification);

        using var reader = new StreamReader(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
        string[][] rows = [.. reader.ReadToEnd().TrimEnd('\n').Split('\n').Select(line => line.Split(','))];
        Assert.That(rows, Has.Length.EqualTo(4));
        Assert.That(rows[0][..9], Is.EqualTo(new[] { "epoch", "step", "loss", "lr", "logit_scale", "grad_norm", "samples_per_second", "data_wait", "data_wait_share" }));
        Assert.That(rows[0][9..], Is.All.StartsWith("val_"));
        Assert.That(rows[1][..9], Is.EqualTo(new[] { "1", "10", "4.75", "0.0005", "14.2857", "2.5", "256.000", "0.012500", "0.0250" }));
        Assert.That(rows[1][9..], Has.Length.EqualTo(rows[0].Length - 9).And.All.Empty);
        Assert.That(rows[2][..2], Is.EqualTo(new[] { "1", "24" }));
        Assert.That(rows[2][2..9], Is.All.Empty);
        Assert.That(rows[2][9..], Is.EqualTo(new[] { "3.25", "0.125", "0.25", "0.5", "33.5", "12", "0.0625", "0.375", "0.75", "44.25", "9.5", "", "" }));
        Assert.That(rows[3], Is.EqualTo((string[])["1", "24", .. Enumerable.Repeat("", 18), "0.625", "0.875"]));
    }

    [TestCase(1, false, "header,1a,1b")]
    [TestCase(2, false, "header,1a,1b,2a,2b")]
    [TestCase(2, true, "header,1a,1b,2a")]
    public void Is_cut_back_to_the_step_a_run_goes_on_from(long step, bool evaluationDue, string kept)
    {
        using var folder = new TemporaryFolder();
        string path = folder.Write("metrics.csv", "epoch,step,loss,val_loss\n1,1,1a,\n1,1,,1b\n1,2,2a,\n1,2,,2b\n1,3,3a,\n1,4,4");
        MetricsFile.Cut(path, new TrainingState { Step = step, StepsPerEpoch = 9, BatchSize = 1, Samples = 9, Seed = 0, EvaluationDue = evaluationDue });
        string[] lines = File.ReadAllText(path).Split('\n')[..^1];
        Assert.That(lines.Select((line, i) => i == 0 ? "header" : string.Concat(line.Split(',')[2..])), Is.EqualTo(kept.Split(',')));
        MetricsFile.Cut(path, null);
        Assert.That(File.ReadAllText(path), Is.EqualTo("epoch,step,loss,val_loss\n"));
    }
}
