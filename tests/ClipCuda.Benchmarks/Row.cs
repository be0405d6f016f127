namespace ClipCuda.Benchmarks;

/// <summary>A result by which the two sides of a row are compared.</summary>
/// <param name="Tolerance">The allowed ‖ours − theirs‖ as a share of ‖theirs‖ (Euclidean norms).</param>
internal readonly record struct Result(string Name, float[] Values, double Tolerance);

/// <summary>One engine's half of a row: what is timed, and what comes before it untimed.</summary>
internal sealed class Side(Action run, Func<IEnumerable<Result>> results, Action? prepare = null, Action? dispose = null) : IDisposable
{
    /// <summary>Untimed, before each <see cref="Run"/>: frees what the last run made, runs a forward whose backward is to be timed.</summary>
    public void Prepare() => prepare?.Invoke();

    /// <summary>What is timed. It returns when the work is done.</summary>
    public void Run() => run();

    /// <summary>Computes once what <see cref="Run"/> computes and copies it out; called before anything is timed.</summary>
    public IEnumerable<Result> Results() => results();

    public void Dispose() => dispose?.Invoke();
}

/// <summary>Two engines that do the same thing.</summary>
/// <param name="Name">What a filter matches; unique.</param>
/// <param name="Create">Builds both sides on the same numbers.</param>
/// <param name="Flops">Floating-point operations of a run, where that is a meaningful number; 0 otherwise.</param>
internal sealed record Row(string Group, string Name, Func<(Side Ours, Side Theirs)> Create, double Flops = 0)
{
    /// <summary>What the second side is.</summary>
    public string Theirs { get; init; } = "libtorch";
}

/// <summary>A row that was run. Times are milliseconds a run; a ratio is theirs / ours, so that more than 1 means that ours is faster.</summary>
/// <param name="Ratio">The median of the rounds' ratios, between their 10th and 90th percentiles.</param>
/// <param name="BestRatio">The ratio of the best times, which others on the machine disturb least.</param>
/// <param name="OthersShare">The share of the machine that other processes took meanwhile; null if unknown.</param>
internal sealed record Measurement(
    string Group, string Name, string Theirs, int Rounds, double Ratio, double RatioP10, double RatioP90, double BestRatio,
    double OursBest, double OursMedian, double TheirsBest, double TheirsMedian, double OursGflops, double TheirsGflops, double? OthersShare);
