using ClipCuda.Data;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Ops;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class RetrievalEvaluationTests
{
    private TinyRun _run = null!;
    private Device _device = null!;
    private TrainingOptions _options = null!;
    private ClipModel _model = null!;

    [SetUp]
    public void SetUp()
    {
        _run = new TinyRun();
        _device = Device.Open("cpu", threads: 2);
        _options = _run.Options("run");
        _model = new ClipModel(_device, _options.Model);
        Initialization.Apply(_model.Parameters, _options.Model, _options.Initialization, seed: 5);
    }

    [TearDown]
    public void TearDown()
    {
        _model.Dispose();
        _device.Dispose();
        _run.Dispose();
    }

    [Test]
    public void Every_caption_counts_and_recalls_do_not_depend_on_the_batch_size()
    {
        // The training file has several captions an image.
        var (data, seven) = Evaluate(_run.TrainCsv, _run.Emoji, batchSize: 7);
        Assert.That((seven.Images, seven.Captions), Is.EqualTo((TinyRun.TrainImages, data.Rows.Count)));
        Assert.That(seven.Captions, Is.GreaterThan(seven.Images));
        var (_, all) = Evaluate(_run.TrainCsv, _run.Emoji, batchSize: 100);
        Assert.That((all.ImageToText, all.TextToImage), Is.EqualTo((seven.ImageToText, seven.TextToImage)));

        var (imageToText, textToImage) = CountedOneByOne(data);
        Assert.That(seven.ImageToText, Is.EqualTo(Recall.Of(imageToText)));
        Assert.That(seven.TextToImage, Is.EqualTo(Recall.Of(textToImage)));
    }

    [Test]
    public void A_caption_of_several_images_is_one_caption_and_each_of_them_is_right()
    {
        foreach (byte i in new byte[] { 10, 90, 170, 250 }) _run.Folder.WriteImage($"{i}.png", 9, 9, red: i, blue: (byte)(255 - i));
        string csv = _run.Folder.Write("shared.csv", "image_path,caption\n10.png,a square\n90.png,a square\n170.png,another\n170.png,a square\n250.png,a fourth\n90.png,another\n");
        foreach (int batchSize in new[] { 1, 3, 100 })
        {
            var (data, report) = Evaluate(csv, null, batchSize);
            Assert.That((report.Images, report.Captions), Is.EqualTo((4, 3)));
            var (imageToText, textToImage) = CountedOneByOne(data);
            Assert.That(report.ImageToText, Is.EqualTo(Recall.Of(imageToText)));
            Assert.That(report.TextToImage, Is.EqualTo(Recall.Of(textToImage)));
        }
    }

    [Test]
    public void The_loss_is_the_mean_over_batches_by_size()
    {
        // One batch of all, and batches of one: those have no rivals and a loss of 0.
        var (_, whole) = Evaluate(_run.ValCsv, _run.Emoji, batchSize: 100);
        var (_, single) = Evaluate(_run.ValCsv, _run.Emoji, batchSize: 1);
        Assert.That(whole.Loss, Is.EqualTo(Math.Log(TinyRun.ValImages)).Within(1.5));
        Assert.That(single.Loss, Is.Zero.Within(1e-6));
    }

    [Test]
    public void An_image_that_cannot_be_decoded_is_left_out_with_its_captions()
    {
        _run.Folder.WriteImage("a.png", 9, 9, red: 250);
        _run.Folder.WriteImage("b.png", 9, 9, blue: 250);
        _run.Folder.Write("damaged.png", "no image");
        string csv = _run.Folder.Write("own.csv", "image_path,caption\na.png,one\ndamaged.png,two\ndamaged.png,three\nb.png,four\nb.png,five\n");
        var (_, report) = Evaluate(csv, null, batchSize: 2);
        Assert.That((report.Images, report.Captions), Is.EqualTo((2, 3)));
    }

    [Test]
    public void An_embedding_that_is_not_finite_is_an_error_that_names_its_source()
    {
        _model.Parameters["visual.class_embedding"].Upload(Enumerable.Repeat(float.NaN, 32).ToArray());
        Assert.That(() => Evaluate(_run.ValCsv, _run.Emoji, batchSize: 4), Throws.TypeOf<NotFiniteNumberException>().With.Message.Contains("image '").And.Message.Contains("1st-place-medal.png"));
    }

    [Test]
    public void Stops_between_batches()
    {
        using var stop = new CancellationTokenSource();
        stop.Cancel();
        Assert.That(() => Evaluate(_run.ValCsv, _run.Emoji, batchSize: 4, stop.Token), Throws.InstanceOf<OperationCanceledException>());
    }

    private (CsvDataset Data, RetrievalReport Report) Evaluate(string csv, string? root, int batchSize, CancellationToken stop = default)
    {
        var data = CsvDataset.Load(csv, root);
        using var preprocess = NewPreprocess();
        using var loader = new BatchLoader(data, Tokenizer(), (_options with { BatchSize = batchSize }).ValLoader);
        using var tape = new Tape(_device, recording: false);
        return (data, new RetrievalEvaluation(_model, preprocess, data, loader, batchSize).Run(tape, stop));
    }

    /// <summary>Ranks from embeddings that are computed one image and one caption at a time, scored in float64.</summary>
    private (int[] ImageToText, int[] TextToImage) CountedOneByOne(CsvDataset data)
    {
        using var preprocess = NewPreprocess();
        using var tape = new Tape(_device, recording: false);
        var tokenizer = Tokenizer();
        int size = _options.Model.Vision.ImageSize;
        var images = data.Samples.Select(sample =>
        {
            var image = ImageDecoder.Decode(sample.Path);
            var pixels = tape.AllocateScratch(DataType.Float32, 1, 3, size, size);
            preprocess.Run(image.Pixels, [PreprocessImage.Centre(0, image.Width, image.Height, size)], pixels);
            return _model.EncodeImage(tape, pixels).ToArray();
        }).ToArray();
        string[] texts = [.. data.Rows.Select(row => row.Caption).Distinct()];
        var captions = texts.Select(text =>
        {
            int[] ids = new int[_options.Model.Text.ContextLength];
            tokenizer.EncodeCaption(text, ids);
            return _model.EncodeText(tape, ids, 1).ToArray();
        }).ToArray();
        double Score(int image, int caption) => images[image].Zip(captions[caption], (x, y) => (double)x * y).Sum();
        bool Own(int image, int caption) => data.Samples[image].Rows.Any(row => data.Rows[row].Caption == texts[caption]);
        var allImages = Enumerable.Range(0, images.Length).ToArray();
        var allCaptions = Enumerable.Range(0, captions.Length).ToArray();
        int[] imageToText = [.. allImages.Select(i =>
        {
            double best = allCaptions.Where(c => Own(i, c)).Max(c => Score(i, c));
            return 1 + allCaptions.Count(c => !Own(i, c) && Score(i, c) >= best);
        })];
        int[] textToImage = [.. allCaptions.Select(c =>
        {
            double own = allImages.Where(i => Own(i, c)).Max(i => Score(i, c));
            return 1 + allImages.Count(i => !Own(i, c) && Score(i, c) >= own);
        })];
        return (imageToText, textToImage);
    }

    private Preprocess NewPreprocess() => new(_device, _options.Model.Vision.ImageSize, Preprocess.ClipMean, Preprocess.ClipDeviation);

    private static ClipTokenizer Tokenizer() => new(Path.Combine(DataFolder.Find(), DataFolder.Merges));
}
