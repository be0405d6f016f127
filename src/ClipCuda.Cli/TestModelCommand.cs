using System.CommandLine;
using System.Diagnostics;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Ops;
using ClipCuda.Training;

namespace ClipCuda.Cli;

/// <summary><c>test-model</c>: builds a model or loads one, says how large and how much work it is, and runs one batch through it.</summary>
internal sealed class TestModelCommand
{
    private const int DefaultBatchSize = 8;

    private readonly Option<Preset?> _preset = TrainCommand.PresetOption(Presets.Default);
    private readonly ModelFlags _model = new();
    private readonly Option<string?> _checkpoint = new("--checkpoint") { Description = "a trained model, in place of a fresh one", HelpName = "folder" };
    private readonly Option<int?> _batchSize = NumberOption.Whole("--batch-size", $"pairs of the batch (default: {DefaultBatchSize})", least: 1);
    private readonly Option<int?> _seed = NumberOption.Whole("--seed", "seed of a fresh model's weights and of the batch (default: 0)", least: 0);
    private readonly Option<int?> _threads = NumberOption.Whole("--threads", "threads that compute; changes no result (default: one a core)", least: 1);
    private readonly Option<string> _device = DeviceOption.Create();
    private readonly Option<bool> _tf32 = DeviceOption.CreateTf32();

    private TestModelCommand() { }

    public static Command Create()
    {
        var test = new TestModelCommand();
        var command = new Command("test-model", "Build a model from a preset and flags, or load a checkpoint, and say its sizes, work and memory.") { test._preset };
        test._model.AddTo(command);
        foreach (var option in new Option[] { test._checkpoint, test._batchSize, test._seed, test._threads, test._device, test._tf32 }) command.Add(option);
        command.SetAction(test.Run);
        return command;
    }

    private int Run(ParseResult parsed)
    {
        var output = parsed.InvocationConfiguration.Output;
        string? checkpoint = parsed.GetValue(_checkpoint);
        if (checkpoint is not null && (parsed.GetValue(_preset) is not null ? "--model-name" : _model.FirstGiven(parsed)) is { } flag)
            throw new ArgumentException($"A checkpoint has its own model; leave out {flag}, or --checkpoint.");
        var preset = parsed.GetValue(_preset) ?? Presets.Find(Presets.Default);
        int batch = parsed.GetValue(_batchSize) ?? DefaultBatchSize, seed = parsed.GetValue(_seed) ?? 0;

        using var device = Device.Open(parsed.GetValue(_device)!, parsed.GetValue(_threads) ?? 0, parsed.GetValue(_tf32));
        using var model = checkpoint is null ? Fresh(device, preset, _model.Apply(preset.Config, parsed), seed) : Checkpoint.Load(device, checkpoint);
        output.WriteLine($"Device: {device.Announcement}");
        output.WriteLine($"Model: {checkpoint ?? preset.Name}");
        Describe(output, model, preset, batch);
        RunBatch(output, model, batch, seed);
        return 0;
    }

    private static ClipModel Fresh(Device device, Preset preset, ClipConfig config, int seed)
    {
        var model = new ClipModel(device, config);
        Initialization.Apply(model.Parameters, config, preset.Initialization, seed);
        return model;
    }

    private static void Describe(TextWriter output, ClipModel model, Preset preset, int batch)
    {
        var config = model.Config;
        long vision = model.Parameters.Names.Where(IsVision).Sum(name => (long)model.Parameters[name].Elements), all = model.Parameters.Count;
        var flops = ForwardFlops.Of(config);
        var options = TrainingOptions.Of(preset, "", null) with { Model = config, BatchSize = batch, Device = model.Parameters.Device.Name };
        long bytes = new MemoryEstimate(options, (config.Vision.ImageSize, config.Vision.ImageSize)).Bytes(batch);
        output.WriteLine($"{"",-14} {"image tower",16} {"text tower",16} {"together",16}");
        output.WriteLine($"{"parameters",-14} {vision,16:N0} {all - vision - 1,16:N0} {all,16:N0}   (with 1 for the temperature)");
        output.WriteLine($"{"forward GFLOP",-14} {flops.Image / 1e9,16:0.00} {flops.Text / 1e9,16:0.00} {flops.Pair / 1e9,16:0.00}   (a pair; 2 for each multiply-add of matrix products)");
        output.WriteLine($"Input: images of {config.Vision.ImageSize} x {config.Vision.ImageSize} pixels, captions of {config.Text.ContextLength} tokens; embeddings of {config.EmbedDim} numbers");
        output.WriteLine($"Memory: a training step with a batch of {batch} needs about {bytes / (double)(1 << 20):N0} MiB");
        output.WriteLine($"Temperature: logits are similarities times {MathF.Exp(model.LogitScale.ToArray()[0]):0.0000}");
    }

    /// <summary>Noise for pixels and captions of random words through both towers to the loss.</summary>
    private static void RunBatch(TextWriter output, ClipModel model, int batch, int seed)
    {
        var (vision, text) = (model.Config.Vision, model.Config.Text);
        var random = new Random(seed);
        float[] pixels = new float[batch * 3 * vision.ImageSize * vision.ImageSize];
        for (int i = 0; i < pixels.Length; i++) pixels[i] = 2 * random.NextSingle() - 1;
        int[] tokens = new int[batch * text.ContextLength];
        MadeUpCaptions.Fill(random, text, tokens);
        using var tape = new Tape(model.Parameters.Device, recording: false);
        var time = Stopwatch.StartNew();
        var image = model.EncodeImage(tape, tape.Input(pixels, batch, 3, vision.ImageSize, vision.ImageSize));
        var textRows = model.EncodeText(tape, tokens, batch);
        float loss = ClipLoss.Forward(tape, image, textRows, model.LogitScale).ToArray()[0];
        time.Stop();
        output.WriteLine($"Ran a batch of {batch}: image embeddings {image.ShapeText}, text embeddings {textRows.ShapeText}, loss {loss:0.0000}, {time.Elapsed.TotalSeconds:0.00} s");
        foreach (var (name, embeddings) in new[] { ("image", image), ("text", textRows) })
        {
            if (embeddings.ToArray().Any(value => !float.IsFinite(value))) throw new NotFiniteNumberException($"The {name} embeddings are not finite; the weights are of no use.");
        }
    }

    private static bool IsVision(string parameter) => parameter.StartsWith("visual.", StringComparison.Ordinal);
}
