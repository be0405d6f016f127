using System.Diagnostics;

namespace ClipCuda.Benchmarks;

/// <summary>How long a row may take.</summary>
/// <param name="MaxRounds">Rounds of a row, fewer when its time is up (but never fewer than <paramref name="MinRounds"/>).</param>
/// <param name="WarmUp">Time for which each side runs first, at least once (after it has computed what is compared).</param>
internal sealed record Effort(int MinRounds, int MaxRounds, TimeSpan RowTime, TimeSpan WarmUp)
{
    public static Effort Full { get; } = new(5, 21, TimeSpan.FromSeconds(6), TimeSpan.FromMilliseconds(150));

    public static Effort Quick { get; } = new(3, 7, TimeSpan.FromSeconds(2), TimeSpan.FromMilliseconds(60));
}

/// <summary>
/// Times the two sides of a row in turns, so that a machine whose speed changes slows both: each round gives one ratio, and the row is
/// their median. libgomp's threads spin for some milliseconds after a parallel region; a rest between the sides keeps that off the other's time.
/// </summary>
internal static class Rounds
{
    private const int RestMilliseconds = 15, MaxRunsASample = 200;
    private static readonly TimeSpan SampleTime = TimeSpan.FromMilliseconds(4);

    /// <summary>In a virtual machine threads that slept wake on one core, on both sides, and it takes the system some milliseconds to move them apart.</summary>
    private static readonly TimeSpan SettlingTime = TimeSpan.FromMilliseconds(10);

    /// <exception cref="InvalidOperationException">The two sides do not compute the same.</exception>
    public static Measurement Measure(Row row, Effort effort)
    {
        var (ours, theirs) = row.Create();
        using (ours)
        using (theirs)
        {
            RequireSame(row, ours.Results(), theirs.Results());
            GC.Collect();
            int oursRuns = WarmUp(ours, effort.WarmUp);
            Rest();
            int theirsRuns = WarmUp(theirs, effort.WarmUp);
            List<double> oursTimes = [], theirsTimes = [], ratios = [];
            var contention = new Contention();
            long start = Stopwatch.GetTimestamp();
            while (ratios.Count < effort.MinRounds || (ratios.Count < effort.MaxRounds && Stopwatch.GetElapsedTime(start) < effort.RowTime))
            {
                double mine, other;
                if (ratios.Count % 2 == 0)
                {
                    mine = Sample(ours, oursRuns);
                    other = Sample(theirs, theirsRuns);
                }
                else
                {
                    other = Sample(theirs, theirsRuns);
                    mine = Sample(ours, oursRuns);
                }
                oursTimes.Add(mine);
                theirsTimes.Add(other);
                ratios.Add(other / mine);
            }
            double others = contention.Share();
            double oursMedian = Percentile(oursTimes, 0.5), theirsMedian = Percentile(theirsTimes, 0.5);
            return new Measurement(
                row.Group, row.Name, row.Theirs, ratios.Count, Percentile(ratios, 0.5), Percentile(ratios, 0.1), Percentile(ratios, 0.9),
                theirsTimes.Min() / oursTimes.Min(), oursTimes.Min(), oursMedian, theirsTimes.Min(), theirsMedian, row.Flops / oursMedian / 1e6, row.Flops / theirsMedian / 1e6,
                double.IsNaN(others) ? null : others);
        }
    }

    /// <summary>A percentile by linear interpolation between the values next to it.</summary>
    internal static double Percentile(IEnumerable<double> values, double share)
    {
        double[] sorted = [.. values.Order()];
        double at = share * (sorted.Length - 1);
        int below = (int)at, above = Math.Min(below + 1, sorted.Length - 1);
        return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
    }

    private static void RequireSame(Row row, IEnumerable<Result> ours, IEnumerable<Result> theirs)
    {
        using var expected = theirs.GetEnumerator();
        foreach (var result in ours)
        {
            if (!expected.MoveNext()) throw new InvalidOperationException($"{row.Name}: {row.Theirs} has no {result.Name}.");
            float[] a = result.Values, b = expected.Current.Values;
            if (a.Length != b.Length) throw new InvalidOperationException($"{row.Name}: {result.Name} has {a.Length} values, {row.Theirs} has {b.Length}.");
            double difference = 0, norm = 0;
            for (int i = 0; i < a.Length; i++)
            {
                difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
                norm += (double)b[i] * b[i];
            }
            double share = Math.Sqrt(difference / norm);
            // Written so that NaN fails, and so does a result that is all zero.
            if (!(share <= result.Tolerance))
                throw new InvalidOperationException($"{row.Name}: {result.Name} differs from {row.Theirs} by {share:0.0e+00} of its length, allowed are {result.Tolerance:0.0e+00}.");
        }
        if (expected.MoveNext()) throw new InvalidOperationException($"{row.Name}: ours has no {expected.Current.Name}.");
    }

    /// <summary>Returns how many runs fill a sample.</summary>
    private static int WarmUp(Side side, TimeSpan time)
    {
        long start = Stopwatch.GetTimestamp();
        double best = double.MaxValue;
        do best = Math.Min(best, Once(side));
        while (Stopwatch.GetElapsedTime(start) < time);
        return (int)Math.Clamp(Math.Ceiling(SampleTime.TotalMilliseconds / best), 1, MaxRunsASample);
    }

    /// <summary>Milliseconds a run, the mean of so many; only the timed part counts.</summary>
    private static double Sample(Side side, int runs)
    {
        Rest();
        if (runs > 1) WarmUp(side, SettlingTime);
        double sum = 0;
        for (int i = 0; i < runs; i++) sum += Once(side);
        return sum / runs;
    }

    private static double Once(Side side)
    {
        side.Prepare();
        long start = Stopwatch.GetTimestamp();
        side.Run();
        // Not as a TimeSpan, whose ticks of 100 ns are 1 % of the smallest rows.
        return (Stopwatch.GetTimestamp() - start) * 1000.0 / Stopwatch.Frequency;
    }

    private static void Rest() => Thread.Sleep(RestMilliseconds);
}
