using System.Runtime.InteropServices;
using ClipCuda.Devices;
using ClipCuda.Ops;
using ClipCuda.Tests.SoftCuda;
using ClipCuda.Tests.Training;

namespace ClipCuda.Tests.Devices;

/// <summary>The CUDA device on a soft GPU: what it computes, what it says when it cannot, and that it breaks no rule of the driver's.</summary>
public sealed class CudaDeviceTests
{
    private static IEnumerable<(bool A, bool B)> Transpositions() => [(false, false), (false, true), (true, false), (true, true)];

    /// <summary>Every form of a product is held against a triple loop in float64, so that two mistakes that undo each other in CudaDevice and soft cuBLAS are found.</summary>
    [Test]
    public void Row_major_products_come_out_of_a_column_major_library(
        [Values(1, 3)] int batch, [Values(0f, 1f, -0.5f)] float beta, [Values(1f, 0.37f, 0f)] float alpha, [Values(0, 1, 7)] int k)
    {
        using var gpu = SoftGpu.Plug();
        using var device = Device.Open("cuda", 0);
        foreach (var (transposedA, transposedB) in Transpositions())
        {
            foreach (var (m, n) in ((int, int)[])[(1, 1), (5, 3), (2, 9)])
            {
                int rowsA = transposedA ? k : m, columnsA = transposedA ? m : k, rowsB = transposedB ? n : k, columnsB = transposedB ? k : n;
                int ldA = columnsA + 2, ldB = columnsB + 1, ldC = n + 3;
                long strideA = rowsA * ldA + 1, strideB = batch == 3 ? 0 : rowsB * ldB, strideC = m * ldC + 2;
                float[] a = Draw(1, batch * strideA + 1), b = Draw(2, batch * strideB + rowsB * ldB + 1), c = Draw(3, batch * strideC);
                using var bufferA = Upload(device, a);
                using var bufferB = Upload(device, b);
                using var bufferC = Upload(device, c);
                device.Gemm(new GemmCall(
                    m, n, k, new(bufferA.Start, ldA, transposedA, strideA), new(bufferB.Start, ldB, transposedB, strideB), new(bufferC.Start, ldC, false, strideC), alpha, beta, batch));
                double[] expected = Array.ConvertAll(c, x => (double)x);
                for (int z = 0; z < batch; z++)
                {
                    for (int i = 0; i < m; i++)
                    {
                        for (int j = 0; j < n; j++)
                        {
                            double sum = 0;
                            for (int l = 0; l < k; l++)
                                sum += (double)a[z * strideA + (transposedA ? l * ldA + i : i * ldA + l)] * b[z * strideB + (transposedB ? j * ldB + l : l * ldB + j)];
                            long at = z * strideC + i * ldC + j;
                            expected[at] = alpha * sum + (double)beta * c[at];
                        }
                    }
                }
                var actual = new float[c.Length];
                device.CopyToHost(bufferC.Start, MemoryMarshal.AsBytes(actual.AsSpan()));
                // Nine roundings of terms below the largest magnitude's sum of seven products.
                Numbers.AssertClose(actual, expected, 9 * 6e-8, 9 * 6e-8 * 7 * 9, $"{m}×{n}×{k} {transposedA} {transposedB}");
            }
        }
    }

    [Test]
    public void Tf32_rounds_factors_only_when_it_is_asked_for([Values] bool tf32)
    {
        using var gpu = SoftGpu.Plug();
        using var device = Device.Open("cuda", 0, tf32);
        using var one = Upload(device, [1 + 1f / 4096]);
        using var product = device.Allocate(4, "product");
        device.Gemm(new GemmCall(1, 1, 1, new(one.Start, 1), new(one.Start, 1), new(product.Start, 1)));
        var result = new float[1];
        device.CopyToHost(product.Start, MemoryMarshal.AsBytes(result.AsSpan()));
        Assert.That(result[0], tf32 ? Is.EqualTo(1f) : Is.GreaterThan(1f));
        Assert.That(device.Description, tf32 ? Does.Contain("TF32") : Does.Not.Contain("TF32"));
    }

    [Test]
    public void Large_copies_run_through_both_pinned_buffers_and_come_back_whole()
    {
        using var gpu = SoftGpu.Plug();
        using var device = Device.Open("cuda", 0);
        byte[] sent = new byte[2 * CudaStaging.UploadBytes + 12_345], received = new byte[sent.Length];
        new Random(1).NextBytes(sent);
        using var buffer = device.Allocate(sent.Length, "large");
        for (int round = 0; round < 3; round++)
        {
            sent[round]++;
            device.CopyToDevice(sent, buffer.Start);
            device.CopyToHost(buffer.Start, received);
            Assert.That(received.AsSpan().SequenceEqual(sent));
        }
    }

    [Test]
    public void Captured_work_runs_again_on_what_its_buffers_hold_then()
    {
        using var gpu = SoftGpu.Plug();
        using var device = Device.Open("cuda", 0);
        using var buffer = Upload(device, [1, 2]);
        using var copy = device.Allocate(8, "copy");
        using var tape = new Tape(device, recording: false);
        var x = new Tensor(device, buffer.Start, DataType.Float32, 2);
        Residual.AddInto(x, x); // loads the module
        using var graph = device.Capture(() =>
        {
            Residual.AddInto(x, x);
            device.Copy(buffer.Start, copy.Start, 8);
        });
        Assert.That(x.ToArray(), Is.EqualTo(new[] { 2f, 4f }), "recording runs nothing");
        x.Upload([5f, 7f]);
        graph.Launch();
        graph.Launch();
        Assert.That(x.ToArray(), Is.EqualTo(new[] { 20f, 28f }));
        copy.Dispose();
        Assert.That(graph.Launch, Throws.TypeOf<DeviceException>().With.Message.Contains("'copy' has been freed"));
    }

