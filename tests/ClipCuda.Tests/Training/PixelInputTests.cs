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
}
