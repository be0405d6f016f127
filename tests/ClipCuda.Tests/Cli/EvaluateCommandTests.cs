using System.Text.Json;
using ClipCuda.Tests.Training;

namespace ClipCuda.Tests.Cli;

public sealed class EvaluateCommandTests
{
    private TrainedCheckpoint _trained = null!;

    [OneTimeSetUp]
    public void SetUp() => _trained = new TrainedCheckpoint();

    [OneTimeTearDown]
    public void TearDown() => _trained.Dispose();

    [Test]
    public void Measures_what_training_measured_to_the_bit()
    {
        var run = Evaluate("--csv", _trained.Run.ValCsv, "--img-root", _trained.Run.Emoji, "--batch-size", "8", "--json");
        Assert.That(run.ExitCode, Is.Zero, run.Error);
        var expected = _trained.Evaluation;
        using var json = JsonDocument.Parse(run.Output);
        var metrics = json.RootElement.GetProperty("metrics");
        double Metric(string name) => metrics.GetProperty(name).GetDouble();
        Assert.That(json.RootElement.GetProperty("task").GetString(), Is.EqualTo("zeroshot_retrieval"));
        Assert.That((Metric("text_retrieval_recall@1"), Metric("text_retrieval_recall@5"), Metric("text_retrieval_recall@10")), Is.EqualTo((expected.ImageToText.At1, expected.ImageToText.At5, expected.ImageToText.At10)));
        Assert.That((Metric("image_retrieval_recall@1"), Metric("image_retrieval_recall@5"), Metric("image_retrieval_recall@10")), Is.EqualTo((expected.TextToImage.At1, expected.TextToImage.At5, expected.TextToImage.At10)));
        foreach (var (direction, recall) in new[] { ("image_to_text", expected.ImageToText), ("text_to_image", expected.TextToImage) })
        {
            Assert.That((Metric($"{direction}_R@1"), Metric($"{direction}_R@5"), Metric($"{direction}_R@10")), Is.EqualTo((recall.At1, recall.At5, recall.At10)));
            Assert.That((Metric($"{direction}_mean_rank"), Metric($"{direction}_median_rank")), Is.EqualTo((recall.MeanRank, recall.MedianRank)));
        }
        Assert.That((Metric("clip_val_loss"), Metric("num_samples")), Is.EqualTo((expected.Loss, (double)TinyRun.ValImages)));
    }

    [Test]
    public void Shows_a_table_and_writes_json_beside_it()
    {
        string file = _trained.Run.Folder.At("results.json");
        var run = Evaluate("--csv", _trained.Run.ValCsv, "--img-root", _trained.Run.Emoji, "--json", file);
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        Assert.That(run.Output, Does.Contain("10 images, 10 captions").And.Contain("R@10").And.Contain("mean rank").And.Contain("text → image").And.Contain("loss "));
        using var json = JsonDocument.Parse(File.ReadAllText(file));
        Assert.That(json.RootElement.GetProperty("model").GetString(), Is.EqualTo(_trained.Path));
    }

    [Test]
    public void Without_arguments_takes_the_sample_and_the_latest_checkpoint()
    {
        var run = CommandLine.Run("evaluate", "--logs", _trained.Run.Folder.Path, "--threads", "2");
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        Assert.That(run.Output, Does.Contain(_trained.Path).And.Contain("1,346 images").And.Contain("val.csv"));
        CommandLine.Run("evaluate", "--logs", _trained.Run.Folder.At("nowhere")).MustFail(1, "no checkpoint", "--checkpoint");
    }

    [Test]
    public void Classifies_a_tree_and_a_csv_file_alike()
    {
        // Drawings of the training style, three classes; the tree's and the file's classes have the same names in the same order.
        string[] classes = ["1st place medal", "2nd place medal", "3rd place medal"];
        var lines = new List<string> { "image_path,kind" };
        foreach (string name in classes)
        {
            string path = $"images/fluent/{name.Replace(' ', '-')}.png";
            string folder = Directory.CreateDirectory(_trained.Run.Folder.At($"tree/{name.Replace(' ', '_')}")).FullName;
            File.Copy(Path.Combine(_trained.Run.Emoji, path), Path.Combine(folder, "a.png"));
            lines.Add($"{path},{name}");
        }
        string csv = _trained.Run.Folder.Write("labels.csv", string.Join('\n', lines)), templates = _trained.Run.Folder.Write("templates.txt", "{}\na drawing of {}\n");
        var tree = Evaluate("--image-dir", _trained.Run.Folder.At("tree"), "--templates", templates, "--json");
        var file = Evaluate("--csv", csv, "--img-root", _trained.Run.Emoji, "--csv-label-key", "kind", "--templates", templates, "--json");
        Assert.That((tree.ExitCode, file.ExitCode), Is.EqualTo((0, 0)), tree.Error + file.Error);
        using var ofTree = JsonDocument.Parse(tree.Output);
        using var ofFile = JsonDocument.Parse(file.Output);
        Assert.That(ofTree.RootElement.GetProperty("task").GetString(), Is.EqualTo("zeroshot_classification"));
        var metrics = ofTree.RootElement.GetProperty("metrics");
        Assert.That(metrics.GetRawText(), Is.EqualTo(ofFile.RootElement.GetProperty("metrics").GetRawText()));
        Assert.That(metrics.GetProperty("acc1").GetDouble() * 3, Is.EqualTo(Math.Round(metrics.GetProperty("acc1").GetDouble() * 3)).Within(1e-9));
        Assert.That(metrics.GetProperty("acc5").ValueKind, Is.EqualTo(JsonValueKind.Null), "there are three classes");
        Assert.That(metrics.GetProperty("mean_per_class_recall").GetDouble(), Is.EqualTo(metrics.GetProperty("acc1").GetDouble()).Within(1e-12), "each class has one image");
        Assert.That(metrics.GetProperty("num_samples").GetInt32(), Is.EqualTo(3));

        var shown = Evaluate("--image-dir", _trained.Run.Folder.At("tree"));
        Assert.That(shown.Output, Does.Contain("3 images of 3 classes").And.Contain("3 templates").And.Match(@"top-1 \d+\.\d %, mean per-class recall"));
    }

