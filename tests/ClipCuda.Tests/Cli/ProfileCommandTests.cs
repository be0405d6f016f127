using ClipCuda.Model;
using ClipCuda.Tests.SoftCuda;
using ClipCuda.Training;

namespace ClipCuda.Tests.Cli;

public sealed class ProfileCommandTests
{
    private static readonly string[] Tiny =
    [
        "profile", "--batch-size", "4", "--image-size", "16", "--patch-size", "16", "--vision-width", "16", "--vision-layers", "1", "--vision-heads", "1",
        "--text-width", "16", "--text-layers", "1", "--text-heads", "1", "--context-length", "8", "--embed-dim", "8",
    ];

    private static readonly ClipConfig Model = new(8, new VisionConfig(16, 16, 16, 1, 1), new TextConfig(8, 49408, 16, 1, 1));

    [Test]
    public void Shows_every_kernel_and_GEMM_with_shares_that_make_up_the_step()
    {
        var run = CommandLine.Run([.. Tiny, "--steps", "2"]);
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        string[] lines = run.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        string[][] rows = [.. lines.Skip(3).SkipLast(4).Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))];
        Assert.That(rows.Select(row => row[0]), Does.Contain("attention_forward_below_32").And.Contain("adamw_step").And.Contain("gemm"));
        double shares = rows.Sum(row => double.Parse(row.First(cell => cell.EndsWith('%'))[..^1], System.Globalization.CultureInfo.InvariantCulture));
        Assert.That(shares, Is.EqualTo(100).Within(0.05 * rows.Length + 0.01)); // each is rounded to 0.1 %
        Assert.That(rows.Single(row => row[0] == "adamw_step")[1], Is.EqualTo("1"));
        Assert.That(lines[^3], Does.StartWith("A step takes ").And.Contain("the median of 2"));
        Assert.That(lines[^1], Does.StartWith("It allocates "));
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

    /// <summary>Adam moves 28 bytes a parameter, and no copy within memory is faster than memory.</summary>
    [Test]
    public void Shows_how_near_kernels_come_to_what_the_device_can_do()
    {
        var run = CommandLine.Run([.. Tiny, "--steps", "1"]);
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        string[] lines = run.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        double[] adamw = Numbers("adamw_step");
        double[] peaks = [.. lines.Single(line => line.StartsWith("Peaks", StringComparison.Ordinal)).Split(' ').Where(IsNumber).Select(Parse)];
        Assert.That(peaks, Has.Length.EqualTo(4).And.All.Positive);
        double parameters = Parse(CommandLine.Run(["test-model", .. Tiny.Skip(3)]).Output.Split('\n').Single(line => line.StartsWith("parameters", StringComparison.Ordinal)).Split('(')[0].Split(' ', StringSplitOptions.RemoveEmptyEntries).Last(IsNumber));
        // calls, milliseconds, GB/s; the milliseconds have two digits behind the point, the GB/s one.
        Assert.That(adamw[2] * 1e9, Is.EqualTo(28 * parameters / (adamw[1] * 1e-3)).Within(28 * parameters / (adamw[1] * 1e-3) * (0.02 + 0.005 / adamw[1]) + 0.05e9));
        Assert.That(Numbers("gemm")[^1], Is.Positive);
        // Four pairs a step, and the operations of a step over those of a second.
        double milliseconds = lines.Single(line => line.StartsWith("A step takes", StringComparison.Ordinal)).Split(' ').Where(IsNumber).Select(Parse).First();
        double[] rates = [.. lines.Single(line => line.StartsWith("That is", StringComparison.Ordinal)).Split(' ').Where(IsNumber).Select(Parse)];
        Assert.That(rates[0], Is.EqualTo(4 / milliseconds * 1e3).Within(0.1 + 4 / milliseconds * 1e3 * 0.06 / milliseconds));
        double flops = 3 * 4 * ForwardFlops.Of(Model).Pair / milliseconds * 1e3;
        Assert.That(rates[1] * 1e9, Is.EqualTo(flops).Within(flops * 0.06 / milliseconds + 0.0005e9)); // three digits behind the point, and of the milliseconds one

        double[] Numbers(string name) => [.. lines.First(line => line.StartsWith(name + " ", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries).Skip(1).Where(IsNumber).Select(Parse)];

        static bool IsNumber(string cell) => double.TryParse(cell, System.Globalization.NumberStyles.Float | System.Globalization.NumberStyles.AllowThousands, System.Globalization.CultureInfo.InvariantCulture, out _);

        static double Parse(string cell) => double.Parse(cell, System.Globalization.NumberStyles.Float | System.Globalization.NumberStyles.AllowThousands, System.Globalization.CultureInfo.InvariantCulture);
    }

    [Test]
    public void Rounds_to_TF32_on_a_GPU_and_refuses_to_elsewhere()
    {
        CommandLine.Run([.. Tiny, "--tf32", "--device", "cpu"]).MustFail(1, "has no TF32");
        using var gpu = SoftGpu.Plug();
        Assert.That(CommandLine.Run([.. Tiny, "--steps", "1", "--tf32", "--device", "cuda"]).Output, Does.StartWith("Device: Soft GPU 0").And.Contain("TF32"));
    }

    [Test]
    public void Refuses_no_steps() => Assert.That(CommandLine.Run([.. Tiny, "--steps", "0"]).ExitCode, Is.EqualTo(2));
}
