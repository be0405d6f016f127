namespace ClipCuda.Ops;

/// <summary>The sequence that CLIP's attention pooling attends over: the mean of all places, then the places, positions added.</summary>
public static class MeanToken
{
    /// <param name="x">[batch, …, width], the places of an image in between.</param>
    /// <param name="positions">[1 + places, width].</param>
    /// <returns>[batch, 1 + places, width].</returns>
    public static Tensor Forward(Tape tape, Tensor x, Tensor positions)
    {
        if (x.Shape.Length < 3) throw new ArgumentException($"x has shape {x.ShapeText}, expected [batch, …, width].", nameof(x));
        int batch = x.Shape[0], width = x.Width, places = x.Rows / batch, columns = Shapes.Ceiling(width, 128);
        Shapes.Require(positions, nameof(positions), 1 + places, width);
        var device = tape.Device;
        var tokens = tape.Allocate(batch, 1 + places, width);
        device.Kernel("meantoken_forward").Launch(new(columns, batch), 128, tokens, x, positions, places, width);
        tape.Record(tokens, () =>
        {
            var dtokens = tape.GradientOf(tokens);
            if (tape.GradientTarget(x) is { } dx) device.Kernel("meantoken_backward").Launch(new(x.Rows, columns), 128, dx, dtokens, places, width);
            if (positions.Gradient is { } dpositions)
                device.Kernel("meantoken_backward_positions").Launch(new(columns, 1 + places), 128, dpositions.Updated, dtokens, batch, 1 + places, width);
        });
        return tokens;
    }
}
