using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class CsvDatasetTests : FolderTests
{
    [SetUp]
    public void CreateFolder()
    {
        foreach (string name in new[] { "a.png", "b.png", "sub/c.png" }) Folder.Write(name, "not opened by the reader");
    }

    [Test]
    public void Reads_images_in_order_of_first_appearance_with_their_captions()
    {
        var data = Load("image_path,caption\nb.png,two\na.png,one\nb.png,zwei\nsub/c.png,three\n./b.png,deux\n");
        Assert.That(data.Samples.Select(sample => sample.Path), Is.EqualTo(new[] { Folder.At("b.png"), Folder.At("a.png"), Folder.At("sub/c.png") }));
        Assert.That(data.Samples[0].Rows, Is.EqualTo(new[] { 0, 2, 4 }));
        Assert.That(data.Rows, Is.EqualTo(new CaptionRow[] { new(0, "two", 2), new(1, "one", 3), new(0, "zwei", 4), new(2, "three", 5), new(0, "deux", 6) }));
        Assert.That(data.Skipped, Is.Empty);
        Assert.That(data.ImageRoot, Is.EqualTo(Folder.Path));
    }

    [Test]
    public void Columns_may_stand_in_any_order_among_others()
    {
        var data = Load("\uFEFFid, caption ,size,image_path\r\n1,\"a, \"\"b\"\"\",9,a.png\r\n2,,9,b.png\r\n");
        Assert.That(data.Rows, Is.EqualTo(new CaptionRow[] { new(0, "a, \"b\"", 2), new(1, "", 3) }));
    }

    [Test]
    public void Another_column_may_be_read_for_captions()
    {
        string csv = Folder.Write("data.csv", "image_path,title\na.png,one\n");
        Assert.That(CsvDataset.Load(csv, captionColumn: "title").Rows, Is.EqualTo(new CaptionRow[] { new(0, "one", 2) }));
        Assert.That(() => CsvDataset.Load(csv, captionColumn: "label"), Throws.TypeOf<InvalidDataException>().With.Message.Contains("no column 'label'"));
    }

    [Test]
    public void Lines_are_those_of_the_file_where_captions_have_several()
    {
        var data = Load("image_path,caption\na.png,\"one\ntwo\"\n\nb.png,three");
        Assert.That(data.Rows.Select(row => row.Line), Is.EqualTo(new[] { 2, 5 }));
        Assert.That(data.Rows[0].Caption, Is.EqualTo("one\ntwo"));
    }

    [Test]
    public void Finds_images_under_another_root_and_by_full_path()
    {
        string csv = Folder.Write("lists/train.csv", $"image_path,caption\nc.png,three\n{Folder.At("a.png")},one\n");
        var options = new CsvOptions { ImageRoot = Folder.At("sub") };
        var data = CsvDataset.Load(csv, options with { AllowOutside = true });
        Assert.That(data.Samples.Select(sample => sample.Path), Is.EqualTo(new[] { Folder.At("sub/c.png"), Folder.At("a.png") }));
        var inside = CsvDataset.Load(csv, options);
        Assert.That(inside.Samples.Select(sample => sample.Path), Is.EqualTo(new[] { Folder.At("sub/c.png") }));
        Assert.That(inside.Skipped.Single().Line, Is.EqualTo(3));
    }

    [TestCase("../a.png")]
    [TestCase("lists/../../a.png")]
    [TestCase("/etc/passwd")]
    public void A_path_that_leaves_the_root_is_refused_with_its_line(string path)
    {
        Folder.Write("root/b.png", "x");
        string csv = Folder.Write("train.csv", $"image_path,caption\nb.png,two\n{path},one\nsub/../b.png,inside\n");
        var data = CsvDataset.Load(csv, Folder.At("root"));
        Assert.That(data.Rows.Select(row => row.Caption), Is.EqualTo(new[] { "two", "inside" }));
        Assert.That(data.Samples, Has.Count.EqualTo(1));
        Assert.That(data.Skipped.Single(), Has.Property("Line").EqualTo(3).And.Property("Reason").Contains("--allow-outside"));
        Assert.That(() => CsvDataset.Load(csv, Folder.At("root"), strict: true), Throws.TypeOf<InvalidDataException>().With.Message.Contains("line 3").And.Message.Contains("outside"));
    }

    [Test]
    [Platform(Exclude = "Win", Reason = "links need a right of their own there")]
    public void A_link_that_leaves_the_root_is_refused_with_its_line()
    {
        Folder.Write("root/b.png", "x");
        File.CreateSymbolicLink(Folder.At("root/link.png"), Folder.At("a.png"));
        Directory.CreateSymbolicLink(Folder.At("root/way"), "../sub");
        string csv = Folder.Write("train.csv", "image_path,caption\nb.png,two\nlink.png,one\nway/c.png,three\n");
        var data = CsvDataset.Load(csv, Folder.At("root"));
        Assert.That(data.Rows.Select(row => row.Caption), Is.EqualTo(new[] { "two" }));
        Assert.That(data.Skipped.Select(row => row.Line), Is.EqualTo(new[] { 3, 4 }));
        Assert.That(data.Skipped.Select(row => row.Reason), Is.All.Contains("symbolic link").And.All.Contains("--allow-outside"));
        Assert.That(() => CsvDataset.Load(csv, Folder.At("root"), strict: true), Throws.TypeOf<InvalidDataException>().With.Message.Contains("line 3").And.Message.Contains("symbolic link"));
        Assert.That(CsvDataset.Load(csv, new CsvOptions { ImageRoot = Folder.At("root"), AllowOutside = true }).Rows, Has.Count.EqualTo(3));
    }

    [Test]
    public void Rows_that_cannot_be_used_are_skipped_and_listed_with_their_lines()
    {
        byte[] text = [.. "image_path,caption\r\na.png,one\r\n,two\r\na.png,x,y\r\nb.png\r\na.png,5\" wide\r\na.png,\"one\" or two\r\na.png,nul"u8, 0, .. "\r\na.png,"u8, 0xED, 0xA0, 0x80, .. "\r\nb.png,good\r\n"u8];
        var data = CsvDataset.Load(Folder.Write("train.csv", text));
        Assert.That(data.Rows, Is.EqualTo(new CaptionRow[] { new(0, "one", 2), new(1, "good", 10) }));
        Assert.That(data.Skipped.Select(row => row.Line), Is.EqualTo(new[] { 3, 4, 5, 6, 7, 8, 9 }));
        string[] reasons = ["is empty", "fields", "fields", "quote inside", "after the closing quote", "NUL", "surrogate"];
        for (int i = 0; i < reasons.Length; i++) Assert.That(data.Skipped[i].Reason, Does.Contain(reasons[i]));
        Assert.That(() => CsvDataset.Load(Folder.At("train.csv"), strict: true), Throws.TypeOf<InvalidDataException>().With.Message.Contains("line 3"));
    }

    [TestCase('\t')]
    [TestCase(';')]
    public void Another_separator_may_be_given_and_is_suggested(char separator)
    {
        string csv = Folder.Write("train.csv", "image_path,caption\na.png,one, two\n".Replace("h,c", $"h{separator}c").Replace("g,o", $"g{separator}o"));
        Assert.That(CsvDataset.Load(csv, new CsvOptions { Separator = separator }).Rows.Single().Caption, Is.EqualTo("one, two"));
        Assert.That(() => CsvDataset.Load(csv), Throws.TypeOf<InvalidDataException>().With.Message.Contains("--csv-separator"));
    }

    /// <summary>Texts fill several blocks of memory, and the index of paths grows.</summary>
    [Test]
    public void Many_rows_keep_their_texts_and_samples()
    {
        const int Rows = 30_000;
        string filler = new('x', 400);
        string csv = Folder.Write("train.csv", "image_path,caption\n" + string.Concat(Enumerable.Range(0, Rows).Select(i => $"sub/c.png,é {i} {filler}\nfar/{i % 20_000}.png,{i}\n")));
        Directory.CreateDirectory(Folder.At("far"));
        for (int i = 0; i < PairDataset.LookedAtFirst; i++) File.WriteAllBytes(Folder.At($"far/{i}.png"), []);
        var data = CsvDataset.Load(csv);
        // Files are looked for only among the first ten thousand; the last of these is one that was made for the test.
        Assert.That(data.Samples, Has.Count.EqualTo(1 + 20_000));
        Assert.That(data.Samples[0].Rows, Has.Count.EqualTo(Rows));
        foreach (int i in new[] { 0, 1, 10_239, 29_999 })
        {
            Assert.That(data.Rows[2 * i], Is.EqualTo(new CaptionRow(0, $"é {i} {filler}", 2 + 2 * i)));
            Assert.That(data.Rows[2 * i + 1], Is.EqualTo(new CaptionRow(1 + i % 20_000, $"{i}", 3 + 2 * i)));
            Assert.That(data.Samples[1 + i % 20_000].Path, Is.EqualTo(Folder.At($"far/{i % 20_000}.png")));
        }
    }

    /// <summary>Rows are taken some hundred at a time, by another thread than the one that parses.</summary>
    [Test]
    public void Rows_that_cannot_be_used_are_found_among_thousands()
    {
        const int Rows = 5_000, Interval = 701;
        string[] wrong = [",no path", "a.png,x,y", "../../a.png,outside", "a.png,nul\0", "a.png,5\" wide"];
        string csv = Folder.Write("train.csv", "image_path,caption\n" + string.Concat(Enumerable.Range(0, Rows).Select(i => (i % Interval == 600 ? wrong[i / Interval % wrong.Length] : i % 2 == 0 ? $"a.png,{i}" : $"./sub/../b.png,{i}") + "\n")));
        var data = CsvDataset.Load(csv);
        int[] left = [.. Enumerable.Range(0, Rows).Where(i => i % Interval == 600)];
        Assert.That(data.Skipped.Select(row => row.Line), Is.EqualTo(left.Select(i => i + 2)));
        Assert.That(data.Rows.Select(row => row.Line), Is.EqualTo(Enumerable.Range(0, Rows).Except(left).Select(i => i + 2)));
        Assert.That(data.Rows.Select(row => row.Caption), Is.EqualTo(data.Rows.Select(row => $"{row.Line - 2}")));
        Assert.That(data.Rows.Select(row => row.Sample), Is.EqualTo(data.Rows.Select(row => row.Line % 2)));
        Assert.That(() => CsvDataset.Load(csv, strict: true), Throws.TypeOf<InvalidDataException>().With.Message.Contains("line 602").And.Message.Contains("is empty"));
    }

    /// <summary>What the parser finds wrong on a line does not go before what is wrong with an earlier row, which another thread looks at.</summary>
    [Test]
    public void Strict_names_the_first_wrong_line()
    {
        string csv = Folder.Write("train.csv", "image_path,caption\na.png,one\na.png,nul\0\na.png,x,y\n");
        Assert.That(() => CsvDataset.Load(csv, strict: true), Throws.TypeOf<InvalidDataException>().With.Message.Contains("line 3").And.Message.Contains("NUL"));
    }

    [Test]
    public void Skips_and_lists_missing_images_once_each()
    {
        var data = Load("image_path,caption\nx.png,one\na.png,two\nx.png,three\ny.png,four\n");
        Assert.That(data.Rows, Is.EqualTo(new CaptionRow[] { new(0, "two", 3) }));
        Assert.That(data.Skipped, Is.EqualTo(new[] { Missing(2, "x.png"), Missing(5, "y.png") }));

        SkippedImage Missing(int line, string name) => new(line, Folder.At(name), $"Image '{Folder.At(name)}' does not exist.");
    }

    [Test]
    public void Strict_makes_a_missing_image_an_error()
    {
        string csv = Folder.Write("train.csv", "image_path,caption\na.png,two\nx.png,one\n");
        Assert.That(() => CsvDataset.Load(csv, strict: true), Throws.TypeOf<FileNotFoundException>().With.Message.Contains("line 3").And.Message.Contains("x.png"));
    }

    [Test]
    public void All_images_missing_is_an_error_that_names_the_first_and_the_root() =>
        Assert.That(
            () => Load("image_path,caption\nx.png,one\ny.png,two\n"),
            Throws.TypeOf<FileNotFoundException>().With.Message.Contains(Folder.At("x.png")).And.Message.Contains($"image root '{Folder.Path}'").And.Message.Contains("2 images"));

    [Test]
    public void A_missing_file_or_root_is_named()
    {
        Assert.That(() => CsvDataset.Load(Folder.At("none.csv")), Throws.TypeOf<FileNotFoundException>().With.Message.Contains(Folder.At("none.csv")));
        Assert.That(
            () => CsvDataset.Load(Folder.Write("train.csv", "image_path,caption\na.png,one\n"), Folder.At("none")),
            Throws.TypeOf<DirectoryNotFoundException>().With.Message.Contains(Folder.At("none")));
    }

    [TestCase("", "is empty")]
    [TestCase("\n\n", "is empty")]
    [TestCase("image_path,caption\n", "no rows")]
    [TestCase("image_path,text,id\na.png,b,c\n", "no column 'caption'; its columns are image_path, text, id")]
    [TestCase("filepath,caption\na.png,b\n", "no column 'image_path'")]
    [TestCase("image_path,caption,caption\na.png,b,c\n", "more than one column 'caption'")]
    [TestCase("image_path,caption\n,two\n", "none of its 1 rows can be used; the first, line 2: The field image_path is empty")]
    [TestCase("image_path,caption\na.png,a cat, a dog\n", "line 2: It has more or fewer fields")]
    [TestCase("image_path,caption\nb.png,5\" wide\n", "line 2: It has a quote inside")]
    [TestCase("image_path,caption\na.png,one\nb.png,\"never closed\na.png,x\n", "line 3: a quoted field is never closed")]
    public void Bad_content_is_one_line_with_file_and_place(string text, string message) =>
        Assert.That(
            () => Load(text),
            Throws.TypeOf<InvalidDataException>().With.Message.Contains(Folder.At("train.csv")).And.Message.Contains(message).And.Message.Not.Contains("\n"));

    [Test]
    public void A_file_whose_text_is_not_utf8_is_an_error()
    {
        string csv = Folder.Write("train.csv", [.. "image_path,caption\na.png,caf"u8, 0xE9, (byte)'\n']);
        Assert.That(() => CsvDataset.Load(csv), Throws.TypeOf<InvalidDataException>().With.Message.Contains(csv).And.Message.Contains("UTF-8"));
    }

    [Test]
    public void Reads_the_bundled_sample()
    {
        var train = CsvDataset.Load(Path.Combine(DataFolder.Find(), "emoji", "train.csv"), strict: true);
        var validation = CsvDataset.Load(Path.Combine(DataFolder.Find(), "emoji", "val.csv"), strict: true);
        Assert.That((train.Samples.Count, train.Rows.Count), Is.EqualTo((3155, 6068)));
        Assert.That((validation.Samples.Count, validation.Rows.Count), Is.EqualTo((1346, 1346)));
    }

    private CsvDataset Load(string text) => CsvDataset.Load(Folder.Write("train.csv", text));
}
