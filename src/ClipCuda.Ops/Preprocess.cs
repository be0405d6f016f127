using System.Runtime.InteropServices;
using ClipCuda.Devices;
using ClipCuda.Ptx;

namespace ClipCuda.Ops;

/// <summary>
/// How one image of a batch becomes a square: its tightly packed RGB bytes start at <paramref name="Offset"/>; the crop rectangle is
/// resized as if it were the whole image, and the window at (WindowX, WindowY) of the result is taken.
/// </summary>
public readonly record struct PreprocessImage(
    long Offset, int Width, int Height, int CropX, int CropY, int CropWidth, int CropHeight, int ResizedWidth, int ResizedHeight, int WindowX, int WindowY)
{
    /// <summary>Mirrors the result, left to right.</summary>
    public bool Flip { get; init; }

    /// <summary>
    /// The whole image, its shorter side resized to <paramref name="size"/>, the longer one truncated to a whole number, the centre taken
    /// (torchvision's Resize and CenterCrop; half a pixel rounds to even).
    /// </summary>
    public static PreprocessImage Centre(long offset, int width, int height, int size)
    {
        int resizedWidth = width <= height ? size : (int)((long)size * width / height);
        int resizedHeight = width <= height ? (int)((long)size * height / width) : size;
        return new(
            offset, width, height, 0, 0, width, height, resizedWidth, resizedHeight,
            (int)Math.Round((resizedWidth - size) / 2.0), (int)Math.Round((resizedHeight - size) / 2.0));
    }

    /// <summary>A rectangle of the image, resized to the square whatever its shape.</summary>
    public static PreprocessImage Crop(long offset, int width, int height, int cropX, int cropY, int cropWidth, int cropHeight, int size) =>
        new(offset, width, height, cropX, cropY, cropWidth, cropHeight, size, size, 0, 0);
}

/// <summary>
/// How an image's colours are changed before they are normalised; see <c>preprocess.cu</c>. The default is no change at all.
/// </summary>
/// <param name="Jitter">Whether the four changes are made.</param>
/// <param name="Order">Which comes first to last (0 brightness, 1 contrast, 2 saturation, 3 hue), two bits each from the lowest.</param>
/// <param name="Brightness">A factor, 1 for none; so for contrast and saturation.</param>
/// <param name="Hue">What is added to the hue, a share of the whole circle, from −0.5 to 0.5.</param>
/// <param name="Gray">Makes the image grey after that.</param>
public readonly record struct ColourChange(bool Jitter, int Order, float Brightness, float Contrast, float Saturation, float Hue, bool Gray);

/// <summary>
/// Image bytes to pixels [n, 3, size, size] on the device: Pillow's antialiased bicubic resize to the byte, window, colour changes, normalisation.
/// Buffers and taps are kept from batch to batch.
/// </summary>
public sealed class Preprocess : IDisposable
{
    /// <summary>Mean of CLIP's training images, by channel (OpenAI's clip/clip.py).</summary>
    public static ReadOnlySpan<float> ClipMean => [0.48145466f, 0.4578275f, 0.40821073f];

    /// <summary>Standard deviation of CLIP's training images, by channel.</summary>
    public static ReadOnlySpan<float> ClipDeviation => [0.26862954f, 0.26130258f, 0.27577711f];

    // Random crops of photographs meet thousands of sizes; the taps of this many are kept.
    private const int KeptAxes = 512;

    /// <summary>How one side is resized.</summary>
    /// <param name="ByColumn">The taps are laid out for the horizontal pass.</param>
    /// <param name="Flip">The outputs from last to first, which mirrors the image.</param>
    private readonly record struct Axis(int Input, int Output, int First, bool ByColumn, bool Flip);

