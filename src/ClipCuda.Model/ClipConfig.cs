using ClipCuda.Ops;

namespace ClipCuda.Model;

/// <summary>The vision transformer. <paramref name="LnPre"/>: a layer norm before the first block, as OpenAI's models have.</summary>
public sealed record VisionConfig(int ImageSize, int PatchSize, int Width, int Layers, int Heads, bool LnPre = false)
{
    /// <summary>Patches of an image.</summary>
    public int Patches => ImageSize / PatchSize * (ImageSize / PatchSize);

    /// <summary>Rows of an image in the transformer: the class token and the patches.</summary>
    public int SequenceLength => 1 + Patches;
}

/// <summary>The text transformer, causal, pooled at the end token.</summary>
public sealed record TextConfig(int ContextLength, int VocabSize, int Width, int Layers, int Heads);

/// <summary>
/// One configuration for the reference project's models and OpenAI's: with <paramref name="QuickGelu"/>, <paramref name="QkvBias"/> and
/// <see cref="VisionConfig.LnPre"/> it is OpenAI's ViT, without them the reference's. The hidden layer of every MLP is 4 widths.
/// </summary>
public sealed record ClipConfig(int EmbedDim, VisionConfig Vision, TextConfig Text, bool QuickGelu = false, bool QkvBias = false)
{
    public const int MlpRatio = 4;

    /// <summary>Returns the configuration if it makes sense.</summary>
    /// <exception cref="ArgumentException">It does not; the message says which number and what to do.</exception>
    public ClipConfig Validate()
    {
        RequirePositive("embed-dim", EmbedDim);
        RequirePositive("image-size", Vision.ImageSize);
        RequirePositive("patch-size", Vision.PatchSize);
        RequirePositive("context-length", Text.ContextLength);
        RequirePositive("vocab-size", Text.VocabSize);
        if (Vision.ImageSize % Vision.PatchSize != 0)
            throw new ArgumentException($"Image size {Vision.ImageSize} is no multiple of patch size {Vision.PatchSize}; choose --image-size or --patch-size so that it is.");
        if (Text.ContextLength < 3) throw new ArgumentException($"Context length {Text.ContextLength} has no room for a word between start and end; give --context-length 3 or more.");
        ValidateTransformer("vision", Vision.Width, Vision.Layers, Vision.Heads);
        ValidateTransformer("text", Text.Width, Text.Layers, Text.Heads);
        return this;
    }

    private static void ValidateTransformer(string tower, int width, int layers, int heads)
    {
        RequirePositive($"{tower}-width", width);
        RequirePositive($"{tower}-layers", layers);
        RequirePositive($"{tower}-heads", heads);
        if (width % heads != 0)
            throw new ArgumentException($"{heads} {tower} heads do not divide width {width}; choose --{tower}-heads among its divisors.");
        if (width / heads > Attention.MaxHeadWidth)
            throw new ArgumentException($"{heads} {tower} heads of width {width / heads} are wider than the {Attention.MaxHeadWidth} that attention supports; give more --{tower}-heads.");
    }

    private static void RequirePositive(string name, int value)
    {
        if (value < 1) throw new ArgumentException($"--{name} is {value}; it must be at least 1.");
    }
}
