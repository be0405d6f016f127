namespace ClipCuda.Ops;

/// <summary>Picks one row of each sequence: the class token, or a caption's end token.</summary>
public static class GatherRows
{
    /// <summary>y[b] = x[b, rows[b]].</summary>
    /// <param name="x">[batch, sequence, width].</param>
    /// <param name="rows">Positions within each sequence, one a sequence.</param>
    /// <returns>[batch, width].</returns>
    /// <exception cref="ArgumentException">A position lies outside its sequence.</exception>
    public static Tensor Forward(Tape tape, Tensor x, params ReadOnlySpan<int> rows)
    {
        if (x.Shape is not [var batch, var sequence, var width]) throw new ArgumentException($"x has shape {x.ShapeText}, expected [batch, sequence, width].", nameof(x));
        if (rows.Length != batch) throw new ArgumentException($"{rows.Length} positions are given for a batch of {batch}.", nameof(rows));
        foreach (int row in rows)
        {
            if ((uint)row >= (uint)sequence) throw new ArgumentException($"Position {row} lies outside a sequence of {sequence}.", nameof(rows));
        }
        var device = tape.Device;
        var y = tape.Allocate(batch, width);
        var positions = tape.Input(rows, batch);
        device.Kernel("gatherrows_forward").Launch(batch, 128, y.Data, x.Data, positions.Data, sequence, width);
        tape.Record(y, () =>
        {
            if (tape.GradientTarget(x) is { } dx)
                device.Kernel("gatherrows_backward").Launch(checked(batch * sequence), 128, dx.Data, tape.GradientOf(y).Data, positions.Data, sequence, width);
        });
        return y;
    }
}
