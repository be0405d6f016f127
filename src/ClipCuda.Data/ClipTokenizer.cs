using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Microsoft.ML.Tokenizers;

namespace ClipCuda.Data;

/// <summary>
/// OpenAI CLIP's byte-pair encoding. Text is HTML-decoded twice, its white space collapsed, lower-cased as Python does, and cut into words
/// (<see cref="ClipWords"/>); each word becomes its UTF-8 bytes, the last one with the suffix <c>&lt;/w&gt;</c>, and the best merges are applied.
/// Ids: the 256 bytes (printable ones first), the same with the suffix, one a merge in file order, start and end of text. Thread-safe.
/// A word's merges do not depend on its neighbours, so the ids of words met before are kept. One step of OpenAI's Python is left out: ftfy's
/// repair of wrongly decoded text.
/// </summary>
public sealed class ClipTokenizer
{
    private const string Suffix = "</w>";

    // Bounds of what is kept: a language's words fit, and an endless stream of made-up ones takes 100 MB at most.
    private const int MostWordsKept = 1 << 18, LongestWordKept = 32, MostOnStack = 1024;

    private readonly BpeTokenizer _bpe;
    private readonly ConcurrentDictionary<string, int[]> _words = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, int[]>.AlternateLookup<ReadOnlySpan<char>> _wordsBySpan;
    private int _wordsKept;

    /// <param name="mergesPath">A version line, then one merge a line: two tokens with a space between, best first.</param>
    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    /// <exception cref="InvalidDataException">A line is not a merge of tokens known before it.</exception>
    public ClipTokenizer(string mergesPath)
    {
        if (!File.Exists(mergesPath)) throw new FileNotFoundException($"The tokenizer's merges '{mergesPath}' do not exist; check the path.", mergesPath);
        var vocabulary = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (string suffix in new[] { "", Suffix })
        {
            foreach (char symbol in ByteSymbols()) vocabulary.Add(symbol + suffix, vocabulary.Count);
        }
        var merges = new List<string>();
        foreach (string line in File.ReadLines(mergesPath).Skip(1))
        {
            string[] pair = line.Split(' ');
            if (pair.Length != 2 || !vocabulary.ContainsKey(pair[0]) || !vocabulary.ContainsKey(pair[1]) || !vocabulary.TryAdd(pair[0] + pair[1], vocabulary.Count))
                throw new InvalidDataException($"'{mergesPath}', line {merges.Count + 2}: '{line}' is not a new merge of two known tokens; restore the file.");
            merges.Add(line);
        }
        StartId = vocabulary.Count;
        EndId = vocabulary.Count + 1;
        VocabularySize = vocabulary.Count + 2;
        var special = new Dictionary<string, int>(StringComparer.Ordinal) { [ClipWords.StartOfText] = StartId, [ClipWords.EndOfText] = EndId };
        foreach (var (token, id) in special) vocabulary.Add(token, id);
        (Vocabulary, Merges) = (vocabulary, merges);
        _bpe = BpeTokenizer.Create(new BpeOptions(vocabulary)
        {
            Merges = merges,
            EndOfWordSuffix = Suffix,
            ByteLevel = true,
            PreTokenizer = new ClipWords(),
            SpecialTokens = special,
        });
        _wordsBySpan = _words.GetAlternateLookup<ReadOnlySpan<char>>();
    }

    /// <summary>What merges a word that was not met before.</summary>
    internal BpeTokenizer Library => _bpe;

    /// <summary>49,408 with CLIP's merges.</summary>
    public int VocabularySize { get; }

    /// <summary>Every token with its id.</summary>
    internal IReadOnlyDictionary<string, int> Vocabulary { get; }

    /// <summary>Two tokens with a space between, best first.</summary>
    internal IReadOnlyList<string> Merges { get; }

    public int StartId { get; }

    public int EndId { get; }

    /// <summary>The ids of a text, without start and end.</summary>
    public int[] Encode(string text)
    {
        var ids = new List<int>();
        string clean = Clean(text);
        for (var rest = clean.AsSpan(); !rest.IsEmpty;)
        {
            if (ClipWords.IsWord(rest, out int length)) ids.AddRange(Word(rest[..length]));
            rest = rest[length..];
        }
        return [.. ids];
    }

    /// <summary>
    /// Fills <paramref name="ids"/> with start, the caption, end, and zeros. A caption that does not fit loses its tail: the end token is then in
    /// the last place. Returns whether it was cut.
    /// </summary>
    public bool EncodeCaption(ReadOnlySpan<char> caption, Span<int> ids)
    {
        if (ids.Length < 2) throw new ArgumentException($"A context of {ids.Length} tokens has no room for start and end; use at least 2.");
        ids[0] = StartId;
        Span<char> ascii = stackalloc char[Math.Min(caption.Length, MostOnStack)];
        ReadOnlySpan<char> clean = TryCleanAscii(caption, ascii, out int cleaned) ? ascii[..cleaned] : Clean(caption.ToString());
        var room = ids[1..^1];
        bool cut = false;
        for (var rest = clean; !rest.IsEmpty && !cut;)
        {
            if (ClipWords.IsWord(rest, out int length))
            {
                ReadOnlySpan<int> word = Word(rest[..length]);
                cut = word.Length > room.Length;
                if (cut) word = word[..room.Length];
                word.CopyTo(room);
                room = room[word.Length..];
            }
            rest = rest[length..];
        }
        int end = ids.Length - 1 - room.Length;
        ids[end] = EndId;
        ids[(end + 1)..].Clear();
        return cut;
    }

