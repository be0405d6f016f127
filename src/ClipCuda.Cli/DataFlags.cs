using System.CommandLine;
using ClipCuda.Data;
using ClipCuda.Training;

namespace ClipCuda.Cli;

/// <summary>The flags that say how training data are read and changed; names and meanings are open_clip's where it has them.</summary>
internal sealed class DataFlags
{
    private readonly Option<DatasetType> _type = new("--dataset-type")
    {
        Description = "what training and validation data are: csv, webdataset (tar shards) or auto (by the name); synthetic trains on made-up images",
        HelpName = "type",
        DefaultValueFactory = _ => DatasetType.Auto,
        CustomParser = result =>
        {
            string text = result.Tokens[0].Value;
            if (Enum.GetNames<DatasetType>().FirstOrDefault(name => name.Equals(text, StringComparison.OrdinalIgnoreCase)) is { } known) return Enum.Parse<DatasetType>(known);
            result.AddError($"--dataset-type is '{text}'; it takes csv, webdataset, synthetic or auto.");
            return DatasetType.Auto;
        },
    };
    private readonly Option<int?> _samples = NumberOption.Whole("--train-num-samples", "samples that make an epoch of tar shards (default: all, counted at the start) or of made-up data (default: ten batches)", least: 1);
    private readonly Option<bool> _resampled = new("--dataset-resampled") { Description = "draw shards with replacement, in place of going through each once an epoch" };
    private readonly Option<int?> _shuffleBuffer = NumberOption.Whole("--shuffle-buffer", "samples of tar shards that are mixed with one another (default: 1000)", least: 1);
    private readonly Option<bool> _noShuffle = new("--no-shuffle") { Description = "take samples in the order of the file or the shards" };
    private readonly Option<char?> _separator = new("--csv-separator")
    {
        Description = "what stands between the fields of CSV files: one character, '\\t' or tab (default: a comma; of .tsv files a tab)",
        HelpName = "character",
        CustomParser = result =>
        {
            string text = result.Tokens[0].Value;
            if (text is "\\t" or "tab") return '\t';
            if (text is [< (char)128 and not ('"' or '\r' or '\n') and var one]) return one;
            result.AddError($"--csv-separator is '{text}'; it takes one character of ASCII other than a quote, or tab.");
            return null;
        },
    };
    private readonly Option<string?> _imageKey = new("--csv-img-key") { Description = $"the CSV column of image paths (default: {CsvDataset.ImageColumn})", HelpName = "column" };
    private readonly Option<string?> _captionKey = new("--csv-caption-key") { Description = $"the CSV column of captions (default: {CsvDataset.CaptionColumn})", HelpName = "column" };
    private readonly Option<bool> _allowOutside = new("--allow-outside") { Description = "take images that a CSV file names outside of the image root" };
    private readonly Option<bool?> _drawCaptions = new("--draw-captions") { Description = "true: a sample is an image, with one of its captions drawn each epoch; false: every pair is a sample (default: the preset's)", HelpName = "true|false" };
    private readonly Option<string[]> _augmentation = new("--aug-cfg")
    {
        Description = $"changes of training images, KEY=VALUE …: {string.Join(", ", AugmentationSettings.Keys)}; for example scale=0.4,1 color_jitter=0.4,0.4,0.4,0.1 color_jitter_prob=0.8 gray_scale_prob=0.2 hflip=0.5",
        HelpName = "key=value",
        AllowMultipleArgumentsPerToken = true,
    };

    public void AddTo(Command command)
    {
        foreach (var option in new Option[] { _type, _samples, _resampled, _shuffleBuffer, _noShuffle, _separator, _imageKey, _captionKey, _allowOutside, _drawCaptions, _augmentation }) command.Add(option);
        command.Validators.Add(result =>
        {
            if (result.GetValue(_augmentation) is not { } settings) return;
            try
            {
                AugmentationSettings.Apply(null, new PixelAugmentation(), settings);
            }
            catch (ArgumentException e)
            {
                result.AddError(e.Message);
            }
        });
    }

    public bool IsSynthetic(ParseResult parsed) => parsed.GetValue(_type) == DatasetType.Synthetic;

    public TrainingOptions Apply(TrainingOptions options, ParseResult parsed)
    {
        var (crop, augmentation) = AugmentationSettings.Apply(options.Crop, options.Augmentation, parsed.GetValue(_augmentation) ?? []);
        bool tabs = options.TrainData.EndsWith(".tsv", StringComparison.OrdinalIgnoreCase);
        return options with
        {
            DatasetType = parsed.GetValue(_type),
            TrainSamples = parsed.GetValue(_samples),
            Resampled = parsed.GetValue(_resampled),
            ShuffleBuffer = parsed.GetValue(_shuffleBuffer) ?? options.ShuffleBuffer,
            Shuffle = !parsed.GetValue(_noShuffle),
            CsvSeparator = parsed.GetValue(_separator) ?? (tabs ? '\t' : options.CsvSeparator),
            CsvImageColumn = parsed.GetValue(_imageKey) ?? options.CsvImageColumn,
            CsvCaptionColumn = parsed.GetValue(_captionKey) ?? options.CsvCaptionColumn,
            AllowOutside = parsed.GetValue(_allowOutside),
            DrawCaptions = parsed.GetValue(_drawCaptions) ?? options.DrawCaptions,
            Crop = crop,
            Augmentation = augmentation,
        };
    }
}
