namespace ClipCuda.Tests.Cli;

public sealed class ProgramTests
{
    [Test]
    public void Version_is_printed()
    {
        foreach (string[] args in new[] { new[] { "--version" }, ["train", "--version"] })
        {
            var run = CommandLine.Run(args);
            Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
            Assert.That(run.Output, Does.Match(@"^\d+\.\d+\.\d+\S*\n$"));
        }
    }

    [TestCase("")]
    [TestCase("--help")]
    [TestCase("train --help")]
    [TestCase("inference --help")]
    [TestCase("evaluate --help")]
    [TestCase("embed --help")]
    [TestCase("test-model --help")]
    public void Help_is_printed(string line)
    {
        var run = CommandLine.Run(line.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        Assert.That(run.Output, Does.Contain("Usage:").And.Contain("--verbose").And.Contain("train"));
    }

    [TestCase("teach", "unknown command 'teach'. See 'clipcuda --help'")]
    [TestCase("trian --epochs 5", "unknown command 'trian'; did you mean 'train'?")]
    [TestCase("--verbos", "unknown option '--verbos'; did you mean '--verbose'?")]
    [TestCase("train --foo 5", "unknown option '--foo'. See 'clipcuda train --help'")]
    [TestCase("train --batchsize 64", "unknown option '--batchsize'; did you mean '--batch-size'?")]
    [TestCase("train --batchsize=64", "unknown option '--batchsize'; did you mean '--batch-size'?")]
    [TestCase("train --train_csv a.csv", "unknown option '--train_csv'; did you mean '--train-csv'?")]
    [TestCase("convert a b --two hf", "unknown option '--two'; did you mean '--to'?")]
    [TestCase("train elsewhere", "'elsewhere' belongs to no option")]
    [TestCase("train --epochs", "--epochs")]
    [TestCase("train --epochs many", "--epochs is 'many'", "whole number of at least 1")]
    [TestCase("train --epochs 0", "--epochs is '0'")]
    [TestCase("train --batch-size -3", "--batch-size is '-3'")]
    [TestCase("train --batch-size 1.5", "--batch-size is '1.5'")]
    [TestCase("train --lr 0", "--lr is '0'", "above 0")]
    [TestCase("train --lr NaN", "--lr is 'NaN'")]
    [TestCase("train --lr Infinity", "--lr is 'Infinity'")]
    [TestCase("train --beta1 1", "--beta1 is '1'", "below 1")]
    [TestCase("train --weight-decay -0.1", "--weight-decay is '-0.1'")]
    [TestCase("train --threads 0", "--threads is '0'")]
    [TestCase("train --seed 99999999999", "--seed is '99999999999'")]
    [TestCase("train --model ViT-Z/99", "ViT-Z/99", "emoji-small, ViT-B/32")]
    [TestCase("train --device tpu", "tpu", "cpu:check")]
    public void A_command_line_that_cannot_be_understood_exits_with_2(string line, params string[] says) => CommandLine.Run(line.Split(' ')).MustFail(2, says);

    [Test]
    public void An_error_shows_where_it_came_from_only_if_asked()
    {
        string[] args = ["train", "--train-csv", "nowhere.csv"];
        CommandLine.Run(args).MustFail(1, "nowhere.csv");
        var verbose = CommandLine.Run([.. args, "--verbose"]);
        Assert.That(verbose.ExitCode, Is.EqualTo(1));
        Assert.That(verbose.Error, Does.StartWith("error: ").And.Contain("nowhere.csv").And.Contain("   at ClipCuda."));
    }
}
