using System.Collections.Immutable;

namespace ClipCuda.Ptx;

/// <summary>
/// Reads a module: directives, declarations, and the heads of entries and functions. Bodies are passed over, and read by a <see cref="BodyParser"/>
/// when they are first asked for. Opcodes stay text (an engine's table knows them); names are resolved to registers, symbols and instruction
/// indices. Grammar: PTX ISA, chapters 4, 5 and 11.
/// </summary>
internal sealed class PtxParser(string text, string module) : PtxReader(new PtxLexer(text, module))
{
    private readonly Dictionary<int, string> _files = [];
    private readonly ModuleVariables _variables = new();
    private readonly Dictionary<string, PtxFunction> _functions = new(StringComparer.Ordinal);
    private readonly List<Lazy<PtxBody>> _bodies = [];
    private ModuleNames _names = ModuleNames.None;
    private bool _isExtern;

    /// <param name="bodies">Bodies are read too, in the order of the text.</param>
    public PtxModule ParseModule(bool bodies)
    {
        var entries = new List<PtxEntry>();
        while (Token.Kind != TokenKind.End)
        {
            switch (Token.Text)
            {
                case ".version" or ".target":
                    SkipLine(Token.Line);
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
                    _isExtern = Token.Text == ".extern";
                    Advance();
                    break;
                case ".entry":
                    entries.Add(ParseEntry());
                    break;
                case ".shared":
                    _names = _names with { Shared = _names.Shared.Add(ParseShared(_isExtern)) };
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
                    throw Error($"'{Token.Text}' is not supported at module level (supported: .entry, .func, .shared, .global, .const, .file)");
            }
        }
        if (bodies)
        {
            foreach (var body in _bodies) _ = body.Value;
            foreach (var entry in entries) entry.ReadBody();
        }
        return new PtxModule(module, entries);
    }

    private PtxEntry ParseEntry()
    {
        Advance();
        string name = ExpectWord();
        var parameters = ParseParameters();
        int maxThreads = 0;
        while (!Token.Is('{'))
        {
            string directive = ExpectWord();
            int product = 1;
            do product *= (int)ExpectNumber();
            while (TryTake(','));
            if (directive is ".maxntid" or ".reqntid") maxThreads = product;
            else if (directive is not (".minnctapersm" or ".maxnreg")) throw Error($"directive '{directive}' is not supported on an entry");
        }
        var own = TakeBody(name, parameters, _names.Shared);
        return new PtxEntry(module, name, ReadFlat) { Parameters = parameters, MaxThreadsPerBlock = maxThreads, Variables = _variables };

        PtxBody ReadFlat()
        {
            var body = own.Value;
            Inliner.Flatten(body, _functions);
            NameSources(body);
            return body;
        }
    }

    /// <summary>A function: its code is put in place of each call (<see cref="Inliner"/>); a declaration alone says nothing.</summary>
    private void ParseFunction()
    {
        Advance();
        var returns = ParseParameters();
        string name = ExpectWord();
        var parameters = ParseParameters();
        while (Token.Text is ".noreturn" or ".unique" or ".maxntid" or ".minnctapersm")
        {
            Advance();
            while (Token.Kind == TokenKind.Number || Token.Is(',')) Advance();
        }
        if (!_names.Functions.Contains(name)) _names = _names with { Functions = _names.Functions.Add(name) };
        if (TryTake(';'))
        {
            // Calls of it may come before its body.
            _functions.TryAdd(name, new PtxFunction(parameters, returns, Body: null));
            return;
        }
        if (!Token.Is('{')) throw Error($"expected '{{', found '{Token.Text}'");
        _functions[name] = new PtxFunction(parameters, returns, TakeBody(name, [.. parameters, .. returns], []));
    }

    /// <summary>Passes over a body, to be read later. One that is not closed is read at once: somewhere in it there is an error.</summary>
    /// <param name="shared">Shared variables of the module that lie before its own.</param>
    private Lazy<PtxBody> TakeBody(string name, IReadOnlyList<PtxParameter> parameters, IReadOnlyList<SharedVariable> shared)
    {
        var (lexer, names) = (Lexer.TakeBody(out bool closed), _names);
        var body = new Lazy<PtxBody>(() => new BodyParser(lexer, new PtxBody(module, name), names, parameters, shared).Parse());
        if (!closed) _ = body.Value;
        Advance();
        if (!closed) throw Error($"the body of '{name}' has no end");
        _bodies.Add(body);
        return body;
    }

    /// <summary>
    /// The file table stands at the end of what clang writes. Lines of clang's own headers do not interest anybody: the last line before them counts.
    /// </summary>
    private void NameSources(PtxBody body)
    {
        (int File, ulong Line) location = default;
        string? source = null;
        foreach (var instruction in body.Instructions)
        {
            if (instruction.Location != location)
            {
                location = instruction.Location;
                if (_files.TryGetValue(location.File, out string? file) && !file.StartsWith("clang/", StringComparison.Ordinal))
                    source = $"{(file.StartsWith("./", StringComparison.Ordinal) ? file[2..] : file)}:{location.Line}";
            }
            instruction.Source = source;
        }
    }

    private void ParseVariable()
    {
        Advance();
        if (TryTake(".attribute")) SkipBrackets();
        if (TryTake(".align")) ExpectNumber(); // all are aligned to 128 bytes
        int size = TypeBytes(ExpectWord());
        var at = Token;
        string name = ExpectWord();
        int count = 1;
        bool sized = true;
        while (TryTake('['))
        {
            sized = Token.Kind == TokenKind.Number;
            if (sized) count *= (int)ExpectNumber();
            Expect("]");
        }
        var bytes = new List<byte>();
        if (TryTake('=')) ParseInitialiser(size, bytes);
        Expect(";");
        if (!sized) count = bytes.Count / size;
        if (bytes.Count > count * size) throw Error($"'{name}' has more initialisers than elements", at);
        if (_names.Variables.ContainsKey(name)) throw Error($"'{name}' is declared twice", at);
        _names = _names with { Variables = _names.Variables.Add(name, _variables.Add(count * size, bytes.ToArray())) };
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
        if (Token.Kind == TokenKind.Word)
        {
            var at = Token;
            string name = ExpectWord();
            bool generic = name == "generic" && TryTake('(');
            if (generic) name = ExpectWord();
            if (!_names.Variables.TryGetValue(name, out value)) throw Error($"'{name}' is no variable that was declared before", at);
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
        while (Token.Kind != TokenKind.End && !Token.Is(')')) Advance();
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
                while (Token.Text is ".global" or ".shared" or ".const" or ".local") Advance();
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

    private void ParseFile()
    {
        int line = Token.Line;
        Advance();
        int index = (int)ExpectNumber();
        if (Token.Kind != TokenKind.Text) throw Error("a file name in quotes is missing");
        _files[index] = Token.Text;
        SkipLine(line);
    }

    /// <summary>Debug information is not run; its braces hold none of their own.</summary>
    private void SkipSection()
    {
        while (Token.Kind != TokenKind.End && !Token.Is('}')) Advance();
        Advance();
    }
}

/// <summary>What a body may name of its module: what is declared before it.</summary>
internal sealed record ModuleNames(ImmutableList<SharedVariable> Shared, ImmutableDictionary<string, ulong> Variables, ImmutableList<string> Functions)
{
    public static readonly ModuleNames None = new([], ImmutableDictionary.Create<string, ulong>(StringComparer.Ordinal), []);
}
