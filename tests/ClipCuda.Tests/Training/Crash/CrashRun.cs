using System.Diagnostics;
using ClipCuda.Cli;
using ClipCuda.Data;
using ClipCuda.Model;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training.Crash;

/// <summary>
/// A run of 20 steps in processes of its own, with a checkpoint (10 MB) after each of them: a process is killed, another goes on from what it has left.
/// A run that nobody killed says what must come of it.
/// </summary>
internal sealed class CrashRun : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    private readonly TinyRun _data = new();
    private readonly (string File, byte[] Bytes)[] _expected;
    private readonly string[] _expectedMetrics;

    public CrashRun()
    {
        Process(["--name", "reference"], out var output).WaitForExit();
        var (files, metrics) = Outcome("reference");
        (_expected, _expectedMetrics) = (files, metrics);
        Assert.That(output(), Does.Contain("step 20/20"));
    }

    /// <summary>Where the runs' folders are.</summary>
    public string Logs => _data.Folder.Path;

    /// <summary>Starts or resumes a run, and kills it after some output.</summary>
    /// <param name="kill">Waits for the moment; gets a function that reads a line of output, null at the end of it.</param>
    /// <returns>What the process was doing when it died; null if it was at its end before.</returns>
    public string? Kill(string name, int workers, Action<Func<string?>> kill)
    {
        using var process = Process(["--name", name, "--resume", "latest", "--num-workers", $"{workers}"], out _, read: false);
        kill(process.StandardOutput.ReadLine);
        process.Kill();
        process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode == 0) return null;
        Assert.That(process.ExitCode, Is.EqualTo(128 + 9).Or.EqualTo(-1), "killed, or an error of its own: " + process.StandardError.ReadToEnd());
        return Doing(name);
    }

    /// <summary>Resumes a run and waits for its end.</summary>
    /// <param name="before">Words of the command line in front of the program.</param>
    public (int ExitCode, string Output, string Error) Finish(string name, int workers = 1, params string[] before)
    {
        using var process = Process(["--name", name, "--resume", "latest", "--num-workers", $"{workers}"], out var output, before: before);
        string error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output(), error);
    }

    /// <summary>The command line of a run, as <see cref="Finish"/> starts it.</summary>
    public string[] CommandOf(string name, string logs) => [.. Program(), .. Arguments(["--name", name, "--resume", "latest"], logs)];

    /// <summary>Demands the reference's final weights, moments, state and metrics, to the bit.</summary>
    public void AssertSame(string name)
    {
        var (files, metrics) = Outcome(name);
        Assert.That(files.Select(f => f.File), Is.EqualTo(_expected.Select(f => f.File)), name);
        foreach (var ((file, bytes), (_, expected)) in files.Zip(_expected)) Assert.That(bytes.AsSpan().SequenceEqual(expected), $"{name}: {file} differs");
        Assert.That(metrics, Is.EqualTo(_expectedMetrics), name);
        string[] left = [.. Directory.EnumerateFileSystemEntries(Path.Combine(Logs, name), "*", SearchOption.AllDirectories).Where(path => path.EndsWith(".tmp", StringComparison.Ordinal) || path.EndsWith(".unfinished", StringComparison.Ordinal) || path.EndsWith(".deleted", StringComparison.Ordinal))];
        Assert.That(left, Is.Empty, "nothing half-done is left");
    }

    public void Dispose() => _data.Dispose();

    /// <summary>By what the folder looks like.</summary>
    private string Doing(string name)
    {
        string checkpoints = Path.Combine(Logs, name, RunFolder.CheckpointsFolder);
        string[] entries = Directory.Exists(checkpoints) ? [.. Directory.GetFileSystemEntries(checkpoints).Select(path => Path.GetFileName(path)!)] : [];
        return entries.Any(entry => entry.EndsWith(".unfinished", StringComparison.Ordinal)) ? "while a checkpoint was written"
            : entries.Any(entry => entry.EndsWith(".deleted", StringComparison.Ordinal)) ? "while an old checkpoint was deleted"
            : entries.Contains("latest.tmp") ? "while `latest` was moved"
            : !entries.Contains(CheckpointFolders.LatestFile) ? "before the first checkpoint"
            : "otherwise: reading, computing, starting again";
    }

    private ((string File, byte[] Bytes)[] Files, string[] Metrics) Outcome(string name)
    {
        string run = Path.Combine(Logs, name), last = CheckpointFolders.LatestOf(Path.Combine(run, RunFolder.CheckpointsFolder))!;
        Assert.That(Path.GetFileName(last), Is.EqualTo("epoch_4"), name);
        return ([.. new[] { Checkpoint.WeightsFile, TrainingSnapshot.OptimizerFile, TrainingState.FileName }.Select(file => (file, File.ReadAllBytes(Path.Combine(last, file))))], TrainerResumeTests.UntimedMetrics(run));
    }

    private Process Process(string[] arguments, out Func<string> output, bool read = true, params string[] before)
    {
        string[] command = [.. before, .. Program(), .. Arguments(arguments, Logs)];
        var process = System.Diagnostics.Process.Start(new ProcessStartInfo(command[0], command[1..]) { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true })!;
        var text = read ? process.StandardOutput.ReadToEndAsync() : null;
        output = () => text!.Result;
        _ = KillIfItHangs(process);
        return process;
    }

    private static async Task KillIfItHangs(Process process)
    {
        using var patience = new CancellationTokenSource(Patience);
        try
        {
            await process.WaitForExitAsync(patience.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill();
        }
        catch (InvalidOperationException)
        {
            // Disposed of, so it has ended.
        }
    }

    private static string[] Program() => ["dotnet", typeof(TrainingConsole).Assembly.Location];

    private string[] Arguments(string[] more, string logs) =>
    [
        "train", "--train-csv", _data.TrainCsv, "--val-csv", _data.ValCsv, "--img-root", Path.Combine(DataFolder.Find(), "emoji"), "--batch-size", "8", "--epochs", "4", "--image-size", "32", "--patch-size", "16",
        "--vision-width", "16", "--vision-heads", "1", "--vision-layers", "1", "--text-width", "16", "--text-heads", "1", "--text-layers", "1", "--context-length", "12", "--embed-dim", "16", "--threads", "1",
        "--log-every-n-steps", "1", "--save-steps", "1", "--logs", logs, .. more,
    ];
}
