using System.Diagnostics;
using ClipCuda.Cli;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Tests.Training;
using ClipCuda.Training;

namespace ClipCuda.Tests.Cli;

public sealed class TrainCommandTests
{
    private TinyRun _run = null!;

    [SetUp]
    public void SetUp() => _run = new TinyRun();

    [TearDown]
    public void TearDown() => _run.Dispose();

    [Test]
    public void Trains_evaluates_and_says_where_the_results_are()
    {
        var run = Train("--val-csv", _run.ValCsv, "--epochs", "2", "--log-every-n-steps", "2", "--name", "one");
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        Assert.That(run.Output, Does.Contain("Device: CPU").And.Contain("24 images").And.Contain("parameters").And.Contain("Memory: a batch of 8 needs about "));
        Assert.That(run.Output, Does.Match(@"epoch 1/2 step 2/\d+ loss \d\.\d+ scale 14\.\d \d+/s wait \d+\.\d % ETA \d+s\n"));
        Assert.That(run.Output, Does.Not.Contain("step 3/"));
        Assert.That(run.Output, Does.Contain("epoch 2/2 evaluated: loss ").And.Contain("image → text").And.Contain("R@10").And.Contain("Trained in "));
        Assert.That(run.Output, Does.Contain(_run.Folder.At("one")).And.Contain("epoch_2"));
        Assert.That(File.Exists(Path.Combine(_run.Folder.At("one"), "checkpoints", "epoch_2", Checkpoint.WeightsFile)));
    }

    [Test]
    public void Every_flag_reaches_the_run()
    {
        var run = Train(
            "--val-csv", _run.ValCsv, "--epochs", "1", "--lr", "0.002", "--weight-decay", "0.3", "--beta1", "0.8", "--beta2", "0.95", "--eps", "1e-7", "--grad-clip-norm", "0.5",
            "--warmup", "7", "--seed", "9", "--image-size", "24", "--patch-size", "8", "--vision-width", "24", "--vision-layers", "2", "--vision-heads", "3", "--text-width", "20",
            "--text-layers", "3", "--text-heads", "2", "--context-length", "9", "--vocab-size", "49500", "--embed-dim", "6", "--num-workers", "1", "--threads", "1", "--device", "cpu",
            "--log-every-n-steps", "3", "--val-frequency", "4", "--save-frequency", "5", "--val-steps", "6", "--save-steps", "7", "--keep", "8", "--max-time", "9h", "--wd-exclude",
            "--lr-scheduler", "const-cooldown", "--epochs-cooldown", "1", "--lr-cooldown-end", "0.0001", "--lr-cooldown-power", "2", "--accum-freq", "2", "--max-not-finite-steps", "4",
            "--name", "all");
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        string[] settings = Settings("all");
        Assert.That(settings, Is.Ordered.Using<string>(StringComparer.Ordinal));
        Assert.That(settings, Is.SupersetOf(new[]
        {
            "batch_size: 8", "beta1: 0.8", "beta2: 0.95", "context_length: 9", "device: cpu", "embed_dim: 6", "epochs: 1", "eps: 1E-07", "grad_clip_norm: 0.5", "image_size: 24",
            "log_every_n_steps: 3", "lr: 0.002", "model_name: ViT-B/32", "name: all", "num_workers: 1", "patch_size: 8", "save_frequency: 5", "seed: 9", "strict: False",
            "text_heads: 2", "text_layers: 3", "text_width: 20", "threads: 1", "val_frequency: 4", "vision_heads: 3", "vision_layers: 2", "vision_width: 24", "vocab_size: 49500",
            "warmup: 7", "weight_decay: 0.3", "val_steps: 6", "save_steps: 7", "keep: 8", "max_time: 09:00:00", "wd_exclude: open_clip", "lr_scheduler: const-cooldown",
            "epochs_cooldown: 1", "lr_cooldown_end: 0.0001", "lr_cooldown_power: 2", "accum_freq: 2", "max_not_finite_steps: 4",
        }));
    }

