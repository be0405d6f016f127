using System.Text;
using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class CsvRowBatchTests
{
    [Test]
    public void Holds_rows_until_it_is_cleared()
    {
        var batch = new CsvRowBatch();
        for (int round = 0; round < 2; round++)
        {
            int count = 0;
            for (; !batch.IsFull; count++) batch.Add(Encoding.UTF8.GetBytes($"images/{count}.jpg"), Encoding.UTF8.GetBytes(count % 3 == 0 ? "" : $"caption {count}"), 2 + count);
            Assert.That((count, batch.Count), Is.EqualTo((512, 512)));
            Assert.That(batch.IsPlain);
            var hashes = batch.PathHashes();
            for (int row = 0; row < count; row++)
            {
                Assert.That(Encoding.UTF8.GetString(batch.Path(row)), Is.EqualTo($"images/{row}.jpg"));
                Assert.That(Encoding.UTF8.GetString(batch.Caption(row)), Is.EqualTo(row % 3 == 0 ? "" : $"caption {row}"));
                Assert.That(batch.Line(row), Is.EqualTo(2 + row));
                Assert.That(hashes[row], Is.EqualTo(Utf8Index.Hash(batch.Path(row))));
            }
            batch.Clear();
            Assert.That(batch.Count, Is.Zero);
        }
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
        var batch = new CsvRowBatch();
        batch.Add("a b/c.png"u8, "one"u8, 2);
        batch.Add("é/c.d.png"u8, "two"u8, 3);
        Assert.That(batch.IsPlain);
        batch.Add(Encoding.UTF8.GetBytes(path), "three"u8, 4);
        Assert.That(batch.IsPlain, Is.False, why);
        Assert.That(CsvRowBatch.IsPlainPath(Encoding.UTF8.GetBytes(path)), Is.False, why);
        batch.Clear();
        batch.Add("last"u8, "four"u8, 5);
        Assert.That(batch.IsPlain);
    }

    [Test]
    public void One_text_that_is_not_utf8_or_has_a_nul_shows()
    {
        foreach (byte[] caption in new byte[][] { [0xE9], [(byte)'a', 0], [0xED, 0xA0, 0x80] })
        {
            var batch = new CsvRowBatch();
            batch.Add("a"u8, "one"u8, 2);
            batch.Add("b"u8, caption, 3);
            batch.Add("c"u8, "two"u8, 4);
            Assert.That(batch.IsPlain, Is.False);
        }
    }

    /// <summary>Each of the two is damaged, though their bytes side by side are a character.</summary>
    [Test]
    public void Halves_of_a_character_do_not_make_one()
    {
        ReadOnlySpan<byte> first = [0xC3], second = [0xA9];
        var captions = new CsvRowBatch();
        captions.Add("a"u8, first, 2);
        captions.Add("b"u8, second, 3);
        Assert.That(captions.IsPlain, Is.False);
        var paths = new CsvRowBatch();
        paths.Add(first, "one"u8, 2);
        paths.Add(second, "two"u8, 3);
        Assert.That(paths.IsPlain, Is.False);
    }

    [Test]
    public void A_text_too_long_to_be_kept_shows()
    {
        var batch = new CsvRowBatch();
        batch.Add("a"u8, new byte[Utf8Table.MostBytes + 1].AsSpan(), 2);
        Assert.That(batch.IsFull);
        Assert.That(batch.IsPlain, Is.False);
    }
}
