using ClipCuda.Data;
using ClipCuda.Model;

namespace ClipCuda.Training;

/// <summary>Every setting of a run. The command line fills it from a preset and the user's flags; <c>params.txt</c> shows it.</summary>
public sealed record TrainingOptions
{
    /// <summary>What is trained on: a CSV file, or the names of tar shards (<see cref="ShardNames"/>); not looked at for made-up data.</summary>
    public required string TrainData { get; init; }

    /// <summary>What kind of data <see cref="TrainData"/> is, and <see cref="ValData"/> unless training data are made up.</summary>
    public DatasetType DatasetType { get; init; }

    /// <summary>Samples that make an epoch of tar shards (null: all that they hold) or of made-up data (null: ten batches).</summary>
    public int? TrainSamples { get; init; }

    /// <summary>Draws shards with replacement.</summary>
    public bool Resampled { get; init; }

    /// <summary>Samples of tar shards that are mixed with one another.</summary>
    public int ShuffleBuffer { get; init; } = 1000;

    /// <summary>False: samples are taken in the order of the file or the shards.</summary>
    public bool Shuffle { get; init; } = true;

    /// <summary>What stands between the fields of CSV files.</summary>
    public char CsvSeparator { get; init; } = ',';

    /// <summary>The header of the column of image paths.</summary>
    public string CsvImageColumn { get; init; } = CsvDataset.ImageColumn;

    /// <summary>The header of the column of captions.</summary>
    public string CsvCaptionColumn { get; init; } = CsvDataset.CaptionColumn;

    /// <summary>Takes images that lie outside of the image root.</summary>
    public bool AllowOutside { get; init; }

    /// <summary>What is evaluated after epochs, a CSV file or tar shards; null for nothing.</summary>
    public string? ValData { get; init; }

    /// <summary>What image paths of both files are relative to; null for the folder of each file.</summary>
    public string? ImageRoot { get; init; }

    /// <summary>The preset the model and the numbers below come from; of pretrained weights that are no preset's model, the name of their folder.</summary>
    public required string ModelName { get; init; }

    public required ClipConfig Model { get; init; }

    public required InitializationScheme Initialization { get; init; }

    public required WeightDecayScope WeightDecayScope { get; init; }

    public required int Epochs { get; init; }

    public required int BatchSize { get; init; }

    public required float LearningRate { get; init; }

    public required float WeightDecay { get; init; }

    public required float Beta1 { get; init; }

    public required float Beta2 { get; init; }

    public required float Epsilon { get; init; }

    /// <summary>The global norm gradients are clipped to; 0 for no clipping.</summary>
    public required float GradClipNorm { get; init; }

    /// <summary>Steps over which the learning rate rises.</summary>
    public required int Warmup { get; init; }

    /// <summary>What the learning rate does then.</summary>
    public LearningRateSchedule Schedule { get; init; }

    /// <summary>Epochs of the cooldown, the last of the run; null takes <see cref="WsdCooldown"/> of the run with <see cref="LearningRateSchedule.Wsd"/>.</summary>
    public int? CooldownEpochs { get; init; }

    /// <summary>The learning rate that the cooldown comes down to.</summary>
    public float CooldownEnd { get; init; }

    /// <summary>The power of what is left of the cooldown that the learning rate follows.</summary>
    public float CooldownPower { get; init; } = 1;

    /// <summary>Parts of <see cref="BatchSize"/> pairs that make up a step; every pair is compared with those of all parts.</summary>
    public int AccumFreq { get; init; } = 1;

    /// <summary>Pairs whose picture or caption is the same are no negatives of each other.</summary>
    public bool MaskDuplicates { get; init; }

    /// <summary>So many steps in a row that are not finite end the run; fewer are skipped.</summary>
    public int MaxNotFiniteSteps { get; init; } = 5;

    /// <summary>The random crops of training; null trains on the centre of each image.</summary>
    public required RandomCrop? Crop { get; init; }

    /// <summary>How else training changes the pixels.</summary>
    public PixelAugmentation Augmentation { get; init; } = new();

    /// <summary>True: a sample is an image, with one of its captions drawn anew each epoch. False: every row is a sample.</summary>
    public required bool DrawCaptions { get; init; }

    public required int Seed { get; init; }

    /// <summary>Threads that decode images ahead; results do not depend on it.</summary>
    public int Workers { get; init; } = 2;

    /// <summary>Threads of the CPU device; 0 for one a core. Results do not depend on it.</summary>
    public int Threads { get; init; }

    public string Device { get; init; } = "auto";