    private readonly Device _device;
    private readonly int _size;
    private readonly DeviceBuffer _normalisation, _unchanged;
    private readonly Dictionary<Axis, (int[] Taps, int Pitch)> _axes = [];
    private readonly Dictionary<string, DeviceBuffer> _buffers = new(StringComparer.Ordinal);
    private readonly List<long> _table = [];
    private readonly List<int> _taps = [];
    private readonly Dictionary<Axis, int> _placed = [];
    private readonly List<float> _changes = [];

    public Preprocess(Device device, int size, ReadOnlySpan<float> mean, ReadOnlySpan<float> deviation)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(size);
        if (mean.Length != 3 || deviation.Length != 3) throw new ArgumentException("Mean and deviation have three channels.", nameof(mean));
        (_device, _size) = (device, size);
        _normalisation = device.Allocate(6 * sizeof(float), "normalisation");
        device.CopyToDevice(MemoryMarshal.AsBytes<float>([.. mean, .. deviation]), _normalisation.Start);
        _unchanged = device.Allocate(6 * sizeof(float), "no normalisation");
        device.CopyToDevice(MemoryMarshal.AsBytes<float>([0, 0, 0, 1, 1, 1]), _unchanged.Start);
    }

    /// <param name="rgb">The packed bytes of all images.</param>
    /// <param name="pixels">[images, 3, size, size], overwritten.</param>
    /// <param name="colours">How the colours of each image are changed; empty changes none, and is faster.</param>
    /// <exception cref="ArgumentException">An image, crop or window lies outside of what it is taken from, or there are more or fewer colour changes than images.</exception>
    public void Run(ReadOnlySpan<byte> rgb, ReadOnlySpan<PreprocessImage> images, Tensor pixels, ReadOnlySpan<ColourChange> colours = default)
    {
        Shapes.Require(pixels, nameof(pixels), images.Length, 3, _size, _size);
        if (!colours.IsEmpty && colours.Length != images.Length) throw new ArgumentException($"There are {colours.Length} colour changes for {images.Length} images.", nameof(colours));
        if (images.IsEmpty) return;
        _table.Clear();
        _taps.Clear();
        _placed.Clear();
        if (_axes.Count > KeptAxes) _axes.Clear();
        long rowBytes = 0, sourceBytes = 0;
        int mostRows = 0;
        for (int i = 0; i < images.Length; i++)
        {
            Check(images[i], rgb.Length, i);
            int rows = AddToTable(images[i], rowBytes);
            rowBytes += 3L * rows * _size;
            sourceBytes += 3L * rows * images[i].CropWidth;
            mostRows = Math.Max(mostRows, rows);
        }
        var source = Upload("image bytes", rgb);
        var table = Upload<long>("image table", CollectionsMarshal.AsSpan(_table));
        var taps = Upload<int>("resize taps", CollectionsMarshal.AsSpan(_taps));
        var between = Reserve("resized rows", rowBytes);
        _device.Kernel("preprocess_horizontal")
            .Launch(Spans(mostRows, images.Length), 128, between.Moving(rowBytes), source.Moving(sourceBytes), table, taps, _size);
        _device.Kernel("preprocess_vertical")
            .Launch(Spans(_size, images.Length), 128, pixels, between.Moving(rowBytes), table, taps, (colours.IsEmpty ? _normalisation : _unchanged).Start, _size);
        if (!colours.IsEmpty) _device.Kernel("preprocess_colours").Launch(images.Length, 256, pixels.Updated, Upload<float>("colour changes", Table(colours)), _normalisation.Start, _size);
    }

    /// <summary>The grid of a pass: four warps a block, each with 32 pixels of a row.</summary>
    private Dim3 Spans(int rows, int images) => new(Shapes.Ceiling((long)rows * Shapes.Ceiling(_size, 32), 4), images);

    public void Dispose()
    {
        _normalisation.Dispose();
        _unchanged.Dispose();
        foreach (var buffer in _buffers.Values) buffer.Dispose();
        _buffers.Clear();
    }

    /// <summary>Adds an image's row to the table the kernels read; returns how many source rows its window needs.</summary>
    private int AddToTable(PreprocessImage image, long rowBytes)
    {
        var (tapsX, countX, _) = Place(new Axis(image.CropWidth, image.ResizedWidth, image.WindowX, ByColumn: true, image.Flip));
        var (tapsY, pitchY, axisY) = Place(new Axis(image.CropHeight, image.ResizedHeight, image.WindowY, ByColumn: false, Flip: false));
        int firstRow = axisY[0], last = (_size - 1) * pitchY, rows = axisY[last] + axisY[last + 1] - firstRow;
        long start = image.Offset + 3L * ((long)(image.CropY + firstRow) * image.Width + image.CropX);
        // As a span: a list takes anything else as an object, one an image.
        _table.AddRange((ReadOnlySpan<long>)[start, 3L * image.Width, firstRow, rowBytes, rows, tapsX, countX, tapsY, pitchY]);
        return rows;
    }

    /// <summary>The rows of the table of colour changes that the kernel reads.</summary>
    private ReadOnlySpan<float> Table(ReadOnlySpan<ColourChange> colours)
    {
        _changes.Clear();
        foreach (var change in colours) _changes.AddRange((ReadOnlySpan<float>)[change.Jitter ? change.Order : -1, change.Brightness, change.Contrast, change.Saturation, change.Hue, change.Gray ? 1 : 0, 0, 0]);
        return CollectionsMarshal.AsSpan(_changes);
    }

    private (int Start, int Pitch, int[] Taps) Place(Axis axis)
    {
        if (!_axes.TryGetValue(axis, out var known)) _axes.Add(axis, known = Compute(axis));
        if (!_placed.TryGetValue(axis, out int start))
        {
            _placed.Add(axis, start = _taps.Count);
            _taps.AddRange(known.Taps);
        }
        return (start, known.Pitch, known.Taps);
    }

    private (int[] Taps, int Pitch) Compute(Axis axis)
    {
        if (!axis.ByColumn) return BicubicTaps.Compute(axis.Input, axis.Output, axis.First, _size);
        var (taps, count) = BicubicTaps.ComputeColumns(axis.Input, axis.Output, axis.First, _size);
        if (axis.Flip) foreach (int k in Enumerable.Range(0, 1 + count)) taps.AsSpan(k * _size, _size).Reverse();
        return (taps, count);
    }

    private void Check(PreprocessImage image, int bytes, int index)
    {
        bool fits = image is { Offset: >= 0, Width: > 0, Height: > 0, CropX: >= 0, CropY: >= 0, CropWidth: > 0, CropHeight: > 0, WindowX: >= 0, WindowY: >= 0 }
            && image.Offset + 3L * image.Width * image.Height <= bytes
            && (long)image.CropX + image.CropWidth <= image.Width && (long)image.CropY + image.CropHeight <= image.Height
            && (long)image.WindowX + _size <= image.ResizedWidth && (long)image.WindowY + _size <= image.ResizedHeight;
        if (!fits) throw new ArgumentException($"Image {index} of the batch, {image}, does not fit in {bytes} bytes and a window of {_size}.", nameof(image));
    }

    private DevicePointer Upload<T>(string name, ReadOnlySpan<T> values)
        where T : unmanaged
    {
        var bytes = MemoryMarshal.AsBytes(values);
        var pointer = Reserve(name, bytes.Length);
        _device.CopyToDevice(bytes, pointer);
        return pointer;
    }

    /// <summary>A buffer of at least that size, kept for the next batch.</summary>
    private DevicePointer Reserve(string name, long bytes)
    {
        if (_buffers.TryGetValue(name, out var buffer) && buffer.Bytes >= bytes) return buffer.Start;
        buffer?.Dispose();
        // A quarter more, so that batches of varying sizes soon stop allocating.
        return (_buffers[name] = _device.Allocate(bytes + bytes / 4, name)).Start;
    }
}
