using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Ops;
using ClipCuda.Tests.Ops;

namespace ClipCuda.Tests.Model;

/// <summary>A whole small CLIP of odd sizes against a plain float64 forward, differenced under random cotangents on both embeddings.</summary>
public sealed class ClipModelTests
{
    private const int Batch = 3;

    private static readonly ClipConfig Plain = new(7, new(12, 4, 15, 2, 3), new(9, 23, 10, 2, 2));
    private static readonly ClipConfig Openai = Plain with { QuickGelu = true, QkvBias = true, Vision = Plain.Vision with { LnPre = true } };

    private static readonly int[] Tokens =
    [
        21, 3, 4, 22, 0, 0, 0, 0, 0,
        21, 5, 5, 5, 5, 5, 5, 5, 22,
        21, 22, 0, 0, 0, 0, 0, 0, 0,
    ];

    private static IEnumerable<TestCaseData> Cases()
    {
        foreach (var config in (ClipConfig[])[Plain, Openai])
        {
            foreach (string engine in TestDevices.Names)
                yield return new TestCaseData(config, engine).SetArgDisplayNames(config.QuickGelu ? "OpenAI's" : "reference", engine);
        }
    }

    [TestCaseSource(nameof(Cases))]
    public void Embeddings_and_gradients_match_a_float64_model(ClipConfig config, string engine)
    {
        using var prepared = TestDevices.Prepare(engine);
        using var device = Device.Open(engine, 2);
        using var model = new ClipModel(device, config);
        var random = new Random(9);
        var weights = new Dictionary<string, double[]>(StringComparer.Ordinal);
        foreach (string name in model.Parameters.Names)
        {
            float[] values = [.. Enumerable.Range(0, (int)model.Parameters[name].Elements).Select(_ => 0.3f * Numbers.Normal(random) + (name.Contains("ln_", StringComparison.Ordinal) && name.EndsWith("weight", StringComparison.Ordinal) ? 1 : 0))];
            model.Parameters[name].Upload(values);
            weights[name] = Array.ConvertAll(values, v => (double)v);
        }
        float[] pixels = Draw(random, Batch * 3 * 12 * 12), imageCotangent = Draw(random, Batch * 7), textCotangent = Draw(random, Batch * 7);
        double[] exactPixels = Array.ConvertAll(pixels, v => (double)v);

        using var tape = new Tape(device);
        var image = model.EncodeImage(tape, tape.Input(pixels, Batch, 3, 12, 12));
        // Chains of at most 60 multiply-adds through two blocks of layer norms: a few hundred roundings of 2^-24.
        Numbers.AssertClose(image.ToArray(), EncodeImage(config, weights, exactPixels), 1e-5, 0, "image embeddings");
        tape.Backward(image, imageCotangent);
        var text = model.EncodeText(tape, Tokens, Batch);
        Numbers.AssertClose(text.ToArray(), EncodeText(config, weights), 1e-5, 0, "text embeddings");
        tape.Backward(text, textCotangent);

        foreach (string name in model.Parameters.Names.Where(name => name != ParameterNames.LogitScale))
        {
            float[] gradient = model.Parameters[name].Gradient!.ToArray();
            int[] coordinates = [.. Enumerable.Range(0, Math.Min(6, gradient.Length)).Select(_ => random.Next(gradient.Length))];
            double[] expected = [.. coordinates.Select(c => Difference(weights[name], c))];
            // Against the tensor's largest gradient, not the sampled ones'.
            double allowed = 5e-5 * gradient.Max(Math.Abs);
            Numbers.AssertClose([.. coordinates.Select(c => gradient[c])], expected, 0, allowed + 1e-6, name);
        }

        double Difference(double[] weight, int c)
        {
            const double H = 1e-5;
            double at = weight[c];
            weight[c] = at + H;
            double above = Objective();
            weight[c] = at - H;
            double below = Objective();
            weight[c] = at;
            return (above - below) / (2 * H);
        }

        double Objective() =>
            EncodeImage(config, weights, exactPixels).Zip(imageCotangent, (x, c) => x * c).Sum() + EncodeText(config, weights).Zip(textCotangent, (x, c) => x * c).Sum();
    }

    [Test]
    public void Padding_after_the_end_token_changes_nothing()
    {
        using var device = Device.Open("cpu", 2);
        using var model = new ClipModel(device, Plain);
        Initialization.Apply(model.Parameters, Plain, InitializationScheme.Reference, 1);
        using var tape = new Tape(device, recording: false);
        int[] other = [.. Tokens];
        (other[4], other[8], other[20]) = (7, 9, 11);
        Numbers.AssertSameBits(model.EncodeText(tape, other, Batch).ToArray(), model.EncodeText(tape, Tokens, Batch).ToArray(), "embeddings");
    }

