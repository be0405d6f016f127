namespace ClipCuda.Cli;

/// <summary>Long work says how far it is: a line now and then, none if it is over before the first would be due.</summary>
/// <param name="what">What is done to each of them: "encoded".</param>
internal sealed class ProgressLines(TextWriter output, int total, string what, TimeProvider? clock = null)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(10);

    private readonly TimeProvider _clock = clock ?? TimeProvider.System;
    private readonly long _began = (clock ?? TimeProvider.System).GetTimestamp();
    private TimeSpan _next = Interval;
    private int _first = -1;

    public void Report(int done)
    {
        // What an earlier run did does not count for the rate.
        if (_first < 0) _first = done;
        var elapsed = _clock.GetElapsedTime(_began);
        if (elapsed < _next) return;
        _next = elapsed + Interval;
        output.WriteLine($"{done:N0} of {total:N0} {what}, {(done - _first) / elapsed.TotalSeconds:0}/s");
    }
}
