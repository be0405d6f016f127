namespace ClipCuda.Tests;

/// <summary>The layout that lets an op be added in three files: what belongs together is found by name alone.</summary>
public sealed class LayoutTests
{
    internal static readonly string Root = FindRoot();

    private static IEnumerable<string> KernelSources() =>
        Directory.EnumerateFiles(Path.Combine(Root, "kernels"), "*.cu").Select(path => Path.GetFileNameWithoutExtension(path)!).Order(StringComparer.Ordinal);

    [Test]
    public void Every_kernel_source_has_its_op_its_test_and_its_ptx()
    {
        var ops = FileNames("src/ClipCuda.Ops", "*.cs", "");
        var tests = FileNames("tests/ClipCuda.Tests/Ops", "*Tests.cs", "Tests");
        var ptx = FileNames("kernels/ptx", "*.ptx", ".sm_75");
        foreach (string kernel in KernelSources())
        {
            Assert.That(ops, Does.Contain(kernel), $"kernels/{kernel}.cu has no op in src/ClipCuda.Ops");
            Assert.That(tests, Does.Contain(kernel), $"kernels/{kernel}.cu has no test in tests/ClipCuda.Tests/Ops");
            Assert.That(ptx, Does.Contain(kernel), $"kernels/{kernel}.cu has no PTX; run ./build.sh kernels");
        }
        Assert.That(ptx, Is.SubsetOf(KernelSources()), "PTX whose source is gone");
    }

    private static HashSet<string> FileNames(string folder, string pattern, string suffix)
    {
        string path = Path.Combine(Root, folder);
        return Directory.Exists(path)
            ? [.. Directory.EnumerateFiles(path, pattern).Select(file => Path.GetFileNameWithoutExtension(file)![..^suffix.Length].ToLowerInvariant())]
            : [];
    }

    private static string FindRoot()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "ClipCuda.sln"))) return folder.FullName;
        }
        throw new DirectoryNotFoundException("ClipCuda.sln is in no parent folder of the tests.");
    }
}
