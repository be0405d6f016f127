using System.Buffers.Binary;
using System.Runtime.Intrinsics;
using SkiaSharp;

namespace ClipCuda.Data;

/// <summary>A decoded image: rows from the top, three bytes a pixel (red, green, blue), no padding.</summary>
public sealed record RgbImage(byte[] Pixels, int Width, int Height);

/// <summary>
/// Reads image files into the bytes that Pillow's <c>convert("RGB")</c> gives: alpha is dropped (not blended), the EXIF orientation and
/// colour profiles are ignored, an animation is its first frame. Skia's codecs decode to unpremultiplied RGBA, which keeps the colour of
/// transparent pixels; PNG, JPEG, WebP, GIF and BMP are read. Two things differ from Pillow: a transparent pixel of a GIF is black, where Pillow
/// shows its palette colour, and grey of 16 bits keeps its upper byte, where Pillow clips at 255.
/// </summary>
public static class ImageDecoder
{
    /// <summary>More pixels than this are refused before they are decoded: the limit at which Pillow suspects a decompression bomb.</summary>
    public const long MaxPixels = 178_956_970;

    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    /// <exception cref="InvalidDataException">It is not an image of a known format, is damaged, cut short or too large.</exception>
    public static RgbImage Decode(string path) => Decode(ImagePlace.OfFile(path));

    /// <inheritdoc cref="Decode(string)"/>
    public static RgbImage Decode(ImagePlace image)
    {
        byte[] pixels = [];
        var (width, height) = Decode(image, new DecoderBuffers(), bytes => pixels = new byte[bytes]);
        return new RgbImage(pixels, width, height);
    }

    /// <summary>Decodes into memory that the caller provides once the number of bytes is known (width · height · 3).</summary>
    internal static (int Width, int Height) Decode(ImagePlace image, DecoderBuffers buffers, RgbMemory memory) => Decode(buffers.Read(image), image.Name, buffers, memory);

    /// <summary>Decodes the bytes of an image file.</summary>
    /// <param name="path">What an error calls the image.</param>
    internal static (int Width, int Height) Decode(ReadOnlySpan<byte> file, string path, DecoderBuffers buffers, RgbMemory memory)
    {
        if (file.IsEmpty) throw new InvalidDataException($"Image '{path}' is empty (0 bytes); replace the file or remove its rows.");
        unsafe
        {
            fixed (byte* start = file)
            {
                using var data = SKData.Create((nint)start, file.Length);
                using var codec = SKCodec.Create(data)
                    ?? throw new InvalidDataException($"'{path}' is not an image that can be read (PNG, JPEG, WebP, GIF or BMP).");
                var (width, height) = (codec.Info.Width, codec.Info.Height);
                long pixels = (long)width * height;
                if (pixels > MaxPixels)
                    throw new InvalidDataException($"Image '{path}' is {width} x {height} pixels, more than the limit of {MaxPixels:N0}; make it smaller.");
                Span<byte> rgba = buffers.Rgba((int)pixels * 4), rgb = memory((int)pixels * 3);
                fixed (byte* decoded = rgba)
                {
                    var result = codec.GetPixels(new SKImageInfo(width, height, SKColorType.Rgba8888, SKAlphaType.Unpremul), (nint)decoded);
                    if (result == SKCodecResult.IncompleteInput || codec.EncodedFormat == SKEncodedImageFormat.Jpeg && IsCutProgressiveJpeg(file))
                        throw new InvalidDataException($"Image '{path}' is cut short: its data end before its last pixel; replace the file.");
                    if (result != SKCodecResult.Success)
                        throw new InvalidDataException($"Image '{path}' is damaged and cannot be decoded ({result}); replace the file.");
                }
                DropAlpha(rgba, rgb);
                return (width, height);
            }
        }
    }

    /// <summary>
    /// Whether a progressive JPEG ends without its end marker. Its first scans already cover the whole picture, coarsely, so the codec calls a
    /// file that lost the later ones a success.
    /// </summary>
    private static bool IsCutProgressiveJpeg(ReadOnlySpan<byte> file)
    {
        const byte Stuffing = 0x00, Temporary = 0x01, ProgressiveFrame = 0xC2, FirstRestart = 0xD0, Start = 0xD8, End = 0xD9, Scan = 0xDA;
        bool progressive = false;
        for (int at = 0; ;)
        {
            int skipped = at < file.Length ? file[at..].IndexOf((byte)0xFF) : -1; // over a scan's data to the next marker
            at += skipped;
            if (skipped < 0 || at + 1 >= file.Length) return progressive;
            byte marker = file[at + 1];
            if (marker == End || marker == Scan && !progressive) return false;
            progressive |= marker == ProgressiveFrame;
            if (marker == 0xFF) at += 1; // padding before a marker
            else if (marker is Stuffing or Temporary or >= FirstRestart and <= Start) at += 2;
            else at += at + 3 < file.Length ? 2 + BinaryPrimitives.ReadUInt16BigEndian(file[(at + 2)..]) : file.Length - at;
        }
    }

    private static void DropAlpha(ReadOnlySpan<byte> rgba, Span<byte> rgb)
    {
        int from = 0, to = 0;
        // Four pixels at a time; of the 16 bytes written, the next four pixels overwrite the last 4.
        var colours = Vector128.Create((byte)0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 0, 0, 0, 0);
        for (; to + Vector128<byte>.Count <= rgb.Length; from += 16, to += 12) Vector128.Shuffle(Vector128.Create(rgba[from..]), colours).CopyTo(rgb[to..]);
        for (; from < rgba.Length; from += 4, to += 3)
        {
            var pixel = rgba.Slice(from, 4);
            var target = rgb.Slice(to, 3);
            target[2] = pixel[2];
            target[1] = pixel[1];
            target[0] = pixel[0];
        }
    }
}

/// <summary>Gives memory for that many bytes.</summary>
internal delegate Span<byte> RgbMemory(int bytes);

/// <summary>The file's bytes and the RGBA pixels of one decoding thread, kept from image to image.</summary>
internal sealed class DecoderBuffers
{
    private byte[] _file = [], _rgba = [];

    public Span<byte> Rgba(int bytes)
    {
        if (_rgba.Length < bytes) _rgba = GC.AllocateUninitializedArray<byte>(bytes);
        return _rgba.AsSpan(0, bytes);
    }

    /// <summary>The bytes of an image file, until the next is read.</summary>
    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    /// <exception cref="InvalidDataException">It is too large, became shorter, or is a link out of the folder that it must lie in.</exception>
    public ReadOnlySpan<byte> Read(ImagePlace image)
    {
        if (!File.Exists(image.File)) throw new FileNotFoundException($"Image '{image.Name}' does not exist.", image.File);
        image.Within?.RequireInside(image.File);
        using var file = File.OpenHandle(image.File, options: FileOptions.SequentialScan);
        long length = image.Length ?? RandomAccess.GetLength(file);
        if (length > Array.MaxLength) throw new InvalidDataException($"'{image.Name}' is {length:N0} bytes, too large for an image.");
        if (_file.Length < length) _file = GC.AllocateUninitializedArray<byte>((int)length);
        var bytes = _file.AsSpan(0, (int)length);
        for (int read = 0; read < bytes.Length;)
        {
            int count = RandomAccess.Read(file, bytes[read..], image.Offset + read);
            if (count == 0) throw new InvalidDataException($"'{image.File}' became shorter while it was read.");
            read += count;
        }
        return bytes;
    }
}
