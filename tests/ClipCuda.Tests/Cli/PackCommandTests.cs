using ClipCuda.Data;
using ClipCuda.Tests.Training;

namespace ClipCuda.Tests.Cli;

public sealed class PackCommandTests
{
    private TinyRun _run = null!;

    [SetUp]
    public void SetUp() => _run = new TinyRun();

    [TearDown]
    public void TearDown() => _run.Dispose();

    /// <summary>What the shards are for: the same run from them, to the bit.</summary>
    [Test]
    public void Training_on_the_shards_gives_the_losses_and_weights_of_the_csv_file()
    {
        var run = Pack("--csv", _run.TrainCsv, "--img-root", _run.Emoji, "--max-count", "10");
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        Assert.That(run.Output, Does.Contain("24 images packed into 3 shards, 0 skipped.").And.Contain("{00000..00002}.tar"));
        var options = _run.Options("csv") with { Shuffle = false, Augmentation = new PixelAugmentation(0.5, 0.8, 0.4, 0.4, 0.4, 0.1, 0.2) };
        var (rows, first) = TinyRun.Train(options);
        var (shards, second) = TinyRun.Train(options with { Name = "tar", TrainData = _run.Folder.At("shards/{00000..00002}.tar"), Workers = 3 });
        Assert.That(second.Steps.Select(step => step.Loss), Is.EqualTo(first.Steps.Select(step => step.Loss)));
        Assert.That(File.ReadAllBytes(Path.Combine(shards.LastCheckpoint!, "open_clip_model.safetensors")), Is.EqualTo(File.ReadAllBytes(Path.Combine(rows.LastCheckpoint!, "open_clip_model.safetensors"))));
        Pack("--csv", _run.ValCsv, "--img-root", _run.Emoji, "--output", _run.Folder.At("val-shards"));
        var (_, third) = TinyRun.Train(options with { Name = "val", ValData = _run.Folder.At("val-shards/00000.tar"), ImageRoot = null, TrainData = _run.Folder.At("shards/{00000..00002}.tar") });
        Assert.That(third.Evaluations, Is.EqualTo(first.Evaluations));
        Assert.That(third.Notes, Has.One.StartsWith("Evaluation data: 10 images, "));
        Assert.That(second.Notes, Has.One.StartsWith("Training data: 24 images, ").And.One.Contains("in 3 shards from '"));
    }

    [Test]
    public void Nothing_is_written_over_and_what_is_skipped_is_counted()
    {
        _run.Folder.WriteImage("a.png", 3, 3);
        _run.Folder.Write("b.tiff", "x");
        string csv = _run.Folder.Write("own.csv", "image_path,caption\na.png,one\nb.tiff,two\nmissing.png,three\n../../out.png,four\n");
        var run = Pack("--csv", csv);
        Assert.That(run.ExitCode, Is.Zero, run.Error);
        Assert.That(run.Output, Does.Contain("1 images packed into 1 shard, 3 skipped.").And.Contain("line 3: Image '").And.Contain("line 4: Image '").And.Contain("line 5: Image '../../out.png' lies outside"));
        Pack("--csv", csv).MustFail(1, "holds shards already", "--output");
        CommandLine.Run("pack", "--csv", csv, "--output", _run.Folder.At("strict"), "--strict").MustFail(1, "line 4", "does not exist");
    }

    private CommandLine Pack(params string[] args) => CommandLine.Run(["pack", .. args, .. args.Contains("--output") ? Array.Empty<string>() : ["--output", _run.Folder.At("shards")]]);
}
