using ClipCuda.Data;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Tests.SoftCuda;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class TrainingStepTests
{
    private const int Batch = 4;

    private TinyRun _run = null!;
    private Device _device = null!;
    private TrainingOptions _options = null!;

    [SetUp]
    public void SetUp()
    {
        _run = new TinyRun();
        _device = Device.Open("cpu", threads: 2);
        _options = _run.Options("run");
    }

    [TearDown]
    public void TearDown()
    {
        _device.Dispose();
        _run.Dispose();
    }

    [Test]
    public void Leaves_gradients_at_zero_and_changes_every_parameter()
    {
        using var model = NewModel();
        using var step = new TrainingStep(model, _options);
        float[] before = model.Parameters.Values.ToArray();
        var result = Run(step, seed: 1);
        Assert.That(model.Parameters.Gradients.ToArray(), Is.All.Zero);
        Assert.That(result.GradientNorm, Is.GreaterThan(0));
        Assert.That(result.LogitScale, Is.EqualTo(1 / 0.07).Within(1e-5).Percent);
        Assert.That(model.Parameters.Values.ToArray(), Is.Not.EqualTo(before));
        Assert.That(model.LogitScale.ToArray()[0], Is.Not.EqualTo(Initialization.LogitScale));
    }

    [TestCase(10f, 4.6051702f)] // ln 100
    [TestCase(-1f, 0f)]
    public void Clamps_the_logit_scale(float start, float expected)
    {
        using var model = NewModel();
        using var step = new TrainingStep(model, _options);
        model.LogitScale.Upload([start]);
        Run(step, seed: 1);
        Assert.That(model.LogitScale.ToArray()[0], Is.EqualTo(expected).Within(1e-6f));
    }

    [Test]
    public void Names_the_first_gradient_that_is_not_finite_and_keeps_the_weights()
    {
        using var model = NewModel();
        using var step = new TrainingStep(model, _options);
        Run(step, seed: 1);
        float[] before = model.Parameters.Values.ToArray();
        const string Name = "visual.transformer.resblocks.0.mlp.c_fc.bias";
        var gradient = model.Parameters[Name].Gradient!;
        float[] poison = new float[gradient.Elements];
        poison[^1] = float.NaN;
        gradient.Upload(poison); // backward adds to it
        float[] moments = step.Optimizer.Moments(Name).First.ToArray();
        var result = Run(step, seed: 2);
        Assert.That(result.NotFinite, Is.EqualTo($"the gradient of '{Name}' is NaN"));
        Assert.That(model.Parameters.Values.ToArray(), Is.EqualTo(before));
        Assert.That(step.Optimizer.Moments(Name).First.ToArray(), Is.EqualTo(moments));
        Assert.That((step.Optimizer.StepCount, model.Parameters.Gradients.ToArray().All(g => g == 0)), Is.EqualTo((1, true)));
        Assert.That(Run(step, seed: 2).NotFinite, Is.Null, "the next step is as any other");
    }

    [Test]
    public void Allocates_nothing_once_it_has_met_its_sizes_and_frees_all_in_the_end()
    {
        using (var model = NewModel())
        using (var step = new TrainingStep(model, _options))
        {
            for (int i = 0; i < 4; i++) Run(step, seed: i);
            var inputs = Enumerable.Range(4, 8).Select(seed => MadeUp(seed, Batch)).ToArray();
            long allocations = _device.Allocations;
            long managed = GC.GetAllocatedBytesForCurrentThread();
            foreach (var (rgb, images, tokens) in inputs) step.Run(rgb, images, tokens, learningRate: 1e-3f);
            managed = (GC.GetAllocatedBytesForCurrentThread() - managed) / inputs.Length;
            Assert.That(_device.Allocations, Is.EqualTo(allocations));
            Assert.That(managed, Is.LessThan(1 << 10), "bytes of managed memory a step: less than one small object for each of its hundred launches");
        }
        Assert.That(_device.LiveBuffers, Is.Zero);
    }

    /// <summary>Twelve steps: the first is called, the second recorded and run from the record, like ten more. An evaluation in between uses the same memory.</summary>
    [TestCase(false)]
    [TestCase(true)]
    public void Recorded_steps_have_the_bits_of_single_calls(bool resNet)
    {
        const int Steps = 12;
        if (resNet) _options = _options with { Model = _options.Model with { Vision = VisionConfig.ResNet(32, 4, new(1, 1, 1, 1), heads: 2) } };
        var onCpu = RunSchedule(_device, Steps);
        using var gpu = (SoftGpu?)TestDevices.Prepare("cuda"); // null: the machine's own
        using var cuda = Device.Open("cuda", 0);
        var recorded = RunSchedule(cuda, Steps);
        Assert.That((gpu?.CallsOf("cuGraphLaunch"), gpu?.CallsOf("cuStreamBeginCapture_v2")), Is.EqualTo(gpu is null ? (null, null) : ((int?)(2 * (Steps - 1)), (int?)2)));
        int? launches = gpu?.CallsOf("cuLaunchKernel");
        cuda.Profile = new DeviceProfile(); // then every launch is a call of its own
        var single = RunSchedule(cuda, Steps);
        if (gpu is not null)
        {
            Assert.That(gpu.CallsOf("cuGraphLaunch"), Is.EqualTo(2 * (Steps - 1)));
            Assert.That(gpu.CallsOf("cuLaunchKernel") - launches, Is.GreaterThan(3 * launches!.Value));
        }
        // A GPU's own cuBLAS adds in an order of its own.
        foreach (var (results, weights, batches) in gpu is null ? [single] : (ReadOnlySpan<(StepResult[], float[], long[])>)[single, onCpu])
        {
            Assert.That(recorded.Results, Is.EqualTo(results));
            Numbers.AssertSameBits(recorded.Weights, weights, "weights");
            Assert.That(recorded.Batches, Is.EqualTo(batches).And.All.EqualTo(Steps));
        }
    }

    [TestCase("cuStreamBeginCapture_v2", 801, "NOT_SUPPORTED")]
    [TestCase("cuGraphInstantiateWithFlags", CudaDriver.OutOfMemory, "OUT_OF_MEMORY")]
    public void A_device_that_cannot_record_a_step_runs_it_call_by_call_and_says_why(string call, int result, string name)
    {
        var onCpu = RunSchedule(_device, 3);
        using var gpu = SoftGpu.Plug(s => s with { FailCall = call, FailWith = result });
        var (_, progress) = TinyRun.Train(_options with { Device = "cuda" });
        Assert.That(progress.Notes.Where(note => note.StartsWith("Steps run call by call", StringComparison.Ordinal)).Single(), Does.Contain(call).And.Contain(name));
        using var cuda = Device.Open("cuda", 0);
        var called = RunSchedule(cuda, 3);
        Assert.That(called.Results, Is.EqualTo(onCpu.Results));
        Numbers.AssertSameBits(called.Weights, onCpu.Weights, "weights");
        Assert.That(gpu.CallsOf("cuGraphLaunch"), Is.Zero);
    }

    [Test]
    public void A_batch_of_another_size_is_a_step_like_any_other()
    {
        using var gpu = SoftGpu.Plug();
        using var cuda = Device.Open("cuda", 0);
        var results = new List<StepResult[]>();
        foreach (var device in (Device[])[_device, cuda])
        {
            using var model = NewModel(device);
            using var step = new TrainingStep(model, _options);
            int[] sizes = [Batch, Batch, Batch, 2, 2, 2, Batch, Batch];
            results.Add([.. sizes.Select((size, i) => Run(step, seed: i, size))]);
        }
        Assert.That(results[1], Is.EqualTo(results[0]));
    }

    private (StepResult[] Results, float[] Weights, long[] Batches) RunSchedule(Device device, int steps)
    {
        using var model = NewModel(device);
        using var step = new TrainingStep(model, _options);
        var schedule = new LearningRate(2e-3f, WarmupSteps: 3, steps);
        var results = new StepResult[steps];
        for (int i = 0; i < steps; i++)
        {
            results[i] = Run(step, seed: i, Batch, schedule.At(i));
            if (i == 5) model.EncodeText(step.Tape, new int[_options.Model.Text.ContextLength], batch: 1);
            step.Tape.Reset();
        }
        return (results, model.Parameters.Values.ToArray(), [.. model.Statistics.BatchesTracked.Values]);
    }

    private ClipModel NewModel() => NewModel(_device);

    private ClipModel NewModel(Device device)
    {
        var model = new ClipModel(device, _options.Model, _options.WeightDecayScope);
        Initialization.Apply(model.Parameters, _options.Model, _options.Initialization, seed: 5);
        return model;
    }

    /// <summary>A step on noise, with words that differ in number from seed to seed.</summary>
    private StepResult Run(TrainingStep step, int seed, int batch = Batch, float learningRate = 1e-3f)
    {
        var (rgb, images, tokens) = MadeUp(seed, batch);
        return step.Run(rgb, images, tokens, learningRate);
    }

    private (byte[] Rgb, ImageSlot[] Images, int[] Tokens) MadeUp(int seed, int batch)
    {
        const int Side = 20;
        int context = _options.Model.Text.ContextLength;
        var random = new Philox((ulong)seed, RandomPurpose.Order);
        byte[] rgb = new byte[batch * Side * Side * 3];
        for (int i = 0; i < rgb.Length; i++) rgb[i] = (byte)random.NextUInt32();
        ImageSlot[] images = [.. Enumerable.Range(0, batch).Select(i => new ImageSlot(i * Side * Side * 3, Side, Side, 1, 2, Side - 2, Side - 3))];
        int[] tokens = new int[batch * context];
        for (int caption = 0; caption < batch; caption++)
        {
            var ids = tokens.AsSpan(caption * context, context);
            int words = 1 + random.Below(context - 2);
            ids[0] = 49406;
            for (int i = 1; i <= words; i++) ids[i] = random.Below(1000);
            ids[words + 1 < context ? words + 1 : context - 1] = 49407;
        }
        return (rgb, images, tokens);
    }
}
