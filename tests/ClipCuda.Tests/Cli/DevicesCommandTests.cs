using ClipCuda.Devices;
using ClipCuda.Tests.SoftCuda;
using ClipCuda.Tests.Training;

namespace ClipCuda.Tests.Cli;

public sealed class DevicesCommandTests
{
    [Test]
    public void Lists_every_GPU_and_the_CPU()
    {
        using var gpu = SoftGpu.Plug(s => s with { Devices = 2 });
        var run = CommandLine.Run("devices");
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        string[] lines = run.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.That(lines, Has.Length.EqualTo(ManagedCudaPlugIn.IsThere ? 5 : 3));
        Assert.That(lines[0], Does.Match(@"^cuda:0 +Soft GPU 0, compute capability 8\.0, 4\.0 GiB, driver for CUDA 12\.4, cuBLAS 13\.1\.2$"));
        Assert.That(lines[1], Does.Match("^cuda:1 +Soft GPU 1"));
        Assert.That(lines[^1], Does.Match("^cpu +CPU, "));
        Assert.That(lines.Select(line => line[..(lines[0].IndexOf("Soft", StringComparison.Ordinal))]), Is.All.EndsWith(" "), "the names are a column");
    }

    [Test]
    public void Says_why_there_is_no_GPU()
    {
        using var gpu = SoftGpu.Plug(s => s with { Devices = 0 });
        Assert.That(CommandLine.Run("devices").Output, Does.Match("^cuda +none: cuInit failed: CUDA_ERROR_NO_DEVICE \\(100\\)").And.Contain("\ncpu "));
    }

    [Test]
    public void Train_on_cuda_writes_the_metrics_that_it_writes_on_the_cpu_and_never_falls_back()
    {
        using var run = new TinyRun();
        string[] Arguments(string device) =>
        [
            "train", "--train-csv", run.TrainCsv, "--val-csv", run.ValCsv, "--img-root", run.Emoji, "--batch-size", "8", "--epochs", "1", "--image-size", "32", "--patch-size", "16",
            "--vision-width", "64", "--vision-layers", "1", "--text-width", "64", "--text-layers", "1", "--context-length", "12", "--embed-dim", "16", "--logs", run.Folder.Path,
            "--device", device, "--name", device.Replace(':', '-'),
        ];
        Assert.That(CommandLine.Run(Arguments("cpu")).ExitCode, Is.Zero);
        using (SoftGpu.Plug())
        {
            var cuda = CommandLine.Run(Arguments("cuda"));
            Assert.That((cuda.ExitCode, cuda.Error), Is.EqualTo((0, "")));
            Assert.That(cuda.Output, Does.StartWith("Device: Soft GPU 0"));
            CommandLine.Run(Arguments("cuda:1")).MustFail(1, "There is no device cuda:1");
        }
        using (SoftGpu.Plug(s => s with { Devices = 0 })) CommandLine.Run(Arguments("cuda:0")).MustFail(1, "CUDA_ERROR_NO_DEVICE");
        Assert.That(Losses("cuda"), Is.EqualTo(Losses("cpu")).And.Not.Empty);

        // Columns of losses; the times differ.
        string[] Losses(string name)
        {
            string[][] rows = [.. File.ReadAllLines(run.Folder.At($"{name}/metrics.csv")).Select(line => line.Split(','))];
            int column = Array.IndexOf(rows[0], "loss");
            Assert.That(column, Is.GreaterThan(0));
            return [.. rows.Skip(1).Select(row => row[column])];
        }
    }
}
