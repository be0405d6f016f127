using ClipCuda.Ops;

namespace ClipCuda.Model;

/// <summary>Which parameters keep their values in training: they have no gradients and no optimizer state.</summary>
[Flags]
public enum FrozenParts
{
    None = 0,

    /// <summary>The image tower with its projection, as open_clip's <c>--lock-image</c>.</summary>
    Image = 1,

    /// <summary>The text tower with its embeddings and its projection, as open_clip's <c>--lock-text</c>.</summary>
    Text = 2,

    Temperature = 4,

    /// <summary>For inference.</summary>
    All = Image | Text | Temperature,
}

/// <summary>The parameters of a configuration: open_clip's names, in the order of its checkpoints, and their shapes.</summary>
public static class ParameterNames
{
    public const string LogitScale = "logit_scale";

    public static IReadOnlyList<ParameterSpec> Of(ClipConfig config, WeightDecayScope decay, FrozenParts frozen = FrozenParts.None)
    {
        var specs = new List<ParameterSpec>();
        var (vision, text) = (config.Vision, config.Text);
        Add("positional_embedding", text.ContextLength, text.Width);
        Add("text_projection", text.Width, config.EmbedDim);
        Add(LogitScale);
        Add("visual.class_embedding", vision.Width);
        Add("visual.positional_embedding", vision.SequenceLength, vision.Width);
        Add("visual.proj", vision.Width, config.EmbedDim);
        Add("visual.conv1.weight", vision.Width, 3, vision.PatchSize, vision.PatchSize);
        if (vision.LnPre) AddNorm("visual.ln_pre", vision.Width);
        AddBlocks("visual.transformer", vision.Width, vision.Layers);
        AddNorm("visual.ln_post", vision.Width);
        AddBlocks("transformer", text.Width, text.Layers);
        Add("token_embedding.weight", text.VocabSize, text.Width);
        AddNorm("ln_final", text.Width);
        return specs;

        void Add(string name, params int[] shape) =>
            specs.Add(new ParameterSpec(name, shape, decay == WeightDecayScope.All || shape.Length >= 2, Trains: !frozen.HasFlag(PartOf(name))));

        void AddNorm(string name, int width)
        {
            Add($"{name}.weight", width);
            Add($"{name}.bias", width);
        }

        void AddBlocks(string tower, int width, int layers)
        {
            for (int layer = 0; layer < layers; layer++)
            {
                string block = $"{tower}.resblocks.{layer}";
                AddNorm($"{block}.ln_1", width);
                Add($"{block}.attn.in_proj_weight", 3 * width, width);
                if (config.QkvBias) Add($"{block}.attn.in_proj_bias", 3 * width);
                Add($"{block}.attn.out_proj.weight", width, width);
                Add($"{block}.attn.out_proj.bias", width);
                AddNorm($"{block}.ln_2", width);
                Add($"{block}.mlp.c_fc.weight", ClipConfig.MlpRatio * width, width);
                Add($"{block}.mlp.c_fc.bias", ClipConfig.MlpRatio * width);
                Add($"{block}.mlp.c_proj.weight", width, ClipConfig.MlpRatio * width);
                Add($"{block}.mlp.c_proj.bias", width);
            }
        }
    }

    private static FrozenParts PartOf(string name) =>
        name == LogitScale ? FrozenParts.Temperature : name.StartsWith("visual.", StringComparison.Ordinal) ? FrozenParts.Image : FrozenParts.Text;
}