    [Test]
    public void What_cannot_be_captured_is_refused_and_the_device_works_on()
    {
        using var gpu = SoftGpu.Plug();
        using var device = Device.Open("cuda", 0);
        using var buffer = Upload(device, [1]);
        var bytes = new byte[4];
        foreach (Action work in new Action[] { () => device.CopyToDevice(bytes, buffer.Start), () => device.Fill(buffer.Start, 4, (_, piece) => piece.Clear()), () => device.CopyToHost(buffer.Start, bytes), device.Synchronize, () => device.Allocate(1, "x") })
            Assert.That(() => device.Capture(work), Throws.TypeOf<DeviceException>().With.Message.Contains("not possible while work is recorded"));
        device.CopyToHost(buffer.Start, bytes);
        Assert.That(BitConverter.ToSingle(bytes), Is.EqualTo(1));
    }

    [Test]
    public void Losses_of_a_run_have_the_bits_of_the_CPU_device()
    {
        using var run = new TinyRun();
        var (_, cpu) = TinyRun.Train(run.Options("cpu") with { Device = "cpu" });
        using var gpu = SoftGpu.Plug();
        var (_, cuda) = TinyRun.Train(run.Options("cuda") with { Device = "cuda" });
        Assert.That(cuda.Steps.Select(step => (step.Loss, step.GradientNorm, step.LogitScale)), Is.EqualTo(cpu.Steps.Select(step => (step.Loss, step.GradientNorm, step.LogitScale))));
        Assert.That(cuda.Evaluations, Is.EqualTo(cpu.Evaluations));
        Assert.That(cuda.Notes[0], Does.StartWith("Device: Soft GPU 0, compute capability 8.0"));
    }

    [TestCase("cuda:3", "There is no device cuda:3; the driver has one CUDA device, cuda:0.")]
    public void A_device_that_is_not_there_is_named(string name, string says)
    {
        using var gpu = SoftGpu.Plug();
        Assert.That(() => Device.Open(name, 0), Throws.TypeOf<DeviceException>().With.Message.EqualTo(says));
    }

    [Test]
    public void What_keeps_a_GPU_from_being_used_is_one_line()
    {
        Refuses(s => s with { Devices = 0 }, "cuInit failed: CUDA_ERROR_NO_DEVICE (100)", "nvidia-smi");
        Refuses(s => s with { DriverVersion = 11_020 }, "supports CUDA 11.2; ClipCuda needs 11.4. Update the driver.");
        Refuses(s => s with { Capability = 70 }, "Soft GPU 0 has compute capability 7.0", "need 7.5");
        Refuses(s => s with { MemoryBytes = 1 << 20 }, "cuMemAllocAsync", "CUDA_ERROR_OUT_OF_MEMORY", "'cuBLAS workspace' needs 4194304 bytes", "--batch-size");
        Refuses(s => s with { FailCall = "cublasCreate_v2", FailWith = CudaDriver.OutOfMemory }, "cublasCreate_v2 failed: CUBLAS_STATUS_ALLOC_FAILED (3)");

        static void Refuses(Func<SoftGpuSettings, SoftGpuSettings> settings, params string[] says)
        {
            using var gpu = SoftGpu.Plug(settings);
            string message = Assert.Throws<DeviceException>(() => Device.Open("cuda", 0))!.Message;
            Assert.That(message, Does.Not.Contain('\n'));
            foreach (string part in says) Assert.That(message, Does.Contain(part));
            using var fallback = Device.Open("auto", 1);
            Assert.That(fallback.Name, Is.EqualTo("cpu"));
            Assert.That(fallback.Announcement, Does.Contain($"auto: no CUDA device: {message}"));
        }
    }

    [Test]
    public void A_module_that_the_driver_cannot_compile_shows_its_log()
    {
        using var gpu = SoftGpu.Plug(s => s with { FailCall = "cuModuleLoadDataEx", FailWith = CudaDriver.UnsupportedPtxVersion });
        using var device = Device.Open("cuda", 0);
        Assert.That(() => device.Kernel("gelu_forward"), Throws.TypeOf<DeviceException>().With.Message.Contains("cuModuleLoadDataEx (gelu").And.Message.Contains("driver is older than the PTX"));
    }

    [Test]
    public void A_device_without_memory_pools_works_too()
    {
        using var gpu = SoftGpu.Plug(s => s with { MemoryPools = false });
        using var device = Device.Open("cuda", 0);
        using var buffer = Upload(device, [3]);
        Assert.That(device.FreeBytes, Is.LessThan(gpu.MemoryBytes));
    }

    private static DeviceBuffer Upload(Device device, float[] values)
    {
        var buffer = device.Allocate(values.Length * sizeof(float), "values");
        device.CopyToDevice(MemoryMarshal.AsBytes(values.AsSpan()), buffer.Start);
        return buffer;
    }

    private static float[] Draw(int seed, long count)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, (int)count).Select(_ => Numbers.Normal(random))];
    }
}
