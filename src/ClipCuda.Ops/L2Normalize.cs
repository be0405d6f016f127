namespace ClipCuda.Ops;

/// <summary>Rows to unit length, as <c>torch.nn.functional.normalize</c>.</summary>
public static class L2Normalize
{
    /// <summary>x / max(‖x‖, 1e-12) for each row.</summary>
    /// <param name="x">[..., width].</param>
    public static Tensor Forward(Tape tape, Tensor x)
    {
        (int rows, int width) = (x.Rows, x.Width);
        int blocks = Shapes.Ceiling(rows, 4);
        var device = tape.Device;
        var y = tape.Allocate(x.Shape);
        var reciprocal = tape.AllocateScratch(DataType.Float32, rows);
        device.Kernel("l2normalize_forward").Launch(blocks, 128, y, reciprocal, x, rows, width);
        tape.Record(y, () =>
        {
            if (tape.GradientTarget(x) is { } dx)
                device.Kernel("l2normalize_backward").Launch(blocks, 128, dx, tape.GradientOf(y), y, reciprocal, rows, width);
        });
        return y;
    }
}
