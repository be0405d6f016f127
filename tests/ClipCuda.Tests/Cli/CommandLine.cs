using ClipCuda.Cli;

namespace ClipCuda.Tests.Cli;

/// <summary>What a command line did, run through the program's own entry point in this process.</summary>
internal sealed record CommandLine(int ExitCode, string Output, string Error)
{
    public static CommandLine Run(params string[] args)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        int exitCode = Program.Run(args, output, error);
        return new CommandLine(exitCode, output.ToString(), error.ToString());
    }

    /// <summary>Demands an exit code and exactly one line of error, which says all of these.</summary>
    public void MustFail(int exitCode, params string[] says)
    {
        Assert.That(ExitCode, Is.EqualTo(exitCode), Error);
        Assert.That(Error, Does.StartWith("error: ").And.EndsWith(Environment.NewLine));
        Assert.That(Error.TrimEnd().Split('\n'), Has.Length.EqualTo(1), Error);
        foreach (string part in says) Assert.That(Error, Does.Contain(part));
    }
}
