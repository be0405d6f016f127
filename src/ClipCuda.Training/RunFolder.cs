using System.Text;
using System.Text.Json;
using ClipCuda.Model;

namespace ClipCuda.Training;

/// <summary>What to do if a run's folder exists.</summary>
public enum RunMode
{
    /// <summary>Refuse.</summary>
    New,

    /// <summary>Go on from its latest checkpoint; begin at the first step if it has none, or if there is no folder.</summary>
    Resume,

    /// <summary>Delete what is there and begin anew.</summary>
    Overwrite,
}

/// <summary>
/// The folder of one run: <c>params.txt</c> (settings, and where they came from), <c>config.json</c> (those that make the run again), <c>out.log</c>
/// (<see cref="RunLog"/>), <c>metrics.csv</c> (<see cref="MetricsFile"/>), <c>tensorboard</c> (<see cref="EventFile"/>), <c>checkpoints</c>
/// (<see cref="CheckpointFolders"/>), and at the end what <see cref="RunReport"/> draws. An existing one is written to only if that was asked for, and by one
/// process at a time, which holds <c>run.lock</c>.
/// </summary>
public sealed class RunFolder : IDisposable
{
    public const string SettingsFile = "params.txt", ConfigFile = "config.json", CheckpointsFolder = "checkpoints", MetricsFileName = "metrics.csv";

    private readonly FileStream _lock;
    private bool _isUnused; // made by this process, and nothing trained yet

    private RunFolder(string path, FileStream held, int keep, bool isNew)
    {
        (Path, _lock, _isUnused) = (path, held, isNew);
        Log = new RunLog(System.IO.Path.Combine(path, LogFile));
        Metrics = new MetricsFile(System.IO.Path.Combine(path, MetricsFileName));
        Events = new EventFile(System.IO.Path.Combine(path, "tensorboard"));
        Checkpoints = new CheckpointFolders(System.IO.Path.Combine(path, CheckpointsFolder), keep);
    }

    public string Path { get; }

    public RunLog Log { get; }

    public MetricsFile Metrics { get; }

    /// <summary>The same numbers for TensorBoard, under open_clip's names.</summary>
    public EventFile Events { get; }

    public CheckpointFolders Checkpoints { get; }

    /// <summary>Open_clip's kind of name: when it began, what it trains, and the numbers that are varied most.</summary>
    public static string DefaultName(DateTime start, string model, float learningRate, int batchSize) =>
        $"{start:yyyy_MM_dd-HH_mm_ss}-model_{model.Replace('/', '-')}-lr_{learningRate}-b_{batchSize}";

    /// <summary>Where the run of that name goes; checked before long work, so that it is not in vain.</summary>
    /// <exception cref="ArgumentException">The name is not that of a folder.</exception>
    /// <exception cref="IOException">It exists, and that is not what the mode is for.</exception>
    public static string Locate(string logs, string name, RunMode mode = RunMode.New)
    {
        if (name.Trim().Length == 0 || name is "." or ".." || name.AsSpan().IndexOfAny('/', '\\', '\0') >= 0)
            throw new ArgumentException($"The run name '{name}' is not a folder's name; use letters, digits, '-' and '_' (--name).");
        string path = System.IO.Path.Combine(logs, name);
        if (File.Exists(path)) throw new IOException($"The run folder '{path}' is a file; choose another name (--name).");
        if (!Directory.Exists(path)) return path;
        if (mode == RunMode.New) throw new IOException($"The run folder '{path}' exists already; choose another name (--name), go on with it (--resume latest), or replace it (--overwrite).");
        if (!IsRun(path)) throw new IOException($"'{path}' is no run's folder (it has no {SettingsFile}), so nothing in it is touched; choose another name (--name).");
        return path;
    }

    /// <summary>Writes a step into the metrics and events.</summary>
    public void Add(StepReport step)
    {
        _isUnused = false;
        Metrics.Add(step);
        Events.Add(
            step.Step, ("train/loss", step.Loss), ("train/lr", step.LearningRate), ("train/scale", step.LogitScale), ("train/grad_norm", step.GradientNorm),
            ("train/samples_per_second", step.SamplesPerSecond), ("train/data_time", step.DataSeconds), ("train/batch_time", step.Seconds));
    }

    /// <summary>Writes an evaluation into the metrics and events.</summary>
    public void Add(int epoch, long step, RetrievalReport report)
    {
        Metrics.Add(epoch, step, report);
        Events.Add(step, ("val/clip_val_loss", report.Loss));
        foreach (var (direction, recall) in new[] { ("image_to_text", report.ImageToText), ("text_to_image", report.TextToImage) })
        {
            Events.Add(
                step, ($"val/{direction}_R@1", recall.At1), ($"val/{direction}_R@5", recall.At5), ($"val/{direction}_R@10", recall.At10),
                ($"val/{direction}_mean_rank", recall.MeanRank), ($"val/{direction}_median_rank", recall.MedianRank));
        }
    }

    /// <summary>Writes a zero-shot classification into the metrics and events.</summary>
    public void Add(int epoch, long step, ClassificationReport report)
    {
        Metrics.Add(epoch, step, report);
        Events.Add(step, [("val/zeroshot_top1", report.Acc1), .. report.Acc5 is { } acc5 ? [("val/zeroshot_top5", acc5)] : Array.Empty<(string, double)>()]);
    }

