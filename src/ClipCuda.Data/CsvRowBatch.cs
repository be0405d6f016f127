using System.Buffers;
using System.Text.Unicode;

namespace ClipCuda.Data;

/// <summary>
/// Some thousand rows of a CSV file: their paths one behind the other, and their captions likewise. What is wrong with few rows is looked for in
/// all of them at once, which vectors do many times faster than row by row.
/// </summary>
internal sealed class CsvRowBatch
{
    private const int MostRows = 512, EnoughBytes = 1 << 18;

    /// <summary>Stands before and behind every path, so that one that is empty or begins with a slash or a dot shows as <c>//</c> or <c>/.</c>.</summary>
    private const byte Slash = (byte)'/';

    /// <summary>Stands behind every caption, so that halves of a character at the ends of two do not make one.</summary>
    private const byte LineFeed = (byte)'\n';

    private static readonly SearchValues<byte> NeverPlain = SearchValues.Create([0, (byte)'\\', (byte)':']);

    private readonly ArrayBufferWriter<byte> _paths = new(EnoughBytes), _captions = new(EnoughBytes);
    private readonly int[] _pathEnds = new int[MostRows + 1], _captionEnds = new int[MostRows + 1], _lines = new int[MostRows], _hashes = new int[MostRows];

    public CsvRowBatch() => Clear();

    public int Count { get; private set; }

    public bool IsFull => Count == MostRows || _paths.WrittenCount + _captions.WrittenCount >= EnoughBytes;

    /// <summary>Whether every path is plain (<see cref="IsPlainPath"/>), and every text UTF-8 without a NUL and short enough to be kept.</summary>
    public bool IsPlain
    {
        get
        {
            ReadOnlySpan<byte> paths = _paths.WrittenSpan, captions = _captions.WrittenSpan;
            return paths.Length + captions.Length <= Utf8Table.MostBytes
                && paths.IndexOf("//"u8) < 0 && paths.IndexOf("/."u8) < 0 && paths.IndexOfAny(NeverPlain) < 0 && Utf8.IsValid(paths)
                && !captions.Contains((byte)0) && Utf8.IsValid(captions);
        }
    }

    /// <summary>Whether a path is its own shortest form and below the root: not rooted, without <c>.</c>, <c>..</c>, empty parts or backslashes.</summary>
    public static bool IsPlainPath(ReadOnlySpan<byte> path) =>
        !path.IsEmpty && path[0] is not (Slash or (byte)'.') && path.IndexOf("/."u8) < 0 && path.IndexOf("//"u8) < 0 && path.IndexOfAny(NeverPlain) < 0;

    public void Add(ReadOnlySpan<byte> path, ReadOnlySpan<byte> caption, int line)
    {
        Append(_paths, path, Slash);
        Append(_captions, caption, LineFeed);
        _lines[Count++] = line;
        (_pathEnds[Count], _captionEnds[Count]) = (_paths.WrittenCount, _captions.WrittenCount);
    }

    public void Clear()
    {
        _paths.ResetWrittenCount();
        _captions.ResetWrittenCount();
        _paths.Write([Slash]);
        (Count, _pathEnds[0], _captionEnds[0]) = (0, 1, 0);
    }

    public ReadOnlySpan<byte> Path(int row) => _paths.WrittenSpan[_pathEnds[row]..(_pathEnds[row + 1] - 1)];

    public ReadOnlySpan<byte> Caption(int row) => _captions.WrittenSpan[_captionEnds[row]..(_captionEnds[row + 1] - 1)];

    public int Line(int row) => _lines[row];

    /// <summary>The hashes of the paths, for <see cref="Utf8Index"/>.</summary>
    public ReadOnlySpan<int> PathHashes()
    {
        for (int row = 0; row < Count; row++) _hashes[row] = Utf8Index.Hash(Path(row));
        return _hashes.AsSpan(0, Count);
    }

    private static void Append(ArrayBufferWriter<byte> texts, ReadOnlySpan<byte> text, byte end)
    {
        var room = texts.GetSpan(text.Length + 1);
        text.CopyTo(room);
        room[text.Length] = end;
        texts.Advance(text.Length + 1);
    }
}
