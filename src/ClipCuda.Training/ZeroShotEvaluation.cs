using ClipCuda.Data;
using ClipCuda.Model;

namespace ClipCuda.Training;

/// <summary>
/// Zero-shot classification of one's own images while a model is trained (Radford et al. 2021, section 3.1): each class is its name in
/// some sentences. Draws no random number.
/// </summary>
internal sealed class ZeroShotEvaluation
{
    private readonly ClipModel _model;
    private readonly ClipTokenizer _tokenizer;
    private readonly TrainingOptions _options;
    private readonly LabelledImages _images;
    private readonly IReadOnlyList<string> _templates;

    /// <summary>Finds the images and reads the classes' names.</summary>
    /// <exception cref="IOException">There is no such folder or file, or no image in it.</exception>
    /// <exception cref="ArgumentException">There are more or fewer names than folders.</exception>
    /// <exception cref="InvalidDataException">A CSV file, shards or the templates are malformed.</exception>
    public ZeroShotEvaluation(ClipModel model, ClipTokenizer tokenizer, TrainingOptions options)
    {
        (_model, _tokenizer, _options) = (model, tokenizer, options);
        _images = LabelledImages.Open(options.ZeroShotData!, options.ZeroShotLabel, options.Csv, options.ZeroShotClasses);
        _templates = options.ZeroShotTemplates is { } templates ? PromptTemplates.Read(templates) : PromptTemplates.Default;
    }

    /// <summary>How many images and classes there are, for people.</summary>
    public string Description
    {
        get
        {
            string skipped = _images.Missing.Count == 0 ? "" : $"; {_images.Missing.Count:N0} skipped, the first, {_images.Missing[0].Place}: {_images.Missing[0].Reason}";
            return _images.Describe(_options.ZeroShotData!, _templates.Count) + skipped;
        }
    }

    /// <summary>Classifies every image with the model as it is. Images that cannot be read are left out.</summary>
    /// <param name="step">Its tape gives the memory of activations.</param>
    /// <exception cref="InvalidDataException">No image can be read; or, strict, one cannot.</exception>
    /// <exception cref="OperationCanceledException">Asked to stop, between two images.</exception>
    public ClassificationReport Run(TrainingStep step, CancellationToken stop)
    {
        using var embedder = new Embedder(_model, _tokenizer, step.Tape, step.Preprocess);
        var classifier = new ZeroShotClassifier(embedder, _images.Classes, _templates, _options.BatchSize);
        var loader = new ImageLoader(_images.Images, _options.BatchSize, _options.Workers, _options.Strict);
        var counter = new ClassificationCounter(_images.Classes.Count);
        int classified = 0;
        foreach (var (image, similarities) in classifier.Similarities(loader))
        {
            stop.ThrowIfCancellationRequested();
            counter.Add(similarities, _images.Labels[image]);
            classified++;
        }
        return classified > 0 ? counter.Report() : throw new InvalidDataException($"None of the {_images.Images.Count} images of '{_options.ZeroShotData}' can be read; the first: {loader.Unreadable[0].Reason}");
    }
}
