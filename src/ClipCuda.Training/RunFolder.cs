using System.Text;

namespace ClipCuda.Training;

/// <summary>
/// The folder of one run: <c>params.txt</c> (settings), <c>out.log</c> (<see cref="RunLog"/>), <c>metrics.csv</c>
/// (<see cref="MetricsFile"/>), <c>tensorboard</c> (<see cref="EventFile"/>), at the end what <see cref="RunReport"/> draws, and <c>checkpoints</c> (<see cref="CheckpointFolders"/>). It is new for every run: an existing one is never
/// written to.
/// </summary>
public sealed class RunFolder : IDisposable
{
    private RunFolder(string path)
    {
        Path = path;
        Log = new RunLog(System.IO.Path.Combine(path, "out.log"));
        Metrics = new MetricsFile(System.IO.Path.Combine(path, "metrics.csv"));
        Events = new EventFile(System.IO.Path.Combine(path, "tensorboard"));
        Checkpoints = new CheckpointFolders(System.IO.Path.Combine(path, "checkpoints"));
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
    /// <exception cref="IOException">It exists.</exception>
    public static string Locate(string logs, string name)
    {
        if (name.Trim().Length == 0 || name is "." or ".." || name.AsSpan().IndexOfAny('/', '\\', '\0') >= 0)
            throw new ArgumentException($"The run name '{name}' is not a folder's name; use letters, digits, '-' and '_' (--name).");
        string path = System.IO.Path.Combine(logs, name);
        return Directory.Exists(path) || File.Exists(path)
            ? throw new IOException($"The run folder '{path}' exists already; choose another name (--name) or remove it.")
            : path;
    }

    /// <summary>Writes a step into the metrics and events.</summary>
    public void Add(StepReport step)
    {
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

    /// <summary>Creates the folder and its files.</summary>
    /// <exception cref="IOException">It exists, or cannot be written; so for <see cref="ArgumentException"/> as in <see cref="Locate"/>.</exception>
    public static RunFolder Create(string logs, string name, IEnumerable<KeyValuePair<string, string>> settings)
    {
        string path = Locate(logs, name);
        try
        {
            Directory.CreateDirectory(System.IO.Path.Combine(path, "checkpoints"));
            File.WriteAllText(System.IO.Path.Combine(path, "params.txt"), Format(settings), new UTF8Encoding(false));
            return new RunFolder(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new IOException($"The run folder '{path}' cannot be written ({e.Message.TrimEnd('.')}); choose another place (--logs).", e);
        }
    }

    public void Dispose()
    {
        Log.Dispose();
        Metrics.Dispose();
        Events.Dispose();
    }

    private static string Format(IEnumerable<KeyValuePair<string, string>> settings) =>
        string.Concat(settings.OrderBy(setting => setting.Key, StringComparer.Ordinal).Select(setting => $"{setting.Key}: {setting.Value}\n"));
}
