using System.Buffers;
using System.Runtime.CompilerServices;
using System.Text.Unicode;

namespace ClipCuda.Data;

/// <summary>
/// Some hundred rows of a CSV file: their paths one behind the other, and their captions likewise. What is wrong with few rows is looked for in
/// all of them at once, which vectors do many times faster than row by row. The texts are written where they stay (<see cref="Utf8Block"/>).
/// </summary>
internal sealed class CsvRowBatch
{
    private const int MostRows = 512;

    /// <summary>Stands before and behind every path, so that one that is empty or begins with a slash or a dot shows as <c>//</c> or <c>/.</c>.</summary>
    private const byte Slash = (byte)'/';

    /// <summary>Stands behind every caption, so that halves of a character at the ends of two do not make one.</summary>
    private const byte LineFeed = (byte)'\n';

    private static readonly SearchValues<byte> NeverPlain = SearchValues.Create([0, (byte)'\\', (byte)':']);

    private readonly int[] _pathEnds = new int[MostRows + 1], _captionEnds = new int[MostRows + 1], _lines = new int[MostRows], _hashes = new int[MostRows];
    private Task<Utf8Block>? _nextPaths, _nextCaptions;
    private int _longest;

    public int Count { get; private set; }

    /// <summary>The memory that the paths, or the captions, of these rows and of those before lie in.</summary>
    public Utf8Block Paths { get; private set; } = new(0);

    /// <inheritdoc cref="Paths"/>
    public Utf8Block Captions { get; private set; } = new(0);

    /// <summary>Whether every path is plain (<see cref="IsPlainPath"/>), and every text UTF-8 without a NUL and short enough to be kept.</summary>
    public bool IsPlain
    {
        get
        {
            ReadOnlySpan<byte> paths = Paths.Bytes.AsSpan((_pathEnds[0] - 1).._pathEnds[Count]), captions = Captions.Bytes.AsSpan(_captionEnds[0].._captionEnds[Count]);
            return _longest <= Utf8Table.MostBytes
                && paths.IndexOf("//"u8) < 0 && paths.IndexOf("/."u8) < 0 && paths.IndexOfAny(NeverPlain) < 0 && Utf8.IsValid(paths)
                && !captions.Contains((byte)0) && Utf8.IsValid(captions);
        }
    }

    /// <summary>Whether a path is its own shortest form and below the root: not rooted, without <c>.</c>, <c>..</c>, empty parts or backslashes.</summary>
    public static bool IsPlainPath(ReadOnlySpan<byte> path) =>
        !path.IsEmpty && path[0] is not (Slash or (byte)'.') && path.IndexOf("/."u8) < 0 && path.IndexOf("//"u8) < 0 && path.IndexOfAny(NeverPlain) < 0;

    /// <summary>Forgets the rows and goes on behind them, in their memory as long as there is room for a row in it.</summary>
    public void Begin(ReadOnlySpan<byte> path, ReadOnlySpan<byte> caption)
    {
        if (!Paths.HasRoom(path.Length + 1)) Paths = Next(ref _nextPaths, Paths, path.Length + 2);
        if (!Captions.HasRoom(caption.Length + 1)) Captions = Next(ref _nextCaptions, Captions, caption.Length + 1);
        if (Paths.Used == 0) Paths.Append([], Slash);
        (Count, _longest, _pathEnds[0], _captionEnds[0]) = (0, 0, Paths.Used, Captions.Used);
    }

    private static Utf8Block Next(ref Task<Utf8Block>? ahead, Utf8Block before, int least)
    {
        if (before.Used == 0 || least > Utf8Block.CommonBytes) return new Utf8Block(least);
        var block = ahead?.GetAwaiter().GetResult() ?? new Utf8Block(least);
        ahead = Utf8Block.MakeAhead();
        return block;
    }

    /// <summary>Adds a row, or returns false if there is no room for it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)] // a file is opened once: there is no time to become warm
    public bool TryAdd(ReadOnlySpan<byte> path, ReadOnlySpan<byte> caption, int line)
    {
        if (Count == MostRows || !Paths.HasRoom(path.Length + 1) || !Captions.HasRoom(caption.Length + 1)) return false;
        Paths.Append(path, Slash);
        Captions.Append(caption, LineFeed);
        _longest = Math.Max(_longest, Math.Max(path.Length, caption.Length));
        _lines[Count++] = line;
        (_pathEnds[Count], _captionEnds[Count]) = (Paths.Used, Captions.Used);
        return true;
    }

    /// <summary>Where a row's path lies in <see cref="Paths"/>.</summary>
    public Range Path(int row) => _pathEnds[row]..(_pathEnds[row + 1] - 1);

    /// <summary>Where a row's caption lies in <see cref="Captions"/>.</summary>
    public Range Caption(int row) => _captionEnds[row]..(_captionEnds[row + 1] - 1);

    public int Line(int row) => _lines[row];

    /// <summary>The hashes of the paths, for <see cref="Utf8Index"/>.</summary>
    public ReadOnlySpan<int> PathHashes()
    {
        for (int row = 0; row < Count; row++) _hashes[row] = Utf8Index.Hash(Paths.Bytes.AsSpan(Path(row)));
        return _hashes.AsSpan(0, Count);
    }
}
