using System.Security;
using NUnit.Framework.Api;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace ClipCuda.Tests.GpuPack;

/// <summary>Runs tests of this assembly in this process and prints a line when one starts and one when it ends, so that whoever reads them knows which ended the process.</summary>
internal sealed class TestRun(TextWriter output) : ITestListener
{
    public const string Verb = "tests";

    /// <summary>What the lines begin with; the name of the test follows, and behind <see cref="Because"/> why.</summary>
    public const string Running = "running ", Passed = "passed ", Failed = "failed ", Skipped = "skipped ", Because = " | ";

    private int _failed, _ended;

    /// <summary>Runs the tests of the classes whose full names match a regular expression.</summary>
    /// <returns>0 if there were any and none failed, else 1.</returns>
    public static int Run(string classes, TextWriter output)
    {
        var run = new TestRun(output);
        var runner = new NUnitTestAssemblyRunner(new DefaultTestAssemblyBuilder());
        runner.Load(typeof(TestRun).Assembly, new Dictionary<string, object>(StringComparer.Ordinal));
        // NUnit puts a writer of its own in the console's place; `output` was taken before.
        runner.Run(run, TestFilter.FromXml($"<filter><class re=\"1\">{SecurityElement.Escape(classes)}</class></filter>"));
        if (run._ended == 0) throw new InvalidOperationException($"No class of tests matches '{classes}'.");
        return run._failed == 0 ? 0 : 1;
    }

    void ITestListener.TestStarted(ITest test)
    {
        if (!test.IsSuite) Say(Running, test.FullName, why: null);
    }

    void ITestListener.TestFinished(ITestResult result)
    {
        var state = result.ResultState;
        // A class fails with its tests; by itself only where it is set up or torn down.
        if (result.Test.IsSuite && (state.Status != TestStatus.Failed || state.Site is not (FailureSite.SetUp or FailureSite.TearDown))) return;
        _ended++;
        switch (state.Status)
        {
            case TestStatus.Passed:
                Say(Passed, result.FullName, why: null);
                break;
            case TestStatus.Failed:
                _failed++;
                Say(Failed, result.FullName, result.Message);
                break;
            default:
                Say(Skipped, result.FullName, result.Message);
                break;
        }
    }

    void ITestListener.TestOutput(TestOutput output) { }

    void ITestListener.SendMessage(TestMessage message) { }

    private void Say(string what, string name, string? why)
    {
        output.WriteLine($"{what}{name}{(why is null ? "" : Because + why.ReplaceLineEndings(" ").Trim())}");
        output.Flush();
    }
}
