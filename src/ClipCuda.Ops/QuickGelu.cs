namespace ClipCuda.Ops;

/// <summary>QuickGELU, u · sigmoid(1.702 u): the activation of OpenAI's CLIP.</summary>
public static class QuickGelu
{
    /// <summary>QuickGELU of x + bias.</summary>
    /// <param name="x">[..., width].</param>
    /// <param name="bias">[width], or null.</param>
    public static Tensor Forward(Tape tape, Tensor x, Tensor? bias)
    {
        if (bias is not null) Shapes.Require(bias, nameof(bias), x.Width);
        var y = tape.Allocate(x.Shape);
        tape.Device.Kernel("quickgelu_forward").Launch(x.Rows, 128, y.Data, x.Data, Shapes.Pointer(bias), x.Width);
        tape.Record(y, () =>
        {
            var dy = tape.GradientOf(y);
            // The bias needs the gradient of x + bias even where nobody needs that of x.
            var dx = tape.GradientTarget(x) ?? tape.AllocateScratch(DataType.Float32, x.Shape);
            tape.Device.Kernel("quickgelu_backward").Launch(x.Rows, 128, dx.Data, dy.Data, x.Data, Shapes.Pointer(bias), x.Width);
            if (bias is not null) Bias.AccumulateGradient(tape, dx, bias);
        });
        return y;
    }
}
