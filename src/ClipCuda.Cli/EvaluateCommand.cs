using System.CommandLine;
using System.Text.Json;
using ClipCuda.Data;
using ClipCuda.Training;
using Spectre.Console;

namespace ClipCuda.Cli;

/// <summary>
/// <c>evaluate</c>: how good a checkpoint is. Retrieval over the pairs of a CSV file or tar shards (by default the sample's held-out drawings), or
/// zero-shot classification of labelled images: a tree with a folder a class, or the labels in a CSV file or tar shards.
/// </summary>
internal sealed class EvaluateCommand
{
    private const int TableWidth = 100;

    private readonly Option<string?> _data = new("--data", "--csv") { Description = "retrieval over the columns image_path and caption of this CSV file, or over tar shards 'shards/{0000..0099}.tar' (default: the sample's held-out drawings)", HelpName = "name" };
    private readonly Option<string?> _imgRoot = new("--img-root") { Description = "what image paths are relative to (default: the folder of the CSV file)", HelpName = "folder" };
    private readonly Option<string?> _imageDir = new("--image-dir") { Description = "zero-shot classification of this tree, which has a folder with images for each class", HelpName = "folder" };
    private readonly Option<string?> _labelKey = new("--label-key", "--csv-label-key") { Description = $"zero-shot classification of the images of --data, of which this says the class: the column of a CSV file; in tar shards the ending of a file or a key of .json, with the class's name or number (commonly {LabelledImages.ShardLabel})", HelpName = "name" };
    private readonly Option<string?> _classesFile = new("--classes-file") { Description = "the classes, a name a line: in the order of the folders' names or the labels' numbers, or all the labels there are (default: the folders' names, or the labels that occur)", HelpName = "file" };
    private readonly Option<string?> _templates = new("--templates") { Description = $"sentences that class names are put into for {{}}, a line each (default: {string.Join(" · ", PromptTemplates.Default)})", HelpName = "file" };
    private readonly ResultOption _json = new("--json", "JSON with the keys of CLIP_benchmark and open_clip");
    private readonly EmbedderFlags _model = new();

    private EvaluateCommand() { }

    public static Command Create()
    {
        var evaluate = new EvaluateCommand();
        var command = new Command("evaluate", "Measure retrieval or zero-shot classification; without arguments retrieval on the sample's held-out drawings, with the latest checkpoint.")
        {
            evaluate._data, evaluate._imgRoot, evaluate._imageDir, evaluate._labelKey, evaluate._classesFile, evaluate._templates, evaluate._json.Option,
        };
        evaluate._model.AddTo(command);
        command.Validators.Add(result =>
        {
            bool Given(Option option) => result.GetResult(option) is not null;
            if (Given(evaluate._imageDir) && Given(evaluate._data)) result.AddError("--image-dir and --data are two data sets; give one of them.");
            if (Given(evaluate._labelKey) && !Given(evaluate._data)) result.AddError("--label-key says the class in a CSV file or tar shards; give them with --data.");
            if (!Given(evaluate._imageDir) && !Given(evaluate._labelKey) && (Given(evaluate._classesFile) || Given(evaluate._templates)))
                result.AddError("--classes-file and --templates are for classification; give --image-dir, or --data with --label-key.");
        });
        command.SetAction(evaluate.Run);
        return command;
    }

    private int Run(ParseResult parsed)
    {
        bool machine = _json.TakesOutput(parsed);
        var notes = machine ? parsed.InvocationConfiguration.Error : parsed.InvocationConfiguration.Output;
        using var model = _model.Open(parsed, notes);
        if (parsed.GetValue(_imageDir) is not null || parsed.GetValue(_labelKey) is not null) Classify(parsed, model, notes, machine);
        else Retrieve(parsed, model, notes, machine);
        return 0;
    }

