using ClipCuda.Model;
using ClipCuda.Tests.Data;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class CheckpointFoldersTests : FolderTests
{
    private CheckpointFolders _checkpoints = null!;

    [SetUp]
    public void SetUp() => _checkpoints = new CheckpointFolders(Folder.Path);

    [Test]
    public void The_last_and_the_best_are_kept()
    {
        Save(1, 0.3);
        Assert.That(Kept(), Is.EqualTo(new[] { "epoch_1" }));
        Save(2, 0.5);
        Assert.That(Kept(), Is.EqualTo(new[] { "epoch_2" }));
        Save(3, 0.4);
        Assert.That(Kept(), Is.EqualTo(new[] { "epoch_2", "epoch_3" }));
        Save(4, 0.5);
        Assert.That(Kept(), Is.EqualTo(new[] { "epoch_2", "epoch_4" }), "of equal ones the first is the best");
        Assert.That((_checkpoints.Best, _checkpoints.Last), Is.EqualTo((Folder.At("epoch_2"), Folder.At("epoch_4"))));
        Save(5, 0.6);
        Assert.That(Kept(), Is.EqualTo(new[] { "epoch_5" }));
    }

    [Test]
    public void The_latest_of_all_runs_is_found_by_when_it_was_written()
    {
        var time = new DateTime(2026, 1, 2, 0, 0, 0, DateTimeKind.Utc);
        foreach (var (name, hours) in new[] { ("b/checkpoints/epoch_2", 1), ("a/checkpoints/epoch_9", 3), ("c/checkpoints/epoch_1", 2), ("c/checkpoints/epoch_5.unfinished", 4), ("d/epoch_6", 5) })
            File.SetLastWriteTimeUtc(Folder.Write($"{name}/{Checkpoint.WeightsFile}", "x"), time.AddHours(hours));
        Folder.Write("e/checkpoints/epoch_7/open_clip_config.json", "{}");
        Assert.That(CheckpointFolders.FindLatest(Folder.Path), Is.EqualTo(Folder.At("a/checkpoints/epoch_9")));
        foreach (string none in new[] { Folder.At("d"), Folder.At("nowhere") })
            Assert.That(() => CheckpointFolders.FindLatest(none), Throws.TypeOf<DirectoryNotFoundException>().With.Message.Contains(none).And.Message.Contains("--checkpoint"));
    }

    [Test]
    public void Without_evaluation_the_last_is_kept()
    {
        Save(1, null);
        Save(2, null);
        Assert.That(Kept(), Is.EqualTo(new[] { "epoch_2" }));
        Assert.That(_checkpoints.Best, Is.Null);
    }

    [Test]
    public void A_score_that_is_no_number_is_not_best()
    {
        Save(1, double.NaN);
        Save(2, 0.1);
        Assert.That(_checkpoints.Best, Is.EqualTo(Folder.At("epoch_2")));
    }

    [Test]
    public void A_checkpoint_that_fails_half_way_replaces_nothing()
    {
        Save(1, 0.3);
        Assert.That(
            () => _checkpoints.Save("epoch_2", 0.9, path =>
            {
                File.WriteAllText(Path.Combine(path, "weights"), "half");
                throw new IOException("disk full");
            }),
            Throws.InstanceOf<IOException>());
        Assert.That(Kept(), Is.EqualTo(new[] { "epoch_1" }));
        Assert.That(File.ReadAllText(Folder.At("epoch_1/weights")), Is.EqualTo("1"));
    }

    [Test]
    public void Nothing_older_is_deleted_before_the_new_one_is_whole()
    {
        Save(1, 0.3);
        string[] during = [];
        _checkpoints.Save("epoch_2", 0.4, _ => during = Kept());
        Assert.That(during, Does.Contain("epoch_1").And.Not.Contain("epoch_2"));
    }

    [Test]
    public void The_last_few_are_kept_besides_the_best()
    {
        _checkpoints = new CheckpointFolders(Folder.Path, keep: 3);
        Save(1, 0.9);
        for (int epoch = 2; epoch <= 6; epoch++) Save(epoch, 0.1);
        Assert.That(Kept(), Is.EqualTo(new[] { "epoch_1", "epoch_4", "epoch_5", "epoch_6" }));
        Assert.That(_checkpoints.Best, Is.EqualTo(Folder.At("epoch_1")));
    }

    [Test]
    public void Latest_names_the_last_and_is_moved_when_that_is_whole()
    {
        Assert.That(CheckpointFolders.LatestOf(Folder.Path), Is.Null);
        SaveState(3);
        Assert.That(File.ReadAllText(Folder.At("latest")), Is.EqualTo("epoch_1\n"));
        string? during = null;
        _checkpoints.Save("step_4", null, path =>
        {
            WriteState(path, 4);
            during = CheckpointFolders.LatestOf(Folder.Path);
        });
        Assert.That(during, Is.EqualTo(Folder.At("epoch_1")));
        Assert.That(CheckpointFolders.LatestOf(Folder.Path), Is.EqualTo(Folder.At("step_4")));
    }

    [Test]
    public void Without_latest_the_one_with_the_most_steps_counts_and_none_that_is_not_whole()
    {
        _checkpoints = new CheckpointFolders(Folder.Path, keep: 9);
        foreach (long step in (ReadOnlySpan<long>)[10, 9, 8]) SaveState(step);
        Directory.Delete(Folder.At("step_8"), recursive: true); // which latest names
        Directory.Move(Folder.At("step_10"), Folder.At("step_10.unfinished"));
        File.Delete(Path.Combine(Folder.At("epoch_3"), TrainingState.FileName));
        Assert.That(CheckpointFolders.LatestOf(Folder.Path), Is.Null);
        SaveState(7);
        File.Delete(Folder.At("latest"));
        Assert.That(CheckpointFolders.LatestOf(Folder.Path), Is.EqualTo(Folder.At("step_7")));
    }

    /// <summary>Going on from the checkpoint in the middle: what comes before it counts, what comes after gives way when its step is reached again.</summary>
    [Test]
    public void A_run_that_goes_on_takes_over_what_is_there()
    {
        _checkpoints = new CheckpointFolders(Folder.Path, keep: 3);
        SaveState(1, 0.9);
        SaveState(2, 0.2);
        SaveState(4, 0.3);
        Folder.Write("step_5.unfinished/half", "x");
        Folder.Write("step_1.deleted/half", "x");
        Folder.Write("latest.tmp", "x");
        _checkpoints = new CheckpointFolders(Folder.Path, keep: 1);
        _checkpoints.Continue(Folder.At("step_2"));
        Assert.That(Kept(), Is.EqualTo(new[] { "step_1", "step_2", "step_4" }));
        Assert.That(File.Exists(Folder.At("latest.tmp")), Is.False);
        Assert.That((_checkpoints.Last, _checkpoints.Best), Is.EqualTo((Folder.At("step_2"), Folder.At("step_1"))));
        Assert.That(CheckpointFolders.LatestOf(Folder.Path), Is.EqualTo(Folder.At("step_2")));
        SaveState(4, 0.1);
        Assert.That(Kept(), Is.EqualTo(new[] { "step_1", "step_4" }));
        Assert.That(TrainingState.Read(Folder.At("step_4")).Score, Is.EqualTo(0.1));
    }

    [Test]
    public void An_evaluation_may_come_after_its_checkpoint()
    {
        SaveState(1, 0.5);
        SaveState(2);
        _checkpoints.UpdateLast(State(2, 0.7));
        Assert.That(_checkpoints.Best, Is.EqualTo(Folder.At("step_2")));
        Assert.That(Kept(), Is.EqualTo(new[] { "step_2" }), "the best of before is replaced");
        Assert.That(TrainingState.Read(Folder.At("step_2")).Score, Is.EqualTo(0.7));
    }

    private void Save(int epoch, double? score) => _checkpoints.Save($"epoch_{epoch}", score, path => File.WriteAllText(Path.Combine(path, "weights"), $"{epoch}"));

    private void SaveState(long step, double? score = null) => _checkpoints.Save(State(step, score).Name, score, path => WriteState(path, step, score));

    private static void WriteState(string path, long step, double? score = null)
    {
        State(step, score).Write(path);
        File.WriteAllText(Path.Combine(path, Checkpoint.WeightsFile), "");
    }

    private static TrainingState State(long step, double? score) => new() { Step = step, StepsPerEpoch = 3, BatchSize = 8, Samples = 25, Seed = 1, Score = score };

    private string[] Kept() => [.. Directory.EnumerateDirectories(Folder.Path).Select(path => Path.GetFileName(path)!).Order(StringComparer.Ordinal)];
}
