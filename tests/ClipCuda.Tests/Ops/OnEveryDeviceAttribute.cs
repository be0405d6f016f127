using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;
using NUnit.Framework.Internal.Commands;

namespace ClipCuda.Tests.Ops;

/// <summary>
/// A test of an op that is written by hand, not through <see cref="OpTest"/>: it runs on the CPU engine that it names, and then on each other kind of device in that
/// one's place, with the same demands.
/// </summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class OnEveryDeviceAttribute : NUnitAttribute, IWrapSetUpTearDown
{
    public TestCommand Wrap(TestCommand command) => new Repeated(command);

    private sealed class Repeated(TestCommand inner) : DelegatingTestCommand(inner)
    {
        public override TestResult Execute(TestExecutionContext context)
        {
            foreach (string device in TestDevices.Replacements)
            {
                context.CurrentResult = context.CurrentTest.MakeTestResult();
                using var prepared = TestDevices.Prepare(device);
                OpDevices.Run(() => innerCommand.Execute(context), device);
                if (context.CurrentResult.ResultState.Status != TestStatus.Passed)
                {
                    context.CurrentResult.SetResult(context.CurrentResult.ResultState, $"on {device}: {context.CurrentResult.Message}", context.CurrentResult.StackTrace);
                    break;
                }
            }
            return context.CurrentResult;
        }
    }
}
