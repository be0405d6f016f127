using System.Globalization;

namespace ClipCuda.Ptx;

/// <summary>
/// What stands between the braces of an entry or a function. Names are scoped by braces. What has two meanings at once is taken apart, so that
/// engines see simple forms only: setp with two results, negated operands, conversions that look at the low part of a wide register.
/// </summary>
/// <param name="lexer">Begins after the opening brace; what it has ends with the closing one.</param>
/// <param name="body">Where to put what is read.</param>
/// <param name="parameters">What it takes and, if it is a function's, what it returns.</param>
/// <param name="shared">Shared variables of the module that lie before its own.</param>
internal sealed class BodyParser(PtxLexer lexer, PtxBody body, ModuleNames moduleNames, IReadOnlyList<PtxParameter> parameters, IReadOnlyList<SharedVariable> shared) : PtxReader(lexer)
{
    private readonly List<Scope> _scopes = [new()];

    /// <summary>Names of parameters, and of shared and local variables.</summary>
    private readonly HashSet<string> _symbols = [.. parameters.Select(p => p.Name), .. moduleNames.Shared.Select(v => v.Name)];
    private (int File, ulong Line) _location;
    private int _temporaries;

    /// <exception cref="PtxException">It is not PTX; names module, line and column.</exception>
    public PtxBody Parse()
    {
        foreach (var variable in shared) body.PlaceShared(variable);
        while (_scopes.Count > 0)
        {
            var token = Token;
            if (token.Kind == TokenKind.End) throw Error($"the body of '{body.Name}' has no end");
            if (TryTake('{')) _scopes.Add(new());
            else if (TryTake('}')) CloseScope();
            else if (!TryTake(';')) ParseStatement();
        }
        // One barrier for all is the barrier of the block, whatever its number.
        var barriers = body.Instructions.FindAll(PtxBody.IsBlockBarrier);
        if (barriers.Count > 0 && barriers.TrueForAll(b => b.Operands is [{ Kind: PtxOperandKind.Number }] && b.Operands[0].Value == barriers[0].Operands[0].Value))
            foreach (var barrier in barriers) barrier.Operands[0] = barrier.Operands[0] with { Value = 0 };
        return body;
    }

    /// <summary>Branches to labels of the scope get their targets; others may lead to labels further out.</summary>
    private void CloseScope()
    {
        var scope = _scopes[^1];
        _scopes.RemoveAt(_scopes.Count - 1);
        foreach (var branch in scope.Branches)
        {
            if (scope.Labels.TryGetValue(branch.Name, out int target))
                body.Instructions[branch.Instruction].Operands[branch.Index] = new PtxOperand(PtxOperandKind.Label, Name: branch.Name, Value: target);
            else if (_scopes.Count > 0) _scopes[^1].Branches.Add(branch);
            else throw Error($"'{branch.Name}' is not declared", branch.At);
        }
    }

    private void ParseStatement()
    {
        switch (Token.Text)
        {
            case ".reg":
                ParseRegisters();
                break;
            case ".shared" or ".extern":
                ParseOwnShared();
                break;
            case ".local":
                ParseLocal();
                break;
            case ".param":
                ParseParameter();
                break;
            case ".loc":
                ParseLocation();
                break;
            case ".pragma":
                SkipStatement();
                break;
            default:
                if (Token.Kind == TokenKind.Word && Token.Text[0] == '.')
                    throw Error($"'{Token.Text}' is not supported in an entry (supported: .reg, .shared, .local, .param, .loc, .pragma)");
                ParseInstructionOrLabel();
                break;
        }
    }

    private void ParseLocation()
    {
        int line = Token.Line;
        Advance();
        int file = (int)ExpectNumber();
        ulong sourceLine = ExpectNumber();
        // Line 0 marks code that belongs to no line of its own.
        if (sourceLine > 0) _location = (file, sourceLine);
        SkipLine(line);
    }

