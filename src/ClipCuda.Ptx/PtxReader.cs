namespace ClipCuda.Ptx;

/// <summary>A shared variable; a dynamic one has the size that a launch gives it.</summary>
internal readonly record struct SharedVariable(string Name, int Bytes, int Alignment, bool IsDynamic);

/// <summary>What modules and bodies are read with alike: one token at a time, and what may stand in both.</summary>
internal abstract class PtxReader
{
    protected PtxReader(PtxLexer lexer)
    {
        Lexer = lexer;
        Token = lexer.Next();
    }

    protected PtxLexer Lexer { get; }

    /// <summary>The token that is to be read next.</summary>
    protected Token Token { get; private set; }

    protected SharedVariable ParseShared(bool isExtern)
    {
        Expect(".shared");
        int alignment = TryTake(".align") ? (int)ExpectNumber() : 0;
        int bytes = TypeBytes(ExpectWord());
        alignment = Math.Max(alignment, bytes);
        string name = ExpectWord();
        bool sized = false;
        while (TryTake('['))
        {
            if (Token.Kind == TokenKind.Number)
            {
                bytes *= (int)ExpectNumber();
                sized = true;
            }
            Expect("]");
        }
        Expect(";");
        return new SharedVariable(name, bytes, alignment, isExtern && !sized);
    }

    protected void SkipStatement()
    {
        while (Token.Kind != TokenKind.End && !Token.Is(';')) Advance();
        Advance();
    }

    protected void SkipLine(int line)
    {
        while (Token.Kind != TokenKind.End && Token.Line == line) Advance();
    }

    protected void Advance() => Token = Lexer.Next();

    protected bool TryTake(char punctuation)
    {
        if (!Token.Is(punctuation)) return false;
        Advance();
        return true;
    }

    protected bool TryTake(string word)
    {
        if (Token.Kind != TokenKind.Word || Token.Text != word) return false;
        Advance();
        return true;
    }

    protected void Expect(string text)
    {
        if (Token.Text != text) throw Error($"expected '{text}', found '{Token.Text}'");
        Advance();
    }

    protected string ExpectWord()
    {
        if (Token.Kind != TokenKind.Word) throw Error($"expected a name, found '{Token.Text}'");
        string text = Token.Text;
        Advance();
        return text;
    }

    protected ulong ExpectNumber()
    {
        if (Token.Kind != TokenKind.Number) throw Error($"expected a number, found '{Token.Text}'");
        ulong bits = Token.Bits;
        Advance();
        return bits;
    }

    protected int TypeBytes(string type) => type switch
    {
        ".b8" or ".u8" or ".s8" => 1,
        ".b16" or ".u16" or ".s16" or ".f16" => 2,
        ".b32" or ".u32" or ".s32" or ".f32" => 4,
        ".b64" or ".u64" or ".s64" or ".f64" => 8,
        _ => throw Error($"'{type}' is not a supported type"),
    };

    protected PtxException Error(string what) => Error(what, Token);

    protected PtxException Error(string what, Token at) => Lexer.Error(at.Line, at.Column, what);
}
