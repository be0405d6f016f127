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
/// <see cref="TrainingOptions"/>.
/// </summary>
internal sealed class GradientCache(ClipModel model, TrainingOptions options, Tape tape, Preprocess preprocess) : IDisposable
{
    private readonly Side _images = new(model, options.SamplesPerStep, trained: !options.LockImage, "image embeddings");
    private readonly Side _captions = new(model, options.SamplesPerStep, trained: !options.LockText, "caption embeddings");

    /// <summary>Adds the gradients of the whole batch to the parameters'. Returns the loss, and the logit scale it was computed with.</summary>
    /// <inheritdoc cref="TrainingStep.Run(ReadOnlySpan{byte}, ReadOnlySpan{ImageSlot}, ReadOnlySpan{int}, float, ReadOnlySpan{int})" path="/param"/>
    public (float Loss, float LogitScale) ForwardAndBackward(ReadOnlySpan<byte> rgb, ReadOnlySpan<ImageSlot> images, ReadOnlySpan<int> tokens, int[]? keys = null)
    {
        if (images.Length != options.SamplesPerStep) throw new ArgumentException($"{images.Length} images are not {options.AccumFreq} parts of {options.BatchSize}.", nameof(images));
        int context = options.Model.Text.ContextLength, part = options.BatchSize;
        try
        {
            for (int first = 0; first < images.Length; first += part)
            {
                _images.Keep(first, tape.Constant(Pixels(rgb, images.Slice(first, part)), pixels => model.EncodeImage(tape, pixels, training: true)));
                _captions.Keep(first, tape.Constant(tokens.Slice(first * context, part * context), ids => model.EncodeText(tape, ids, part)));
                tape.Reset();
            }
            var result = LossAndItsGradients(keys);
            for (int first = 0; first < images.Length; first += part)
            {
                var image = _images.Trained ? model.EncodeImage(tape, Pixels(rgb, images.Slice(first, part)), training: true) : null;
                var text = _captions.Trained ? model.EncodeText(tape, tokens.Slice(first * context, part * context), part) : null;
                var end = tape.AllocateScratch(DataType.Float32);
                int row = first;
                tape.Record(end, () =>
                {
                    if (image is not null) _images.Give(row, tape.GradientTarget(image)!);
                    if (text is not null) _captions.Give(row, tape.GradientTarget(text)!);
                });
                tape.Backward(end, 0f); // what arrives at the end is not read
            }
            return result;
        }
        finally
        {
            tape.Reset();
        }
    }

    public void Dispose()
    {
        _images.Dispose();
        _captions.Dispose();
    }

    private (float Loss, float LogitScale) LossAndItsGradients(int[]? keys)
    {
        var loss = ClipLoss.Forward(tape, _images.Begin(tape), _captions.Begin(tape), model.LogitScale, keys is null ? null : tape.Input(keys, 2, keys.Length / 2));
        var result = (loss.ToArray()[0], model.LogitScale.ToArray()[0]);
        tape.Backward(loss, 1f);
        return result;
    }

    /// <summary>Pixels of some images, of whose bytes no others are copied to the device.</summary>
    private Tensor Pixels(ReadOnlySpan<byte> rgb, ReadOnlySpan<ImageSlot> images)
    {
        long start = long.MaxValue, end = 0;
        foreach (var image in images) (start, end) = (Math.Min(start, image.Offset), Math.Max(end, image.Offset + 3L * image.Width * image.Height));
        var own = new ImageSlot[images.Length];
        for (int i = 0; i < own.Length; i++) own[i] = images[i] with { Offset = images[i].Offset - start };
        return PixelInput.Run(tape, preprocess, rgb[(int)start..(int)end], own, options.Model.Vision.ImageSize, options.Fit);
    }

    /// <summary>The embeddings of all images or all captions, [batch, width], and the loss's gradient for them.</summary>
    private sealed class Side : IDisposable
    {
        private readonly Device _device;
        private readonly DeviceBuffer _embeddings;
        private readonly DeviceBuffer? _gradients;
        private readonly int _batch, _width;

        public Side(ClipModel model, int batch, bool trained, string label)
        {
            (_device, _batch, _width) = (model.Parameters.Device, batch, model.Config.EmbedDim);
            _embeddings = _device.Allocate((long)batch * _width * sizeof(float), label);
            if (trained) _gradients = _device.Allocate(_embeddings.Bytes, $"gradients of {label}");
        }

        public bool Trained => _gradients is not null;

        /// <summary>Keeps the embeddings of a part.</summary>
        public void Keep(int firstRow, Tensor embeddings) => _device.Copy(embeddings.Data, _embeddings.At(Bytes(firstRow)), embeddings.Bytes);

        /// <summary>All embeddings, as what the loss begins with; its gradient is kept.</summary>
        public Tensor Begin(Tape tape)
        {
            var all = new Tensor(_device, _embeddings.Start, DataType.Float32, _batch, _width) { NeedsGradient = Trained };
            if (_gradients is not null) tape.Record(all, () => _device.Copy(tape.GradientOf(all).Data, _gradients.Start, _gradients.Bytes));
            return all;
        }

        /// <summary>Writes a part's rows of the gradient.</summary>
        public void Give(int firstRow, Tensor target) => _device.Copy(_gradients!.At(Bytes(firstRow)), target.Data, target.Bytes);

        public void Dispose()
        {
            _embeddings.Dispose();
            _gradients?.Dispose();
        }

        private long Bytes(int rows) => (long)rows * _width * sizeof(float);
    }
}
