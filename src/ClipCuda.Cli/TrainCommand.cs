using System.CommandLine;
using ClipCuda.Data;
using ClipCuda.Model;
using ClipCuda.Training;

namespace ClipCuda.Cli;

/// <summary>
/// <c>train</c>: without arguments the bundled drawings with the preset made for them; with <c>--train-data</c> one's own data, by default with
/// the reference's ViT-B/32. A preset gives every number, a flag changes one.
/// </summary>
internal sealed class TrainCommand
{
    private const string DefaultLogs = "logs";

    private readonly Option<string?> _trainData = Text("--train-data", "name", "training data: a CSV file with the columns image_path and caption, or tar shards 'shards/{0000..0099}.tar', several joined by '::' (default: the bundled drawings)", "--train-csv");
    private readonly DataFlags _data = new();
    private readonly Option<string?> _valData = Text("--val-data", "name", "data for the evaluation after epochs: a CSV file or tar shards, as for --train-data (default: none, or the bundled drawings')", "--val-csv");
    private readonly Option<string?> _imgRoot = Text("--img-root", "folder", "what image paths are relative to (default: the folder of the CSV file)");
    private readonly Option<int?> _epochs = NumberOption.Whole("--epochs", "passes over the data", least: 1);
    private readonly Option<int?> _batchSize = NumberOption.Whole("--batch-size", "pairs a step", least: 1);
    private readonly Option<float?> _lr = NumberOption.Real("--lr", "learning rate after the warm-up", positive: true);
    private readonly Option<float?> _weightDecay = NumberOption.Real("--weight-decay", "weight decay of AdamW");
    private readonly Option<float?> _beta1 = NumberOption.Real("--beta1", "decay of AdamW's first moment", limit: 1);
    private readonly Option<float?> _beta2 = NumberOption.Real("--beta2", "decay of AdamW's second moment", limit: 1);
    private readonly Option<float?> _eps = NumberOption.Real("--eps", "epsilon of AdamW", positive: true);
    private readonly Option<float?> _gradClipNorm = NumberOption.Real("--grad-clip-norm", "largest norm of the gradients; 0 does not clip");
    private readonly Option<WeightDecayScope?> _wdExclude = WdExcludeOption();
    private readonly Option<LearningRateSchedule?> _lrScheduler = LrSchedulerOption();
    private readonly Option<int?> _epochsCooldown = NumberOption.Whole("--epochs-cooldown", "epochs at the end over which const-cooldown and wsd come down (default for wsd: a fifth of the run)", least: 1);
    private readonly Option<float?> _lrCooldownEnd = NumberOption.Real("--lr-cooldown-end", "learning rate that the cooldown comes down to (default: 0)");
    private readonly Option<float?> _lrCooldownPower = NumberOption.Real("--lr-cooldown-power", "power of what is left of const-cooldown's cooldown (default: 1, a straight line)", positive: true);
    private readonly Option<int?> _accumFreq = NumberOption.Whole("--accum-freq", "batches that make one step: its gradients are those of one batch as large, in the memory of a small one (default: 1)", least: 1);
    private readonly Option<bool> _maskDuplicates = new("--mask-duplicates") { Description = "pairs of the same image or the same caption are no negatives of each other" };
    private readonly Option<int?> _maxNotFiniteSteps = NumberOption.Whole("--max-not-finite-steps", "steps in a row with a loss or gradient that is not finite, which end the run; fewer are skipped (default: 5)", least: 1);
    private readonly Option<int?> _warmup = NumberOption.Whole("--warmup", "steps over which the learning rate rises", least: 0);
    private readonly Option<int?> _seed = NumberOption.Whole("--seed", "seed of weights, order, captions, crops and colours", least: 0);
    private readonly Option<Preset?> _preset = PresetOption();
    private readonly ModelFlags _model = new();
    private readonly Option<int?> _workers = NumberOption.Whole("--num-workers", "threads that decode images ahead; changes no result (default: 2)", least: 0, "--workers");
    private readonly Option<int?> _threads = NumberOption.Whole("--threads", "threads that compute; changes no result (default: one a core)", least: 1);
    private readonly Option<string> _device = DeviceOption.Create();
    private readonly Option<bool> _tf32 = DeviceOption.CreateTf32();
    private readonly Option<string?> _logs = Text("--logs", "folder", "where the run's folder is made (default: logs)");
    private readonly Option<string?> _name = Text("--name", "name", "name of the run's folder (default: date, time and model)");
    private readonly Option<int?> _logEveryNSteps = NumberOption.Whole("--log-every-n-steps", "steps from one line of the log to the next (default: 10)", least: 1);
    private readonly Option<int?> _valFrequency = NumberOption.Whole("--val-frequency", "epochs from one evaluation to the next (default: 1)", least: 1);
    private readonly Option<int?> _valSteps = NumberOption.Whole("--val-steps", "steps from one evaluation to the next, besides those after epochs", least: 1);
    private readonly Option<string?> _zeroShotData = Text("--zeroshot-data", "path", "images that evaluations classify by their classes' names: a folder with a folder for each class, a CSV file with --label-key, or tar shards");
    private readonly Option<string?> _zeroShotLabel = Text("--label-key", "name", $"what says the class in --zeroshot-data: the column of a CSV file; in tar shards the ending of a file or a key of .json, with the class's name or number (default: {LabelledImages.ShardLabel})", "--csv-label-key");
    private readonly Option<string?> _zeroShotClasses = Text("--zeroshot-classes", "file", "names of these classes, one a line: in the order of the folders' names or the labels' numbers, or all the labels there are (default: the folders' names, or the labels that occur)");
    private readonly Option<string?> _templates = Text("--templates", "file", $"sentences that their names are put into for {{}}, a line each (default: {string.Join(" · ", PromptTemplates.Default)})");
    private readonly Option<int?> _saveFrequency = NumberOption.Whole("--save-frequency", "epochs from one checkpoint to the next (default: 1)", least: 1);
    private readonly Option<int?> _saveSteps = NumberOption.Whole("--save-steps", "steps from one checkpoint to the next, besides those after epochs", least: 1);
    private readonly Option<int?> _keep = NumberOption.Whole("--keep", "how many of the last checkpoints are kept, besides the best by recall (default: 1)", least: 1);
    private readonly Option<TimeSpan?> _maxTime = DurationOption.Create("--max-time", "save a checkpoint and end, with exit code 0, before that time is up: 11h30m, 11:30:00");
    private readonly Option<string?> _resume = Text("--resume", "latest|path", "go on with a run: the one of --name (without: the last in --logs), or a run's folder or checkpoint by path; with its settings unless flags change them");
    private readonly Option<bool> _overwrite = new("--overwrite") { Description = "replace the run's folder if it exists" };
    private readonly Option<string?> _config = Text("--config", "file", "settings by a JSON file, such as the config.json of a run; flags win");
    private readonly Option<string?> _pretrained = Text("--pretrained", "path", "weights to begin with: an open_clip or Hugging Face folder, or a safetensors file; without --model-name the model is theirs", "--finetune");
    private readonly Option<bool> _lockImage = new("--lock-image") { Description = "keep the image tower as it is" };
    private readonly Option<bool> _lockText = new("--lock-text") { Description = "keep the text tower as it is" };
    private readonly Option<bool> _strict = new("--strict") { Description = "make skipped images and cut captions errors" };

