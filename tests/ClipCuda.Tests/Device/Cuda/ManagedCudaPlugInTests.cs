using ClipCuda.Devices;
using ClipCuda.Tests.Cli;
using ClipCuda.Tests.SoftCuda;
using ClipCuda.Tests.Training;

namespace ClipCuda.Tests.Devices;

/// <summary>The second CUDA binding, where its plug-in lies beside the tests (<c>./build.sh build managedcuda</c>). The tests of ops run on it as well.</summary>
public sealed class ManagedCudaPlugInTests
{
    [Test]
    public void It_is_named_where_it_is_there_and_how_to_get_it_is_said_where_it_is_not()
    {
        Assert.That(Device.IsName("managedcuda:1"));
        Assert.That(Device.Names.Contains("managedcuda"), Is.EqualTo(ManagedCudaPlugIn.IsThere));
        Assert.That(CommandLine.Run("train", "--help").Output.Contains("managedcuda", StringComparison.Ordinal), Is.EqualTo(ManagedCudaPlugIn.IsThere));
        if (ManagedCudaPlugIn.IsThere) return;
        CommandLine.Run("test-model", "--device", "managedcuda").MustFail(1, "ClipCuda.Device.ManagedCuda.dll", "./build.sh build managedcuda", "GPL");
    }

    [Test]
    public void A_run_has_the_bits_of_the_CPU_device_and_records_its_steps()
    {
        using var gpu = Plug();
        using var run = new TinyRun();
        var (_, cpu) = TinyRun.Train(run.Options("cpu") with { Device = "cpu" });
        var (_, managed) = TinyRun.Train(run.Options("managed") with { Device = "managedcuda" });
        Assert.That(managed.Steps.Select(step => (step.Loss, step.GradientNorm, step.LogitScale)), Is.EqualTo(cpu.Steps.Select(step => (step.Loss, step.GradientNorm, step.LogitScale))));
        Assert.That(managed.Evaluations, Is.EqualTo(cpu.Evaluations));
        Assert.That(managed.Notes[0], Does.StartWith("Device: Soft GPU 0, compute capability 8.0").And.EndsWith("cuBLAS 13.1.2, through ManagedCuda"));
        Assert.That(gpu.CallsOf("cuGraphLaunch"), Is.EqualTo(2 * (managed.Steps.Count - 1)));
    }

    [Test]
    public void Errors_are_those_of_the_driver()
    {
        using var gpu = Plug(s => s with { FailCall = "cuMemAllocAsync", FailWith = CudaDriver.OutOfMemory });
        Assert.That(() => Device.Open("managedcuda", 0), Throws.TypeOf<DeviceException>().With.Message.Contains("CUDA_ERROR_OUT_OF_MEMORY (2)"));
        Assert.That(() => Device.Open("managedcuda:7", 0), Throws.TypeOf<DeviceException>().With.Message.EqualTo("There is no device managedcuda:7; the driver has one CUDA device, managedcuda:0."));
    }

    private static SoftGpu Plug(Func<SoftGpuSettings, SoftGpuSettings>? settings = null)
    {
        if (!ManagedCudaPlugIn.IsThere) Assert.Ignore("The ManagedCuda plug-in is not built (./build.sh build managedcuda).");
        return SoftGpu.Plug(settings ?? (s => s));
    }
}
