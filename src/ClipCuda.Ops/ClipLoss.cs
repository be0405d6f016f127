using ClipCuda.Devices;

namespace ClipCuda.Ops;

/// <summary>The symmetric contrastive loss of CLIP (Radford et al. 2021, figure 3), a strip of images at a time: memory O(batch · (width + strip)).</summary>
public static class ClipLoss
{
    /// <summary>Logits of a strip, and the least images of one: what a core's cache holds, and enough work for a launch at any batch size.</summary>
    private const int StripElements = 1 << 20, LeastStrip = 64;

    /// <summary>Mean of the cross-entropies of e^logitScale · image · textᵀ over its rows and over its columns, targets on the diagonal.</summary>
    /// <param name="image">[batch, width], of unit length.</param>
    /// <param name="text">[batch, width], of unit length.</param>
    /// <param name="logitScale">A parameter of shape [].</param>
    /// <param name="keys">[2, batch] of integers: pairs whose images (first row) or whose texts (second row) have equal keys are no negatives of each other. Null: all others are negatives.</param>
    /// <returns>A tensor of shape [].</returns>
    public static Tensor Forward(Tape tape, Tensor image, Tensor text, Tensor logitScale, Tensor? keys = null) =>
        Forward(tape, image, text, logitScale, keys, Math.Max(LeastStrip, StripElements / Math.Max(1, image.Shape[0])));

    /// <summary>The same with a given number of images a strip.</summary>
    internal static Tensor Forward(Tape tape, Tensor image, Tensor text, Tensor logitScale, Tensor? keys, int strip)
    {
        if (image.Shape is not [var batch, var width]) throw new ArgumentException($"image has shape {image.ShapeText}, expected [batch, width].", nameof(image));
        Shapes.Require(text, nameof(text), batch, width);
        Shapes.Require(logitScale, nameof(logitScale));
        if (keys is not null) Shapes.Require(keys, nameof(keys), 2, batch);
        strip = Math.Min(batch, strip);
        var device = tape.Device;
        var loss = tape.Allocate();
        var imageLse = tape.AllocateScratch(DataType.Float32, batch);
        var textLse = tape.AllocateScratch(DataType.Float32, batch);
        var diagonal = tape.AllocateScratch(DataType.Float32, batch);
        var total = tape.AllocateScratch(DataType.Float32, batch);
        ForEachStrip((product, first, rows) =>
        {
            device.Kernel("cliploss_rows").Launch(
                Shapes.Ceiling(rows, 4), 128, imageLse, diagonal, product, logitScale, first, rows, batch);
            device.Kernel("cliploss_columns").Launch(
                Shapes.Ceiling(batch, 32), 128, textLse, total, product, logitScale, first, rows, batch);
        });
        device.Kernel("cliploss_finish").Launch(1, 128, loss, imageLse, textLse, diagonal, batch);
        tape.Record(loss, () =>
        {
            var dloss = tape.GradientOf(loss);
            var (dimage, dtext) = (tape.GradientTarget(image), tape.GradientTarget(text));
            // The gradient of the scale is made with the logits', whether or not anybody needs the embeddings'.
            var partial = tape.AllocateScratch(DataType.Float32, batch);
            ForEachStrip((product, first, rows) =>
            {
                device.Kernel("cliploss_gradient").Launch(
                    Shapes.Ceiling(rows, 4), 128, product.Updated, partial, imageLse, textLse, logitScale, dloss, first, rows, batch);
                if (dimage is not null)
                    device.Gemm(new(rows, width, batch, new(product.Data, batch), new(text.Data, width), new(Rows(dimage, first), width)));
                if (dtext is not null)
                {
                    device.Gemm(new(batch, width, rows, new(product.Data, batch, Transposed: true), new(Rows(image, first), width), new(dtext.Data, width),
                        Beta: first == 0 ? 0 : 1));
                }
            });
            device.Kernel("cliploss_gradient_scale").Launch(1, 128, logitScale.Gradient!.Updated, partial, batch);
        });
        return loss;

        // The products of each strip of images with all texts, [rows, batch].
        void ForEachStrip(Action<Tensor, int, int> body)
        {
            var product = tape.AllocateScratch(DataType.Float32, strip, batch);
            for (int first = 0; first < batch; first += strip)
            {
                int rows = Math.Min(strip, batch - first);
                device.Gemm(new(rows, batch, width, new(Rows(image, first), width), new(text.Data, width, Transposed: true), new(product.Data, batch)));
                if (keys is not null)
                {
                    device.Kernel("cliploss_mask").Launch(
                        Shapes.Ceiling(rows, 4), 128, product.Updated, keys, keys.Data + sizeof(int) * (long)batch, first, rows, batch);
                }
                body(product, first, rows);
            }
            tape.Release(product);
        }

        DevicePointer Rows(Tensor tensor, int first) => tensor.Data + sizeof(float) * (long)first * width;
    }

    /// <summary>Keeps the scale within [0, ln 100], in place.</summary>
    public static void ClampLogitScale(Tensor logitScale)
    {
        Shapes.Require(logitScale, nameof(logitScale));
        logitScale.Device.Kernel("cliploss_clamp_scale").Launch(1, 128, logitScale.Updated);
    }
}