    private TrainCommand() { }

    public static Command Create()
    {
        var train = new TrainCommand();
        var command = new Command("train", "Train a model; without arguments a small one on the bundled drawings.")
        {
            train._trainData, train._valData, train._imgRoot, train._epochs, train._batchSize, train._lr, train._weightDecay, train._beta1, train._beta2,
            train._eps, train._wdExclude, train._gradClipNorm, train._warmup, train._lrScheduler, train._epochsCooldown, train._lrCooldownEnd, train._lrCooldownPower,
            train._accumFreq, train._maskDuplicates, train._maxNotFiniteSteps, train._seed, train._pretrained, train._lockImage, train._lockText, train._preset,
        };
        train._data.AddTo(command);
        train._model.AddTo(command);
        foreach (var option in new Option[]
        {
            train._workers, train._threads, train._device, train._tf32, train._logs, train._name, train._resume, train._overwrite, train._config, train._logEveryNSteps, train._valFrequency,
            train._valSteps, train._zeroShotData, train._zeroShotLabel, train._zeroShotClasses, train._templates, train._saveFrequency, train._saveSteps, train._keep, train._maxTime, train._strict,
        })
        {
            command.Add(option);
        }
        command.Validators.Add(result =>
        {
            if (result.GetResult(train._resume) is not null && result.GetResult(train._overwrite) is not null) result.AddError("--resume goes on with a run and --overwrite deletes it; give one of them.");
        });
        command.SetAction(train.Run);
        return command;
    }

