using System.Collections;

namespace ClipCuda.Data;

/// <summary>One image of a data set, with where its captions are in <see cref="PairDataset.Rows"/>.</summary>
/// <param name="Rows">Indices into <see cref="PairDataset.Rows"/>, at least one.</param>
public sealed record ImageSample(ImagePlace Image, IReadOnlyList<int> Rows)
{
    /// <summary>The full path of the image file, or shard and entry.</summary>
    public string Path => Image.Name;
}

/// <summary>One (image, caption) pair.</summary>
/// <param name="Sample">Index into <see cref="PairDataset.Samples"/>.</param>
/// <param name="Line">The line of the CSV file on which the row starts, the header's being 1; of a shard the number of the image's entry, the first being 1.</param>
public sealed record CaptionRow(int Sample, string Caption, int Line);

/// <summary>Images with their captions that can be read in any order: of a <see cref="CsvDataset">CSV file</see> or of <see cref="ShardDataset">tar shards</see>.</summary>
public abstract class PairDataset
{
    /// <summary>Of how many images and captions everything is checked before anything is done.</summary>
    public const int LookedAtFirst = 10_000;

    private protected PairDataset(string path, int images, int rows)
    {
        Path = path;
        Samples = new View<ImageSample>(images, sample => new ImageSample(ImageOf(sample), RowsOf(sample)));
        Rows = new View<CaptionRow>(rows, row => new CaptionRow(SampleOf(row), CaptionOf(row), LineOf(row)));
    }

    /// <summary>The CSV file or the shards, as they were named.</summary>
    public string Path { get; }

    /// <summary>The images, in the order of the data; made when they are looked at.</summary>
    public IReadOnlyList<ImageSample> Samples { get; }

    /// <summary>The pairs of images and captions, in the order of the data; made when they are looked at.</summary>
    public IReadOnlyList<CaptionRow> Rows { get; }

    /// <summary>What cannot be used.</summary>
    public abstract IReadOnlyList<SkippedImage> Skipped { get; }

    /// <summary>Opens tar shards or a CSV file.</summary>
    /// <param name="type">Of these two; else the name decides (<see cref="ShardNames.IsShards"/>).</param>
    /// <inheritdoc cref="CsvDataset.Load(string, CsvOptions)" path="/exception"/>
    public static PairDataset Open(string name, CsvOptions csv, DatasetType type = DatasetType.Auto) =>
        type == DatasetType.WebDataset || type != DatasetType.Csv && ShardNames.IsShards(name) ? new ShardDataset(name, csv.Strict) : CsvDataset.Load(name, csv);

    /// <summary>Where a pair stands, for people: the file and the line, or the shard and the entry.</summary>
    public abstract string PlaceOf(int row);

    internal abstract ImagePlace ImageOf(int sample);

    internal abstract ArraySegment<int> RowsOf(int sample);

    internal abstract int SampleOf(int row);

    internal abstract int LineOf(int row);

    /// <summary>A caption as UTF-8.</summary>
    internal abstract ReadOnlySpan<byte> CaptionBytesOf(int row);

    internal string CaptionOf(int row) => System.Text.Encoding.UTF8.GetString(CaptionBytesOf(row));

    /// <summary>An image, by its first caption, as what is skipped.</summary>
    internal abstract SkippedImage Skip(int sample, string reason);

    private sealed class View<T>(int count, Func<int, T> at) : IReadOnlyList<T>
    {
        public int Count => count;

        public T this[int index] => index >= 0 && index < count ? at(index) : throw new ArgumentOutOfRangeException(nameof(index));

        public IEnumerator<T> GetEnumerator()
        {
            for (int i = 0; i < count; i++) yield return at(i);
        }

        IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
    }
}
