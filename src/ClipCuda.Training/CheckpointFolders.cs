using ClipCuda.Model;

namespace ClipCuda.Training;

/// <summary>
/// The folders <c>epoch_K</c> and <c>step_N</c> of a run, of which the last few and the best are kept. A checkpoint is written under another name and
/// renamed when it is whole; then the file <c>latest</c> is made to hold its name; only then are those it replaces deleted, which begins with
/// another renaming. So whenever the process dies, each folder with a checkpoint's name is whole, and <c>latest</c> names one of them.
/// </summary>
/// <param name="keep">How many of the last ones are kept, at least 1.</param>
public sealed class CheckpointFolders(string folder, int keep = 1)
{
    /// <summary>Holds the name of the last checkpoint's folder.</summary>
    public const string LatestFile = "latest";

    private const string Unfinished = ".unfinished", Deleted = ".deleted";

    private readonly List<string> _kept = [];
    private double _bestScore = double.NegativeInfinity;

    /// <summary>The folder of the last checkpoint, null before the first.</summary>
    public string? Last => _kept is [.., var last] ? last : null;

    /// <summary>The folder of the checkpoint with the highest score (of equal ones the first), null if none had one.</summary>
    public string? Best { get; private set; }

    /// <summary>The checkpoint that was written last, of all runs in a folder of runs (<c>logs/NAME/checkpoints/epoch_K</c>).</summary>
    /// <exception cref="DirectoryNotFoundException">There is none.</exception>
    public static string FindLatest(string logs)
    {
        string[] runs = Directory.Exists(logs) ? Directory.GetDirectories(logs) : [];
        return runs.SelectMany(run => Whole(Path.Combine(run, RunFolder.CheckpointsFolder)))
            .MaxBy(path => (File.GetLastWriteTimeUtc(Path.Combine(path, Checkpoint.WeightsFile)), path))
            ?? throw new DirectoryNotFoundException($"There is no checkpoint in '{logs}'; train a model first ('clipcuda train'), or name a checkpoint (--checkpoint).");
    }

    /// <summary>The checkpoint that a run's <c>latest</c> names; if that file is gone, the one with the most steps. Null if there is none.</summary>
    /// <param name="folder">The run's folder of checkpoints.</param>
    public static string? LatestOf(string folder)
    {
        string file = Path.Combine(folder, LatestFile);
        string? named = File.Exists(file) ? Path.Combine(folder, Path.GetFileName(File.ReadAllText(file).Trim())) : null;
        string[] resumable = [.. Resumable(folder)];
        return resumable.Contains(named) ? named : resumable.MaxBy(path => TrainingState.Read(path).Step);
    }

    /// <summary>Takes over what an earlier run has left when this one goes on from one of its checkpoints; those after it are replaced as their steps are reached.</summary>
    /// <param name="checkpoint">Null: from the first step.</param>
    public void Continue(string? checkpoint)
    {
        if (!Directory.Exists(folder)) return;
        foreach (string path in Directory.GetDirectories(folder).Where(IsLeftover)) Directory.Delete(path, recursive: true);
        foreach (string path in Directory.GetFiles(folder, "*.tmp", SearchOption.AllDirectories)) File.Delete(path);
        if (checkpoint is null) return;
        long last = TrainingState.Read(checkpoint).Step;
        foreach (var (path, state) in Resumable(folder).Select(path => (Path: path, State: TrainingState.Read(path))).Where(c => c.State.Step <= last).OrderBy(c => c.State.Step))
        {
            _kept.Add(path);
            Score(path, state.Score);
        }
        MoveLatest();
    }

    /// <summary>Saves a checkpoint.</summary>
    /// <param name="name">The name of its folder, of the form that <see cref="TrainingState.Name"/> gives.</param>
    /// <param name="score">Higher is better; null if it was not evaluated.</param>
    /// <param name="write">Writes the checkpoint into the folder it is given, which it creates if need be.</param>
    public void Save(string name, double? score, Action<string> write)
    {
        string path = Path.Combine(folder, name), unfinished = path + Unfinished;
        Directory.CreateDirectory(unfinished);
        try
        {
            write(unfinished);
            // There is one already if this run went on from an earlier checkpoint than the last.
            if (Directory.Exists(path)) Delete(path);
            AtomicFile.MoveFolder(unfinished, path);
        }
        catch
        {
            if (Directory.Exists(unfinished)) Directory.Delete(unfinished, recursive: true);
            throw;
        }
        _kept.Remove(path);
        _kept.Add(path);
        MoveLatest();
        Score(path, score);
        DeleteReplaced();
    }

    /// <summary>Gives the last checkpoint the state it has now, with the score of the evaluation that was due when it was saved.</summary>
    public void UpdateLast(TrainingState state)
    {
        state.Write(Last!);
        Score(Last!, state.Score);
        DeleteReplaced();
    }

    private void Score(string path, double? score)
    {
        if (score > _bestScore) (Best, _bestScore) = (path, score.Value);
    }

    private void DeleteReplaced()
    {
        foreach (string old in _kept.SkipLast(keep).Where(old => old != Best).ToArray())
        {
            _kept.Remove(old);
            Delete(old);
        }
    }

    private void MoveLatest() => AtomicFile.Write(Path.Combine(folder, LatestFile), stream => stream.Write(System.Text.Encoding.UTF8.GetBytes(Path.GetFileName(Last!) + "\n")));

    private static void Delete(string path)
    {
        Directory.Move(path, path + Deleted);
        Directory.Delete(path + Deleted, recursive: true);
    }

    private static bool IsLeftover(string path) => path.EndsWith(Unfinished, StringComparison.Ordinal) || path.EndsWith(Deleted, StringComparison.Ordinal);

    private static IEnumerable<string> Whole(string folder) => Directory.Exists(folder)
        ? Directory.GetDirectories(folder).Where(path => !IsLeftover(path) && File.Exists(Path.Combine(path, Checkpoint.WeightsFile)))
        : [];

    private static IEnumerable<string> Resumable(string folder) => Whole(folder).Where(path => File.Exists(Path.Combine(path, TrainingState.FileName)));
}
