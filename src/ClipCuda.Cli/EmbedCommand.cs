using System.CommandLine;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using ClipCuda.Data;
using ClipCuda.Training;

namespace ClipCuda.Cli;

/// <summary><c>embed</c>: writes the embeddings of images or captions to a file; run again after a stop, it goes on where it was.</summary>
internal sealed class EmbedCommand
{
    private readonly Option<string?> _imageDir = new("--image-dir") { Description = "embed the images of a folder and of those below it", HelpName = "folder" };
    private readonly Option<string?> _csv = new("--csv") { Description = "embed the images of a CSV file's column image_path, each once", HelpName = "file" };
    private readonly Option<string?> _imgRoot = new("--img-root") { Description = "what image paths are relative to (default: the folder of the CSV file)", HelpName = "folder" };
    private readonly Option<bool> _captions = new("--captions") { Description = "embed the captions of the CSV file's images, row by row, in place of the images" };
    private readonly Option<string?> _captionsFile = new("--captions-file") { Description = "embed captions, a line each", HelpName = "file" };
    private readonly Option<string> _output = new("--output", "-o")
    {
        Description = "where the embeddings go: NAME.safetensors (tensor image_embeds or text_embeds) or NAME.npy, float32, a row each of length 1; NAME.….jsonl beside it says of what each row is",
        HelpName = "file",
        Required = true,
    };
    private readonly EmbedderFlags _model = new();

    private EmbedCommand() { }

    public static Command Create()
    {
        var embed = new EmbedCommand();
        var command = new Command("embed", "Write the embeddings of images or captions to a file; after a stop, the same command goes on where it was.")
        {
            embed._imageDir, embed._csv, embed._imgRoot, embed._captions, embed._captionsFile, embed._output,
        };
        embed._model.AddTo(command);
        command.Validators.Add(result =>
        {
            int sources = new Option[] { embed._imageDir, embed._csv, embed._captionsFile }.Count(option => result.GetResult(option) is not null);
            if (sources != 1) result.AddError("Say what to embed, with one of --image-dir, --csv and --captions-file.");
            if (result.GetResult(embed._captions) is not null && result.GetResult(embed._csv) is null) result.AddError("--captions takes the captions of a CSV file; give the file with --csv.");
        });
        command.SetAction(embed.Run);
        return command;
    }

    private int Run(ParseResult parsed)
    {
        var notes = parsed.InvocationConfiguration.Output;
        string output = parsed.GetValue(_output)!;
        EmbeddingFile.CheckName(output);
        using var model = _model.Open(parsed, notes);
        var (items, images, missing) = Items(parsed, model.Strict);
        bool areCaptions = images is null;
        foreach (var image in missing) notes.WriteLine($"Skipped: {image.Reason}");
        using var stop = new StopSignals(() => notes.WriteLine("Stopping after this batch; once more stops at once."));
        using var file = new EmbeddingFile(output, areCaptions ? "text_embeds" : "image_embeds", model.Embedder.Width, Fingerprint(model, items, areCaptions));
        if (file.Done > 0) notes.WriteLine($"Going on after {file.Done:N0} of {items.Count:N0}.");
        var progress = new ProgressLines(notes, items.Count, "embedded");
        progress.Report(file.Done);
        foreach (var (rows, done, skipped) in images is null ? Captions(model, items, file.Done) : Images(model, images, file.Done, notes))
        {
            file.Add(rows, done, skipped);
            progress.Report(done);
            if (!stop.Token.IsCancellationRequested || done == items.Count) continue;
            notes.WriteLine($"Stopped after {done:N0} of {items.Count:N0}; the same command goes on from there.");
            return stop.ExitCode;
        }
        if (model.Embedder.TruncatedCaptions > 0) notes.WriteLine($"{model.Embedder.TruncatedCaptions:N0} captions are too long for the context and were cut.");
        if (file.Rows == 0) throw new InvalidDataException($"None of the {items.Count} images could be read; there is nothing to write.");
        int left = file.Skipped.Count + missing.Count;
        file.Complete(items, areCaptions ? "caption" : "image_path");
        notes.WriteLine($"{file.Rows:N0} {(areCaptions ? "captions" : "images")} embedded, {left:N0} skipped: {output} [{file.Rows}, {model.Embedder.Width}], {output}.jsonl");
        return 0;
    }

    /// <summary>What is embedded, by name: images, or captions if there are no <c>Images</c>.</summary>
    private (IReadOnlyList<string> Items, ImagePlace[]? Images, IReadOnlyList<SkippedImage> Missing) Items(ParseResult parsed, bool strict)
    {
        if (parsed.GetValue(_captionsFile) is { } captions) return (TextLines.Read(captions, "captions"), null, []);
        if (parsed.GetValue(_imageDir) is { } folder) return Named([.. ImageFiles.Find(folder).Select(ImagePlace.OfFile)], []);
        var data = CsvDataset.Load(parsed.GetValue(_csv)!, parsed.GetValue(_imgRoot), strict);
        return parsed.GetValue(_captions) ? ([.. data.Rows.Select(row => row.Caption)], null, data.Skipped) : Named([.. data.Samples.Select(sample => sample.Image)], data.Skipped);

        static (IReadOnlyList<string>, ImagePlace[]?, IReadOnlyList<SkippedImage>) Named(ImagePlace[] images, IReadOnlyList<SkippedImage> missing) => ([.. images.Select(image => image.Name)], images, missing);
    }

    private static IEnumerable<(float[] Rows, int Done, int[] Skipped)> Captions(OpenedModel model, IReadOnlyList<string> items, int done)
    {
        foreach (string[] batch in items.Skip(done).Chunk(model.BatchSize))
        {
            done += batch.Length;
            yield return (model.Embedder.Captions(batch), done, []);
        }
    }

    private static IEnumerable<(float[] Rows, int Done, int[] Skipped)> Images(OpenedModel model, ImagePlace[] items, int done, TextWriter notes)
    {
        int first = done;
        var loader = model.Loader(items[first..]);
        foreach (var batch in loader.Batches())
        {
            using (batch)
            {
                int[] indices = batch.SampleIndices.ToArray();
                int[] skipped = [.. Enumerable.Range(done - first, Math.Min(model.BatchSize, items.Length - done)).Except(indices)];
                foreach (var image in loader.Unreadable.Where(image => skipped.Contains(image.Index))) notes.WriteLine($"Skipped: {image.Reason}");
                float[] rows = model.Embedder.Images(batch, i => loader.NameOf(indices[i]));
                done = Math.Min(done + model.BatchSize, items.Length);
                yield return (rows, done, [.. skipped.Select(index => first + index)]);
            }
        }
    }

    /// <summary>Equal for equal weights, configuration and items.</summary>
    private static string Fingerprint(OpenedModel model, IReadOnlyList<string> items, bool areCaptions)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes($"{model.Model.Config} {(areCaptions ? "captions" : "images")}"));
        foreach (string name in model.Model.Parameters.Names) hash.AppendData(MemoryMarshal.AsBytes<float>(model.Model.Parameters[name].ToArray()));
        foreach (string item in items)
        {
            hash.AppendData(Encoding.UTF8.GetBytes(item));
            hash.AppendData([0]);
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
