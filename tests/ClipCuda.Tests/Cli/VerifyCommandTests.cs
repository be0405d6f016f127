namespace ClipCuda.Tests.Cli;

public sealed class VerifyCommandTests
{
    private static readonly string Golden = Path.Combine(AppContext.BaseDirectory, "golden");

    [Test]
    public void A_golden_folder_gives_an_aligned_line_a_tensor_totals_and_exit_code_0()
    {
        var run = CommandLine.Run("verify", Golden, "--device", "cpu", "--threads", "1");
        string[] lines = run.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Multiple(() =>
        {
            Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
            Assert.That(lines[^1], Is.EqualTo("19 compared, 0 failed"));
            Assert.That(lines[1..^1].Select(line => line.Length).Distinct().Count(), Is.EqualTo(1), "lines of one length");
        });
    }

    [Test]
    public void Nothing_to_verify_is_one_line_and_exit_code_1() => CommandLine.Run("verify", Path.Combine(Golden, "pixels")).MustFail(1, "there is nothing to verify.");

    [Test]
    public void Without_a_folder_it_is_a_usage_error() => CommandLine.Run("verify").MustFail(2, "verify");
}
