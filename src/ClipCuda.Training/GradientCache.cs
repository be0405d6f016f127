using ClipCuda.Data;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Ops;

namespace ClipCuda.Training;

/// <summary>
/// The gradients of a large batch in the memory of a small one (Gao, Zhang, Han, Callan 2021, "Scaling deep contrastive learning batch size under memory
/// limited setup"). Every pair sees all others as negatives, and the gradients are the large batch's, because the loss depends on the weights through
/// the embeddings alone:
/// <code>
/// 1. for each part of the batch: embeddings, and nothing else is kept
/// 2. over all embeddings E: the loss L, its gradient for the logit scale, and G = ∂L/∂E
/// 3. for each part once more: forward, then backward from its rows of G
/// </code>
/// Parts are of <see cref="TrainingOptions.BatchSize"/> pairs. A pair's embedding must not depend on what else is in its part: batch norm is refused by
/// <see cref="TrainingOptions"/>. What a part reads and gives lies in buffers of its own, so that a device which records work runs each of the three as one.
/// </summary>
internal sealed class GradientCache : IDisposable
{
    private readonly ClipModel _model;
    private readonly TrainingOptions _options;
    private readonly Tape _tape;
    private readonly Preprocess _preprocess;
    private readonly PairBuffers _part;
    private readonly ImageSlot[] _slots;
    private readonly Side _images, _captions;
    private readonly LossReport _report;
    private readonly PairKeys? _keys;
    private readonly RepeatedWork _embed, _loss, _differentiate;

    /// <param name="report">Takes the loss and the logit scale.</param>
    public GradientCache(ClipModel model, TrainingOptions options, Tape tape, Preprocess preprocess, LossReport report)
    {
        (_model, _options, _tape, _preprocess, _report) = (model, options, tape, preprocess, report);
        var device = tape.Device;
        _part = new PairBuffers(model, options, options.BatchSize);
        _slots = new ImageSlot[options.BatchSize];
        _images = new Side(model, options, trained: !options.LockImage, "image embeddings");
        _captions = new Side(model, options, trained: !options.LockText, "caption embeddings");
        if (options.MaskDuplicates) _keys = new PairKeys(device, options.SamplesPerStep);
        _embed = new RepeatedWork(device, () => OnTape(Embed));
        _loss = new RepeatedWork(device, () => OnTape(LossAndItsGradients));
        _differentiate = new RepeatedWork(device, () => OnTape(Differentiate));
    }

    /// <summary>Why the device, which can record work, runs parts call by call; null if it does not.</summary>
    public string? RecordingRefusal => _embed.Refusal ?? _loss.Refusal ?? _differentiate.Refusal;

    /// <summary>Adds the gradients of the whole batch to the parameters'.</summary>
    /// <inheritdoc cref="TrainingStep.Run(ReadOnlySpan{byte}, ReadOnlySpan{ImageSlot}, ReadOnlySpan{int}, float, ReadOnlySpan{int})" path="/param"/>
    public void ForwardAndBackward(ReadOnlySpan<byte> rgb, ReadOnlySpan<ImageSlot> images, ReadOnlySpan<int> tokens, ReadOnlySpan<int> samples = default)
    {
        if (images.Length != _options.SamplesPerStep) throw new ArgumentException($"{images.Length} images are not {_options.AccumFreq} parts of {_options.BatchSize}.", nameof(images));
        for (int first = 0; first < images.Length; first += _options.BatchSize)
        {
            Fill(rgb, images, tokens, first);
            _embed.Run();
            _images.KeepPart(first);
            _captions.KeepPart(first);
        }
        _keys?.Upload(samples, tokens);
        _loss.Run();
        for (int first = 0; first < images.Length; first += _options.BatchSize)
        {
            Fill(rgb, images, tokens, first);
            _images.GivePart(first);
            _captions.GivePart(first);
            _differentiate.Run();
        }
    }

    public void Dispose()
    {
        foreach (var work in (ReadOnlySpan<RepeatedWork>)[_embed, _loss, _differentiate]) work.Dispose();
        foreach (var buffer in (ReadOnlySpan<IDisposable?>)[_part, _images, _captions, _keys]) buffer?.Dispose();
    }

