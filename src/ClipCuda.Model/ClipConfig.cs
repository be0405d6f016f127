using ClipCuda.Ops;

namespace ClipCuda.Model;

/// <summary>How many residual blocks each of a ResNet's stages has.</summary>
public sealed record ResNetStages(int First, int Second, int Third, int Fourth)
{
    public int Blocks => First + Second + Third + Fourth;

    public int[] ToArray() => [First, Second, Third, Fourth];

    public override string ToString() => $"{First},{Second},{Third},{Fourth}";
}

/// <summary>
/// The image tower: a vision transformer, or CLIP's ResNet if it has <see cref="Stages"/>.
/// <paramref name="LnPre"/>: a layer norm before the first block, as OpenAI's vision transformers have.
/// </summary>
public sealed record VisionConfig(int ImageSize, int PatchSize, int Width, int Layers, int Heads, bool LnPre = false)
{
    /// <summary>Pixels a side that one place of a ResNet's last stage stands for; its features are as many times its width wide.</summary>
    public const int ResNetStride = 32;

    /// <summary>The stages of a ResNet; null for a vision transformer.</summary>
    public ResNetStages? Stages { get; init; }

    /// <summary>What is pooled at the end: [<see cref="SequenceLength"/>, this].</summary>
    public int FeatureWidth => Stages is null ? Width : checked(ResNetStride * Width);

    /// <summary>CLIP's ResNet: <paramref name="width"/> channels after the stem, <paramref name="heads"/> in the attention pooling.</summary>
    public static VisionConfig ResNet(int imageSize, int width, ResNetStages stages, int heads) =>
        new(imageSize, ResNetStride, width, stages.Blocks, heads) { Stages = stages };

    /// <summary>Patches of an image, or a ResNet's last places.</summary>
    public int Patches => ImageSize / PatchSize * (ImageSize / PatchSize);

    /// <summary>Rows of an image in the transformer: the class token and the patches. Of a ResNet: what its pooling attends over.</summary>
    public int SequenceLength => 1 + Patches;
}

/// <summary>The text transformer, causal, pooled at the end token.</summary>
public sealed record TextConfig(int ContextLength, int VocabSize, int Width, int Layers, int Heads);

/// <summary>
/// One configuration for the reference project's models and OpenAI's: with <paramref name="QuickGelu"/>, <paramref name="QkvBias"/> and
/// <see cref="VisionConfig.LnPre"/> it is OpenAI's ViT, without them the reference's. The hidden layer of every MLP is 4 widths.
/// A ResNet's attention pooling always has biases.
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
        if (Vision.Stages is not null) ValidateResNet();
        else if (Vision.ImageSize % Vision.PatchSize != 0)
            throw new ArgumentException($"Image size {Vision.ImageSize} is no multiple of patch size {Vision.PatchSize}; choose --image-size or --patch-size so that it is.");
        if (Text.ContextLength < 3) throw new ArgumentException($"Context length {Text.ContextLength} has no room for a word between start and end; give --context-length 3 or more.");
        if (Vision.Stages is null) ValidateTransformer("vision", Vision.Width, Vision.Layers, Vision.Heads);
        ValidateTransformer("text", Text.Width, Text.Layers, Text.Heads);
        return this;
    }

    private void ValidateResNet()
    {
        const int Stride = VisionConfig.ResNetStride;
        RequireSize("vision-width", Vision.Width, MaxWidth);
        RequireSize("vision-heads", Vision.Heads, MaxWidth);
        RequireSize("vision-layers", Vision.Layers, MaxLayers);
        if (Vision.Stages!.ToArray().Min() < 1) throw new ArgumentException($"A ResNet of {Vision.Stages} blocks has an empty stage; each needs 1 or more.");
        if (Vision.PatchSize != Stride || Vision.Layers != Vision.Stages.Blocks)
            throw new ArgumentException($"A ResNet's patch size is {Stride} and its layers are those of its stages; neither can be set (--patch-size, --vision-layers).");
        if (Vision.ImageSize % Stride != 0)
            throw new ArgumentException($"Image size {Vision.ImageSize} is no multiple of {Stride}, by which a ResNet shrinks it; choose --image-size so that it is.");
        if (Vision.Width % 2 != 0) throw new ArgumentException($"A ResNet's width {Vision.Width} is odd; its stem begins with half of it, so choose an even --vision-width.");
        if (Vision.FeatureWidth % Vision.Heads != 0)
            throw new ArgumentException($"{Vision.Heads} vision heads do not divide {Stride} times width {Vision.Width}; choose --vision-heads among its divisors.");
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
