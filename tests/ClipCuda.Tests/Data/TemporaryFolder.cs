using System.Formats.Tar;
using SkiaSharp;

namespace ClipCuda.Tests.Data;

/// <summary>A folder of its own for a test, gone with the test.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("clipcuda-test-").FullName;

    public void Dispose() => Directory.Delete(Path, recursive: true);

    public string At(string name) => System.IO.Path.Combine(Path, name);

    public string Write(string name, string text) => Write(name, System.Text.Encoding.UTF8.GetBytes(text));

    public string Write(string name, byte[] bytes)
    {
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(At(name))!);
        File.WriteAllBytes(At(name), bytes);
        return At(name);
    }

    /// <summary>Writes a PNG whose pixels all have one colour.</summary>
    public string WriteImage(string name, int width, int height, byte red = 1, byte green = 2, byte blue = 3)
    {
        using var bitmap = new SKBitmap(new SKImageInfo(width, height, SKColorType.Rgba8888, SKAlphaType.Opaque));
        bitmap.Erase(new SKColor(red, green, blue));
        using var png = bitmap.Encode(SKEncodedImageFormat.Png, 100);
        return Write(name, png.ToArray());
    }

    /// <summary>Writes a tar file with these entries.</summary>
    public string WriteTar(string name, params (string Name, byte[] Bytes)[] entries)
    {
        using var stream = File.Create(At(name));
        using var tar = new TarWriter(stream, TarEntryFormat.Ustar);
        foreach (var (entry, bytes) in entries) tar.WriteEntry(new UstarTarEntry(TarEntryType.RegularFile, entry) { DataStream = new MemoryStream(bytes) });
        return At(name);
    }
}
