namespace ClipCuda.Data;

/// <summary>
/// Where the bundled <c>data</c> folder (the emoji sample and the BPE merges) lies. A folder counts if it holds
/// <see cref="Merges"/>; the first of these wins: the one named by the environment variable <see cref="Variable"/>, then <c>data</c> beside
/// the executable or in a folder above it, then <c>data</c> in the working directory or in a folder above that.
/// </summary>
public static class DataFolder
{
    public const string Variable = "CLIPCUDA_DATA";

    /// <summary>The tokenizer's merges, relative to the data folder.</summary>
    public const string Merges = "bpe/clip_merges.txt";

    /// <summary>The sample's drawings to train on and those held out, relative to the data folder.</summary>
    public const string SampleTraining = "emoji/train.csv", SampleEvaluation = "emoji/val.csv";

    /// <summary>The font for text in pictures, relative to the data folder.</summary>
    public const string Font = "fonts/NotoSans-Regular.ttf";

    /// <summary>The full path of the data folder.</summary>
    /// <exception cref="DirectoryNotFoundException">There is none; the message says where it was looked for.</exception>
    public static string Find() => Find(Environment.GetEnvironmentVariable(Variable), AppContext.BaseDirectory, Environment.CurrentDirectory);

    internal static string Find(string? named, string executableFolder, string workingFolder)
    {
        if (!string.IsNullOrEmpty(named))
        {
            return Holds(named)
                ? Path.GetFullPath(named)
                : throw new DirectoryNotFoundException($"{Variable} is '{named}', which has no {Merges}; set it to ClipCuda's data folder, or unset it.");
        }
        foreach (string start in new[] { executableFolder, workingFolder })
        {
            for (var folder = new DirectoryInfo(start); folder is not null; folder = folder.Parent)
            {
                string data = Path.Combine(folder.FullName, "data");
                if (Holds(data)) return data;
            }
        }
        throw new DirectoryNotFoundException(
            $"There is no data folder with {Merges} in '{executableFolder}', in '{workingFolder}' or above them; set {Variable} to the data folder of ClipCuda's sources.");
    }

    private static bool Holds(string folder) => File.Exists(Path.Combine(folder, Merges));
}
