using System.Buffers.Binary;
using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Text.Json;
using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class ImageDecoderTests
{
    private static readonly string Golden = Path.Combine(AppContext.BaseDirectory, "golden");
    private static readonly float[] Mean = [0.48145466f, 0.4578275f, 0.40821073f], Deviation = [0.26862954f, 0.26130258f, 0.27577711f];

    private static IEnumerable<string> GoldenImages() => Directory.EnumerateFiles(Path.Combine(Golden, "pixels")).Select(path => Path.GetFileName(path)!).Order(StringComparer.Ordinal);

    /// <summary>A few bytes that claim 900 million pixels are refused before there is memory for them.</summary>
    [Test]
    public void An_image_of_too_many_pixels_is_refused_before_it_is_decoded()
    {
        using var folder = new TemporaryFolder();
        byte[] png = File.ReadAllBytes(folder.WriteImage("bomb.png", 1, 1));
        // The header's width and height, and its checksum: PNG specification, 11.2.2 and 5.5.
        const int Chunk = 12, Width = 16, Height = 20, Checksum = 29;
        System.Buffers.Binary.BinaryPrimitives.WriteInt32BigEndian(png.AsSpan(Width), 30_000);
        System.Buffers.Binary.BinaryPrimitives.WriteInt32BigEndian(png.AsSpan(Height), 30_000);
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(png.AsSpan(Checksum), Crc32(png.AsSpan(Chunk, Checksum - Chunk)));
        string path = folder.Write("bomb.png", png);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.That(() => ImageDecoder.Decode(path), Throws.TypeOf<InvalidDataException>().With.Message.Contains("30000 x 30000 pixels, more than the limit of 178,956,970"));
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(1 << 20));

        static uint Crc32(ReadOnlySpan<byte> data)
        {
            uint crc = uint.MaxValue;
            foreach (byte value in data)
            {
                crc ^= value;
                for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) * 0xEDB88320);
            }
            return ~crc;
        }
    }

    [Test]
    public void There_are_eighteen_golden_images() => Assert.That(GoldenImages().Count(), Is.EqualTo(18));

    /// <summary>Decoded here, resized by the plain code of <see cref="PillowBicubic"/>: every byte is what Pillow made of the file.</summary>
    [TestCaseSource(nameof(GoldenImages))]
    public void Equals_pillow_to_the_byte(string name)
    {
        var (expected, size) = ReadGolden(name);
        var image = ImageDecoder.Decode(Path.Combine(Golden, "pixels", name));
        Assert.That(image.Pixels, Has.Length.EqualTo(image.Width * image.Height * 3));
        byte[] actual = PillowBicubic.ResizeAndCrop(image.Pixels, image.Width, image.Height, size);
        Assert.That(expected, Has.Length.EqualTo(actual.Length));
        Assert.That(actual, Is.EqualTo(expected));
    }

    [Test]
    public void Only_the_native_library_of_this_machine_is_in_the_output() =>
        Assert.That(Directory.GetFiles(AppContext.BaseDirectory, "libSkiaSharp.*", SearchOption.AllDirectories), Has.Length.EqualTo(1));

    [Test]
    public void Ignores_the_exif_orientation()
    {
        var image = ImageDecoder.Decode(Path.Combine(Golden, "pixels", "exif_rotated.jpg"));
        Assert.That((image.Width, image.Height), Is.EqualTo((120, 60)));
    }

    [Test]
    public void Drops_alpha_without_blending()
    {
        using var folder = new TemporaryFolder();
        string path = folder.Write("clear.png", Png(2, 1, [200, 100, 50, 0, 10, 20, 30, 128]));
        Assert.That(ImageDecoder.Decode(path).Pixels, Is.EqualTo(new byte[] { 200, 100, 50, 10, 20, 30 }));
    }

    [Test]
    public void A_missing_file_is_named()
    {
        using var folder = new TemporaryFolder();
        Assert.That(() => ImageDecoder.Decode(folder.At("none.png")), Throws.TypeOf<FileNotFoundException>().With.Message.Contains(folder.At("none.png")));
    }

    [TestCase("", "is empty")]
    [TestCase("this is text", "is not an image")]
    public void What_is_no_image_is_named(string content, string reason)
    {
        using var folder = new TemporaryFolder();
        string path = folder.Write("text.png", content);
        Assert.That(() => ImageDecoder.Decode(path), ThrowsInvalidData(path, reason));
    }

    [TestCase("rgb.png")]
    [TestCase("jpeg.jpg")]
    [TestCase("progressive.jpg")]
    [TestCase("webp.webp")]
    [TestCase("gif.gif")]
    [TestCase("bmp.bmp")]
    public void A_file_cut_in_half_is_an_error(string name)
    {
        using var folder = new TemporaryFolder();
        byte[] whole = File.ReadAllBytes(Path.Combine(Golden, "pixels", name));
        string path = folder.Write(name, whole[..(whole.Length / 2)]);
        Assert.That(() => ImageDecoder.Decode(path), ThrowsInvalidData(path, ""));
    }

    [Test]
    public void A_png_with_a_broken_stream_is_an_error()
    {
        using var folder = new TemporaryFolder();
        byte[] bytes = File.ReadAllBytes(Path.Combine(Golden, "pixels", "rgb.png"));
        for (int i = bytes.Length / 2; i < bytes.Length / 2 + 40; i++) bytes[i] ^= 0x5A;
        string path = folder.Write("broken.png", bytes);
        Assert.That(() => ImageDecoder.Decode(path), ThrowsInvalidData(path, ""));
    }

    [Test]
    public void Refuses_an_absurd_size_before_decoding()
    {
        using var folder = new TemporaryFolder();
        byte[] bytes = Png(1, 1, [1, 2, 3, 255]);
        BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(16), 50_000);
        BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(20), 40_000);
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(29), Crc(bytes.AsSpan(12, 17)));
        string path = folder.Write("bomb.png", bytes);
        Assert.That(() => ImageDecoder.Decode(path), ThrowsInvalidData(path, "50000 x 40000"));
    }

    private static NUnit.Framework.Constraints.IResolveConstraint ThrowsInvalidData(string path, string reason) =>
        Throws.TypeOf<InvalidDataException>().With.Message.Contains(path).And.Message.Contains(reason).And.Message.Not.Contains("\n");

    /// <summary>The golden pixels before normalisation, rows of RGB; fails unless they are bytes after all.</summary>
    private static (byte[] Rgb, int Size) ReadGolden(string name)
    {
        byte[] file = File.ReadAllBytes(Path.Combine(Golden, "pixels.safetensors"));
        int headerLength = (int)BinaryPrimitives.ReadInt64LittleEndian(file);
        using var header = JsonDocument.Parse(file.AsMemory(8, headerLength));
        var entry = header.RootElement.GetProperty(name);
        Assert.That(entry.GetProperty("dtype").GetString(), Is.EqualTo("F32"));
        int[] shape = [.. entry.GetProperty("shape").EnumerateArray().Select(extent => extent.GetInt32())];
        int begin = entry.GetProperty("data_offsets")[0].GetInt32();
        int size = shape[1];
        Assert.That(shape, Is.EqualTo(new[] { 3, size, size }));
        var values = MemoryMarshal.Cast<byte, float>(file.AsSpan(8 + headerLength + begin, 3 * size * size * sizeof(float)));
        var rgb = new byte[3 * size * size];
        for (int channel = 0; channel < 3; channel++)
        {
            for (int i = 0; i < size * size; i++)
            {
                float value = (values[channel * size * size + i] * Deviation[channel] + Mean[channel]) * 255;
                rgb[i * 3 + channel] = (byte)MathF.Round(value);
                Assert.That(value, Is.EqualTo((float)rgb[i * 3 + channel]).Within(1e-3f));
            }
        }
        return (rgb, size);
    }

    /// <summary>An RGBA PNG by hand, so that the colour under alpha 0 is what the test says.</summary>
    private static byte[] Png(int width, int height, byte[] rgba)
    {
        using var png = new MemoryStream();
        png.Write([0x89, (byte)'P', (byte)'N', (byte)'G', 0x0D, 0x0A, 0x1A, 0x0A]);
        var header = new byte[13];
        BinaryPrimitives.WriteInt32BigEndian(header, width);
        BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(4), height);
        (header[8], header[9]) = (8, 6); // bits, colour type RGBA
        Chunk("IHDR", header);
        using var packed = new MemoryStream();
        using (var zlib = new ZLibStream(packed, CompressionLevel.Fastest, leaveOpen: true))
        {
            for (int y = 0; y < height; y++)
            {
                zlib.WriteByte(0); // no filter
                zlib.Write(rgba, y * width * 4, width * 4);
            }
        }
        Chunk("IDAT", packed.ToArray());
        Chunk("IEND", []);
        return png.ToArray();

        void Chunk(string type, byte[] data)
        {
            byte[] body = [.. type.Select(c => (byte)c), .. data];
            var number = new byte[4];
            BinaryPrimitives.WriteInt32BigEndian(number, data.Length);
            png.Write(number);
            png.Write(body);
            BinaryPrimitives.WriteUInt32BigEndian(number, Crc(body));
            png.Write(number);
        }
    }

    private static uint Crc(ReadOnlySpan<byte> bytes)
    {
        uint crc = ~0u;
        foreach (byte value in bytes)
        {
            crc ^= value;
            for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) * 0xEDB88320u);
        }
        return ~crc;
    }
}
