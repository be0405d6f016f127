namespace ClipCuda.Tests.GpuPack;

/// <summary>What a part of the report says of processes that end in one way or another.</summary>
[Platform("Linux")]
public sealed class ReportPartTests
{
    private static readonly TimeSpan Minute = TimeSpan.FromMinutes(1);

    [Test]
    public void A_process_passes_or_fails_as_a_whole_and_shows_the_lines_asked_for()
    {
        var passed = Run("echo one; echo two", shows: line => line == "two");
        Assert.That((passed.Passed, passed.Failed, passed.Shown), Is.EqualTo((1, Array.Empty<string>(), new[] { "two" })));
        var failed = Run("echo first >&2; echo last >&2; exit 3");
        Assert.That((failed.Passed, failed.Failed), Is.EqualTo((0, new[] { "exit code 3, last" })));
    }

    [Test]
    public void Tests_are_counted_and_a_test_that_ends_the_process_is_named()
    {
        const string Two = "echo 'running A'; echo 'passed A'; echo 'running B'; echo 'failed B | 1 is not 2'; echo 'running C'; echo 'skipped C | no GPU'; ";
        var ended = Run(Two + "exit 1", hasTests: true);
        Assert.That((ended.Passed, ended.Failed, ended.Skipped), Is.EqualTo((1, new[] { "B | 1 is not 2" }, new[] { "C | no GPU" })));
        var died = Run(Two + "echo 'running D(1)'; kill -SEGV $$", hasTests: true);
        Assert.That(died.Failed, Is.EqualTo(new[] { "B | 1 is not 2", "D(1) | exit code 139" }));
        var neverBegan = Run("echo 'error: nothing to run' >&2; exit 1", hasTests: true);
        Assert.That((neverBegan.Passed, neverBegan.Failed), Is.EqualTo((0, new[] { "exit code 1, error: nothing to run" })));
    }

    [Test]
    public void A_process_that_hangs_is_killed_with_its_children_and_what_it_printed_counts()
    {
        var part = new ReportPart("hangs", ["sh", "-c", "echo 'running A'; echo 'passed A'; echo 'running B'; sleep 600; echo never"], TimeSpan.FromSeconds(1), HasTests: true);
        var result = part.Run(Minute);
        Assert.That((result.Passed, result.Failed), Is.EqualTo((1, new[] { "B | stopped after 1 s, its time limit" })));
        Assert.That(result.Time, Is.LessThan(Minute));
    }

    [Test]
    public void Without_time_or_program_it_fails_and_says_so()
    {
        var part = new ReportPart("late", ["sh", "-c", "exit 0"], Minute, HasTests: false);
        Assert.That(part.Run(TimeSpan.FromSeconds(-1)).Failed, Is.EqualTo(new[] { "no time was left for it" }));
        Assert.That(new ReportPart("absent", ["/no/such/program"], Minute, HasTests: true).Run(Minute).Failed.Single(), Does.Contain("/no/such/program"));
    }

    private static PartResult Run(string script, bool hasTests = false, Func<string, bool>? shows = null) => new ReportPart("part", ["sh", "-c", script], Minute, hasTests, shows).Run(Minute);
}
