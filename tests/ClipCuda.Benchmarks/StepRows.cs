using ClipCuda.Data;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Ops;
using ClipCuda.Training;
using TorchSharp;

namespace ClipCuda.Benchmarks;

/// <summary>
/// Whole training steps from image bytes of the model's size: normalise, forward, loss, backward, clip, AdamW, clamp of the temperature; loss and
/// norm are read each step. Both sides start from the same weights, with as many parameters, and see the same batch.
/// </summary>
internal static class StepRows
{
    private const float LearningRate = 1e-4f;

    /// <summary>
    /// A ReLU's gradient jumps where its input changes sign, be it by rounding: of a fresh RN50, libtorch's own float32 gradients differ from its float64
    /// ones by 2e-3 of their length, ours by up to 7e-3. The next step starts from there, so that a ResNet's second is no longer comparable.
    /// </summary>
    private const int CheckedSteps = 3, CheckedResNetSteps = 1;

    /// <summary>Losses and norms go through some hundred roundings; AdamW divides by |gradient| at first, so that a gradient near zero moves by its rounding.</summary>
    private const double LossTolerance = 2e-5, NormTolerance = 2e-4, UpdateTolerance = 2e-2;

    public static IEnumerable<Row> All(Device device) =>
        from model in (BenchmarkModel[])[BenchmarkModel.BenchSmall, BenchmarkModel.EmojiSmall, BenchmarkModel.ViTB32, BenchmarkModel.RN50]
        select new Row("Training step", $"step {model.Name}, batch {model.Batch}", () => Create(device, model));

    private static (Side Ours, Side Theirs) Create(Device device, BenchmarkModel model)
    {
        var config = model.Config;
        int size = config.Vision.ImageSize;
        byte[] rgb = Mosaics(model.Batch, size);
        int[] tokens = Noise.Captions(8, model.Batch, config.Text.ContextLength, config.Text.VocabSize);

        var ours = new ClipModel(device, config, model.Options.WeightDecayScope);
        Initialization.Apply(ours.Parameters, config, model.Options.Initialization, seed: 5);
        // A fresh ResNet's blocks begin as their shortcuts, and no gradient reaches what is inside.
        foreach (string name in ours.Parameters.Names.Where(name => name.EndsWith(".bn3.weight", StringComparison.Ordinal)))
            ours.Parameters[name].Upload([.. Enumerable.Repeat(0.25f, ours.Parameters[name].Width)]);
        var theirs = new TorchClip(config);
        CopyWeights(ours.Parameters, theirs);
        var start = ours.Parameters.Names.ToDictionary(name => name, name => ours.Parameters[name].ToArray(), StringComparer.Ordinal);
        return (Ours(ours, model, start, rgb, tokens), Theirs(theirs, model, start, rgb, tokens));
    }

    /// <summary>Images of 8 × 8 colours. Pixels of noise all look the same to a ResNet, whose batch norms then blow up what is left, rounding.</summary>
    private static byte[] Mosaics(int batch, int size)
    {
        byte[] colours = new byte[batch * 8 * 8 * 3], rgb = new byte[batch * size * size * 3];
        new Random(7).NextBytes(colours);
        for (int i = 0; i < rgb.Length; i++)
        {
            int channel = i % 3, x = i / 3 % size * 8 / size, y = i / 3 / size % size * 8 / size, b = i / 3 / size / size;
            rgb[i] = colours[((b * 8 + y) * 8 + x) * 3 + channel];
        }
        return rgb;
    }

    private static Side Ours(ClipModel clip, BenchmarkModel model, Dictionary<string, float[]> start, byte[] rgb, int[] tokens)
    {
        int size = model.Config.Vision.ImageSize;
        ImageSlot[] images = [.. Enumerable.Range(0, model.Batch).Select(i => new ImageSlot((long)i * size * size * 3, size, size, 0, 0, size, size))];
        var step = new TrainingStep(clip, model.Options);
        return new Side(() => step.Run(rgb, images, tokens, LearningRate), Results, dispose: Dispose);

        IEnumerable<Result> Results() =>
            Compare(model, () => step.Run(rgb, images, tokens, LearningRate) is var r ? (r.Loss, r.GradientNorm) : default, start, name => clip.Parameters[name].ToArray());

        void Dispose()
        {
            step.Dispose();
            clip.Dispose();
        }
    }

