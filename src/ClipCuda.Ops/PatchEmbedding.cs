using ClipCuda.Devices;

namespace ClipCuda.Ops;

/// <summary>A vision transformer's input: patches through a convolution without bias, the class token before them, positions added.</summary>
public static class PatchEmbedding
{
    /// <summary>Rows 1 … n are the patches, left to right and top to bottom; row 0 is the class token.</summary>
    /// <param name="pixels">[batch, 3, height, width]; no gradient flows to it.</param>
    /// <param name="convolution">[out, 3, patch, patch].</param>
    /// <param name="classToken">[out].</param>
    /// <param name="positions">[1 + n, out], n = (height / patch)·(width / patch).</param>
    /// <returns>[batch, 1 + n, out].</returns>
    public static Tensor Forward(Tape tape, Tensor pixels, Tensor convolution, Tensor classToken, Tensor positions)
    {
        if (convolution.Shape is not [var width, 3, var patch, var second] || second != patch)
            throw new ArgumentException($"convolution has shape {convolution.ShapeText}, expected [out, 3, patch, patch].", nameof(convolution));
        if (pixels.Shape is not [var batch, 3, var imageHeight, var imageWidth] || imageHeight % patch != 0 || imageWidth % patch != 0)
            throw new ArgumentException($"pixels have shape {pixels.ShapeText}, expected [batch, 3, height, width] in multiples of {patch}.", nameof(pixels));
        int sequence = 1 + imageHeight / patch * (imageWidth / patch), inputs = 3 * patch * patch, rows = checked(batch * sequence);
        Shapes.Require(classToken, nameof(classToken), width);
        Shapes.Require(positions, nameof(positions), sequence, width);

        var device = tape.Device;
        var y = tape.Allocate(batch, sequence, width);
        var patches = tape.AllocateScratch(DataType.Float32, rows, inputs);
        device.Kernel("patchembedding_unfold").Launch(rows, 128, patches, pixels, imageHeight, imageWidth, patch, sequence);
        device.Gemm(new GemmCall(rows, width, inputs, new(patches.Data, inputs), new(convolution.Data, inputs, Transposed: true), new(y.Data, width)));
        device.Kernel("patchembedding_add").Launch(rows, 128, y.Updated, positions, classToken, sequence, width);
        tape.Record(y, () =>
        {
            var dy = tape.GradientOf(y);
            device.Gemm(new GemmCall(
                width, inputs, rows, new(dy.Data, width, Transposed: true), new(patches.Data, inputs), new(convolution.Gradient!.Data, inputs), Beta: 1));
            device.Kernel("patchembedding_backward")
                .Launch(new(Shapes.Ceiling(width, 128), sequence), 128, positions.Gradient!.Updated, classToken.Gradient!.Updated, dy, batch, sequence, width);
        });
        return y;
    }
}
