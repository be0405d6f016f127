using ClipCuda.Cli;
using ClipCuda.Tests.Data;

namespace ClipCuda.Tests.Cli;

public sealed class ResumedRunTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void SetUp()
    {
        _folder = new TemporaryFolder();
        _folder.Write("logs/one/params.txt", "");
        _folder.Write("logs/one/config.json", "{}");
        _folder.Write("logs/one/checkpoints/step_3/training.json", "{}");
        _folder.Write("logs/two/params.txt", "");
        File.SetLastWriteTimeUtc(_folder.At("logs/two/params.txt"), DateTime.UtcNow.AddHours(1));
    }

    [TearDown]
    public void TearDown() => _folder.Dispose();

    [Test]
    public void Latest_is_the_named_run_or_the_last_one()
    {
        string logs = _folder.At("logs");
        Assert.That(ResumedRun.Find("latest", logs, "one"), Is.EqualTo(new ResumedRun(logs, "one", null, _folder.At("logs/one/config.json"))));
        Assert.That(ResumedRun.Find("latest", logs, null), Is.EqualTo(new ResumedRun(logs, "two", null, null)));
        Assert.That(ResumedRun.Find("latest", logs, "new"), Is.EqualTo(new ResumedRun(logs, "new", null, null)));
        Assert.That(ResumedRun.Find("latest", _folder.At("nowhere"), null), Is.EqualTo(new ResumedRun(_folder.At("nowhere"), null, null, null)));
    }

    [Test]
    public void A_path_is_a_run_or_a_checkpoint_of_one()
    {
        string logs = _folder.At("logs"), config = _folder.At("logs/one/config.json"), checkpoint = _folder.At("logs/one/checkpoints/step_3");
        Assert.That(ResumedRun.Find(_folder.At("logs/one/"), "x", null), Is.EqualTo(new ResumedRun(logs, "one", null, config)));
        Assert.That(ResumedRun.Find(checkpoint, "x", "one"), Is.EqualTo(new ResumedRun(logs, "one", checkpoint, config)));
    }

    [Test]
    public void Anything_else_is_refused_with_the_way_out()
    {
        _folder.Write("copied/training.json", "{}");
        Assert.That(() => ResumedRun.Find(_folder.At("nowhere"), "x", null), Throws.TypeOf<DirectoryNotFoundException>().With.Message.Contains("nowhere").And.Message.Contains("latest"));
        Assert.That(() => ResumedRun.Find(_folder.At("copied"), "x", null), Throws.ArgumentException.With.Message.Contains("--pretrained"));
        Assert.That(() => ResumedRun.Find(_folder.At("logs/one"), "x", "two"), Throws.ArgumentException.With.Message.Contains("of the run 'one'"));
    }
}
