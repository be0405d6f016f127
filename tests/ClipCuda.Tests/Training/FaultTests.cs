using System.Diagnostics;
using System.Globalization;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Tests.Cli;
using ClipCuda.Tests.SoftCuda;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

/// <summary>
/// A run of two steps, a checkpoint after each, in which one call of the driver or of cuBLAS fails: there is one error that names the call, nothing is leaked, no
/// rule is broken on the way out, and checkpoints are whole or absent. With CLIPCUDA_FAULTS=all every call is made to fail and FAULTS.md is written
/// (<c>./build.sh faults</c>), else a seeded sample.
/// </summary>
public sealed class FaultTests
{
    private const int Sampled = 6;

    private static readonly bool All = Environment.GetEnvironmentVariable("CLIPCUDA_FAULTS") == "all";

    private readonly FaultTable _table = new();
    private TinyRun _run = null!;
    private byte[][] _weights = [];
    private int _calls;

    [OneTimeSetUp]
    public void RunWithoutFault()
    {
        _run = new TinyRun();
        if (SoftGpu.Missing is not null) return;
        using var gpu = SoftGpu.Plug();
        TinyRun.Train(Options("clean"));
        _weights = [.. Weights("clean")];
        _calls = gpu.Calls;
    }

    [OneTimeTearDown]
    public void Close()
    {
        if (All) File.WriteAllText(Path.Combine(LayoutTests.Root, "tests/ClipCuda.Tests/SoftCuda/FAULTS.md"), _table.Text());
        _run.Dispose();
    }

