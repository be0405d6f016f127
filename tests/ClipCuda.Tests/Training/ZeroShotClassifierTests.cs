using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class ZeroShotClassifierTests
{
    private static readonly string[] Templates = ["a photo of a {}.", "{c}", "many {}"];
    private static readonly string[] Classes = ["cat", "polar bear", "car"];

    private TinyModel _tiny = null!;

    [OneTimeSetUp]
    public void SetUp() => _tiny = new TinyModel();

    [OneTimeTearDown]
    public void TearDown() => _tiny.Dispose();

    [TestCase(100)]
    [TestCase(2)] // a class's sentences in several batches
    public void A_class_is_the_unit_mean_of_its_sentences(int batchSize)
    {
        var classifier = new ZeroShotClassifier(_tiny.Embedder, Classes, Templates, batchSize);
        int width = _tiny.Embedder.Width;
        for (int i = 0; i < Classes.Length; i++)
        {
            double[] mean = new double[width];
            foreach (string template in Templates)
            {
                float[] row = _tiny.Embedder.Captions([template.Replace("{}", Classes[i], StringComparison.Ordinal).Replace("{c}", Classes[i], StringComparison.Ordinal)]);
                for (int k = 0; k < width; k++) mean[k] += row[k] / 3.0;
            }
            double length = Math.Sqrt(mean.Sum(value => value * value));
            Assert.That(length, Is.LessThan(0.999), "sentences that are alike show nothing");
            Assert.That(classifier.Embeddings.Slice(i * width, width).ToArray(), Is.EqualTo(mean.Select(value => (float)(value / length))).Within(1e-6));
        }
    }

    [Test]
    public void Probabilities_are_the_softmax_of_scaled_similarities()
    {
        var classifier = new ZeroShotClassifier(_tiny.Embedder, Classes, Templates, 100);
        var best = classifier.Best([0.1f, 0.3f, -0.2f], 2);
        double scale = 1 / 0.07, sum = Math.Exp(0.1 * scale) + Math.Exp(0.3 * scale) + Math.Exp(-0.2 * scale);
        Assert.That(best.Select(p => p.Class), Is.EqualTo(new[] { 1, 0 }));
        Assert.That(best.Select(p => p.Similarity), Is.EqualTo(new[] { 0.3, 0.1 }).Within(1e-7));
        Assert.That(best.Select(p => p.Probability), Is.EqualTo(new[] { Math.Exp(0.3 * scale) / sum, Math.Exp(0.1 * scale) / sum }).Within(1e-5)); // the scale is a float32 of a float32
        Assert.That(classifier.Best([0.5f, 0.5f, 0.5f], 3).Select(p => p.Class), Is.EqualTo(new[] { 0, 1, 2 }));
    }

    [Test]
    public void Similarities_are_with_each_class()
    {
        var classifier = new ZeroShotClassifier(_tiny.Embedder, Classes, ["{}"], 100);
        float[] similarities = classifier.Similarities(classifier.Embeddings);
        Assert.That(similarities, Has.Length.EqualTo(9));
        for (int i = 0; i < 3; i++) Assert.That(similarities[i * 3 + i], Is.EqualTo(1).Within(1e-5));
    }

    [Test]
    public void No_class_and_no_name_are_errors()
    {
        Assert.That(() => new ZeroShotClassifier(_tiny.Embedder, [], Templates, 1), Throws.ArgumentException);
        Assert.That(() => new ZeroShotClassifier(_tiny.Embedder, ["cat", " "], Templates, 1), Throws.ArgumentException.With.Message.Contains("name"));
    }
}
