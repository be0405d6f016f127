using System.Runtime.InteropServices;
using ClipCuda.Devices;

namespace ClipCuda.Ops;

/// <summary>The global norm of a model's gradients and the factor that clips it, both left on the device for <see cref="AdamW"/>.</summary>
public sealed class GradientNorm : IDisposable
{
    private const int ElementsABlock = 8192;

    private readonly ParameterSet _parameters;
    private readonly DeviceBuffer _result;
    private readonly DeviceBuffer _partial;
    private readonly int _blocks;

    public GradientNorm(ParameterSet parameters)
    {
        _parameters = parameters;
        _blocks = Shapes.Ceiling(parameters.TrainedElements, ElementsABlock);
        _result = parameters.Device.Allocate(2 * sizeof(float), "gradient norm");
        _partial = parameters.Device.Allocate(Math.Max(1, _blocks) * sizeof(float), "gradient norm");
    }

    /// <summary>On the device: the norm, and min(1, maxNorm / (norm + 1e-6)).</summary>
    public DevicePointer Result => _result.Start;

    /// <param name="maxNorm">The norm to clip to; 0 for none.</param>
    public void Compute(float maxNorm)
    {
        var device = _parameters.Device;
        device.Kernel("gradientnorm_partial").Launch(_blocks, 256, _partial.Start.Moving(_partial.Bytes), _parameters.Gradients.Data.Moving(sizeof(float) * _parameters.TrainedElements), _parameters.TrainedElements);
        device.Kernel("gradientnorm_finish").Launch(1, 256, _result.Start, _partial.Start.Moving(_partial.Bytes), _blocks, maxNorm);
    }

    /// <summary>Copies the norm to the host; waits for the device.</summary>
    public float ReadNorm()
    {
        float norm = 0;
        _parameters.Device.CopyToHost(_result.Start, MemoryMarshal.AsBytes(new Span<float>(ref norm)));
        return norm;
    }

    public void Dispose()
    {
        _result.Dispose();
        _partial.Dispose();
    }
}
