using ClipCuda.Tests.Data;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class RunLogTests
{
    [Test]
    public void A_training_line_has_the_fields_of_open_clip() =>
        Assert.That(RunLog.Line(Examples.Step, meanLoss: 5), Is.EqualTo(
            "Train Epoch: 0 [1280/3072 (42%)] Data (t): 0.013 Batch (t): 0.500, 256.000/s LR: 0.000500 Logit Scale: 14.286 Contrastive_loss: 4.7500 (5.0000) Loss: 4.7500 (5.0000)"));

    [Test]
    public void An_evaluation_line_has_the_fields_of_open_clip() =>
        Assert.That(RunLog.Line(1, Examples.Evaluation), Is.EqualTo(
            "Eval Epoch: 1 image_to_text_mean_rank: 33.5000\timage_to_text_median_rank: 12.0000\timage_to_text_R@1: 0.1250\timage_to_text_R@5: 0.2500\timage_to_text_R@10: 0.5000\t"
            + "text_to_image_mean_rank: 44.2500\ttext_to_image_median_rank: 9.5000\ttext_to_image_R@1: 0.0625\ttext_to_image_R@5: 0.3750\ttext_to_image_R@10: 0.7500\t"
            + "clip_val_loss: 3.2500\tepoch: 1.0000\tnum_samples: 1346.0000"));

    [Test]
    public void A_zero_shot_line_has_the_fields_of_open_clip()
    {
        using var folder = new TemporaryFolder();
        using (var log = new RunLog(folder.At("out.log")))
        {
            log.ZeroShot(2, Examples.Classification);
            log.ZeroShot(3, Examples.Classification with { Acc5 = null });
        }
        string[] lines = File.ReadAllLines(folder.At("out.log"));
        Assert.That(lines[0], Does.EndWith("| INFO | Eval Epoch: 2 zeroshot-val-top1: 0.6250\tzeroshot-val-top5: 0.8750\tzeroshot-mean-per-class-recall: 0.5000"));
        Assert.That(lines[1], Does.EndWith("Eval Epoch: 3 zeroshot-val-top1: 0.6250\tzeroshot-mean-per-class-recall: 0.5000"));
    }

    [Test]
    public void The_mean_loss_is_that_of_the_epoch_and_counts_steps_that_are_not_shown()
    {
        using var folder = new TemporaryFolder();
        using (var log = new RunLog(folder.At("out.log")))
        {
            log.Step(Examples.Step with { Loss = 2 }, show: false);
            log.Step(Examples.Step with { Loss = 4 }, show: true);
            log.Step(Examples.Step with { Loss = 8, Epoch = 2 }, show: true);
        }
        string[] lines = File.ReadAllLines(folder.At("out.log"));
        Assert.That(lines, Has.Length.EqualTo(2));
        Assert.That(lines[0], Does.EndWith("Loss: 4.0000 (3.0000)"));
        Assert.That(lines[1], Does.EndWith("Loss: 8.0000 (8.0000)").And.Contain("Train Epoch: 1 "));
    }
}
