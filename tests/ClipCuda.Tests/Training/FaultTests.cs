using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Tests.SoftCuda;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

/// <summary>
/// A run of two steps in which one call of the driver or of cuBLAS fails: there is one error that names the call, nothing is leaked, no rule is broken on the
/// way out, and checkpoints are whole or absent. With CLIPCUDA_FAULTS=all every call is made to fail (<c>./build.sh faults</c>), else a seeded sample.
/// </summary>
public sealed class FaultTests
{
    private const int Sampled = 6;

    private TinyRun _run = null!;

    [SetUp]
    public void SetUp() => _run = new TinyRun();

    [TearDown]
    public void TearDown() => _run.Dispose();

    [TestCase(CudaDriver.OutOfMemory, false)]
    [TestCase(719, true, TestName = "Every_failing_call_is_one_clear_error(launch failure)")]
    [TestCase(999, true, TestName = "Every_failing_call_is_one_clear_error(lost device)")]
    [TestCase(46, false, TestName = "Every_failing_call_is_one_clear_error(device unavailable)")]
    public void Every_failing_call_is_one_clear_error(int result, bool forEver)
    {
        int calls = CallsOfARun();
        Assert.That(calls, Is.GreaterThan(300));
        int[] numbers = [.. Enumerable.Range(1, calls)];
        if (Environment.GetEnvironmentVariable("CLIPCUDA_FAULTS") != "all")
        {
            new Random(result).Shuffle(numbers);
            numbers = numbers[..Sampled];
        }
        var outcomes = new SortedDictionary<string, int>(StringComparer.Ordinal);
        foreach (int number in numbers)
        {
            string outcome = Fail(number, result, forEver);
            outcomes[outcome] = outcomes.GetValueOrDefault(outcome) + 1;
        }
        foreach (var (outcome, count) in outcomes) TestContext.Out.WriteLine($"result {result,3}: {count,4} × {outcome}");
    }

    private int CallsOfARun()
    {
        using var gpu = SoftGpu.Plug();
        TinyRun.Train(Options("clean"));
        return gpu.Calls;
    }

    /// <summary>Returns what came of it, without the numbers that differ from run to run.</summary>
    private string Fail(int number, int result, bool forEver)
    {
        string name = $"fault{result}-{number}";
        using var gpu = SoftGpu.Plug(s => s with { FailAt = number, FailWith = result, FailsForEver = forEver });
        DeviceException? error = null;
        try
        {
            TinyRun.Train(Options(name));
        }
        catch (DeviceException thrown)
        {
            error = thrown;
        }
        Assert.That(gpu.Failed, Is.Not.Null, $"call {number} was never made");
        string checkpoints = _run.Folder.At($"{name}/checkpoints");
        foreach (string folder in Directory.Exists(checkpoints) ? Directory.GetDirectories(checkpoints) : [])
        {
            using var device = Device.Open("cpu", 1);
            using var model = Checkpoint.Load(device, folder);
        }
        if (error is null)
        {
            // The arena gives back what it holds and asks again.
            Assert.That((gpu.Failed, result), Is.EqualTo(("cuMemAllocAsync", CudaDriver.OutOfMemory)), $"call {number} failed and nobody noticed");
            return "cuMemAllocAsync: tried again";
        }
        Assert.That(error.Message, Does.StartWith(gpu.Failed!).And.Match(@" failed: CU(DA|BLAS)_\w+ \(\d+\): ").And.Not.Contain('\n'), $"call {number}");
        return $"{gpu.Failed}: one error";
    }

    private TrainingOptions Options(string name) =>
        _run.Options(name) with { Device = "cuda", BatchSize = 12, Epochs = 1, ValCsv = null, Workers = 0 };
}
