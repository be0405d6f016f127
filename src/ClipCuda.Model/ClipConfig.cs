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

    /// <summary>Beyond every model there is; within them the sizes of one parameter and the number of parameters stay whole numbers of 32 bits.</summary>
    private const int MaxWidth = 1 << 16, MaxLayers = 10_000, MaxImageSize = 1 << 14, MaxRows = 1 << 24;

    /// <summary>Returns the configuration if it makes sense.</summary>
    /// <exception cref="ArgumentException">It does not; the message says which number and what to do.</exception>
    public ClipConfig Validate()
    {
        RequireSize("embed-dim", EmbedDim, MaxWidth);
        RequireSize("image-size", Vision.ImageSize, MaxImageSize);
        RequireSize("patch-size", Vision.PatchSize, MaxImageSize);
        RequireSize("context-length", Text.ContextLength, MaxRows);
        RequireSize("vocab-size", Text.VocabSize, MaxRows);
        if (Vision.ImageSize % Vision.PatchSize != 0)
            throw new ArgumentException($"Image size {Vision.ImageSize} is no multiple of patch size {Vision.PatchSize}; choose --image-size or --patch-size so that it is.");
        if (Text.ContextLength < 3) throw new ArgumentException($"Context length {Text.ContextLength} has no room for a word between start and end; give --context-length 3 or more.");
        ValidateTransformer("vision", Vision.Width, Vision.Layers, Vision.Heads);
        ValidateTransformer("text", Text.Width, Text.Layers, Text.Heads);
        return this;
    }

    private static void ValidateTransformer(string tower, int width, int layers, int heads)
    {
        RequireSize($"{tower}-width", width, MaxWidth);
        RequireSize($"{tower}-layers", layers, MaxLayers);
        RequireSize($"{tower}-heads", heads, MaxWidth);
        if (width % heads != 0)
            throw new ArgumentException($"{heads} {tower} heads do not divide width {width}; choose --{tower}-heads among its divisors.");
        if (width / heads > Attention.MaxHeadWidth)
            throw new ArgumentException($"{heads} {tower} heads of width {width / heads} are wider than the {Attention.MaxHeadWidth} that attention supports; give more --{tower}-heads.");
    }

    private static void RequireSize(string name, int value, int most)
    {
        if (value < 1) throw new ArgumentException($"--{name} is {value}; it must be at least 1.");
        if (value > most) throw new ArgumentException($"--{name} is {value}; it must be at most {most}.");
    }
}
