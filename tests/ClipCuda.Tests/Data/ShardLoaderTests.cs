using System.Formats.Tar;
using System.Security.Cryptography;
using System.Text;
using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class ShardLoaderTests : FolderTests
{
    private const int Context = 8, BlockBytes = 512;

    private static readonly ClipTokenizer Tokenizer = new(Path.Combine(DataFolder.Find(), DataFolder.Merges));

    [TestCase(1)]
    [TestCase(4)]
    public void Batches_do_not_depend_on_the_number_of_workers(int workers)
    {
        var shards = Shards(3, 11);
        foreach (bool resampled in new[] { false, true })
        {
            using var expected = Load(shards with { Resampled = resampled }, Options(4) with { Workers = 0 });
            using var actual = Load(shards with { Resampled = resampled }, Options(4) with { Workers = workers });
            Assert.That(Digests(actual.Epoch(2)), Is.EqualTo(Digests(expected.Epoch(2))));
        }
    }

    [TestCase(true)]
    [TestCase(false)]
    public void An_epoch_begun_in_the_middle_goes_on_alike(bool resampled)
    {
        using var loader = Load(Shards(3, 11) with { Resampled = resampled, ShuffleBuffer = 7 }, Options(4));
        string[] whole = Digests(loader.Epoch(3));
        Assert.That(whole, Has.Length.EqualTo(8));
        foreach (int first in new[] { 1, 5, 8 }) Assert.That(Digests(loader.Epoch(3, first)), Is.EqualTo(whole[first..]));
    }

    [Test]
    public void An_epoch_has_each_sample_once_in_an_order_of_its_own()
    {
        using var loader = Load(Shards(3, 10) with { ShuffleBuffer = 5 }, Options(10));
        int[] first = Samples(loader, 0), second = Samples(loader, 1);
        Assert.That(first, Is.EquivalentTo(Enumerable.Range(0, 30)).And.Not.Ordered);
        Assert.That(second, Is.EquivalentTo(first).And.Not.EqualTo(first));
        using var ordered = Load(Shards(3, 10), Options(10) with { Shuffle = false });
        Assert.That(Samples(ordered, 1), Is.EqualTo(Enumerable.Range(0, 30)));
    }

    [Test]
    public void Resampling_draws_shards_with_replacement_for_as_long_as_it_takes()
    {
        var shards = Shards(4, 5) with { Resampled = true, SampleCount = 60, ShuffleBuffer = 1 };
        using var loader = Load(shards, Options(10));
        Assert.That(loader.BatchesPerEpoch, Is.EqualTo(6));
        int[] drawn = [.. Enumerable.Range(0, 3).SelectMany(epoch => Samples(loader, epoch))];
        Assert.That(drawn, Has.Length.EqualTo(180));
        Assert.That(drawn.GroupBy(sample => sample >> 20).Select(shard => shard.Count()), Has.Some.Not.EqualTo(45), "some shard more often than another");
    }

    [Test]
    public void Gives_the_samples_of_the_csv_file_in_the_same_order()
    {
        string csv = WriteImages(13, captions: 3);
        var data = CsvDataset.Load(csv);
        using (var stream = File.Create(Folder.At("a.tar")))
        using (var writer = new ShardWriter(stream))
        {
            for (int i = 0; i < data.Samples.Count; i++) writer.Add($"{i:D9}", data.Samples[i].Path, [.. data.Samples[i].Rows.Select(row => data.Rows[row].Caption)]);
        }
        foreach (bool draw in new[] { true, false })
        {
            var options = Options(4) with { Shuffle = false, DrawCaptions = draw, Augmentation = new PixelAugmentation(0.5, 0.5, 0.4, 0.4, 0.4, 0.1, 0.3) };
            using var rows = new BatchLoader(data, Tokenizer, options);
            using var shards = Load(new ShardOptions("a.tar", [Folder.At("a.tar")]), options);
            Assert.That(shards.SampleCount, Is.EqualTo(rows.SampleCount));
            for (int epoch = 0; epoch < 2; epoch++) Assert.That(Digests(shards.Epoch(epoch)), Is.EqualTo(Digests(rows.Epoch(epoch))));
        }
    }

    [TestCase(0, "in entry")]
    [TestCase(1, "header")]
    [TestCase(2, "end mark")]
    public void A_truncated_shard_is_reported_and_its_whole_samples_are_used(int kind, string what)
    {
        var shards = Shards(2, 6);
        byte[] bytes = File.ReadAllBytes(shards.Paths[1]);
        // Image entries take one block of header and one of data here, texts too; two zero blocks and padding end the file.
        int entries = 12 * 2 * BlockBytes;
        File.WriteAllBytes(shards.Paths[1], bytes[..(kind == 0 ? entries - 3 * BlockBytes + 20 : kind == 1 ? entries - 4 * BlockBytes + 100 : entries)]);
        using var loader = Load(shards, Options(2));
        int whole = kind == 2 ? 12 : 11;
        Assert.That(loader.SampleCount, Is.EqualTo(whole), what);
        Assert.That(loader.Skipped, Has.Some.Property("Reason").Contains("cut short"));
        Assert.That(Digests(loader.Epoch(0)), Has.Length.EqualTo(whole / 2));
        Assert.That(() => Load(shards, Options(2) with { Strict = true }), Throws.TypeOf<InvalidDataException>().With.Message.Contains("cut short"));
    }

    [Test]
    public void Entries_and_samples_of_no_use_are_skipped_and_listed()
    {
        byte[] image = File.ReadAllBytes(Folder.WriteImage("x.png", 5, 5));
        Folder.WriteTar("a.tar",
            ("good.png", image), ("good.txt", "fine\n"u8.ToArray()),
            ("../evil.png", image), ("../evil.txt", "x"u8.ToArray()),
            ("/abs.png", image),
            ("nul.png", image), ("nul.txt", [.. "a"u8, 0]),
            ("bytes.png", image), ("bytes.txt", [0xED, 0xA0, 0x80]),
            ("half.png", image), ("half.json", Encoding.UTF8.GetBytes("{\"captions\": [\"\\ud800\"]}")),
            ("broken.png", image), ("broken.json", "{"u8.ToArray()),
            ("number.png", image), ("number.json", "{\"captions\": [3]}"u8.ToArray()),
            ("lonely.png", image),
            ("text.txt", "no image"u8.ToArray()),
            ("./sub/last.jpg", image), ("./sub/last.json", "{\"caption\": \"one\"}"u8.ToArray()));
        using (var stream = File.Open(Folder.At("a.tar"), FileMode.Open))
        {
            // A link, behind what is there: over the end mark.
            stream.Position = stream.Length - 2 * BlockBytes;
            using var tar = new TarWriter(stream);
            tar.WriteEntry(new UstarTarEntry(TarEntryType.SymbolicLink, "link.png") { LinkName = "/etc/passwd" });
        }
        using var loader = Load(new ShardOptions("a.tar", [Folder.At("a.tar")]), Options(2));
        Assert.That(loader.SampleCount, Is.EqualTo(2));
        string[] reasons = ["leads out", "leads out", "leads out", "NUL", "UTF-8", "JSON", "JSON", "JSON", "no caption", "no image", "SymbolicLink"];
        foreach (var group in reasons.GroupBy(reason => reason))
            Assert.That(loader.Skipped.Count(skipped => skipped.Reason.Contains(group.Key)), Is.EqualTo(group.Count()), $"{group.Key}: {string.Join(" | ", loader.Skipped.Select(skipped => skipped.Reason))}");
        Assert.That(loader.Skipped, Has.All.Property("Place").StartsWith("entry ").And.All.Property("Place").Contains("'a.tar'"));
    }

    [TestCase(0)]
    [TestCase(3)]
    public void An_undecodable_image_is_replaced_and_listed_and_moves_no_other(int workers)
    {
        string csv = WriteImages(20, captions: 1);
        Pack(csv, "good.tar");
        File.WriteAllText(Folder.At("7.png"), "no image");
        Pack(csv, "bad.tar");
        var options = Options(5) with { Workers = workers };
        using var good = Load(new ShardOptions("good.tar", [Folder.At("good.tar")]) { ShuffleBuffer = 8 }, options);
        using var bad = Load(new ShardOptions("bad.tar", [Folder.At("bad.tar")]) { ShuffleBuffer = 8 }, options);
        for (int epoch = 0; epoch < 2; epoch++)
        {
            int[] expected = Samples(good, epoch), actual = Samples(bad, epoch);
            Assert.That(actual, Has.None.EqualTo(7));
            Assert.That(actual.Zip(expected).Where(pair => pair.Second != 7), Has.All.Matches<(int First, int Second)>(pair => pair.First == pair.Second));
        }
        Assert.That(bad.Skipped.Single().Reason, Does.Contain("000000007.png"));
        using var strict = Load(new ShardOptions("bad.tar", [Folder.At("bad.tar")]), options with { Strict = true });
        Assert.That(() => Samples(strict, 0), Throws.TypeOf<InvalidDataException>().With.Message.Contains("entry 15 of 'bad.tar'"));
    }

    [Test]
    public void Shards_without_a_sample_and_batches_too_large_are_errors()
    {
        Folder.WriteTar("empty.tar");
        Assert.That(() => Load(new ShardOptions("empty.tar", [Folder.At("empty.tar")]), Options(1)), Throws.TypeOf<InvalidDataException>().With.Message.Contains("empty.tar"));
        Assert.That(() => Load(Shards(1, 3), Options(4)), Throws.ArgumentException.With.Message.Contains("larger than the 3 samples"));
        Assert.That(() => Load(Shards(1, 3) with { ShuffleBuffer = 0 }, Options(3)), Throws.ArgumentException.With.Message.Contains("shuffle buffer"));
        Folder.Write("none.tar", "this is no tar file at all, but it is long enough to have a header" + new string('x', 2000));
        Assert.That(() => Load(new ShardOptions("none.tar", [Folder.At("none.tar")]), Options(1)), Throws.TypeOf<InvalidDataException>().With.Message.Contains("none.tar"));
    }

    [Test]
    public void Equal_samples_give_equal_shards()
    {
        string csv = WriteImages(4, captions: 2);
        Pack(csv, "a.tar");
        Pack(csv, "b.tar");
        Assert.That(File.ReadAllBytes(Folder.At("b.tar")), Is.EqualTo(File.ReadAllBytes(Folder.At("a.tar"))));
    }

    private static LoaderOptions Options(int batchSize) => new() { BatchSize = batchSize, ContextLength = Context, Training = true, Seed = 1, Workers = 2 };

    private static ShardLoader Load(ShardOptions shards, LoaderOptions options) => new(shards, Tokenizer, options);

    private ShardOptions Shards(int shards, int samples)
    {
        string csv = WriteImages(shards * samples, captions: 1);
        string[] lines = File.ReadAllLines(csv);
        string[] names = [.. Enumerable.Range(0, shards).Select(shard =>
        {
            string part = Folder.Write("part.csv", lines[0] + "\n" + string.Join("\n", lines.Skip(1 + shard * samples).Take(samples)));
            return Pack(part, $"{shard}.tar");
        })];
        return new ShardOptions(Folder.At($"{{0..{shards - 1}}}.tar"), names);
    }

    /// <summary>Images of different sizes and colours with so many captions each.</summary>
    private string WriteImages(int count, int captions)
    {
        for (int i = 0; i < count; i++) Folder.WriteImage($"{i}.png", 5 + i % 3, 5 + i % 4, (byte)i, (byte)(7 * i), 200);
        return Folder.Write("train.csv", "image_path,caption\n" + string.Concat(Enumerable.Range(0, count * captions).Select(i => $"{i / captions}.png,picture {i}\n")));
    }

    private string Pack(string csv, string name)
    {
        var data = CsvDataset.Load(csv);
        using var stream = File.Create(Folder.At(name));
        using var writer = new ShardWriter(stream);
        for (int i = 0; i < data.Samples.Count; i++) writer.Add($"{i:D9}", data.Samples[i].Path, [.. data.Samples[i].Rows.Select(row => data.Rows[row].Caption)]);
        return Folder.At(name);
    }

    private static int[] Samples(BatchSource source, int epoch)
    {
        var samples = new List<int>();
        foreach (var batch in source.Epoch(epoch))
        {
            using (batch) samples.AddRange(batch.SampleIndices);
        }
        return [.. samples];
    }

    /// <summary>A digest of what a batch is to the model: pixels, tokens, rectangles and changes.</summary>
    private static string[] Digests(IEnumerable<HostBatch> epoch)
    {
        var digests = new List<string>();
        foreach (var batch in epoch)
        {
            using (batch)
            {
                using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
                hash.AppendData(batch.Rgb);
                hash.AppendData(System.Runtime.InteropServices.MemoryMarshal.AsBytes(batch.Tokens));
                hash.AppendData(Encoding.UTF8.GetBytes(string.Join(';', batch.Images.ToArray())));
                digests.Add(Convert.ToHexString(hash.GetHashAndReset()));
            }
        }
        return [.. digests];
    }
}
