namespace ClipCuda.Tests.Cli;

public sealed class ProfileCommandTests
{
    private static readonly string[] Tiny =
    [
        "profile", "--batch-size", "4", "--image-size", "16", "--patch-size", "16", "--vision-width", "16", "--vision-layers", "1", "--vision-heads", "1",
        "--text-width", "16", "--text-layers", "1", "--text-heads", "1", "--context-length", "8", "--embed-dim", "8",
    ];

    [Test]
    public void Shows_every_kernel_and_GEMM_with_shares_that_make_up_the_step()
    {
        var run = CommandLine.Run([.. Tiny, "--steps", "2"]);
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        string[] lines = run.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        string[][] rows = [.. lines.Skip(3).SkipLast(1).Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))];
        Assert.That(rows.Select(row => row[0]), Does.Contain("attention_forward_32").And.Contain("adamw_step").And.Contain("gemm"));
        double shares = rows.Sum(row => double.Parse(row.First(cell => cell.EndsWith('%'))[..^1], System.Globalization.CultureInfo.InvariantCulture));
        Assert.That(shares, Is.EqualTo(100).Within(0.05 * rows.Length + 0.01)); // each is rounded to 0.1 %
        Assert.That(rows.Single(row => row[0] == "adamw_step")[1], Is.EqualTo("1"));
        Assert.That(lines[^1], Does.StartWith("A step takes ").And.Contain("the median of 2"));
    }

    /// <summary>Adam reads four arrays and writes three, each a multiple of a sector.</summary>
    [Test]
    public void Counts_what_kernels_do_where_they_are_checked()
    {
        var run = CommandLine.Run([.. Tiny, "--steps", "1", "--device", "cpu:check"]);
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        string[] counted = [.. run.Output.Split('\n').SkipWhile(line => !line.StartsWith("counted in a step", StringComparison.Ordinal)).Skip(2)];
        string[] adamw = counted.Single(line => line.StartsWith("adamw_step ", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries);
        double[] numbers = [.. adamw.Where(cell => double.TryParse(cell, System.Globalization.CultureInfo.InvariantCulture, out _)).Select(cell => double.Parse(cell, System.Globalization.CultureInfo.InvariantCulture))];
        Assert.That(numbers, Has.Length.EqualTo(9));
        Assert.That(numbers[0], Is.Positive);
        Assert.That(numbers[3] / numbers[6], Is.EqualTo(4.0 / 3).Within(5).Percent);
        Assert.That(CommandLine.Run([.. Tiny, "--steps", "1"]).Output, Does.Not.Contain("counted in a step"));
    }

    [Test]
    public void Refuses_no_steps() => Assert.That(CommandLine.Run([.. Tiny, "--steps", "0"]).ExitCode, Is.EqualTo(2));
}
