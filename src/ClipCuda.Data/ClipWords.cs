using System.Globalization;
using System.Text;
using Microsoft.ML.Tokenizers;

namespace ClipCuda.Data;

/// <summary>
/// Cuts clean text into the words of CLIP's pattern, the first that matches:
/// <c>&lt;|startoftext|&gt;|&lt;|endoftext|&gt;|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+</c>.
/// Written out, because a .NET regular expression sees UTF-16 code units and takes letters beyond U+FFFF for symbols.
/// </summary>
internal sealed class ClipWords : PreTokenizer
{
    public const string StartOfText = "<|startoftext|>", EndOfText = "<|endoftext|>";

    // OpenAI's pattern ignores case, so that the long s, which is lower case already, counts as an s.
    private static readonly string[] Fixed = [StartOfText, "<|\u017Ftartoftext|>", EndOfText, "'s", "'\u017F", "'t", "'re", "'ve", "'m", "'ll", "'d"];

    private enum Kind
    {
        Space,
        Letter,
        Number,
        Symbol,
    }

    public override IEnumerable<(int Offset, int Length)> PreTokenize(string text) => PreTokenize(text.AsSpan());

    public override IEnumerable<(int Offset, int Length)> PreTokenize(ReadOnlySpan<char> text)
    {
        var words = new List<(int Offset, int Length)>();
        for (int start = 0; start < text.Length;)
        {
            if (IsWord(text[start..], out int length)) words.Add((start, length));
            start += length;
        }
        return words;
    }

    /// <summary>Python's <c>\s</c>; .NET does not count the separators U+001C to U+001F.</summary>
    public static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\u001C' and <= '\u001F';

    /// <summary>Whether a text begins with a word, and how long that word or space is.</summary>
    public static bool IsWord(ReadOnlySpan<char> text, out int length)
    {
        length = WordLength(text, out var kind);
        return kind != Kind.Space;
    }

    private static int WordLength(ReadOnlySpan<char> text, out Kind kind)
    {
        foreach (string word in text[0] is '<' or '\'' ? Fixed : [])
        {
            if (!text.StartsWith(word)) continue;
            kind = Kind.Symbol;
            return word.Length;
        }
        kind = KindOf(text, out int length);
        if (kind is not (Kind.Letter or Kind.Symbol)) return length;
        while (length < text.Length && KindOf(text[length..], out int next) == kind) length += next;
        return length;
    }

    private static Kind KindOf(ReadOnlySpan<char> text, out int length)
    {
        Rune.DecodeFromUtf16(text, out var rune, out length);
        if (rune.IsBmp && IsSpace((char)rune.Value)) return Kind.Space;
        return Rune.GetUnicodeCategory(rune) switch
        {
            UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter
                or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter => Kind.Letter,
            UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber => Kind.Number,
            _ => Kind.Symbol,
        };
    }
}
