using System.Diagnostics;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class ClipTokenizerTests
{
    /// <summary>The short way to clean a text gives what the long one gives, or says that it does not.</summary>
    [TestCase("A  Photo\tof a\u001C CAT's\n", true)]
    [TestCase("", true)]
    [TestCase(" \r\n ", true)]
    [TestCase("x", true)]
    [TestCase("Tom &amp; Jerry", false)]
    [TestCase("Ärger", false)]
    public void Plain_text_is_cleaned_in_place(string text, bool plain)
    {
        Span<char> clean = stackalloc char[64];
        Assert.That(ClipTokenizer.TryCleanAscii(text, clean, out int length), Is.EqualTo(plain));
        if (plain) Assert.That(clean[..length].ToString(), Is.EqualTo(ClipTokenizer.Clean(text)));
        Assert.That(ClipTokenizer.TryCleanAscii(new string('a', 65), clean, out _), Is.False);
    }

    private static readonly string MergesPath = Path.Combine(DataFolder.Find(), DataFolder.Merges);
    private static readonly ClipTokenizer Tokenizer = new(MergesPath);

    [Test]
    public void Has_the_vocabulary_of_clip() =>
        Assert.That((Tokenizer.VocabularySize, Tokenizer.StartId, Tokenizer.EndId), Is.EqualTo((49408, 49406, 49407)));

    [Test]
    public void Equals_openai_on_every_golden_text()
    {
        string[] lines = File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, "golden", "tokens.jsonl"));
        Assert.That(lines, Has.Length.EqualTo(176));
        foreach (string line in lines)
        {
            using var json = JsonDocument.Parse(line);
            string text = json.RootElement.GetProperty("text").GetString()!;
            int[] ids = [.. json.RootElement.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32())];
            Assert.That(Tokenizer.Encode(text), Is.EqualTo(ids), text);
        }
    }

    /// <summary>The algorithm of OpenAI's simple_tokenizer.py, plainly: join the pair of best rank until none is left.</summary>
    [Test]
    public void Equals_a_plain_byte_pair_encoder_on_random_texts()
    {
        var plain = new PlainEncoder(MergesPath);
        var random = new Random(4);
        string[] pieces =
        [
            "the", "a", " ", " ", "  ", "\t", "cat", "photograph", "'s", "'LL", "'", "don't", "x1", "2024", "½", "!", "?!", "...", "&amp;", "&lt;b&gt;", "-", "&hellip;", "&copy2", "é", "ß", "日本語", "한국어",
            "ΣΊΣΥΦΟΣ", "İstanbul", "\U0001F642", "\U0001F469\u200D\U0001F467", "\U0001D4D7\U0001D4EE", "\U00020000", "\U00010400", "\u0301", "_", "<|startoftext|>", "<|endoftext|>", "<|", "ǅ", "ⅣⅤ", "\u00A0",
        ];
        for (int round = 0; round < 400; round++)
        {
            string text = string.Concat(Enumerable.Range(0, random.Next(1, 12)).Select(_ => pieces[random.Next(pieces.Length)]));
            Assert.That(Tokenizer.Encode(text), Is.EqualTo(plain.Encode(ClipTokenizer.Clean(text))), text);
        }
    }

    [TestCase("  a \t\r\n b\u00A0c\u2003d \u001C e  ", "a b c d e")]
    [TestCase("&amp;lt;b&amp;gt;", "<b>")]
    [TestCase("İI", "i\u0307i")]
    [TestCase("ΟΔΥΣΣΕΥΣ ΣΑΣ Σ", "οδυσσευς σας σ")] // Python: 'ΟΔΥΣΣΕΥΣ ΣΑΣ Σ'.lower()
    [TestCase("ΑΣ' ΑΣ.Α ΑΣ\u0301 1Σ", "ας' ασ.α ας\u0301 1σ")]
    [TestCase("\U00010400\U0001D4D0", "\U00010428\U0001D4D0")]
    public void Cleans_as_python_does(string text, string expected) => Assert.That(ClipTokenizer.Clean(text), Is.EqualTo(expected));

    [Test]
    public void The_long_s_after_an_apostrophe_is_part_of_the_word_as_in_a_pattern_that_ignores_case() =>
        Assert.That(ClipWordsOf("it'\u017F '\u017Fo"), Is.EqualTo(new[] { "it", "'\u017F", "'\u017F", "o" }));

    private static string[] ClipWordsOf(string text) => [.. new ClipWords().PreTokenize(text).Select(word => text.Substring(word.Offset, word.Length))];

    [Test]
    public void A_caption_has_start_end_and_zeros()
    {
        var ids = new int[10];
        Array.Fill(ids, 7);
        Assert.That(Tokenizer.EncodeCaption("a photo of a cat.", ids), Is.False);
        Assert.That(ids, Is.EqualTo(new[] { 49406, 320, 1125, 539, 320, 2368, 269, 49407, 0, 0 }));
    }

    [Test]
    public void A_caption_that_just_fits_is_whole_and_one_token_less_room_cuts_it()
    {
        var exact = new int[8];
        Assert.That(Tokenizer.EncodeCaption("a photo of a cat.", exact), Is.False);
        Assert.That(exact, Is.EqualTo(new[] { 49406, 320, 1125, 539, 320, 2368, 269, 49407 }));
        var tight = new int[7];
        Assert.That(Tokenizer.EncodeCaption("a photo of a cat.", tight), Is.True);
        Assert.That(tight, Is.EqualTo(new[] { 49406, 320, 1125, 539, 320, 2368, 49407 }));
    }

    [Test]
    public void An_empty_caption_is_start_and_end()
    {
        var ids = new int[4];
        Assert.That(Tokenizer.EncodeCaption("", ids), Is.False);
        Assert.That(ids, Is.EqualTo(new[] { 49406, 49407, 0, 0 }));
    }

    [Test]
    public void A_context_without_room_for_start_and_end_is_an_error() =>
        Assert.That(() => Tokenizer.EncodeCaption("a", new int[1]), Throws.ArgumentException.With.Message.Contains("context of 1"));

    [Test]
    public void Gives_the_same_ids_on_many_threads_at_once()
    {
        string[] captions = [.. Enumerable.Range(0, 300).Select(i => $"picture {i} of {i * i} wonderful drawings")];
        int[][] expected = [.. captions.Select(Tokenizer.Encode)];
        var fresh = new ClipTokenizer(MergesPath);
        var actual = new int[captions.Length][];
        Parallel.For(0, captions.Length, new ParallelOptions { MaxDegreeOfParallelism = 4 }, i => actual[i] = fresh.Encode(captions[i]));
        Assert.That(actual, Is.EqualTo(expected));
    }

    [Test]
    public void Captions_are_encoded_one_after_another_and_those_cut_are_counted()
    {
        string[] captions = ["a photo of a cat.", "", "one two three four five six seven", "a photo of a cat.", "<|endoftext|>", "&eacute;t&eacute"];
        int[] ids = new int[captions.Length * 7];
        Array.Fill(ids, 7);
        Assert.That(Tokenizer.EncodeCaptions(captions, 7, ids), Is.EqualTo(3));
        for (int i = 0; i < captions.Length; i++)
        {
            int[] encoded = new ClipTokenizer(MergesPath).Encode(captions[i]), expected = new int[7];
            expected[0] = Tokenizer.StartId;
            int kept = Math.Min(5, encoded.Length);
            encoded.AsSpan(0, kept).CopyTo(expected.AsSpan(1));
            expected[kept + 1] = Tokenizer.EndId;
            Assert.That(ids[(7 * i)..(7 * i + 7)], Is.EqualTo(expected), captions[i]);
        }
        Assert.That(() => Tokenizer.EncodeCaptions(captions, 7, new int[41]), Throws.ArgumentException.With.Message.Contains("6 captions of 7"));
    }

    [Test]
    public void Words_met_before_are_encoded_at_least_twice_as_fast_as_the_library_does_new_ones()
    {
        // The words of the bundled captions, each text once: what the library sees is new to it.
        var sample = CsvDataset.Load(Path.Combine(DataFolder.Find(), "emoji", "train.csv"));
        string[] captions = [.. sample.Rows.Select(row => row.Caption).Distinct(StringComparer.Ordinal)];
        int[] ids = new int[captions.Length * 77];
        var ours = TimeSpan.MaxValue;
        var tokenizer = new ClipTokenizer(MergesPath);
        for (int round = 0; round < 5; round++)
        {
            long start = Stopwatch.GetTimestamp();
            tokenizer.EncodeCaptions(captions, 77, ids);
            var time = Stopwatch.GetElapsedTime(start);
            if (round > 0 && time < ours) ours = time;
        }
        var library = TimeSpan.MaxValue;
        int libraryIds = 0;
        for (int round = 0; round < 3; round++)
        {
            var fresh = new ClipTokenizer(MergesPath);
            long start = Stopwatch.GetTimestamp();
            libraryIds = captions.Sum(caption => fresh.Library.EncodeToIds(ClipTokenizer.Clean(caption)).Count);
            var time = Stopwatch.GetElapsedTime(start);
            if (time < library) library = time;
        }
        int ourIds = Enumerable.Range(0, captions.Length).Sum(i => Array.IndexOf(ids, tokenizer.EndId, 77 * i, 77) - 77 * i - 1);
        TestContext.Out.WriteLine($"ours {ourIds / ours.TotalSeconds:N0} tokens/s, the library {libraryIds / library.TotalSeconds:N0}: {library / ours:0.0} times");
        Assert.That(ourIds, Is.EqualTo(libraryIds));
        Assert.That(library / ours, Is.GreaterThan(2));
    }

    [Test]
    public void Missing_merges_are_named() =>
        Assert.That(() => new ClipTokenizer("/nowhere/merges.txt"), Throws.TypeOf<FileNotFoundException>().With.Message.Contains("/nowhere/merges.txt"));

    [TestCase("i n\nzz q\n", 3)] // 'zz' is not known
    [TestCase("i n\nt h e\n", 3)]
    [TestCase("i n\ni n\n", 3)] // known already
    [TestCase("i n\n\nt h\n", 3)]
    public void A_line_that_is_no_merge_is_named(string merges, int line)
    {
        using var folder = new TemporaryFolder();
        string path = folder.Write("merges.txt", "#version: 0.2\n" + merges);
        Assert.That(() => new ClipTokenizer(path), Throws.TypeOf<InvalidDataException>().With.Message.Contains(path).And.Message.Contains($"line {line}"));
    }

    private sealed class PlainEncoder
    {
        private readonly Dictionary<string, int> _ids = new(StringComparer.Ordinal);
        private readonly Dictionary<(string, string), int> _rank = [];
        private readonly string[] _byteSymbols = new string[256];

        public PlainEncoder(string mergesPath)
        {
            int[] printable = [.. Enumerable.Range('!', 94), .. Enumerable.Range('¡', 12), .. Enumerable.Range('®', 82)];
            int[] others = [.. Enumerable.Range(0, 256).Except(printable)];
            foreach (int value in printable) _byteSymbols[value] = ((char)value).ToString();
            for (int i = 0; i < others.Length; i++) _byteSymbols[others[i]] = ((char)(256 + i)).ToString();
            foreach (int value in printable.Concat(others)) _ids.Add(_byteSymbols[value], _ids.Count);
            foreach (int value in printable.Concat(others)) _ids.Add(_byteSymbols[value] + "</w>", _ids.Count);
            foreach (string[] pair in File.ReadLines(mergesPath).Skip(1).Select(line => line.Split(' ')))
            {
                _rank.Add((pair[0], pair[1]), _rank.Count);
                _ids.Add(pair[0] + pair[1], _ids.Count);
            }
        }

        public int[] Encode(string clean) => [.. Words(clean).SelectMany(Word)];

        /// <summary>CLIP's pattern on a string in which every code point is one character: those beyond U+FFFF are replaced by a BMP one of the same kind.</summary>
        private static IEnumerable<string> Words(string text)
        {
            Rune[] runes = [.. text.EnumerateRunes()];
            string flat = string.Concat(runes.Select(rune => rune.IsBmp ? (char)rune.Value : Rune.IsLetter(rune) ? 'x' : '*'));
            const string Pattern = @"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
            foreach (Match match in Regex.Matches(flat, Pattern))
                yield return string.Concat(runes.Skip(match.Index).Take(match.Length).Select(rune => rune.ToString()));
        }

        private IEnumerable<int> Word(string word)
        {
            if (word is "<|startoftext|>" or "<|endoftext|>") return [word[2] == 's' ? _ids.Count : _ids.Count + 1];
            List<string> parts = [.. Encoding.UTF8.GetBytes(word).Select(value => _byteSymbols[value])];
            parts[^1] += "</w>";
            while (true)
            {
                int best = -1, bestRank = int.MaxValue;
                for (int i = 0; i + 1 < parts.Count; i++)
                {
                    if (_rank.TryGetValue((parts[i], parts[i + 1]), out int rank) && rank < bestRank) (best, bestRank) = (i, rank);
                }
                if (best < 0) return parts.Select(part => _ids[part]);
                var (first, second) = (parts[best], parts[best + 1]);
                for (int i = 0; i + 1 < parts.Count; i++)
                {
                    if (parts[i] != first || parts[i + 1] != second) continue;
                    parts[i] = first + second;
                    parts.RemoveAt(i + 1);
                }
            }
        }
    }
}
