using System.Text;

namespace ClipCuda.Data;

/// <summary>How a CSV file is read.</summary>
public sealed record CsvOptions
{
    /// <summary>What paths are relative to; null for the folder of the CSV file.</summary>
    public string? ImageRoot { get; init; }

    /// <summary>The header of the column of image paths.</summary>
    public string ImageColumn { get; init; } = CsvDataset.ImageColumn;

    /// <summary>The header of the column of captions.</summary>
    public string CaptionColumn { get; init; } = CsvDataset.CaptionColumn;

    /// <summary>What stands between two fields.</summary>
    public char Separator { get; init; } = ',';

    /// <summary>Takes images that lie outside of the image root.</summary>
    public bool AllowOutside { get; init; }

    /// <summary>Makes whatever would be skipped an error.</summary>
    public bool Strict { get; init; }
}

/// <summary>
/// A data set in a CSV file (RFC 4180, UTF-8) with a header and columns of image paths and captions in any order; others are ignored. An image
/// with several captions has several rows. Paths are relative to the image root.
/// <para>
/// A row that cannot be used is left out and listed in <see cref="Skipped"/>: quotes or a number of fields that are wrong, no path, a path that
/// leaves the image root (by itself, or by a symbolic link of the file system), a caption with a NUL or that is not UTF-8, an image that does not exist. Files are looked for at once only for the first
/// <see cref="PairDataset.LookedAtFirst"/> images; another that is missing, or a link out of the root, is found when it is read.
/// </para>
/// Texts are kept as UTF-8, a few bytes a row beside them.
/// </summary>
public sealed class CsvDataset : PairDataset
{
    public const string ImageColumn = "image_path", CaptionColumn = "caption";

    /// <summary>Texts of more bytes than that are not decoded on the stack.</summary>
    internal const int MostOnStack = 512;

    private readonly Utf8Table _paths, _captions;
    private readonly string _root;
    private readonly LinkGuard? _links;
    private readonly List<int>? _pathOfSample; // null: the paths' numbers are the samples'
    private readonly List<int> _sampleOfRow, _lineOfRow;
    private readonly int[] _firstRow, _rowsBySample;

    private CsvDataset(string path, string imageRoot, Utf8Table paths, List<int>? pathOfSample, Utf8Table captions, List<int> sampleOfRow, List<int> lineOfRow, IReadOnlyList<SkippedImage> skipped, LinkGuard? links)
        : base(path, pathOfSample?.Count ?? paths.Count, sampleOfRow.Count)
    {
        (ImageRoot, Skipped, _links) = (imageRoot, skipped, links);
        _root = System.IO.Path.GetFullPath(imageRoot);
        (_paths, _pathOfSample, _captions, _sampleOfRow, _lineOfRow) = (paths, pathOfSample, captions, sampleOfRow, lineOfRow);
        // Rows sorted by sample, in the order of the file within one: a counting sort, in which the place of the next row of a sample moves from the
        // sample's first place to the next sample's.
        int[] next = new int[Samples.Count + 2];
        foreach (int sample in sampleOfRow) next[sample + 2]++;
        for (int i = 2; i < next.Length; i++) next[i] += next[i - 1];
        _rowsBySample = GC.AllocateUninitializedArray<int>(sampleOfRow.Count);
        for (int row = 0; row < sampleOfRow.Count; row++) _rowsBySample[next[sampleOfRow[row] + 1]++] = row;
        _firstRow = next;
    }

    public string ImageRoot { get; }

    /// <summary>The rows that cannot be used, and the images that do not exist, once each.</summary>
    public override IReadOnlyList<SkippedImage> Skipped { get; }

    /// <inheritdoc/>
    public override string PlaceOf(int row) => $"CSV '{Path}', line {LineOf(row)}";

    /// <summary>Reads a data set with a comma between its fields.</summary>
    /// <inheritdoc cref="Load(string, CsvOptions)"/>
    public static CsvDataset Load(string csvPath, string? imageRoot = null, bool strict = false, string captionColumn = CaptionColumn) =>
        Load(csvPath, new CsvOptions { ImageRoot = imageRoot, Strict = strict, CaptionColumn = captionColumn });

    /// <summary>Reads a data set.</summary>
    /// <exception cref="FileNotFoundException">The CSV file does not exist, or no image of it does, or (strict) one does not.</exception>
    /// <exception cref="DirectoryNotFoundException">The image root does not exist.</exception>
    /// <exception cref="InvalidDataException">The file is empty, lacks a column, has no row that can be used or a quote that is never closed; or (strict) a row that cannot be used. The message names the line.</exception>
    public static CsvDataset Load(string csvPath, CsvOptions options)
    {
        if (!File.Exists(csvPath)) throw new FileNotFoundException($"CSV file '{csvPath}' does not exist; check the path.", csvPath);
        string imageRoot = options.ImageRoot ?? System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(csvPath))!;
        if (!Directory.Exists(imageRoot)) throw new DirectoryNotFoundException($"The image root '{imageRoot}' is not a folder; check the path.");
        return new CsvDatasetReader(csvPath, imageRoot, options).Read();
    }

    internal static CsvDataset Create(string path, string imageRoot, Utf8Table paths, List<int>? pathOfSample, Utf8Table captions, List<int> sampleOfRow, List<int> lineOfRow, IReadOnlyList<SkippedImage> skipped, LinkGuard? links) =>
        new(path, imageRoot, paths, pathOfSample, captions, sampleOfRow, lineOfRow, skipped, links);

    /// <inheritdoc/>
    internal override ImagePlace ImageOf(int sample) => ImagePlace.OfFile(PathOf(sample)) with { Within = _links };

    private string PathOf(int sample)
    {
        var bytes = _paths[_pathOfSample is null ? sample : _pathOfSample[sample]];
        Span<char> path = bytes.Length <= MostOnStack ? stackalloc char[bytes.Length] : new char[bytes.Length];
        path = path[..Encoding.UTF8.GetChars(bytes, path)];
        return System.IO.Path.GetFullPath(System.IO.Path.IsPathRooted(path) ? new string(path) : System.IO.Path.Join(_root, path));
    }

    /// <inheritdoc/>
    internal override ArraySegment<int> RowsOf(int sample) => new(_rowsBySample, _firstRow[sample], _firstRow[sample + 1] - _firstRow[sample]);

    /// <inheritdoc/>
    internal override int SampleOf(int row) => _sampleOfRow[row];

    /// <inheritdoc/>
    internal override int LineOf(int row) => _lineOfRow[row];

    /// <inheritdoc/>
    internal override ReadOnlySpan<byte> CaptionBytesOf(int row) => _captions[row];

    /// <inheritdoc/>
    internal override SkippedImage Skip(int sample, string reason) => new(LineOf(RowsOf(sample)[0]), PathOf(sample), reason);
}
