using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Tests.Data;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class CheckpointWriterTests
{
    private TinyRun _run = null!;
    private TemporaryFolder _folder = null!;
    private Device _device = null!;
    private ClipModel _model = null!;
    private TrainingStep _step = null!;
    private TrainingSnapshot _snapshot = null!;

    [SetUp]
    public void SetUp()
    {
        (_run, _folder, _device) = (new TinyRun(), new TemporaryFolder(), Device.Open("cpu", 1));
        var options = _run.Options("x");
        _model = new ClipModel(_device, options.Model);
        Initialization.Apply(_model.Parameters, options.Model, options.Initialization, 1);
        _step = new TrainingStep(_model, options);
        _snapshot = new TrainingSnapshot(_model, _step.Optimizer);
    }

    [TearDown]
    public void TearDown()
    {
        foreach (IDisposable owned in new IDisposable[] { _step, _model, _device, _folder, _run }) owned.Dispose();
    }

    /// <summary>What is written is what was there when it began, whatever the training does meanwhile.</summary>
    [Test]
    public void The_copy_is_written_and_not_what_the_weights_are_then()
    {
        var writer = new CheckpointWriter(new CheckpointFolders(_folder.Path), _snapshot);
        float[] before = _model.Parameters["visual.proj"].ToArray();
        _step.Optimizer.Moments("visual.proj").First.Upload([.. before.Select(value => value + 1)]);
        writer.Begin(State(4));
        _model.Parameters["visual.proj"].Upload([.. before.Select(_ => 0f)]);
        writer.Wait();
        Assert.That((writer.Step, writer.Count, writer.Failed, writer.Longest > TimeSpan.Zero, writer.Waited > TimeSpan.Zero), Is.EqualTo((4L, 1, false, true, true)));
        using (var file = SafetensorsFile.Open(_folder.At($"step_4/{Checkpoint.WeightsFile}"))) Numbers.AssertSameBits(file.ReadFloats("visual.proj"), before, "weights");
        using (var file = SafetensorsFile.Open(_folder.At($"step_4/{TrainingSnapshot.OptimizerFile}"))) Numbers.AssertSameBits(file.ReadFloats("exp_avg.visual.proj"), [.. before.Select(value => value + 1)], "moments");
    }

    [Test]
    public void Everything_comes_back_bit_for_bit()
    {
        var random = new Random(1);
        _model.Parameters.Values.Upload([.. Enumerable.Range(0, (int)_model.Parameters.Elements).Select(_ => Numbers.Normal(random))]);
        foreach (string name in _model.Parameters.Names)
        {
            var (first, second) = _step.Optimizer.Moments(name);
            first.Upload([.. Enumerable.Range(0, (int)first.Elements).Select(_ => Numbers.Normal(random))]);
            second.Upload([.. Enumerable.Range(0, (int)second.Elements).Select(_ => Numbers.Normal(random))]);
        }
        _step.Optimizer.StepCount = 17;
        _snapshot.Take(State(4) with { OptimizerSteps = 17 });
        _snapshot.Write(_folder.At("c"));
        var state = TrainingState.Read(_folder.At("c"));
        Assert.That(state, Is.EqualTo(State(4) with { OptimizerSteps = 17 }));

        using var model = new ClipModel(_device, _model.Config);
        using var step = new TrainingStep(model, _run.Options("x"));
        TrainingSnapshot.Restore(_folder.At("c"), state, model, step.Optimizer);
        Assert.That(step.Optimizer.StepCount, Is.EqualTo(17));
        foreach (string name in _model.Parameters.Names)
        {
            Numbers.AssertSameBits(model.Parameters[name].ToArray(), _model.Parameters[name].ToArray(), name);
            Numbers.AssertSameBits(step.Optimizer.Moments(name).First.ToArray(), _step.Optimizer.Moments(name).First.ToArray(), name);
            Numbers.AssertSameBits(step.Optimizer.Moments(name).Second.ToArray(), _step.Optimizer.Moments(name).Second.ToArray(), name);
        }
    }

    [Test]
    public void An_error_of_the_disk_is_thrown_at_the_next_call_with_the_last_checkpoint_that_is_whole()
    {
        var writer = new CheckpointWriter(new CheckpointFolders(_folder.Path), _snapshot);
        writer.Begin(State(4));
        writer.Wait();
        _folder.Write("step_6.unfinished", "in the way of a folder");
        writer.Begin(State(6));
        Assert.That(writer.Wait, Throws.InstanceOf<IOException>().With.Message.Contains("cannot be written").And.Message.Contains("the last one is").And.Message.Contains("step_4"));
        Assert.That(writer.Failed);
        Assert.That(writer.Wait, Throws.Nothing, "an error is thrown once");
        Assert.That(TrainingState.Read(_folder.At("step_4")).Step, Is.EqualTo(4));
    }

    [Test]
    public void Weights_that_are_not_finite_replace_no_checkpoint()
    {
        var writer = new CheckpointWriter(new CheckpointFolders(_folder.Path), _snapshot);
        writer.Begin(State(4));
        _model.Parameters["visual.proj"].Upload([.. Enumerable.Repeat(float.NaN, (int)_model.Parameters["visual.proj"].Elements)]);
        writer.Begin(State(6));
        Assert.That(writer.Wait, Throws.TypeOf<NotFiniteNumberException>().With.Message.Contains("After step 6, 'visual.proj' holds NaN"));
        Assert.That(Directory.GetDirectories(_folder.Path).Select(Path.GetFileName), Is.EqualTo(new[] { "step_4" }));
    }

    private static TrainingState State(long step) => new() { Step = step, StepsPerEpoch = 5, BatchSize = 8, Samples = 41, Seed = 3 };
}
