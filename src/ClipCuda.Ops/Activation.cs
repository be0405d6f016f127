namespace ClipCuda.Ops;

/// <summary>What the elementwise activations share: y = f(x + bias), with entries <c>NAME_forward</c> and <c>NAME_backward</c> of one form.</summary>
internal static class Activation
{
    /// <param name="name">The PTX module.</param>
    /// <param name="x">[..., width].</param>
    /// <param name="bias">[width], or null.</param>
    public static Tensor Forward(Tape tape, string name, Tensor x, Tensor? bias)
    {
        if (bias is not null) Shapes.Require(bias, nameof(bias), x.Width);
        var y = tape.Allocate(x.Shape);
        tape.Device.Kernel($"{name}_forward").Launch(Shapes.Ceiling(x.Rows, 4), 128, y, x, Shapes.OrNull(bias), x.Rows, x.Width);
        tape.Record(y, () =>
        {
            var dy = tape.GradientOf(y);
            // The bias needs the gradient of x + bias even where nobody needs that of x.
            var dx = tape.GradientTarget(x) ?? tape.AllocateScratch(DataType.Float32, x.Shape);
            tape.Device.Kernel($"{name}_backward").Launch(Shapes.Ceiling(x.Rows, 4), 128, dx, dy, x, Shapes.OrNull(bias), x.Rows, x.Width);
            if (bias is not null) Bias.AccumulateGradient(tape, dx, bias);
        });
        return y;
    }
}