    /// <summary>GEMMs on a GPU may round their factors to TF32.</summary>
    public bool Tf32 { get; init; }

    /// <summary>The folder in which the run's own folder is created.</summary>
    public string Logs { get; init; } = "logs";

    /// <summary>The name of the run's own folder; by default when it began and what it trains.</summary>
    public string? Name { get; init; }

    /// <summary>Steps from one line of the log to the next.</summary>
    public int LogEveryNSteps { get; init; } = 10;

    /// <summary>Epochs from one evaluation to the next; the last epoch is always evaluated.</summary>
    public int ValFrequency { get; init; } = 1;

    /// <summary>Steps from one evaluation to the next, besides those after epochs; 0 for none.</summary>
    public int ValSteps { get; init; }

    /// <summary>Labelled images that evaluations classify without training on them: a folder with one of images for each class, a CSV file, or tar shards; null for none.</summary>
    public string? ZeroShotData { get; init; }

    /// <summary>What says the class of labelled images: of a CSV file the column, of tar shards the ending or key (null: <see cref="LabelledImages.ShardLabel"/>); null for folders.</summary>
    public string? ZeroShotLabel { get; init; }

    /// <summary>A file with their classes' names, a line each: in the order of the folders' names, or all the labels there are; null takes the folders' names, or the labels.</summary>
    public string? ZeroShotClasses { get; init; }

    /// <summary>A file of sentences that class names are put into, a line each; null for <see cref="PromptTemplates.Default"/>.</summary>
    public string? ZeroShotTemplates { get; init; }

    /// <summary>Epochs from one checkpoint to the next; the last epoch is always saved.</summary>
    public int SaveFrequency { get; init; } = 1;

    /// <summary>Steps from one checkpoint to the next, besides those after epochs; 0 for none.</summary>
    public int SaveSteps { get; init; }

    /// <summary>How many of the last checkpoints are kept, besides the best.</summary>
    public int Keep { get; init; } = 1;

    /// <summary>How long the run may take: before that it saves a checkpoint and ends; null for ever.</summary>
    public TimeSpan? MaxTime { get; init; }

    /// <summary>What to do if the run's folder exists.</summary>
    public RunMode Mode { get; init; }

    /// <summary>The checkpoint of the run's folder to go on from; null for its latest.</summary>
    public string? ResumeFrom { get; init; }

    /// <summary>What <c>config.json</c> shall hold, so that the run can be made again: names of settings and their values (text, number or truth); null writes none.</summary>
    public IReadOnlyDictionary<string, object>? Config { get; init; }

    /// <summary>Where settings that <see cref="Settings"/> names came from, for <c>params.txt</c>.</summary>
    public IReadOnlyDictionary<string, string> Origins { get; init; } = new Dictionary<string, string>();

    /// <summary>Makes every skipped image and cut caption an error.</summary>
    public bool Strict { get; init; }

    /// <summary>The weights to begin with, as <see cref="PretrainedWeights.Open"/> takes them; null draws fresh ones.</summary>
    public string? Pretrained { get; init; }

    /// <summary>Keeps the image tower as it is.</summary>
    public bool LockImage { get; init; }

    /// <summary>Keeps the text tower as it is.</summary>
    public bool LockText { get; init; }

    internal FrozenParts Frozen => (LockImage ? FrozenParts.Image : FrozenParts.None) | (LockText ? FrozenParts.Text : FrozenParts.None);

    /// <summary>Pairs of a step.</summary>
    public int SamplesPerStep => checked(BatchSize * AccumFreq);

    /// <summary>The share of a run that <see cref="LearningRateSchedule.Wsd"/> cools down in unless told (Hägele et al. 2024).</summary>
    public const double WsdCooldown = 0.2;

