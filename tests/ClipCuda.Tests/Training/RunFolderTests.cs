using ClipCuda.Tests.Data;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class RunFolderTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void SetUp() => _folder = new TemporaryFolder();

    [TearDown]
    public void TearDown() => _folder.Dispose();

    [Test]
    public void Holds_settings_sorted_log_metrics_and_a_place_for_checkpoints()
    {
        using (var run = RunFolder.Create(_folder.At("logs"), "one", Settings(("lr", "0.001"), ("batch_size", "8"), ("B", "x")))) run.Log.Info("hello");
        Assert.That(File.ReadAllText(_folder.At("logs/one/params.txt")), Is.EqualTo("B: x\nbatch_size: 8\nlr: 0.001\n"));
        Assert.That(File.ReadAllText(_folder.At("logs/one/out.log")), Does.Match(@"^\d{4}-\d\d-\d\d,\d\d:\d\d:\d\d \| INFO \| hello\n$"));
        Assert.That(File.ReadAllLines(_folder.At("logs/one/metrics.csv")), Is.EqualTo(new[] { string.Join(',', MetricsFile.Columns) }));
        Assert.That(Directory.Exists(_folder.At("logs/one/checkpoints")));
    }

    [Test]
    public void An_existing_run_is_never_written_to()
    {
        string settings = _folder.Write("one/params.txt", "kept");
        Assert.That(() => RunFolder.Locate(_folder.Path, "one"), Throws.InstanceOf<IOException>().With.Message.Contains("exists already").And.Message.Contains("--name"));
        Assert.That(() => RunFolder.Create(_folder.Path, "one", Settings()), Throws.InstanceOf<IOException>());
        Assert.That(File.ReadAllText(settings), Is.EqualTo("kept"));
    }

    [Test]
    public void A_place_that_cannot_be_written_is_named_in_one_line()
    {
        _folder.Write("file", "no folder");
        Assert.That(
            () => RunFolder.Create(_folder.At("file"), "one", Settings()),
            Throws.InstanceOf<IOException>().With.Message.Contains(Path.Combine(_folder.At("file"), "one")).And.Message.Contains("--logs").And.Message.Not.Contains("\n"));
    }

    [TestCase("")]
    [TestCase("..")]
    [TestCase("a/b")]
    public void A_name_is_that_of_a_folder(string name) =>
        Assert.That(() => RunFolder.Create(_folder.Path, name, Settings()), Throws.ArgumentException.With.Message.Contains("--name"));

    [Test]
    public void The_default_name_says_when_and_what() =>
        Assert.That(RunFolder.DefaultName(new DateTime(2026, 3, 4, 5, 6, 7), "ViT-B/32", 5e-4f, 64), Is.EqualTo("2026_03_04-05_06_07-model_ViT-B-32-lr_0.0005-b_64"));

    private static IEnumerable<KeyValuePair<string, string>> Settings(params (string Key, string Value)[] settings) =>
        settings.Select(setting => KeyValuePair.Create(setting.Key, setting.Value));
}
