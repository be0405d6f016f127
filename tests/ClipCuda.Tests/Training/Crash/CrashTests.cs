using System.Diagnostics;
using System.Globalization;
using System.Text;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training.Crash;

/// <summary>
/// Whatever ends a run, it goes on from what is on the disk and comes to the same bits. <c>./build.sh crash [count] [seed]</c> kills processes that often and
/// writes the table in RESULTS.md; without it a small sample is killed.
/// </summary>
[Category("Crash")]
public sealed class CrashTests
{
    private const int SampledKills = 4, MostKillsOfARun = 7;

    private CrashRun _run = null!;

    [OneTimeSetUp]
    public void SetUp() => _run = new CrashRun();

    [OneTimeTearDown]
    public void TearDown() => _run.Dispose();

    [Test]
    public void A_run_that_is_killed_at_any_moment_comes_to_the_same_bits()
    {
        int count = Number("CLIPCUDA_CRASH") ?? SampledKills, seed = Number("CLIPCUDA_CRASH_SEED") ?? 1;
        var random = new Random(seed);
        var kills = new SortedDictionary<string, int>(StringComparer.Ordinal);
        var clock = Stopwatch.StartNew();
        int runs = 0;
        for (int killed = 0; killed < count; runs++)
        {
            string name = $"killed{runs}";
            for (int i = 0; i < MostKillsOfARun && killed < count; i++)
            {
                string? doing = _run.Kill(name, workers: random.Next(4), Moment(random, Path.Combine(_run.Logs, name, RunFolder.CheckpointsFolder)));
                if (doing is null) break;
                kills[doing] = kills.GetValueOrDefault(doing) + 1;
                killed++;
            }
            var (exitCode, output, error) = _run.Finish(name, workers: random.Next(4));
            Assert.That((exitCode, error), Is.EqualTo((0, "")), output);
            _run.AssertSame(name);
            Directory.Delete(Path.Combine(_run.Logs, name), recursive: true);
        }
        string table = Table(kills, runs);
        TestContext.Out.WriteLine(table);
        if (Number("CLIPCUDA_CRASH") is null) return;
        string text = $"""
            # Runs that were killed

            `./build.sh crash {count} {seed}`: a run of 20 steps with a checkpoint (10 MB) after every step and an evaluation after every epoch is killed (SIGKILL) at random moments, up to {MostKillsOfARun}
            times, and goes on each time with `--resume latest` and 0 to 3 loader threads. In the end its weights, moments, state and metrics (but for times) must be
            those of a run that was never killed, to the bit, with nothing half-done left in its folder. What a process was doing is what its folder shows.

            {table}
            Beside these: a disk that is full, a folder that becomes read-only, and images that vanish end a run with one line and exit code 1, and it
            goes on to the same bits when there is room, permission, or the images are back (`CrashTests`, `TrainerResumeTests`).

            """;
        File.WriteAllText(Path.Combine(LayoutTests.Root, "tests/ClipCuda.Tests/Training/Crash/RESULTS.md"), text.ReplaceLineEndings("\n"));
    }

    /// <summary>A tmpfs that has room for one checkpoint and no second.</summary>
    [Test]
    [Platform("Linux", Reason = "a file system of a given size is mounted in a namespace of its own")]
    public void A_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room()
    {
        using var folder = new Data.TemporaryFolder();
        string script = folder.Write("full.sh", """
            disk=$1; result=$2; shift 2
            mount -t tmpfs -o size=15m tmpfs "$disk" || exit 99
            "$@" >"$result/full.out" 2>"$result/full.err"; echo $? >"$result/full.rc"
            ls "$disk/full/checkpoints" >"$result/full.ls"
            mount -o remount,size=1g "$disk"
            "$@" >"$result/more.out" 2>"$result/more.err"; echo $? >"$result/more.rc"
            cp -r "$disk/full" "$result"
            """);
        string disk = Directory.CreateDirectory(folder.At("disk")).FullName;
        using (var process = Start(["unshare", "-rm", "sh", script, disk, _run.Logs, .. _run.CommandOf("full", disk)]))
        {
            process.WaitForExit();
            if (process.ExitCode != 0) Assert.Ignore($"this machine gives no namespace to mount a small disk in: {process.StandardError.ReadToEnd()}");
        }
        string Result(string name) => File.ReadAllText(Path.Combine(_run.Logs, name)).Trim();
        Assert.That(Result("full.rc"), Is.EqualTo("1"));
        Assert.That(Result("full.err"), Does.StartWith("error: A checkpoint cannot be written (").And.Contains("the last one is").And.Contains("--resume latest").And.Not.Contains("\n"));
        Assert.That(Result("full.ls").Split('\n'), Is.EqualTo(new[] { "latest", "step_1" }), "what was not whole is gone");
        Assert.That((Result("more.rc"), Result("more.err")), Is.EqualTo(("0", "")));
        Assert.That(Result("more.out"), Does.Contain("step 1 of 20"));
        _run.AssertSame("full");
    }