    private (string Name, int Bytes, int Alignment) ParseArray()
    {
        Advance();
        int alignment = TryTake(".align") ? (int)ExpectNumber() : 1;
        int bytes = TypeBytes(ExpectWord());
        alignment = Math.Max(alignment, bytes);
        string name = ExpectWord();
        while (TryTake('['))
        {
            bytes *= (int)ExpectNumber();
            Expect("]");
        }
        Expect(";");
        return (name, bytes, alignment);
    }

    private void ParseOwnShared()
    {
        var variable = ParseShared(TryTake(".extern"));
        body.PlaceShared(variable);
        _symbols.Add(variable.Name);
    }

    private void ParseLocal()
    {
        var (name, bytes, alignment) = ParseArray();
        body.AddLocal(name, bytes, alignment);
        _symbols.Add(name);
    }

    /// <summary>A variable that a call takes or gives; its name is made unique, for the next call uses it again.</summary>
    private void ParseParameter()
    {
        var (name, bytes, alignment) = ParseArray();
        string unique = string.Create(CultureInfo.InvariantCulture, $"{name}#{body.CallVariables.Count}");
        _scopes[^1].Parameters[name] = unique;
        body.CallVariables.Add(unique, (bytes, alignment));
    }

    private void ParseRegisters()
    {
        Advance();
        string type = ExpectWord();
        int bits = type == ".pred" ? 1 : 8 * TypeBytes(type);
        bool isFloat = type is ".f32" or ".f64";
        do
        {
            string name = ExpectWord();
            if (TryTake('<'))
            {
                int count = (int)ExpectNumber();
                for (int i = 0; i < count; i++) Declare(name + i.ToString(CultureInfo.InvariantCulture), bits, isFloat);
                Expect(">");
            }
            else
            {
                Declare(name, bits, isFloat);
            }
        }
        while (TryTake(','));
        Expect(";");
    }

    private void Declare(string name, int bits, bool isFloat)
    {
        if (!_scopes[^1].Registers.TryAdd(name, body.Registers.Count)) throw Error($"register '{name}' is declared twice");
        body.Registers.Add(new PtxRegister(name, bits, isFloat));
    }

    private bool TryRegister(string name, out int register)
    {
        for (int s = _scopes.Count - 1; s >= 0; s--) if (_scopes[s].Registers.TryGetValue(name, out register)) return true;
        register = -1;
        return false;
    }

    private void ParseInstructionOrLabel()
    {
        int guard = -1;
        bool negated = false;
        if (TryTake('@'))
        {
            negated = TryTake('!');
            string name = ExpectWord();
            guard = TryRegister(name, out int register) ? register : throw Error($"'{name}' is not declared");
        }
        var start = Token;
        string opcode = ExpectWord();
        if (guard < 0 && TryTake(':'))
        {
            if (Token.Text is ".callprototype" or ".calltargets") SkipStatement();
            else if (!_scopes[^1].Labels.TryAdd(opcode, body.Instructions.Count)) throw Error($"label '{opcode}' is declared twice", start);
            return;
        }
        PtxCall? call = null;
        PtxInstruction New(string name, params PtxOperand[] operands) => new()
        {
            Opcode = name,
            Operands = operands,
            Call = call,
            Guard = guard,
            GuardNegated = negated,
            Line = start.Line,
            Column = start.Column,
            Location = _location,
        };
        if (opcode is "call" or "call.uni")
        {
            (call, var target) = ParseCall();
            body.Instructions.Add(New("call", target));
            return;
        }
        var operands = new List<PtxOperand>();
        bool pair = false;
        while (!Token.Is(';'))
        {
            operands.Add(ParseOperand(opcode, operands.Count));
            if (TryTake('|'))
            {
                pair = true;
                operands.Add(ParseOperand(opcode, operands.Count));
            }
            if (!TryTake(',') && !Token.Is(';')) throw Error($"expected ',' or ';', found '{Token.Text}'");
        }
        Advance();
        for (int i = 0; i < operands.Count; i++)
        {
            if (!operands[i].Negated) continue;
            var opposite = Temporary(1);
            body.Instructions.Add(New("not.pred", opposite, operands[i] with { Negated = false }));
            operands[i] = opposite;
        }
        if (opcode is "mov.pred" or "and.pred" or "or.pred" or "xor.pred" or "not.pred") AllOrNothing(operands);
        if (pair && opcode.StartsWith("setp.", StringComparison.Ordinal)) AddPair(New, opcode, operands);
        else body.Instructions.Add(New(opcode, NarrowedSource(New, opcode, operands)));
    }

