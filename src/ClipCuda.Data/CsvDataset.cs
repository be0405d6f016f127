using System.Text;
using CsvHelper;

namespace ClipCuda.Data;

/// <summary>One image of a data set, with where its captions are in <see cref="CsvDataset.Rows"/>.</summary>
/// <param name="Path">The full path of the image file.</param>
/// <param name="Rows">Indices into <see cref="CsvDataset.Rows"/>, at least one.</param>
public sealed record CsvSample(string Path, IReadOnlyList<int> Rows);

/// <summary>One row: an (image, caption) pair.</summary>
/// <param name="Sample">Index into <see cref="CsvDataset.Samples"/>.</param>
/// <param name="Line">The line of the CSV file on which the row starts, the header's being 1.</param>
public sealed record CsvRow(int Sample, string Caption, int Line);

/// <summary>An image that is not used; the line is that of its first row, the reason one sentence that names the file.</summary>
public sealed record SkippedImage(int Line, string Path, string Reason);

/// <summary>
/// A data set in a CSV file (RFC 4180, UTF-8) with a header and the columns <c>image_path</c> and <c>caption</c> in any order; others are
/// ignored. An image with several captions has several rows. Paths are relative to the image root, by default the folder of the CSV file.
/// Rows whose image file does not exist are left out and listed in <see cref="Skipped"/>.
/// </summary>
public sealed class CsvDataset
{
    public const string ImageColumn = "image_path", CaptionColumn = "caption";

    private CsvDataset(string path, string imageRoot, List<CsvSample> samples, List<CsvRow> rows, List<SkippedImage> skipped)
    {
        Path = path;
        ImageRoot = imageRoot;
        Samples = samples;
        Rows = rows;
        Skipped = skipped;
    }

    /// <summary>The CSV file, as it was named to <see cref="Load"/>.</summary>
    public string Path { get; }

    public string ImageRoot { get; }

    /// <summary>The distinct images that exist, in order of first appearance.</summary>
    public IReadOnlyList<CsvSample> Samples { get; }

    /// <summary>The pairs of existing images and captions, in the order of the file.</summary>
    public IReadOnlyList<CsvRow> Rows { get; }

    /// <summary>The images that do not exist.</summary>
    public IReadOnlyList<SkippedImage> Skipped { get; }

    /// <summary>Reads a data set. With <paramref name="strict"/> a missing image is an error.</summary>
    /// <param name="captionColumn">The column that is read in place of <c>caption</c>.</param>
    /// <exception cref="FileNotFoundException">The CSV file does not exist, or no image of it does, or (strict) one does not.</exception>
    /// <exception cref="DirectoryNotFoundException">The image root does not exist.</exception>
    /// <exception cref="InvalidDataException">The file is empty, lacks a column, has no rows or a malformed one; the message names the line.</exception>
    public static CsvDataset Load(string csvPath, string? imageRoot = null, bool strict = false, string captionColumn = CaptionColumn)
    {
        if (!File.Exists(csvPath)) throw new FileNotFoundException($"CSV file '{csvPath}' does not exist; check the path.", csvPath);
        imageRoot ??= System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(csvPath))!;
        if (!Directory.Exists(imageRoot)) throw new DirectoryNotFoundException($"The image root '{imageRoot}' is not a folder; check the path.");
        try
        {
            return new Reader(csvPath, imageRoot, strict, captionColumn).Read();
        }
        catch (CsvFormatException e)
        {
            throw new InvalidDataException($"CSV '{csvPath}': {e.Message.TrimEnd('.')}; put values with a comma, quote or line break into double quotes, and double the quotes inside.", e);
        }
        catch (DecoderFallbackException e)
        {
            throw new InvalidDataException($"CSV '{csvPath}' is not UTF-8 text; save it with UTF-8 encoding.", e);
        }
    }

    private sealed class Reader(string csvPath, string imageRoot, bool strict, string captionColumn)
    {
        private const int Missing = -1;

        private readonly Dictionary<string, int> _sampleOfPath = new(StringComparer.Ordinal);
        private readonly List<CsvSample> _samples = [];
        private readonly List<CsvRow> _rows = [];
        private readonly List<SkippedImage> _skipped = [];

        public CsvDataset Read()
        {
            using var text = new StreamReader(csvPath, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true));
            using var csv = CsvReader.Create(text, new CsvReaderOptions
            {
                Separator = ',',
                MalformedData = CsvMalformedDataHandling.Throw,
                FieldCountMismatch = CsvFieldCountHandling.Throw,
                TrackLineNumbers = true,
            });
            csv.ReadHeader();
            string[] headers = [.. csv.Headers.Select(name => name.Trim())];
            if (headers.Length == 0) throw new InvalidDataException($"CSV '{csvPath}' is empty; it needs a header with the columns {ImageColumn} and {captionColumn}.");
            int image = Column(headers, ImageColumn), caption = Column(headers, captionColumn);
            while (csv.Read()) Add(csv.GetString(image).Trim(), csv.GetString(caption), (int)csv.LineNumber);
            if (_rows.Count == 0 && _skipped.Count == 0) throw new InvalidDataException($"CSV '{csvPath}' has a header but no rows; add rows of {ImageColumn} and {captionColumn}.");
            if (_rows.Count == 0)
            {
                throw new FileNotFoundException(
                    $"CSV '{csvPath}': none of its {_skipped.Count} images exists under the image root '{imageRoot}' (the first is '{_skipped[0].Path}', line {_skipped[0].Line}); check the image root.");
            }
            return new CsvDataset(csvPath, imageRoot, _samples, _rows, _skipped);
        }

        private int Column(string[] headers, string name)
        {
            int index = Array.IndexOf(headers, name);
            if (index < 0) throw new InvalidDataException($"CSV '{csvPath}' has no column '{name}'; its columns are {string.Join(", ", headers)}. Rename one to '{name}'.");
            if (Array.LastIndexOf(headers, name) != index) throw new InvalidDataException($"CSV '{csvPath}' has more than one column '{name}'; rename all but one.");
            return index;
        }

        private void Add(string imagePath, string caption, int line)
        {
            if (imagePath.Length == 0) throw new InvalidDataException($"CSV '{csvPath}', line {line}: {ImageColumn} is empty; name an image or remove the row.");
            string path = System.IO.Path.GetFullPath(System.IO.Path.Combine(imageRoot, imagePath));
            if (!_sampleOfPath.TryGetValue(path, out int sample))
            {
                sample = File.Exists(path) ? _samples.Count : Missing;
                _sampleOfPath.Add(path, sample);
                if (sample == Missing) AddMissing(path, line);
                else _samples.Add(new CsvSample(path, new List<int>()));
            }
            if (sample == Missing) return;
            ((List<int>)_samples[sample].Rows).Add(_rows.Count);
            _rows.Add(new CsvRow(sample, caption, line));
        }

        private void AddMissing(string path, int line)
        {
            if (strict) throw new FileNotFoundException($"CSV '{csvPath}', line {line}: image '{path}' does not exist; check the image root, or remove the row.", path);
            _skipped.Add(new SkippedImage(line, path, $"Image '{path}' does not exist."));
        }
    }
}