    /// <summary>What is packed is measured as the CSV file that it came from, to the last digit; with labels, as a tree of the same images.</summary>
    [Test]
    public void Shards_are_measured_as_the_files_in_them()
    {
        string shards = _trained.Run.Folder.At("shards"), pattern = Path.Combine(shards, "{00000..00003}.tar");
        Assert.That(CommandLine.Run("pack", "--csv", _trained.Run.ValCsv, "--img-root", _trained.Run.Emoji, "--output", shards, "--max-count", "3").ExitCode, Is.Zero);
        var ofShards = Evaluate("--data", pattern, "--batch-size", "4", "--json");
        var ofFile = Evaluate("--data", _trained.Run.ValCsv, "--img-root", _trained.Run.Emoji, "--batch-size", "4", "--json");
        Assert.That((ofShards.ExitCode, ofFile.ExitCode), Is.EqualTo((0, 0)), ofShards.Error + ofFile.Error);
        Assert.That(Metrics(ofShards), Is.EqualTo(Metrics(ofFile)));

        byte[] red = File.ReadAllBytes(_trained.Run.Folder.WriteImage("kinds/red/1.png", 20, 20, red: 250)), blue = File.ReadAllBytes(_trained.Run.Folder.WriteImage("kinds/blue/1.png", 20, 20, blue: 250));
        string labelled = _trained.Run.Folder.WriteTar("labelled.tar", ("0.png", blue), ("0.cls", "0"u8.ToArray()), ("1.png", red), ("1.cls", "1"u8.ToArray()));
        string names = _trained.Run.Folder.Write("names.txt", "blue\nred\n");
        Assert.That(Metrics(Evaluate("--data", labelled, "--label-key", "cls", "--classes-file", names, "--json")), Is.EqualTo(Metrics(Evaluate("--image-dir", _trained.Run.Folder.At("kinds"), "--json"))));
        Evaluate("--data", labelled, "--label-key", "cls").MustFail(1, "numbers of classes", "--classes-file");
        Evaluate("--data", labelled).MustFail(1, "No sample", "has no caption");

        static string Metrics(CommandLine run)
        {
            using var json = JsonDocument.Parse(run.Output);
            return json.RootElement.GetProperty("metrics").GetRawText();
        }
    }

    [Test]
    public void Images_that_cannot_be_read_are_reported_or_with_strict_an_error()
    {
        _trained.Run.Folder.Write("damaged/bad.png", "no image");
        _trained.Run.Folder.WriteImage("damaged/good.png", 20, 20);
        string csv = _trained.Run.Folder.Write("damaged/data.csv", "image_path,caption\nbad.png,one\ngood.png,two\ngone.png,three\n");
        foreach (string[] args in new[] { new[] { "--csv", csv }, ["--csv", csv, "--csv-label-key", "caption"] })
        {
            var run = Evaluate(args);
            Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
            Assert.That(run.Output, Does.Contain("Skipped: ").And.Contain("bad.png").And.Contain("gone.png").And.Contain("2 images skipped"));
            Evaluate([.. args, "--strict"]).MustFail(1, "gone.png");
        }
        string none = _trained.Run.Folder.Write("damaged/none.csv", "image_path,caption\nbad.png,one\n");
        Evaluate("--csv", none).MustFail(1, "bad.png");
        Evaluate("--csv", none, "--csv-label-key", "caption").MustFail(1, "bad.png");
    }

    [TestCase("--image-dir a --csv b", "two data sets")]
    [TestCase("--label-key a", "--data")]
    [TestCase("--csv a --templates b", "--label-key")]
    [TestCase("--classes-file a", "--image-dir")]
    public void What_does_not_go_together_exits_with_2(string line, string says) => CommandLine.Run(["evaluate", .. line.Split(' ')]).MustFail(2, says);

    [Test]
    public void Bad_files_exit_with_1()
    {
        Evaluate("--csv", "nowhere.csv").MustFail(1, "nowhere.csv");
        Evaluate("--image-dir", "nowhere").MustFail(1, "nowhere");
        CommandLine.Run("evaluate", "--checkpoint", "nowhere").MustFail(1, "nowhere");
    }

    private CommandLine Evaluate(params string[] args) => CommandLine.Run(["evaluate", "--checkpoint", _trained.Path, "--threads", "2", .. args]);
}
