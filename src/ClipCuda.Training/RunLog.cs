using System.Text;

namespace ClipCuda.Training;

/// <summary>
/// <c>out.log</c>: lines in open_clip's format, so that what reads its logs reads ours. Each starts with local time and level; training
/// epochs count from 0, evaluations are named by the epochs done.
/// <code>
/// 2026-11-24,10:11:12 | INFO | Train Epoch: 0 [1280/3072 (42%)] Data (t): 0.010 Batch (t): 0.700, 182.857/s LR: 0.000500 Logit Scale: 14.286 Contrastive_loss: 4.8312 (4.8401) Loss: 4.8312 (4.8401)
/// </code>
/// </summary>
public sealed class RunLog : IDisposable
{
    private readonly StreamWriter _file;
    private readonly RunningMean _loss = new();
    private int _epoch;

    /// <summary>Opens the log, new or to be continued.</summary>
    public RunLog(string path)
    {
        var stream = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read);
        bool cut = stream.Length > 0 && EndsWithinLine(stream);
        stream.Seek(0, SeekOrigin.End);
        _file = new StreamWriter(stream, new UTF8Encoding(false)) { AutoFlush = true, NewLine = "\n" };
        if (cut) _file.WriteLine();
    }

    public void Info(string message) => Write("INFO", message);

    public void Warning(string message) => Write("WARNING", message);

    public void Error(string message) => Write("ERROR", message);

    /// <summary>Counts a step towards the epoch's mean loss, and writes a line if <paramref name="show"/>.</summary>
    public void Step(StepReport step, bool show)
    {
        if (step.Epoch != _epoch) _loss.Reset();
        _epoch = step.Epoch;
        _loss.Add(step.Loss);
        if (show) Info(Line(step, _loss.Mean));
    }

    public void Evaluation(int epoch, RetrievalReport report) => Info(Line(epoch, report));

    public void ZeroShot(int epoch, ClassificationReport report) =>
        Info($"Eval Epoch: {epoch} zeroshot-val-top1: {report.Acc1:F4}\t{(report.Acc5 is { } acc5 ? $"zeroshot-val-top5: {acc5:F4}\t" : "")}zeroshot-mean-per-class-recall: {report.MeanPerClassRecall:F4}");

    public void Dispose() => _file.Dispose();

    internal static string Line(StepReport step, double meanLoss)
    {
        long samples = (long)step.StepOfEpoch * step.BatchSize, all = (long)step.StepsPerEpoch * step.BatchSize;
        string count = samples.ToString().PadLeft(all.ToString().Length);
        return $"Train Epoch: {step.Epoch - 1} [{count}/{all} ({100.0 * samples / all:F0}%)] Data (t): {step.DataSeconds:F3} Batch (t): {step.Seconds:F3}, "
            + $"{step.SamplesPerSecond:F3}/s LR: {step.LearningRate:F6} Logit Scale: {step.LogitScale:F3} "
            + $"Contrastive_loss: {step.Loss:F4} ({meanLoss:F4}) Loss: {step.Loss:F4} ({meanLoss:F4})";
    }

    internal static string Line(int epoch, RetrievalReport report)
    {
        var fields = new List<string>();
        AddRecall("image_to_text", report.ImageToText);
        AddRecall("text_to_image", report.TextToImage);
        fields.Add($"clip_val_loss: {report.Loss:F4}");
        fields.Add($"epoch: {epoch:F4}");
        fields.Add($"num_samples: {report.Images:F4}");
        return $"Eval Epoch: {epoch} {string.Join('\t', fields)}";

        void AddRecall(string direction, Recall recall)
        {
            fields.Add($"{direction}_mean_rank: {recall.MeanRank:F4}");
            fields.Add($"{direction}_median_rank: {recall.MedianRank:F4}");
            fields.Add($"{direction}_R@1: {recall.At1:F4}");
            fields.Add($"{direction}_R@5: {recall.At5:F4}");
            fields.Add($"{direction}_R@10: {recall.At10:F4}");
        }
    }

    /// <summary>Whether the process died while it wrote a line.</summary>
    private static bool EndsWithinLine(FileStream stream)
    {
        stream.Seek(-1, SeekOrigin.End);
        return stream.ReadByte() != '\n';
    }

    private void Write(string level, string message) => _file.WriteLine($"{DateTime.Now:yyyy-MM-dd,HH:mm:ss} | {level} | {message}");
}