    [TestCase("--pretrained")]
    [TestCase("--finetune")]
    public void Pretrained_weights_bring_their_model_and_flags_may_change_its_sizes(string flag)
    {
        Assert.That(Train("--epochs", "1", "--name", "start").ExitCode, Is.Zero);
        string start = _run.Folder.At("start/checkpoints/epoch_1");
        string[] rest = ["--train-csv", _run.TrainCsv, "--img-root", _run.Emoji, "--batch-size", "8", "--epochs", "1", "--logs", _run.Folder.Path];
        var run = CommandLine.Run(["train", flag, start, "--lock-text", "--image-size", "48", "--name", "next", .. rest]);
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        Assert.That(run.Output, Does.Contain($"Weights: '{start}{Path.DirectorySeparatorChar}open_clip_model.safetensors', text tower locked").And.Contain("resized from 2×2 to 3×3 patches"));
        Assert.That(
            Settings("next"),
            Is.SupersetOf(new[] { $"pretrained: {start}", "lock_text: True", "lock_image: False", "vision_width: 64", "image_size: 48", "model_name: epoch_1" }));

        CommandLine.Run(["train", flag, start, "--embed-dim", "8", "--name", "x", .. rest]).MustFail(1, "embed_dim 16 (the model: 8)");
        CommandLine.Run(["train", flag, start, "--model-name", "ViT-B/16", "--name", "x", .. rest]).MustFail(1, "embed_dim 16 (the model: 512)", "vision_cfg.layers 1 (the model: 12)", "--model-name");
        CommandLine.Run(["train", flag, _run.Folder.At("nowhere"), "--name", "x", .. rest]).MustFail(1, "There are no weights", "nowhere");
    }

    [Test]
    public void A_width_without_heads_keeps_the_width_of_a_head()
    {
        var run = Train("--epochs", "1", "--vision-width", "128", "--name", "wide");
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        Assert.That(Settings("wide"), Does.Contain("vision_heads: 2").And.Contain("vision_width: 128"));
        Train("--vision-width", "100", "--name", "odd").MustFail(1, "--vision-width 100", "--vision-heads");
    }

    [Test]
    public void What_does_not_fit_together_is_one_line_and_exit_1()
    {
        Train("--image-size", "33", "--name", "x").MustFail(1, "33", "patch size 16");
        Train("--vision-heads", "5", "--name", "x").MustFail(1, "5 vision heads do not divide width 64");
        Train("--batch-size", "100", "--name", "x").MustFail(1, "100", $"use at most {File.ReadLines(_run.TrainCsv).Count() - 1}");
        Train("--vocab-size", "100", "--name", "x").MustFail(1, "49408");
        Train("--vision-width", "8192", "--vision-layers", "2000", "--name", "x").MustFail(1, "parameters, more than 2,147,483,647");
        Train("--image-size", "3200", "--vision-layers", "1000", "--name", "x").MustFail(1, "Not enough memory", "not even a batch of 1");
        Train("--val-csv", "nowhere.csv", "--name", "x").MustFail(1, "nowhere.csv");
        Train("--img-root", "nowhere", "--name", "x").MustFail(1, "nowhere");
        Train("--name", "a/b").MustFail(1, "a/b");
        Assert.That(Directory.Exists(_run.Folder.At("x")), Is.False);
    }

