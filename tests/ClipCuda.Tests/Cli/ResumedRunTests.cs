using ClipCuda.Cli;
using ClipCuda.Tests.Data;

namespace ClipCuda.Tests.Cli;

public sealed class ResumedRunTests : FolderTests
{
    [SetUp]
    public void SetUp()
    {
        Folder.Write("logs/one/params.txt", "");
        Folder.Write("logs/one/config.json", "{}");
        Folder.Write("logs/one/checkpoints/step_3/training.json", "{}");
        Folder.Write("logs/two/params.txt", "");
        File.SetLastWriteTimeUtc(Folder.At("logs/two/params.txt"), DateTime.UtcNow.AddHours(1));
    }

    [Test]
    public void Latest_is_the_named_run_or_the_last_one()
    {
        string logs = Folder.At("logs");
        Assert.That(ResumedRun.Find("latest", logs, "one"), Is.EqualTo(new ResumedRun(logs, "one", null, Folder.At("logs/one/config.json"))));
        Assert.That(ResumedRun.Find("latest", logs, null), Is.EqualTo(new ResumedRun(logs, "two", null, null)));
        Assert.That(ResumedRun.Find("latest", logs, "new"), Is.EqualTo(new ResumedRun(logs, "new", null, null)));
        Assert.That(ResumedRun.Find("latest", Folder.At("nowhere"), null), Is.EqualTo(new ResumedRun(Folder.At("nowhere"), null, null, null)));
    }

    [Test]
    public void A_path_is_a_run_or_a_checkpoint_of_one()
    {
        string logs = Folder.At("logs"), config = Folder.At("logs/one/config.json"), checkpoint = Folder.At("logs/one/checkpoints/step_3");
        Assert.That(ResumedRun.Find(Folder.At("logs/one/"), "x", null), Is.EqualTo(new ResumedRun(logs, "one", null, config)));
        Assert.That(ResumedRun.Find(checkpoint, "x", "one"), Is.EqualTo(new ResumedRun(logs, "one", checkpoint, config)));
    }

    [Test]
    public void Anything_else_is_refused_with_the_way_out()
    {
        Folder.Write("copied/training.json", "{}");
        Assert.That(() => ResumedRun.Find(Folder.At("nowhere"), "x", null), Throws.TypeOf<DirectoryNotFoundException>().With.Message.Contains("nowhere").And.Message.Contains("latest"));
        Assert.That(() => ResumedRun.Find(Folder.At("copied"), "x", null), Throws.ArgumentException.With.Message.Contains("--pretrained"));
        Assert.That(() => ResumedRun.Find(Folder.At("logs/one"), "x", "two"), Throws.ArgumentException.With.Message.Contains("of the run 'one'"));
    }
}
