using System.Globalization;

namespace ClipCuda.Ptx;

/// <summary>
/// Reads a module: directives, entries, declarations, instructions. Opcodes stay text (an engine's table knows them); names are resolved
/// to registers, symbols and instruction indices. Grammar: PTX ISA, chapters 4, 5 and 11.
/// </summary>
internal sealed class PtxParser
{
    private readonly PtxLexer _lexer;
    private readonly string _module;
    private readonly Dictionary<int, string> _files = [];
    private readonly List<(string Name, int Bytes, int Alignment, bool Dynamic)> _moduleShared = [];
    private Token _token;
    private (int File, ulong Line) _location;

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
                case ".visible" or ".weak":
                    Advance();
                    break;
                case ".entry":
                    entries.Add(ParseEntry());
                    break;
                case ".extern" or ".shared":
                    _moduleShared.Add(ParseShared());
                    break;
                default:
                    throw Error($"'{_token.Text}' is not supported at module level (supported: .entry, .shared, .file)");
            }
        }
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
        var entry = new PtxEntry(_module, ExpectWord());
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
        new EntryBody(this, entry, sharedEnd).Parse();
        return entry;
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

    private (string Name, int Bytes, int Alignment, bool Dynamic) ParseShared()
    {
        bool dynamic = TryTake(".extern");
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

    /// <summary>What stands between an entry's braces.</summary>
    private sealed class EntryBody(PtxParser parser, PtxEntry entry, int sharedEnd)
    {
        private readonly Dictionary<string, int> _registers = new(StringComparer.Ordinal);
        private readonly Dictionary<string, int> _labels = new(StringComparer.Ordinal);
        private readonly List<(PtxOperand Operand, int Instruction, int Index, Token At)> _branches = [];
        private int _sharedEnd = sharedEnd;

        public void Parse()
        {
            for (int depth = 1; depth > 0;)
            {
                var token = parser._token;
                if (token.Kind == TokenKind.End) throw parser.Error($"the body of '{entry.Name}' has no end");
                if (parser.TryTake('{')) depth++;
                else if (parser.TryTake('}')) depth--;
                else if (!parser.TryTake(';')) ParseStatement();
            }
            foreach (var (operand, instruction, index, at) in _branches)
            {
                if (!_labels.TryGetValue(operand.Name, out int target))
                    throw parser.Error($"'{operand.Name}' is not declared", at);
                entry.Instructions[instruction].Operands[index] = operand with { Kind = PtxOperandKind.Label, Value = target };
            }
        }

        private void ParseStatement()
        {
            switch (parser._token.Text)
            {
                case ".reg":
                    ParseRegisters();
                    break;
                case ".shared":
                    PlaceShared(entry, parser.ParseShared(), ref _sharedEnd);
                    break;
                case ".loc":
                    parser.ParseLocation();
                    break;
                case ".pragma":
                    parser.SkipLine(parser._token.Line);
                    break;
                default:
                    if (parser._token.Kind == TokenKind.Word && parser._token.Text[0] == '.')
                        throw parser.Error($"'{parser._token.Text}' is not supported in an entry (supported: .reg, .shared, .loc, .pragma)");
                    ParseInstructionOrLabel();
                    break;
            }
        }

        private void ParseRegisters()
        {
            parser.Advance();
            string type = parser.ExpectWord();
            int bits = type == ".pred" ? 1 : 8 * parser.TypeBytes(type);
            bool isFloat = type is ".f32" or ".f64";
            do
            {
                string name = parser.ExpectWord();
                if (parser.TryTake('<'))
                {
                    int count = (int)parser.ExpectNumber();
                    for (int i = 0; i < count; i++) Declare(name + i.ToString(CultureInfo.InvariantCulture), bits, isFloat);
                    parser.Expect(">");
                }
                else
                {
                    Declare(name, bits, isFloat);
                }
            }
            while (parser.TryTake(','));
            parser.Expect(";");
        }

        private void Declare(string name, int bits, bool isFloat)
        {
            if (!_registers.TryAdd(name, entry.Registers.Count)) throw parser.Error($"register '{name}' is declared twice");
            entry.Registers.Add(new PtxRegister(name, bits, isFloat));
        }

        private void ParseInstructionOrLabel()
        {
            int guard = -1;
            bool negated = false;
            if (parser.TryTake('@'))
            {
                negated = parser.TryTake('!');
                string name = parser.ExpectWord();
                guard = _registers.TryGetValue(name, out int register) ? register : throw parser.Error($"'{name}' is not declared");
            }
            var start = parser._token;
            string opcode = parser.ExpectWord();
            if (guard < 0 && parser.TryTake(':'))
            {
                if (!_labels.TryAdd(opcode, entry.Instructions.Count)) throw parser.Error($"label '{opcode}' is declared twice", start);
                return;
            }
            var operands = new List<PtxOperand>();
            while (!parser._token.Is(';'))
            {
                operands.Add(ParseOperand(opcode, operands.Count));
                if (parser.TryTake('|')) operands.Add(ParseOperand(opcode, operands.Count));
                if (!parser.TryTake(',') && !parser._token.Is(';')) throw parser.Error($"expected ',' or ';', found '{parser._token.Text}'");
            }
            parser.Advance();
            entry.Instructions.Add(new PtxInstruction
            {
                Opcode = opcode,
                Operands = [.. operands],
                Guard = guard,
                GuardNegated = negated,
                Line = start.Line,
                Column = start.Column,
                Location = parser._location,
            });
        }

        private PtxOperand ParseOperand(string opcode, int index)
        {
            if (parser.TryTake('['))
            {
                var target = ParseOperand(opcode, index);
                long offset = 0;
                if (parser.TryTake('+')) offset = ParseOperand(opcode, index).Value;
                parser.Expect("]");
                return new PtxOperand(PtxOperandKind.Address, target.Register, offset, target.Name);
            }
            if (parser.TryTake('{'))
            {
                var elements = new List<PtxOperand>();
                do elements.Add(ParseOperand(opcode, index));
                while (parser.TryTake(','));
                parser.Expect("}");
                return new PtxOperand(PtxOperandKind.Vector, Elements: [.. elements]);
            }
            if (parser.TryTake('!')) return ParseOperand(opcode, index) with { Negated = true };
            if (parser.TryTake('-')) return new PtxOperand(PtxOperandKind.Number, Value: -(long)parser.ExpectNumber());
            var token = parser._token;
            if (token.Kind == TokenKind.Number)
            {
                parser.Advance();
                return new PtxOperand(PtxOperandKind.Number, Value: (long)token.Bits, IsFloatLiteral: token.Text.Length > 1 && token.Text[1] is 'f' or 'F' or 'd' or 'D');
            }
            string name = parser.ExpectWord();
            if (_registers.TryGetValue(name, out int register)) return new PtxOperand(PtxOperandKind.Register, register, Name: name);
            // Special registers have names without a number.
            if ((name[0] == '%' && !char.IsAsciiDigit(name[^1])) || name == "_") return new PtxOperand(PtxOperandKind.Special, Name: name);
            if (entry.SharedOffsets.ContainsKey(name) || entry.Parameters.Any(p => p.Name == name)) return new PtxOperand(PtxOperandKind.Symbol, Name: name);
            if (opcode is not ("bra" or "bra.uni")) throw parser.Error($"'{name}' is not declared", token);
            var label = new PtxOperand(PtxOperandKind.Label, Name: name);
            _branches.Add((label, entry.Instructions.Count, index, token));
            return label;
        }
    }
}
