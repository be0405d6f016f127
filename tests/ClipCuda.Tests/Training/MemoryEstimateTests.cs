using ClipCuda.Data;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Tests.SoftCuda;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class MemoryEstimateTests
{
    private TinyRun _run = null!;
    private TrainingOptions _options = null!;
    private CsvDataset _train = null!, _val = null!;
    private (int Width, int Height) _size;

    [SetUp]
    public void SetUp()
    {
        _run = new TinyRun();
        _options = _run.Options("run");
        _train = CsvDataset.Load(_options.TrainData, _options.ImageRoot);
        _val = CsvDataset.Load(_options.ValData!, _options.ImageRoot);
        using var loader = new BatchLoader(_train, new ClipTokenizer(Path.Combine(DataFolder.Find(), DataFolder.Merges)), _options.TrainLoader);
        _size = loader.TypicalSize();
    }

    [TearDown]
    public void TearDown() => _run.Dispose();

    [Test]
    public void Is_what_a_step_takes_on_a_device()
    {
        using var device = Device.Open("cpu", threads: 1);
        using var model = new ClipModel(device, _options.Model, _options.WeightDecayScope);
        using var step = new TrainingStep(model, _options);
        Initialization.Apply(model.Parameters, _options.Model, _options.Initialization, _options.Seed);
        using var loader = new BatchLoader(_train, new ClipTokenizer(Path.Combine(DataFolder.Find(), DataFolder.Merges)), _options.TrainLoader);
        foreach (var batch in loader.Epoch(0)) step.Run(batch, 0);

        long estimate = new MemoryEstimate(_options, _size).DeviceBytes(_options.BatchSize);
        // Words and image sizes differ from batch to batch, and with them a few small buffers.
        Assert.That(estimate, Is.EqualTo(device.LiveBytes).Within(1).Percent);
    }

    [Test]
    public void Counts_twice_where_the_device_keeps_watch_over_every_byte() =>
        Assert.That(
            new MemoryEstimate(_options with { Device = "cpu:check" }, _size).DeviceBytes(8),
            Is.EqualTo(2 * new MemoryEstimate(_options, _size).DeviceBytes(8)));

    [Test]
    public void Grows_with_the_batch_and_with_an_evaluation()
    {
        var estimate = new MemoryEstimate(_options, _size, _val);
        Assert.That(estimate.Bytes(16), Is.GreaterThan(estimate.Bytes(8)));
        Assert.That(estimate.Bytes(8), Is.GreaterThan(new MemoryEstimate(_options, _size).Bytes(8)));
    }

    [Test]
    public void A_run_that_does_not_fit_is_refused_with_the_largest_batch_that_does()
    {
        var options = _options with { BatchSize = 20_000 };
        var estimate = new MemoryEstimate(options, _size);
        const long Free = 1L << 30;
        int largest = estimate.LargestBatch(Free, options.BatchSize);
        Assert.That(largest, Is.InRange(10, 10_000));
        Assert.That(estimate.Bytes(largest), Is.LessThanOrEqualTo(Free));
        Assert.That(estimate.Bytes(largest + 1), Is.GreaterThan(Free));
        Assert.That(() => estimate.Check(Free), Throws.ArgumentException.With.Message.Contains("1.0 GiB are free").And.Message.Contains($"--batch-size {largest}"));
        Assert.That(() => estimate.Check(1000), Throws.ArgumentException.With.Message.Contains("not even a batch of 1"));
        Assert.That(estimate.Check(long.MaxValue), Does.StartWith("Memory: a batch of 20000 needs about "));
    }

    [Test]
    public void A_GPU_s_memory_and_the_host_s_are_two()
    {
        var options = _options with { BatchSize = 300, Device = "cuda" };
        var estimate = new MemoryEstimate(options, _size);
        long needed = estimate.DeviceBytes(300);
        using (SoftGpu.Plug(s => s with { MemoryBytes = needed + (5 << 20) })) // and cuBLAS's workspace
        {
            using var device = Device.Open("cuda", 0);
            Assert.That(estimate.Check(device), Does.Match(@"^Memory: a batch of 300 needs about \d+ MiB of the device, \d+ MiB are free, and \d+ MiB of the host, .* are free\.$"));
            Assert.That(device.FreeBytes, Is.LessThan(estimate.Bytes(300)), "together they would not fit");
        }
        using (SoftGpu.Plug(s => s with { MemoryBytes = needed }))
        {
            using var device = Device.Open("cuda", 0);
            Assert.That(() => estimate.Check(device), Throws.ArgumentException.With.Message.Match(@"Not enough memory: .*the largest batch that fits is 2\d\d \(--batch-size 2\d\d\)"));
        }
    }

    [Test]
    public void Large_models_are_measured_without_taking_memory()
    {
        var preset = Presets.Find("ViT-L/14");
        var options = TrainingOptions.Of(preset, _options.TrainData, null) with { ImageRoot = _options.ImageRoot };
        var estimate = new MemoryEstimate(options, _size);
        Assert.That(estimate.Parameters, Is.EqualTo(427_616_513 - 24 * 3 * 1024 - 12 * 3 * 768 - 2 * 1024)); // OpenAI's, less q/k/v biases and ln_pre
        Assert.That(estimate.Bytes(128), Is.GreaterThan(4L * 4 * 427_000_000));
    }
}
