using System.Globalization;
using System.Text;
using ClipCuda.Model;

namespace ClipCuda.Training;

/// <summary>
/// <c>metrics.csv</c>: a row for every training step and one for every evaluation, each on disk as soon as it is known. A training row leaves
/// the columns that start with <c>val_</c> empty, an evaluation row the others but <c>epoch</c> and <c>step</c>. Epochs count from 1,
/// steps are the steps done, <c>data_wait</c> is in seconds and <c>data_wait_share</c> of the step's time, recalls and accuracies are shares of 1. Numbers have as many
/// digits as make them exact.
/// </summary>
public sealed class MetricsFile : IDisposable
{
    public static IReadOnlyList<string> Columns { get; } =
    [
        "epoch", "step", "loss", "lr", "logit_scale", "grad_norm", "samples_per_second", "data_wait", "data_wait_share",
        "val_loss",
        "val_image_to_text_R@1", "val_image_to_text_R@5", "val_image_to_text_R@10", "val_image_to_text_mean_rank", "val_image_to_text_median_rank",
        "val_text_to_image_R@1", "val_text_to_image_R@5", "val_text_to_image_R@10", "val_text_to_image_mean_rank", "val_text_to_image_median_rank",
        "val_zeroshot_top1", "val_zeroshot_top5",
    ];

    private const int TrainingColumns = 7, RetrievalColumns = 11, ZeroShotColumns = 2; // after epoch and step

    private readonly StreamWriter _file;

    /// <summary>Opens the file, new or to be continued.</summary>
    public MetricsFile(string path)
    {
        var stream = new FileStream(path, FileMode.Append, FileAccess.Write, FileShare.Read);
        _file = new StreamWriter(stream, new UTF8Encoding(false)) { AutoFlush = true, NewLine = "\n" };
        if (stream.Length == 0) _file.WriteLine(string.Join(',', Columns));
    }

    /// <summary>Takes away the rows that a run will write again when it goes on from a checkpoint, and a row that was not finished. No file is none.</summary>
    /// <param name="state">The checkpoint's; null for the first step.</param>
    public static void Cut(string path, TrainingState? state)
    {
        if (!File.Exists(path)) return;
        byte[] text = File.ReadAllBytes(path);
        string whole = Encoding.UTF8.GetString(text.AsSpan(0, Array.LastIndexOf(text, (byte)'\n') + 1));
        string[] kept = [.. whole.Split('\n', StringSplitOptions.RemoveEmptyEntries).Where((line, index) => index == 0 || IsKept(line.Split(',')))];
        AtomicFile.Write(path, stream => stream.Write(Encoding.UTF8.GetBytes(string.Concat(kept.Select(line => line + "\n")))));

        // An evaluation has no loss of a step. One that was cut short is made again, all of it.
        bool IsKept(string[] row) =>
            state is not null && row is [_, var text, var loss, ..] && long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long step)
            && (step < state.Step || (step == state.Step && (loss.Length > 0 || !state.EvaluationDue)));
    }

    public void Add(StepReport step) =>
        _file.WriteLine(
            $"{step.Epoch},{step.Step},{step.Loss},{step.LearningRate},{step.LogitScale},{step.GradientNorm},{step.SamplesPerSecond:F3},{step.DataSeconds:F6},{step.WaitShare:F4}{new string(',', RetrievalColumns + ZeroShotColumns)}");

    public void Add(int epoch, long step, RetrievalReport report) =>
        _file.WriteLine($"{epoch},{step}{new string(',', TrainingColumns)},{report.Loss},{Fields(report.ImageToText)},{Fields(report.TextToImage)}{new string(',', ZeroShotColumns)}");

    public void Add(int epoch, long step, ClassificationReport report) =>
        _file.WriteLine($"{epoch},{step}{new string(',', TrainingColumns + RetrievalColumns)},{report.Acc1},{report.Acc5}");

    public void Dispose() => _file.Dispose();

    private static string Fields(Recall recall) => $"{recall.At1},{recall.At5},{recall.At10},{recall.MeanRank},{recall.MedianRank}";
}
