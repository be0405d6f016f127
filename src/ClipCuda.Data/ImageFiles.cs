namespace ClipCuda.Data;

/// <summary>Image files on disk, found by the endings of their names.</summary>
public static class ImageFiles
{
    /// <summary>Of the formats that <see cref="ImageDecoder"/> reads.</summary>
    public static IReadOnlyList<string> Extensions { get; } = [".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"];

    /// <summary>The images in a folder and in those below it, by name; the case of endings does not matter.</summary>
    /// <exception cref="DirectoryNotFoundException">There is no such folder.</exception>
    /// <exception cref="FileNotFoundException">It holds no image.</exception>
    public static string[] Find(string folder)
    {
        if (!Directory.Exists(folder)) throw new DirectoryNotFoundException($"The image folder '{folder}' does not exist; check the path.");
        string[] files = [.. Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories)
            .Where(path => Extensions.Contains(Path.GetExtension(path).ToLowerInvariant()))
            .Order(StringComparer.Ordinal)];
        return files.Length > 0 ? files : throw new FileNotFoundException($"'{folder}' holds no image ({string.Join(", ", Extensions)}).");
    }
}
