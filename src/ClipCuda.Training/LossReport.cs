using System.Runtime.InteropServices;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Ops;

namespace ClipCuda.Training;

/// <summary>
/// The contrastive loss of a step with its backward, and what the host is told of the step: numbers that stay on the device, where recorded work finds
/// them, until they are read in one copy.
/// </summary>
internal sealed class LossReport : IDisposable
{
    private const int Numbers = 3;

    private readonly ClipModel _model;
    private readonly Tape _tape;
    private readonly DeviceBuffer _numbers, _one;

    public LossReport(ClipModel model, Tape tape)
    {
        (_model, _tape) = (model, tape);
        _numbers = tape.Device.Allocate(Numbers * sizeof(float), "loss, logit scale and gradient norm");
        _one = tape.Device.Allocate(sizeof(float), "gradient of the loss");
        tape.Device.CopyToDevice(MemoryMarshal.AsBytes<float>([1]), _one.Start);
    }

    /// <summary>The number 1, with which backward begins.</summary>
    public Tensor One => new(_tape.Device, _one.Start, DataType.Float32);

    /// <summary>Backward from the loss of embeddings; the loss and the logit scale that it was computed with are kept.</summary>
    /// <inheritdoc cref="ClipLoss.Forward" path="/param"/>
    public void Differentiate(Tensor image, Tensor text, Tensor? keys)
    {
        var loss = ClipLoss.Forward(_tape, image, text, _model.LogitScale, keys);
        _tape.Device.Copy(loss.Data, _numbers.At(0), sizeof(float));
        _tape.Device.Copy(_model.LogitScale.Data, _numbers.At(sizeof(float)), sizeof(float));
        _tape.Backward(loss, One);
    }

    /// <summary>Keeps the norm that was computed last.</summary>
    public void Keep(GradientNorm norm) => _tape.Device.Copy(norm.Result, _numbers.At(2 * sizeof(float)), sizeof(float));

    public (float Loss, float LogitScale, float Norm) Read()
    {
        Span<float> numbers = stackalloc float[Numbers];
        _tape.Device.CopyToHost(_numbers.Start, MemoryMarshal.AsBytes(numbers));
        return (numbers[0], numbers[1], numbers[2]);
    }

    public void Dispose()
    {
        _numbers.Dispose();
        _one.Dispose();
    }
}
