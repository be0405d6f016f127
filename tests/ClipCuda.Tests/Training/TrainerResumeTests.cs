using ClipCuda.Model;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

/// <summary>A run that was stopped and went on gives the bits of one that was not: losses, evaluations, weights and moments.</summary>
public sealed class TrainerResumeTests
{
    private TinyRun _run = null!;

    [SetUp]
    public void SetUp() => _run = new TinyRun();

    [TearDown]
    public void TearDown() => _run.Dispose();

    [TestCase(1, 0)]
    [TestCase(2, 1)]
    [TestCase(3, 3)] // the end of an epoch
    [TestCase(4, 2)]
    [TestCase(5, 0)]
    [TestCase(6, 1)] // all steps done, the evaluation not
    public void A_run_stopped_after_a_step_goes_on_to_the_same_bits(int step, int workers)
    {
        var options = _run.Options("whole") with { ValSteps = 2 };
        var (whole, progress) = TinyRun.Train(options);
        var stopped = StopAfter(options with { Name = "cut" }, step);
        var (resumed, rest) = TinyRun.Train(options with { Name = "cut", Mode = RunMode.Resume, Workers = workers, Threads = 1 });
        Assert.That(rest.StepsBefore, Is.EqualTo(step));
        Assert.That(rest.Notes, Has.One.Match($"Resumed: '.*', step {step} of 6"));
        Assert.That(stopped.Steps.Concat(rest.Steps).Select(Numbers), Is.EqualTo(progress.Steps.Select(Numbers)));
        Assert.That(stopped.Evaluations.Concat(rest.Evaluations), Is.EqualTo(progress.Evaluations));
        AssertSame(resumed, whole);
    }

    [Test]
    public void A_run_may_be_stopped_after_every_step()
    {
        var options = _run.Options("whole");
        var (whole, _) = TinyRun.Train(options);
        options = options with { Name = "cut", Mode = RunMode.Resume };
        for (int step = 1; step < 6; step++) StopAfter(options with { Workers = step % 3 }, step);
        AssertSame(TinyRun.Train(options).Summary, whole);
    }

    [TestCase("resnet")]
    [TestCase("locked")]
    [TestCase("accumulated")]
    [TestCase("wsd")]
    [TestCase("shards")]
    [TestCase("resampled shards")]
    public void So_does_a_run_with(string what)
    {
        var options = _run.Options("whole") with { Epochs = 3 };
        options = what switch
        {
            "resnet" => options with { Model = options.Model with { Vision = VisionConfig.ResNet(64, 8, new(1, 1, 1, 1), heads: 4) } },
            "locked" => options with { LockImage = true },
            "accumulated" => options with { BatchSize = 4, AccumFreq = 2 },
            "shards" => options with { TrainData = Shards(), ShuffleBuffer = 7 },
            "resampled shards" => options with { TrainData = Shards(), ShuffleBuffer = 7, Resampled = true, TrainSamples = 24 },
            _ => options with { Schedule = LearningRateSchedule.Wsd },
        };
        var (whole, _) = TinyRun.Train(options);
        StopAfter(options with { Name = "cut" }, 4);
        AssertSame(TinyRun.Train(options with { Name = "cut", Mode = RunMode.Resume, Workers = 3 }).Summary, whole);
    }

