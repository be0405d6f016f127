using System.Text.Json;
using ClipCuda.Data;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Ops;

namespace ClipCuda.Training;

/// <summary>One comparison: what, its shape, the largest error and the error allowed.</summary>
public sealed record VerifiedLine(string Name, string Shape, double Error, double Allowed)
{
    /// <summary>Error as a share of what is allowed; NaN and infinity count as failures.</summary>
    public double Share => Error == 0 ? 0 : Error / Allowed;

    public bool Passed => Error <= Allowed;
}

/// <summary>
/// Holds the engine against a folder of numbers that somebody else computed: a model case (<c>case.json</c> with weights, one batch, its
/// embeddings and gradients, and weights after some AdamW steps), <c>tokens.jsonl</c>, <c>pixels.safetensors</c> with the image files in
/// <c>pixels/</c>; whichever of these the folder has. Errors are held against a tensor's largest magnitude.
/// </summary>
public sealed class Verification(Device device, string folder)
{
    /// <summary>Of the largest magnitude: embeddings, logits and the first loss; PyTorch's own float32 differs by 1.6e-6.</summary>
    private const double EmbeddingTolerance = 1e-5;

    /// <summary>
    /// Of the largest magnitude, with a floor of 1e-7 of the global norm; PyTorch's own float32 differs by 1.2e-5. Batch norms divide by deviations
    /// of the batch, layer upon layer.
    /// </summary>
    private const double GradientTolerance = 3e-5, ResNetGradientTolerance = 5e-5, GradientFloor = 1e-7;

    /// <summary>Numbers of a gradient that a case may hold behind its norm in place of all.</summary>
    private const int SummaryNumbers = 32;

    /// <summary>Relative, of losses and norms after a step; PyTorch's own float32 differs by 1.4e-5.</summary>
    private const double LaterTolerance = 1e-4;

    /// <summary>Absolute, of weights after the steps; PyTorch's own float32 differs by 1e-5.</summary>
    private const double WeightTolerance = 4e-5;

    /// <summary>Compares everything the folder holds, a line at a time.</summary>
    /// <exception cref="DirectoryNotFoundException">There is no such folder.</exception>
    /// <exception cref="InvalidDataException">It holds nothing to compare with, or files that are damaged.</exception>
    public IEnumerable<VerifiedLine> Run()
    {
        if (!Directory.Exists(folder)) throw new DirectoryNotFoundException($"There is no folder '{folder}'.");
        bool model = Has("case.json"), tokens = Has("tokens.jsonl"), pixels = Has("pixels.safetensors");
        if (!model && !tokens && !pixels)
            throw new InvalidDataException($"'{folder}' holds neither case.json nor tokens.jsonl nor pixels.safetensors: there is nothing to verify.");
        return (model ? VerifyModel() : []).Concat(tokens ? [VerifyTokens()] : []).Concat(pixels ? VerifyPixels() : []);
    }

    private bool Has(string file) => File.Exists(Path.Combine(folder, file));

    private SafetensorsFile OpenTensors(string file) => SafetensorsFile.Open(Path.Combine(folder, file));

