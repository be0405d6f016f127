using System.Text.Json;
using SkiaSharp;

namespace ClipCuda.Tests.Cli;

public sealed class InferenceCommandTests
{
    private TrainedCheckpoint _trained = null!;
    private string _images = null!;

    [OneTimeSetUp]
    public void SetUp()
    {
        _trained = new TrainedCheckpoint();
        _images = _trained.Run.Folder.At("pictures");
        _trained.Run.Folder.WriteImage("pictures/red.png", 40, 30, red: 250);
        _trained.Run.Folder.WriteImage("pictures/sub/blue.png", 30, 40, blue: 250);
        _trained.Run.Folder.Write("pictures/bad.png", "no image");
        _trained.Run.Folder.Write("pictures/notes.txt", "no image either");
    }

    [OneTimeTearDown]
    public void TearDown() => _trained.Dispose();

    [Test]
    public void Shows_the_likeliest_classes_of_every_image_and_what_was_skipped()
    {
        var run = Inference("--image-dir", _images, "--classes", "cat, dog,car,,dog", "--top-k", "2");
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        string[] lines = run.Output.Split('\n');
        Assert.That(run.Output, Does.Contain("Device: ").And.Contain(_trained.Path).And.Contain("3 images").And.Contain("3 classes, 3 templates"));
        Assert.That(lines, Has.Some.Match(@"^red\.png +\d+\.\d % \w+ +\d+\.\d % \w+$").And.Some.Match(@"^sub/blue\.png +\d+\.\d % "));
        Assert.That(lines, Has.Some.StartsWith("Skipped: ").And.Some.EqualTo("2 classified, 1 skipped."));
        Assert.That(run.Output, Does.Contain("bad.png").And.Not.Contain("notes.txt").And.Not.Contain("Picture"));
    }

    [Test]
    public void Json_and_csv_say_the_same_and_probabilities_sum_to_1()
    {
        string csvPath = _trained.Run.Folder.At("out.csv"), classes = _trained.Run.Folder.Write("classes.txt", "cat\ndog\n\"big\" car, red\n");
        var run = Inference("--image-dir", _images, "--classes-file", classes, "--top-k", "9", "--json", "--csv", csvPath);
        Assert.That(run.ExitCode, Is.Zero, run.Error);
        using var json = JsonDocument.Parse(run.Output);
        Assert.That(run.Error, Does.Contain("bad.png").And.Contain("2 classified"), "notes make way for the results");
        var images = json.RootElement.GetProperty("images").EnumerateArray().ToArray();
        Assert.That(images.Select(image => Path.GetFileName(image.GetProperty("image_path").GetString())), Is.EqualTo(new[] { "red.png", "blue.png" }));
        Assert.That(json.RootElement.GetProperty("classes").GetArrayLength(), Is.EqualTo(3));
        Assert.That(json.RootElement.GetProperty("skipped")[0].GetProperty("reason").GetString(), Does.Contain("bad.png"));
        string[] rows = File.ReadAllLines(csvPath);
        Assert.That(rows[0], Is.EqualTo("image_path,rank,class,probability,similarity"));
        Assert.That(rows, Has.Length.EqualTo(1 + 2 * 3));
        Assert.That(rows, Has.Exactly(2).Contains(",\"\"\"big\"\" car, red\","));
        int row = 1;
        foreach (var image in images)
        {
            var predictions = image.GetProperty("predictions").EnumerateArray().ToArray();
            double[] probabilities = [.. predictions.Select(p => p.GetProperty("probability").GetDouble())];
            Assert.That(probabilities.Sum(), Is.EqualTo(1).Within(1e-12));
            Assert.That(probabilities, Is.Ordered.Descending);
            foreach (double probability in probabilities) Assert.That(rows[row++], Does.Contain($",{probability},"));
        }
    }

    [Test]
    public void Draws_a_picture()
    {
        string picture = _trained.Run.Folder.At("sheet.png");
        var run = Inference("--image-dir", _images, "--classes", "cat,dog", "--picture", picture);
        Assert.That(run.ExitCode, Is.Zero, run.Error);
        Assert.That(run.Output, Does.Contain($"Picture: {picture}"));
        using var image = SKBitmap.Decode(picture);
        Assert.That((image.Width, image.Height), Is.Not.EqualTo((0, 0)));
    }

    [Test]
    public void Without_arguments_classifies_held_out_drawings_with_the_latest_checkpoint()
    {
        string picture = _trained.Run.Folder.At("sample.png");
        var run = CommandLine.Run("inference", "--logs", _trained.Run.Folder.Path, "--threads", "2", "--picture", picture);
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        Assert.That(run.Output, Does.Contain("twemoji").And.Contain("24 images").And.Contain("24 classes, 1 template").And.Contain(_trained.Path));
        int right = run.Output.Split('\n').Count(line => line.Contains(" % ", StringComparison.Ordinal) && !line.Contains("(it is: ", StringComparison.Ordinal));
        Assert.That(run.Output, Does.Contain($"24 classified, {right} rightly, 0 skipped."));
        Assert.That(File.Exists(picture));
    }

    [Test]
    public void The_sample_may_be_classified_by_other_names()
    {
        var run = CommandLine.Run("inference", "--logs", _trained.Run.Folder.Path, "--threads", "2", "--classes", "animal,food", "--csv");
        Assert.That(run.ExitCode, Is.Zero, run.Error);
        Assert.That(run.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries), Has.Length.EqualTo(1 + 24 * 2));
        Assert.That(run.Error, Does.Contain("24 classified, 0 skipped.").And.Not.Contain("Picture"), "nothing is known to be right or wrong");
        CommandLine.Run("inference", "--json", "--csv").MustFail(1, "--json and --csv");
    }

    [Test]
    public void Without_a_checkpoint_says_what_to_do() =>
        CommandLine.Run("inference", "--logs", _trained.Run.Folder.At("nowhere")).MustFail(1, "no checkpoint", "train", "--checkpoint");

    [TestCase("--image-dir a", "--classes")]
    [TestCase("--image-dir a --classes b --classes-file c", "one of them")]
    [TestCase("--top-k 0", "--top-k is '0'")]
    public void What_does_not_go_together_exits_with_2(string line, string says) => CommandLine.Run(["inference", .. line.Split(' ')]).MustFail(2, says);

    [Test]
    public void Bad_input_exits_with_1()
    {
        Inference("--image-dir", "nowhere", "--classes", "cat").MustFail(1, "nowhere");
        Inference("--image-dir", _images, "--classes", " , ").MustFail(1, "no classes");
        Inference("--image-dir", _images, "--classes-file", "gone.txt").MustFail(1, "gone.txt");
        Inference("--image-dir", _images, "--classes", "cat", "--templates", _trained.Run.Folder.Write("t.txt", "no place")).MustFail(1, "no place", "t.txt");
        Inference("--image-dir", _images, "--classes", "cat", "--strict").MustFail(1, "bad.png");
        _trained.Run.Folder.Write("broken/a.png", "x");
        Assert.That(Inference("--image-dir", _trained.Run.Folder.At("broken"), "--classes", "cat").ExitCode, Is.EqualTo(1));
    }

    private CommandLine Inference(params string[] args) => CommandLine.Run(["inference", "--checkpoint", _trained.Path, "--threads", "2", .. args]);
}
