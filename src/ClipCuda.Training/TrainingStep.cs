using System.Runtime.InteropServices;
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
    private const string Reported = "loss, logit scale and gradient norm";

    private readonly ClipModel _model;
    private readonly TrainingOptions _options;
    private readonly GradientNorm _norm;
    private readonly GradientCache? _cache;
    private readonly DeviceBuffer _report, _one;
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
        if (options.AccumFreq > 1) _cache = new GradientCache(model, options, Tape, Preprocess);
        _report = device.Allocate(3 * sizeof(float), Reported);
        _one = device.Allocate(sizeof(float), "gradient of the loss");
        device.CopyToDevice(MemoryMarshal.AsBytes<float>([1]), _one.Start);
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
        int[]? keys = _options.MaskDuplicates ? PairKeys.Of(samples, tokens, images.Length) : null;
        var (loss, scale, norm) = _cache is null ? ComputeGradients(rgb, images, tokens, keys) : AccumulateGradients(_cache, rgb, images, tokens, keys);
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
        _one.Dispose();
        Optimizer.Dispose();
        _norm.Dispose();
        Preprocess.Dispose();
        Tape.Dispose();
    }

    private (float Loss, float LogitScale, float Norm) ComputeGradients(ReadOnlySpan<byte> rgb, ReadOnlySpan<ImageSlot> images, ReadOnlySpan<int> tokens, int[]? keys)
    {
        if (_batch?.Input.Tokens.Batch != images.Length)
        {
            _batch?.Dispose();
            _batch = new BatchWork(this, images.Length);
        }
        _batch.Input.Fill(Preprocess, rgb, images, tokens);
        _batch.Keys?.Upload(keys);
        _batch.Gradients.Run();
        return ReadReport();
    }

    private (float Loss, float LogitScale, float Norm) AccumulateGradients(GradientCache cache, ReadOnlySpan<byte> rgb, ReadOnlySpan<ImageSlot> images, ReadOnlySpan<int> tokens, int[]? keys)
    {
        var (loss, scale) = cache.ForwardAndBackward(rgb, images, tokens, keys);
        _norm.Compute(_options.GradClipNorm);
        return (loss, scale, _norm.ReadNorm());
    }

    private void ComputeGradients(Tensor pixels, TokenBatch tokens, Tensor? keys)
    {
        var device = Tape.Device;
        try
        {
            var image = _model.EncodeImage(Tape, pixels, training: true);
            var text = _model.EncodeText(Tape, tokens);
            var loss = ClipLoss.Forward(Tape, image, text, _model.LogitScale, keys);
            device.Copy(loss.Data, _report.At(0), sizeof(float));
            device.Copy(_model.LogitScale.Data, _report.At(sizeof(float)), sizeof(float));
            Tape.Backward(loss, new Tensor(device, _one.Start, DataType.Float32));
        }
        finally
        {
            Tape.Reset();
        }
        _norm.Compute(_options.GradClipNorm);
        device.Copy(_norm.Result, _report.At(2 * sizeof(float)), sizeof(float));
    }

    private void Update()
    {
        Optimizer.Update(_norm.Result);
        ClipLoss.ClampLogitScale(_model.LogitScale);
        _model.Parameters.Gradients.Clear();
    }

    private (float Loss, float LogitScale, float Norm) ReadReport()
    {
        Span<float> report = stackalloc float[3];
        Tape.Device.CopyToHost(_report.Start, MemoryMarshal.AsBytes(report));
        return (report[0], report[1], report[2]);
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
        private readonly DeviceBuffer? _keys;

        public BatchWork(TrainingStep step, int batch)
        {
            var device = step.Tape.Device;
            Input = new PairBuffers(step._model, step._options, batch);
            if (step._options.MaskDuplicates)
            {
                _keys = device.Allocate(2L * batch * sizeof(int), "keys of pairs");
                Keys = new Tensor(device, _keys.Start, DataType.Int32, 2, batch);
            }
            Gradients = new RepeatedWork(device, () => step.ComputeGradients(Input.Pixels, Input.Tokens, Keys));
        }

        public PairBuffers Input { get; }

        /// <summary>See <see cref="PairKeys"/>; null if equal pairs are not masked.</summary>
        public Tensor? Keys { get; }

        public RepeatedWork Gradients { get; }

        public void Dispose()
        {
            Gradients.Dispose();
            Input.Dispose();
            _keys?.Dispose();
        }
    }
}
