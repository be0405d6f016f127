namespace ClipCuda.Ops;

/// <summary>Halves an image: the mean of each 2 × 2 places.</summary>
public static class AveragePool
{
    /// <param name="x">[batch, height, width, channels], height and width even.</param>
    /// <returns>[batch, height / 2, width / 2, channels].</returns>
    public static Tensor Forward(Tape tape, Tensor x)
    {
        if (x.Shape is not [var batch, var height, var width, var channels] || height % 2 != 0 || width % 2 != 0)
            throw new ArgumentException($"x has shape {x.ShapeText}, expected [batch, height, width, channels] of even height and width.", nameof(x));
        var device = tape.Device;
        var y = tape.Allocate(batch, height / 2, width / 2, channels);
        var tiles = Shapes.Tiles(y.Rows, channels);
        device.Kernel("averagepool_forward").Launch(tiles, 128, y, x, y.Rows, width / 2, channels);
        tape.Record(y, () =>
        {
            if (tape.GradientTarget(x) is { } dx)
                device.Kernel("averagepool_backward").Launch(tiles, 128, dx, tape.GradientOf(y), y.Rows, width / 2, channels);
        });
        return y;
    }
}