    /// <summary>Stopped within an evaluation, the run makes that evaluation first when it goes on, and its checkpoint can still be the best.</summary>
    [Test]
    public void An_evaluation_that_was_cut_is_made_again()
    {
        using var stop = new CancellationTokenSource();
        string classes = ClassFolders();
        var options = _run.Options("whole") with { ZeroShotData = classes };
        var (whole, wholeProgress) = TinyRun.Train(options);
        var progress = new RecordedProgress { AfterEvaluation = _ => stop.Cancel() }; // the classification is still to come
        Assert.That(() => TinyRun.Train(options with { Name = "cut" }, progress, stop.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(TrainingState.Read(_run.Folder.At("cut/checkpoints/epoch_1")), Has.Property("EvaluationDue").True.And.Property("Step").EqualTo(3));
        var (resumed, rest) = TinyRun.Train(options with { Name = "cut", Mode = RunMode.Resume });
        Assert.That(rest.Evaluations, Is.EqualTo(wholeProgress.Evaluations));
        Assert.That(rest.ZeroShots, Is.EqualTo(wholeProgress.ZeroShots).And.Count.EqualTo(2));
        AssertSame(resumed, whole);
        Assert.That(Path.GetFileName(resumed.BestCheckpoint), Is.EqualTo(Path.GetFileName(whole.BestCheckpoint)));
    }

    /// <summary>Two batches that make one step are the samples that one batch as large would be: losses differ by float32's rounding, which the steps let grow.</summary>
    [Test]
    public void Accumulated_batches_train_as_one_as_large()
    {
        var (_, whole) = TinyRun.Train(_run.Options("whole") with { ValData = null });
        var (_, parts) = TinyRun.Train(_run.Options("parts") with { ValData = null, BatchSize = 2, AccumFreq = 4 });
        Assert.That(parts.Steps.Select(step => (step.Step, step.BatchSize)), Is.EqualTo(whole.Steps.Select(step => (step.Step, step.BatchSize))));
        foreach (var (step, expected) in parts.Steps.Zip(whole.Steps)) Assert.That(step.Loss, Is.EqualTo(expected.Loss).Within(1e-4 * expected.Loss), $"step {step.Step}");
        Assert.That(File.ReadAllText(_run.Folder.At("parts/out.log")), Does.Match(@"Checkpoints: 2 written; the training waited \d+\.\d{3} s for them, "));
    }

    /// <summary>A process that dies within an evaluation has its steps on the disk already.</summary>
    [Test]
    public void What_is_to_be_saved_after_an_evaluation_is_saved_before_it()
    {
        var found = new List<(long Step, bool Due)>();
        var progress = new RecordedProgress
        {
            AfterEvaluation = _ =>
            {
                // The writer may still be at it; it is soon done.
                string? latest = null;
                SpinWait.SpinUntil(() => (latest = CheckpointFolders.LatestOf(_run.Folder.At("run/checkpoints"))) is not null && TrainingState.Read(latest) is var s && s.Step == 3 * (found.Count + 1), TimeSpan.FromSeconds(60));
                var state = TrainingState.Read(latest!);
                found.Add((state.Step, state.EvaluationDue));
            },
        };
        var (summary, _) = TinyRun.Train(_run.Options("run"), progress);
        Assert.That(found, Is.EqualTo(new[] { (3L, true), (6L, true) }));
        Assert.That(TrainingState.Read(summary.LastCheckpoint!), Has.Property("EvaluationDue").False.And.Property("Score").EqualTo(summary.Evaluation!.MeanRecallAt10));
    }

    [Test]
    public void Evaluations_change_no_bit_of_what_is_trained()
    {
        var (without, quiet) = TinyRun.Train(_run.Options("without") with { ValData = null });
        var (with, progress) = TinyRun.Train(_run.Options("with") with { ValSteps = 1, ZeroShotData = ClassFolders() });
        Assert.That(progress.Evaluations, Has.Count.EqualTo(6));
        Assert.That(progress.ZeroShots.Select(z => z.Step), Is.EqualTo(new[] { 1, 2, 3, 4, 5, 6 }));
        Assert.That(progress.ZeroShots[0].Report, Has.Property("Images").EqualTo(3).And.Property("Classes").EqualTo(2).And.Property("Acc5").Null);
        Assert.That(progress.Steps.Select(Numbers), Is.EqualTo(quiet.Steps.Select(Numbers)));
        foreach (string file in new[] { Checkpoint.WeightsFile, TrainingSnapshot.OptimizerFile })
            Assert.That(File.ReadAllBytes(Path.Combine(with.LastCheckpoint!, file)), Is.EqualTo(File.ReadAllBytes(Path.Combine(without.LastCheckpoint!, file))), file);
    }

    [Test]
    public void Checkpoints_come_every_so_many_steps_and_the_last_few_are_kept()
    {
        var (summary, _) = TinyRun.Train(_run.Options("run") with { SaveSteps = 2, Keep = 3, ValData = null });
        Assert.That(Directory.GetDirectories(_run.Folder.At("run/checkpoints")).Select(Path.GetFileName), Is.EquivalentTo(new[] { "epoch_1", "step_4", "epoch_2" }));
        Assert.That(File.ReadAllText(_run.Folder.At("run/checkpoints/latest")), Is.EqualTo("epoch_2\n"));
        var (whole, _) = TinyRun.Train(_run.Options("whole") with { ValData = null });
        var (again, _) = TinyRun.Train(_run.Options("run") with { Mode = RunMode.Resume, ResumeFrom = _run.Folder.At("run/checkpoints/step_4"), ValData = null });
        AssertSame(again, whole);
        Assert.That(again.LastCheckpoint, Is.EqualTo(summary.LastCheckpoint));
    }

    [Test]
    public void With_nothing_to_resume_a_line_says_so_and_the_run_begins_at_its_first_step()
    {
        var options = _run.Options("run") with { Mode = RunMode.Resume };
        var (fresh, progress) = TinyRun.Train(options);
        Assert.That(progress.Notes, Has.One.Match("Nothing to resume: there is no checkpoint in '.*run', so the run begins at step 0"));
        Assert.That(progress.Steps, Has.Count.EqualTo(6));
        Directory.Delete(_run.Folder.At("run/checkpoints"), recursive: true); // killed before the first
        var (again, second) = TinyRun.Train(options);
        Assert.That(second.Notes, Has.One.StartsWith("Nothing to resume"));
        AssertSame(again, TinyRun.Train(_run.Options("whole")).Summary);
        Assert.That(fresh.Folder, Is.EqualTo(again.Folder));
    }

    [Test]
    public void A_finished_run_has_nothing_left_until_it_has_more_epochs()
    {
        var options = _run.Options("run");
        Assert.That(Trainer.FinishedAt(options), Is.Null);
        var (summary, _) = TinyRun.Train(options);
        options = options with { Mode = RunMode.Resume };
        Assert.That(Trainer.FinishedAt(options), Is.EqualTo(summary.LastCheckpoint));
        Assert.That(Trainer.FinishedAt(options with { Epochs = 3 }), Is.Null);
        Assert.That(TinyRun.Train(options with { Epochs = 3 }).Progress.Steps.Select(step => step.Step), Is.EqualTo(new[] { 7, 8, 9 }));
    }

    [Test]
    public void When_the_time_is_nearly_up_the_run_saves_and_ends()
    {
        var options = _run.Options("whole");
        var (whole, _) = TinyRun.Train(options);
        options = options with { Name = "cut", Mode = RunMode.Resume };
        var (cut, progress) = TinyRun.Train(options with { MaxTime = TimeSpan.FromMilliseconds(1) });
        Assert.That((cut.Finished, progress.Steps.Count), Is.EqualTo((false, 1)));
        Assert.That(progress.Notes, Has.One.StartsWith("Stopped after step 1 of 6, before --max-time is up"));
        AssertSame(TinyRun.Train(options with { MaxTime = TimeSpan.FromHours(1) }).Summary, whole);
    }

    [Test]
    public void Other_data_or_batches_are_refused()
    {
        StopAfter(_run.Options("run"), 2);
        var options = _run.Options("run") with { Mode = RunMode.Resume };
        Assert.That(() => TinyRun.Train(options with { BatchSize = 6 }), Throws.ArgumentException.With.Message.Contains("the batch size was 8 and is 6"));
        Assert.That(() => TinyRun.Train(options with { Seed = 3 }), Throws.ArgumentException.With.Message.Contains("--seed was 42 and is 3"));
        Assert.That(() => TinyRun.Train(options with { TrainData = _run.ValCsv }), Throws.ArgumentException.With.Message.Contains("the number of samples was 24 and is 10"));
        Assert.That(() => TinyRun.Train(options with { Model = options.Model with { EmbedDim = 8 } }), Throws.TypeOf<InvalidDataException>().With.Message.Contains("embed_dim 16 (the model: 8)"));
    }

    /// <summary>The steps that were done are saved, though no checkpoint was due.</summary>
    [Test]
    public void Images_that_vanish_end_the_run_and_it_goes_on_when_they_are_back()
    {
        string images = _run.Folder.At("images"), gone = _run.Folder.At("gone");
        foreach (string path in File.ReadLines(_run.TrainCsv).Concat(File.ReadLines(_run.ValCsv)).Select(line => line.Split(',')[0]).Where(path => path.EndsWith(".png", StringComparison.Ordinal)))
            _run.Folder.Write(Path.Combine("images", path), File.ReadAllBytes(Path.Combine(_run.Emoji, path)));
        var options = _run.Options("whole") with { ImageRoot = images, Workers = 0 };
        var (whole, _) = TinyRun.Train(options);
        var progress = new RecordedProgress
        {
            AfterStep = step =>
            {
                if (step.Step == 4) Directory.Move(images, gone);
            },
        };
        Assert.That(() => TinyRun.Train(options with { Name = "cut" }, progress), Throws.TypeOf<InvalidDataException>().With.Message.Contains(images).And.Message.Not.Contains("\n"));
        Assert.That(progress.Steps, Has.Count.EqualTo(4));
        Directory.Move(gone, images);
        var (resumed, rest) = TinyRun.Train(options with { Name = "cut", Mode = RunMode.Resume });
        Assert.That(rest.StepsBefore, Is.EqualTo(4));
        AssertSame(resumed, whole);
    }

    [Test]
    public void A_damaged_checkpoint_is_named()
    {
        StopAfter(_run.Options("run"), 2);
        var options = _run.Options("run") with { Mode = RunMode.Resume };
        string moments = _run.Folder.At($"run/checkpoints/step_2/{TrainingSnapshot.OptimizerFile}");
        File.WriteAllBytes(moments, File.ReadAllBytes(moments)[..^1]);
        Assert.That(() => TinyRun.Train(options), Throws.TypeOf<InvalidDataException>().With.Message.Contains(moments));
    }

    /// <summary>Trains until a step is done and stops there.</summary>
    private static RecordedProgress StopAfter(TrainingOptions options, int step)
    {
        using var stop = new CancellationTokenSource();
        var progress = new RecordedProgress
        {
            AfterStep = report =>
            {
                if (report.Step == step) stop.Cancel();
            },
        };
        Assert.That(() => TinyRun.Train(options, progress, stop.Token), Throws.InstanceOf<OperationCanceledException>());
        return progress;
    }

    /// <summary>The training data in three tar shards.</summary>
    private string Shards()
    {
        Cli.CommandLine.Run("pack", "--csv", _run.TrainCsv, "--img-root", _run.Emoji, "--max-count", "10", "--output", _run.Folder.At("shards"));
        return _run.Folder.At("shards/{00000..00002}.tar");
    }

    /// <summary>Three drawings in folders of two classes.</summary>
    private string ClassFolders()
    {
        _run.Folder.WriteImage("classes/red/a.png", 20, 20, red: 250);
        _run.Folder.WriteImage("classes/red/b.png", 30, 20, red: 200);
        _run.Folder.WriteImage("classes/green/c.png", 20, 30, green: 250);
        return _run.Folder.At("classes");
    }

    /// <summary>Demands equal final checkpoints, to the byte, and equal metrics but for times.</summary>
    private static void AssertSame(TrainingSummary actual, TrainingSummary expected)
    {
        Assert.That(actual.Evaluation, Is.EqualTo(expected.Evaluation));
        Assert.That(Path.GetFileName(actual.LastCheckpoint), Is.EqualTo(Path.GetFileName(expected.LastCheckpoint)));
        foreach (string file in Directory.GetFiles(expected.LastCheckpoint!))
            Assert.That(File.ReadAllBytes(Path.Combine(actual.LastCheckpoint!, Path.GetFileName(file))), Is.EqualTo(File.ReadAllBytes(file)), file);
        Assert.That(UntimedMetrics(actual.Folder), Is.EqualTo(UntimedMetrics(expected.Folder)));
    }

    /// <summary>The metrics of a run without the columns that tell of time, which is never the same.</summary>
    internal static string[] UntimedMetrics(string run)
    {
        string[][] rows = [.. File.ReadLines(Path.Combine(run, "metrics.csv")).Select(line => line.Split(','))];
        int[] kept = [.. Enumerable.Range(0, rows[0].Length).Where(column => rows[0][column] is not ("samples_per_second" or "data_wait" or "data_wait_share"))];
        return [.. rows.Select(row => string.Join(',', kept.Select(column => row[column])))];
    }

    private static (long, float, float, float, float) Numbers(StepReport step) => (step.Step, step.Loss, step.LearningRate, step.LogitScale, step.GradientNorm);
}
