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
    public void A_folder_is_flushed_where_that_can_be_done()
    {
        Assert.That(AtomicFile.FlushParent(_path));
        Assert.That(AtomicFile.FlushParent("file beside the process"));
        string gone = Path.Combine(_path, "no", "such", "folder");
        Assert.That(AtomicFile.FlushParent(gone), Is.EqualTo(OperatingSystem.IsWindows()));
    }

    /// <summary>It may be written to, so the file is there; whether it can be flushed depends on who asks.</summary>
    [Test]
    public void A_folder_that_cannot_be_read_takes_files_all_the_same()
    {
        if (OperatingSystem.IsWindows()) return;
        string folder = Path.GetDirectoryName(_path)!;
        var mode = File.GetUnixFileMode(folder);
        File.SetUnixFileMode(folder, UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        try
        {
            AtomicFile.Write(_path, stream => stream.WriteByte(3));
        }
        finally
        {
            File.SetUnixFileMode(folder, mode);
        }
        Assert.That(File.ReadAllBytes(_path), Is.EqualTo(new byte[] { 3 }));
    }

    [Test]
    public void A_folder_is_moved_whole()
    {
        string folder = Path.GetDirectoryName(_path)!;
        Directory.CreateDirectory(Path.Combine(folder, "unfinished"));
        File.WriteAllText(Path.Combine(folder, "unfinished", "x"), "y");
        AtomicFile.MoveFolder(Path.Combine(folder, "unfinished"), Path.Combine(folder, "whole"));
        Assert.That(File.ReadAllText(Path.Combine(folder, "whole", "x")), Is.EqualTo("y"));
        Assert.That(Directory.Exists(Path.Combine(folder, "unfinished")), Is.False);
    }

    [Test]
    public void A_write_that_succeeds_replaces_the_old_file()
    {
        AtomicFile.Write(_path, stream => stream.Write(new byte[100]));
        AtomicFile.Write(_path, stream => stream.WriteByte(2));
        Assert.That(File.ReadAllBytes(_path), Is.EqualTo(new byte[] { 2 }));
    }
}
