using ClipCuda.Devices;

namespace ClipCuda.Ops;

/// <summary>A linear layer with PyTorch's weight layout. A GEMM alone; its bias is added by <see cref="Bias"/>.</summary>
public static class Linear
{
    /// <summary>y = x · weightᵀ + bias.</summary>
    /// <param name="x">[..., in].</param>
    /// <param name="weight">[out, in].</param>
    /// <param name="bias">[out], or null.</param>
    /// <returns>[..., out].</returns>
    public static Tensor Forward(Tape tape, Tensor x, Tensor weight, Tensor? bias)
    {
        if (weight.Shape is not [var outputs, var inputs] || inputs != x.Width)
            throw new ArgumentException($"weight has shape {weight.ShapeText}, expected [out, {x.Width}].", nameof(weight));
        if (bias is not null) Shapes.Require(bias, nameof(bias), outputs);
        int rows = x.Rows;
        var device = tape.Device;
        var y = tape.Allocate([.. x.Shape.AsSpan()[..^1], outputs]);
        device.Gemm(new GemmCall(rows, outputs, inputs, new(x.Data, inputs), new(weight.Data, inputs, Transposed: true), new(y.Data, outputs)));
        if (bias is not null) Bias.AddInto(y, bias);
        tape.Record(y, () =>
        {
            var dy = tape.GradientOf(y);
            if (tape.GradientTarget(x, out bool adds) is { } dx)
                device.Gemm(new GemmCall(rows, inputs, outputs, new(dy.Data, outputs), new(weight.Data, inputs), new(dx.Data, inputs), Beta: adds ? 1 : 0));
            if (weight.Gradient is { } dweight)
                device.Gemm(new GemmCall(outputs, inputs, rows, new(dy.Data, outputs, Transposed: true), new(x.Data, inputs), new(dweight.Data, inputs), Beta: 1));
            if (bias is not null) Bias.AccumulateGradient(tape, dy, bias);
        });
        return y;
    }
}