    private void OnTape(Action work)
    {
        try
        {
            work();
        }
        finally
        {
            _tape.Reset();
        }
    }

    private void Embed()
    {
        _images.PutPart(_tape.Constant(_part.Pixels, pixels => _model.EncodeImage(_tape, pixels, training: true)));
        _captions.PutPart(_tape.Constant(_part.Tokens, ids => _model.EncodeText(_tape, ids)));
    }

    private void LossAndItsGradients() => _report.Differentiate(_images.Begin(_tape), _captions.Begin(_tape), _keys?.Tensor);

    private void Differentiate()
    {
        var image = _images.Trained ? _model.EncodeImage(_tape, _part.Pixels, training: true) : null;
        var text = _captions.Trained ? _model.EncodeText(_tape, _part.Tokens) : null;
        var end = _tape.AllocateScratch(DataType.Float32);
        _tape.Record(end, () =>
        {
            if (image is not null) _images.TakePart(_tape.GradientTarget(image)!);
            if (text is not null) _captions.TakePart(_tape.GradientTarget(text)!);
        });
        _tape.Backward(end, _report.One); // what arrives at the end is not read
    }

    /// <summary>Puts a part's pixels and captions where the towers read them; of the images' bytes no others are copied to the device.</summary>
    private void Fill(ReadOnlySpan<byte> rgb, ReadOnlySpan<ImageSlot> allImages, ReadOnlySpan<int> tokens, int first)
    {
        int part = _options.BatchSize, context = _options.Model.Text.ContextLength;
        var images = allImages.Slice(first, part);
        long start = long.MaxValue, end = 0;
        foreach (var image in images) (start, end) = (Math.Min(start, image.Offset), Math.Max(end, image.Offset + 3L * image.Width * image.Height));
        for (int i = 0; i < part; i++) _slots[i] = images[i] with { Offset = images[i].Offset - start };
        _part.Fill(_preprocess, rgb[(int)start..(int)end], _slots, tokens.Slice(first * context, part * context));
    }

    /// <summary>The embeddings of all images or all captions, [batch, width], the loss's gradient for them, and of both the rows of the part that is under way.</summary>
    private sealed class Side : IDisposable
    {
        private readonly Device _device;
        private readonly DeviceBuffer _embeddings, _part;
        private readonly DeviceBuffer? _gradients;
        private readonly int _batch, _width;

        public Side(ClipModel model, TrainingOptions options, bool trained, string label)
        {
            (_device, _batch, _width) = (model.Parameters.Device, options.SamplesPerStep, model.Config.EmbedDim);
            _embeddings = _device.Allocate(Bytes(_batch), label);
            _part = _device.Allocate(Bytes(options.BatchSize), $"a part of {label}");
            if (trained) _gradients = _device.Allocate(_embeddings.Bytes, $"gradients of {label}");
        }

        public bool Trained => _gradients is not null;

        public void PutPart(Tensor embeddings) => _device.Copy(embeddings.Data, _part.Start, _part.Bytes);

        /// <summary>The part becomes the rows of all embeddings from this one on.</summary>
        public void KeepPart(int firstRow) => _device.Copy(_part.Start, _embeddings.At(Bytes(firstRow)), _part.Bytes);

        /// <summary>All embeddings, as what the loss begins with; its gradient is kept.</summary>
        public Tensor Begin(Tape tape)
        {
            var all = new Tensor(_device, _embeddings.Start, DataType.Float32, _batch, _width) { NeedsGradient = Trained };
            if (_gradients is not null) tape.Record(all, () => _device.Copy(tape.GradientOf(all).Data, _gradients.Start, _gradients.Bytes));
            return all;
        }

        /// <summary>The rows of the gradient from this one on become the part.</summary>
        public void GivePart(int firstRow)
        {
            if (_gradients is not null) _device.Copy(_gradients.At(Bytes(firstRow)), _part.Start, _part.Bytes);
        }

        public void TakePart(Tensor target) => _device.Copy(_part.Start, target.Data, _part.Bytes);

        public void Dispose()
        {
            _embeddings.Dispose();
            _part.Dispose();
            _gradients?.Dispose();
        }

        private long Bytes(int rows) => (long)rows * _width * sizeof(float);
    }
}