    [TestCase(CudaDriver.OutOfMemory, "out of memory", false)]
    [TestCase(46, "device unavailable", false)]
    [TestCase(719, "launch failure", true)]
    [TestCase(999, "lost device", true)]
    public void Every_failing_call_is_one_clear_error(int result, string name, bool forEver)
    {
        SoftGpu.Require();
        Assert.That(_calls, Is.GreaterThan(300));
        Assert.That(_weights, Has.Length.EqualTo(2), "a checkpoint a step");
        int[] numbers = [.. Enumerable.Range(1, _calls)];
        if (!All)
        {
            new Random(result).Shuffle(numbers);
            numbers = numbers[..Sampled];
        }
        long start = Stopwatch.GetTimestamp();
        var wrong = new List<string>();
        foreach (int number in numbers)
        {
            try
            {
                var (call, outcome) = Fail(number, result, forEver);
                _table.Add(call, $"{name} ({result})", outcome);
                TestContext.Out.WriteLine($"call {number,4} of {_calls}, {name}: {call}: {outcome}");
            }
            catch (AssertionException error)
            {
                wrong.Add(error.Message);
            }
        }
        TestContext.Progress.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name}: {numbers.Length} of {_calls} calls made to fail in {Stopwatch.GetElapsedTime(start).TotalSeconds:0} s"));
        Assert.That(wrong, Is.Empty);
    }

    /// <summary>What goes wrong in practice, on the command line: one line, exit code 1, what to do, and the checkpoint of the epoch before is as it was.</summary>
    [TestCase("cuMemAllocAsync", CudaDriver.OutOfMemory, false, "CUDA_ERROR_OUT_OF_MEMORY (2)", "lower --batch-size")]
    [TestCase("cuLaunchKernel", 719, true, "cuLaunchKernel (", "CUDA_ERROR_LAUNCH_FAILED (719)", "--device cpu:check shows where")]
    [TestCase("cuStreamSynchronize", 999, true, "CUDA_ERROR_UNKNOWN (999)", "The device is lost")]
    [TestCase("cublasGemmEx", CudaDriver.OutOfMemory, false, "cublasGemmEx (", "CUBLAS_STATUS_ALLOC_FAILED (3)", "lower --batch-size")]
    [TestCase("cuModuleLoadDataEx", CudaDriver.UnsupportedPtxVersion, false, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION (222)", "driver is older than the PTX")]
    public void The_command_line_says_what_failed_and_what_to_do(string call, int result, bool forEver, params string[] says)
    {
        using var gpu = SoftGpu.Plug(s => s with { FailCall = call, FailWith = result, FailsForEver = forEver });
        CommandLine.Run(Arguments($"{call}-{result}")).MustFail(1, [call, .. says]);
    }

    [Test]
    public void The_command_line_says_why_there_is_no_GPU_to_train_on()
    {
        Says(s => s with { Devices = 0 }, "CUDA_ERROR_NO_DEVICE (100)", "nvidia-smi");
        Says(s => s with { DriverVersion = 11_030 }, "supports CUDA 11.3; ClipCuda needs 11.4", "Update the driver");
        Says(s => s with { MemoryBytes = 24 << 20 }, "Not enough memory: a batch of 12 needs about", "use a smaller model");

        void Says(Func<SoftGpuSettings, SoftGpuSettings> settings, params string[] says)
        {
            using var gpu = SoftGpu.Plug(settings);
            CommandLine.Run(Arguments("none")).MustFail(1, says);
        }
    }

    private (string Call, string Outcome) Fail(int number, int result, bool forEver)
    {
        string name = $"fault{result}-{number}";
        using var gpu = SoftGpu.Plug(s => s with { FailAt = number, FailWith = result, FailsForEver = forEver });
        var progress = new RecordedProgress();
        DeviceException? error = null;
        try
        {
            TinyRun.Train(Options(name), progress);
        }
        catch (DeviceException thrown)
        {
            error = thrown;
        }
        Assert.That(gpu.Failed, Is.Not.Null, $"call {number} was never made");
        byte[][] written = [.. Weights(name)];
        Assert.That(written, Has.Length.AtLeast(error is null ? 2 : progress.Steps.Count > 1 ? 1 : 0), $"call {number}: a checkpoint was lost");
        foreach (byte[] weights in written) Assert.That(_weights.Any(whole => whole.AsSpan().SequenceEqual(weights)), $"call {number}: a checkpoint is not whole");
        if (Directory.Exists(_run.Folder.At(name))) Directory.Delete(_run.Folder.At(name), recursive: true);
        if (error is not null)
        {
            Assert.That(error.Message, Does.StartWith(gpu.Failed!).And.Match(@" failed: CU(DA|BLAS)_\w+ \(\d+\): ").And.Not.Contain('\n'), $"call {number}");
            return (gpu.Failed!, "error");
        }
        // The arena gives back what it holds and asks again.
        if (gpu.Failed == "cuMemAllocAsync" && result == CudaDriver.OutOfMemory) return (gpu.Failed, "asked again");
        string? note = progress.Notes.Find(note => note.StartsWith("Steps run call by call", StringComparison.Ordinal));
        Assert.That(note, Is.Not.Null.And.Contains($" {gpu.Failed!}").And.Contains($"({result})").Or.Contains("CUBLAS_STATUS_ALLOC_FAILED (3)"), $"call {number} failed and nobody noticed");
        return (gpu.Failed!, "step not recorded");
    }

    private IEnumerable<byte[]> Weights(string name)
    {
        string folder = _run.Folder.At($"{name}/checkpoints");
        foreach (string checkpoint in Directory.Exists(folder) ? Directory.GetDirectories(folder).Order(StringComparer.Ordinal).ToArray() : [])
            yield return File.ReadAllBytes(Path.Combine(checkpoint, Checkpoint.WeightsFile));
    }

    /// <summary>Two epochs of one step, with captions so narrow that the vocabulary takes no time.</summary>
    private TrainingOptions Options(string name)
    {
        var options = _run.Options(name);
        return options with
        {
            Device = "cuda",
            BatchSize = TinyRun.TrainImages,
            Epochs = 2,
            Keep = 2,
            ValData = null,
            Workers = 0,
            Model = options.Model with { Text = options.Model.Text with { Width = 4 } },
        };
    }

    private string[] Arguments(string name) =>
    [
        "train", "--train-csv", _run.TrainCsv, "--img-root", _run.Emoji, "--batch-size", "12", "--epochs", "1", "--image-size", "32", "--patch-size", "16", "--vision-width", "64",
        "--vision-layers", "1", "--text-width", "64", "--text-layers", "1", "--context-length", "12", "--embed-dim", "16", "--logs", _run.Folder.Path, "--device", "cuda", "--name", name,
    ];
}
