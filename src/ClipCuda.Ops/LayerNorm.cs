namespace ClipCuda.Ops;

/// <summary>Layer normalisation over the last axis (Ba, Kiros, Hinton 2016).</summary>
public static class LayerNorm
{
    /// <summary>(x − mean) / √(variance + epsilon) · weight + bias, for each row.</summary>
    /// <param name="x">[..., width].</param>
    /// <param name="weight">[width].</param>
    /// <param name="bias">[width].</param>
    public static Tensor Forward(Tape tape, Tensor x, Tensor weight, Tensor bias, float epsilon = 1e-5f)
    {
        (int rows, int width) = (x.Rows, x.Width);
        Shapes.Require(weight, nameof(weight), width);
        Shapes.Require(bias, nameof(bias), width);
        var device = tape.Device;
        var y = tape.Allocate(x.Shape);
        var mean = tape.AllocateScratch(DataType.Float32, rows);
        var rstd = tape.AllocateScratch(DataType.Float32, rows);
        int blocks = Shapes.Ceiling(rows, 4);
        device.Kernel("layernorm_forward").Launch(blocks, 128, y, mean, rstd, x, weight, bias, epsilon, rows, width);
        tape.Record(y, () =>
        {
            var dy = tape.GradientOf(y);
            if (tape.GradientTarget(x, out bool adds) is { } dx)
                device.Kernel("layernorm_backward").Launch(blocks, 128, adds ? dx.Updated : dx, dy, x, mean, rstd, weight, adds ? 1 : 0, rows, width);
            int rowsARun = Shapes.RowsARun(rows), runs = Shapes.Ceiling(rows, rowsARun), columns = Shapes.Ceiling(width, 128);
            var partial = tape.AllocateScratch(DataType.Float32, runs, 2, width);
            device.Kernel("layernorm_backward_partial")
                .Launch(new(columns, runs), 128, partial, dy, x, mean, rstd, rows, width, rowsARun);
            device.Kernel("layernorm_backward_parameters")
                .Launch(columns, 128, weight.Gradient!.Updated, bias.Gradient!.Updated, partial, runs, width);
        });
        return y;
    }
}
