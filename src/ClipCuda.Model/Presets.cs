namespace ClipCuda.Model;

/// <summary>How fresh parameters are drawn; see <see cref="Initialization"/>.</summary>
public enum InitializationScheme
{
    /// <summary>As the PyTorch project that this one follows.</summary>
    Reference,

    /// <summary>As OpenAI's CLIP: normal, scaled by width and depth.</summary>
    TransformerScaled,
}

/// <summary>Which parameters weight decay applies to.</summary>
public enum WeightDecayScope
{
    All,

    /// <summary>Parameters of two or more dimensions: no biases, norms, class token or temperature.</summary>
    Matrices,
}

/// <summary>A random crop in training: its share of the image's area and its aspect ratio (width over height).</summary>
public sealed record CropRange(double MinArea, double MaxArea, double MinRatio, double MaxRatio);

/// <summary>What a preset trains with unless a flag says otherwise.</summary>
/// <param name="WarmupSteps">Steps over which the learning rate rises linearly, before the cosine to 0.</param>
/// <param name="Crop">Null: the centre of the image, its shorter side resized.</param>
/// <param name="DrawCaptions">One of an image's captions is drawn each epoch; otherwise every row of the CSV is a pair of its own.</param>
public sealed record TrainingDefaults(
    int Epochs, int BatchSize, double LearningRate, double WeightDecay, WeightDecayScope WeightDecayScope, double Beta1, double Beta2, double Epsilon,
    double GradClipNorm, int WarmupSteps, int Seed, CropRange? Crop, bool DrawCaptions);

/// <summary>A named model and how it is trained.</summary>
public sealed record Preset(string Name, ClipConfig Config, TrainingDefaults Training, InitializationScheme Initialization);

/// <summary>The models that have a name.</summary>
public static class Presets
{
    /// <summary>What <c>train</c> uses on data of one's own.</summary>
    public const string Default = "ViT-B/32";

    /// <summary>What <c>train</c> uses on the bundled sample.</summary>
    public const string Sample = "emoji-small";

    private static readonly TrainingDefaults Reference = new(
        Epochs: 3, BatchSize: 128, LearningRate: 1e-4, WeightDecay: 0.01, WeightDecayScope.All, Beta1: 0.9, Beta2: 0.98, Epsilon: 1e-8, GradClipNorm: 1,
        WarmupSteps: 0, Seed: 42, Crop: null, DrawCaptions: false);

    private static readonly Preset[] ViTs =
    [
        ViT("ViT-B/32", patch: 32, width: 768, layers: 12, textWidth: 512, embed: 512),
        ViT("ViT-B/16", patch: 16, width: 768, layers: 12, textWidth: 512, embed: 512),
        ViT("ViT-L/14", patch: 14, width: 1024, layers: 24, textWidth: 768, embed: 768),
        ViT("ViT-L/14@336", patch: 14, width: 1024, layers: 24, textWidth: 768, embed: 768, imageSize: 336),
    ];

    public static IReadOnlyList<Preset> All { get; } =
    [
        new(Sample,
            new(128, new(ImageSize: 64, PatchSize: 16, Width: 192, Layers: 4, Heads: 3), new(ContextLength: 24, VocabSize: 49408, Width: 128, Layers: 2, Heads: 2)),
            new(Epochs: 20, BatchSize: 128, LearningRate: 1e-3, WeightDecay: 0.1, WeightDecayScope.Matrices, Beta1: 0.9, Beta2: 0.98, Epsilon: 1e-6, GradClipNorm: 1,
                WarmupSteps: 50, Seed: 42, new CropRange(0.8, 1, 1, 1), DrawCaptions: true),
            InitializationScheme.TransformerScaled),
        .. ViTs,
        .. ViTs.Select(AsOpenAis),
        ResNet("RN50", 224, width: 64, new(3, 4, 6, 3), textWidth: 512, embed: 1024),
        ResNet("RN101", 224, width: 64, new(3, 4, 23, 3), textWidth: 512, embed: 512),
        ResNet("RN50x4", 288, width: 80, new(4, 6, 10, 6), textWidth: 640, embed: 640),
        ResNet("RN50x16", 384, width: 96, new(6, 8, 18, 8), textWidth: 768, embed: 768),
        ResNet("RN50x64", 448, width: 128, new(3, 15, 36, 10), textWidth: 1024, embed: 1024),
    ];

    /// <summary>
    /// The preset of that name; case does not matter, and a dash may stand for <c>/</c> and <c>@</c>. A name that ends in <c>.json</c> is a
    /// configuration file (see <see cref="ConfigJson.ReadFile"/>), trained as the reference project's models and drawn as OpenAI's.
    /// </summary>
    /// <exception cref="ArgumentException">There is none; the message lists those there are.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    /// <exception cref="InvalidDataException">The file is no configuration that is supported.</exception>
    public static Preset Find(string name) =>
        name.EndsWith(".json", StringComparison.OrdinalIgnoreCase)
            ? new Preset(name, ConfigJson.ReadFile(name), Reference, InitializationScheme.TransformerScaled)
            : All.FirstOrDefault(preset => Canonical(preset.Name) == Canonical(name))
                ?? throw new ArgumentException($"There is no model '{name}'; there are {string.Join(", ", All.Select(preset => preset.Name))}, and configuration files by path (.json).");

    private static string Canonical(string name) => name.ToLowerInvariant().Replace('/', '-').Replace('@', '-');

    private static Preset ViT(string name, int patch, int width, int layers, int textWidth, int embed, int imageSize = 224) => new(
        name,
        new(embed, new(imageSize, patch, width, layers, Heads: width / 64), new(77, 49408, textWidth, Layers: 12, Heads: textWidth / 64)),
        Reference, InitializationScheme.Reference);

    /// <summary>The same as OpenAI built it: a norm before the transformer, QuickGELU, biases of queries, keys and values.</summary>
    private static Preset AsOpenAis(Preset vit) => vit with
    {
        Name = vit.Name + "-quickgelu",
        Config = vit.Config with { Vision = vit.Config.Vision with { LnPre = true }, QuickGelu = true, QkvBias = true },
        Initialization = InitializationScheme.TransformerScaled,
    };

    /// <summary>OpenAI's, with the activation and the biases that its weights were trained with (open_clip's NAME-quickgelu).</summary>
    private static Preset ResNet(string name, int imageSize, int width, ResNetStages stages, int textWidth, int embed) => new(
        name,
        new(
            embed, VisionConfig.ResNet(imageSize, width, stages, heads: width / 2), new(77, 49408, textWidth, Layers: 12, Heads: textWidth / 64), QuickGelu: true, QkvBias: true),
        Reference, InitializationScheme.TransformerScaled);
}
