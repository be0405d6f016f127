using ClipCuda.Data;
using ClipCuda.Ops;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class PixelInputTests
{
    private static readonly ImageSlot Slot = new(Offset: 700, Width: 30, Height: 20, CropX: 3, CropY: 2, CropWidth: 12, CropHeight: 10);

    [Test]
    public void A_crop_is_the_loaders_rectangle_made_square() =>
        Assert.That(PixelInput.Place(Slot, 8, ImageFit.Crop), Is.EqualTo(new PreprocessImage(700, 30, 20, 3, 2, 12, 10, 8, 8, 0, 0)));

    [Test]
    public void The_centre_is_that_of_the_whole_image_whatever_was_drawn() =>
        Assert.That(PixelInput.Place(Slot, 8, ImageFit.Centre), Is.EqualTo(new PreprocessImage(700, 30, 20, 0, 0, 30, 20, 12, 8, 2, 0)));

    [Test]
    public void What_was_drawn_for_the_pixels_reaches_the_kernels()
    {
        var draw = new PixelDraw(Flip: true, Gray: true, Jitter: true, Order: 27, Brightness: 0.5f, Contrast: 1.5f, Saturation: 0.25f, Hue: -0.1f);
        Assert.That(PixelInput.Place(Slot with { Pixels = draw }, 8, ImageFit.Crop).Flip, Is.True);
        Assert.That(PixelInput.Change(draw), Is.EqualTo(new ColourChange(true, 27, 0.5f, 1.5f, 0.25f, -0.1f, true)));
    }
}