    [Test]
    public void Bad_data_is_one_line_that_names_the_file_and_exit_1()
    {
        CommandLine.Run("train", "--train-csv", _run.Folder.Write("empty.csv", "")).MustFail(1, "empty.csv", "empty");
        CommandLine.Run("train", "--train-csv", _run.Folder.Write("header.csv", "image_path,caption\n")).MustFail(1, "header.csv", "no rows");
        CommandLine.Run("train", "--train-csv", _run.Folder.Write("column.csv", "image_path,title\na.png,b\n")).MustFail(1, "column.csv", "'caption'");
        CommandLine.Run("train", "--train-csv", _run.Folder.Write("gone.csv", "image_path,caption\na.png,b\n")).MustFail(1, "gone.csv", "a.png");
        _run.Folder.Write("damaged.png", "no image");
        string damaged = _run.Folder.Write("damaged.csv", "image_path,caption\ndamaged.png,b\n");
        Train("--train-csv", damaged, "--img-root", _run.Folder.Path, "--batch-size", "1", "--name", "damaged").MustFail(1, "damaged.csv", "damaged.png");
    }

    [Test]
    public void A_run_folder_that_exists_or_cannot_be_written_is_refused()
    {
        _run.Folder.Write("old/out.log", "kept");
        Train("--name", "old").MustFail(1, "exists already", "--name");
        Assert.That(File.ReadAllText(_run.Folder.At("old/out.log")), Is.EqualTo("kept"));
        _run.Folder.Write("file", "");
        Train("--logs", _run.Folder.At("file"), "--name", "new").MustFail(1, "cannot be written", "--logs");
    }

    /// <summary>The run's settings are in its folder: the path alone goes on with it, from anywhere.</summary>
    [Test]
    public void A_run_is_resumed_with_its_own_settings()
    {
        var first = Train("--epochs", "1", "--lr", "0.003", "--name", "one", "--resume", "latest");
        Assert.That((first.ExitCode, first.Error), Is.EqualTo((0, "")));
        Assert.That(first.Output, Does.Contain("Nothing to resume: there is no checkpoint in ").And.Contain("begins at step 0"));

        string one = _run.Folder.At("one");
        var finished = CommandLine.Run("train", "--resume", one);
        Assert.That((finished.ExitCode, finished.Error), Is.EqualTo((0, "")));
        Assert.That(finished.Output.TrimEnd().Split('\n'), Has.Length.EqualTo(1));
        Assert.That(finished.Output, Does.Contain("is finished").And.Contain("raise --epochs").And.Contain("epoch_1"));

        var more = CommandLine.Run("train", "--resume", "latest", "--logs", _run.Folder.Path, "--epochs", "2");
        Assert.That((more.ExitCode, more.Error), Is.EqualTo((0, "")), more.Output);
        Assert.That(more.Output, Does.Contain("Resumed: '").And.Contain("step 5 of 10").And.Not.Contain("step 5/10").And.Contain("step 10/10"));
        Assert.That(File.ReadAllText(Path.Combine(one, "params.txt")), Does.Contain($"lr: 0.003  # '{Path.Combine(one, "config.json")}'").And.Contain("epochs: 2  # command line"));
        Assert.That(File.ReadLines(Path.Combine(one, "metrics.csv")).Count(), Is.EqualTo(1 + 10));
    }

    [Test]
    public void A_run_is_overwritten_when_that_is_asked_for()
    {
        Assert.That(Train("--epochs", "1", "--name", "one").ExitCode, Is.Zero);
        string weights = _run.Folder.At($"one/checkpoints/epoch_1/{Checkpoint.WeightsFile}");
        byte[] before = File.ReadAllBytes(weights);
        Train("--epochs", "1", "--name", "one", "--seed", "1").MustFail(1, "exists already", "--overwrite");
        Assert.That(Train("--epochs", "1", "--name", "one", "--seed", "1", "--overwrite").ExitCode, Is.Zero);
        Assert.That(File.ReadAllBytes(weights), Is.Not.EqualTo(before));
        Assert.That(File.ReadLines(_run.Folder.At("one/metrics.csv")).Count(), Is.EqualTo(1 + 5));
        Train("--name", "one", "--overwrite", "--resume", "latest").MustFail(2, "--resume", "--overwrite");
        Train("--resume", _run.Folder.At("nowhere")).MustFail(1, "nowhere");
    }