    private static Side Theirs(TorchClip clip, BenchmarkModel model, Dictionary<string, float[]> start, byte[] rgb, int[] tokens)
    {
        int size = model.Config.Vision.ImageSize;
        var parameters = clip.named_parameters().ToDictionary(p => CheckpointName(p.name), p => p.parameter, StringComparer.Ordinal);
        var optimizer = TorchOptimizer.AdamW(model.Options, LearningRate, model.Specs.Select(spec => (spec.Decays, parameters[spec.Name])));
        var mean = TorchTensors.Of(Preprocess.ClipMean.ToArray(), 3, 1, 1);
        var deviation = TorchTensors.Of(Preprocess.ClipDeviation.ToArray(), 3, 1, 1);
        long[] ids = Array.ConvertAll(tokens, token => (long)token);
        return new Side(() => Step(), Results, dispose: Dispose);

        (float Loss, float Norm) Step()
        {
            using var scope = torch.NewDisposeScope();
            var pixels = torch.tensor(rgb, [model.Batch, size, size, 3]).permute(0, 3, 1, 2).contiguous().to(torch.float32);
            pixels = (pixels / 255 - mean) / deviation;
            optimizer.zero_grad();
            var loss = TorchClip.Loss(
                clip.EncodeImage(pixels), clip.EncodeText(torch.tensor(ids, [model.Batch, model.Config.Text.ContextLength])), clip.LogitScale);
            loss.backward();
            double norm = torch.nn.utils.clip_grad_norm_(clip.parameters(), model.Options.GradClipNorm);
            optimizer.step();
            using (torch.no_grad()) clip.LogitScale.clamp_(0, Math.Log(100));
            return (loss.item<float>(), (float)norm);
        }

        IEnumerable<Result> Results() => Compare(model, Step, start, name => parameters[name].ToFloats());

        void Dispose()
        {
            optimizer.Dispose();
            clip.Dispose();
            mean.Dispose();
            deviation.Dispose();
        }
    }

    /// <summary>Losses and norms of a few steps, and how each parameter has moved.</summary>
    private static IEnumerable<Result> Compare(BenchmarkModel model, Func<(float Loss, float Norm)> step, Dictionary<string, float[]> start, Func<string, float[]> read)
    {
        var steps = Enumerable.Range(0, model.Config.Vision.Stages is null ? CheckedSteps : CheckedResNetSteps).Select(_ => step()).ToArray();
        yield return new Result("loss", Array.ConvertAll(steps, s => s.Loss), LossTolerance);
        yield return new Result("gradient norm", Array.ConvertAll(steps, s => s.Norm), NormTolerance);
        foreach (var (name, before) in start)
        {
            float[] moved = read(name);
            for (int i = 0; i < moved.Length; i++) moved[i] -= before[i];
            yield return new Result($"update of {name}", moved, UpdateTolerance);
        }
    }

    /// <exception cref="InvalidOperationException">The two models do not have the same parameters.</exception>
    private static void CopyWeights(ParameterSet ours, TorchClip theirs)
    {
        long copied = 0;
        using var untracked = torch.no_grad();
        foreach (var (name, parameter) in theirs.named_parameters())
        {
            var tensor = ours[CheckpointName(name)];
            if (!parameter.shape.SequenceEqual(tensor.Shape.Select(extent => (long)extent)))
                throw new InvalidOperationException($"{name} has shape [{string.Join(", ", parameter.shape)}], ours has {tensor.ShapeText}.");
            using var values = TorchTensors.Of(tensor.ToArray(), tensor.Shape);
            parameter.copy_(values);
            copied += tensor.Elements;
        }
        if (copied != ours.Count) throw new InvalidOperationException($"The baseline has {copied:N0} parameters, ours has {ours.Count:N0}.");
    }

    private static string CheckpointName(string name) => name.Replace("in_proj.", "in_proj_", StringComparison.Ordinal);
}
