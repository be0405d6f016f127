using System.Text;
using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

/// <summary>Any text has ids, within the vocabulary; a damaged file of merges is read or refused with an error for the user.</summary>
public sealed class ClipTokenizerFuzzTests
{
    private static readonly string MergesPath = Path.Combine(DataFolder.Find(), DataFolder.Merges);

    private static readonly string[] Pieces =
    [
        "a", "the cat", " ", "\t\n", "&amp;", "&#x1F600;", "&#99999999999;", "&#0;", "&", "&lt;", "'s", "<|endoftext|>", "<|startoftext|>", "<|", "\uD800", "\uDFFF", "\uFFFF", "\0", "\u200D",
        "\U0001F469\u200D\U0001F467", "é", "e\u0301", "İ", "ΑΣ", "日本", "1", "½", "!", "__", "ﷺ", "\u202E", "a\u0300\u0301\u0302\u0303",
    ];

    [Test]
    public void Any_text()
    {
        var tokenizer = new ClipTokenizer(MergesPath);
        Mutation.Run(
            random =>
            {
                string text = Text(random);
                return (2 * text.Length, () => Convert.ToBase64String(Encoding.Unicode.GetBytes(text)), Encode);

                void Encode()
                {
                    int[] ids = tokenizer.Encode(text);
                    Assert.That(ids, Has.All.InRange(0, tokenizer.VocabularySize - 1));
                    Span<int> caption = stackalloc int[77];
                    tokenizer.EncodeCaption(text, caption);
                    Assert.That(caption.Contains(tokenizer.EndId), Is.True);
                }
            },
            bytes => (16 << 20) + 4096 * bytes);
    }

    [Test]
    public void Damaged_merges()
    {
        using var folder = new TemporaryFolder();
        byte[] whole = Encoding.UTF8.GetBytes(string.Join('\n', File.ReadLines(MergesPath).Take(60)));
        Mutation.Run(
            random =>
            {
                byte[] changed = Mutation.Change(random, whole);
                string path = folder.Write("merges.txt", changed);
                return (changed.Length, () => Encoding.Latin1.GetString(changed), () => new ClipTokenizer(path).Encode("the cat in a hat"));
            },
            bytes => (16 << 20) + 64 * bytes, typeof(InvalidDataException));
    }

    /// <summary>Now and then one long word, which is where an encoder may take time that grows as its square.</summary>
    private static string Text(Random random)
    {
        if (random.Next(50) == 0) return string.Concat(Enumerable.Repeat(Pieces[random.Next(Pieces.Length)], random.Next(20_000)));
        var text = new StringBuilder();
        for (int i = random.Next(60); i > 0; i--)
        {
            if (random.Next(3) == 0) text.Append((char)random.Next(0x10000));
            else text.Append(Pieces[random.Next(Pieces.Length)]);
        }
        return text.ToString();
    }
}