    private IEnumerable<VerifiedLine> VerifyModel()
    {
        string path = Path.Combine(folder, "case.json");
        using var json = ParseJson(path, File.ReadAllText(path));
        if (!json.RootElement.TryGetProperty("config", out var cfg) || !json.RootElement.TryGetProperty("train", out var train))
            throw new InvalidDataException($"'{path}' lacks 'config' or 'train'.");
        var config = ConfigJson.Read(cfg, path, qkvBias: false);
        using var model = new ClipModel(device, config);
        Checkpoint.LoadWeights(model, Path.Combine(folder, "weights.safetensors"));
        using var io = OpenTensors("io.safetensors");
        using var gradients = OpenTensors("grads.safetensors");
        float[] pixels = io.ReadFloats("pixels");
        int[] tokens = io.ReadIntegers("tokens");
        int batch = io["tokens"].Shape[0];
        bool resNet = config.Vision.Stages is not null;
        double gradientTolerance = resNet ? ResNetGradientTolerance : GradientTolerance;

        var betas = train.GetProperty("betas");
        using var norm = new GradientNorm(model.Parameters);
        using var optimizer = new AdamW(
            model.Parameters, betas[0].GetSingle(), betas[1].GetSingle(), train.GetProperty("eps").GetSingle(), train.GetProperty("weight_decay").GetSingle());
        using var tape = new Tape(device);
        if (resNet)
        {
            // With the running statistics, which the first step moves.
            var (image, text, loss) = Encode(training: false);
            foreach (var line in CompareEmbeddings("eval_", image, text)) yield return line;
            yield return Compare(io, "eval_loss", loss.ToArray(), EmbeddingTolerance);
            tape.Reset();
        }
        foreach (var step in train.GetProperty("steps").EnumerateArray())
        {
            int number = step.GetProperty("step").GetInt32() + 1;
            var (image, text, loss) = Encode(training: true);
            if (number == 1)
            {
                foreach (var line in CompareEmbeddings("", image, text)) yield return line;
            }
            yield return CompareNumber($"step {number}: loss", loss.ToArray()[0], step.GetProperty("loss").GetDouble(), number == 1 ? EmbeddingTolerance : LaterTolerance);
            model.Parameters.Gradients.Clear();
            tape.Backward(loss, 1);
            norm.Compute(train.GetProperty("clip_grad_norm").GetSingle());
            double globalNorm = step.GetProperty("grad_norm").GetDouble();
            yield return CompareNumber($"step {number}: gradient norm", norm.ReadNorm(), globalNorm, number == 1 ? gradientTolerance : LaterTolerance);
            if (number == 1)
            {
                foreach (string name in model.Parameters.Names)
                {
                    foreach (var line in CompareGradient(gradients, name, model.Parameters[name].Gradient!.ToArray(), gradientTolerance, GradientFloor * globalNorm)) yield return line;
                }
            }
            optimizer.Step(step.GetProperty("lr").GetSingle(), norm.Result);
            ClipLoss.ClampLogitScale(model.LogitScale);
        }
        if (resNet && !Has("after_steps.safetensors")) yield break;
        using var after = OpenTensors("after_steps.safetensors");
        foreach (string name in model.Parameters.Names)
            yield return Compare(after, name, model.Parameters[name].ToArray(), 0, WeightTolerance, "after the steps: ");

        (Tensor Image, Tensor Text, Tensor Loss) Encode(bool training)
        {
            var image = model.EncodeImage(tape, tape.Input(pixels, io["pixels"].Shape), training);
            var text = model.EncodeText(tape, tokens, batch);
            return (image, text, ClipLoss.Forward(tape, image, text, model.LogitScale));
        }

        IEnumerable<VerifiedLine> CompareEmbeddings(string prefix, Tensor image, Tensor text) =>
        [
            Compare(io, $"{prefix}image_embeds", image.ToArray(), EmbeddingTolerance),
            Compare(io, $"{prefix}text_embeds", text.ToArray(), EmbeddingTolerance),
            Compare(io, $"{prefix}logits_per_image", Logits(tape, model, image, text), EmbeddingTolerance),
        ];
    }

    /// <summary>The file holds the whole gradient, or its norm and the first numbers: two comparisons, since the norm says nothing of how large a number is.</summary>
    private static IEnumerable<VerifiedLine> CompareGradient(SafetensorsFile file, string name, float[] actual, double tolerance, double floor)
    {
        float[] expected = file.ReadFloats(name);
        int numbers = Math.Min(SummaryNumbers, actual.Length);
        if (expected.Length != 1 + numbers || file[name].Shape.Length != 1)
        {
            yield return Compare(file, name, actual, tolerance, floor, "gradient of ");
            yield break;
        }
        double norm = Math.Sqrt(actual.Sum(value => (double)value * value));
        yield return new VerifiedLine($"norm of the gradient of {name}", "[]", Math.Abs(norm - expected[0]), tolerance * expected[0] + floor);
        yield return Compare($"gradient of {name}, first numbers", $"[{numbers}]", expected.AsSpan(1), actual.AsSpan(0, numbers), tolerance, floor);
    }

