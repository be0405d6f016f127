using System.CommandLine;
using System.Text.Json;
using ClipCuda.Data;
using ClipCuda.Training;
using CsvHelper;

namespace ClipCuda.Cli;

/// <summary>
/// <c>inference</c>: zero-shot classification of images by the names of classes. Without arguments it classifies some of the sample's drawings that
/// no training saw, with the latest checkpoint.
/// </summary>
internal sealed class InferenceCommand
{
    private const int DefaultTopK = 3, SampleDrawings = 24, MostInPicture = 120, MostPadding = 32;
    private const string SamplePicture = "inference.png";

    private readonly Option<string?> _imageDir = new("--image-dir") { Description = $"images to classify: all of a folder and of those below it (default: {SampleDrawings} held-out drawings of the sample)", HelpName = "folder" };
    private readonly Option<string?> _classes = new("--classes") { Description = "names of the classes, with commas between: \"cat,dog,car\" (default for the sample: the drawings' names)", HelpName = "names" };
    private readonly Option<string?> _classesFile = new("--classes-file") { Description = "the same from a file, a name a line", HelpName = "file" };
    private readonly Option<string?> _templates = new("--templates")
    {
        Description = $"sentences that names are put into for {{}}, a line each (default: {string.Join(" · ", PromptTemplates.Default)}; for the sample the names alone)",
        HelpName = "file",
    };
    private readonly Option<int?> _topK = NumberOption.Whole("--top-k", $"classes that are shown an image (default: {DefaultTopK})", least: 1);
    private readonly Option<string?> _picture = new("--picture") { Description = $"draw the images with what they were taken for as a contact sheet into this PNG file (default for the sample: {SamplePicture})", HelpName = "file" };
    private readonly ResultOption _json = new("--json", "JSON");
    private readonly ResultOption _csv = new("--csv", "CSV");
    private readonly EmbedderFlags _model = new();

    private InferenceCommand() { }

    public static Command Create()
    {
        var inference = new InferenceCommand();
        var command = new Command("inference", "Say which of some named classes images belong to; without arguments for drawings of the sample, with the latest checkpoint.")
        {
            inference._imageDir, inference._classes, inference._classesFile, inference._templates, inference._topK, inference._picture, inference._json.Option, inference._csv.Option,
        };
        inference._model.AddTo(command);
        command.Validators.Add(result =>
        {
            bool classes = result.GetResult(inference._classes) is not null, file = result.GetResult(inference._classesFile) is not null;
            if (classes && file) result.AddError("--classes and --classes-file name the same thing; give one of them.");
            if (result.GetResult(inference._imageDir) is not null && !classes && !file) result.AddError("--image-dir needs the classes to choose from: --classes \"cat,dog,car\", or --classes-file.");
        });
        command.SetAction(inference.Run);
        return command;
    }

    private int Run(ParseResult parsed)
    {
        bool sample = parsed.GetValue(_imageDir) is null, machine = _json.TakesOutput(parsed) || _csv.TakesOutput(parsed);
        var notes = machine ? parsed.InvocationConfiguration.Error : parsed.InvocationConfiguration.Output;
        var (paths, truth) = sample ? HeldOutDrawings() : (ImageFiles.Find(parsed.GetValue(_imageDir)!), null);
        if (_json.TakesOutput(parsed) && _csv.TakesOutput(parsed)) throw new ArgumentException("--json and --csv cannot both have standard output; give one of them a file.");
        var classes = Classes(parsed) ?? truth!;
        var templates = parsed.GetValue(_templates) is { } file ? PromptTemplates.Read(file) : sample ? PromptTemplates.NameOnly : PromptTemplates.Default;

        using var model = _model.Open(parsed, notes);
        notes.WriteLine($"Data: {paths.Count:N0} images from '{CommonFolder(paths)}', {classes.Count:N0} classes, {templates.Count} template{(templates.Count == 1 ? "" : "s")}");
        var classifier = model.Classifier(classes, templates, notes);
        var loader = model.Loader([.. paths.Select(ImagePlace.OfFile)]);
        var images = Classify(model, classifier, loader, paths, truth, Math.Min(parsed.GetValue(_topK) ?? DefaultTopK, classes.Count));
        var unreadable = loader.Unreadable;
        foreach (var image in unreadable) notes.WriteLine($"Skipped: {image.Reason}");
        if (images.Count == 0) throw new InvalidDataException($"None of the {paths.Count} images could be read; the first: {unreadable[0].Reason}");

        if (!machine) WriteTable(notes, images);
        _json.WriteJson(parsed, writer => WriteJson(writer, model.Checkpoint, classes, templates, images, unreadable));
        _csv.Write(parsed, stream => WriteCsv(stream, images));
        string right = images.Any(image => image.Right is not null) ? $", {images.Count(image => image.Right == true)} rightly" : "";
        notes.WriteLine($"{images.Count:N0} classified{right}, {unreadable.Count:N0} skipped.");
        if ((parsed.GetValue(_picture) ?? (sample && !machine ? SamplePicture : null)) is { } picture)
        {
            ContactSheet.Write(picture, $"{images.Count:N0} images, {classes.Count:N0} classes{right}", model.Checkpoint, [.. images.Take(MostInPicture).Select(image => image.OnSheet())]);
            notes.WriteLine($"Picture: {picture}" + (images.Count > MostInPicture ? $" (the first {MostInPicture})" : ""));
        }
        return 0;
    }

    private IReadOnlyList<string>? Classes(ParseResult parsed)
    {
        if (parsed.GetValue(_classesFile) is { } file) return [.. TextLines.Read(file, "classes").Distinct(StringComparer.Ordinal)];
        return parsed.GetValue(_classes)?.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Distinct(StringComparer.Ordinal).ToArray();
    }

