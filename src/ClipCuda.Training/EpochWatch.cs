using System.Diagnostics;
using ClipCuda.Data;

namespace ClipCuda.Training;

/// <summary>Where the time of an epoch's steps went, and what held them up.</summary>
/// <param name="Seconds">From the first step's begin to the last one's end.</param>
/// <param name="Waited">Of these, seconds in which a step waited for its batch.</param>
/// <param name="Times">What the loader's threads did meanwhile.</param>
/// <param name="Workers">How many threads there are.</param>
public sealed record EpochReport(double Seconds, double Waited, SourceTimes Times, int Workers)
{
    private const double Noticeable = 0.02;

    /// <summary>The share of the time in which steps waited for data.</summary>
    public double WaitShare => Seconds > 0 ? Math.Min(1, Waited / Seconds) : 0;

    /// <summary>What an epoch would have to be rid of to be faster.</summary>
    public string Bottleneck
    {
        get
        {
            if (WaitShare < Noticeable) return "the device, which never waited long for data";
            string what = Times.Reading > Times.Decoding ? "reading files" : "decoding images";
            string cure = Workers < Environment.ProcessorCount
                ? $"more threads may help, --num-workers {Environment.ProcessorCount}"
                : Times.Reading > Times.Decoding ? "a faster disk may help, or for single files tar shards, 'clipcuda pack'" : "smaller images may help";
            return $"{what} ({cure})";
        }
    }

    public override string ToString() => $"{Seconds:F1} s, {WaitShare:P1} of them waiting for data; bottleneck: {Bottleneck}";
}

/// <summary>Measures an epoch from its creation on.</summary>
internal sealed class EpochWatch(BatchSource source, int workers)
{
    private readonly long _began = Stopwatch.GetTimestamp();
    private readonly TimeSpan _waited = source.Waited;
    private readonly SourceTimes _times = source.Times;

    public EpochReport Report()
    {
        var times = source.Times;
        return new EpochReport(
            Stopwatch.GetElapsedTime(_began).TotalSeconds, (source.Waited - _waited).TotalSeconds,
            new SourceTimes(times.Reading - _times.Reading, times.Decoding - _times.Decoding), workers);
    }
}
