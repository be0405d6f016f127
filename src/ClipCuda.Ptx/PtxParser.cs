namespace ClipCuda.Ptx;

/// <summary>
/// Reads a module: directives, entries, declarations, instructions. Opcodes stay text (an engine's table knows them); names are resolved
/// to registers, symbols and instruction indices. Grammar: PTX ISA, chapters 4, 5 and 11.
/// </summary>
internal sealed partial class PtxParser
{
    private readonly PtxLexer _lexer;
    private readonly string _module;
    private readonly Dictionary<int, string> _files = [];
    private readonly List<(string Name, int Bytes, int Alignment, bool Dynamic)> _moduleShared = [];
    private readonly ModuleVariables _variables = new();
    private readonly Dictionary<string, PtxFunction> _functions = new(StringComparer.Ordinal);
    private Token _token;
    private (int File, ulong Line) _location;
    private bool _isExtern;

    public PtxParser(string text, string module)
    {
        _module = module;
        _lexer = new PtxLexer(text, module);
        _token = _lexer.Next();
    }

    public PtxModule ParseModule()
    {
        var entries = new List<PtxEntry>();
        while (_token.Kind != TokenKind.End)
        {
            switch (_token.Text)
            {
                case ".version" or ".target":
                    SkipLine(_token.Line);
                    break;
                case ".address_size":
                    Advance();
                    if (ExpectNumber() != 64) throw Error("only 64-bit addresses are supported");
                    break;
                case ".file":
                    ParseFile();
                    break;
                case ".section":
                    SkipSection();
                    break;
                case ".visible" or ".weak" or ".extern" or ".common":
                    _isExtern = _token.Text == ".extern";
                    Advance();
                    break;
                case ".entry":
                    entries.Add(ParseEntry());
                    break;
                case ".shared":
                    _moduleShared.Add(ParseShared(_isExtern));
                    _isExtern = false;
                    break;
                case ".func":
                    ParseFunction();
                    break;
                case ".global" or ".const":
                    ParseVariable();
                    break;
                case ".pragma" or ".alias":
                    SkipStatement();
                    break;
                default:
                    throw Error($"'{_token.Text}' is not supported at module level (supported: .entry, .func, .shared, .global, .const, .file)");
            }
        }
        foreach (var entry in entries) Inliner.Flatten(entry, _functions);
        NameSources(entries);
        return new PtxModule(_module, entries);
    }

    /// <summary>
    /// The file table stands at the end of what clang writes. Lines of clang's own headers do not interest anybody: the last line before them counts.
    /// </summary>
    private void NameSources(List<PtxEntry> entries)
    {
        foreach (var entry in entries)
        {
            string? source = null;
            foreach (var instruction in entry.Instructions)
            {
                if (_files.TryGetValue(instruction.Location.File, out string? file) && !file.StartsWith("clang/", StringComparison.Ordinal))
                    source = $"{(file.StartsWith("./", StringComparison.Ordinal) ? file[2..] : file)}:{instruction.Location.Line}";
                instruction.Source = source;
            }
        }
    }

    private PtxEntry ParseEntry()
    {
        Advance();
        var entry = new PtxEntry(_module, ExpectWord()) { Variables = _variables };
        _location = default;
        entry.Parameters = ParseParameters();
        int sharedEnd = 0;
        foreach (var variable in _moduleShared) PlaceShared(entry, variable, ref sharedEnd);
        while (!_token.Is('{'))
        {
            string directive = ExpectWord();
            int product = 1;
            do product *= (int)ExpectNumber();
            while (TryTake(','));
            if (directive is ".maxntid" or ".reqntid") entry.MaxThreadsPerBlock = product;
            else if (directive is not (".minnctapersm" or ".maxnreg")) throw Error($"directive '{directive}' is not supported on an entry");
        }
        Advance();
        new BodyParser(this, entry, [], sharedEnd).Parse();
        return entry;
    }

    /// <summary>A function: its code is put in place of each call (<see cref="Inliner"/>); a declaration alone says nothing.</summary>
    private void ParseFunction()
    {
        Advance();
        var returns = ParseParameters();
        var body = new PtxEntry(_module, ExpectWord()) { Variables = _variables };
        _location = default;
        body.Parameters = ParseParameters();
        while (_token.Text is ".noreturn" or ".unique" or ".maxntid" or ".minnctapersm")
        {
            Advance();
            while (_token.Kind == TokenKind.Number || _token.Is(',')) Advance();
        }
        if (TryTake(';'))
        {
            // Calls of it may come before its body.
            _functions.TryAdd(body.Name, new PtxFunction(body, returns, IsDefined: false));
            return;
        }
        Expect("{");
        _functions[body.Name] = new PtxFunction(body, returns, IsDefined: true);
        new BodyParser(this, body, returns, 0).Parse();
    }

    private void ParseVariable()
    {
        Advance();
        if (TryTake(".attribute")) SkipBrackets();
        if (TryTake(".align")) ExpectNumber(); // all are aligned to 128 bytes
        int size = TypeBytes(ExpectWord());
        var at = _token;
        string name = ExpectWord();
        int count = 1;
        bool sized = true;
        while (TryTake('['))
        {
            sized = _token.Kind == TokenKind.Number;
            if (sized) count *= (int)ExpectNumber();
            Expect("]");
        }
        var bytes = new List<byte>();
        if (TryTake('=')) ParseInitialiser(size, bytes);
        Expect(";");
        if (!sized) count = bytes.Count / size;
        if (bytes.Count > count * size) throw Error($"'{name}' has more initialisers than elements", at);
        if (!_variables.TryAdd(name, count * size, bytes.ToArray())) throw Error($"'{name}' is declared twice", at);
    }