    /// <summary>Drawings of the sample's evaluation file, evenly over it, and what each shows.</summary>
    private static (IReadOnlyList<string> Paths, IReadOnlyList<string> Truth) HeldOutDrawings()
    {
        var data = CsvDataset.Load(Path.Combine(DataFolder.Find(), DataFolder.SampleEvaluation));
        ImageSample[] chosen = [.. Enumerable.Range(0, SampleDrawings).Select(i => data.Samples[i * data.Samples.Count / SampleDrawings])];
        return ([.. chosen.Select(sample => sample.Path)], [.. chosen.Select(sample => data.Rows[sample.Rows[0]].Caption)]);
    }

    private static List<ClassifiedImage> Classify(OpenedModel model, ZeroShotClassifier classifier, ImageLoader loader, IReadOnlyList<string> paths, IReadOnlyList<string>? truth, int topK)
    {
        var images = new List<ClassifiedImage>();
        var known = classifier.Classes.ToHashSet(StringComparer.Ordinal);
        foreach (var (image, similarities) in classifier.Similarities(loader))
        {
            string? label = truth?[image];
            var best = classifier.Best(similarities, topK);
            images.Add(new ClassifiedImage(paths[image], [.. best.Select(p => new NamedPrediction(classifier.Classes[p.Class], p.Similarity, p.Probability))], label is not null && known.Contains(label) ? label : null));
        }
        return images;
    }

    /// <summary>A line an image: path, then its classes, the likeliest first. Where the truth is known, wrong ones are followed by it.</summary>
    private static void WriteTable(TextWriter output, List<ClassifiedImage> images)
    {
        string common = CommonFolder([.. images.Select(image => image.Path)]);
        int pathWidth = images.Max(image => image.Path.Length) - common.Length, labelWidth = Math.Min(MostPadding, images.Max(image => image.Predictions.Max(p => p.Class.Length)));
        foreach (var image in images)
        {
            string predictions = string.Concat(image.Predictions.Select(p => $"  {p.Probability,7:0.0 %} {p.Class.PadRight(labelWidth)}"));
            string wrong = image.Right == false ? $"  (it is: {image.Truth})" : "";
            output.WriteLine($"{image.Path[common.Length..].PadRight(pathWidth)}{predictions}{wrong}".TrimEnd());
        }
    }

    /// <summary>The folder that all images lie in or below, with its separator.</summary>
    private static string CommonFolder(IReadOnlyList<string> paths)
    {
        string common = paths[0];
        foreach (string path in paths) common = common[..common.AsSpan().CommonPrefixLength(path)];
        return common[..(common.LastIndexOf(Path.DirectorySeparatorChar) + 1)];
    }

    private static void WriteJson(Utf8JsonWriter writer, string checkpoint, IReadOnlyList<string> classes, IReadOnlyList<string> templates, List<ClassifiedImage> images, IReadOnlyList<UnreadableImage> unreadable)
    {
        writer.WriteString("checkpoint", checkpoint);
        WriteStrings(writer, "classes", classes);
        WriteStrings(writer, "templates", templates);
        writer.WriteStartArray("images");
        foreach (var image in images)
        {
            writer.WriteStartObject();
            writer.WriteString("image_path", image.Path);
            writer.WriteStartArray("predictions");
            foreach (var prediction in image.Predictions)
            {
                writer.WriteStartObject();
                writer.WriteString("class", prediction.Class);
                writer.WriteNumber("probability", prediction.Probability);
                writer.WriteNumber("similarity", prediction.Similarity);
                writer.WriteEndObject();
            }
            writer.WriteEndArray();
            writer.WriteEndObject();
        }
        writer.WriteEndArray();
        writer.WriteStartArray("skipped");
        foreach (var image in unreadable)
        {
            writer.WriteStartObject();
            writer.WriteString("image_path", image.Path);
            writer.WriteString("reason", image.Reason);
            writer.WriteEndObject();
        }
        writer.WriteEndArray();
    }

    private static void WriteStrings(Utf8JsonWriter writer, string key, IReadOnlyList<string> values)
    {
        writer.WriteStartArray(key);
        foreach (string value in values) writer.WriteStringValue(value);
        writer.WriteEndArray();
    }

    /// <summary>A row an image and class.</summary>
    private static void WriteCsv(Stream stream, List<ClassifiedImage> images)
    {
        using var csv = CsvWriter.Create(stream, new CsvWriterOptions { NewLine = "\n" }, leaveOpen: true);
        csv.WriteRecord(["image_path", "rank", "class", "probability", "similarity"]);
        foreach (var image in images)
        {
            for (int rank = 0; rank < image.Predictions.Count; rank++)
            {
                var prediction = image.Predictions[rank];
                csv.WriteRecord([image.Path, $"{rank + 1}", prediction.Class, $"{prediction.Probability}", $"{prediction.Similarity}"]);
            }
        }
    }
}

/// <summary>A class with its name.</summary>
internal sealed record NamedPrediction(string Class, double Similarity, double Probability);

/// <summary>An image and what it was taken for.</summary>
/// <param name="Predictions">The likeliest first, at least one.</param>
/// <param name="Truth">What it shows, if that is known and one of the classes.</param>
internal sealed record ClassifiedImage(string Path, IReadOnlyList<NamedPrediction> Predictions, string? Truth)
{
    /// <summary>Whether the likeliest class is the truth; null if that is not known.</summary>
    public bool? Right => Truth is null ? null : Predictions[0].Class == Truth;

    /// <summary>Its part of a picture: the likeliest class is marked as right or wrong where that is known.</summary>
    public SheetImage OnSheet() => new(ImagePlace.OfFile(Path), [.. Predictions.Select((prediction, i) => new SheetLine(prediction.Class, prediction.Probability, i == 0 ? Right : null))]);
}
