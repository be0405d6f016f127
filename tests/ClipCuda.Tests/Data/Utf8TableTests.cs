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

    /// <summary>Of a size that makes it grow several times, and of one that does not.</summary>
    [TestCase(0)]
    [TestCase(20_000)]
    public void An_index_gives_a_text_the_same_number_every_time(int expected)
    {
        const int Texts = 10_000;
        var table = new Utf8Table();
        var index = new Utf8Index(table, expected);
        for (int round = 0; round < 2; round++)
        {
            for (int i = 0; i < Texts; i++) Assert.That(Find($"images/{i * 7919}.jpg"), Is.EqualTo((i, round == 0)));
        }
        Assert.That(table.Count, Is.EqualTo(Texts));
        Assert.That(table.Text(77), Is.EqualTo($"images/{77 * 7919}.jpg"));

        (int, bool) Find(string text)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(text);
            int[] hashes = [Utf8Index.Hash(bytes)];
            index.Fetch(hashes);
            return index.Find(bytes, hashes[0]);
        }
    }

    /// <summary>All of them lie in one slot and those behind it.</summary>
    [Test]
    public void Texts_with_the_same_hash_are_told_apart()
    {
        var table = new Utf8Table();
        var index = new Utf8Index(table);
        for (int round = 0; round < 2; round++)
        {
            for (int i = 0; i < 50; i++) Assert.That(index.Find(Encoding.UTF8.GetBytes($"{i}"), hash: -1), Is.EqualTo((i, round == 0)));
        }
    }
}
