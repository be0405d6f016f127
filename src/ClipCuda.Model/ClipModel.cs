using ClipCuda.Devices;
using ClipCuda.Ops;

namespace ClipCuda.Model;

/// <summary>CLIP: an image tower and a text transformer into one embedding space (Radford et al. 2021). Owns its parameters and statistics.</summary>
public sealed class ClipModel : IDisposable
{
    private readonly Transformer _vision;
    private readonly ModifiedResNet? _resNet;
    private readonly Transformer _text;
    private readonly FrozenParts _frozen;

    /// <summary>A model whose parameters are zero, or undefined where they are frozen; initialise or load them.</summary>
    /// <exception cref="ArgumentException">The configuration does not make sense.</exception>
    public ClipModel(Device device, ClipConfig config, WeightDecayScope decay = WeightDecayScope.All, FrozenParts frozen = FrozenParts.None)
    {
        Config = config.Validate();
        _frozen = frozen;
        Parameters = new ParameterSet(device, ParameterNames.Of(config, decay, frozen));
        Statistics = new BatchNormStatistics(device, ParameterNames.BatchNorms(config));
        if (config.Vision.Stages is not null) _resNet = new ModifiedResNet(Parameters, Statistics, config.Vision);
        _vision = new Transformer(Parameters, "visual.transformer", config.Vision.Layers, config.Vision.Heads, causal: false, config);
        _text = new Transformer(Parameters, "transformer", config.Text.Layers, config.Text.Heads, causal: true, config);
    }

    public ClipConfig Config { get; }

    public ParameterSet Parameters { get; }

    /// <summary>What batch norms keep for evaluation; empty without a ResNet.</summary>
    public BatchNormStatistics Statistics { get; }

    /// <summary>The logarithm of what logits are multiplied by, shape [].</summary>
    public Tensor LogitScale => Parameters[ParameterNames.LogitScale];

    /// <param name="pixels">[batch, 3, image size, image size], normalised.</param>
    /// <param name="training">Batch norms use the batch's statistics and move the running ones; otherwise, and in a frozen tower, they use the running ones.</param>
    /// <returns>[batch, embed dim], rows of unit length.</returns>
    public Tensor EncodeImage(Tape tape, Tensor pixels, bool training = false) =>
        _frozen.HasFlag(FrozenParts.Image) ? tape.Constant(pixels, input => ForwardImage(tape, input, training: false)) : ForwardImage(tape, pixels, training);

    private Tensor ForwardImage(Tape tape, Tensor pixels, bool training)
    {
        int size = Config.Vision.ImageSize;
        if (pixels.Shape is not [_, 3, var height, var width] || height != size || width != size)
            throw new ArgumentException($"pixels have shape {pixels.ShapeText}, the model takes [batch, 3, {size}, {size}].", nameof(pixels));
        if (_resNet is not null) return L2Normalize.Forward(tape, _resNet.Forward(tape, pixels, training));
        var x = PatchEmbedding.Forward(
            tape, pixels, Parameters["visual.conv1.weight"], Parameters["visual.class_embedding"], Parameters["visual.positional_embedding"]);
        if (Config.Vision.LnPre) x = Norm(tape, x, "visual.ln_pre");
        x = _vision.Forward(tape, x);
        // Norms act on rows, so the pooled ones are all that have to be normalised.
        x = Norm(tape, GatherRows.First(tape, x), "visual.ln_post");
        return L2Normalize.Forward(tape, Projection.Forward(tape, x, Parameters["visual.proj"]));
    }

    /// <param name="tokens">batch · context length ids: start, words, end, zeros. Pooled at the largest id of a caption, its end token.</param>
    /// <returns>[batch, embed dim], rows of unit length.</returns>
    public Tensor EncodeText(Tape tape, ReadOnlySpan<int> tokens, int batch)
    {
        var input = NewTokenBatch(batch, tape.Recording, integers => tape.AllocateScratch(DataType.Int32, integers));
        input.Upload(tokens);
        return EncodeText(tape, input);
    }

    /// <inheritdoc cref="EncodeText(Tape, ReadOnlySpan{int}, int)"/>
    public Tensor EncodeText(Tape tape, TokenBatch tokens) =>
        _frozen.HasFlag(FrozenParts.Text) ? tape.Constant(tokens, input => ForwardText(tape, input)) : ForwardText(tape, tokens);

    /// <summary>A place for so many captions of this model's context length.</summary>
    /// <param name="backward">Whether backward is to run.</param>
    /// <param name="allocate">Gives room for so many integers.</param>
    public TokenBatch NewTokenBatch(int batch, bool backward, Func<int, Tensor> allocate) =>
        new(batch, Config.Text.ContextLength, Config.Text.VocabSize, backward && !_frozen.HasFlag(FrozenParts.Text), allocate);

    /// <summary>Counts a batch that the model has been trained on, as batch norms keep it.</summary>
    public void CountBatch()
    {
        if (!_frozen.HasFlag(FrozenParts.Image)) Statistics.CountBatch();
    }

    private Tensor ForwardText(Tape tape, TokenBatch tokens)
    {
        var x = TokenEmbedding.Forward(tape, tokens, Parameters["token_embedding.weight"], Parameters["positional_embedding"]);
        x = _text.Forward(tape, x);
        x = Norm(tape, GatherRows.Forward(tape, x, tokens.Ends), "ln_final");
        return L2Normalize.Forward(tape, Projection.Forward(tape, x, Parameters["text_projection"]));
    }

    public void Dispose()
    {
        Parameters.Dispose();
        Statistics.Dispose();
    }

    private Tensor Norm(Tape tape, Tensor x, string name) => LayerNorm.Forward(tape, x, Parameters[$"{name}.weight"], Parameters[$"{name}.bias"]);
}
