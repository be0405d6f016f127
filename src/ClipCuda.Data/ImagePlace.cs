namespace ClipCuda.Data;

/// <summary>Where the bytes of an image file lie: a file of their own, or a part of a tar shard.</summary>
/// <param name="Name">What people call it: the file's path; of a shard its path and the entry's name.</param>
/// <param name="File">The file that holds the bytes.</param>
/// <param name="Offset">Where in that file they begin.</param>
/// <param name="Length">How many they are; null: up to the end of the file.</param>
public readonly record struct ImagePlace(string Name, string File, long Offset, int? Length)
{
    /// <summary>What the file must lie in; null: it may lie anywhere.</summary>
    internal LinkGuard? Within { get; init; }

    public static ImagePlace OfFile(string path) => new(path, path, 0, null);
}