    /// <summary>Encodes captions as <see cref="EncodeCaption"/> does, one after another, and counts those that were cut.</summary>
    /// <param name="ids">captions · context length ids.</param>
    public int EncodeCaptions(IReadOnlyList<string> captions, int contextLength, Span<int> ids)
    {
        if (ids.Length != (long)captions.Count * contextLength) throw new ArgumentException($"{ids.Length} ids are not {captions.Count} captions of {contextLength}.", nameof(ids));
        int cut = 0;
        for (int i = 0; i < captions.Count; i++)
        {
            if (EncodeCaption(captions[i], ids.Slice(i * contextLength, contextLength))) cut++;
        }
        return cut;
    }

    /// <summary>The ids of one word of clean text.</summary>
    private int[] Word(ReadOnlySpan<char> word)
    {
        if (_wordsBySpan.TryGetValue(word, out int[]? ids)) return ids;
        string text = word.ToString();
        ids = [.. _bpe.EncodeToIds(text)];
        if (text.Length <= LongestWordKept && _wordsKept < MostWordsKept && _words.TryAdd(text, ids)) Interlocked.Increment(ref _wordsKept);
        return ids;
    }

    /// <summary>The text that is cut into words: decoded, single spaces, none at the ends, lower case.</summary>
    internal static string Clean(string text)
    {
        string decoded = HtmlEntities.Unescape(HtmlEntities.Unescape(text));
        var spaced = new StringBuilder(decoded.Length);
        foreach (char c in decoded)
        {
            if (!ClipWords.IsSpace(c)) spaced.Append(c);
            else if (spaced.Length > 0 && spaced[^1] != ' ') spaced.Append(' ');
        }
        if (spaced.Length > 0 && spaced[^1] == ' ') spaced.Length--;
        return PythonLower(spaced.ToString());
    }

    /// <summary>Cleans a text as <see cref="Clean"/> does into memory that is there, if it has no reference to decode and no letter that is hard to lower.</summary>
    internal static bool TryCleanAscii(ReadOnlySpan<char> text, Span<char> clean, out int length)
    {
        length = 0;
        if (text.Length > clean.Length || text.Contains('&') || !Ascii.IsValid(text)) return false;
        foreach (char c in text)
        {
            if (!ClipWords.IsSpace(c)) clean[length++] = char.ToLowerInvariant(c);
            else if (length > 0 && clean[length - 1] != ' ') clean[length++] = ' ';
        }
        if (length > 0 && clean[length - 1] == ' ') length--;
        return true;
    }

    /// <summary>
    /// Python's <c>str.lower</c>: Unicode's simple mapping, but İ becomes i with a dot above, and Σ at the end of a word ς (Unicode Standard,
    /// section 3.13: a cased letter before and none after, case-ignorable characters between not counting).
    /// </summary>
    internal static string PythonLower(string text)
    {
        if (Ascii.IsValid(text)) return text.ToLowerInvariant();
        var lower = new StringBuilder(text.Length);
        Rune[] runes = [.. text.EnumerateRunes()];
        for (int i = 0; i < runes.Length; i++)
        {
            if (runes[i].Value == 'İ') lower.Append("i\u0307");
            else if (runes[i].Value == 'Σ') lower.Append(IsCasedBeyond(runes.AsSpan(0, i), fromEnd: true) && !IsCasedBeyond(runes.AsSpan(i + 1), fromEnd: false) ? 'ς' : 'σ');
            else lower.Append(Rune.ToLowerInvariant(runes[i]).ToString());
        }
        return lower.ToString();
    }

    private static bool IsCasedBeyond(ReadOnlySpan<Rune> runes, bool fromEnd)
    {
        for (int i = 0; i < runes.Length; i++)
        {
            var rune = runes[fromEnd ? ^(i + 1) : i];
            if (!IsCaseIgnorable(rune)) return IsCased(rune);
        }
        return false;
    }

    /// <summary>Unicode's Cased but for the modifier letters, all of which are case-ignorable too: letters with a case, Roman numerals, circled letters, ª and º.</summary>
    private static bool IsCased(Rune rune) =>
        Rune.GetUnicodeCategory(rune) is UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter
        || rune.Value is 'ª' or 'º' or (>= 0x2160 and <= 0x217F) or (>= 0x24B6 and <= 0x24E9) or (>= 0x1F130 and <= 0x1F149) or (>= 0x1F150 and <= 0x1F169) or (>= 0x1F170 and <= 0x1F189);

    /// <summary>Unicode's Case_Ignorable: marks, format characters, modifiers, and the punctuation that stands inside words.</summary>
    private static bool IsCaseIgnorable(Rune rune) =>
        Rune.GetUnicodeCategory(rune) is UnicodeCategory.NonSpacingMark or UnicodeCategory.EnclosingMark or UnicodeCategory.Format
            or UnicodeCategory.ModifierLetter or UnicodeCategory.ModifierSymbol
        || rune.Value is '\'' or '.' or ':' or '·' or 0x0387 or 0x055F or 0x05F4 or 0x2018 or 0x2019 or 0x2024 or 0x2027 or 0xFE13 or 0xFE52 or 0xFE55 or 0xFF07 or 0xFF0E or 0xFF1A;

    /// <summary>A visible character for every byte, in the order of CLIP's ids: printable Latin-1 stands for itself, the others for U+0100 onwards.</summary>
    private static IEnumerable<char> ByteSymbols()
    {
        static bool Printable(int value) => value is (>= '!' and <= '~') or (>= '¡' and <= '¬') or (>= '®' and <= 'ÿ');
        var bytes = Enumerable.Range(0, 256).ToArray();
        return bytes.Where(Printable).Select(value => (char)value).Concat(bytes.Where(value => !Printable(value)).Select((_, i) => (char)(256 + i)));
    }
}
