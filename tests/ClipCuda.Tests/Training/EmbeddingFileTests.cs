using System.Runtime.InteropServices;
using ClipCuda.Model;
using ClipCuda.Tests.Data;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class EmbeddingFileTests : FolderTests
{
    private static readonly string[] Items = ["/a/ä.png", "/a/\"b\".png", "/a/bad.png", "/a/c.png"];
    private static readonly float[] Rows = [1, 2, 3, 4, 5, 6];

    [Test]
    public void Holds_the_rows_and_says_of_what_they_are([Values("e.safetensors", "e.npy")] string name)
    {
        string output = Folder.At(name);
        using (var file = new EmbeddingFile(output, "image_embeds", width: 2, "run"))
        {
            file.Add(Rows.AsSpan(0, 4), done: 2, skipped: []);
            file.Add(Rows.AsSpan(4), done: 4, skipped: [2]);
            file.Complete(Items, "image_path");
            Assert.That((file.Rows, file.Skipped), Is.EqualTo((3L, new[] { 2 })));
        }
        Assert.That(ReadRows(output), Is.EqualTo(Rows));
        Assert.That(File.ReadAllText(output + ".jsonl"), Is.EqualTo("{\"image_path\":\"/a/ä.png\"}\n{\"image_path\":\"/a/\\\"b\\\".png\"}\n{\"image_path\":\"/a/c.png\"}\n"));
        Assert.That(Directory.GetFiles(Folder.Path), Has.Length.EqualTo(2), "nothing partial is left");
    }

    [Test]
    public void Goes_on_where_a_run_was_cut()
    {
        string output = Folder.At("e.npy");
        using (var file = new EmbeddingFile(output, "image_embeds", width: 2, "run")) file.Add(Rows.AsSpan(0, 4), done: 3, skipped: [2]);
        // A cut in the middle of the next batch: rows that no line of the books speaks of, and half a line.
        File.AppendAllText(output + ".partial", "half");
        File.AppendAllText(output + ".partial.jsonl", "{\"Done\":4,");
        using (var file = new EmbeddingFile(output, "image_embeds", width: 2, "run"))
        {
            Assert.That((file.Done, file.Rows, file.Skipped), Is.EqualTo((3, 2L, new[] { 2 })));
            file.Add(Rows.AsSpan(4), done: 4, skipped: []);
            file.Complete(Items, "image_path");
        }
        Assert.That(ReadRows(output), Is.EqualTo(Rows));
    }

    [Test]
    public void What_another_run_began_is_not_touched()
    {
        string output = Folder.At("e.npy");
        using (var file = new EmbeddingFile(output, "image_embeds", width: 2, "run")) file.Add(Rows, done: 3, skipped: []);
        Assert.That(() => new EmbeddingFile(output, "image_embeds", width: 2, "another"), Throws.TypeOf<IOException>().With.Message.Contains("e.npy.partial.jsonl").And.Message.Contains("another model"));
        using (var file = new EmbeddingFile(output, "image_embeds", width: 2, "run")) Assert.That(file.Rows, Is.EqualTo(3));
        File.WriteAllText(output + ".partial", "lost");
        Assert.That(() => new EmbeddingFile(output, "image_embeds", width: 2, "run"), Throws.TypeOf<IOException>().With.Message.Contains("shorter"));
        File.WriteAllText(output + ".partial.jsonl", "no json\n");
        Assert.That(() => new EmbeddingFile(output, "image_embeds", width: 2, "run"), Throws.TypeOf<InvalidDataException>().With.Message.Contains("damaged"));
    }

    [Test]
    public void Bad_names_are_refused()
    {
        Assert.That(() => EmbeddingFile.CheckName(Folder.At("e.txt")), Throws.ArgumentException.With.Message.Contains(".safetensors").And.Message.Contains(".npy"));
        Assert.That(() => EmbeddingFile.CheckName(Folder.At("nowhere/e.npy")), Throws.TypeOf<DirectoryNotFoundException>().With.Message.Contains("nowhere"));
        Assert.That(() => EmbeddingFile.CheckName(Folder.Write("e.npy", "x")), Throws.TypeOf<IOException>().With.Message.Contains("exists already"));
    }

    private static float[] ReadRows(string path)
    {
        if (path.EndsWith(".safetensors", StringComparison.Ordinal))
        {
            var file = SafetensorsFile.Open(path);
            Assert.That(file["image_embeds"].Shape, Is.EqualTo(new[] { 3, 2 }));
            return file.ReadFloats("image_embeds");
        }
        byte[] bytes = File.ReadAllBytes(path);
        Assert.That(System.Text.Encoding.ASCII.GetString(bytes), Does.Contain("'shape': (3, 2)"));
        return MemoryMarshal.Cast<byte, float>(bytes.AsSpan(10 + bytes[8] + 256 * bytes[9])).ToArray();
    }
}
