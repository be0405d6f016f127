using System.Diagnostics;
using System.Reflection;
using ClipCuda.Devices;
using ClipCuda.Ops;
using ClipCuda.Ptx;
using ClipCuda.Tests.Ops;
using NUnit.Framework.Internal;
using NUnit.Framework.Internal.Builders;

namespace ClipCuda.Tests.Ptx.Mutation;

/// <summary>
/// One case of an op's tests, as NUnit runs it, callable as often as there are mutants: on the checking interpreter with a limit on the instructions of a
/// block, or on the compiler, with one thread.
/// </summary>
internal sealed class OpCase
{
    private readonly TestMethod _test;
    private readonly List<object> _derived = [];
    private long _stepLimit = KernelProgram.DefaultStepLimit;

    private OpCase(TestMethod test) => _test = test;

    public string Name => _test.Name;

    /// <summary>What it takes with the kernels as they are.</summary>
    public double Seconds { get; private set; }

    /// <summary>How often warps executed each instruction, by entry.</summary>
    private readonly Dictionary<string, long[]> _executed = new(StringComparer.Ordinal);

    /// <summary>The cases of the fixture that bears a kernel module's name; each has run once on kernels as they are, and passed.</summary>
    public static IReadOnlyList<OpCase> Of(string module)
    {
        var fixture = typeof(OpTest).Assembly.GetTypes().Single(t => t.Namespace == typeof(OpTest).Namespace && t.Name.Equals(module + "Tests", StringComparison.OrdinalIgnoreCase));
        var cases = new List<OpCase>();
        Collect(new DefaultSuiteBuilder().BuildFrom(new TypeWrapper(fixture)), cases);
        foreach (var one in cases) one.Measure();
        return [.. cases.OrderBy(c => c.Seconds)];
    }

    private static void Collect(NUnit.Framework.Internal.Test test, List<OpCase> cases)
    {
        if (test is TestMethod method) cases.Add(new OpCase(method));
        foreach (var child in test.Tests) Collect((NUnit.Framework.Internal.Test)child, cases);
    }

    public bool Executes(Mutant mutant) => _executed.TryGetValue(mutant.Entry, out long[]? counts) && counts[mutant.Index] > 0;

    /// <summary>Runs the case with the kernels of a module, checked; null if it passes, else why it fails.</summary>
    public Exception? Run(PtxModule module) => Run(module, CpuEngine.Check with { StepLimit = _stepLimit });

    /// <summary>The same on the compiler, which checks nothing.</summary>
    public Exception? RunCompiled(PtxModule module) => Run(module, CpuEngine.Fastest);

    private Exception? Run(PtxModule module, CpuEngine engine)
    {
        return Run(() =>
        {
            var device = new CpuDevice(threads: 1, engine);
            device.Use(new KernelModule(device, module));
            return device;
        });
    }

    private void Measure()
    {
        var profiles = new List<DeviceProfile>();
        Exception? Counted() => Run(() =>
        {
            var device = new CpuDevice(threads: 1, CpuEngine.Check) { Profile = new DeviceProfile() };
            profiles.Add(device.Profile);
            return device;
        });
        if (Counted() is { } error) throw new InvalidOperationException($"{_test.FullName} fails without any mutation: {error.Message}", error);
        long start = Stopwatch.GetTimestamp(), most = 0;
        foreach (var entry in profiles.SelectMany(p => p.Entries).Where(e => e.Counters is not null))
        {
            var counters = entry.Counters!;
            most = Math.Max(most, counters.WarpInstructions);
            if (!_executed.TryGetValue(entry.Name, out long[]? counts)) _executed.Add(entry.Name, counts = new long[counters.Executed.Count]);
            for (int i = 0; i < counts.Length; i++) counts[i] += counters.Executed[i];
        }
        // A block that takes twice what all blocks of all launches take as they are will not end.
        _stepLimit = 2 * most + 10_000;
        Run(() => new CpuDevice(threads: 1, CpuEngine.Check));
        Seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private Exception? Run(Func<Device> open)
    {
        // A failure here is no failure of the test that mutates.
        using var isolated = new TestExecutionContext.IsolatedContext();
        try
        {
            object fixture = Activator.CreateInstance(_test.TypeInfo!.Type)!;
            OpDevices.Run(() => _test.Method.MethodInfo.Invoke(fixture, _test.Arguments), open, _derived);
            return null;
        }
        catch (TargetInvocationException exception)
        {
            return exception.InnerException;
        }
    }
}
