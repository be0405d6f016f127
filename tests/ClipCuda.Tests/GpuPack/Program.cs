using ClipCuda.Tests.SoftCuda;

namespace ClipCuda.Tests.GpuPack;

/// <summary>
/// What the tests' executable does when it is started itself; <c>dotnet test</c> does not come by here. <c>gpu-report</c> writes the report on a machine's GPU
/// (<see cref="GpuReport"/>), and starts the others, a process each: a fault of the GPU or of a kernel ends one of them, not the report.
/// </summary>
internal static class Program
{
    /// <summary>Set to 1, the processes that the report starts see a <see cref="SoftGpu"/> in place of the machine's: a trial of the report where there is no GPU.</summary>
    public const string SoftVariable = "CLIPCUDA_SOFT_GPU";

    private const int Failed = 1, UsageError = 2;

    public static int Main(string[] args)
    {
        try
        {
            return args switch
            {
                [GpuReport.Verb, .. var rest] => GpuReport.Run(rest, Console.Out),
                [TestRun.Verb, var classes] => OnGpu(() => TestRun.Run(classes, Console.Out)),
                [GpuReport.ProgramVerb, .. var rest] => OnGpu(() => ClipCuda.Cli.Program.Main(rest)),
                _ => throw new ArgumentException($"usage: {GpuReport.Verb} [--small] [--output FILE] | {TestRun.Verb} CLASSES | {GpuReport.ProgramVerb} ARGUMENTS; CLASSES is a regular expression of classes' full names."),
            };
        }
        catch (Exception error)
        {
            Console.Error.WriteLine($"error: {error.Message.ReplaceLineEndings(" ")}");
            return error is ArgumentException ? UsageError : Failed;
        }
    }

    private static int OnGpu(Func<int> work)
    {
        if (Environment.GetEnvironmentVariable(SoftVariable) != "1") return work();
        using var gpu = SoftGpu.PlugIntoProcess();
        return work();
    }
}
