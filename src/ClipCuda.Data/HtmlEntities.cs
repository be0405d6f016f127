using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using AngleSharp.Html;

namespace ClipCuda.Data;

/// <summary>
/// Python's <c>html.unescape</c>, which CLIP's tokenizer applies: HTML 5's named references, those without a semicolon too where HTML knows them
/// (of an unknown name the longest known beginning is replaced), and numeric ones. As HTML 5 wants it, numbers from 128 to 159 are read as
/// Windows-1252, what is no character becomes U+FFFD, and control characters and noncharacters vanish.
/// </summary>
internal static partial class HtmlEntities
{
    /// <summary>Windows-1252's characters for the numbers 128 to 159; the five it lacks stay as they are.</summary>
    private const string Windows1252 = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008DŽ\u008F\u0090‘’“”•–—˜™š›œ\u009DžŸ";

    public static string Unescape(string text) => text.Contains('&', StringComparison.Ordinal) ? Reference().Replace(text, match => Replace(match.Groups["what"].Value)) : text;

    private static string Replace(string reference) => reference[0] == '#' ? Number(reference.AsSpan(1).TrimEnd(';')) : Named(reference);

    private static string Named(string reference)
    {
        for (int length = reference.Length; length > 1; length--)
        {
            if (HtmlEntityProvider.Resolver.GetSymbol(reference[..length]) is { } symbol) return symbol + reference[length..];
        }
        return "&" + reference;
    }

    private static string Number(ReadOnlySpan<char> digits)
    {
        bool hexadecimal = digits[0] is 'x' or 'X';
        bool fits = hexadecimal
            ? uint.TryParse(digits[1..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out uint number)
            : uint.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out number);
        if (!fits || number == 0 || !Rune.IsValid(number)) return "\uFFFD";
        if (number is >= 0x80 and <= 0x9F) return Windows1252[(int)number - 0x80].ToString();
        return IsNoCharacter(number) ? "" : new Rune(number).ToString();
    }

    private static bool IsNoCharacter(uint number) => number is < 0x09 or 0x0B or (>= 0x0E and < 0x20) or 0x7F or (>= 0xFDD0 and <= 0xFDEF) || (number & 0xFFFE) == 0xFFFE;

    [GeneratedRegex(@"&(?<what>\#[0-9]+;?|\#[xX][0-9a-fA-F]+;?|[^\t\n\f <&\#;]{1,32};?)", RegexOptions.ExplicitCapture)]
    private static partial Regex Reference();
}
