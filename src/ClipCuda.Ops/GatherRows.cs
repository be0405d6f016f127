namespace ClipCuda.Ops;

/// <summary>Picks one row of each sequence: the class token, or a caption's end token.</summary>
public static class GatherRows
{
    /// <summary>y[b] = x[b, rows[b]].</summary>
    /// <param name="x">[batch, sequence, width].</param>
    /// <param name="rows">Positions within each sequence, [batch]; whoever fills it keeps them below the sequence's length.</param>
    /// <returns>[batch, width].</returns>
    public static Tensor Forward(Tape tape, Tensor x, Tensor rows)
    {
        if (x.Shape is not [var batch, var sequence, var width]) throw new ArgumentException($"x has shape {x.ShapeText}, expected [batch, sequence, width].", nameof(x));
        Shapes.Require(rows, nameof(rows), batch);
        var device = tape.Device;
        var y = tape.Allocate(batch, width);
        device.Kernel("gatherrows_forward").Launch(batch, 128, y, x.Data.Moving(y.Bytes), rows, sequence, width);
        tape.Record(y, () =>
        {
            if (tape.GradientTarget(x) is { } dx)
                device.Kernel("gatherrows_backward").Launch(checked(batch * sequence), 128, dx, tape.GradientOf(y), rows, sequence, width);
        });
        return y;
    }

    /// <summary>y[b] = x[b, 0].</summary>
    /// <inheritdoc cref="Forward"/>
    public static Tensor First(Tape tape, Tensor x)
    {
        var zeros = tape.AllocateScratch(DataType.Int32, x.Shape[0]);
        zeros.Clear();
        return Forward(tape, x, zeros);
    }
}
