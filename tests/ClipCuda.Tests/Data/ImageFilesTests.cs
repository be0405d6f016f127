using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class ImageFilesTests
{
    [Test]
    public void Finds_images_below_a_folder_by_name_in_order()
    {
        using var folder = new TemporaryFolder();
        foreach (string name in new[] { "b.png", "a.JPG", "sub/c.webp", "sub/d.bmp", "e.gif", "f.jpeg", "notes.txt", "png" }) folder.Write(name, "x");
        string[] expected = [.. new[] { "a.JPG", "b.png", "e.gif", "f.jpeg", "sub/c.webp", "sub/d.bmp" }.Select(folder.At)];
        Assert.That(ImageFiles.Find(folder.Path), Is.EqualTo(expected));
    }

    [Test]
    public void No_folder_and_no_image_are_errors()
    {
        using var folder = new TemporaryFolder();
        folder.Write("notes.txt", "x");
        Assert.That(() => ImageFiles.Find(folder.Path), Throws.TypeOf<FileNotFoundException>().With.Message.Contains(folder.Path).And.Message.Contains(".png"));
        Assert.That(() => ImageFiles.Find(folder.At("nowhere")), Throws.TypeOf<DirectoryNotFoundException>().With.Message.Contains("nowhere"));
    }
}
