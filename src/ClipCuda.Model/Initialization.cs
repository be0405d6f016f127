using ClipCuda.Ops;

namespace ClipCuda.Model;

/// <summary>
/// How fresh parameters are drawn: every formula in one table. W is a tower's width, L its layers, n a parameter's inputs.
/// <list type="table">
/// <listheader><term>parameter</term><description>Reference · TransformerScaled (OpenAI's clip/model.py, initialize_parameters)</description></listheader>
/// <item><term>token_embedding</term><description>N(0, 0.02) · the same</description></item>
/// <item><term>text positions</term><description>N(0, 0.01) · the same</description></item>
/// <item><term>image positions</term><description>N(0, 0.01) · N(0, W^−½)</description></item>
/// <item><term>class token</term><description>N(0, 0.02) · N(0, W^−½)</description></item>
/// <item><term>projections</term><description>N(0, 0.02) · N(0, W^−½)</description></item>
/// <item><term>conv1</term><description>U(±n^−½), n = 3·patch² (PyTorch's default) · N(0, W^−½), as a projection into the tower</description></item>
/// <item><term>in_proj</term><description>U(±n^−½) · N(0, W^−½)</description></item>
/// <item><term>out_proj, c_proj</term><description>U(±n^−½) · N(0, W^−½·(2L)^−½)</description></item>
/// <item><term>c_fc</term><description>U(±n^−½) · N(0, (2W)^−½)</description></item>
/// <item><term>biases of these</term><description>U(±n^−½) · 0</description></item>
/// <item><term>layer norms</term><description>weight 1, bias 0</description></item>
/// <item><term>logit_scale</term><description>ln(1/0.07)</description></item>
/// </list>
/// A ResNet is drawn as OpenAI's in either scheme (clip/model.py); F is its features' width, 32 W.
/// <list type="table">
/// <item><term>convolutions</term><description>U(±n^−½), n = in·kernel² (PyTorch's default)</description></item>
/// <item><term>batch norms</term><description>weight 1, but 0 in bn3 of every block, which so begins as its shortcut; bias 0</description></item>
/// <item><term>attnpool positions, projections</term><description>N(0, F^−½)</description></item>
/// <item><term>attnpool biases</term><description>U(±F^−½) (PyTorch's default)</description></item>
/// </list>
/// Each parameter has random numbers of its own, keyed by seed and place in the list: they depend on nothing else.
/// </summary>
public static class Initialization
{
    /// <summary>ln(1/0.07), the temperature of Radford et al. 2021, section 2.5.</summary>
    public static readonly float LogitScale = (float)Math.Log(1 / 0.07);

    /// <summary>Numbers that are drawn at a time.</summary>
    private const int Piece = 1 << 16;

    private enum Kind
    {
        Constant,
        Normal,
        Uniform,
    }

    public static void Apply(ParameterSet parameters, ClipConfig config, InitializationScheme scheme, int seed)
    {
        for (int i = 0; i < parameters.Names.Count; i++)
        {
            string name = parameters.Names[i];
            var tensor = parameters[name];
            var (kind, number) = Rule(name, tensor.Shape, config, scheme);
            var values = new float[tensor.Elements];
            uint index = (uint)i;
            // Each number takes one draw of the parameter's stream, so that a piece can begin anywhere.
            Parallel.For(0, (values.Length + Piece - 1) / Piece, p =>
            {
                var piece = values.AsSpan(p * Piece, Math.Min(Piece, values.Length - p * Piece));
                Draw(piece, kind, number, new Philox((ulong)seed, RandomPurpose.Initialization, index: index).SkipTo(p * (long)Piece));
            });
            tensor.Upload(values);
        }
    }

    private static void Draw(Span<float> values, Kind kind, double number, Philox random)
    {
        foreach (ref float value in values)
        {
            value = kind switch
            {
                Kind.Constant => (float)number,
                Kind.Normal => (float)(number * random.Normal()),
                _ => (float)random.Uniform(-number, number),
            };
        }
    }

    /// <summary>The value, standard deviation or bound of a parameter.</summary>
    private static (Kind Kind, double Number) Rule(string name, int[] shape, ClipConfig config, InitializationScheme scheme)
    {
        bool reference = scheme == InitializationScheme.Reference, visual = name.StartsWith("visual.", StringComparison.Ordinal);
        (int width, int layers) = visual ? (config.Vision.Width, config.Vision.Layers) : (config.Text.Width, config.Text.Layers);
        double inverseRoot = 1 / Math.Sqrt(width);
        // "transformer.resblocks.0.attn.out_proj.weight" → "out_proj", "weight"
        string[] parts = name.Split('.');
        string last = parts[^1], layer = parts.Length > 1 ? parts[^2] : "";
        if (name == ParameterNames.LogitScale) return (Kind.Constant, LogitScale);
        if (visual && config.Vision.Stages is not null) return ResNetRule(name, layer, last, shape, config.Vision);
        if (layer.StartsWith("ln_", StringComparison.Ordinal)) return (Kind.Constant, last == "weight" ? 1 : 0);
        if (name == "token_embedding.weight") return (Kind.Normal, 0.02);
        if (last == "positional_embedding") return (Kind.Normal, reference || !visual ? 0.01 : inverseRoot);
        if (last is "class_embedding" or "proj" or "text_projection") return (Kind.Normal, reference ? 0.02 : inverseRoot);
        if (layer == "conv1") return reference ? (Kind.Uniform, 1 / Math.Sqrt(shape[1] * shape[2] * shape[3])) : (Kind.Normal, inverseRoot);
        bool bias = last is "bias" or "in_proj_bias";
        if (reference) return (Kind.Uniform, layer == "c_proj" ? inverseRoot / Math.Sqrt(ClipConfig.MlpRatio) : inverseRoot);
        if (bias) return (Kind.Constant, 0);
        return (Kind.Normal, layer switch
        {
            "attn" => inverseRoot,
            "out_proj" or "c_proj" => inverseRoot / Math.Sqrt(2 * layers),
            "c_fc" => 1 / Math.Sqrt(2 * width),
            _ => throw new InvalidOperationException($"No rule initialises '{name}'."),
        });
    }

    private static (Kind Kind, double Number) ResNetRule(string name, string layer, string last, int[] shape, VisionConfig config)
    {
        double inverseRoot = 1 / Math.Sqrt(config.FeatureWidth);
        if (shape.Length == 4) return (Kind.Uniform, 1 / Math.Sqrt(shape[1] * shape[2] * shape[3]));
        if (shape.Length == 2) return (Kind.Normal, inverseRoot);
        if (layer.EndsWith("_proj", StringComparison.Ordinal)) return (Kind.Uniform, inverseRoot);
        bool endsBlock = layer == "bn3" && name.StartsWith("visual.layer", StringComparison.Ordinal);
        return (Kind.Constant, last == "weight" && !endsBlock ? 1 : 0);
    }
}
