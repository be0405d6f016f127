using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class TextLinesTests
{
    [Test]
    public void Gives_lines_without_empty_ones()
    {
        using var folder = new TemporaryFolder();
        Assert.That(TextLines.Read(folder.Write("a.txt", "\uFEFFcat\r\n\r\n  Übung \nlast"), "classes"), Is.EqualTo(new[] { "cat", "Übung", "last" }));
    }

    [Test]
    public void Bad_files_are_named()
    {
        using var folder = new TemporaryFolder();
        Assert.That(() => TextLines.Read(folder.At("gone.txt"), "classes"), Throws.TypeOf<FileNotFoundException>().With.Message.Contains("gone.txt").And.Message.Contains("classes"));
        Assert.That(() => TextLines.Read(folder.Write("empty.txt", " \n"), "classes"), Throws.TypeOf<InvalidDataException>().With.Message.Contains("empty.txt"));
        Assert.That(() => TextLines.Read(folder.Write("latin.txt", [0x63, 0xE9, 0x0A]), "classes"), Throws.TypeOf<InvalidDataException>().With.Message.Contains("latin.txt").And.Message.Contains("UTF-8"));
    }
}