    /// <summary>Numbers, or addresses of variables, in braces or alone.</summary>
    private void ParseInitialiser(int size, List<byte> bytes)
    {
        if (TryTake('{'))
        {
            while (!TryTake('}'))
            {
                ParseInitialiser(size, bytes);
                TryTake(',');
            }
            return;
        }
        bool negative = TryTake('-');
        ulong value;
        if (_token.Kind == TokenKind.Word)
        {
            var at = _token;
            string name = ExpectWord();
            bool generic = name == "generic" && TryTake('(');
            if (generic) name = ExpectWord();
            if (!_variables.TryFind(name, out value)) throw Error($"'{name}' is no variable that was declared before", at);
            if (generic) Expect(")");
            if (TryTake('+')) value += ExpectNumber();
        }
        else
        {
            value = ExpectNumber();
        }
        if (negative) value = 0 - value;
        bytes.AddRange(BitConverter.GetBytes(value).AsSpan(0, size));
    }

    private void SkipBrackets()
    {
        while (_token.Kind != TokenKind.End && !_token.Is(')')) Advance();
        Advance();
    }

    private void SkipStatement()
    {
        while (_token.Kind != TokenKind.End && !_token.Is(';')) Advance();
        Advance();
    }

    private List<PtxParameter> ParseParameters()
    {
        var parameters = new List<PtxParameter>();
        int end = 0;
        if (!TryTake('(')) return parameters;
        while (!TryTake(')'))
        {
            Expect(".param");
            int alignment = 0;
            if (TryTake(".align")) alignment = (int)ExpectNumber();
            int size = TypeBytes(ExpectWord());
            if (TryTake(".ptr"))
            {
                while (_token.Text is ".global" or ".shared" or ".const" or ".local") Advance();
                if (TryTake(".align")) ExpectNumber();
            }
            string name = ExpectWord();
            alignment = Math.Max(alignment, size);
            if (TryTake('['))
            {
                size *= (int)ExpectNumber();
                Expect("]");
            }
            int offset = (end + alignment - 1) / alignment * alignment;
            parameters.Add(new PtxParameter(name, offset, size));
            end = offset + size;
            TryTake(',');
        }
        return parameters;
    }

    private (string Name, int Bytes, int Alignment, bool Dynamic) ParseShared(bool dynamic)
    {
        Expect(".shared");
        int alignment = TryTake(".align") ? (int)ExpectNumber() : 0;
        int bytes = TypeBytes(ExpectWord());
        alignment = Math.Max(alignment, bytes);
        string name = ExpectWord();
        bool sized = false;
        while (TryTake('['))
        {
            if (_token.Kind == TokenKind.Number)
            {
                bytes *= (int)ExpectNumber();
                sized = true;
            }
            Expect("]");
        }
        Expect(";");
        return (name, bytes, alignment, dynamic && !sized);
    }

    private static void PlaceShared(PtxEntry entry, (string Name, int Bytes, int Alignment, bool Dynamic) variable, ref int end)
    {
        if (variable.Dynamic)
        {
            entry.SharedOffsets[variable.Name] = PtxEntry.DynamicShared;
            return;
        }
        int offset = (end + variable.Alignment - 1) / variable.Alignment * variable.Alignment;
        entry.SharedOffsets[variable.Name] = offset;
        end = offset + variable.Bytes;
        entry.StaticSharedBytes = end;
    }

    private void ParseFile()
    {
        int line = _token.Line;
        Advance();
        int index = (int)ExpectNumber();
        if (_token.Kind != TokenKind.Text) throw Error("a file name in quotes is missing");
        _files[index] = _token.Text;
        SkipLine(line);
    }

    private void ParseLocation()
    {
        int line = _token.Line;
        Advance();
        int file = (int)ExpectNumber();
        ulong sourceLine = ExpectNumber();
        // Line 0 marks code that belongs to no line of its own.
        if (sourceLine > 0) _location = (file, sourceLine);
        SkipLine(line);
    }

    /// <summary>Debug information is not run; its braces hold none of their own.</summary>
    private void SkipSection()
    {
        while (_token.Kind != TokenKind.End && !_token.Is('}')) Advance();
        Advance();
    }

    private void SkipLine(int line)
    {
        while (_token.Kind != TokenKind.End && _token.Line == line) Advance();
    }

    private void Advance() => _token = _lexer.Next();

    private bool TryTake(char punctuation)
    {
        if (!_token.Is(punctuation)) return false;
        Advance();
        return true;
    }

    private bool TryTake(string word)
    {
        if (_token.Kind != TokenKind.Word || _token.Text != word) return false;
        Advance();
        return true;
    }

    private void Expect(string text)
    {
        if (_token.Text != text) throw Error($"expected '{text}', found '{_token.Text}'");
        Advance();
    }

    private string ExpectWord()
    {
        if (_token.Kind != TokenKind.Word) throw Error($"expected a name, found '{_token.Text}'");
        string text = _token.Text;
        Advance();
        return text;
    }

    private ulong ExpectNumber()
    {
        if (_token.Kind != TokenKind.Number) throw Error($"expected a number, found '{_token.Text}'");
        ulong bits = _token.Bits;
        Advance();
        return bits;
    }

    private int TypeBytes(string type) => type switch
    {
        ".b8" or ".u8" or ".s8" => 1,
        ".b16" or ".u16" or ".s16" or ".f16" => 2,
        ".b32" or ".u32" or ".s32" or ".f32" => 4,
        ".b64" or ".u64" or ".s64" or ".f64" => 8,
        _ => throw Error($"'{type}' is not a supported type"),
    };

    private PtxException Error(string what) => Error(what, _token);

    private PtxException Error(string what, Token at) => new($"{_module}({at.Line},{at.Column}): {what}.");
}
