namespace ClipCuda.Ops;

/// <summary>Exact GELU, u · Φ(u) (Hendrycks, Gimpel 2016).</summary>
public static class Gelu
{
    /// <summary>GELU of x + bias.</summary>
    /// <param name="x">[..., width].</param>
    /// <param name="bias">[width], or null.</param>
    public static Tensor Forward(Tape tape, Tensor x, Tensor? bias)
    {
        if (bias is not null) Shapes.Require(bias, nameof(bias), x.Width);
        var y = tape.Allocate(x.Shape);
        tape.Device.Kernel("gelu_forward").Launch(x.Rows, 128, y.Data, x.Data, Shapes.Pointer(bias), x.Width);
        tape.Record(y, () =>
        {
            var dy = tape.GradientOf(y);
            // The bias needs the gradient of x + bias even where nobody needs that of x.
            var dx = tape.GradientTarget(x) ?? tape.AllocateScratch(DataType.Float32, x.Shape);
            tape.Device.Kernel("gelu_backward").Launch(x.Rows, 128, dx.Data, dy.Data, x.Data, Shapes.Pointer(bias), x.Width);
            if (bias is not null) Bias.AccumulateGradient(tape, dx, bias);
        });
        return y;
    }
}
