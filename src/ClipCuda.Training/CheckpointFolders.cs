using ClipCuda.Model;

namespace ClipCuda.Training;

/// <summary>
/// The folders <c>epoch_K</c> of a run, of which the last and the best are kept. A checkpoint is written under another name and renamed
/// when it is whole; only then are those it replaces deleted.
/// </summary>
public sealed class CheckpointFolders(string folder)
{
    private const string Unfinished = ".unfinished";

    private double _bestScore = double.NegativeInfinity;

    /// <summary>The folder of the last checkpoint, null before the first.</summary>
    public string? Last { get; private set; }

    /// <summary>The folder of the checkpoint with the highest score (of equal ones the first), null if none had one.</summary>
    public string? Best { get; private set; }

    /// <summary>The checkpoint that was written last, of all runs in a folder of runs (<c>logs/NAME/checkpoints/epoch_K</c>).</summary>
    /// <exception cref="DirectoryNotFoundException">There is none.</exception>
    public static string FindLatest(string logs)
    {
        string[] runs = Directory.Exists(logs) ? Directory.GetDirectories(logs) : [];
        return runs.Select(run => Path.Combine(run, "checkpoints"))
            .Where(Directory.Exists)
            .SelectMany(Directory.GetDirectories)
            .Where(path => !path.EndsWith(Unfinished, StringComparison.Ordinal) && File.Exists(Path.Combine(path, Checkpoint.WeightsFile)))
            .MaxBy(path => (File.GetLastWriteTimeUtc(Path.Combine(path, Checkpoint.WeightsFile)), path))
            ?? throw new DirectoryNotFoundException($"There is no checkpoint in '{logs}'; train a model first ('clipcuda train'), or name a checkpoint (--checkpoint).");
    }

    /// <summary>Saves the checkpoint after an epoch, counted from 1.</summary>
    /// <param name="score">Higher is better; null if this epoch was not evaluated.</param>
    /// <param name="write">Writes the checkpoint into the folder it is given, which it creates if need be.</param>
    public void Save(int epoch, double? score, Action<string> write)
    {
        string path = Path.Combine(folder, $"epoch_{epoch}"), unfinished = path + Unfinished;
        Directory.CreateDirectory(unfinished);
        try
        {
            write(unfinished);
            Directory.Move(unfinished, path);
        }
        catch
        {
            if (Directory.Exists(unfinished)) Directory.Delete(unfinished, recursive: true);
            throw;
        }
        string? last = Last, best = Best;
        Last = path;
        if (score > _bestScore) (Best, _bestScore) = (path, score.Value);
        foreach (string? old in new[] { last, best }.Distinct())
        {
            if (old is not null && old != Last && old != Best) Directory.Delete(old, recursive: true);
        }
    }
}
