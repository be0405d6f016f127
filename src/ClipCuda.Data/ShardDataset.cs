using System.Text;

namespace ClipCuda.Data;

/// <summary>
/// The samples of tar shards (see <see cref="ShardReader"/>) in their order, to be read in any: evaluation goes through them as through the rows of a
/// CSV file. The shards' headers and texts are read at once and kept; images are read when they are used.
/// </summary>
public sealed class ShardDataset : PairDataset
{
    private readonly List<ShardSample> _samples;
    private readonly Utf8Table _captions = new();
    private readonly int[] _firstRow, _sampleOfRow, _rows;

    /// <param name="pattern">As <see cref="ShardNames"/> takes it; a shard that is named twice is read once.</param>
    /// <param name="strict">Makes whatever would be skipped an error.</param>
    /// <param name="label">Null: captions. Else what says a sample's class in their place, as <see cref="ShardReader"/> takes it.</param>
    /// <exception cref="ArgumentException">The pattern is malformed.</exception>
    /// <exception cref="FileNotFoundException">A shard does not exist.</exception>
    /// <exception cref="InvalidDataException">No sample can be used; or (strict) one cannot.</exception>
    public ShardDataset(string pattern, bool strict = false, string? label = null)
        : this(pattern, Read(pattern, strict, label)) { }

    private ShardDataset(string pattern, (List<ShardSample> Samples, List<SkippedImage> Skipped) read)
        : base(pattern, read.Samples.Count, read.Samples.Sum(sample => sample.Captions.Count))
    {
        (_samples, Skipped) = read;
        _firstRow = new int[_samples.Count + 1];
        _sampleOfRow = new int[Rows.Count];
        _rows = [.. Enumerable.Range(0, Rows.Count)];
        for (int sample = 0; sample < _samples.Count; sample++)
        {
            _firstRow[sample] = _captions.Count;
            foreach (string caption in _samples[sample].Captions)
            {
                _sampleOfRow[_captions.Count] = sample;
                _captions.Add(Encoding.UTF8.GetBytes(caption));
            }
        }
        _firstRow[^1] = _captions.Count;
    }

    /// <inheritdoc/>
    public override IReadOnlyList<SkippedImage> Skipped { get; }

    /// <inheritdoc/>
    public override string PlaceOf(int row) => _samples[SampleOf(row)].Place;

    internal override ImagePlace ImageOf(int sample) => _samples[sample].ImagePlace;

    internal override ArraySegment<int> RowsOf(int sample) => new(_rows, _firstRow[sample], _firstRow[sample + 1] - _firstRow[sample]);

    internal override int SampleOf(int row) => _sampleOfRow[row];

    internal override int LineOf(int row) => _samples[SampleOf(row)].Image.Number;

    internal override ReadOnlySpan<byte> CaptionBytesOf(int row) => _captions[row];

    internal override SkippedImage Skip(int sample, string reason) => _samples[sample].Skip(reason);

    private static (List<ShardSample> Samples, List<SkippedImage> Skipped) Read(string pattern, bool strict, string? label)
    {
        var samples = new List<ShardSample>();
        var skipped = new List<SkippedImage>();
        foreach (string path in ShardNames.Find(pattern).Distinct(StringComparer.Ordinal)) samples.AddRange(new ShardReader(path, Skip, label).Read(() => false));
        return samples.Count > 0 ? (samples, skipped) : throw new InvalidDataException($"No sample of '{pattern}' can be used" + (skipped.Count > 0 ? $"; the first, {skipped[0].Place}: {skipped[0].Reason}" : "; its shards are empty."));

        void Skip(SkippedImage what)
        {
            if (strict) throw new InvalidDataException($"{what.Place}: {what.Reason}");
            skipped.Add(what);
        }
    }
}
