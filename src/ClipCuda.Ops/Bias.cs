namespace ClipCuda.Ops;

/// <summary>The bias of a linear layer: added to rows, its gradient the column sums.</summary>
public static class Bias
{
    /// <summary>y[r] += bias for every row.</summary>
    /// <param name="y">[..., width].</param>
    /// <param name="bias">[width].</param>
    public static void AddInto(Tensor y, Tensor bias)
    {
        Shapes.Require(bias, nameof(bias), y.Width);
        y.Device.Kernel("bias_add_into").Launch(y.Rows, 128, y.Updated, bias, y.Width);
    }

    /// <summary>Adds the column sums of dy [..., width] into the gradient of <paramref name="bias"/> [width].</summary>
    public static void AccumulateGradient(Tape tape, Tensor dy, Tensor bias)
    {
        if (bias.Gradient is not { } gradient) return;
        (int rows, int width) = (dy.Rows, dy.Width);
        int rowsARun = Shapes.RowsARun(rows), runs = Shapes.Ceiling(rows, rowsARun), columns = Shapes.Ceiling(width, 128);
        var partial = tape.AllocateScratch(DataType.Float32, runs, width);
        var device = tape.Device;
        device.Kernel("bias_backward_partial").Launch(new(columns, runs), 128, partial, dy, rows, width, rowsARun);
        device.Kernel("bias_backward").Launch(columns, 128, gradient.Updated, partial, runs, width);
    }
}
