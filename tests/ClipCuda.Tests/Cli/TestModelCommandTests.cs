namespace ClipCuda.Tests.Cli;

public sealed class TestModelCommandTests
{
    private static readonly string[] Small =
    [
        "test-model", "--threads", "2", "--batch-size", "3", "--image-size", "16", "--patch-size", "8", "--vision-width", "12", "--vision-layers", "2", "--vision-heads", "3",
        "--text-width", "6", "--text-layers", "1", "--text-heads", "2", "--context-length", "5", "--vocab-size", "49408", "--embed-dim", "7",
    ];

    [Test]
    public void Says_sizes_work_memory_and_temperature_and_runs_a_batch()
    {
        var run = CommandLine.Run(Small);
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        // By hand: vision 192·12 + 12 + 5·12 + 2·(12·12² + 9·12 + 4·12) + … is what the parameters of that shape add up to.
        const int Block = 12, VisionBlock = Block * 12 * 12 + 12 + 48 + 12 + 4 * 12, TextBlock = Block * 6 * 6 + 6 + 24 + 6 + 4 * 6;
        const int Vision = 192 * 12 + 12 + 5 * 12 + 2 * VisionBlock + 2 * 12 + 12 * 7, Text = 49408 * 6 + 5 * 6 + TextBlock + 2 * 6 + 6 * 7;
        Assert.That(run.Output, Does.Match($@"parameters +{Vision:N0} +{Text:N0} +{Vision + Text + 1:N0} "));
        Assert.That(run.Output, Does.Contain("images of 16 x 16 pixels, captions of 5 tokens; embeddings of 7 numbers").And.Contain("a batch of 3 needs about ").And.Contain("14.2857"));
        Assert.That(run.Output, Does.Contain("image embeddings [3, 7], text embeddings [3, 7], loss "));
    }

    [Test]
    public void Takes_a_checkpoint()
    {
        using var trained = new TrainedCheckpoint();
        var run = CommandLine.Run("test-model", "--checkpoint", trained.Path, "--threads", "2");
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        Assert.That(run.Output, Does.Contain(trained.Path).And.Contain("image embeddings [8, 16]").And.Match(@"times 14\.\d{4}"));
        CommandLine.Run("test-model", "--checkpoint", trained.Path, "--embed-dim", "9").MustFail(1, "--embed-dim", "--checkpoint");
        CommandLine.Run("test-model", "--checkpoint", trained.Path, "--model", "ViT-B/16").MustFail(1, "--model-name", "--checkpoint");
    }

    [Test]
    public void Bad_models_are_refused()
    {
        CommandLine.Run([.. Small, "--model", "nothing"]).MustFail(2, "nothing");
        CommandLine.Run("test-model", "--image-size", "33").MustFail(1, "33");
        CommandLine.Run("test-model", "--checkpoint", "nowhere").MustFail(1, "nowhere");
    }
}