    /// <summary>Demands settings that go together.</summary>
    /// <exception cref="ArgumentException">They do not; the message names the flags.</exception>
    public void Validate()
    {
        Model.Validate();
        if (AccumFreq > 1 && Model.Vision.Stages is not null && !LockImage)
            throw new ArgumentException(
                "--accum-freq computes the embeddings of each part of the batch by themselves, and batch norm makes them depend on the part: the gradients would not be the batch's. Use a vision transformer, --lock-image, or --accum-freq 1.");
        if (Schedule == LearningRateSchedule.ConstCooldown && CooldownEpochs is null) throw new ArgumentException("--lr-scheduler const-cooldown needs the length of its cooldown; give --epochs-cooldown.");
        if (CooldownEpochs is not null && Schedule is not (LearningRateSchedule.ConstCooldown or LearningRateSchedule.Wsd))
            throw new ArgumentException("--epochs-cooldown is for --lr-scheduler const-cooldown and wsd.");
        if (CooldownEpochs > Epochs) throw new ArgumentException($"A cooldown of {CooldownEpochs} epochs does not fit into {Epochs}; lower --epochs-cooldown or raise --epochs.");
        if (ZeroShotData is null)
        {
            if ((ZeroShotClasses ?? ZeroShotTemplates ?? ZeroShotLabel) is null) return;
            throw new ArgumentException("--zeroshot-classes, --templates and --label-key are about images to classify; give the images with --zeroshot-data.");
        }
        if (File.Exists(ZeroShotData) && !ShardNames.IsShards(ZeroShotData) && ZeroShotLabel is null) throw new ArgumentException($"--zeroshot-data '{ZeroShotData}' is a file; say which of its columns is the class (--label-key), or give a folder with a folder of images for each class.");
        if (Directory.Exists(ZeroShotData) && ZeroShotLabel is not null) throw new ArgumentException($"--label-key names a column of a CSV file, and --zeroshot-data '{ZeroShotData}' is a folder; leave it out.");
    }

    /// <summary>The learning rates of a run of so many steps an epoch.</summary>
    internal LearningRate LearningRates(int stepsPerEpoch)
    {
        long steps = (long)Epochs * stepsPerEpoch;
        return new LearningRate(LearningRate, Warmup, steps)
        {
            Schedule = Schedule,
            CooldownSteps = CooldownEpochs is { } epochs ? (long)epochs * stepsPerEpoch : Schedule == LearningRateSchedule.Wsd ? (long)(WsdCooldown * steps) : 0,
            CooldownEnd = CooldownEnd,
            CooldownPower = CooldownPower,
        };
    }

    internal ImageFit Fit => Crop is null ? ImageFit.Centre : ImageFit.Crop;

    internal LoaderOptions TrainLoader => new()
    {
        BatchSize = SamplesPerStep,
        ContextLength = Model.Text.ContextLength,
        Training = true,
        Shuffle = Shuffle,
        Seed = (ulong)Seed,
        Workers = Workers,
        DrawCaptions = DrawCaptions,
        Crop = Crop ?? new RandomCrop(),
        Augmentation = Augmentation,
        Strict = Strict,
    };

    internal CsvOptions Csv => new()
    {
        ImageRoot = ImageRoot,
        ImageColumn = CsvImageColumn,
        CaptionColumn = CsvCaptionColumn,
        Separator = CsvSeparator,
        AllowOutside = AllowOutside,
        Strict = Strict,
    };

    internal LoaderOptions ValLoader => TrainLoader with { BatchSize = BatchSize, Training = false, DrawCaptions = true };

    /// <summary>A preset's model and numbers on some data; the rest by default.</summary>
    public static TrainingOptions Of(Preset preset, string trainData, string? valData)
    {
        var training = preset.Training;
        return new TrainingOptions
        {
            TrainData = trainData,
            ValData = valData,
            ModelName = preset.Name,
            Model = preset.Config,
            Initialization = preset.Initialization,
            WeightDecayScope = training.WeightDecayScope,
            Epochs = training.Epochs,
            BatchSize = training.BatchSize,
            LearningRate = (float)training.LearningRate,
            WeightDecay = (float)training.WeightDecay,
            Beta1 = (float)training.Beta1,
            Beta2 = (float)training.Beta2,
            Epsilon = (float)training.Epsilon,
            GradClipNorm = (float)training.GradClipNorm,
            Warmup = training.WarmupSteps,
            Crop = training.Crop is { } crop ? new RandomCrop(crop.MinArea, crop.MaxArea, crop.MinRatio, crop.MaxRatio) : null,
            DrawCaptions = training.DrawCaptions,
            Seed = training.Seed,
        };
    }

    /// <summary>The schedules by the names that flags give them.</summary>
    public static IReadOnlyDictionary<LearningRateSchedule, string> ScheduleNames { get; } = new Dictionary<LearningRateSchedule, string>
    {
        [LearningRateSchedule.Cosine] = "cosine",
        [LearningRateSchedule.Const] = "const",
        [LearningRateSchedule.ConstCooldown] = "const-cooldown",
        [LearningRateSchedule.Wsd] = "wsd",
    };

