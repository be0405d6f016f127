using System.Text;

namespace ClipCuda.Training;

/// <summary>
/// <c>metrics.csv</c>: a row for every training step and one for every evaluation, each on disk as soon as it is known. A training row leaves
/// the columns that start with <c>val_</c> empty, an evaluation row the others but <c>epoch</c> and <c>step</c>. Epochs count from 1,
/// steps are the steps done, <c>data_wait</c> is in seconds and <c>data_wait_share</c> of the step's time, recalls are shares of 1. Numbers have as many digits as make them exact.
/// </summary>
public sealed class MetricsFile : IDisposable
{
    public static IReadOnlyList<string> Columns { get; } =
    [
        "epoch", "step", "loss", "lr", "logit_scale", "grad_norm", "samples_per_second", "data_wait", "data_wait_share",
        "val_loss",
        "val_image_to_text_R@1", "val_image_to_text_R@5", "val_image_to_text_R@10", "val_image_to_text_mean_rank", "val_image_to_text_median_rank",
        "val_text_to_image_R@1", "val_text_to_image_R@5", "val_text_to_image_R@10", "val_text_to_image_mean_rank", "val_text_to_image_median_rank",
    ];

    private const int TrainingColumns = 7, ValidationColumns = 11; // after epoch and step

    private readonly StreamWriter _file;

    public MetricsFile(string path)
    {
        _file = new StreamWriter(new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.Read), new UTF8Encoding(false)) { AutoFlush = true, NewLine = "\n" };
        _file.WriteLine(string.Join(',', Columns));
    }

    public void Add(StepReport step) =>
        _file.WriteLine(
            $"{step.Epoch},{step.Step},{step.Loss},{step.LearningRate},{step.LogitScale},{step.GradientNorm},{step.SamplesPerSecond:F3},{step.DataSeconds:F6},{step.WaitShare:F4}{new string(',', ValidationColumns)}");

    public void Add(int epoch, long step, RetrievalReport report) =>
        _file.WriteLine($"{epoch},{step}{new string(',', TrainingColumns)},{report.Loss},{Fields(report.ImageToText)},{Fields(report.TextToImage)}");

    public void Dispose() => _file.Dispose();

    private static string Fields(Recall recall) => $"{recall.At1},{recall.At5},{recall.At10},{recall.MeanRank},{recall.MedianRank}";
}