    [Test]
    [Platform(Exclude = "Win", Reason = "folders have permissions of another kind")]
    [System.Runtime.Versioning.UnsupportedOSPlatform("windows")]
    public void A_folder_that_is_read_only_is_one_line_and_the_run_goes_on_when_it_is_not()
    {
        const string Name = "readonly";
        // Root writes everywhere, unless that power is taken from it.
        string[] without = Environment.IsPrivilegedProcess ? ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"] : [];
        if (without.Length > 0 && !File.Exists("/usr/bin/setpriv")) Assert.Ignore("root may write to read-only folders, and there is no setpriv to take that from it");
        Assert.That(_run.Kill(Name, 1, AfterSteps(2, TimeSpan.Zero)), Is.Not.Null);
        string checkpoints = Path.Combine(_run.Logs, Name, RunFolder.CheckpointsFolder);
        var mode = File.GetUnixFileMode(checkpoints);
        File.SetUnixFileMode(checkpoints, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        var refused = _run.Finish(Name, 1, without);
        File.SetUnixFileMode(checkpoints, mode);
        Assert.That(refused.ExitCode, Is.EqualTo(1), refused.Output);
        Assert.That(refused.Error, Does.StartWith("error: ").And.Contains("cannot be written").And.Contains(Name));
        Assert.That(refused.Error.TrimEnd().Split('\n'), Has.Length.EqualTo(1));
        Assert.That(_run.Finish(Name).ExitCode, Is.Zero);
        _run.AssertSame(Name);
    }

    /// <summary>While it starts, a while after a step, or as soon as a checkpoint begins to be written or deleted.</summary>
    private static Action<Func<string?>> Moment(Random random, string checkpoints)
    {
        int steps = random.Next(1, 6);
        var delay = TimeSpan.FromMilliseconds(random.NextDouble() * 30);
        return random.Next(8) switch
        {
            0 => _ => Thread.Sleep(TimeSpan.FromMilliseconds(random.NextDouble() * 2500)),
            1 or 2 or 3 => AfterSteps(steps, delay),
            4 or 5 or 6 => read => AfterSight(read, steps, checkpoints, "*.unfinished", delay / 3),
            _ => read => AfterSight(read, steps, checkpoints, "*.deleted", TimeSpan.Zero),
        };
    }

    private static Action<Func<string?>> AfterSteps(int steps, TimeSpan delay) => read =>
    {
        for (int seen = 0; seen < steps && read() is { } line;)
        {
            if (line.Contains(" loss ", StringComparison.Ordinal) && line.Contains("/s wait", StringComparison.Ordinal)) seen++;
        }
        Thread.Sleep(delay);
    };

    /// <summary>After so many steps waits until a folder shows; not longer than a run takes.</summary>
    private static void AfterSight(Func<string?> read, int steps, string checkpoints, string pattern, TimeSpan delay)
    {
        AfterSteps(steps, TimeSpan.Zero)(read);
        var clock = Stopwatch.StartNew();
        while (clock.Elapsed < TimeSpan.FromSeconds(1) && Directory.Exists(checkpoints) && Directory.GetDirectories(checkpoints, pattern).Length == 0) Thread.Yield();
        Thread.Sleep(delay);
    }

    private static string Table(SortedDictionary<string, int> kills, int runs)
    {
        var table = new StringBuilder("| killed | kills | resumed to the same bits |\n|---|---:|---:|\n");
        foreach (var (doing, number) in kills) table.Append(CultureInfo.InvariantCulture, $"| {doing} | {number} | {number} |\n");
        return table.Append(CultureInfo.InvariantCulture, $"| **all**, in {runs} runs | **{kills.Values.Sum()}** | **{kills.Values.Sum()}** |\n").ToString();
    }

    private static Process Start(string[] command) =>
        Process.Start(new ProcessStartInfo(command[0], command[1..]) { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true })!;

    private static int? Number(string variable) => Environment.GetEnvironmentVariable(variable) is { Length: > 0 } text ? int.Parse(text, CultureInfo.InvariantCulture) : null;
}