    private void Retrieve(ParseResult parsed, OpenedModel model, TextWriter notes, bool machine)
    {
        string name = parsed.GetValue(_data) ?? Path.Combine(DataFolder.Find(), DataFolder.SampleEvaluation);
        var data = PairDataset.Open(name, new CsvOptions { ImageRoot = parsed.GetValue(_imgRoot), Strict = model.Strict });
        using var loader = new BatchLoader(data, model.Tokenizer, new LoaderOptions
        {
            BatchSize = model.BatchSize,
            ContextLength = model.Model.Config.Text.ContextLength,
            Workers = model.Workers,
            Strict = model.Strict,
        });
        string cut = loader.TruncatedCaptions == 0 ? "" : $" ({loader.TruncatedCaptions:N0} too long for the context and cut)";
        notes.WriteLine($"Data: {data.Samples.Count:N0} images, {data.Rows.Count:N0} captions{cut} from '{name}'");
        var progress = new ProgressLines(notes, data.Samples.Count + data.Rows.Count, "encoded");
        progress.Report(0);
        var report = new RetrievalEvaluation(model.Model, model.Embedder.Preprocess, data, loader, model.BatchSize) { Encoded = progress.Report }.Run(model.Embedder.Tape);
        WriteSkipped(notes, loader.Skipped.Select(image => image.Reason));
        if (!machine)
        {
            var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(notes) });
            console.Profile.Width = Math.Max(console.Profile.Width, TableWidth);
            console.Write(RetrievalTable.Of(report, meanRank: true));
            notes.WriteLine($"loss {report.Loss:F4} in batches of {model.BatchSize}");
        }
        _json.WriteJson(parsed, Result(name, "zeroshot_retrieval", model.Checkpoint, writer =>
        {
            foreach (var (k, image, text) in new[]
            {
                (1, report.TextToImage.At1, report.ImageToText.At1),
                (5, report.TextToImage.At5, report.ImageToText.At5),
                (10, report.TextToImage.At10, report.ImageToText.At10),
            })
            {
                writer.WriteNumber($"image_retrieval_recall@{k}", image);
                writer.WriteNumber($"text_retrieval_recall@{k}", text);
            }
            foreach (var (direction, recall) in new[] { ("image_to_text", report.ImageToText), ("text_to_image", report.TextToImage) })
            {
                writer.WriteNumber($"{direction}_mean_rank", recall.MeanRank);
                writer.WriteNumber($"{direction}_median_rank", recall.MedianRank);
                writer.WriteNumber($"{direction}_R@1", recall.At1);
                writer.WriteNumber($"{direction}_R@5", recall.At5);
                writer.WriteNumber($"{direction}_R@10", recall.At10);
            }
            writer.WriteNumber("clip_val_loss", report.Loss);
            writer.WriteNumber("num_samples", report.Images);
        }));
    }

    private void Classify(ParseResult parsed, OpenedModel model, TextWriter notes, bool machine)
    {
        var templates = parsed.GetValue(_templates) is { } sentences ? PromptTemplates.Read(sentences) : PromptTemplates.Default;
        string source = parsed.GetValue(_imageDir) ?? parsed.GetValue(_data)!;
        var images = LabelledImages.Open(source, parsed.GetValue(_labelKey), new CsvOptions { ImageRoot = parsed.GetValue(_imgRoot), Strict = model.Strict }, parsed.GetValue(_classesFile));
        notes.WriteLine($"Data: {images.Describe(source, templates.Count)}");
        var classifier = model.Classifier(images.Classes, templates, notes);
        var counter = new ClassificationCounter(images.Classes.Count);
        var loader = model.Loader(images.Images);
        var progress = new ProgressLines(notes, images.Images.Count, "classified");
        int done = 0;
        progress.Report(done);
        foreach (var (image, similarities) in classifier.Similarities(loader))
        {
            counter.Add(similarities, images.Labels[image]);
            progress.Report(++done);
        }
        var unreadable = loader.Unreadable;
        WriteSkipped(notes, images.Missing.Select(image => image.Reason).Concat(unreadable.Select(image => image.Reason)));
        if (done == 0) throw new InvalidDataException($"None of the {images.Images.Count} images of '{source}' could be read; the first: {unreadable[0].Reason}");
        var report = counter.Report();
        if (!machine)
        {
            string five = report.Acc5 is { } acc5 ? $", top-5 {acc5:0.0 %}" : "";
            notes.WriteLine($"{report.Images:N0} images: top-1 {report.Acc1:0.0 %}{five}, mean per-class recall {report.MeanPerClassRecall:0.0 %}");
        }
        _json.WriteJson(parsed, Result(source, "zeroshot_classification", model.Checkpoint, writer =>
        {
            writer.WriteNumber("acc1", report.Acc1);
            if (report.Acc5 is { } acc5) writer.WriteNumber("acc5", acc5);
            else writer.WriteNull("acc5");
            writer.WriteNumber("mean_per_class_recall", report.MeanPerClassRecall);
            writer.WriteNumber("num_samples", report.Images);
        }));
    }

    private static void WriteSkipped(TextWriter notes, IEnumerable<string> reasons)
    {
        int skipped = 0;
        foreach (string reason in reasons)
        {
            notes.WriteLine($"Skipped: {reason}");
            skipped++;
        }
        if (skipped > 0) notes.WriteLine($"{skipped:N0} images skipped; make that an error with --strict.");
    }

    /// <summary>CLIP_benchmark's form of a result; its metrics hold open_clip's too.</summary>
    private static Action<Utf8JsonWriter> Result(string dataset, string task, string checkpoint, Action<Utf8JsonWriter> metrics) => writer =>
    {
        writer.WriteString("dataset", dataset);
        writer.WriteString("model", checkpoint);
        writer.WriteString("task", task);
        writer.WriteStartObject("metrics");
        metrics(writer);
        writer.WriteEndObject();
    };
}
