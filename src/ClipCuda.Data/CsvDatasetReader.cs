using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Unicode;
using CsvHelper;

namespace ClipCuda.Data;

/// <summary>
/// Reads a CSV file into a <see cref="CsvDataset"/>, field by field as UTF-8 bytes, some hundred rows at a time: nearly always all of them are as
/// they should be, which one look says, and only otherwise is each looked at. One thread goes through the rows: to hand them over to a second one costs
/// what that one saves. Others make the memory that texts stay in (<see cref="Utf8Block.MakeAhead"/>) and look at the first files.
/// </summary>
internal sealed class CsvDatasetReader(string csvPath, string imageRoot, CsvOptions options)
{
    private const int BytesARow = 64;

    private readonly string _root = Path.GetFullPath(imageRoot);
    private readonly LinkGuard? _links = options.AllowOutside ? null : new LinkGuard(imageRoot);
    private readonly List<SkippedImage> _skipped = [];
    private readonly CsvRowBatch _batch = new();
    private Rows _rows = new(0);
    private int _missingImages;

    public CsvDataset Read()
    {
        try
        {
            using var csv = CsvReader.FromFile(csvPath, new CsvReaderOptions
            {
                Separator = options.Separator,
                MalformedData = CsvMalformedDataHandling.Skip,
                FieldCountMismatch = CsvFieldCountHandling.Skip,
                OnMalformedRecord = SkipMalformed,
                TrackLineNumbers = true,
            });
            ReadAll(csv);
        }
        catch (CsvFormatException e)
        {
            throw new InvalidDataException($"CSV '{csvPath}': {e.Message.TrimEnd('.')}.", e);
        }
        SkippedImage[] skipped = [.. _skipped.OrderBy(skipped => skipped.Line)];
        if (_rows.Lines.Count == 0) throw NothingToUse(skipped);
        return CsvDataset.Create(csvPath, imageRoot, _rows.Paths, _rows.PathOfSample, _rows.Captions, _rows.Samples, _rows.Lines, skipped, _links);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void ReadAll(CsvReader csv)
    {
        csv.ReadHeader();
        string[] headers = [.. csv.Headers.Select(name => name.Trim())];
        if (headers.Length == 0) throw new InvalidDataException($"CSV '{csvPath}' is empty; it needs a header with the columns {options.ImageColumn} and {options.CaptionColumn}.");
        int image = Column(headers, options.ImageColumn), caption = Column(headers, options.CaptionColumn);
        _rows = new Rows((int)Math.Min(int.MaxValue, new FileInfo(csvPath).Length / BytesARow));
        while (csv.Read())
        {
            ReadOnlySpan<byte> path = Trimmed(csv.GetSpan(image)), text = csv.GetSpan(caption);
            if (_batch.TryAdd(path, text, (int)csv.LineNumber)) continue;
            Take();
            _batch.Begin(path, text);
            _batch.TryAdd(path, text, (int)csv.LineNumber);
        }
        Take();
    }

    private static ReadOnlySpan<byte> Trimmed(ReadOnlySpan<byte> field) => field.IsEmpty || field[0] > ' ' && field[^1] > ' ' ? field : field.Trim(" \t"u8);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)] // a file is opened once: there is no time to become warm
    private void Take()
    {
        if (_batch.Count == 0) return;
        var batch = _batch;
        bool plain = batch.IsPlain;
        var hashes = _rows.Index.IsHashed ? batch.PathHashes() : [];
        _rows.Index.Fetch(hashes);
        var files = plain && _rows.Paths.Count < PairDataset.LookedAtFirst ? LookedAt(batch) : [];
        for (int i = 0; i < batch.Count; i++)
        {
            var (pathPlace, captionPlace) = (batch.Path(i), batch.Caption(i));
            ReadOnlySpan<byte> path = batch.Paths.Bytes.AsSpan(pathPlace);
            int line = batch.Line(i);
            bool isPlainPath = plain || CsvRowBatch.IsPlainPath(path);
            if (!plain && Unusable(path, batch.Captions.Bytes.AsSpan(captionPlace), isPlainPath) is { } reason)
            {
                Skip(line, Encoding.UTF8.GetString(path), reason);
                continue;
            }
            var (seen, isNew) = isPlainPath ? _rows.Index.Find(batch.Paths, pathPlace, hashes.IsEmpty ? null : hashes[i]) : FindOdd(path);
            if (isNew) _rows.AddPath(CanBeRead(seen, line, files.Length > 0 ? files[i] : null));
            if (_rows.SampleOf(seen) is var sample && sample != Rows.Missing) _rows.Add(sample, batch.Captions, captionPlace, line);
        }
    }

    private int Column(string[] headers, string name)
    {
        int index = Array.IndexOf(headers, name);
        if (index < 0)
        {
            string hint = headers.Length == 1 && headers[0].AsSpan().IndexOfAny(",;\t|") is >= 0 and var at ? $" Or say what separates the fields (--csv-separator '{(headers[0][at] == '\t' ? "\\t" : headers[0][at])}')." : "";
            throw new InvalidDataException($"CSV '{csvPath}' has no column '{name}'; its columns are {string.Join(", ", headers)}. Rename one to '{name}'.{hint}");
        }
        if (Array.LastIndexOf(headers, name) != index) throw new InvalidDataException($"CSV '{csvPath}' has more than one column '{name}'; rename all but one.");
        return index;
    }

    /// <summary>Why a row cannot be used, whatever its image; null if it can.</summary>
    private string? Unusable(ReadOnlySpan<byte> path, ReadOnlySpan<byte> caption, bool plain)
    {
        if (path.IsEmpty) return $"The field {options.ImageColumn} is empty; name an image or remove the row.";
        if (!Utf8.IsValid(path) || path.Contains((byte)0)) return $"The field {options.ImageColumn} holds a NUL or is not UTF-8; save the file with UTF-8 encoding.";
        if (path.Length > Utf8Table.MostBytes || caption.Length > Utf8Table.MostBytes) return $"A field has {Math.Max(path.Length, caption.Length):N0} bytes; shorten it to {Utf8Table.MostBytes:N0}.";
        if (!Utf8.IsValid(caption)) return "The caption is not UTF-8 (or holds half a surrogate pair); save the file with UTF-8 encoding.";
        if (caption.Contains((byte)0)) return "The caption holds a NUL; remove it.";
        if (!plain && !options.AllowOutside && !IsInside(Full(path)))
            return $"Image '{Encoding.UTF8.GetString(path)}' lies outside of the image root '{_root}'; name the folder that holds it with --img-root, or take it with --allow-outside.";
        return null;
    }

    private string Full(ReadOnlySpan<byte> path) => Path.GetFullPath(Path.Combine(_root, Encoding.UTF8.GetString(path)));

    private bool IsInside(string full) => full.StartsWith(Path.EndsInDirectorySeparator(_root) ? _root : _root + Path.DirectorySeparatorChar, StringComparison.Ordinal);

    private (int Index, bool IsNew) FindOdd(ReadOnlySpan<byte> path)
    {
        string full = Full(path);
        return _rows.Index.Find(Encoding.UTF8.GetBytes(IsInside(full) ? Path.GetRelativePath(_root, full).Replace('\\', '/') : full));
    }

    /// <summary>The files of plain rows, which keep what the system says of them, asked on all cores; none for a row of the same image as the one before.</summary>
    private FileInfo?[] LookedAt(CsvRowBatch batch)
    {
        var files = new FileInfo?[batch.Count];
        Parallel.For(0, files.Length, i =>
        {
            var path = batch.Paths.Bytes.AsSpan(batch.Path(i));
            if (i > 0 && path.SequenceEqual(batch.Paths.Bytes.AsSpan(batch.Path(i - 1)))) return;
            var file = new FileInfo(Path.Combine(_root, Encoding.UTF8.GetString(path)));
            file.Refresh();
            files[i] = file;
        });
        return files;
    }

    /// <summary>Whether a new image exists where it may, as far as that is looked at now.</summary>
    /// <param name="file">If it was looked at already.</param>
    private bool CanBeRead(int seen, int line, FileInfo? file)
    {
        if (seen >= PairDataset.LookedAtFirst) return true;
        file ??= new FileInfo(Path.Combine(_root, _rows.Paths.Text(seen)));
        string path = file.FullName;
        if (!file.Exists)
        {
            if (options.Strict) throw new FileNotFoundException($"CSV '{csvPath}', line {line}: image '{path}' does not exist; check the image root, or remove the row.", path);
            _skipped.Add(new SkippedImage(line, path, $"Image '{path}' does not exist."));
            _missingImages++;
            return false;
        }
        if (_links?.IsInside(path, isLink: file.Attributes.HasFlag(FileAttributes.ReparsePoint)) != false) return true;
        Skip(line, path, _links.Outside(path));
        return false;
    }

    private void SkipMalformed(CsvMalformedRecord record)
    {
        if (options.Strict) Take(); // the first line that is wrong is the one that is named
        string reason = record.Reason switch
        {
            CsvMalformedReason.UnterminatedQuote => throw new InvalidDataException($"CSV '{csvPath}', line {record.LineNumber}: a quoted field is never closed; double the quotes inside of values."),
            CsvMalformedReason.FieldCountMismatch => $"It has more or fewer fields than the header; put values with a '{Shown(options.Separator)}', quote or line break into double quotes",
            CsvMalformedReason.StrayQuote => "It has a quote inside an unquoted field; put the value into double quotes, and double the quotes inside",
            CsvMalformedReason.TextAfterClosingQuote => "It has text after the closing quote of a field; double the quotes inside of values",
            _ => $"It is malformed ({record.Reason})",
        };
        Skip((int)record.LineNumber, "", reason + ".");
    }

    private void Skip(int line, string path, string reason)
    {
        if (options.Strict) throw new InvalidDataException($"CSV '{csvPath}', line {line}: {reason}");
        _skipped.Add(new SkippedImage(line, path, reason));
    }

    private Exception NothingToUse(SkippedImage[] skipped)
    {
        if (skipped.Length == 0) return new InvalidDataException($"CSV '{csvPath}' has a header but no rows; add rows of {options.ImageColumn} and {options.CaptionColumn}.");
        var first = skipped[0];
        return _missingImages == skipped.Length
            ? new FileNotFoundException($"CSV '{csvPath}': none of its {_missingImages} images exists under the image root '{imageRoot}' (the first is '{first.Path}', line {first.Line}); check the image root.")
            : new InvalidDataException($"CSV '{csvPath}': none of its {skipped.Length:N0} rows can be used; the first, line {first.Line}: {first.Reason}");
    }

    private static string Shown(char separator) => separator == '\t' ? "tab" : separator.ToString();

    /// <summary>The rows that can be used.</summary>
    /// <param name="expected">About how many there will be.</param>
    private sealed class Rows(int expected)
    {
        public const int Missing = -1;

        private List<int>? _sampleOfPath; // null: each path is the sample with its number

        public Utf8Table Paths { get; } = new(expected);

        public Utf8Table Captions { get; } = new(expected);

        public Utf8Index Index => field ??= new(Paths, expected);

        /// <summary>Of each sample its path of <see cref="Paths"/>; null: the one with the same number, because no image is missing.</summary>
        public List<int>? PathOfSample { get; private set; }

        /// <summary>Of each row.</summary>
        public List<int> Samples { get; } = new(expected);

        /// <summary>Of each row.</summary>
        public List<int> Lines { get; } = new(expected);

        /// <summary>The sample of a path, or <see cref="Missing"/>.</summary>
        public int SampleOf(int path) => _sampleOfPath is null ? path : _sampleOfPath[path];

        /// <summary>Makes the path that came last a sample, unless its image cannot be read.</summary>
        public void AddPath(bool canBeRead)
        {
            if (_sampleOfPath is null || PathOfSample is null)
            {
                if (canBeRead) return;
                _sampleOfPath = [.. Enumerable.Range(0, Paths.Count - 1)];
                PathOfSample = [.. _sampleOfPath];
            }
            _sampleOfPath.Add(canBeRead ? PathOfSample.Count : Missing);
            if (canBeRead) PathOfSample.Add(Paths.Count - 1);
        }

        public void Add(int sample, Utf8Block block, Range caption, int line)
        {
            Samples.Add(sample);
            Lines.Add(line);
            Captions.Add(block, caption);
        }
    }
}
