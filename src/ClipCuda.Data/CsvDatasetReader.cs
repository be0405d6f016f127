using System.Text;
using System.Text.Unicode;
using CsvHelper;

namespace ClipCuda.Data;

/// <summary>
/// Reads a CSV file into a <see cref="CsvDataset"/>, field by field as UTF-8 bytes. A path that is plainly below the root (no <c>..</c>, not
/// rooted) is not looked at further, so that a million rows take little longer than CsvHelper does for them.
/// </summary>
internal sealed class CsvDatasetReader(string csvPath, string imageRoot, CsvOptions options)
{
    private const int Missing = -1, BytesARow = 64;

    private readonly string _root = Path.GetFullPath(imageRoot);
    private readonly Utf8Table _seen = new(), _captions = new();
    private readonly List<int> _sampleOfSeen = [], _seenOfSample = [], _sampleOfRow = [], _lineOfRow = [];
    private readonly List<SkippedImage> _skipped = [];
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
        if (_sampleOfRow.Count == 0) throw NothingToUse();
        return CsvDataset.Create(csvPath, imageRoot, _seen, [.. _seenOfSample], _captions, [.. _sampleOfRow], [.. _lineOfRow], [.. _skipped.OrderBy(skipped => skipped.Line)]);
    }

    private void ReadAll(CsvReader csv)
    {
        csv.ReadHeader();
        string[] headers = [.. csv.Headers.Select(name => name.Trim())];
        if (headers.Length == 0) throw new InvalidDataException($"CSV '{csvPath}' is empty; it needs a header with the columns {options.ImageColumn} and {options.CaptionColumn}.");
        int image = Column(headers, options.ImageColumn), caption = Column(headers, options.CaptionColumn);
        var index = new Utf8Index(_seen, expected: (int)Math.Min(int.MaxValue, new FileInfo(csvPath).Length / BytesARow));
        while (csv.Read())
        {
            var path = csv.GetSpan(image).Trim(" \t"u8);
            var text = csv.GetSpan(caption);
            int line = (int)csv.LineNumber;
            bool plain = IsPlain(path);
            if (Unusable(path, text, plain) is { } reason)
            {
                Skip(line, Encoding.UTF8.GetString(path), reason);
                continue;
            }
            var (seen, isNew) = plain ? index.Find(path) : FindOdd(index, path);
            if (isNew) _sampleOfSeen.Add(AddImage(seen, line));
            if (_sampleOfSeen[seen] is var sample && sample < 0) continue;
            _sampleOfRow.Add(sample);
            _lineOfRow.Add(line);
            _captions.Add(text);
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

    /// <summary>Whether a path is its own shortest form and below the root: not rooted, without <c>.</c>, <c>..</c>, empty parts or backslashes.</summary>
    private static bool IsPlain(ReadOnlySpan<byte> path) =>
        !path.IsEmpty && path[0] != '/' && path[0] != '.' && path.IndexOf("/."u8) < 0 && path.IndexOf("//"u8) < 0 && path.IndexOfAny((byte)'\\', (byte)':') < 0;

    private string Full(ReadOnlySpan<byte> path) => Path.GetFullPath(Path.Combine(_root, Encoding.UTF8.GetString(path)));

    private bool IsInside(string full) => full.StartsWith(Path.EndsInDirectorySeparator(_root) ? _root : _root + Path.DirectorySeparatorChar, StringComparison.Ordinal);

    private (int Index, bool IsNew) FindOdd(Utf8Index index, ReadOnlySpan<byte> path)
    {
        string full = Full(path);
        return index.Find(Encoding.UTF8.GetBytes(IsInside(full) ? Path.GetRelativePath(_root, full).Replace('\\', '/') : full));
    }

    /// <summary>The new image's sample, or that it is missing.</summary>
    private int AddImage(int seen, int line)
    {
        if (seen < CsvDataset.LookedAtFirst && Full(_seen[seen]) is var path && !File.Exists(path))
        {
            if (options.Strict) throw new FileNotFoundException($"CSV '{csvPath}', line {line}: image '{path}' does not exist; check the image root, or remove the row.", path);
            _skipped.Add(new SkippedImage(line, path, $"Image '{path}' does not exist."));
            _missingImages++;
            return Missing;
        }
        _seenOfSample.Add(seen);
        return _seenOfSample.Count - 1;
    }

    private void SkipMalformed(CsvMalformedRecord record)
    {
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

    private Exception NothingToUse()
    {
        if (_skipped.Count == 0) return new InvalidDataException($"CSV '{csvPath}' has a header but no rows; add rows of {options.ImageColumn} and {options.CaptionColumn}.");
        var first = _skipped[0];
        return _missingImages == _skipped.Count
            ? new FileNotFoundException($"CSV '{csvPath}': none of its {_missingImages} images exists under the image root '{imageRoot}' (the first is '{first.Path}', line {first.Line}); check the image root.")
            : new InvalidDataException($"CSV '{csvPath}': none of its {_skipped.Count:N0} rows can be used; the first, line {first.Line}: {first.Reason}");
    }

    private static string Shown(char separator) => separator == '\t' ? "tab" : separator.ToString();
}
