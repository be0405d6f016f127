using ClipCuda.Model;
using ClipCuda.Tests.Data;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class CheckpointFoldersTests
{
    private TemporaryFolder _folder = null!;
    private CheckpointFolders _checkpoints = null!;

    [SetUp]
    public void SetUp()
    {
        _folder = new TemporaryFolder();
        _checkpoints = new CheckpointFolders(_folder.Path);
    }

    [TearDown]
    public void TearDown() => _folder.Dispose();

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
        Assert.That((_checkpoints.Best, _checkpoints.Last), Is.EqualTo((_folder.At("epoch_2"), _folder.At("epoch_4"))));
        Save(5, 0.6);
        Assert.That(Kept(), Is.EqualTo(new[] { "epoch_5" }));
    }

    [Test]
    public void The_latest_of_all_runs_is_found_by_when_it_was_written()
    {
        var time = new DateTime(2026, 1, 2, 0, 0, 0, DateTimeKind.Utc);
        foreach (var (name, hours) in new[] { ("b/checkpoints/epoch_2", 1), ("a/checkpoints/epoch_9", 3), ("c/checkpoints/epoch_1", 2), ("c/checkpoints/epoch_5.unfinished", 4), ("d/epoch_6", 5) })
            File.SetLastWriteTimeUtc(_folder.Write($"{name}/{Checkpoint.WeightsFile}", "x"), time.AddHours(hours));
        _folder.Write("e/checkpoints/epoch_7/open_clip_config.json", "{}");
        Assert.That(CheckpointFolders.FindLatest(_folder.Path), Is.EqualTo(_folder.At("a/checkpoints/epoch_9")));
        foreach (string none in new[] { _folder.At("d"), _folder.At("nowhere") })
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
        Assert.That(_checkpoints.Best, Is.EqualTo(_folder.At("epoch_2")));
    }

    [Test]
    public void A_checkpoint_that_fails_half_way_replaces_nothing()
    {
        Save(1, 0.3);
        Assert.That(
            () => _checkpoints.Save(2, 0.9, path =>
            {
                File.WriteAllText(Path.Combine(path, "weights"), "half");
                throw new IOException("disk full");
            }),
            Throws.InstanceOf<IOException>());
        Assert.That(Kept(), Is.EqualTo(new[] { "epoch_1" }));
        Assert.That(File.ReadAllText(_folder.At("epoch_1/weights")), Is.EqualTo("1"));
    }

    [Test]
    public void Nothing_older_is_deleted_before_the_new_one_is_whole()
    {
        Save(1, 0.3);
        string[] during = [];
        _checkpoints.Save(2, 0.4, _ => during = Kept());
        Assert.That(during, Does.Contain("epoch_1").And.Not.Contain("epoch_2"));
    }

    private void Save(int epoch, double? score) => _checkpoints.Save(epoch, score, path => File.WriteAllText(Path.Combine(path, "weights"), $"{epoch}"));

    private string[] Kept() => [.. Directory.EnumerateDirectories(_folder.Path).Select(path => Path.GetFileName(path)!).Order(StringComparer.Ordinal)];
}