    private int Run(ParseResult parsed)
    {
        var output = parsed.InvocationConfiguration.Output;
        var resumed = parsed.GetValue(_resume) is { } resume ? ResumedRun.Find(resume, parsed.GetValue(_logs) ?? DefaultLogs, parsed.GetValue(_name)) : null;
        string? config = parsed.GetValue(_config) ?? resumed?.Config;
        var merged = config is null ? parsed : TrainConfig.Merge(parsed, config);
        var options = Options(merged);
        if (resumed is not null) options = options with { Mode = RunMode.Resume, Logs = resumed.Logs, Name = resumed.Name, ResumeFrom = resumed.Checkpoint };
        if (Trainer.FinishedAt(options) is { } finished)
        {
            output.WriteLine($"The run '{Path.Combine(options.Logs, options.Name!)}' is finished: nothing is left of {options.Epochs} epochs. Its last checkpoint is '{finished}'; to train on, raise --epochs.");
            return 0;
        }
        options = TrainConfig.Describe(options, merged, parsed, config);
        bool live = ReferenceEquals(output, Console.Out) && !Console.IsOutputRedirected;
        var console = new TrainingConsole(output, live, options.LogEveryNSteps);
        using var stop = new StopSignals(() => console.Note("Stopping after this step, with a checkpoint; once more stops at once."));
        string? run = null;
        try
        {
            using var trainer = new Trainer(options, console);
            run = trainer.Folder;
            console.Finish(console.Show(() => trainer.Run(stop.Token)));
            return 0;
        }
        catch (OperationCanceledException) when (stop.Token.IsCancellationRequested)
        {
            output.WriteLine(!Directory.Exists(run) ? "Stopped before the first step." : $"Stopped; go on with: train --resume {run}");
            return stop.ExitCode;
        }
    }

    private TrainingOptions Options(ParseResult parsed)
    {
        string? trainData = parsed.GetValue(_trainData), valData = parsed.GetValue(_valData);
        var preset = parsed.GetValue(_preset) ?? Presets.Find(trainData is null ? Presets.Sample : Presets.Default);
        if (trainData is null && _data.IsSynthetic(parsed))
        {
            trainData = "made up";
        }
        else if (trainData is null)
        {
            string data = DataFolder.Find();
            trainData = Path.Combine(data, DataFolder.SampleTraining);
            valData ??= Path.Combine(data, DataFolder.SampleEvaluation);
        }
        var options = TrainingOptions.Of(preset, trainData, valData);
        string? pretrained = parsed.GetValue(_pretrained);
        if (pretrained is not null && parsed.GetValue(_preset) is null) options = WithModelOf(options, pretrained);
        return _data.Apply(options, parsed) with
        {
            Pretrained = pretrained,
            LockImage = parsed.GetValue(_lockImage),
            LockText = parsed.GetValue(_lockText),
            ImageRoot = parsed.GetValue(_imgRoot),
            Model = _model.Apply(options.Model, parsed),
            Epochs = parsed.GetValue(_epochs) ?? options.Epochs,
            BatchSize = parsed.GetValue(_batchSize) ?? options.BatchSize,
            LearningRate = parsed.GetValue(_lr) ?? options.LearningRate,
            WeightDecay = parsed.GetValue(_weightDecay) ?? options.WeightDecay,
            Beta1 = parsed.GetValue(_beta1) ?? options.Beta1,
            Beta2 = parsed.GetValue(_beta2) ?? options.Beta2,
            Epsilon = parsed.GetValue(_eps) ?? options.Epsilon,
            GradClipNorm = parsed.GetValue(_gradClipNorm) ?? options.GradClipNorm,
            WeightDecayScope = parsed.GetValue(_wdExclude) ?? options.WeightDecayScope,
            Warmup = parsed.GetValue(_warmup) ?? options.Warmup,
            Schedule = parsed.GetValue(_lrScheduler) ?? options.Schedule,
            CooldownEpochs = parsed.GetValue(_epochsCooldown),
            CooldownEnd = parsed.GetValue(_lrCooldownEnd) ?? options.CooldownEnd,
            CooldownPower = parsed.GetValue(_lrCooldownPower) ?? options.CooldownPower,
            AccumFreq = parsed.GetValue(_accumFreq) ?? options.AccumFreq,
            MaskDuplicates = parsed.GetValue(_maskDuplicates),
            MaxNotFiniteSteps = parsed.GetValue(_maxNotFiniteSteps) ?? options.MaxNotFiniteSteps,
            Seed = parsed.GetValue(_seed) ?? options.Seed,
            Workers = parsed.GetValue(_workers) ?? options.Workers,
            Threads = parsed.GetValue(_threads) ?? options.Threads,
            Device = parsed.GetValue(_device)!,
            Tf32 = parsed.GetValue(_tf32),
            Logs = parsed.GetValue(_logs) ?? DefaultLogs,
            Name = parsed.GetValue(_name),
            LogEveryNSteps = parsed.GetValue(_logEveryNSteps) ?? options.LogEveryNSteps,
            ValFrequency = parsed.GetValue(_valFrequency) ?? options.ValFrequency,
            ValSteps = parsed.GetValue(_valSteps) ?? options.ValSteps,
            ZeroShotData = parsed.GetValue(_zeroShotData),
            ZeroShotLabel = parsed.GetValue(_zeroShotLabel),
            ZeroShotClasses = parsed.GetValue(_zeroShotClasses),
            ZeroShotTemplates = parsed.GetValue(_templates),
            SaveFrequency = parsed.GetValue(_saveFrequency) ?? options.SaveFrequency,
            SaveSteps = parsed.GetValue(_saveSteps) ?? options.SaveSteps,
            Keep = parsed.GetValue(_keep) ?? options.Keep,
            MaxTime = parsed.GetValue(_maxTime),
            Mode = parsed.GetValue(_overwrite) ? RunMode.Overwrite : RunMode.New,
            Strict = parsed.GetValue(_strict),
        };
    }

