using ClipCuda.Data;

namespace ClipCuda.Training;

/// <summary>A class that an image may belong to.</summary>
/// <param name="Similarity">The cosine of the angle between the embeddings of image and class.</param>
/// <param name="Probability">Of all classes: softmax of similarity · logit scale.</param>
public readonly record struct Prediction(int Class, double Similarity, double Probability);

/// <summary>
/// Classification by names alone (Radford et al. 2021, section 3.1): a class is the mean of the embeddings of its name in several sentences,
/// each of unit length, brought back to unit length.
/// </summary>
public sealed class ZeroShotClassifier
{
    private readonly Embedder _embedder;
    private readonly float[] _classes;

    /// <exception cref="ArgumentException">There are no classes, or one has no name.</exception>
    public ZeroShotClassifier(Embedder embedder, IReadOnlyList<string> classes, IReadOnlyList<string> templates, int batchSize)
    {
        if (classes.Count == 0 || classes.Any(string.IsNullOrWhiteSpace)) throw new ArgumentException("There are no classes, or one without a name; name each, with commas between.");
        _embedder = embedder;
        Classes = classes;
        int width = embedder.Width;
        double[] sums = new double[classes.Count * width];
        int done = 0;
        foreach (string[] prompts in classes.SelectMany(name => templates.Select(template => PromptTemplates.Fill(template, name))).Chunk(batchSize))
        {
            float[] rows = embedder.Captions(prompts);
            for (int i = 0; i < rows.Length; i++) sums[(done + i / width) / templates.Count * width + i % width] += rows[i];
            done += prompts.Length;
        }
        _classes = new float[sums.Length];
        for (int at = 0; at < sums.Length; at += width) Normalise(sums.AsSpan(at, width), _classes.AsSpan(at, width));
    }

    public IReadOnlyList<string> Classes { get; }

    /// <summary>The classes' embeddings, [classes, width].</summary>
    internal ReadOnlySpan<float> Embeddings => _classes;

    /// <summary>Similarities [images, classes] of image embeddings.</summary>
    public float[] Similarities(ReadOnlySpan<float> images) => _embedder.Similarities(images, _classes);

    /// <summary>Each image that can be read, by its place in the loader's list, with its similarities to all classes.</summary>
    public IEnumerable<(int Image, ArraySegment<float> Similarities)> Similarities(ImageLoader loader)
    {
        foreach (var batch in loader.Batches())
        {
            using (batch)
            {
                int[] indices = batch.SampleIndices.ToArray();
                float[] similarities = Similarities(_embedder.Images(batch, i => loader.NameOf(indices[i])));
                for (int i = 0; i < indices.Length; i++) yield return (indices[i], new ArraySegment<float>(similarities, i * Classes.Count, Classes.Count));
            }
        }
    }

    /// <summary>The most similar classes of an image, best first; of equal ones the first in the list.</summary>
    /// <param name="similarities">With every class.</param>
    public Prediction[] Best(ReadOnlySpan<float> similarities, int count)
    {
        float[] values = similarities.ToArray();
        double scale = _embedder.LogitScale, largest = values.Max();
        double sum = values.Sum(value => Math.Exp(scale * (value - largest)));
        return [.. Enumerable.Range(0, values.Length)
            .OrderByDescending(i => values[i])
            .Take(count)
            .Select(i => new Prediction(i, values[i], Math.Exp(scale * (values[i] - largest)) / sum))];
    }

    private static void Normalise(ReadOnlySpan<double> sum, Span<float> unit)
    {
        double squares = 0;
        foreach (double value in sum) squares += value * value;
        double length = Math.Sqrt(squares);
        // Sentences whose embeddings cancel out say nothing; their class is similar to no image.
        for (int i = 0; i < sum.Length; i++) unit[i] = length > 0 ? (float)(sum[i] / length) : 0;
    }
}
