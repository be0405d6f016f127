using ClipCuda.Data;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Ops;

namespace ClipCuda.Training;

/// <summary>What the towers read of so many pairs, in buffers that stay where they are: recorded work finds the next pairs where these were.</summary>
internal sealed class PairBuffers : IDisposable
{
    private readonly TrainingOptions _options;
    private readonly DeviceBuffer _pixels;
    private readonly List<DeviceBuffer> _tokens = [];

    public PairBuffers(ClipModel model, TrainingOptions options, int pairs)
    {
        _options = options;
        var device = model.Parameters.Device;
        int size = options.Model.Vision.ImageSize;
        _pixels = device.Allocate(checked(sizeof(float) * 3L * size * size * pairs), "pixels");
        Pixels = new Tensor(device, _pixels.Start, DataType.Float32, pairs, 3, size, size);
        Tokens = model.NewTokenBatch(pairs, backward: true, integers =>
        {
            _tokens.Add(device.Allocate(sizeof(int) * (long)integers, "tokens"));
            return new Tensor(device, _tokens[^1].Start, DataType.Int32, integers);
        });
    }

    /// <summary>[pairs, 3, size, size], normalised.</summary>
    public Tensor Pixels { get; }

    public TokenBatch Tokens { get; }

    /// <inheritdoc cref="TrainingStep.Run(ReadOnlySpan{byte}, ReadOnlySpan{ImageSlot}, ReadOnlySpan{int}, float, ReadOnlySpan{int})" path="/param"/>
    public void Fill(Preprocess preprocess, ReadOnlySpan<byte> rgb, ReadOnlySpan<ImageSlot> images, ReadOnlySpan<int> tokens)
    {
        PixelInput.Run(Pixels, preprocess, rgb, images, _options.Model.Vision.ImageSize, _options.Fit);
        Tokens.Upload(tokens);
    }

    public void Dispose()
    {
        _pixels.Dispose();
        foreach (var buffer in _tokens) buffer.Dispose();
    }
}