    /// <summary>The model of some weights in place of the preset's; what it is trained with stays the preset's.</summary>
    private static TrainingOptions WithModelOf(TrainingOptions options, string pretrained)
    {
        using var weights = PretrainedWeights.Open(pretrained);
        string folder = Path.GetFileName(Path.GetDirectoryName(Path.GetFullPath(weights.Path)))!;
        return options with { Model = weights.Config, ModelName = Presets.All.FirstOrDefault(preset => preset.Config == weights.Config)?.Name ?? folder };
    }

    internal static Option<Preset?> PresetOption(string? whichDefault = null) => new("--model-name", "--model")
    {
        Description = $"preset: {string.Join(", ", Presets.All.Select(preset => preset.Name))}; or an open_clip model configuration by path, FILE.json (default: {whichDefault ?? $"{Presets.Sample}; {Presets.Default} with --train-data"})",
        HelpName = "name",
        CustomParser = result =>
        {
            try
            {
                return Presets.Find(result.Tokens[0].Value);
            }
            catch (Exception e) when (e is ArgumentException or IOException or InvalidDataException or UnauthorizedAccessException)
            {
                result.AddError(e.Message);
                return null;
            }
        },
    };

    private static Option<LearningRateSchedule?> LrSchedulerOption() => new("--lr-scheduler")
    {
        Description = $"learning rate after the warm-up: {string.Join(", ", TrainingOptions.ScheduleNames.Values)} (default: cosine)",
        HelpName = "name",
        CustomParser = result =>
        {
            foreach (var (schedule, name) in TrainingOptions.ScheduleNames)
            {
                if (name == result.Tokens[0].Value) return schedule;
            }
            result.AddError($"There is no schedule '{result.Tokens[0].Value}'; there are {string.Join(", ", TrainingOptions.ScheduleNames.Values)}.");
            return null;
        },
    };

    private static Option<WeightDecayScope?> WdExcludeOption() => new("--wd-exclude")
    {
        Description = "what weight decay leaves alone: open_clip (biases, norms, class token and temperature; the same without a value) or none (default: the preset's)",
        HelpName = "rule",
        Arity = ArgumentArity.ZeroOrOne,
        CustomParser = result =>
        {
            switch (result.Tokens is [var token] ? token.Value : "open_clip")
            {
                case "open_clip": return WeightDecayScope.Matrices;
                case "none": return WeightDecayScope.All;
                case var other:
                    result.AddError($"There is no rule '{other}' for --wd-exclude; there are open_clip and none.");
                    return null;
            }
        },
    };

    private static Option<string?> Text(string name, string value, string description, params string[] aliases) => new(name, aliases) { Description = description, HelpName = value };
}