    /// <summary>Any number but 0 is a predicate that holds; engines ask one bit or another of it.</summary>
    private static void AllOrNothing(List<PtxOperand> operands)
    {
        for (int i = 0; i < operands.Count; i++)
        {
            if (operands[i] is { Kind: PtxOperandKind.Number, Value: not 0 } holds) operands[i] = holds with { Value = -1 };
        }
    }

    /// <summary>setp p|q: q is of the opposite comparison. Both are made before either is written, and the guard last.</summary>
    private void AddPair(Func<string, PtxOperand[], PtxInstruction> make, string opcode, List<PtxOperand> operands)
    {
        string[] parts = opcode.Split('.');
        bool isFloat = parts[^1][0] == 'f';
        parts[1] = parts[1] switch
        {
            "eq" => isFloat ? "neu" : "ne",
            "ne" => isFloat ? "equ" : "eq",
            "lt" => isFloat ? "geu" : "ge",
            "le" => isFloat ? "gtu" : "gt",
            "gt" => isFloat ? "leu" : "le",
            "ge" => isFloat ? "ltu" : "lt",
            "lo" => "hs",
            "ls" => "hi",
            "hi" => "ls",
            "hs" => "lo",
            "equ" => "ne",
            "neu" => "eq",
            "ltu" => "ge",
            "leu" => "gt",
            "gtu" => "le",
            "geu" => "lt",
            "num" => "nan",
            "nan" => "num",
            _ => throw Error($"comparison '{opcode}' is not supported"),
        };
        var (first, second) = (Temporary(1), Temporary(1));
        PtxOperand[] sources = [.. operands[2..]];
        body.Instructions.Add(make(opcode, [first, .. sources]));
        body.Instructions.Add(make(string.Join('.', parts), [second, .. sources]));
        var moves = new[] { make("mov.pred", [operands[0], first]), make("mov.pred", [operands[1], second]) };
        if (operands[0].Register >= 0 && operands[0].Register == moves[0].Guard) Array.Reverse(moves);
        foreach (var move in moves) if (move.Operands[0].Register >= 0) body.Instructions.Add(move);
    }

    /// <summary>cvt may look at the low part of a 64-bit register.</summary>
    private PtxOperand[] NarrowedSource(Func<string, PtxOperand[], PtxInstruction> make, string opcode, List<PtxOperand> operands)
    {
        if (operands.Count == 2 && operands[1].Register >= 0 && opcode.StartsWith("cvt.", StringComparison.Ordinal)
            && opcode[(opcode.LastIndexOf('.') + 2)..] is "8" or "16" or "32" && body.Registers[operands[1].Register].Bits == 64)
        {
            var low = Temporary(32);
            body.Instructions.Add(make("cvt.u32.u64", [low, operands[1]]));
            operands[1] = low;
        }
        return [.. operands];
    }

    private PtxOperand Temporary(int bits)
    {
        string name = string.Create(CultureInfo.InvariantCulture, $"%#{_temporaries++}");
        body.Registers.Add(new PtxRegister(name, bits));
        return new PtxOperand(PtxOperandKind.Register, body.Registers.Count - 1, Name: name);
    }

