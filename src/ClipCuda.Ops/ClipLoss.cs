namespace ClipCuda.Ops;

/// <summary>The symmetric contrastive loss of CLIP (Radford et al. 2021, figure 3), tiled: memory O(batch · width).</summary>
public static class ClipLoss
{
    private const int Tile = 32;

    /// <summary>Mean of the cross-entropies of e^logitScale · image · textᵀ over its rows and over its columns, targets on the diagonal.</summary>
    /// <param name="image">[batch, width], of unit length.</param>
    /// <param name="text">[batch, width], of unit length.</param>
    /// <param name="logitScale">A parameter of shape [].</param>
    /// <returns>A tensor of shape [].</returns>
    public static Tensor Forward(Tape tape, Tensor image, Tensor text, Tensor logitScale)
    {
        if (image.Shape is not [var batch, var width]) throw new ArgumentException($"image has shape {image.ShapeText}, expected [batch, width].", nameof(image));
        Shapes.Require(text, nameof(text), batch, width);
        Shapes.Require(logitScale, nameof(logitScale));
        int tiles = Shapes.Ceiling(batch, Tile);
        var device = tape.Device;
        var loss = tape.Allocate();
        var imageLse = tape.AllocateScratch(DataType.Float32, batch);
        var textLse = tape.AllocateScratch(DataType.Float32, batch);
        var diagonal = tape.AllocateScratch(DataType.Float32, batch);
        var forward = device.Kernel("cliploss_forward");
        forward.Launch(tiles, 128, textLse.Data, diagonal.Data, text.Data, image.Data, logitScale.Data, batch, width);
        forward.Launch(tiles, 128, imageLse.Data, diagonal.Data, image.Data, text.Data, logitScale.Data, batch, width);
        device.Kernel("cliploss_finish").Launch(1, 128, loss.Data, imageLse.Data, textLse.Data, diagonal.Data, batch);
        tape.Record(loss, () =>
        {
            var dloss = tape.GradientOf(loss);
            var partial = tape.AllocateScratch(DataType.Float32, tiles);
            SideBackward(image, text, imageLse, textLse, partial);
            SideBackward(text, image, textLse, imageLse, partial: null);
            device.Kernel("cliploss_backward_scale").Launch(1, 128, logitScale.Gradient!.Data, partial.Data, tiles);

            void SideBackward(Tensor own, Tensor other, Tensor ownLse, Tensor otherLse, Tensor? partial)
            {
                // The gradient of the scale comes with the images' side, whether or not anybody needs theirs.
                var target = tape.GradientTarget(own);
                if (target is null && partial is null) return;
                target ??= tape.AllocateScratch(DataType.Float32, own.Shape);
                device.Kernel("cliploss_backward").Launch(
                    new(tiles, Shapes.Ceiling(width, 128)), 128, target.Data, Shapes.Pointer(partial), own.Data, other.Data, ownLse.Data, otherLse.Data,
                    logitScale.Data, dloss.Data, batch, width);
            }
        });
        return loss;
    }

    /// <summary>Keeps the scale within [0, ln 100], in place.</summary>
    public static void ClampLogitScale(Tensor logitScale)
    {
        Shapes.Require(logitScale, nameof(logitScale));
        logitScale.Device.Kernel("cliploss_clamp_scale").Launch(1, 128, logitScale.Data);
    }
}
