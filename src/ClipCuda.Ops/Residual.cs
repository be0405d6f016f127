namespace ClipCuda.Ops;

/// <summary>Residual addition, and the sum of gradients.</summary>
public static class Residual
{
    /// <summary>x + y + bias: what a residual block ends with, the bias being that of the layer that made y.</summary>
    /// <param name="x">[..., width].</param>
    /// <param name="y">The same shape.</param>
    /// <param name="bias">[width], or null.</param>
    public static Tensor Forward(Tape tape, Tensor x, Tensor y, Tensor? bias)
    {
        Shapes.Require(y, nameof(y), x.Shape);
        if (bias is not null) Shapes.Require(bias, nameof(bias), x.Width);
        var sum = tape.Allocate(x.Shape);
        tape.Device.Kernel("residual_forward").Launch(Shapes.Ceiling(x.Rows, 4), 128, sum, x, y, Shapes.OrNull(bias), x.Rows, x.Width);
        tape.Record(sum, () =>
        {
            tape.PassGradient(sum, x);
            tape.PassGradient(sum, y);
            if (bias is not null) Bias.AccumulateGradient(tape, tape.GradientOf(sum), bias);
        });
        return sum;
    }

    /// <summary>target += addend, element by element; equal shapes.</summary>
    public static void AddInto(Tensor target, Tensor addend)
    {
        Shapes.Require(addend, nameof(addend), target.Shape);
        target.Device.Kernel("residual_add_into").Launch(Shapes.Stretches(target.Elements), 256, target.Updated, addend, target.Elements);
    }
}
