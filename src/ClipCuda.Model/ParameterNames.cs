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
        if (vision.Stages is { } stages) AddResNet(stages.ToArray());
        else AddVisionTransformer();
        AddBlocks("transformer", text.Width, text.Layers);
        Add("token_embedding.weight", text.VocabSize, text.Width);
        AddNorm("ln_final", text.Width);
        return specs;

        void Add(string name, params int[] shape) =>
            specs.Add(new ParameterSpec(name, shape, decay == WeightDecayScope.All || shape.Length >= 2, Trains: !frozen.HasFlag(PartOf(name))));

        void AddVisionTransformer()
        {
            Add("visual.class_embedding", vision.Width);
            Add("visual.positional_embedding", vision.SequenceLength, vision.Width);
            Add("visual.proj", vision.Width, config.EmbedDim);
            Add("visual.conv1.weight", vision.Width, 3, vision.PatchSize, vision.PatchSize);
            if (vision.LnPre) AddNorm("visual.ln_pre", vision.Width);
            AddBlocks("visual.transformer", vision.Width, vision.Layers);
            AddNorm("visual.ln_post", vision.Width);
        }

        void AddResNet(int[] stages)
        {
            int half = vision.Width / 2, inputs = vision.Width, features = vision.FeatureWidth;
            AddConvolution("visual", "conv1", "bn1", half, 3, 3);
            AddConvolution("visual", "conv2", "bn2", half, half, 3);
            AddConvolution("visual", "conv3", "bn3", vision.Width, half, 3);
            for (int stage = 0; stage < stages.Length; stage++)
            {
                int planes = vision.Width << stage, outputs = ModifiedResNet.Expansion * planes;
                for (int b = 0; b < stages[stage]; b++)
                {
                    string block = $"visual.layer{stage + 1}.{b}";
                    AddConvolution(block, "conv1", "bn1", planes, inputs, 1);
                    AddConvolution(block, "conv2", "bn2", planes, planes, 3);
                    AddConvolution(block, "conv3", "bn3", outputs, planes, 1);
                    if (b == 0) AddConvolution(block, "downsample.0", "downsample.1", outputs, inputs, 1);
                    inputs = outputs;
                }
            }
            Add("visual.attnpool.positional_embedding", vision.SequenceLength, features);
            foreach (string part in (ReadOnlySpan<string>)["k", "q", "v", "c"])
            {
                int outputs = part == "c" ? config.EmbedDim : features;
                Add($"visual.attnpool.{part}_proj.weight", outputs, features);
                Add($"visual.attnpool.{part}_proj.bias", outputs);
            }
        }

        void AddConvolution(string block, string convolution, string norm, int outputs, int inputs, int kernel)
        {
            Add($"{block}.{convolution}.weight", outputs, inputs, kernel, kernel);
            AddNorm($"{block}.{norm}", outputs);
        }

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

    /// <summary>The batch norms and their widths: in a ResNet, every vector that is called a weight belongs to one.</summary>
    public static IEnumerable<(string Name, int Width)> BatchNorms(ClipConfig config) => config.Vision.Stages is null ? [] :
        from spec in Of(config, WeightDecayScope.All)
        where spec.Shape.Length == 1 && spec.Name.StartsWith("visual.", StringComparison.Ordinal) && spec.Name.EndsWith(".weight", StringComparison.Ordinal)
        select (spec.Name[..^".weight".Length], spec.Shape[0]);

    private static FrozenParts PartOf(string name) =>
        name == LogitScale ? FrozenParts.Temperature : name.StartsWith("visual.", StringComparison.Ordinal) ? FrozenParts.Image : FrozenParts.Text;
}