    private VerifiedLine VerifyTokens()
    {
        var tokenizer = new ClipTokenizer(Path.Combine(DataFolder.Find(), DataFolder.Merges));
        string path = Path.Combine(folder, "tokens.jsonl");
        int texts = 0, different = 0;
        foreach (string line in File.ReadLines(path))
        {
            texts++;
            using var json = ParseJson($"{path}, line {texts}", line);
            int[] expected = [.. json.RootElement.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32())];
            if (!tokenizer.Encode(json.RootElement.GetProperty("text").GetString()!).AsSpan().SequenceEqual(expected)) different++;
        }
        return new VerifiedLine("tokens.jsonl: texts whose ids differ", $"[{texts}]", different, 0);
    }

    /// <summary>Pixels must be equal to the byte before normalisation.</summary>
    private IEnumerable<VerifiedLine> VerifyPixels()
    {
        using var file = OpenTensors("pixels.safetensors");
        foreach (var entry in file.Entries)
        {
            if (entry.Shape is not [3, var size, var width] || width != size)
                throw new InvalidDataException($"'{folder}/pixels.safetensors' holds '{entry.Name}' of shape [{string.Join(", ", entry.Shape)}], expected [3, size, size].");
            var image = ImageDecoder.Decode(Path.Combine(folder, "pixels", entry.Name));
            using var preprocess = new Preprocess(device, size, Preprocess.ClipMean, Preprocess.ClipDeviation);
            using var tape = new Tape(device, recording: false);
            var pixels = tape.Allocate(1, 3, size, size);
            preprocess.Run(image.Pixels, [PreprocessImage.Centre(0, image.Width, image.Height, size)], pixels);
            float[] actual = pixels.ToArray(), expected = file.ReadFloats(entry.Name);
            double worst = 0;
            for (int i = 0; i < actual.Length; i++)
            {
                int channel = i / (size * size);
                worst = Math.Max(worst, Math.Abs(ToByte(actual[i], channel) - ToByte(expected[i], channel)));
            }
            yield return new VerifiedLine($"pixels: {entry.Name}, bytes", $"[3, {size}, {size}]", worst, 0);
        }
    }

    private static double ToByte(float pixel, int channel) => Math.Round((pixel * (double)Preprocess.ClipDeviation[channel] + Preprocess.ClipMean[channel]) * 255);

    private static float[] Logits(Tape tape, ClipModel model, Tensor image, Tensor text)
    {
        var logits = tape.AllocateScratch(DataType.Float32, image.Shape[0], text.Shape[0]);
        int width = image.Width;
        tape.Device.Gemm(new GemmCall(
            image.Shape[0], text.Shape[0], width, new(image.Data, width), new(text.Data, width, Transposed: true), new(logits.Data, text.Shape[0]),
            Alpha: MathF.Exp(model.LogitScale.ToArray()[0])));
        return logits.ToArray();
    }

    private static VerifiedLine CompareNumber(string name, double actual, double expected, double tolerance) =>
        new(name, "[]", Math.Abs(actual - expected), tolerance * Math.Abs(expected));

    private static VerifiedLine Compare(SafetensorsFile file, string name, float[] actual, double tolerance, double floor = 0, string prefix = "")
    {
        float[] expected = file.ReadFloats(name);
        string shape = $"[{string.Join(", ", file[name].Shape)}]";
        return Compare(prefix + name, shape, expected, actual, tolerance, floor);
    }

    private static VerifiedLine Compare(string name, string shape, ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, double tolerance, double floor)
    {
        if (actual.Length != expected.Length) return new VerifiedLine(name, shape, double.PositiveInfinity, 0);
        double worst = 0, largest = 0;
        for (int i = 0; i < actual.Length; i++)
        {
            double error = Math.Abs((double)actual[i] - expected[i]);
            // A NaN stays: it is larger than anything.
            worst = double.IsNaN(error) ? double.NaN : Math.Max(worst, error);
            if (double.IsNaN(worst)) break;
            largest = Math.Max(largest, Math.Abs((double)expected[i]));
        }
        return new VerifiedLine(name, shape, worst, tolerance * largest + floor);
    }

    private static JsonDocument ParseJson(string what, string text)
    {
        try
        {
            return JsonDocument.Parse(text);
        }
        catch (JsonException error)
        {
            throw new InvalidDataException($"'{what}' is no JSON: {error.Message}", error);
        }
    }
}
