using System.Buffers;
using System.Globalization;

namespace ClipCuda.Ptx;

internal enum TokenKind
{
    /// <summary>A name, directive or opcode, dots and type suffixes included: <c>.reg</c>, <c>%f1</c>, <c>ld.global.f32</c>.</summary>
    Word,

    /// <summary>A number; its bits are in <see cref="Token.Bits"/>.</summary>
    Number,
    Text,
    Punctuation,
    End,
}

/// <summary>A token with the place it was read at, both counted from 1.</summary>
internal readonly record struct Token(TokenKind Kind, string Text, ulong Bits, int Line, int Column)
{
    public bool Is(char punctuation) => Kind == TokenKind.Punctuation && Text[0] == punctuation;
}

/// <summary>Splits PTX text into tokens; comments and white space go. Grammar: PTX ISA 8.x, section 4 (Syntax).</summary>
internal sealed class PtxLexer(string text, string module)
{
    /// <summary>A string a character, made once: half of all tokens are punctuation.</summary>
    private static readonly string[] Ascii = [.. Enumerable.Range(0, 128).Select(c => ((char)c).ToString())];

    private static readonly SearchValues<char> BodyMarks = SearchValues.Create("{}\"/");

    private int _end = text.Length;
    private int _at;
    private int _line = 1;
    private int _lineStart;

    private int Column => _at - _lineStart + 1;

    public Token Next()
    {
        SkipBlanks();
        if (_at == _end) return new Token(TokenKind.End, "end of file", 0, _line, Column);
        (int line, int column, int start) = (_line, Column, _at);
        char c = text[_at];
        if (char.IsAsciiDigit(c)) return ReadNumber(line, column);
        if (IsWordStart(c))
        {
            while (_at < text.Length && IsWordPart(text[_at])) _at++;
            return new Token(TokenKind.Word, text[start.._at], 0, line, column);
        }
        if (c == '"')
        {
            int end = text.IndexOf('"', start + 1);
            if (end < 0) throw Error(line, column, "a string without its closing quote");
            _at = end + 1;
            return new Token(TokenKind.Text, text[(start + 1)..end], 0, line, column);
        }
        _at++;
        return new Token(TokenKind.Punctuation, c < Ascii.Length ? Ascii[c] : c.ToString(), 0, line, column);
    }

    /// <summary>
    /// After an opening brace, passes over the text up to its closing brace, without a look at words and numbers. The result reads what was passed over,
    /// the closing brace included; if there is none, <paramref name="closed"/> is false and that is all the rest.
    /// </summary>
    /// <exception cref="PtxException">A comment or a string without its end.</exception>
    public PtxLexer TakeBody(out bool closed)
    {
        var body = new PtxLexer(text, module) { _at = _at, _line = _line, _lineStart = _lineStart };
        int depth = 1;
        while (depth > 0 && MoveToMark())
        {
            switch (text[_at])
            {
                case '"':
                    Next();
                    break;
                case '/':
                    int slash = _at;
                    SkipBlanks();
                    if (_at == slash) _at++; // no comment
                    break;
                case var brace:
                    depth += brace == '{' ? 1 : -1;
                    _at++;
                    break;
            }
        }
        closed = depth == 0;
        body._end = _at;
        return body;
    }

    /// <summary>To the next brace, quotation mark or slash; false if the end comes first.</summary>
    private bool MoveToMark()
    {
        int length = text.AsSpan(_at, _end - _at).IndexOfAny(BodyMarks);
        var passed = text.AsSpan(_at, length < 0 ? _end - _at : length);
        _line += passed.Count('\n');
        if (passed.LastIndexOf('\n') is >= 0 and var last) _lineStart = _at + last + 1;
        _at += passed.Length;
        return length >= 0;
    }

    private Token ReadNumber(int line, int column)
    {
        int start = _at;
        while (_at < text.Length && (char.IsAsciiLetterOrDigit(text[_at]) || text[_at] == '.')) _at++;
        string word = text[start.._at];
        if (word.Contains('.')) return new Token(TokenKind.Text, word, 0, line, column); // a version
        string digits = word.TrimEnd('U');
        bool read = digits switch
        {
            ['0', 'f' or 'F', .. var hex] => ulong.TryParse(hex, NumberStyles.HexNumber, CultureInfo.InvariantCulture, out _) && hex.Length == 8,
            ['0', 'd' or 'D', .. var hex] => ulong.TryParse(hex, NumberStyles.HexNumber, CultureInfo.InvariantCulture, out _) && hex.Length == 16,
            _ => true,
        };
        ulong bits = 0;
        read = read && digits switch
        {
            ['0', 'f' or 'F' or 'd' or 'D' or 'x' or 'X', .. var hex] => ulong.TryParse(hex, NumberStyles.HexNumber, CultureInfo.InvariantCulture, out bits),
            ['0', 'b' or 'B', .. var binary] => ulong.TryParse(binary, NumberStyles.BinaryNumber, CultureInfo.InvariantCulture, out bits),
            ['0', _, ..] => TryParseOctal(digits, out bits),
            _ => ulong.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out bits),
        };
        if (!read) throw Error(line, column, $"'{word}' is not a number");
        return new Token(TokenKind.Number, word, bits, line, column);
    }

    private static bool TryParseOctal(string digits, out ulong bits)
    {
        bits = 0;
        foreach (char digit in digits)
        {
            if (digit is < '0' or > '7' || bits >> 61 != 0) return false;
            bits = (bits << 3) | (uint)(digit - '0');
        }
        return true;
    }

    private void SkipBlanks()
    {
        while (_at < _end)
        {
            char c = text[_at];
            if (c == '\n')
            {
                _at++;
                (_line, _lineStart) = (_line + 1, _at);
            }
            else if (char.IsWhiteSpace(c))
            {
                _at++;
            }
            else if (c == '/' && _at + 1 < text.Length && text[_at + 1] == '/')
            {
                while (_at < text.Length && text[_at] != '\n') _at++;
            }
            else if (c == '/' && _at + 1 < text.Length && text[_at + 1] == '*')
            {
                int end = text.IndexOf("*/", _at + 2, StringComparison.Ordinal);
                if (end < 0) throw Error(_line, Column, "a comment without its end");
                for (; _at < end + 2; _at++)
                {
                    if (text[_at] == '\n') (_line, _lineStart) = (_line + 1, _at + 1);
                }
            }
            else
            {
                return;
            }
        }
    }

    private static bool IsWordStart(char c) => char.IsAsciiLetter(c) || c is '_' or '$' or '%' or '.';

    private static bool IsWordPart(char c) => char.IsAsciiLetterOrDigit(c) || c is '_' or '$' or '%' or '.';

    public PtxException Error(int line, int column, string what) => new($"{module}({line},{column}): {what}.");
}
