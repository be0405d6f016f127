using System.Runtime.InteropServices;
using ClipCuda.Devices;

namespace ClipCuda.Ops;

/// <summary>
/// AdamW (Loshchilov, Hutter 2019) as <c>torch.optim.AdamW</c> computes it, in one launch over all parameters. What changes from step to
/// step is worked out in float64 on the host and read by the kernel from a small device buffer.
/// </summary>
public sealed class AdamW : IDisposable
{
    private readonly ParameterSet _parameters;
    private readonly float _beta1, _beta2, _epsilon, _weightDecay;
    private readonly DeviceBuffer _first, _second, _step;

    /// <param name="weightDecay">Applied, times the learning rate, to the parameters that decay.</param>
    public AdamW(ParameterSet parameters, float beta1, float beta2, float epsilon, float weightDecay)
    {
        _parameters = parameters;
        (_beta1, _beta2, _epsilon, _weightDecay) = (beta1, beta2, epsilon, weightDecay);
        var device = parameters.Device;
        long bytes = parameters.Gradients.Bytes;
        _first = device.Allocate(bytes, "AdamW first moments");
        _second = device.Allocate(bytes, "AdamW second moments");
        _step = device.Allocate(3 * sizeof(float), "AdamW step");
        device.Clear(_first.Start, bytes);
        device.Clear(_second.Start, bytes);
    }

    /// <summary>Steps taken so far; set when a run goes on from a checkpoint.</summary>
    public int StepCount { get; set; }

    /// <summary>The decaying means of a trained parameter's gradient and of its square, on the device, of the parameter's shape: what a checkpoint keeps.</summary>
    /// <exception cref="KeyNotFoundException">There is no such parameter.</exception>
    /// <exception cref="ArgumentException">It is frozen.</exception>
    public (Tensor First, Tensor Second) Moments(string name)
    {
        var parameter = _parameters[name];
        if (!parameter.NeedsGradient) throw new ArgumentException($"'{name}' is frozen and has no moments.", nameof(name));
        return (At(_first), At(_second));

        Tensor At(DeviceBuffer moments) => new(_parameters.Device, moments.At(parameter.Data.Offset), DataType.Float32, parameter.Shape);
    }

    /// <summary>Updates every parameter from its gradient, which stays as it is.</summary>
    /// <param name="clip"><see cref="GradientNorm.Result"/>.</param>
    public void Step(float learningRate, DevicePointer clip)
    {
        Prepare(learningRate);
        Update(clip);
    }

    /// <summary>The first part of <see cref="Step"/>: puts what changes from step to step where <see cref="Update"/> reads it.</summary>
    public void Prepare(float learningRate)
    {
        StepCount++;
        ReadOnlySpan<float> step =
        [
            (float)(1 - (double)learningRate * _weightDecay),
            (float)(learningRate / (1 - Math.Pow(_beta1, StepCount))),
            (float)(1 / Math.Sqrt(1 - Math.Pow(_beta2, StepCount))),
        ];
        _parameters.Device.CopyToDevice(MemoryMarshal.AsBytes(step), _step.Start);
    }

    /// <summary>The second part of <see cref="Step"/>, which can be recorded.</summary>
    public void Update(DevicePointer clip) =>
        _parameters.Device.Kernel("adamw_step").Launch(
            Shapes.Stretches(_parameters.TrainedElements), 256, Trained(_parameters.Values.Data, passes: 2), Trained(_first.Start, passes: 2), Trained(_second.Start, passes: 2), Trained(_parameters.Gradients.Data, passes: 1), _step.Start, clip,
            _parameters.TrainedElements, _parameters.DecayedElements, _beta1, (float)(1 - (double)_beta1), _beta2, (float)(1 - (double)_beta2), _epsilon);

    private KernelArgument Trained(DevicePointer values, int passes) => values.Moving(passes * sizeof(float) * _parameters.TrainedElements);

    public void Dispose()
    {
        _first.Dispose();
        _second.Dispose();
        _step.Dispose();
    }
}
