using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class DataFolderTests
{
    [Test]
    public void Is_found_from_where_the_tests_run()
    {
        string data = DataFolder.Find();
        Assert.That(File.Exists(Path.Combine(data, "emoji", "train.csv")));
    }

    [Test]
    public void The_variable_wins_over_the_executable_and_that_over_the_working_directory()
    {
        using var folder = new TemporaryFolder();
        string named = Create(folder, "named"), beside = Create(folder, "program/data"), above = Create(folder, "work/data");
        string program = Directory.CreateDirectory(folder.At("program/bin/net")).FullName, work = Directory.CreateDirectory(folder.At("work/deep/down")).FullName;
        string elsewhere = Directory.CreateDirectory(folder.At("elsewhere")).FullName;
        Assert.That(DataFolder.Find(named, program, work), Is.EqualTo(named));
        Assert.That(DataFolder.Find(null, program, work), Is.EqualTo(beside));
        Assert.That(DataFolder.Find("", elsewhere, work), Is.EqualTo(above));
    }

    [Test]
    public void A_variable_that_names_no_data_folder_is_an_error_and_not_passed_over()
    {
        using var folder = new TemporaryFolder();
        Create(folder, "data");
        Assert.That(
            () => DataFolder.Find(folder.At("nowhere"), folder.Path, folder.Path),
            Throws.TypeOf<DirectoryNotFoundException>().With.Message.Contains(folder.At("nowhere")).And.Message.Contains("CLIPCUDA_DATA"));
    }

    [Test]
    public void Names_where_it_looked_when_there_is_none()
    {
        using var folder = new TemporaryFolder();
        Directory.CreateDirectory(folder.At("data")); // a folder of that name without the merges does not count
        Assert.That(
            () => DataFolder.Find(null, folder.At("program"), folder.At("work")),
            Throws.TypeOf<DirectoryNotFoundException>().With.Message.Contains(folder.At("program")).And.Message.Contains(folder.At("work")).And.Message.Contains("CLIPCUDA_DATA"));
    }

    private static string Create(TemporaryFolder folder, string name)
    {
        folder.Write(name + "/bpe/clip_merges.txt", "#version: 0.2\n");
        return folder.At(name);
    }
}
