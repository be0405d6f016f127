using System.CommandLine;
using ClipCuda.Data;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Training;

namespace ClipCuda.Cli;

/// <summary>The flags of every command that uses a trained model, and opening one by them.</summary>
internal sealed class EmbedderFlags
{
    private const int DefaultBatchSize = 128, DefaultWorkers = 2;

    private readonly Option<string?> _checkpoint = new("--checkpoint") { Description = "the trained model (default: the latest checkpoint in the logs)", HelpName = "folder" };
    private readonly Option<string> _logs = new("--logs") { Description = "where the latest checkpoint is looked for", HelpName = "folder", DefaultValueFactory = _ => "logs" };
    private readonly Option<int?> _batchSize = NumberOption.Whole("--batch-size", $"images or captions a batch (default: {DefaultBatchSize})", least: 1);
    private readonly Option<int?> _workers = NumberOption.Whole("--num-workers", $"threads that decode images ahead; changes no result (default: {DefaultWorkers})", least: 0, "--workers");
    private readonly Option<int?> _threads = NumberOption.Whole("--threads", "threads that compute; changes no result (default: one a core)", least: 1);
    private readonly Option<string> _device = DeviceOption.Create();
    private readonly Option<bool> _tf32 = DeviceOption.CreateTf32();
    private readonly Option<bool> _strict = new("--strict") { Description = "make an image that cannot be read an error; otherwise it is reported, left out and the exit code stays 0" };

    public void AddTo(Command command)
    {
        foreach (var option in new Option[] { _checkpoint, _logs, _batchSize, _workers, _threads, _device, _tf32, _strict }) command.Add(option);
    }

    public OpenedModel Open(ParseResult parsed, TextWriter notes)
    {
        string checkpoint = parsed.GetValue(_checkpoint) ?? CheckpointFolders.FindLatest(parsed.GetValue(_logs)!);
        var tokenizer = new ClipTokenizer(Path.Combine(DataFolder.Find(), DataFolder.Merges));
        var device = Device.Open(parsed.GetValue(_device)!, parsed.GetValue(_threads) ?? 0, parsed.GetValue(_tf32));
        ClipModel? model = null;
        try
        {
            notes.WriteLine($"Device: {device.Announcement}");
            model = Checkpoint.Load(device, checkpoint);
            notes.WriteLine($"Model: {checkpoint}, {model.Parameters.Count:N0} parameters");
            return new OpenedModel(checkpoint, device, model, tokenizer)
            {
                BatchSize = parsed.GetValue(_batchSize) ?? DefaultBatchSize,
                Workers = parsed.GetValue(_workers) ?? DefaultWorkers,
                Strict = parsed.GetValue(_strict),
            };
        }
        catch
        {
            model?.Dispose();
            device.Dispose();
            throw;
        }
    }
}

/// <summary>A trained model on its device, and how it is to be fed.</summary>
internal sealed class OpenedModel : IDisposable
{
    private readonly Device _device;

    public OpenedModel(string checkpoint, Device device, ClipModel model, ClipTokenizer tokenizer)
    {
        (Checkpoint, _device, Model, Tokenizer) = (checkpoint, device, model, tokenizer);
        Embedder = new Embedder(model, tokenizer);
    }

    /// <summary>Where the model came from.</summary>
    public string Checkpoint { get; }

    public ClipModel Model { get; }

    public ClipTokenizer Tokenizer { get; }

    public Embedder Embedder { get; }

    public required int BatchSize { get; init; }

    public required int Workers { get; init; }

    public required bool Strict { get; init; }

    public ImageLoader Loader(IReadOnlyList<ImagePlace> images) => new(images, BatchSize, Workers, Strict);

    /// <summary>Embeds the classes; says how many of their sentences were cut.</summary>
    public ZeroShotClassifier Classifier(IReadOnlyList<string> classes, IReadOnlyList<string> templates, TextWriter notes)
    {
        var classifier = new ZeroShotClassifier(Embedder, classes, templates, BatchSize);
        if (Embedder.TruncatedCaptions > 0) notes.WriteLine($"{Embedder.TruncatedCaptions:N0} class sentences are too long for the context and were cut.");
        return classifier;
    }

    public void Dispose()
    {
        Embedder.Dispose();
        Model.Dispose();
        _device.Dispose();
    }
}
