using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;

namespace ClipCuda.Tests.GpuPack;

/// <summary>One part of the report: a process, and how long it may take.</summary>
/// <param name="Command">The program and its arguments.</param>
/// <param name="HasTests">It prints a <see cref="TestRun"/>'s lines, which are counted; else it passes or fails as a whole.</param>
/// <param name="Shows">Which lines of its output the report has; null for none.</param>
internal sealed record ReportPart(string Title, string[] Command, TimeSpan Limit, bool HasTests, Func<string, bool>? Shows = null)
{
    private const int MostShown = 150;

    private readonly List<string> _output = [], _errors = [];

    /// <summary>Runs it; the process and its children are killed when the time is over.</summary>
    /// <param name="left">What is left of the whole report's time.</param>
    public PartResult Run(TimeSpan left)
    {
        var limit = left < Limit ? left : Limit;
        long start = Stopwatch.GetTimestamp();
        int? exitCode = null;
        string? ended = "no time was left for it";
        try
        {
            if (limit > TimeSpan.Zero) exitCode = Wait(limit);
            ended = exitCode switch
            {
                0 => null,
                null when limit > TimeSpan.Zero => string.Create(CultureInfo.InvariantCulture, $"stopped after {limit.TotalSeconds:0.#} s, its time limit"),
                null => ended,
                _ => $"exit code {exitCode}{(_errors.Count > 0 ? ", " + _errors[^1] : "")}",
            };
        }
        catch (Win32Exception error)
        {
            ended = error.Message;
        }
        var time = Stopwatch.GetElapsedTime(start);
        string[] shown = Shows is null ? [] : [.. _output.Where(Shows).Take(MostShown)];
        return HasTests ? CountTests(exitCode, ended, shown, time) : new PartResult(Title, ended is null ? 1 : 0, ended is null ? [] : [ended], [], shown, time);
    }

    private int? Wait(TimeSpan limit)
    {
        var info = new ProcessStartInfo(Command[0], Command[1..]) { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true };
        info.Environment["CLIPCUDA_DEVICE"] = "cuda";
        using var process = Process.Start(info)!;
        process.OutputDataReceived += (_, line) => Keep(_output, line.Data);
        process.ErrorDataReceived += (_, line) => Keep(_errors, line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        bool inTime = process.WaitForExit(limit);
        if (!inTime) process.Kill(entireProcessTree: true);
        process.WaitForExit(); // until all that it printed has been read
        return inTime ? process.ExitCode : null;

        static void Keep(List<string> lines, string? line)
        {
            if (line is not null) lines.Add(line);
        }
    }

    private PartResult CountTests(int? exitCode, string? ended, string[] shown, TimeSpan time)
    {
        List<string> failed = [.. Those(TestRun.Failed)];
        string[] passed = [.. Those(TestRun.Passed)], skipped = [.. Those(TestRun.Skipped)];
        // Exit code 1 is that of a run which came to its end and had failures.
        if (ended is not null && (exitCode != 1 || failed.Count == 0))
        {
            string? last = Those(TestRun.Running).LastOrDefault();
            bool within = last is not null && !passed.Contains(last) && !failed.Concat(skipped).Any(line => line.StartsWith(last, StringComparison.Ordinal));
            failed.Add(within ? $"{last}{TestRun.Because}{ended}" : ended);
        }
        return new PartResult(Title, passed.Length, failed, skipped, shown, time);

        IEnumerable<string> Those(string prefix) => _output.Where(line => line.StartsWith(prefix, StringComparison.Ordinal)).Select(line => line[prefix.Length..]);
    }
}

/// <summary>What came of a part.</summary>
/// <param name="Failed">A line a failure: the test and why.</param>
/// <param name="Skipped">A line a test that did not run, and why.</param>
/// <param name="Shown">What the report has of its output.</param>
internal sealed record PartResult(string Title, int Passed, IReadOnlyList<string> Failed, IReadOnlyList<string> Skipped, IReadOnlyList<string> Shown, TimeSpan Time);
