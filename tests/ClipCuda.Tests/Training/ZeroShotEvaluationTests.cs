using ClipCuda.Data;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class ZeroShotEvaluationTests
{
    private TinyRun _run = null!;
    private TinyModel _tiny = null!;

    [SetUp]
    public void SetUp()
    {
        (_run, _tiny) = (new TinyRun(), new TinyModel());
        _run.Folder.WriteImage("classes/a_red_square/1.png", 20, 20, red: 250);
        _run.Folder.WriteImage("classes/a_red_square/2.png", 30, 20, red: 200);
        _run.Folder.WriteImage("classes/green/3.png", 20, 30, green: 250);
        _run.Folder.Write("classes/green/damaged.png", "no image");
    }

    [TearDown]
    public void TearDown()
    {
        _tiny.Dispose();
        _run.Dispose();
    }

    /// <summary>The same numbers as one image and one class at a time, with the embedder that <c>evaluate</c> uses.</summary>
    [Test]
    public void Finds_what_the_classifier_finds()
    {
        var options = Options() with { ZeroShotClasses = _run.Folder.Write("names.txt", "something red\nsomething green\n") };
        using var step = new TrainingStep(_tiny.Model, options);
        var evaluation = new ZeroShotEvaluation(_tiny.Model, Tokenizer(), options);
        Assert.That(evaluation.Description, Does.StartWith("4 images of 2 classes from"));
        var report = evaluation.Run(step, default);

        var classifier = new ZeroShotClassifier(_tiny.Embedder, ["something red", "something green"], PromptTemplates.Default, batchSize: 1);
        var images = LabelledImages.OfFolders(options.ZeroShotData!);
        var counter = new ClassificationCounter(2);
        foreach (var (image, similarities) in classifier.Similarities(new ImageLoader(images.Images, 1))) counter.Add(similarities, images.Labels[image]);
        Assert.That(report, Is.EqualTo(counter.Report()));
        Assert.That(report.Images, Is.EqualTo(3), "the damaged one is left out");
        Assert.That(evaluation.Run(step, default), Is.EqualTo(report), "again the same");
    }

    /// <summary>The same images, by a CSV file and with sentences of one's own.</summary>
    [Test]
    public void Takes_a_csv_file_and_templates()
    {
        string csv = _run.Folder.Write("labels.csv", "image_path,class\nclasses/a_red_square/1.png,a red square\nclasses/a_red_square/2.png,a red square\nclasses/green/3.png,green\nnone.png,green\n");
        string one = _run.Folder.Write("one.txt", "a photo of a {}.\n"), three = _run.Folder.Write("three.txt", string.Join('\n', PromptTemplates.Default));
        var rows = Options() with { ZeroShotData = csv, ZeroShotLabel = "class", ImageRoot = null };
        using var step = new TrainingStep(_tiny.Model, rows);
        var folders = Create(Options()).Run(step, default);
        Assert.That(Create(rows).Run(step, default), Is.EqualTo(folders));
        Assert.That(Create(rows with { ZeroShotTemplates = three }).Run(step, default), Is.EqualTo(folders));
        Assert.That(Create(rows with { ZeroShotTemplates = one }).Description, Does.StartWith("3 images of 2 classes from").And.Contains("1 template;").And.Contains("1 skipped, the first, line 5").And.Contains("none.png"));
        Assert.That(Create(rows with { ZeroShotClasses = _run.Folder.Write("all.txt", "blue\ngreen\na red square\n") }).Description, Does.Contain("of 3 classes"));
        Assert.That((rows with { ZeroShotLabel = null }).Validate, Throws.ArgumentException.With.Message.Contains("--label-key"));
        Assert.That((Options() with { ZeroShotLabel = "class" }).Validate, Throws.ArgumentException.With.Message.Contains("is a folder"));
        Assert.That((Options() with { ZeroShotData = null, ZeroShotTemplates = one }).Validate, Throws.ArgumentException.With.Message.Contains("--zeroshot-data"));
        Assert.That(() => Create(rows with { ZeroShotTemplates = _run.Folder.Write("bad.txt", "no place\n") }), Throws.TypeOf<InvalidDataException>().With.Message.Contains("no place"));
    }

    [Test]
    public void Takes_tar_shards()
    {
        (string, byte[])[] entries = [.. new[] { ("a_red_square/1", "a red square"), ("a_red_square/2", "a red square"), ("green/3", "green") }.SelectMany(sample =>
            new (string, byte[])[] { (sample.Item1 + ".png", File.ReadAllBytes(_run.Folder.At($"classes/{sample.Item1}.png"))), (sample.Item1 + ".cls", System.Text.Encoding.UTF8.GetBytes(sample.Item2)) })];
        var shards = Options() with { ZeroShotData = _run.Folder.WriteTar("a.tar", entries) };
        shards.Validate();
        using var step = new TrainingStep(_tiny.Model, shards);
        Assert.That(Create(shards).Run(step, default), Is.EqualTo(Create(Options()).Run(step, default)));
    }

    [Test]
    public void What_cannot_be_classified_is_named()
    {
        Assert.That(() => Create(Options() with { ZeroShotData = "nowhere" }), Throws.TypeOf<DirectoryNotFoundException>().With.Message.Contains("nowhere"));
        Assert.That(() => Create(Options() with { ZeroShotClasses = _run.Folder.Write("one.txt", "one\n") }), Throws.ArgumentException.With.Message.Contains("1 class names for the 2 folders"));
        Directory.CreateDirectory(_run.Folder.At("empty/class"));
        Assert.That(() => Create(Options() with { ZeroShotData = _run.Folder.At("empty") }), Throws.TypeOf<FileNotFoundException>().With.Message.Contains("holds no image"));
        _run.Folder.Write("bad/class/damaged.png", "no image");
        var bad = Options() with { ZeroShotData = _run.Folder.At("bad") };
        using var step = new TrainingStep(_tiny.Model, bad);
        Assert.That(() => Create(bad).Run(step, default), Throws.TypeOf<InvalidDataException>().With.Message.Contains("None of the 1 images").And.Message.Contains("damaged.png"));
        Assert.That((Options() with { ZeroShotData = null, ZeroShotClasses = "x" }).Validate, Throws.ArgumentException.With.Message.Contains("--zeroshot-data"));
    }

    private ZeroShotEvaluation Create(TrainingOptions options) => new ZeroShotEvaluation(_tiny.Model, Tokenizer(), options);

    private TrainingOptions Options() => _run.Options("x") with { Model = _tiny.Model.Config, ZeroShotData = _run.Folder.At("classes"), BatchSize = 2 };

    private static ClipTokenizer Tokenizer() => new(Path.Combine(DataFolder.Find(), DataFolder.Merges));
}
