using System.Buffers;
using ClipCuda.Data;
using ClipCuda.Ops;

namespace ClipCuda.Training;

/// <summary>How an image becomes a square of pixels.</summary>
public enum ImageFit
{
    /// <summary>Its shorter side is resized, then the centre is cut out: evaluation, and training without augmentation.</summary>
    Centre,

    /// <summary>The rectangle that the loader drew is resized.</summary>
    Crop,
}

/// <summary>Where Data's batches meet the ops: the host's images become normalised pixels on the device.</summary>
internal static class PixelInput
{
    /// <summary>Pixels [n, 3, size, size] on the tape, for <see cref="Preprocess"/> of that size.</summary>
    public static Tensor Run(Tape tape, Preprocess preprocess, ReadOnlySpan<byte> rgb, ReadOnlySpan<ImageSlot> images, int size, ImageFit fit)
    {
        var pixels = tape.AllocateScratch(DataType.Float32, images.Length, 3, size, size);
        Run(pixels, preprocess, rgb, images, size, fit);
        return pixels;
    }

    /// <param name="pixels">[n, 3, size, size], overwritten.</param>
    public static void Run(Tensor pixels, Preprocess preprocess, ReadOnlySpan<byte> rgb, ReadOnlySpan<ImageSlot> images, int size, ImageFit fit)
    {
        var rented = ArrayPool<PreprocessImage>.Shared.Rent(images.Length);
        var places = rented.AsSpan(0, images.Length);
        bool anyChange = false;
        for (int i = 0; i < images.Length; i++)
        {
            places[i] = Place(images[i], size, fit);
            anyChange |= images[i].Pixels.Jitter || images[i].Pixels.Gray;
        }
        var changes = anyChange ? new ColourChange[images.Length] : [];
        for (int i = 0; i < changes.Length; i++) changes[i] = Change(images[i].Pixels);
        preprocess.Run(rgb, places, pixels, changes);
        ArrayPool<PreprocessImage>.Shared.Return(rented);
    }

    internal static ColourChange Change(in PixelDraw draw) => new(draw.Jitter, draw.Order, draw.Brightness, draw.Contrast, draw.Saturation, draw.Hue, draw.Gray);

    internal static PreprocessImage Place(in ImageSlot image, int size, ImageFit fit) =>
        (fit == ImageFit.Centre
            ? PreprocessImage.Centre(image.Offset, image.Width, image.Height, size)
            : PreprocessImage.Crop(image.Offset, image.Width, image.Height, image.CropX, image.CropY, image.CropWidth, image.CropHeight, size)) with
        { Flip = image.Pixels.Flip };
}
