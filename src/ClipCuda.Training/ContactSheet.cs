using ClipCuda.Data;
using ClipCuda.Model;
using SkiaSharp;

namespace ClipCuda.Training;

/// <summary>A line of text below an image, with a bar behind it.</summary>
/// <param name="Share">How long the bar is, from 0 to 1.</param>
/// <param name="Right">Whether it is known to be right (green bar and text) or wrong (red); null if neither.</param>
public sealed record SheetLine(string Text, double Share, bool? Right = null);

/// <summary>An image with the lines below it, at least one.</summary>
public sealed record SheetImage(ImagePlace Image, IReadOnlyList<SheetLine> Lines);

/// <summary>
/// Draws images as a grid into a PNG file: each with its file's name and lines of text, a bar as long as its share behind each.
/// </summary>
public static class ContactSheet
{
    // Pixels. A cell is an image's square with lines of text below it.
    private const int Margin = 24, Gap = 16, CellWidth = 200, Picture = 168, Inset = (CellWidth - Picture) / 2, NameHeight = 22, LineHeight = 22, HeaderHeight = 62;
    private const int MostColumns = 6, LeastColumns = 2;

    private static readonly SKColor Background = new(0xF4, 0xF5, 0xF7), Card = SKColors.White, Ink = new(0x1F, 0x24, 0x2B), Faint = new(0x6B, 0x74, 0x80);
    private static readonly SKColor Bar = new(0xD6, 0xE4, 0xFA), RightBar = new(0xC4, 0xEB, 0xCD), WrongBar = new(0xFA, 0xD3, 0xCF);
    private static readonly SKColor RightInk = new(0x1A, 0x7F, 0x37), WrongInk = new(0xB4, 0x2B, 0x20);

    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Write(string path, string title, string subtitle, IReadOnlyList<SheetImage> images)
    {
        int columns = Math.Clamp((int)Math.Ceiling(Math.Sqrt(images.Count)), LeastColumns, MostColumns), rows = (images.Count + columns - 1) / columns;
        int cellHeight = Picture + 2 * Inset + NameHeight + LineHeight * images.Max(image => image.Lines.Count) + 4;
        var size = new SKImageInfo(
            2 * Margin + columns * (CellWidth + Gap) - Gap, 2 * Margin + HeaderHeight + rows * (cellHeight + Gap) - Gap, SKColorType.Rgba8888, SKAlphaType.Opaque);
        using var font = SKTypeface.FromFile(Path.Combine(DataFolder.Find(), DataFolder.Font)) ?? throw new InvalidDataException($"'{DataFolder.Font}' in the data folder is no font; restore it.");
        using var surface = SKSurface.Create(size) ?? throw new InvalidOperationException($"There is no memory for a picture of {size.Width} x {size.Height} pixels.");
        var drawing = new Drawing(surface.Canvas, font);
        surface.Canvas.Clear(Background);
        drawing.Text(title, Margin, Margin + 24, size.Width - 2 * Margin, 24, Ink);
        drawing.Text(subtitle, Margin, Margin + 46, size.Width - 2 * Margin, 13, Faint);
        for (int i = 0; i < images.Count; i++)
            drawing.Cell(images[i], Margin + i % columns * (CellWidth + Gap), Margin + HeaderHeight + i / columns * (cellHeight + Gap), cellHeight);
        using var snapshot = surface.Snapshot();
        using var png = snapshot.Encode(SKEncodedImageFormat.Png, 100);
        AtomicFile.Write(path, png.SaveTo);
    }

    private sealed class Drawing(SKCanvas canvas, SKTypeface typeface)
    {
        private const string Ellipsis = "…";

        public void Cell(SheetImage image, int x, int y, int height)
        {
            using (var card = new SKPaint { Color = Card, IsAntialias = true }) canvas.DrawRoundRect(x, y, CellWidth, height, 8, 8, card);
            Image(image.Image, new SKRect(x + Inset, y + Inset, x + Inset + Picture, y + Inset + Picture));
            int top = y + 2 * Inset + Picture - 6;
            Text(Path.GetFileName(image.Image.Name), x + Inset, top + 14, Picture, 12, Faint);
            top += NameHeight;
            foreach (var line in image.Lines)
            {
                bool first = ReferenceEquals(line, image.Lines[0]);
                var color = line.Right is { } right ? right ? RightBar : WrongBar : Bar;
                using (var bar = new SKPaint { Color = color, IsAntialias = true })
                    canvas.DrawRoundRect(x + Inset - 4, top, Math.Max(4, (float)line.Share * (Picture + 8)), LineHeight - 4, 3, 3, bar);
                string percent = $"{line.Share:0 %}";
                float percentWidth = Width(percent, 13);
                Text(percent, x + Inset + Picture - percentWidth, top + 14, percentWidth + 1, 13, first ? Ink : Faint);
                Text(line.Text, x + Inset, top + 14, Picture - percentWidth - 8, 13, line.Right is { } mark ? mark ? RightInk : WrongInk : first ? Ink : Faint);
                top += LineHeight;
            }
        }

        /// <summary>Draws text with its baseline at y; what is wider than there is room ends in an ellipsis.</summary>
        public void Text(string text, float x, float y, float room, float size, SKColor color)
        {
            if (Width(text, size) > room)
            {
                while (text.Length > 0 && Width(text + Ellipsis, size) > room) text = text[..^1];
                text = text.TrimEnd() + Ellipsis;
            }
            using var font = new SKFont(typeface, size) { Subpixel = true };
            using var paint = new SKPaint { Color = color, IsAntialias = true };
            canvas.DrawText(text, x, y, SKTextAlign.Left, font, paint);
        }

        private float Width(string text, float size)
        {
            using var font = new SKFont(typeface, size) { Subpixel = true };
            return font.MeasureText(text);
        }

        /// <summary>Draws a whole image file as large as fits into the middle of a square, as the model saw it: without transparency.</summary>
        private void Image(ImagePlace place, SKRect square)
        {
            var decoded = ImageDecoder.Decode(place);
            using var bitmap = new SKBitmap(new SKImageInfo(decoded.Width, decoded.Height, SKColorType.Rgba8888, SKAlphaType.Opaque));
            var pixels = bitmap.GetPixelSpan();
            for (int from = 0, to = 0; from < decoded.Pixels.Length; from += 3, to += 4)
            {
                decoded.Pixels.AsSpan(from, 3).CopyTo(pixels[to..]);
                pixels[to + 3] = byte.MaxValue;
            }
            using var image = SKImage.FromBitmap(bitmap);
            canvas.DrawImage(image, square.AspectFit(new SKSize(decoded.Width, decoded.Height)), new SKSamplingOptions(SKCubicResampler.Mitchell));
        }
    }
}
