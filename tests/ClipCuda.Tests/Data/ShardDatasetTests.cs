using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class ShardDatasetTests : FolderTests
{
    private byte[] _image = null!;

    [SetUp]
    public void SetUp() => _image = File.ReadAllBytes(Folder.WriteImage("x.png", 5, 4, red: 9));

    [Test]
    public void Gives_samples_in_the_order_of_the_shards_with_all_their_captions()
    {
        string b = Folder.WriteTar("b.tar", ("0.png", _image), ("0.txt", "first\n"u8.ToArray()), ("1.png", _image), ("1.json", "{\"captions\": [\"two\", \"zwei\"]}"u8.ToArray()));
        string a = Folder.WriteTar("a.tar", ("0.txt", "é"u8.ToArray()), ("0.png", _image));
        var data = new ShardDataset($"{Folder.At("{b,a}.tar")}::{b}");
        Assert.That(data.Samples.Select(sample => sample.Path), Is.EqualTo(new[] { $"{b}/0.png", $"{b}/1.png", $"{a}/0.png" }));
        Assert.That(data.Rows, Is.EqualTo(new CaptionRow[] { new(0, "first", 1), new(1, "two", 3), new(1, "zwei", 3), new(2, "é", 2) }));
        Assert.That(data.Samples.Select(sample => sample.Rows), Is.EqualTo(new[] { [0], new[] { 1, 2 }, [3] }));
        Assert.That(data.PlaceOf(3), Is.EqualTo("entry 2 of 'a.tar'"));
        var image = ImageDecoder.Decode(data.Samples[2].Image);
        Assert.That((image.Width, image.Height, image.Pixels[0]), Is.EqualTo((5, 4, (byte)9)));
    }

    [Test]
    public void What_cannot_be_used_is_listed_or_with_strict_an_error()
    {
        string shard = Folder.WriteTar("a.tar", ("0.png", _image), ("1.png", _image), ("1.txt", "one"u8.ToArray()));
        var data = new ShardDataset(shard);
        Assert.That(data.Rows.Single().Caption, Is.EqualTo("one"));
        Assert.That((data.Skipped.Single().Place, data.Skipped.Single().Reason), Is.EqualTo(("entry 1 of 'a.tar'", "Sample '0' has no caption (.txt, or .json with caption or captions).")));
        Assert.That(() => new ShardDataset(shard, strict: true), Throws.TypeOf<InvalidDataException>().With.Message.Contains("entry 1 of 'a.tar'"));
        string none = Folder.WriteTar("none.tar", ("0.png", _image));
        Assert.That(() => new ShardDataset(none), Throws.TypeOf<InvalidDataException>().With.Message.Contains("No sample").And.Message.Contains("entry 1 of 'none.tar'"));
        Assert.That(() => new ShardDataset(Folder.At("gone.tar")), Throws.TypeOf<FileNotFoundException>().With.Message.Contains("gone.tar"));
    }

    [Test]
    public void The_name_or_the_type_says_what_is_opened()
    {
        string shard = Folder.WriteTar("a.tar", ("0.png", _image), ("0.txt", "one"u8.ToArray())), other = Folder.At("b.shard"), csv = Folder.Write("a.csv", "image_path,caption\nx.png,one\n");
        File.Copy(shard, other);
        foreach (var type in new[] { DatasetType.Auto, DatasetType.WebDataset, DatasetType.Synthetic }) Assert.That(PairDataset.Open(shard, new CsvOptions(), type), Is.TypeOf<ShardDataset>());
        Assert.That(PairDataset.Open(other, new CsvOptions(), DatasetType.WebDataset), Is.TypeOf<ShardDataset>());
        foreach (var type in new[] { DatasetType.Auto, DatasetType.Csv, DatasetType.Synthetic }) Assert.That(PairDataset.Open(csv, new CsvOptions(), type), Is.TypeOf<CsvDataset>());
    }
}
