namespace ClipCuda.Training;

/// <summary>Whether there is time for something before a run has to be over, by how long it took at most so far.</summary>
/// <param name="limit">From now on; null: there is always time.</param>
internal sealed class TimeBudget(TimeSpan? limit, TimeProvider clock)
{
    /// <summary>What is done next may take so much longer than anything before it.</summary>
    private const double Margin = 1.5;

    /// <summary>For what comes after the last checkpoint: the report's pictures.</summary>
    private static readonly TimeSpan Reserve = TimeSpan.FromSeconds(5);

    private readonly long _began = clock.GetTimestamp();

    /// <summary>Whether work that has taken that long at most fits in, and a checkpoint after it.</summary>
    public bool Allows(TimeSpan work, TimeSpan checkpoint) =>
        limit is not { } most || clock.GetElapsedTime(_began) + Margin * (work + checkpoint) + Reserve <= most;
}