    /// <summary>(returned), function, (arguments), prototype; all but the function may be missing.</summary>
    private (PtxCall Call, PtxOperand Target) ParseCall()
    {
        string[] returned = [], arguments = [];
        if (Token.Is('(')) returned = ParseNames();
        TryTake(',');
        string name = ExpectWord();
        bool direct = !TryRegister(name, out _);
        if (TryTake(',') && Token.Is('(')) arguments = ParseNames();
        if (TryTake(',')) ExpectWord();
        Expect(";");
        return (new PtxCall(returned, arguments), new PtxOperand(PtxOperandKind.Symbol, Name: direct ? name : ""));
    }

    private string[] ParseNames()
    {
        var names = new List<string>();
        Expect("(");
        while (!TryTake(')'))
        {
            var at = Token;
            string name = ExpectWord();
            names.Add(CallVariable(name) ?? throw Error($"'{name}' is no .param variable", at));
            TryTake(',');
        }
        return [.. names];
    }

    private string? CallVariable(string name)
    {
        for (int s = _scopes.Count - 1; s >= 0; s--) if (_scopes[s].Parameters.TryGetValue(name, out string? unique)) return unique;
        return null;
    }

    private PtxOperand ParseOperand(string opcode, int index)
    {
        if (TryTake('['))
        {
            var target = ParseOperand(opcode, index);
            long offset = target.Kind == PtxOperandKind.Number ? target.Value : 0;
            if (TryTake('+')) offset += ParseOperand(opcode, index).Value;
            else if (TryTake('-')) offset -= (long)ExpectNumber();
            Expect("]");
            return new PtxOperand(PtxOperandKind.Address, target.Register, offset, target.Name);
        }
        if (TryTake('{'))
        {
            var elements = new List<PtxOperand>();
            do elements.Add(ParseOperand(opcode, index));
            while (TryTake(','));
            Expect("}");
            return new PtxOperand(PtxOperandKind.Vector, Elements: [.. elements]);
        }
        if (TryTake('!')) return ParseOperand(opcode, index) with { Negated = true };
        if (TryTake('-')) return new PtxOperand(PtxOperandKind.Number, Value: -(long)ExpectNumber());
        var token = Token;
        if (token.Kind == TokenKind.Number)
        {
            Advance();
            return new PtxOperand(PtxOperandKind.Number, Value: (long)token.Bits, IsFloatLiteral: token.Text.Length > 1 && token.Text[1] is 'f' or 'F' or 'd' or 'D');
        }
        string name = ExpectWord();
        if (TryRegister(name, out int register)) return new PtxOperand(PtxOperandKind.Register, register, Name: name);
        // Special registers have names without a number.
        if ((name[0] == '%' && !char.IsAsciiDigit(name[^1])) || name == "_") return new PtxOperand(PtxOperandKind.Special, Name: name);
        if (CallVariable(name) is { } variable) return new PtxOperand(PtxOperandKind.Symbol, Name: variable);
        if (_symbols.Contains(name)) return new PtxOperand(PtxOperandKind.Symbol, Name: name);
        if (moduleNames.Variables.TryGetValue(name, out ulong address)) return new PtxOperand(PtxOperandKind.Number, Value: (long)address);
        // Nobody calls by address; that two functions differ is all one can tell.
        if (opcode.StartsWith("mov.", StringComparison.Ordinal) && moduleNames.Functions.IndexOf(name) is >= 0 and var number)
            return new PtxOperand(PtxOperandKind.Number, Value: 16L * (number + 1));
        if (opcode is not ("bra" or "bra.uni")) throw Error($"'{name}' is not declared", token);
        _scopes[^1].Branches.Add((name, body.Instructions.Count, index, token));
        return new PtxOperand(PtxOperandKind.Label, Name: name);
    }

    private sealed class Scope
    {
        public Dictionary<string, int> Registers { get; } = new(StringComparer.Ordinal);

        public Dictionary<string, string> Parameters { get; } = new(StringComparer.Ordinal);

        public Dictionary<string, int> Labels { get; } = new(StringComparer.Ordinal);

        public List<(string Name, int Instruction, int Index, Token At)> Branches { get; } = [];
    }
}
