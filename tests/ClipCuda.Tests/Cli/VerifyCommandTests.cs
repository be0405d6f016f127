using ClipCuda.Cli;

namespace ClipCuda.Tests.Cli;

public sealed class VerifyCommandTests
{
    private static readonly string Golden = Path.Combine(AppContext.BaseDirectory, "golden");

    [Test]
    public void A_golden_folder_gives_an_aligned_line_a_tensor_totals_and_exit_code_0()
    {
        var (code, output, error) = Run("verify", Golden, "--device", "cpu", "--threads", "1");
        string[] lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.Zero);
            Assert.That(error, Is.Empty);
            Assert.That(lines[^1], Is.EqualTo("19 compared, 0 failed"));
            Assert.That(lines[1..^1].Select(line => line.Length).Distinct().Count(), Is.EqualTo(1), "lines of one length");
        });
    }

    [Test]
    public void Nothing_to_verify_is_one_line_and_exit_code_1()
    {
        var (code, _, error) = Run("verify", Path.Combine(Golden, "pixels"));
        Assert.That(code, Is.EqualTo(1));
        Assert.That(error.TrimEnd(), Does.StartWith("error: ").And.EndsWith("there is nothing to verify.").And.Not.Contain("\n"));
    }

    [Test]
    public void Without_a_folder_it_is_a_usage_error() => Assert.That(Run("verify").Code, Is.EqualTo(2));

    private static (int Code, string Output, string Error) Run(params string[] args)
    {
        var (output, error) = (new StringWriter(), new StringWriter());
        return (Program.Run(args, output, error), output.ToString(), error.ToString());
    }
}
