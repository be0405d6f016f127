using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Unicode;
using CsvHelper;

namespace ClipCuda.Data;

/// <summary>
/// Reads a CSV file into a <see cref="CsvDataset"/>, field by field as UTF-8 bytes, some thousand rows at a time: nearly always all of them are as
/// they should be, which one look says, and only otherwise is each looked at. While CsvHelper parses the next ones, another thread takes them into
/// the data set. So a million rows take little longer than CsvHelper alone does for them.
/// </summary>
internal sealed class CsvDatasetReader(string csvPath, string imageRoot, CsvOptions options)
{
    private const int Missing = -1, BytesARow = 64;

    private readonly string _root = Path.GetFullPath(imageRoot);
    private readonly LinkGuard? _links = options.AllowOutside ? null : new LinkGuard(imageRoot);
    private readonly List<SkippedImage> _malformed = [], _unusable = []; // the one is the parsing thread's, the other the taking one's
    private CsvRowBatch _filling = new(), _taken = new();
    private Task _taking = Task.CompletedTask;
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
        SkippedImage[] skipped = [.. _malformed.Concat(_unusable).OrderBy(skipped => skipped.Line)];
        if (_rows.Lines.Count == 0) throw NothingToUse(skipped);
        return CsvDataset.Create(csvPath, imageRoot, _rows.Paths, [.. _rows.PathOfSample], _rows.Captions, [.. _rows.Samples], [.. _rows.Lines], skipped, _links);
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
            _filling.Add(csv.GetSpan(image).Trim(" \t"u8), csv.GetSpan(caption), (int)csv.LineNumber);
            if (_filling.IsFull) BeginTaking();
        }
        TakeAll();
    }

    /// <summary>Hands the batch over, once the one before it has been taken. Throws what was wrong with that one.</summary>
    private void BeginTaking()
    {
        _taking.GetAwaiter().GetResult();
        (_filling, _taken) = (_taken, _filling);
        _taking = Task.Run(() => Take(_taken));
    }

    private void TakeAll()
    {
        BeginTaking();
        _taking.GetAwaiter().GetResult();
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)] // a file is opened once: there is no time to become warm
    private void Take(CsvRowBatch batch)
    {
        bool plain = batch.IsPlain;
        var hashes = batch.PathHashes();
        _rows.Index.Fetch(hashes);
        for (int i = 0; i < batch.Count; i++)
        {
            ReadOnlySpan<byte> path = batch.Path(i), caption = batch.Caption(i);
            int line = batch.Line(i);
            bool isPlainPath = plain || CsvRowBatch.IsPlainPath(path);
            if (!plain && Unusable(path, caption, isPlainPath) is { } reason)
            {
                Skip(_unusable, line, Encoding.UTF8.GetString(path), reason);
                continue;
            }
            var (seen, isNew) = isPlainPath ? _rows.Index.Find(path, hashes[i]) : FindOdd(path);
            if (isNew) _rows.SampleOfPath.Add(AddImage(seen, line));
            if (_rows.SampleOfPath[seen] is var sample && sample != Missing) _rows.Add(sample, caption, line);
        }
        batch.Clear();
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
        byte[] shortest = Encoding.UTF8.GetBytes(IsInside(full) ? Path.GetRelativePath(_root, full).Replace('\\', '/') : full);
        return _rows.Index.Find(shortest, Utf8Index.Hash(shortest));
    }

    /// <summary>The new image's sample, or that it is missing.</summary>
    private int AddImage(int seen, int line)
    {
        if (seen < PairDataset.LookedAtFirst)
        {
            string path = Full(_rows.Paths[seen]);
            if (!File.Exists(path))
            {
                if (options.Strict) throw new FileNotFoundException($"CSV '{csvPath}', line {line}: image '{path}' does not exist; check the image root, or remove the row.", path);
                _unusable.Add(new SkippedImage(line, path, $"Image '{path}' does not exist."));
                _missingImages++;
                return Missing;
            }
            if (_links?.IsInside(path) == false)
            {
                Skip(_unusable, line, path, _links.Outside(path));
                return Missing;
            }
        }
        _rows.PathOfSample.Add(seen);
        return _rows.PathOfSample.Count - 1;
    }

    private void SkipMalformed(CsvMalformedRecord record)
    {
        if (options.Strict) TakeAll(); // the first line that is wrong is the one that is named
        string reason = record.Reason switch
        {
            CsvMalformedReason.UnterminatedQuote => throw new InvalidDataException($"CSV '{csvPath}', line {record.LineNumber}: a quoted field is never closed; double the quotes inside of values."),
            CsvMalformedReason.FieldCountMismatch => $"It has more or fewer fields than the header; put values with a '{Shown(options.Separator)}', quote or line break into double quotes",
            CsvMalformedReason.StrayQuote => "It has a quote inside an unquoted field; put the value into double quotes, and double the quotes inside",
            CsvMalformedReason.TextAfterClosingQuote => "It has text after the closing quote of a field; double the quotes inside of values",
            _ => $"It is malformed ({record.Reason})",
        };
        Skip(_malformed, (int)record.LineNumber, "", reason + ".");
    }

    private void Skip(List<SkippedImage> skipped, int line, string path, string reason)
    {
        if (options.Strict) throw new InvalidDataException($"CSV '{csvPath}', line {line}: {reason}");
        skipped.Add(new SkippedImage(line, path, reason));
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
        public Utf8Table Paths { get; } = new(expected);

        public Utf8Table Captions { get; } = new(expected);

        public Utf8Index Index => field ??= new(Paths, expected);

        /// <summary>Of each path of <see cref="Paths"/>, or <see cref="Missing"/>.</summary>
        public List<int> SampleOfPath { get; } = new(expected);

        public List<int> PathOfSample { get; } = new(expected);

        /// <summary>Of each row.</summary>
        public List<int> Samples { get; } = new(expected);

        /// <summary>Of each row.</summary>
        public List<int> Lines { get; } = new(expected);

        public void Add(int sample, ReadOnlySpan<byte> caption, int line)
        {
            Samples.Add(sample);
            Lines.Add(line);
            Captions.Add(caption);
        }
    }
}
