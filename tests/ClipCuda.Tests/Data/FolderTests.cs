namespace ClipCuda.Tests.Data;

/// <summary>Tests that each have a folder of their own.</summary>
public abstract class FolderTests
{
    private protected TemporaryFolder Folder { get; private set; } = null!;

    [SetUp]
    public void MakeFolder() => Folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => Folder.Dispose();
}
