using ClipCuda.Data;
using ClipCuda.Ops;
using ClipCuda.Tests.Data;

namespace ClipCuda.Tests.Training;

public sealed class EmbedderTests
{
    private TinyModel _tiny = null!;
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void SetUp() => (_tiny, _folder) = (new TinyModel(), new TemporaryFolder());

    [TearDown]
    public void TearDown()
    {
        _tiny.Dispose();
        _folder.Dispose();
    }

    [Test]
    public void Images_are_what_the_model_makes_of_their_centres()
    {
        string[] paths = [_folder.WriteImage("a.png", 40, 32, red: 200), _folder.WriteImage("b.png", 9, 70, green: 90), _folder.Write("bad.png", "x"), _folder.WriteImage("c.png", 32, 32)];
        float[] rows = [.. new ImageLoader(paths, batchSize: 3).Batches().SelectMany(batch => _tiny.Embedder.Images(batch, i => ""))];
        Assert.That(rows, Has.Length.EqualTo(3 * _tiny.Embedder.Width));
        for (int row = 0; row < 3; row++)
        {
            var image = ImageDecoder.Decode(new[] { paths[0], paths[1], paths[3] }[row]);
            using var tape = new Tape(_tiny.Device, recording: false);
            var pixels = tape.AllocateScratch(DataType.Float32, 1, 3, 32, 32);
            _tiny.Embedder.Preprocess.Run(image.Pixels, [PreprocessImage.Centre(0, image.Width, image.Height, 32)], pixels);
            Assert.That(Row(rows, row), Is.EqualTo(_tiny.Model.EncodeImage(tape, pixels).ToArray()).Within(1e-6)); // a batch of another size sums in another order
            Assert.That(Row(rows, row).Sum(value => (double)value * value), Is.EqualTo(1).Within(1e-5));
        }
    }

    [Test]
    public void Captions_are_cut_to_the_context_and_counted()
    {
        float[] rows = _tiny.Embedder.Captions(["a cat", "one two three four five six seven eight", "A  CAT"]);
        Assert.That(rows, Has.Length.EqualTo(3 * _tiny.Embedder.Width));
        Assert.That(Row(rows, 0), Is.EqualTo(Row(rows, 2)));
        Assert.That(Row(rows, 0), Is.Not.EqualTo(Row(rows, 1)));
        Assert.That(_tiny.Embedder.TruncatedCaptions, Is.EqualTo(1));
    }

    [Test]
    public void Similarities_are_products_of_rows()
    {
        int width = _tiny.Embedder.Width;
        float[] images = [.. Enumerable.Range(0, 2 * width).Select(i => (float)(i % 7 - 3))], classes = [.. Enumerable.Range(0, 3 * width).Select(i => (float)(i % 5 - 2))];
        float[] expected = [.. from image in Enumerable.Range(0, 2) from other in Enumerable.Range(0, 3) select Row(images, image).Zip(Row(classes, other), (x, y) => x * y).Sum()];
        Assert.That(_tiny.Embedder.Similarities(images, classes), Is.EqualTo(expected));
        Assert.That(_tiny.Embedder.Similarities([], classes), Is.Empty);
    }

    [Test]
    public void A_fresh_models_scale_is_the_inverse_of_0_07() => Assert.That(_tiny.Embedder.LogitScale, Is.EqualTo(1 / 0.07).Within(1e-4));

    [Test]
    public void An_embedding_that_is_not_finite_is_an_error_that_names_its_source()
    {
        _tiny.Model.Parameters["text_projection"].Upload(Enumerable.Repeat(float.NaN, 16 * 16).ToArray());
        Assert.That(() => _tiny.Embedder.Captions(["a cat"]), Throws.TypeOf<NotFiniteNumberException>().With.Message.Contains("'a cat'"));
    }

    [Test]
    public void A_vocabulary_smaller_than_the_tokenizers_is_refused() =>
        Assert.That(() => new TinyModel(vocabulary: 100), Throws.ArgumentException.With.Message.Contains("49408"));

    [Test]
    public void Leaves_no_buffer_behind()
    {
        int before = _tiny.Device.LiveBuffers;
        using (var another = new TinyModel())
        {
            another.Embedder.Captions(["a cat"]);
            another.Embedder.Dispose();
            another.Model.Dispose();
            Assert.That(another.Device.LiveBuffers, Is.Zero);
        }
        Assert.That(_tiny.Device.LiveBuffers, Is.EqualTo(before));
    }

    private float[] Row(float[] rows, int row) => rows[(row * _tiny.Embedder.Width)..((row + 1) * _tiny.Embedder.Width)];
}
