using ClipCuda.Data;
using ClipCuda.Model;
using ClipCuda.Tests.Data;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

/// <summary>A model and data so small that a step takes milliseconds: drawings of the bundled sample in a folder of the test's own.</summary>
internal sealed class TinyRun : IDisposable
{
    public const int TrainImages = 24, ValImages = 10;

    private static readonly ClipConfig Config = new(
        16, new VisionConfig(ImageSize: 32, PatchSize: 16, Width: 32, Layers: 1, Heads: 2), new TextConfig(ContextLength: 12, VocabSize: 49408, Width: 16, Layers: 1, Heads: 1));

    public TinyRun()
    {
        TrainCsv = Write("train.csv", TrainImages);
        ValCsv = Write("val.csv", ValImages);
    }

    public TemporaryFolder Folder { get; } = new();

    public string TrainCsv { get; }

    public string ValCsv { get; }

    public string Emoji { get; } = Path.Combine(DataFolder.Find(), "emoji");

    /// <summary>A run of 3 steps an epoch, under the given name.</summary>
    public TrainingOptions Options(string name) => TrainingOptions.Of(Presets.Find(Presets.Sample), TrainCsv, ValCsv) with
    {
        ImageRoot = Emoji,
        Model = Config,
        BatchSize = 8,
        Epochs = 2,
        Warmup = 2,
        Threads = 2,
        Logs = Folder.Path,
        Name = name,
    };

    public void Dispose() => Folder.Dispose();

    /// <summary>Runs to the end and returns what was reported.</summary>
    public static (TrainingSummary Summary, RecordedProgress Progress) Train(TrainingOptions options, RecordedProgress? progress = null, CancellationToken stop = default)
    {
        progress ??= new RecordedProgress();
        using var trainer = new Trainer(options, progress);
        return (trainer.Run(stop), progress);
    }

    /// <summary>The first rows of the sample's file of that name, so many images with all their captions.</summary>
    private string Write(string name, int images)
    {
        var lines = new List<string>();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (string line in File.ReadLines(Path.Combine(DataFolder.Find(), "emoji", name)))
        {
            if (lines.Count > 0 && seen.Add(line[..line.IndexOf(',', StringComparison.Ordinal)]) && seen.Count > images) break;
            lines.Add(line);
        }
        return Folder.Write(name, string.Join('\n', lines));
    }
}

/// <summary>Keeps what a run reports.</summary>
internal sealed class RecordedProgress : ITrainingProgress
{
    public List<string> Notes { get; } = [];

    public List<StepReport> Steps { get; } = [];

    public List<(int Epoch, RetrievalReport Report)> Evaluations { get; } = [];

    public List<(long Step, ClassificationReport Report)> ZeroShots { get; } = [];

    /// <summary>Called after each step.</summary>
    public Action<StepReport>? AfterStep { get; init; }

    /// <summary>Called after each evaluation with its step.</summary>
    public Action<long>? AfterEvaluation { get; init; }

    public void Note(string line) => Notes.Add(line);

    public void Begin(int epochs, int stepsPerEpoch, long stepsDone) => StepsBefore = stepsDone;

    public long StepsBefore { get; private set; }

    public void Step(StepReport step)
    {
        Steps.Add(step);
        AfterStep?.Invoke(step);
    }

    public void Evaluation(int epoch, long step, RetrievalReport report, TimeSpan duration)
    {
        Evaluations.Add((epoch, report));
        AfterEvaluation?.Invoke(step);
    }

    public void ZeroShot(int epoch, long step, ClassificationReport report, TimeSpan duration) => ZeroShots.Add((step, report));
}
