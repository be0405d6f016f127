using ClipCuda.Data;

namespace ClipCuda.Training;

/// <summary>Opens what a run trains on: the one place that knows all kinds of data.</summary>
public static class TrainingData
{
    private const int SyntheticBatches = 10;

    /// <exception cref="ArgumentException">A setting is out of range or does not fit the data.</exception>
    /// <exception cref="IOException">Data cannot be read.</exception>
    /// <exception cref="InvalidDataException">Data are malformed.</exception>
    internal static BatchSource Open(TrainingOptions options, ClipTokenizer tokenizer)
    {
        var type = options.DatasetType;
        if (type == DatasetType.Auto) type = ShardNames.IsShards(options.TrainData) ? DatasetType.WebDataset : DatasetType.Csv;
        return type switch
        {
            DatasetType.WebDataset => new ShardLoader(
                new ShardOptions(options.TrainData, ShardNames.Find(options.TrainData)) { Resampled = options.Resampled, SampleCount = options.TrainSamples, ShuffleBuffer = options.ShuffleBuffer },
                tokenizer, options.TrainLoader),
            DatasetType.Synthetic => new SyntheticLoader(options.TrainSamples ?? SyntheticBatches * options.SamplesPerStep, options.Model.Vision.ImageSize, tokenizer, options.TrainLoader),
            _ => new BatchLoader(CsvDataset.Load(options.TrainData, options.Csv), tokenizer, options.TrainLoader),
        };
    }
}
