using System.Text;
using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class Utf8TableTests
{
    [Test]
    public void Keeps_texts_over_many_blocks()
    {
        var table = new Utf8Table();
        byte[] longest = new byte[Utf8Table.MostBytes];
        for (int i = 0; i < 9; i++)
        {
            longest.AsSpan().Fill((byte)('a' + i));
            table.Add(longest);
            table.Add([]);
        }
        Assert.That(table.Count, Is.EqualTo(18));
        for (int i = 0; i < 9; i++)
        {
            Assert.That(table.Text(2 * i), Is.EqualTo(new string((char)('a' + i), Utf8Table.MostBytes)));
            Assert.That(table.Text(2 * i + 1), Is.Empty);
        }
        Assert.That(() => table.Add(new byte[Utf8Table.MostBytes + 1]), Throws.TypeOf<ArgumentOutOfRangeException>());
    }

    [Test]
    public void Takes_texts_where_they_lie()
    {
        var (table, one, two) = (new Utf8Table(), new Utf8Block(1), new Utf8Block(1));
        one.Append("first"u8, 0);
        two.Append("zweite"u8, 0);
        one.Append("third"u8, 0);
        table.Add(one, 0..5);
        table.Add("copied"u8);
        table.Add(two, 0..6);
        table.Add(one, 6..11);
        table.Add("too"u8);
        Assert.That(Enumerable.Range(0, table.Count).Select(table.Text), Is.EqualTo(new[] { "first", "copied", "zweite", "third", "too" }));
    }

    /// <summary>Of a size that makes it grow several times, and of one that does not; as texts ascend, and as they do not.</summary>
    [TestCase(0, 1)]
    [TestCase(0, 7919)]
    [TestCase(20_000, 7919)]
    public void An_index_gives_a_text_the_same_number_every_time(int expected, int step)
    {
        const int Texts = 10_000;
        var table = new Utf8Table();
        var index = new Utf8Index(table, expected);
        var block = new Utf8Block(1);
        for (int round = 0; round < 2; round++)
        {
            for (int i = 0; i < Texts; i++)
            {
                Assert.That(Find(Name(i)), Is.EqualTo((i, round == 0)));
                Assert.That(Find(Name(i)), Is.EqualTo((i, false)), "again");
            }
            Assert.That(index.IsHashed, Is.EqualTo(step > 1 || round > 0), "the second round begins below the last text of the first");
        }
        Assert.That(table.Count, Is.EqualTo(Texts));
        Assert.That(table.Text(77), Is.EqualTo(Name(77)));

        string Name(int i) => $"images/{i * step % 104_729:D6}.jpg";

        (int, bool) Find(string text)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(text);
            if (table.Count % 2 == 0) return index.Find(bytes);
            int start = block.Used;
            block.Append(bytes, 0);
            int[] hashes = [Utf8Index.Hash(bytes)];
            if (!index.IsHashed) return index.Find(block, start..(block.Used - 1), null);
            index.Fetch(hashes);
            return index.Find(block, start..(block.Used - 1), hashes[0]);
        }
    }

    /// <summary>All of them lie in one slot and those behind it.</summary>
    [Test]
    public void Texts_with_the_same_hash_are_told_apart()
    {
        var table = new Utf8Table();
        var index = new Utf8Index(table);
        var block = new Utf8Block(1);
        foreach (string descending in new[] { "b", "a" }) index.Find(Encoding.UTF8.GetBytes(descending));
        for (int round = 0; round < 2; round++)
        {
            for (int i = 0; i < 50; i++)
            {
                int start = block.Used;
                block.Append(Encoding.UTF8.GetBytes($"{i}"), 0);
                Assert.That(index.Find(block, start..(block.Used - 1), hash: -1), Is.EqualTo((2 + i, round == 0)));
            }
        }
    }
}
