using System.CommandLine;
using ClipCuda.Data;
using ClipCuda.Model;

namespace ClipCuda.Cli;

/// <summary>
/// <c>pack</c>: writes the images and captions of a CSV file into tar shards in WebDataset's layout (<c>00000.tar</c>, <c>00001.tar</c>, …), in the
/// order of the file. A shard is written under another name until it is whole.
/// </summary>
internal sealed class PackCommand
{
    private const int DefaultCount = 10_000, DigitsOfShard = 5, DigitsOfSample = 9;
    private const long MegaByte = 1_000_000, DefaultSize = 1_000;

    private readonly Option<string> _csv = new("--csv") { Description = "what is packed: a CSV file with the columns image_path and caption", HelpName = "file", Required = true };
    private readonly Option<string?> _imgRoot = new("--img-root") { Description = "what image paths are relative to (default: the folder of the CSV file)", HelpName = "folder" };
    private readonly Option<string> _output = new("--output") { Description = "the folder for the shards; it is made if need be, and must hold no shards", HelpName = "folder", Required = true };
    private readonly Option<int?> _maxCount = NumberOption.Whole("--max-count", $"images a shard at most (default: {DefaultCount})", least: 1);
    private readonly Option<int?> _maxSize = NumberOption.Whole("--max-size", $"megabytes a shard at most, if it has more than one image (default: {DefaultSize})", least: 1);
    private readonly Option<bool> _allowOutside = new("--allow-outside") { Description = "take images that the CSV file names outside of the image root" };
    private readonly Option<bool> _strict = new("--strict") { Description = "make whatever would be skipped an error" };

    private PackCommand() { }

    public static Command Create()
    {
        var pack = new PackCommand();
        var command = new Command("pack", "Write a CSV file's images and captions into tar shards (WebDataset), which disks read faster than single files.")
        {
            pack._csv, pack._imgRoot, pack._output, pack._maxCount, pack._maxSize, pack._allowOutside, pack._strict,
        };
        command.SetAction(pack.Run);
        return command;
    }

    private int Run(ParseResult parsed)
    {
        string folder = parsed.GetValue(_output)!;
        bool strict = parsed.GetValue(_strict);
        var notes = parsed.InvocationConfiguration.Output;
        var data = CsvDataset.Load(parsed.GetValue(_csv)!, new CsvOptions { ImageRoot = parsed.GetValue(_imgRoot), AllowOutside = parsed.GetValue(_allowOutside), Strict = strict });
        if (Directory.Exists(folder) && Directory.EnumerateFiles(folder, "*.tar").Any()) throw new IOException($"The folder '{folder}' holds shards already; choose another (--output) or remove them.");
        Directory.CreateDirectory(folder);
        var skipped = new List<string>(data.Skipped.Select(image => $"{image.Place}: {image.Reason}"));
        var progress = new ProgressLines(notes, data.Samples.Count, "packed");
        int next = 0, packed = 0, shards = 0;
        progress.Report(0);
        while (next < data.Samples.Count)
        {
            AtomicFile.Write(Path.Combine(folder, $"{shards.ToString($"D{DigitsOfShard}")}.tar"), stream =>
            {
                using var shard = new ShardWriter(stream);
                int count = 0;
                while (next < data.Samples.Count && count < (parsed.GetValue(_maxCount) ?? DefaultCount) && (count == 0 || shard.Bytes < (parsed.GetValue(_maxSize) ?? DefaultSize) * MegaByte))
                {
                    var sample = data.Samples[next++];
                    var rows = sample.Rows.Select(row => data.Rows[row]).ToList();
                    if (Problem(sample.Path) is { } problem)
                    {
                        if (strict) throw new InvalidDataException($"CSV '{data.Path}', line {rows[0].Line}: {problem}");
                        skipped.Add($"line {rows[0].Line}: {problem}");
                        continue;
                    }
                    shard.Add(packed.ToString($"D{DigitsOfSample}"), sample.Path, [.. rows.Select(row => row.Caption)]);
                    count++;
                    packed++;
                    progress.Report(next);
                }
            });
            shards++;
        }
        foreach (string line in skipped) notes.WriteLine($"Skipped, {line}");
        string names = shards == 1 ? $"{0.ToString($"D{DigitsOfShard}")}.tar" : $"{{{0.ToString($"D{DigitsOfShard}")}..{(shards - 1).ToString($"D{DigitsOfShard}")}}}.tar";
        notes.WriteLine($"{packed:N0} images packed into {shards:N0} shard{(shards == 1 ? "" : "s")}, {skipped.Count:N0} skipped.");
        notes.WriteLine($"Train on them: clipcuda train --train-data '{Path.Combine(folder, names)}'");
        return 0;
    }

    /// <summary>Why a file cannot be packed, null if it can. Whether it is a whole image shows when it is decoded.</summary>
    private static string? Problem(string path)
    {
        if (!File.Exists(path)) return $"Image '{path}' does not exist.";
        return ImageFiles.Extensions.Contains(Path.GetExtension(path).ToLowerInvariant()) ? null : $"Image '{path}' has none of the endings {string.Join(", ", ImageFiles.Extensions)}, by which shards tell images.";
    }
}
