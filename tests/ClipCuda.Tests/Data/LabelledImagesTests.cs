using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class LabelledImagesTests : FolderTests
{
    private static readonly CsvOptions Kind = new() { CaptionColumn = "kind" };

    [Test]
    public void A_tree_has_a_class_a_folder()
    {
        foreach (string name in new[] { "tree/polar_bear/2.png", "tree/polar_bear/1.png", "tree/cat/x/3.png", "tree/stray.png" }) Folder.Write(name, "x");
        var images = LabelledImages.OfFolders(Folder.At("tree"));
        Assert.That(images.Classes, Is.EqualTo(new[] { "cat", "polar bear" }));
        Assert.That(images.Images.Select(image => image.Name), Is.EqualTo(new[] { Folder.At("tree/cat/x/3.png"), Folder.At("tree/polar_bear/1.png"), Folder.At("tree/polar_bear/2.png") }));
        Assert.That(images.Labels, Is.EqualTo(new[] { 0, 1, 1 }));
        Assert.That(LabelledImages.OfFolders(Folder.At("tree"), ["house cat", "bear"]).Classes, Is.EqualTo(new[] { "house cat", "bear" }));
        Assert.That(() => LabelledImages.OfFolders(Folder.At("tree"), ["one"]), Throws.ArgumentException.With.Message.Contains("1 class names for the 2 folders"));
    }

    [Test]
    public void A_tree_without_folders_or_a_class_without_images_is_an_error()
    {
        Folder.Write("flat/a.png", "x");
        Folder.Write("empty/cat/readme.txt", "x");
        Assert.That(() => LabelledImages.OfFolders(Folder.At("flat")), Throws.TypeOf<DirectoryNotFoundException>().With.Message.Contains("no folders"));
        Assert.That(() => LabelledImages.OfFolders(Folder.At("empty")), Throws.TypeOf<FileNotFoundException>().With.Message.Contains("cat"));
        Assert.That(() => LabelledImages.OfFolders(Folder.At("nowhere")), Throws.TypeOf<DirectoryNotFoundException>().With.Message.Contains("nowhere"));
    }

    [Test]
    public void A_csv_file_has_a_column_of_labels()
    {
        Folder.Write("a.png", "x");
        Folder.Write("b.png", "x");
        string csv = Folder.Write("labels.csv", "image_path,kind\nb.png,dog\ngone.png,cow\na.png, cat \nb.png,dog\n");
        var images = LabelledImages.OfCsv(csv, Kind);
        Assert.That((images.Classes, images.Labels), Is.EqualTo((new[] { "cat", "dog" }, new[] { 1, 0 })));
        Assert.That(images.Images.Select(image => Path.GetFileName(image.Name)), Is.EqualTo(new[] { "b.png", "a.png" }));
        Assert.That(images.Missing.Select(image => image.Line), Is.EqualTo(new[] { 3 }));
        Assert.That(LabelledImages.OfCsv(csv, Kind, ["zebra", "dog", "cat"]).Labels, Is.EqualTo(new[] { 1, 2 }));
    }

    [Test]
    public void Labels_that_contradict_or_are_unknown_are_errors_that_name_the_line()
    {
        Folder.Write("a.png", "x");
        string two = Folder.Write("two.csv", "image_path,kind\na.png,dog\na.png,cat\n"), one = Folder.Write("one.csv", "image_path,kind\na.png,dog\n");
        Assert.That(() => LabelledImages.OfCsv(two, Kind), Throws.TypeOf<InvalidDataException>().With.Message.Contains("line 3").And.Message.Contains("'cat'").And.Message.Contains("'dog'"));
        Assert.That(() => LabelledImages.OfCsv(one, Kind, ["cat"]), Throws.TypeOf<InvalidDataException>().With.Message.Contains("line 2").And.Message.Contains("'dog'"));
        Assert.That(() => LabelledImages.OfCsv(one, Kind, ["dog", "dog"]), Throws.ArgumentException.With.Message.Contains("twice"));
        Assert.That(() => LabelledImages.OfCsv(one, new CsvOptions { CaptionColumn = "label" }), Throws.TypeOf<InvalidDataException>().With.Message.Contains("'label'"));
    }

    /// <summary>Of a long file, later images are looked at when they are read: so are those that become links after the check.</summary>
    [Test]
    public void A_link_out_of_the_root_is_found_when_it_is_read()
    {
        string outside = Folder.WriteImage("outside.png", 3, 3), inside = Folder.WriteImage("root/a.png", 3, 3);
        Folder.WriteImage("root/b.png", 3, 3);
        string csv = Folder.Write("root/labels.csv", "image_path,kind\na.png,dog\nb.png,cat\n");
        var images = LabelledImages.OfCsv(csv, Kind);
        var all = LabelledImages.OfCsv(csv, Kind with { AllowOutside = true });
        File.Delete(inside);
        File.CreateSymbolicLink(inside, outside);
        var loader = new ImageLoader(images.Images, batchSize: 2, workers: 0);
        Assert.That(loader.Batches().Single().SampleIndices.ToArray(), Is.EqualTo(new[] { 1 }));
        Assert.That(loader.Unreadable.Single().Reason, Does.Contain("a.png").And.Contain("leads out of the image root"));
        Assert.That(new ImageLoader(all.Images, batchSize: 2, workers: 0).Batches().Single().Count, Is.EqualTo(2));
        Assert.That(() => new ImageLoader(images.Images, batchSize: 2, workers: 0, strict: true).Batches().Count(), Throws.TypeOf<InvalidDataException>().With.Message.Contains("a.png"));
    }

    [Test]
    public void Shards_have_labels_by_name_or_by_number()
    {
        byte[] image = File.ReadAllBytes(Folder.WriteImage("x.png", 5, 5));
        string named = Folder.WriteTar("named.tar", ("0.png", image), ("0.cls", "dog\n"u8.ToArray()), ("1.png", image), ("1.txt", "a cat"u8.ToArray()), ("2.cls", " cat"u8.ToArray()), ("2.png", image));
        var images = LabelledImages.Open(named, null, new CsvOptions(), null);
        Assert.That((images.Classes, images.Labels), Is.EqualTo((new[] { "cat", "dog" }, new[] { 1, 0 })));
        Assert.That(images.Images.Select(place => place.Name), Is.EqualTo(new[] { $"{named}/0.png", $"{named}/2.png" }));
        Assert.That(images.Missing.Single().Reason, Does.Contain("'1' has no label (.cls, or .json with cls)"));
        Assert.That(new ImageLoader(images.Images, batchSize: 2).Batches().Single().Count, Is.EqualTo(2));
        Assert.That(() => LabelledImages.OfShards(named, "cls", strict: true), Throws.TypeOf<InvalidDataException>().With.Message.Contains("entry 3 of 'named.tar'"));
        Assert.That(() => LabelledImages.OfShards(named, "cls", names: ["cat"]), Throws.TypeOf<InvalidDataException>().With.Message.Contains("entry 1 of 'named.tar'").And.Message.Contains("'dog'"));

        string numbered = Folder.WriteTar("numbered.tar", ("0.png", image), ("0.cls", " 2\n"u8.ToArray()), ("1.png", image), ("1.json", "{\"cls\": 0, \"kind\": \"bear\"}"u8.ToArray()));
        Assert.That(LabelledImages.OfShards(numbered, "cls", names: ["a", "b", "c"]).Labels, Is.EqualTo(new[] { 2, 0 }));
        Assert.That(LabelledImages.Open(numbered, "kind", new CsvOptions(), null).Classes, Is.EqualTo(new[] { "bear" }));
        Assert.That(() => LabelledImages.OfShards(numbered, "cls"), Throws.TypeOf<InvalidDataException>().With.Message.Contains("numbers").And.Message.Contains("--zeroshot-classes"));
        Assert.That(() => LabelledImages.OfShards(numbered, "cls", names: ["a", "b"]), Throws.TypeOf<InvalidDataException>().With.Message.Contains("entry 1 of 'numbered.tar'").And.Message.Contains("no class 2"));
    }
}
