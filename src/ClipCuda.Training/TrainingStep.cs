using ClipCuda.Data;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Ops;

namespace ClipCuda.Training;

/// <summary>What the device reported of one step, before the update it led to.</summary>
/// <param name="NotFinite">Null, or what was not finite ("the gradient of 'visual.proj' is NaN"): then there was no update.</param>
public readonly record struct StepResult(float Loss, float LogitScale, float GradientNorm, string? NotFinite = null);

/// <summary>
/// One training step on the device: pixels → image and text embeddings → contrastive loss → backward → gradient norm and clip → AdamW →
/// clamp of the logit scale. Gradients are zero between steps. If the loss or a gradient is not finite, weights and moments are left as they are.
/// A device that records work runs a step as two: up to the norm, on whose finiteness the host decides, and the update. What changes from step to step
/// (pixels, captions, the learning rate) is put into buffers before. With <see cref="TrainingOptions.AccumFreq"/> above 1, <see cref="GradientCache"/> finds the
/// gradients.
/// </summary>
public sealed class TrainingStep : IDisposable
{
    private readonly ClipModel _model;
    private readonly TrainingOptions _options;
    private readonly GradientNorm _norm;
    private readonly GradientCache? _cache;
    private readonly LossReport _report;
    private readonly RepeatedWork _update;
    private BatchWork? _batch;

    public TrainingStep(ClipModel model, TrainingOptions options)
    {
        (_model, _options) = (model, options);
        var device = model.Parameters.Device;
        Tape = new Tape(device);
        Preprocess = new Preprocess(device, options.Model.Vision.ImageSize, Preprocess.ClipMean, Preprocess.ClipDeviation);
        _norm = new GradientNorm(model.Parameters);
        Optimizer = new AdamW(model.Parameters, options.Beta1, options.Beta2, options.Epsilon, options.WeightDecay);
        _report = new LossReport(model, Tape);
        if (options.AccumFreq > 1) _cache = new GradientCache(model, options, Tape, Preprocess, _report);
        _update = new RepeatedWork(device, Update);
    }

    /// <summary>The memory of activations, which an evaluation between steps may use as well.</summary>
    public Tape Tape { get; }

    public Preprocess Preprocess { get; }

    public AdamW Optimizer { get; }

    /// <summary>Why the device, which can record work, runs steps call by call; null if it does not.</summary>
    public string? RecordingRefusal => _batch?.Gradients.Refusal ?? _cache?.RecordingRefusal ?? _update.Refusal;

    /// <summary>One step on a batch of <see cref="TrainingOptions.SamplesPerStep"/>.</summary>
    public StepResult Run(HostBatch batch, float learningRate) => Run(batch.Rgb, batch.Images, batch.Tokens, learningRate, batch.SampleIndices);

    /// <inheritdoc cref="Run(HostBatch, float)"/>
    /// <param name="rgb">Where the images' bytes lie.</param>
    /// <param name="tokens">Token ids, caption after caption, one caption an image.</param>
    /// <param name="samples">Which picture of the data each image is, for <see cref="TrainingOptions.MaskDuplicates"/>; empty: all are different.</param>
    public StepResult Run(ReadOnlySpan<byte> rgb, ReadOnlySpan<ImageSlot> images, ReadOnlySpan<int> tokens, float learningRate, ReadOnlySpan<int> samples = default)
    {
        if (_cache is null)
        {
            ComputeGradients(rgb, images, tokens, samples);
        }
        else
        {
            _cache.ForwardAndBackward(rgb, images, tokens, samples);
            ComputeNorm();
        }
        var (loss, scale, norm) = _report.Read();
        _model.CountBatch();
        string? notFinite = !float.IsFinite(loss) ? $"the loss is {loss}" : float.IsFinite(norm) ? null : NotFiniteGradient(norm);
        if (notFinite is null)
        {
            Optimizer.Prepare(learningRate);
            _update.Run();
        }
        else
        {
            _model.Parameters.Gradients.Clear();
        }
        return new StepResult(loss, MathF.Exp(scale), norm, notFinite);
    }

    public void Dispose()
    {
        _batch?.Dispose();
        _cache?.Dispose();
        _update.Dispose();
        _report.Dispose();
        Optimizer.Dispose();
        _norm.Dispose();
        Preprocess.Dispose();
        Tape.Dispose();
    }

    private void ComputeGradients(ReadOnlySpan<byte> rgb, ReadOnlySpan<ImageSlot> images, ReadOnlySpan<int> tokens, ReadOnlySpan<int> samples)
    {
        if (_batch?.Input.Tokens.Batch != images.Length)
        {
            _batch?.Dispose();
            _batch = new BatchWork(this, images.Length);
        }
        _batch.Input.Fill(Preprocess, rgb, images, tokens);
        _batch.Keys?.Upload(samples, tokens);
        _batch.Gradients.Run();
    }

    private void ComputeGradients(Tensor pixels, TokenBatch tokens, Tensor? keys)
    {
        try
        {
            _report.Differentiate(_model.EncodeImage(Tape, pixels, training: true), _model.EncodeText(Tape, tokens), keys);
        }
        finally
        {
            Tape.Reset();
        }
        ComputeNorm();
    }

    private void ComputeNorm()
    {
        _norm.Compute(_options.GradClipNorm);
        _report.Keep(_norm);
    }

    private void Update()
    {
        Optimizer.Update(_norm.Result);
        ClipLoss.ClampLogitScale(_model.LogitScale);
        _model.Parameters.Gradients.Clear();
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

    /// <summary>What a step of one batch size reads, and its work up to the norm of the gradients.</summary>
    private sealed class BatchWork : IDisposable
    {
        public BatchWork(TrainingStep step, int batch)
        {
            var device = step.Tape.Device;
            Input = new PairBuffers(step._model, step._options, batch);
            if (step._options.MaskDuplicates) Keys = new PairKeys(device, batch);
            Gradients = new RepeatedWork(device, () => step.ComputeGradients(Input.Pixels, Input.Tokens, Keys?.Tensor));
        }

        public PairBuffers Input { get; }

        /// <summary>Null if equal pairs are not masked.</summary>
        public PairKeys? Keys { get; }

        public RepeatedWork Gradients { get; }

        public void Dispose()
        {
            Gradients.Dispose();
            Input.Dispose();
            Keys?.Dispose();
        }
    }
}
