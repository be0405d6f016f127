using System.Globalization;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

/// <summary>
/// A long run takes no more memory at its end than soon after its beginning, with a checkpoint every 100 steps and an evaluation every 500.
/// <c>./build.sh soak [steps]</c> makes it 10,000 steps; without it there are as many as a test may take.
/// </summary>
[Category("Soak")]
public sealed class SoakTests
{
    private const int SampledSteps = 300, Samples = 10;

    // Of the process, the system gives pages back when it likes; of what the collector manages, lists of samples and logs differ by a few KB.
    private const long ManagedSlack = 256 << 10, ProcessSlack = 16 << 20;

    [Test]
    public void Memory_is_flat()
    {
        int steps = int.Parse(Environment.GetEnvironmentVariable("CLIPCUDA_SOAK") is { Length: > 0 } text ? text : $"{SampledSteps}", CultureInfo.InvariantCulture);
        using var run = new TinyRun();
        var options = run.Options("soak") with { Epochs = (steps + 2) / 3, ValFrequency = int.MaxValue / 3, SaveFrequency = int.MaxValue / 3, SaveSteps = 100, ValSteps = steps > SampledSteps ? 500 : 100 };
        var watch = new Watch(every: steps / Samples);
        using (var trainer = new Trainer(options, watch)) trainer.Run(default);
        foreach (var (step, managed, process) in watch.Memory) TestContext.Out.WriteLine($"step {step,6}: {managed / 1024.0 / 1024,8:F2} MiB managed, {process / 1024.0 / 1024,8:F1} MiB of the process");
        // By then every buffer has its size, kernels are compiled and the first checkpoint and evaluation are over.
        var early = watch.Memory[Samples * 4 / 10 - 1];
        var last = watch.Memory[Samples - 1];
        Assert.That(last.Managed - early.Managed, Is.LessThan(ManagedSlack));
        if (steps > SampledSteps) Assert.That(last.Process - early.Process, Is.LessThan(ProcessSlack));
    }

    private sealed class Watch(int every) : ITrainingProgress
    {
        public List<(long Step, long Managed, long Process)> Memory { get; } = new(Samples + 1);

        public void Step(StepReport step)
        {
            if (step.Step % every == 0) Memory.Add((step.Step, GC.GetTotalMemory(forceFullCollection: true), Environment.WorkingSet));
        }

        public void Note(string line) { }

        public void Begin(int epochs, int stepsPerEpoch, long stepsDone) { }

        public void Evaluation(int epoch, long step, RetrievalReport report, TimeSpan duration) { }

        public void ZeroShot(int epoch, long step, ClassificationReport report, TimeSpan duration) { }
    }
}
