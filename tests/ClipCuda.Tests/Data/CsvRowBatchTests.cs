using System.Text;
using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class CsvRowBatchTests
{
    /// <summary>Over more rows than one block of memory holds.</summary>
    [Test]
    public void Holds_rows_until_it_is_begun_again()
    {
        var batch = new CsvRowBatch();
        int rows = 0;
        for (int round = 0; round < 300; round++)
        {
            batch.Begin(Path(rows), Caption(rows));
            int first = rows;
            while (batch.TryAdd(Path(rows), Caption(rows), 2 + rows)) rows++;
            Assert.That(batch.Count, Is.EqualTo(rows - first).And.LessThanOrEqualTo(512));
            Assert.That(batch.IsPlain);
            var hashes = batch.PathHashes();
            for (int row = 0; row < batch.Count; row++)
            {
                Assert.That(batch.Paths.Bytes[batch.Path(row)], Is.EqualTo(Path(first + row)));
                Assert.That(batch.Captions.Bytes[batch.Caption(row)], Is.EqualTo(Caption(first + row)));
                Assert.That(batch.Line(row), Is.EqualTo(2 + first + row));
                Assert.That(hashes[row], Is.EqualTo(Utf8Index.Hash(Path(first + row))));
            }
        }
        Assert.That(rows, Is.GreaterThan(100_000), "captions of 80 bytes, so that some batches end with their block");

        static byte[] Path(int row) => Encoding.UTF8.GetBytes($"images/{row}.jpg");
        static byte[] Caption(int row) => row % 3 == 0 ? [] : Encoding.UTF8.GetBytes($"caption {row}".PadRight(80));
    }

    [TestCase("", "empty")]
    [TestCase("/a", "rooted")]
    [TestCase("../a", "leaves")]
    [TestCase("./a", "not shortest")]
    [TestCase("a/./b", "not shortest")]
    [TestCase("a/../b", "not shortest")]
    [TestCase("a//b", "not shortest")]
    [TestCase("a\\b", "Windows'")]
    [TestCase("c:a", "Windows'")]
    [TestCase("a\0b", "NUL")]
    [TestCase(".a", "hidden, or the beginning of a longer way")]
    public void One_path_that_is_not_plain_shows(string path, string why)
    {
        var batch = Begun();
        batch.TryAdd("a b/c.png"u8, "one"u8, 2);
        batch.TryAdd("é/c.d.png"u8, "two"u8, 3);
        Assert.That(batch.IsPlain);
        batch.TryAdd(Encoding.UTF8.GetBytes(path), "three"u8, 4);
        Assert.That(batch.IsPlain, Is.False, why);
        Assert.That(CsvRowBatch.IsPlainPath(Encoding.UTF8.GetBytes(path)), Is.False, why);
        batch.Begin("last"u8, "four"u8);
        Assert.That(batch.TryAdd("last"u8, "four"u8, 5));
        Assert.That(batch.IsPlain);
    }

    [Test]
    public void One_text_that_is_not_utf8_or_has_a_nul_shows()
    {
        foreach (byte[] caption in new byte[][] { [0xE9], [(byte)'a', 0], [0xED, 0xA0, 0x80] })
        {
            var batch = Begun();
            batch.TryAdd("a"u8, "one"u8, 2);
            batch.TryAdd("b"u8, caption, 3);
            batch.TryAdd("c"u8, "two"u8, 4);
            Assert.That(batch.IsPlain, Is.False);
        }
    }

    /// <summary>Each of the two is damaged, though their bytes side by side are a character.</summary>
    [Test]
    public void Halves_of_a_character_do_not_make_one()
    {
        ReadOnlySpan<byte> first = [0xC3], second = [0xA9];
        var captions = Begun();
        captions.TryAdd("a"u8, first, 2);
        captions.TryAdd("b"u8, second, 3);
        Assert.That(captions.IsPlain, Is.False);
        var paths = Begun();
        paths.TryAdd(first, "one"u8, 2);
        paths.TryAdd(second, "two"u8, 3);
        Assert.That(paths.IsPlain, Is.False);
    }

    [TestCase(1)]
    [TestCase(5 << 20)]
    public void A_text_too_long_to_be_kept_shows(int tooLong)
    {
        var batch = new CsvRowBatch();
        byte[] caption = new byte[Utf8Table.MostBytes + tooLong];
        Array.Fill(caption, (byte)'a');
        batch.Begin("a"u8, caption);
        Assert.That(batch.TryAdd("a"u8, caption, 2));
        Assert.That(batch.IsPlain, Is.False);
        batch.Begin("b"u8, "two"u8);
        Assert.That(batch.TryAdd("b"u8, "two"u8, 3));
        Assert.That(batch.IsPlain);
        Assert.That(batch.Captions.Bytes[batch.Caption(0)], Is.EqualTo("two"u8.ToArray()));
    }

    private static CsvRowBatch Begun()
    {
        var batch = new CsvRowBatch();
        batch.Begin([], []);
        return batch;
    }
}
