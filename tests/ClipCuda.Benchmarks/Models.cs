using ClipCuda.Model;
using ClipCuda.Ops;
using ClipCuda.Training;

namespace ClipCuda.Benchmarks;

/// <summary>A model of the benchmark and the batch it trains with.</summary>
internal sealed record BenchmarkModel(string Name, TrainingOptions Options, int Batch)
{
    public ClipConfig Config => Options.Model;

    public static BenchmarkModel EmojiSmall { get; } = new("emoji-small", OptionsOf(Presets.Find("emoji-small")), 128);

    /// <summary>Longer sequences than emoji-small has and a vocabulary that does not dominate.</summary>
    public static BenchmarkModel BenchSmall { get; } = new(
        "bench-small",
        EmojiSmall.Options with
        {
            ModelName = "bench-small",
            Model = new ClipConfig(
                128, new(ImageSize: 64, PatchSize: 8, Width: 192, Layers: 4, Heads: 3), new(ContextLength: 32, VocabSize: 8192, Width: 128, Layers: 4, Heads: 2)),
        },
        64);

    public static BenchmarkModel ViTB32 { get; } = new("ViT-B/32", OptionsOf(Presets.Find("ViT-B/32")), 8);

    /// <summary>An epsilon of the gradients' size after clipping: those near zero move their weight a little, not by a whole step in the direction of their rounding.</summary>
    public static BenchmarkModel RN50 { get; } = new("RN50", OptionsOf(Presets.Find("RN50")) with { Epsilon = 1e-3f }, 8);

    public IReadOnlyList<ParameterSpec> Specs => ParameterNames.Of(Config, Options.WeightDecayScope);

    // Images have the model's size already; no crop is drawn.
    private static TrainingOptions OptionsOf(Preset preset) => TrainingOptions.Of(preset, trainData: "", valData: null) with { Crop = null };
}
