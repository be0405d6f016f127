using ClipCuda.Tests.Training;

namespace ClipCuda.Tests.Cli;

/// <summary>A checkpoint that a tiny run trained, and the run's data.</summary>
internal sealed class TrainedCheckpoint : IDisposable
{
    public TrainedCheckpoint()
    {
        var summary = TinyRun.Train(Run.Options("trained")).Summary;
        (Path, Evaluation) = (summary.LastCheckpoint!, summary.Evaluation!);
    }

    public TinyRun Run { get; } = new();

    public string Path { get; }

    /// <summary>What training measured on <see cref="TinyRun.ValCsv"/> after its last epoch.</summary>
    public ClipCuda.Training.RetrievalReport Evaluation { get; }

    public void Dispose() => Run.Dispose();
}
