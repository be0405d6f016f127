using ClipCuda.Model;
using ClipCuda.Tests.Data;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class RunFolderTests : FolderTests
{
    [Test]
    public void Holds_settings_sorted_log_metrics_and_a_place_for_checkpoints()
    {
        var origins = new Dictionary<string, string> { ["lr"] = "command line" };
        using (var run = RunFolder.Create(Options("one") with { Origins = origins, Config = new Dictionary<string, object> { ["lr"] = 0.5, ["tf32"] = true, ["device"] = "cpu" } })) run.Log.Info("hello");
        string[] settings = File.ReadAllLines(Folder.At("logs/one/params.txt"));
        Assert.That(settings, Is.Ordered.Using<string>(StringComparer.Ordinal).And.Contains("lr: 0.001  # command line").And.Contains("batch_size: 128"));
        Assert.That(File.ReadAllText(Folder.At("logs/one/config.json")).ReplaceLineEndings("\n"), Is.EqualTo("{\n  \"device\": \"cpu\",\n  \"lr\": 0.5,\n  \"tf32\": true\n}"));
        Assert.That(File.ReadAllText(Folder.At("logs/one/out.log")), Does.Match(@"^\d{4}-\d\d-\d\d,\d\d:\d\d:\d\d \| INFO \| hello\n$"));
        Assert.That(File.ReadAllLines(Folder.At("logs/one/metrics.csv")), Is.EqualTo(new[] { string.Join(',', MetricsFile.Columns) }));
        Assert.That(Directory.Exists(Folder.At("logs/one/checkpoints")));
    }

    [Test]
    public void An_existing_run_is_not_written_to_unless_that_was_asked_for()
    {
        string settings = Folder.Write("logs/one/params.txt", "kept");
        Assert.That(
            () => RunFolder.Locate(Folder.At("logs"), "one"),
            Throws.InstanceOf<IOException>().With.Message.Contains("exists already").And.Message.Contains("--name").And.Message.Contains("--resume").And.Message.Contains("--overwrite"));
        Assert.That(() => RunFolder.Create(Options("one")), Throws.InstanceOf<IOException>());
        Assert.That(File.ReadAllText(settings), Is.EqualTo("kept"));
    }

    [Test]
    public void Overwriting_deletes_all_of_the_old_run_and_nothing_that_is_none()
    {
        Folder.Write("logs/one/params.txt", "the old run");
        Folder.Write("logs/one/checkpoints/epoch_1/weights", "the old run");
        Folder.Write("logs/one/curves.png", "the old run");
        using (RunFolder.Create(Options("one") with { Mode = RunMode.Overwrite })) { }
        Assert.That(Directory.EnumerateFileSystemEntries(Folder.At("logs/one"), "*", SearchOption.AllDirectories).Select(path => Path.GetFileName(path)!.Split(".tfevents.")[0]).Order(StringComparer.Ordinal), Is.EqualTo(new[] { "checkpoints", "events.out", "metrics.csv", "out.log", "params.txt", "tensorboard" }));
        Assert.That(File.ReadAllText(Folder.At("logs/one/params.txt")), Does.Not.Contain("the old run"));

        Folder.Write("logs/letters/mother.txt", "dear");
        foreach (var mode in new[] { RunMode.Overwrite, RunMode.Resume })
            Assert.That(() => RunFolder.Create(Options("letters") with { Mode = mode }), Throws.InstanceOf<IOException>().With.Message.Contains("no run's folder"));
        Assert.That(File.ReadAllText(Folder.At("logs/letters/mother.txt")), Is.EqualTo("dear"));
    }

    [Test]
    public void A_resumed_run_continues_its_log_and_begins_its_metrics_anew_without_a_checkpoint()
    {
        using (var run = RunFolder.Create(Options("one"))) run.Metrics.Add(Examples.Step);
        File.WriteAllText(Folder.At("logs/one/out.log"), "a line that was cut");
        using (var run = RunFolder.Create(Options("one") with { Mode = RunMode.Resume })) run.Log.Info("hello");
        Assert.That(File.ReadAllText(Folder.At("logs/one/out.log")), Does.Match(@"^a line that was cut\n\d{4}.* \| hello\n$"));
        Assert.That(File.ReadAllLines(Folder.At("logs/one/metrics.csv")), Has.Length.EqualTo(1));
    }

    [Test]
    public void One_process_writes_to_a_run_at_a_time()
    {
        using (RunFolder.Create(Options("one")))
        {
            Assert.That(() => RunFolder.Create(Options("one") with { Mode = RunMode.Resume }), Throws.InstanceOf<IOException>().With.Message.Contains("another process"));
            Assert.That(() => RunFolder.Create(Options("one") with { Mode = RunMode.Overwrite }), Throws.InstanceOf<IOException>().With.Message.Contains("another process"));
        }
        using (RunFolder.Create(Options("one") with { Mode = RunMode.Resume })) { }
    }

    [Test]
    public void A_folder_in_which_nothing_was_trained_is_gone_unless_it_was_there_before()
    {
        var made = RunFolder.Create(Options("made"));
        made.Log.Info("hello");
        made.DiscardIfUnused();
        made.Dispose();
        Assert.That(Directory.Exists(Folder.At("logs/made")), Is.False);
        RunFolder.Create(Options("made")).Dispose();
        foreach (var mode in new[] { RunMode.Resume, RunMode.Overwrite })
        {
            using var old = RunFolder.Create(Options("made") with { Mode = mode });
            old.DiscardIfUnused();
            Assert.That(File.Exists(Folder.At("logs/made/params.txt")), $"{mode}");
        }
        using var trained = RunFolder.Create(Options("trained"));
        trained.Add(Examples.Step);
        trained.DiscardIfUnused();
        Assert.That(File.ReadAllLines(Folder.At("logs/trained/metrics.csv")), Has.Length.EqualTo(2));
    }

    [Test]
    public void A_folder_that_cannot_be_filled_is_not_left()
    {
        var unwritable = new Dictionary<string, object> { ["lr"] = new Func<int>(() => 1) }; // no JSON
        Assert.That(() => RunFolder.Create(Options("made") with { Config = unwritable }), Throws.Exception);
        Assert.That(Directory.Exists(Folder.At("logs/made")), Is.False);
    }

    [Test]
    public void The_latest_run_is_the_one_whose_log_was_written_last()
    {
        Assert.That(RunFolder.FindLatest(Folder.At("nowhere")), Is.Null);
        foreach (var (name, hours) in new[] { ("b", 1), ("a", 3), ("c", 2) })
        {
            Folder.Write($"{name}/params.txt", "");
            File.SetLastWriteTimeUtc(Folder.Write($"{name}/out.log", ""), new DateTime(2026, 1, 2, hours, 0, 0, DateTimeKind.Utc));
        }
        Folder.Write("d/out.log", "of something else");
        Assert.That(RunFolder.FindLatest(Folder.Path), Is.EqualTo(Folder.At("a")));
    }

    [Test]
    public void A_place_that_cannot_be_written_is_named_in_one_line()
    {
        Folder.Write("logs", "no folder");
        Assert.That(
            () => RunFolder.Create(Options("one")),
            Throws.InstanceOf<IOException>().With.Message.Contains(Path.Combine(Folder.At("logs"), "one")).And.Message.Contains("--logs").And.Message.Not.Contains("\n"));
    }

    [TestCase("")]
    [TestCase("..")]
    [TestCase("a/b")]
    public void A_name_is_that_of_a_folder(string name) =>
        Assert.That(() => RunFolder.Create(Options(name)), Throws.ArgumentException.With.Message.Contains("--name"));

    [Test]
    public void The_default_name_says_when_and_what() =>
        Assert.That(RunFolder.DefaultName(new DateTime(2026, 3, 4, 5, 6, 7), "ViT-B/32", 5e-4f, 64), Is.EqualTo("2026_03_04-05_06_07-model_ViT-B-32-lr_0.0005-b_64"));

    private TrainingOptions Options(string name) => TrainingOptions.Of(Presets.Find(Presets.Sample), "train.csv", null) with { Logs = Folder.At("logs"), Name = name };
}