    /// <summary>Every setting by the name of its flag, as <c>params.txt</c> shows it.</summary>
    public IEnumerable<KeyValuePair<string, string>> Settings() => new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["train_data"] = TrainData,
        ["dataset_type"] = $"{DatasetType}".ToLowerInvariant(),
        ["train_num_samples"] = TrainSamples is { } samples ? $"{samples}" : "all",
        ["dataset_resampled"] = $"{Resampled}",
        ["shuffle_buffer"] = $"{ShuffleBuffer}",
        ["shuffle"] = $"{Shuffle}",
        ["csv_separator"] = CsvSeparator == '\t' ? "tab" : $"{CsvSeparator}",
        ["csv_img_key"] = CsvImageColumn,
        ["csv_caption_key"] = CsvCaptionColumn,
        ["allow_outside"] = $"{AllowOutside}",
        ["val_data"] = ValData ?? "none",
        ["img_root"] = ImageRoot ?? "folder of the CSV file",
        ["model_name"] = ModelName,
        ["pretrained"] = Pretrained ?? "none",
        ["lock_image"] = $"{LockImage}",
        ["lock_text"] = $"{LockText}",
        ["image_size"] = $"{Model.Vision.ImageSize}",
        ["patch_size"] = $"{Model.Vision.PatchSize}",
        ["vision_width"] = $"{Model.Vision.Width}",
        ["vision_layers"] = Model.Vision.Stages?.ToString() ?? $"{Model.Vision.Layers}",
        ["vision_heads"] = $"{Model.Vision.Heads}",
        ["vision_ln_pre"] = $"{Model.Vision.LnPre}",
        ["text_width"] = $"{Model.Text.Width}",
        ["text_layers"] = $"{Model.Text.Layers}",
        ["text_heads"] = $"{Model.Text.Heads}",
        ["context_length"] = $"{Model.Text.ContextLength}",
        ["vocab_size"] = $"{Model.Text.VocabSize}",
        ["embed_dim"] = $"{Model.EmbedDim}",
        ["quick_gelu"] = $"{Model.QuickGelu}",
        ["qkv_bias"] = $"{Model.QkvBias}",
        ["initialization"] = $"{Initialization}",
        ["wd_exclude"] = WeightDecayScope == WeightDecayScope.Matrices ? "open_clip" : "none",
        ["epochs"] = $"{Epochs}",
        ["batch_size"] = $"{BatchSize}",
        ["lr"] = $"{LearningRate}",
        ["weight_decay"] = $"{WeightDecay}",
        ["beta1"] = $"{Beta1}",
        ["beta2"] = $"{Beta2}",
        ["eps"] = $"{Epsilon}",
        ["grad_clip_norm"] = $"{GradClipNorm}",
        ["warmup"] = $"{Warmup}",
        ["lr_scheduler"] = ScheduleNames[Schedule],
        ["epochs_cooldown"] = CooldownEpochs?.ToString() ?? "none",
        ["lr_cooldown_end"] = $"{CooldownEnd}",
        ["lr_cooldown_power"] = $"{CooldownPower}",
        ["accum_freq"] = $"{AccumFreq}",
        ["mask_duplicates"] = $"{MaskDuplicates}",
        ["max_not_finite_steps"] = $"{MaxNotFiniteSteps}",
        ["crop"] = Crop is null ? "centre" : $"{Crop.MinArea}-{Crop.MaxArea} of the area, {Crop.MinRatio:0.###}-{Crop.MaxRatio:0.###} wide",
        ["hflip"] = $"{Augmentation.Flip}",
        ["color_jitter"] = $"{Augmentation.Brightness}, {Augmentation.Contrast}, {Augmentation.Saturation}, {Augmentation.Hue}",
        ["color_jitter_prob"] = $"{Augmentation.ColorJitterProbability}",
        ["gray_scale_prob"] = $"{Augmentation.GrayScaleProbability}",
        ["draw_captions"] = $"{DrawCaptions}",
        ["seed"] = $"{Seed}",
        ["num_workers"] = $"{Workers}",
        ["threads"] = $"{Threads}",
        ["device"] = Device,
        ["tf32"] = $"{Tf32}",
        ["logs"] = Logs,
        ["name"] = Name ?? "by time",
        ["log_every_n_steps"] = $"{LogEveryNSteps}",
        ["val_frequency"] = $"{ValFrequency}",
        ["val_steps"] = $"{ValSteps}",
        ["zeroshot_data"] = ZeroShotData ?? "none",
        ["label_key"] = ZeroShotLabel ?? "none",
        ["templates"] = ZeroShotTemplates ?? "default",
        ["zeroshot_classes"] = ZeroShotClasses ?? "none",
        ["save_frequency"] = $"{SaveFrequency}",
        ["save_steps"] = $"{SaveSteps}",
        ["keep"] = $"{Keep}",
        ["max_time"] = MaxTime?.ToString() ?? "none",
        ["strict"] = $"{Strict}",
    };
}
