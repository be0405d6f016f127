using ClipCuda.Training;

namespace ClipCuda.Cli;

/// <summary>What <c>--resume</c> means: a run's folder, and where in it the run goes on.</summary>
/// <param name="Name">Null if there is no run yet, so that a new one begins.</param>
/// <param name="Checkpoint">Null: its latest.</param>
/// <param name="Config">The file with its settings; null if it has none.</param>
internal sealed record ResumedRun(string Logs, string? Name, string? Checkpoint, string? Config)
{
    private const string Latest = "latest";

    /// <param name="resume"><c>latest</c>, or the path of a run's folder or of one of its checkpoints.</param>
    /// <param name="logs">Where <c>latest</c> is looked for.</param>
    /// <param name="name">The run that <c>latest</c> is of; null for the last one.</param>
    /// <exception cref="DirectoryNotFoundException">There is nothing at the path.</exception>
    /// <exception cref="ArgumentException">It is neither, or of a run of another name.</exception>
    public static ResumedRun Find(string resume, string logs, string? name)
    {
        if (resume == Latest) return name is not null ? Of(Path.Combine(logs, name)) : RunFolder.FindLatest(logs) is { } last ? Of(last) : new ResumedRun(logs, null, null, null);
        string path = Path.TrimEndingDirectorySeparator(Path.GetFullPath(resume));
        if (!Directory.Exists(path)) throw new DirectoryNotFoundException($"There is no '{resume}' to resume; give latest, or the folder of a run or of one of its checkpoints.");
        var found = Has(path, RunFolder.SettingsFile) ? Of(path) : OfCheckpoint(path, resume);
        return name is null || name == found.Name ? found : throw new ArgumentException($"'{resume}' is of the run '{found.Name}', and --name says '{name}'; leave out --name.");
    }

    private static ResumedRun OfCheckpoint(string path, string resume)
    {
        string run = Path.GetDirectoryName(Path.GetDirectoryName(path) ?? path) ?? path;
        if (!Has(path, TrainingState.FileName) || !Has(run, RunFolder.SettingsFile))
            throw new ArgumentException($"'{resume}' is neither a run's folder (with {RunFolder.SettingsFile}) nor a checkpoint in one (with {TrainingState.FileName}); to begin a run from its weights, use --pretrained.");
        return Of(run) with { Checkpoint = path };
    }

    private static ResumedRun Of(string run)
    {
        string full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(run));
        return new ResumedRun(Path.GetDirectoryName(run) is { Length: > 0 } logs ? logs : ".", Path.GetFileName(full), null, Has(run, RunFolder.ConfigFile) ? Path.Combine(run, RunFolder.ConfigFile) : null);
    }

    private static bool Has(string folder, string file) => File.Exists(Path.Combine(folder, file));
}
