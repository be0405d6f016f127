namespace ClipCuda.Training;

/// <summary>What a zero-shot classification of labelled images found.</summary>
/// <param name="Acc1">The share of images whose class is the most similar one; ties count against the model.</param>
/// <param name="Acc5">The share of images whose class is among the five most similar ones; null with fewer than five classes.</param>
/// <param name="MeanPerClassRecall">The share of each class's images with that class as the most similar one, averaged over the classes that have images.</param>
public sealed record ClassificationReport(int Images, int Classes, double Acc1, double? Acc5, double MeanPerClassRecall);

/// <summary>Counts the ranks of right classes, image by image.</summary>
public sealed class ClassificationCounter(int classes)
{
    private const int Five = 5;

    private readonly int[] _images = new int[classes], _right = new int[classes];
    private int _rightInFive;

    /// <param name="similarities">Of an image with every class.</param>
    public void Add(ReadOnlySpan<float> similarities, int label)
    {
        int rank = 0; // its own similarity counts as one
        foreach (float similarity in similarities)
        {
            if (similarity >= similarities[label]) rank++;
        }
        _images[label]++;
        if (rank == 1) _right[label]++;
        if (rank <= Five) _rightInFive++;
    }

    /// <exception cref="InvalidOperationException">No image was added.</exception>
    public ClassificationReport Report()
    {
        int images = _images.Sum();
        if (images == 0) throw new InvalidOperationException("There is no image to report on.");
        double perClass = Enumerable.Range(0, classes).Where(label => _images[label] > 0).Average(label => (double)_right[label] / _images[label]);
        return new ClassificationReport(images, classes, (double)_right.Sum() / images, classes >= Five ? (double)_rightInFive / images : null, perClass);
    }
}
