using ClipCuda.Devices;

namespace ClipCuda.Ops;

/// <summary>The projection of a tower into the shared embedding space, in CLIP's layout (the matrix is not transposed). A GEMM alone.</summary>
public static class Projection
{
    /// <summary>y = x · matrix.</summary>
    /// <param name="x">[..., in].</param>
    /// <param name="matrix">[in, out].</param>
    /// <returns>[..., out].</returns>
    public static Tensor Forward(Tape tape, Tensor x, Tensor matrix)
    {
        if (matrix.Shape is not [var inputs, var outputs] || inputs != x.Width)
            throw new ArgumentException($"matrix has shape {matrix.ShapeText}, expected [{x.Width}, out].", nameof(matrix));
        int rows = x.Rows;
        var device = tape.Device;
        var y = tape.Allocate([.. x.Shape.AsSpan()[..^1], outputs]);
        device.Gemm(new GemmCall(rows, outputs, inputs, new(x.Data, inputs), new(matrix.Data, outputs), new(y.Data, outputs)));
        tape.Record(y, () =>
        {
            var dy = tape.GradientOf(y);
            if (tape.GradientTarget(x) is { } dx)
                device.Gemm(new GemmCall(rows, inputs, outputs, new(dy.Data, outputs), new(matrix.Data, outputs, Transposed: true), new(dx.Data, inputs)));
            if (matrix.Gradient is { } dmatrix)
                device.Gemm(new GemmCall(inputs, outputs, rows, new(x.Data, inputs, Transposed: true), new(dy.Data, outputs), new(dmatrix.Data, outputs), Beta: 1));
        });
        return y;
    }
}
