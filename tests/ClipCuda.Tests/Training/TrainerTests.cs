using ClipCuda.Data;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Ops;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class TrainerTests
{
    private TinyRun _run = null!;

    [SetUp]
    public void SetUp() => _run = new TinyRun();

    [TearDown]
    public void TearDown() => _run.Dispose();

    [Test]
    public void Threads_and_workers_change_no_bit_of_losses_and_weights()
    {
        var (one, first) = TinyRun.Train(_run.Options("one") with { Threads = 1, Workers = 1 });
        var (two, second) = TinyRun.Train(_run.Options("two") with { Threads = 2, Workers = 3 });
        var (three, _) = TinyRun.Train(_run.Options("three") with { Threads = 2, Workers = 0 });
        Assert.That(first.Steps, Has.Count.EqualTo(6));
        Assert.That(second.Steps.Select(Numbers), Is.EqualTo(first.Steps.Select(Numbers)));
        Assert.That(second.Evaluations, Is.EqualTo(first.Evaluations));
        byte[] weights = Weights(one);
        Assert.That(Weights(two), Is.EqualTo(weights));
        Assert.That(Weights(three), Is.EqualTo(weights));
    }

    [Test]
    public void Memory_checks_find_nothing_and_change_nothing()
    {
        var (_, checkedRun) = TinyRun.Train(_run.Options("checked") with { Epochs = 1, Device = "cpu:check" });
        var (_, plain) = TinyRun.Train(_run.Options("plain") with { Epochs = 1 });
        Assert.That(checkedRun.Steps.Select(Numbers), Is.EqualTo(plain.Steps.Select(Numbers)));
        Assert.That(checkedRun.Evaluations, Is.EqualTo(plain.Evaluations));
    }

    [TestCase(true, false)]
    [TestCase(false, true)]
    [TestCase(true, true)]
    public void A_locked_tower_keeps_every_bit_and_the_rest_is_trained(bool lockImage, bool lockText)
    {
        var (start, _) = TinyRun.Train(_run.Options("start") with { Epochs = 1 });
        var (locked, progress) = TinyRun.Train(_run.Options("locked") with { Epochs = 1, Pretrained = start.LastCheckpoint, LockImage = lockImage, LockText = lockText, Device = "cpu:check" });
        Assert.That(progress.Notes, Has.One.StartsWith("Weights: '").And.Contains("locked"));
        using SafetensorsFile before = Open(start), after = Open(locked);
        foreach (var entry in before.Entries)
        {
            if (entry.Name.EndsWith("in_proj_bias", StringComparison.Ordinal)) continue; // zeros in place of what the model has not
            bool image = entry.Name.StartsWith("visual.", StringComparison.Ordinal), kept = entry.Name != "logit_scale" && (image ? lockImage : lockText);
            float[] first = before.ReadFloats(entry.Name), second = after.ReadFloats(entry.Name);
            if (kept) Tests.Numbers.AssertSameBits(second, first, entry.Name);
            else Assert.That(second, Is.Not.EqualTo(first), entry.Name);
        }

        static SafetensorsFile Open(TrainingSummary summary) => SafetensorsFile.Open(Path.Combine(summary.LastCheckpoint!, Checkpoint.WeightsFile));
    }

    [Test]
    public void A_tower_locked_at_fresh_weights_is_told()
    {
        var progress = new RecordedProgress();
        using var trainer = new Trainer(_run.Options("fresh") with { LockText = true }, progress);
        Assert.That(progress.Notes, Has.One.Contains("name trained ones with --pretrained"));
    }

    /// <summary>The gradients of the other tower do not depend on whether this one has any.</summary>
    [Test]
    public void What_is_trained_takes_the_same_first_step_as_without_locks()
    {
        var options = _run.Options("x") with { GradClipNorm = 0 };
        Dictionary<string, float[]> free = Step(options), locked = Step(options with { LockImage = true });
        foreach (var (name, values) in free)
        {
            if (!name.StartsWith("visual.", StringComparison.Ordinal)) Tests.Numbers.AssertSameBits(locked[name], values, name);
        }

        static Dictionary<string, float[]> Step(TrainingOptions options)
        {
            using var device = Device.Open("cpu", 1);
            using var model = new ClipModel(device, options.Model, options.WeightDecayScope, options.Frozen);
            Initialization.Apply(model.Parameters, options.Model, options.Initialization, 1);
            using var step = new TrainingStep(model, options);
            var image = new ImageSlot(0, 8, 8, 0, 0, 8, 8);
            int[] tokens = [.. Enumerable.Range(0, 2 * options.Model.Text.ContextLength).Select(i => i)];
            byte[] rgb = [.. Enumerable.Range(0, 3 * 8 * 8).Select(i => (byte)(i * 37))];
            step.Run(rgb, [image, image with { Width = 7, CropWidth = 7 }], tokens, 0.01f);
            return model.Parameters.Names.ToDictionary(name => name, name => model.Parameters[name].ToArray());
        }
    }

    [Test]
    public void Locks_save_the_memory_of_gradients_moments_and_activations()
    {
        var options = _run.Options("x");
        long free = Bytes(options), locked = Bytes(options with { LockImage = true }), both = Bytes(options with { LockImage = true, LockText = true });
        long image = ParameterNames.Of(options.Model, WeightDecayScope.All).Where(spec => spec.Name.StartsWith("visual.", StringComparison.Ordinal)).Sum(spec => spec.Shape.Aggregate(1L, (n, extent) => n * extent));
        // A gradient and two moments of four bytes for each parameter, and what backward would need of the activations.
        Assert.That(free - locked, Is.GreaterThan(3 * 4 * image));
        Assert.That(locked - both, Is.GreaterThan(3 * 4 * 49408L * options.Model.Text.Width));

        static long Bytes(TrainingOptions options) => new MemoryEstimate(options, (72, 72)).DeviceBytes(8);
    }

    [Test]
    public void Training_goes_on_from_pretrained_weights_at_another_size()
    {
        var (start, _) = TinyRun.Train(_run.Options("start") with { Epochs = 1 });
        var options = _run.Options("finer") with { Epochs = 1, Pretrained = start.LastCheckpoint, LearningRate = 1e-30f };
        options = options with { Model = options.Model with { Vision = options.Model.Vision with { ImageSize = 48 }, Text = options.Model.Text with { ContextLength = 10 } } };
        var (finer, progress) = TinyRun.Train(options);
        Assert.That(progress.Notes, Has.One.EqualTo("Positions of images: resized from 2×2 to 3×3 patches (bicubic)").And.One.EqualTo("Positions of captions: the first 10 of 12 are kept"));
        using SafetensorsFile before = SafetensorsFile.Open(Path.Combine(start.LastCheckpoint!, Checkpoint.WeightsFile)), after = SafetensorsFile.Open(Path.Combine(finer.LastCheckpoint!, Checkpoint.WeightsFile));
        Assert.That(after.ReadFloats("visual.proj"), Is.EqualTo(before.ReadFloats("visual.proj")), "a learning rate of nothing changes nothing");
        Assert.That(after["visual.positional_embedding"].Shape, Is.EqualTo(new[] { 10, 32 }));
        Assert.That(
            () => TinyRun.Train(_run.Options("other") with { Pretrained = start.LastCheckpoint, Model = options.Model with { QuickGelu = true, EmbedDim = 8 } }),
            Throws.TypeOf<InvalidDataException>().With.Message.Contains("embed_dim 16 (the model: 8), quick_gelu false (the model: true)").Or.Message.Contains("quick_gelu false (the model: true)"));
    }

    [Test]
    public void Another_seed_gives_other_weights()
    {
        var (one, _) = TinyRun.Train(_run.Options("one") with { Epochs = 1 });
        var (two, _) = TinyRun.Train(_run.Options("two") with { Epochs = 1, Seed = 43 });
        Assert.That(Weights(two), Is.Not.EqualTo(Weights(one)));
    }

    [Test]
    public void The_loss_goes_down()
    {
        var (_, progress) = TinyRun.Train(_run.Options("run") with { Epochs = 30, ValData = null, LearningRate = 5e-3f });
        double first = progress.Steps.Take(3).Average(step => step.Loss), last = progress.Steps.TakeLast(3).Average(step => step.Loss);
        // Chance is ln 8 = 2.08.
        Assert.That(first, Is.EqualTo(2.08).Within(0.6));
        Assert.That(last, Is.LessThan(0.5 * first));
    }

    [Test]
    public void The_saved_model_evaluates_as_it_did_in_training()
    {
        var options = _run.Options("run");
        var (summary, progress) = TinyRun.Train(options);

        using var device = Device.Open("cpu", threads: 1);
        using var model = Checkpoint.Load(device, summary.LastCheckpoint!);
        using var preprocess = new Preprocess(device, options.Model.Vision.ImageSize, Preprocess.ClipMean, Preprocess.ClipDeviation);
        var data = CsvDataset.Load(options.ValData!, options.ImageRoot);
        using var loader = new BatchLoader(data, new ClipTokenizer(Path.Combine(DataFolder.Find(), DataFolder.Merges)), options.ValLoader);
        using var tape = new Tape(device, recording: false);
        var report = new RetrievalEvaluation(model, preprocess, data, loader, options.BatchSize).Run(tape);

        Assert.That(report, Is.EqualTo(summary.Evaluation));
        Assert.That(report, Is.EqualTo(progress.Evaluations[^1].Report));
        Assert.That((report.Images, report.Captions), Is.EqualTo((TinyRun.ValImages, data.Rows.Count)));
    }

    [Test]
    public void The_folder_holds_what_was_reported()
    {
        var (summary, progress) = TinyRun.Train(_run.Options("run") with { LogEveryNSteps = 2 });
        string[][] rows = [.. File.ReadLines(Path.Combine(summary.Folder, "metrics.csv")).Skip(1).Select(line => line.Split(','))];
        Assert.That(rows.Select(row => string.Join(',', row[..2])), Is.EqualTo(new[] { "1,1", "1,2", "1,3", "1,3", "2,4", "2,5", "2,6", "2,6" }));
        float[] losses = [.. rows.Where(row => row[2].Length > 0).Select(row => float.Parse(row[2]))];
        Assert.That(losses, Is.EqualTo(progress.Steps.Select(step => step.Loss)), "losses are written exactly");
        string log = File.ReadAllText(Path.Combine(summary.Folder, "out.log"));
        Assert.That(log, Does.Contain("| INFO | Device: CPU").And.Contain("Train Epoch: 1 [24/24 (100%)]").And.Contain("Eval Epoch: 2 "));
        // Steps 2, 4 and 6, and the ends of the epochs, 3 and 6.
        Assert.That(log.Split("Train Epoch").Skip(1).Select(line => line[..line.IndexOf('(')]), Is.EqualTo(new[] { ": 0 [16/24 ", ": 0 [24/24 ", ": 1 [ 8/24 ", ": 1 [24/24 " }));
        // Settings are shown as they took effect.
        Assert.That(File.ReadAllLines(Path.Combine(summary.Folder, "params.txt")), Is.SupersetOf(new[] { "lr: 0.001", "batch_size: 8", "device: cpu", "threads: 2" }));
    }

    [Test]
    public void Evaluations_and_checkpoints_come_at_their_frequencies_and_at_the_end()
    {
        var (summary, progress) = TinyRun.Train(_run.Options("run") with { Epochs = 5, ValFrequency = 3, SaveFrequency = 4 });
        Assert.That(progress.Evaluations.Select(evaluation => evaluation.Epoch), Is.EqualTo(new[] { 3, 5 }));
        Assert.That(summary.LastCheckpoint, Does.EndWith("epoch_5"));
        Assert.That(Directory.GetDirectories(Path.Combine(summary.Folder, "checkpoints")), Has.Length.EqualTo(1), "epoch 4 was not evaluated, so it is not best");
    }

    [Test]
    public void Without_validation_data_nothing_is_evaluated_and_a_line_says_so()
    {
        var (summary, progress) = TinyRun.Train(_run.Options("run") with { Epochs = 1, ValData = null });
        Assert.That(summary.Evaluation, Is.Null);
        Assert.That(progress.Evaluations, Is.Empty);
        Assert.That(progress.Notes, Has.One.Contains("--val-data"));
    }

    [Test]
    public void A_stop_ends_after_the_step_with_whole_files()
    {
        using var stop = new CancellationTokenSource();
        var progress = new RecordedProgress
        {
            AfterStep = step =>
            {
                if (step.Step == 4) stop.Cancel();
            },
        };
        Assert.That(() => TinyRun.Train(_run.Options("run"), progress, stop.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(progress.Steps, Has.Count.EqualTo(4));
        string folder = _run.Folder.At("run");
        Assert.That(File.ReadLines(Path.Combine(folder, "metrics.csv")).Count(), Is.EqualTo(1 + 4 + 1));
        Assert.That(File.ReadAllText(Path.Combine(folder, "out.log")), Does.Match(@"\| WARNING \| Stopped after step 4 of 6; the checkpoint is '.*step_4'\.\n$"));
        Assert.That(Directory.GetDirectories(Path.Combine(folder, "checkpoints")).Select(Path.GetFileName), Is.EquivalentTo(new[] { "epoch_1", "step_4" }), "the best and the last");
    }

    [Test]
    public void A_loss_that_is_not_finite_stops_the_run_and_names_the_step()
    {
        var options = _run.Options("run") with { LearningRate = 1e30f, Warmup = 0, GradClipNorm = 0, MaxNotFiniteSteps = 2 };
        var progress = new RecordedProgress();
        Assert.That(
            () => TinyRun.Train(options, progress), Throws.TypeOf<NotFiniteNumberException>().With.Message.StartsWith("Step 3: the loss is NaN, not a finite number; so it was for 2 steps in a row, since step 2,"));
        Assert.That(progress.Notes, Has.One.StartsWith("Step 2 skipped: the loss is NaN"));
        Assert.That(() => TinyRun.Train(options with { Name = "worse", LearningRate = 1e38f }), Throws.TypeOf<NotFiniteNumberException>().With.Message.Contains("Step 2: the loss is NaN, not a finite number, and the weights are not finite either"));
        string folder = _run.Folder.At("run");
        Assert.That(File.ReadAllText(Path.Combine(folder, "out.log")), Does.Contain("| ERROR | Step 3: the loss is "));
        Assert.That(File.ReadLines(Path.Combine(folder, "metrics.csv")).Count(), Is.EqualTo(1 + 3));
        Assert.That(Directory.EnumerateFileSystemEntries(Path.Combine(folder, "checkpoints")), Is.Empty);
    }

    [Test]
    public void Missing_and_damaged_images_are_listed_counted_and_left_out()
    {
        _run.Folder.WriteImage("good1.png", 20, 20, red: 200);
        _run.Folder.WriteImage("good2.png", 20, 30, green: 200);
        _run.Folder.Write("damaged.png", "no image");
        string csv = _run.Folder.Write("own.csv", "image_path,caption\ngood1.png,red\nmissing.png,gone\ndamaged.png,broken\ngood2.png,green\n");
        var options = _run.Options("run") with { TrainData = csv, ValData = csv, ImageRoot = null, BatchSize = 2, Epochs = 1 };
        var (summary, progress) = TinyRun.Train(options);
        Assert.That(progress.Notes, Has.Some.Contains("line 3").And.Some.Contains("missing.png").And.Some.Contains("damaged.png"));
        Assert.That(progress.Notes, Has.Some.Match("2 of .* skipped"));
        Assert.That(summary.Evaluation!.Images, Is.EqualTo(2));
        Assert.That(() => TinyRun.Train(options with { Name = "strict", Strict = true }), Throws.TypeOf<FileNotFoundException>().With.Message.Contains("line 3").And.Message.Contains("missing.png"));
        Assert.That(Directory.Exists(_run.Folder.At("strict")), Is.False, "a run that is refused leaves no folder");
    }

    [Test]
    public void A_run_that_fails_before_its_first_step_does_not_take_its_name()
    {
        string image = _run.Folder.Write("one.png", "no image");
        string csv = _run.Folder.Write("own.csv", "image_path,caption\none.png,red\n");
        var options = _run.Options("run") with { TrainData = csv, ValData = null, ImageRoot = null, BatchSize = 1, Epochs = 1 };
        Assert.That(() => TinyRun.Train(options), Throws.TypeOf<InvalidDataException>().With.Message.Contains("one.png"));
        Assert.That(Directory.Exists(_run.Folder.At("run")), Is.False);
        File.Delete(image);
        _run.Folder.WriteImage("one.png", 20, 20, red: 200);
        Assert.That(TinyRun.Train(options).Summary.LastCheckpoint, Does.EndWith("epoch_1"));

        // One that fails later keeps what it has.
        var progress = new RecordedProgress { AfterStep = _ => throw new IOException("no room") };
        Assert.That(() => TinyRun.Train(options with { Name = "later" }, progress), Throws.TypeOf<IOException>());
        Assert.That(File.ReadAllText(_run.Folder.At("later/out.log")), Does.Contain("| ERROR | no room"));
    }

    [Test]
    public void Captions_that_are_cut_are_counted()
    {
        var (_, progress) = TinyRun.Train(_run.Options("run") with { Epochs = 1, ValData = null, Model = _run.Options("").Model with { Text = new TextConfig(4, 49408, 16, 1, 1) } });
        Assert.That(progress.Notes, Has.One.Match(@"\d+ too long for the context and cut"));
    }

    [Test]
    public void What_cannot_work_is_refused_before_anything_is_written()
    {
        var options = _run.Options("run");
        Assert.That(() => new Trainer(options with { BatchSize = 25 }, new RecordedProgress()), Throws.ArgumentException.With.Message.Contains("24 images"));
        Assert.That(
            () => new Trainer(options with { Model = options.Model with { Text = options.Model.Text with { VocabSize = 1000 } } }, new RecordedProgress()),
            Throws.ArgumentException.With.Message.Contains("--vocab-size 49408"));
        Assert.That(() => new Trainer(options with { TrainData = "nowhere.csv" }, new RecordedProgress()), Throws.TypeOf<FileNotFoundException>());
        Assert.That(Directory.Exists(_run.Folder.At("run")), Is.False);
        _run.Folder.Write("run/params.txt", "old");
        Assert.That(() => new Trainer(options, new RecordedProgress()), Throws.InstanceOf<IOException>().With.Message.Contains("exists already"));
    }

    private static (long, float, float, float, float) Numbers(StepReport step) => (step.Step, step.Loss, step.LearningRate, step.LogitScale, step.GradientNorm);

    private static byte[] Weights(TrainingSummary summary) => File.ReadAllBytes(Path.Combine(summary.LastCheckpoint!, Checkpoint.WeightsFile));
}