    /// <summary>The run that was written to last, null if there is none: what <c>--resume latest</c> means without a name.</summary>
    public static string? FindLatest(string logs) =>
        Directory.Exists(logs) ? Directory.GetDirectories(logs).Where(path => File.Exists(System.IO.Path.Combine(path, SettingsFile))).MaxBy(path => (LastWrite(path), path)) : null;

    /// <summary>Creates the folder and its files, or opens them as the mode says.</summary>
    /// <param name="checkpoint">What a run that is resumed goes on from; the books are cut back to it. Null: from the first step.</param>
    /// <exception cref="IOException">It exists, or cannot be written; so for <see cref="ArgumentException"/> as in <see cref="Locate"/>.</exception>
    public static RunFolder Create(TrainingOptions options, string? checkpoint = null)
    {
        string path = Locate(options.Logs, options.Name!, options.Mode);
        bool isNew = !Directory.Exists(path);
        FileStream? held = null;
        try
        {
            Directory.CreateDirectory(path);
            held = Hold(path);
            if (options.Mode == RunMode.Overwrite) Empty(path);
            Directory.CreateDirectory(System.IO.Path.Combine(path, CheckpointsFolder));
            AtomicFile.Write(System.IO.Path.Combine(path, SettingsFile), stream => stream.Write(new UTF8Encoding(false).GetBytes(Format(options))));
            if (options.Config is { } config) WriteConfig(System.IO.Path.Combine(path, ConfigFile), config);
            var state = checkpoint is null ? null : TrainingState.Read(checkpoint);
            MetricsFile.Cut(System.IO.Path.Combine(path, MetricsFileName), state);
            var run = new RunFolder(path, held, options.Keep, isNew);
            if (options.Mode == RunMode.Resume)
            {
                run.Checkpoints.Continue(checkpoint);
                run.Events.Restart((state?.Step ?? 0) + 1);
            }
            return run;
        }
        catch (Exception e)
        {
            if (isNew && held is not null) Discard(path, held);
            held?.Dispose();
            if (e is IOException or UnauthorizedAccessException)
                throw new IOException($"The run folder '{path}' cannot be written ({e.Message.TrimEnd('.')}); choose another place (--logs).", e);
            throw;
        }
    }

    public void Dispose()
    {
        Log.Dispose();
        Metrics.Dispose();
        Events.Dispose();
        _lock.Dispose();
    }

    /// <summary>
    /// Deletes the folder if <see cref="Create"/> made it and no step was added, so that it is not in the way of the next run of that name. One
    /// that was there before stays.
    /// </summary>
    public void DiscardIfUnused()
    {
        if (!_isUnused) return;
        Log.Dispose();
        Metrics.Dispose();
        Events.Dispose();
        Discard(Path, _lock);
    }

    private static void Discard(string path, FileStream held)
    {
        try
        {
            Empty(path); // while the lock keeps other processes out
            held.Dispose();
            Directory.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            held.Dispose(); // what ended the run is what the user has to know of; the rest of the folder is replaced by --overwrite
        }
    }

    /// <summary>A folder that was made by a run, or by one that ended before it wrote anything.</summary>
    private static bool IsRun(string path) =>
        File.Exists(System.IO.Path.Combine(path, SettingsFile)) || Directory.GetFileSystemEntries(path).All(entry => System.IO.Path.GetFileName(entry) is CheckpointsFolder or LockFile or $"{SettingsFile}.tmp");

    private const string LockFile = "run.lock", LogFile = "out.log";

    /// <summary>The system lets go of it when the process ends, however it ends.</summary>
    private static FileStream Hold(string path)
    {
        try
        {
            return new FileStream(System.IO.Path.Combine(path, LockFile), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1, FileOptions.DeleteOnClose);
        }
        catch (IOException e) when (e.HResult is 11 or 35 or unchecked((int)0x80070020)) // EWOULDBLOCK of Linux and of macOS, Windows's sharing violation
        {
            throw new IOException("another process is writing to it", e);
        }
    }

    /// <summary>Deletes everything but the lock; what makes it a run's folder goes last.</summary>
    private static void Empty(string path)
    {
        foreach (string folder in Directory.GetDirectories(path)) Directory.Delete(folder, recursive: true);
        foreach (string file in Directory.GetFiles(path).Where(file => System.IO.Path.GetFileName(file) is not (LockFile or SettingsFile))) File.Delete(file);
        File.Delete(System.IO.Path.Combine(path, SettingsFile));
    }

    private static DateTime LastWrite(string run)
    {
        string log = System.IO.Path.Combine(run, LogFile);
        return File.GetLastWriteTimeUtc(File.Exists(log) ? log : System.IO.Path.Combine(run, SettingsFile));
    }

    private static string Format(TrainingOptions options) => string.Concat(options.Settings()
        .OrderBy(setting => setting.Key, StringComparer.Ordinal)
        .Select(setting => $"{setting.Key}: {setting.Value}{(options.Origins.TryGetValue(setting.Key, out string? origin) ? $"  # {origin}" : "")}\n"));

    private static void WriteConfig(string path, IReadOnlyDictionary<string, object> config) => JsonFile.Write(path, writer =>
    {
        foreach (var (key, value) in config.OrderBy(setting => setting.Key, StringComparer.Ordinal))
        {
            writer.WritePropertyName(key);
            JsonSerializer.Serialize(writer, value, value.GetType());
        }
    });
}
