using ClipCuda.Model;

namespace ClipCuda.Tests.Model;

public sealed class AtomicFileTests
{
    private string _path = "";

    [SetUp]
    public void MakeFolder() => _path = Path.Combine(Directory.CreateTempSubdirectory("clipcuda-").FullName, "file");

    [TearDown]
    public void DeleteFolder() => Directory.Delete(Path.GetDirectoryName(_path)!, recursive: true);

    [Test]
    public void A_write_that_fails_leaves_the_old_file_and_nothing_else()
    {
        AtomicFile.Write(_path, stream => stream.WriteByte(1));
        Assert.That(
            () => AtomicFile.Write(_path, stream =>
            {
                stream.WriteByte(2);
                throw new IOException("disk full");
            }),
            Throws.TypeOf<IOException>().With.Message.EqualTo("disk full"));
        Assert.That(File.ReadAllBytes(_path), Is.EqualTo(new byte[] { 1 }));
        Assert.That(Directory.GetFiles(Path.GetDirectoryName(_path)!), Has.Length.EqualTo(1));
    }

    [Test]
    public void A_write_that_succeeds_replaces_the_old_file()
    {
        AtomicFile.Write(_path, stream => stream.Write(new byte[100]));
        AtomicFile.Write(_path, stream => stream.WriteByte(2));
        Assert.That(File.ReadAllBytes(_path), Is.EqualTo(new byte[] { 2 }));
    }
}