    [Test]
    public void Settings_that_do_not_go_together_are_named()
    {
        Train("--lr-scheduler", "const-cooldown", "--name", "x").MustFail(1, "--epochs-cooldown");
        Train("--epochs-cooldown", "1", "--name", "x").MustFail(1, "--lr-scheduler");
        Train("--lr-scheduler", "wsd", "--epochs-cooldown", "9", "--name", "x").MustFail(1, "9 epochs", "--epochs");
        Train("--lr-scheduler", "linear", "--name", "x").MustFail(2, "'linear'", "cosine, const, const-cooldown, wsd");
        Train("--wd-exclude", "all", "--name", "x").MustFail(2, "'all'", "open_clip and none");
        Train("--zeroshot-classes", "x", "--name", "x").MustFail(1, "--zeroshot-data");
        Train("--accum-freq", "0", "--name", "x").MustFail(2, "--accum-freq", "at least 1");
        Assert.That(Directory.Exists(_run.Folder.At("x")), Is.False);
    }

    [Test]
    public void Time_that_is_nearly_up_ends_the_run_with_exit_0_and_a_checkpoint()
    {
        var run = Train("--max-time", "1s", "--name", "short");
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        Assert.That(run.Output, Does.Contain("Stopped after step 1 of 15, before --max-time is up; --resume latest goes on.").And.Contain("step_1"));
    }

    [Test]
    public void A_caption_that_is_too_long_is_counted_or_with_strict_an_error()
    {
        var run = Train("--context-length", "4", "--epochs", "1", "--name", "cut");
        Assert.That(run.Output, Does.Match(@"\d+ too long for the context and cut"));
        Train("--context-length", "4", "--strict", "--name", "strict").MustFail(1, "line ", "context");
    }

    /// <summary>A ResNet by configuration file: trained, evaluated and saved with its statistics.</summary>
    [Test]
    public void A_resnet_of_a_configuration_file_trains()
    {
        string config = _run.Folder.Write("rn.json", """
            {"embed_dim": 16, "quick_gelu": true, "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": null},
             "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1}}
            """);
        var run = CommandLine.Run(
            "train", "--train-csv", _run.TrainCsv, "--val-csv", _run.ValCsv, "--img-root", _run.Emoji, "--batch-size", "8", "--epochs", "1", "--logs", _run.Folder.Path,
            "--name", "rn", "--model-name", config);
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")), run.Output);
        Assert.That(File.ReadAllText(_run.Folder.At("rn/params.txt")), Does.Contain("vision_layers: 1,1,1,1").And.Contain("quick_gelu: True"));
        using var device = Device.Open("cpu", 1);
        using var model = Checkpoint.Load(device, _run.Folder.At("rn/checkpoints/epoch_1"));
        int steps = (File.ReadLines(_run.TrainCsv).Count() - 1) / 8; // a row is a pair, and the rest of an epoch is left out
        Assert.That(model.Statistics.BatchesTracked.Values, Is.All.EqualTo(steps));
    }

    [Test]
    public void A_resnet_takes_no_patches()
    {
        Train("--model-name", "RN50", "--image-size", "64", "--name", "x").MustFail(1, "--patch-size");
        CommandLine.Run("train", "--model-name", "nowhere.json").MustFail(2, "nowhere.json");
    }

    [Test]
    public void A_loss_that_is_not_finite_is_exit_1() =>
        Train("--lr", "1e38", "--grad-clip-norm", "0", "--name", "x").MustFail(1, "Step 2", "the loss", "the weights are not finite", "--lr");

