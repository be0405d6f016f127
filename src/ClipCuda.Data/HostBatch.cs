namespace ClipCuda.Data;

/// <summary>
/// Where an image lies in <see cref="HostBatch.Rgb"/> (rows of three bytes a pixel, no padding) and which rectangle of it is to be used: drawn in
/// training, the whole image in evaluation; and how its pixels are to be changed.
/// </summary>
public readonly record struct ImageSlot(long Offset, int Width, int Height, int CropX, int CropY, int CropWidth, int CropHeight, PixelDraw Pixels = default);

/// <summary>
/// A batch in host memory. Dispose gives its memory back to the loader for a later batch, so nothing of it may be used afterwards; a batch that
/// is not disposed of costs an allocation, no more.
/// </summary>
public sealed class HostBatch : IDisposable
{
    private readonly Action<HostBatch> _giveBack;
    private readonly int _contextLength;
    private readonly ImageSlot[] _images;
    private readonly int[] _tokens, _samples, _rows;
    private byte[] _rgb = [];
    private int _rgbLength;
    private bool _inUse;

    internal HostBatch(int capacity, int contextLength, Action<HostBatch> giveBack)
    {
        _giveBack = giveBack;
        _contextLength = contextLength;
        _images = new ImageSlot[capacity];
        _tokens = new int[capacity * contextLength];
        _samples = new int[capacity];
        _rows = new int[capacity];
        Reserve = ReserveBytes;
    }

    /// <summary>The number of samples: the batch size, or less in evaluation.</summary>
    public int Count { get; private set; }

    /// <summary>The pixels of all images, one behind the other.</summary>
    public ReadOnlySpan<byte> Rgb => _rgb.AsSpan(0, _rgbLength);

    public ReadOnlySpan<ImageSlot> Images => _images.AsSpan(0, Count);

    /// <summary>Count · context ids: start, caption, end, zeros.</summary>
    public ReadOnlySpan<int> Tokens => _tokens.AsSpan(0, Count * _contextLength);

    /// <summary>For each sample its image: an index into <see cref="PairDataset.Samples"/>, or a number that the source gives it and that stays the same.</summary>
    public ReadOnlySpan<int> SampleIndices => _samples.AsSpan(0, Count);

    /// <summary>For each sample its pair of image and caption: an index into <see cref="PairDataset.Rows"/>; of other sources, its position in the epoch.</summary>
    public ReadOnlySpan<int> RowIndices => _rows.AsSpan(0, Count);

    /// <summary>What is drawn for its samples; it is begun anew for each.</summary>
    internal Philox Random { get; } = new(0, default);

    /// <summary>Gives room for the next image's pixels; they count from <see cref="Add"/> on.</summary>
    internal RgbMemory Reserve { get; }

    public void Dispose()
    {
        if (!_inUse) return;
        _inUse = false;
        _giveBack(this);
    }

    internal void Begin()
    {
        Count = 0;
        _rgbLength = 0;
        _inUse = true;
    }

    /// <summary>Adds the sample whose pixels are in the memory reserved last.</summary>
    internal void Add(int width, int height, (int X, int Y, int Width, int Height) crop, ReadOnlySpan<int> tokens, int sample, int row, PixelDraw pixels = default)
    {
        _images[Count] = new ImageSlot(_rgbLength, width, height, crop.X, crop.Y, crop.Width, crop.Height, pixels);
        var ids = _tokens.AsSpan(Count * _contextLength, _contextLength);
        tokens.CopyTo(ids);
        ids[tokens.Length..].Clear();
        _samples[Count] = sample;
        _rows[Count] = row;
        _rgbLength += width * height * 3;
        Count++;
    }

    private Span<byte> ReserveBytes(int bytes)
    {
        long needed = (long)_rgbLength + bytes;
        if (needed > Array.MaxLength)
            throw new ArgumentException($"The images of one batch of {_images.Length} take more than 2 GiB; use a smaller batch size or smaller images.");
        if (needed > _rgb.Length) Array.Resize(ref _rgb, (int)Math.Min(Array.MaxLength, Math.Max(needed, _rgb.Length * 3L / 2)));
        return _rgb.AsSpan(_rgbLength, bytes);
    }
}