    [Test]
    public void Pixels_of_another_size_are_refused()
    {
        using var device = Device.Open("cpu", 1);
        using var model = new ClipModel(device, Plain);
        using var tape = new Tape(device);
        Assert.That(() => model.EncodeImage(tape, tape.Allocate(1, 3, 8, 8)), Throws.ArgumentException.With.Message.Contains("the model takes [batch, 3, 12, 12]"));
        Assert.That(() => model.EncodeText(tape, new int[8], 1), Throws.ArgumentException.With.Message.Contains("8 ids are not 1 captions of 9"));
    }

    private static double[] EncodeImage(ClipConfig config, Dictionary<string, double[]> w, double[] pixels)
    {
        var vision = config.Vision;
        double[] x = PatchEmbeddingTests.Reference(
            pixels, w["visual.conv1.weight"], w["visual.class_embedding"], w["visual.positional_embedding"], vision.ImageSize, vision.ImageSize, vision.PatchSize);
        if (vision.LnPre) x = Norm(w, x, "visual.ln_pre");
        x = Blocks(config, w, x, "visual.transformer", vision.SequenceLength, vision.Width, vision.Layers, vision.Heads, causal: false);
        double[] pooled = [.. Enumerable.Range(0, Batch).SelectMany(b => x.AsSpan(b * vision.SequenceLength * vision.Width, vision.Width).ToArray())];
        return Embed(Norm(w, pooled, "visual.ln_post"), w["visual.proj"], config.EmbedDim);
    }

    private static double[] EncodeText(ClipConfig config, Dictionary<string, double[]> w)
    {
        var text = config.Text;
        int width = text.Width;
        double[] x = [.. Tokens.SelectMany((id, i) => Enumerable.Range(0, width).Select(c => w["token_embedding.weight"][id * width + c] + w["positional_embedding"][i % text.ContextLength * width + c]))];
        x = Blocks(config, w, x, "transformer", text.ContextLength, width, text.Layers, text.Heads, causal: true);
        x = Norm(w, x, "ln_final");
        int[] end = [3, 8, 1];
        double[] pooled = [.. end.SelectMany((s, b) => x.AsSpan((b * text.ContextLength + s) * width, width).ToArray())];
        return Embed(pooled, w["text_projection"], config.EmbedDim);
    }

    private static double[] Blocks(ClipConfig config, Dictionary<string, double[]> w, double[] x, string tower, int sequence, int width, int layers, int heads, bool causal)
    {
        for (int layer = 0; layer < layers; layer++)
        {
            string block = $"{tower}.resblocks.{layer}";
            double[] qkv = Product(Norm(w, x, $"{block}.ln_1"), w[$"{block}.attn.in_proj_weight"], w.GetValueOrDefault($"{block}.attn.in_proj_bias"), width);
            double[] attended = AttentionTests.Reference(qkv, Batch, sequence, heads, width / heads, causal);
            double[] projected = Product(attended, w[$"{block}.attn.out_proj.weight"], w[$"{block}.attn.out_proj.bias"], width);
            x = [.. x.Zip(projected, (a, b) => a + b)];
            double[] hidden = Product(Norm(w, x, $"{block}.ln_2"), w[$"{block}.mlp.c_fc.weight"], w[$"{block}.mlp.c_fc.bias"], width);
            hidden = [.. hidden.Select(u => config.QuickGelu ? u / (1 + Math.Exp(-1.702 * u)) : u * GeluTests.Cdf(u))];
            double[] output = Product(hidden, w[$"{block}.mlp.c_proj.weight"], w[$"{block}.mlp.c_proj.bias"], 4 * width);
            x = [.. x.Zip(output, (a, b) => a + b)];
        }
        return x;
    }

    private static double[] Product(double[] x, double[] weight, double[]? bias, int inputs) => LinearTests.Reference(x, weight, bias ?? new double[weight.Length / inputs], inputs);

    private static double[] Norm(Dictionary<string, double[]> w, double[] x, string name) => LayerNormTests.Reference(x, w[$"{name}.weight"], w[$"{name}.bias"], 1e-5);

    private static double[] Embed(double[] x, double[] projection, int embed)
    {
        int width = projection.Length / embed;
        var y = new double[x.Length / width * embed];
        for (int i = 0; i < y.Length; i++)
        {
            for (int k = 0; k < width; k++) y[i] += x[i / embed * width + k] * projection[k * embed + i % embed];
        }
        return L2NormalizeTests.Reference(y, embed);
    }

    private static float[] Draw(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => Numbers.Normal(random))];
}