    [Test]
    public void On_a_terminal_notes_are_shown_above_the_progress()
    {
        using var output = new StringWriter();
        var console = new TrainingConsole(output, live: true, logEveryNSteps: 1);
        int result = console.Show(() =>
        {
            console.Note("a note with [brackets]");
            console.Begin(epochs: 1, stepsPerEpoch: 24, stepsDone: 9);
            console.Step(Examples.Step);
            console.Evaluation(1, 24, Examples.Evaluation, TimeSpan.FromSeconds(2));
            console.ZeroShot(1, 12, Examples.Classification, TimeSpan.FromSeconds(2));
            return 3;
        });
        Assert.That(result, Is.EqualTo(3));
        Assert.That(output.ToString(), Does.Contain("a note with [brackets]").And.Contain("R@1/5/10").And.Contain("epoch 1/1 step 12/24 zero-shot: top-1 62.5 %, top-5 87.5 % of 24 images in 6"));
    }

    [Platform(Exclude = "Win", Reason = "Windows has no kill to send a signal with")]
    [TestCase("INT", 130)]
    [TestCase("TERM", 143)]
    public void A_signal_ends_the_run_after_its_step(string signal, int exitCode)
    {
        string program = typeof(TrainingConsole).Assembly.Location;
        string[] arguments = [program, "train", .. Arguments("--epochs", "100000", "--log-every-n-steps", "1", "--name", signal)];
        // A shell hands an ignored SIGINT on to what it runs in the background; the run under test must not start with it.
        string[] command = OperatingSystem.IsLinux() ? ["env", "--default-signal=INT,TERM", "dotnet", .. arguments] : ["dotnet", .. arguments];
        using var process = Process.Start(new ProcessStartInfo(command[0], command[1..]) { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true })!;
        using var deadline = new CancellationTokenSource(TimeSpan.FromMinutes(2));
        using var kill = deadline.Token.Register(() => process.Kill());
        var error = process.StandardError.ReadToEndAsync();
        bool began = false;
        while (!began && process.StandardOutput.ReadLine() is { } line) began = line.Contains("step 2/");
        Assert.That(began, Is.True, "the run did not begin");
        using (var sent = Process.Start("kill", ["-" + signal, $"{process.Id}"])) sent.WaitForExit();
        string rest = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.That(process.ExitCode, Is.EqualTo(exitCode), error.Result);
        Assert.That(rest, Does.Contain("Stopping after this step").And.Contain("Stopped; go on with: train --resume "));
        Assert.That(File.ReadAllText(_run.Folder.At($"{signal}/metrics.csv")), Does.EndWith("\n"));
        Assert.That(File.ReadAllText(_run.Folder.At($"{signal}/out.log")), Does.Match(@"Stopped after step \d+ of 500000; the checkpoint is '.*'\.\n$"));
        string checkpoint = CheckpointFolders.LatestOf(_run.Folder.At($"{signal}/checkpoints"))!;
        Assert.That(File.ReadLines(_run.Folder.At($"{signal}/metrics.csv")).Last(), Does.Match($@"^\d+,{TrainingState.Read(checkpoint).Step},"), "the step that was finished is the one that was saved");
    }

    /// <summary>The lines of <c>params.txt</c> without where settings came from.</summary>
    private string[] Settings(string name) => [.. File.ReadLines(_run.Folder.At($"{name}/params.txt")).Select(line => line.Split("  # ")[0])];

    private CommandLine Train(params string[] args) => CommandLine.Run(["train", .. Arguments(args)]);

    /// <summary>The tiny run's data and a tiny model, in place of the reference's ViT-B/32; flags that are given win.</summary>
    private string[] Arguments(params string[] args)
    {
        var defaults = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["--train-csv"] = _run.TrainCsv,
            ["--img-root"] = _run.Emoji,
            ["--batch-size"] = "8",
            ["--image-size"] = "32",
            ["--patch-size"] = "16",
            ["--vision-width"] = "64",
            ["--vision-layers"] = "1",
            ["--text-width"] = "64",
            ["--text-layers"] = "1",
            ["--context-length"] = "12",
            ["--embed-dim"] = "16",
            ["--threads"] = "2",
            ["--logs"] = _run.Folder.Path,
        };
        return [.. defaults.Where(flag => !args.Contains(flag.Key)).SelectMany(flag => new[] { flag.Key, flag.Value }), .. args];
    }
}
