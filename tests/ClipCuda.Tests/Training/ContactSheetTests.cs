using ClipCuda.Cli;
using ClipCuda.Tests.Data;
using ClipCuda.Training;
using SkiaSharp;

namespace ClipCuda.Tests.Training;

public sealed class ContactSheetTests
{
    private static readonly NamedPrediction[] Predictions = [new("cat", 0.3, 0.9), new("a name that is much too long for the width of one cell of a sheet", 0.1, 0.1)];

    private TemporaryFolder _folder = null!;
    private string _sheet = null!;

    [SetUp]
    public void SetUp() => (_folder, _sheet) = (new TemporaryFolder(), "");

    [TearDown]
    public void TearDown() => _folder.Dispose();

    [Test]
    public void Shows_images_text_and_bars_in_the_colours_of_right_and_wrong()
    {
        string picture = _folder.WriteImage("picture.png", 30, 60, red: 10, green: 20, blue: 230);
        using var sheet = Draw([new(picture, Predictions, "cat"), new(picture, Predictions, "dog"), new(picture, Predictions, null)]);
        var colours = Count(sheet);
        Assert.That(colours[new SKColor(10, 20, 230)], Is.GreaterThan(3 * 60 * 100), "three pictures, 84 x 168 pixels each");
        int right = colours[new SKColor(0xC4, 0xEB, 0xCD)], wrong = colours[new SKColor(0xFA, 0xD3, 0xCF)];
        Assert.That(right, Is.EqualTo(wrong), "bars of one length");
        Assert.That(right, Is.GreaterThan(1000));
        // The header's ink: without a font there is none.
        int ink = 0;
        for (int y = 24; y < 52; y++)
        {
            for (int x = 24; x < 300; x++)
            {
                if (sheet.GetPixel(x, y).Red < 0x80) ink++;
            }
        }
        Assert.That(ink, Is.InRange(100, 3000));
    }

    [Test]
    public void A_name_too_long_for_its_cell_does_not_leave_it()
    {
        string picture = _folder.WriteImage("picture.png", 30, 30);
        using var sheet = Draw([new(picture, Predictions, null), new(picture, Predictions, null)]);
        // The gap between the two cells.
        for (int y = 90; y < sheet.Height - 30; y++) Assert.That(sheet.GetPixel(24 + 200 + 8, y), Is.EqualTo(new SKColor(0xF4, 0xF5, 0xF7)));
    }

    [TestCase(1, 2, 1)]
    [TestCase(5, 3, 2)]
    [TestCase(100, 6, 17)]
    public void The_grid_grows_with_the_images(int images, int columns, int rows)
    {
        string picture = _folder.WriteImage("picture.png", 3, 3);
        using var one = Draw([new(picture, Predictions, null)]);
        using var sheet = Draw([.. Enumerable.Repeat(new ClassifiedImage(picture, Predictions, null), images)]);
        Assert.That(sheet.Width, Is.EqualTo(48 + columns * 216 - 16));
        Assert.That(sheet.Height, Is.EqualTo(one.Height + (rows - 1) * (one.Height - 48 - 62 + 16)));
    }

    private SKBitmap Draw(IReadOnlyList<ClassifiedImage> images)
    {
        _sheet = _folder.At("sheet.png");
        ContactSheet.Write(_sheet, "HHHHHHHHHHHH", "a checkpoint", [.. images.Select(image => image.OnSheet())]);
        return SKBitmap.Decode(_sheet);
    }

    private static Dictionary<SKColor, int> Count(SKBitmap bitmap) => bitmap.Pixels.CountBy(pixel => pixel).ToDictionary();
}
