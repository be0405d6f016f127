using ClipCuda.Data;
using ClipCuda.Model;
using ClipCuda.Ops;

namespace ClipCuda.Training;

/// <summary>What the device reported of one step, before the update it led to.</summary>
/// <param name="NotFinite">Null, or what was not finite ("the gradient of 'visual.proj' is NaN"): then there was no update.</param>
public readonly record struct StepResult(float Loss, float LogitScale, float GradientNorm, string? NotFinite = null);

/// <summary>
/// One training step on the device: pixels → image and text embeddings → contrastive loss → backward → gradient norm and clip → AdamW →
/// clamp of the logit scale. Gradients are zero between steps. If the loss or a gradient is not finite, weights and moments are left as they are.
/// With <see cref="TrainingOptions.AccumFreq"/> above 1, <see cref="GradientCache"/> takes the way to the gradients.
/// </summary>
public sealed class TrainingStep : IDisposable
{
    private readonly ClipModel _model;
    private readonly TrainingOptions _options;
    private readonly GradientNorm _norm;
    private readonly GradientCache? _cache;

    public TrainingStep(ClipModel model, TrainingOptions options)
    {
        (_model, _options) = (model, options);
        var device = model.Parameters.Device;
        Tape = new Tape(device);
        Preprocess = new Preprocess(device, options.Model.Vision.ImageSize, Preprocess.ClipMean, Preprocess.ClipDeviation);
        _norm = new GradientNorm(model.Parameters);
        Optimizer = new AdamW(model.Parameters, options.Beta1, options.Beta2, options.Epsilon, options.WeightDecay);
        if (options.AccumFreq > 1) _cache = new GradientCache(model, options, Tape, Preprocess);
    }

    /// <summary>The memory of activations, which an evaluation between steps may use as well.</summary>
    public Tape Tape { get; }

    public Preprocess Preprocess { get; }

    public AdamW Optimizer { get; }

    /// <summary>One step on a batch of <see cref="TrainingOptions.SamplesPerStep"/>.</summary>
    public StepResult Run(HostBatch batch, float learningRate) => Run(batch.Rgb, batch.Images, batch.Tokens, learningRate);

    /// <inheritdoc cref="Run(HostBatch, float)"/>
    /// <param name="rgb">Where the images' bytes lie.</param>
    /// <param name="tokens">Token ids, caption after caption, one caption an image.</param>
    public StepResult Run(ReadOnlySpan<byte> rgb, ReadOnlySpan<ImageSlot> images, ReadOnlySpan<int> tokens, float learningRate)
    {
        var (loss, scale) = _cache is null ? ForwardAndBackward(rgb, images, tokens) : _cache.ForwardAndBackward(rgb, images, tokens);
        _norm.Compute(_options.GradClipNorm);
        float norm = _norm.ReadNorm();
        string? notFinite = !float.IsFinite(loss) ? $"the loss is {loss}" : float.IsFinite(norm) ? null : NotFiniteGradient(norm);
        if (notFinite is null)
        {
            Optimizer.Step(learningRate, _norm.Result);
            ClipLoss.ClampLogitScale(_model.LogitScale);
        }
        _model.Parameters.Gradients.Clear();
        return new StepResult(loss, MathF.Exp(scale), norm, notFinite);
    }

    public void Dispose()
    {
        _cache?.Dispose();
        Optimizer.Dispose();
        _norm.Dispose();
        Preprocess.Dispose();
        Tape.Dispose();
    }

    private (float Loss, float LogitScale) ForwardAndBackward(ReadOnlySpan<byte> rgb, ReadOnlySpan<ImageSlot> images, ReadOnlySpan<int> tokens)
    {
        try
        {
            var pixels = PixelInput.Run(Tape, Preprocess, rgb, images, _options.Model.Vision.ImageSize, _options.Fit);
            var image = _model.EncodeImage(Tape, pixels, training: true);
            var text = _model.EncodeText(Tape, tokens, images.Length);
            var loss = ClipLoss.Forward(Tape, image, text, _model.LogitScale);
            var result = (loss.ToArray()[0], _model.LogitScale.ToArray()[0]);
            Tape.Backward(loss, 1f);
            return result;
        }
        finally
        {
            Tape.Reset();
        }
    }

    /// <summary>Names the first gradient, in the order of the checkpoint, with a value that is not finite.</summary>
    private string NotFiniteGradient(float norm)
    {
        foreach (string name in _model.Parameters.Names)
        {
            if (_model.Parameters[name].Gradient is { } gradient && NotFiniteSteps.FirstIn(gradient) is { } value) return $"the gradient of '{name}' is {value}";
        }
        // Every gradient is finite, yet the sum of their squares is not.
        return $"the gradient norm is {norm}";
    }
}
