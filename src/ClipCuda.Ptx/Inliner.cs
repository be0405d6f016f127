using System.Globalization;

namespace ClipCuda.Ptx;

/// <summary>
/// Puts functions in place of their calls, so that engines see flat entries only. A function's registers, local and shared memory exist once an
/// entry: without recursion a thread is in it once at a time. Variables that calls pass become registers where every access to a place has
/// one size, and local memory otherwise.
/// </summary>
internal sealed class Inliner
{
    private readonly PtxBody _entry;
    private readonly IReadOnlyDictionary<string, PtxFunction> _functions;
    private readonly List<PtxInstruction> _code = [];
    private readonly Dictionary<PtxBody, int> _registers = [];
    private readonly Dictionary<string, (int Bytes, int Alignment)> _variables = new(StringComparer.Ordinal);
    private readonly HashSet<PtxBody> _active = [];
    private readonly Dictionary<PtxBody, int> _sharedStarts = [];

    private Inliner(PtxBody entry, IReadOnlyDictionary<string, PtxFunction> functions)
    {
        _entry = entry;
        _functions = functions;
    }

    /// <exception cref="PtxException">A function calls itself; names the line.</exception>
    public static void Flatten(PtxBody entry, IReadOnlyDictionary<string, PtxFunction> functions)
    {
        if (!entry.Instructions.Exists(i => i.Call is not null) && entry.CallVariables.Count == 0) return;
        var inliner = new Inliner(entry, functions);
        inliner._registers.Add(entry, 0);
        inliner.Place(entry, new Dictionary<string, string>(StringComparer.Ordinal));
        // A call may have been the last instruction.
        inliner._code.Add(new PtxInstruction { Opcode = "ret", Operands = [], Line = entry.Instructions[^1].Line, Column = entry.Instructions[^1].Column });
        inliner.ReplaceVariables();
        entry.Instructions.Clear();
        entry.Instructions.AddRange(inliner._code);
    }

    /// <summary>Appends a body; <paramref name="names"/> says what its own names are called in the entry.</summary>
    private void Place(PtxBody body, Dictionary<string, string> names)
    {
        bool isFunction = body != _entry;
        _active.Add(body);
        if (isFunction && !_registers.ContainsKey(body))
        {
            _registers.Add(body, _entry.Registers.Count);
            _entry.Registers.AddRange(body.Registers);
            foreach (var (name, offset) in body.SharedOffsets) PlaceShared(body, name, offset);
            int start = (_entry.LocalBytes + 15) / 16 * 16;
            foreach (var (name, offset) in body.LocalOffsets) _entry.LocalOffsets[$"{body.Name}/{name}"] = start + offset;
            _entry.LocalBytes = start + body.LocalBytes;
        }
        foreach (var (name, size) in body.CallVariables)
        {
            names[name] = $"{body.Name}/{name}";
            _variables[names[name]] = size;
        }
        if (isFunction) foreach (string name in body.SharedOffsets.Keys.Concat(body.LocalOffsets.Keys)) names[name] = $"{body.Name}/{name}";
        var positions = new int[body.Instructions.Count + 1];
        var branches = new List<(int Instruction, int Target)>();
        for (int i = 0; i < body.Instructions.Count; i++)
        {
            positions[i] = _code.Count;
            var at = body.Instructions[i];
            if (at.Call is { } call && _functions.TryGetValue(at.Operands[0].Name, out var function) && function.Body is not null)
            {
                if (at.Guard >= 0) Branch(at, i + 1, at.Guard, !at.GuardNegated);
                PlaceCall(function, call, body, at, names);
            }
            else if (isFunction && (at.Opcode is "ret" or "ret.uni"))
            {
                if (at.Guard >= 0 || i + 1 < body.Instructions.Count) Branch(at, body.Instructions.Count, at.Guard, at.GuardNegated);
            }
            else
            {
                if (ControlFlow.IsBranch(at)) branches.Add((_code.Count, (int)at.Operands[0].Value));
                _code.Add(Copy(at, [.. at.Operands.Select(o => Rename(o, body, names))], _registers[body]));
            }
        }
        positions[^1] = _code.Count;
        foreach (var (instruction, target) in branches) _code[instruction].Operands[0] = _code[instruction].Operands[0] with { Value = positions[target] };
        _active.Remove(body);

        void Branch(PtxInstruction at, int target, int guard, bool negated)
        {
            branches.Add((_code.Count, target));
            _code.Add(new PtxInstruction
            {
                Opcode = "bra",
                Operands = [new PtxOperand(PtxOperandKind.Label)],
                Guard = guard < 0 ? -1 : guard + _registers[body],
                GuardNegated = negated,
                Line = at.Line,
                Column = at.Column,
                Location = at.Location,
            });
        }
    }

    private void PlaceCall(PtxFunction function, PtxCall call, PtxBody body, PtxInstruction at, Dictionary<string, string> names)
    {
        var called = function.Body!.Value;
        if (_active.Contains(called)) throw Error(at, body, $"'{called.Name}' calls itself, which is not supported");
        var formals = function.Parameters;
        if (call.Arguments.Length != formals.Count || call.Returned.Length != function.Returns.Count)
            throw Error(at, body, $"'{called.Name}' takes {formals.Count} parameters and returns {function.Returns.Count}, {call.Arguments.Length} and {call.Returned.Length} are given");
        var inner = new Dictionary<string, string>(StringComparer.Ordinal);
        for (int p = 0; p < formals.Count; p++) inner[formals[p].Name] = names[call.Arguments[p]];
        for (int p = 0; p < function.Returns.Count; p++) inner[function.Returns[p].Name] = names[call.Returned[p]];
        Place(called, inner);
    }

    private void PlaceShared(PtxBody body, string name, int offset)
    {
        if (offset != PtxBody.DynamicShared)
        {
            // Whole bodies follow each other; their variables keep their places in them.
            if (!_sharedStarts.TryGetValue(body, out int start))
            {
                _sharedStarts.Add(body, start = (_entry.StaticSharedBytes + 127) / 128 * 128);
                _entry.StaticSharedBytes = start + body.StaticSharedBytes;
            }
            offset += start;
        }
        _entry.SharedOffsets[$"{body.Name}/{name}"] = offset;
    }

    private PtxOperand Rename(PtxOperand operand, PtxBody body, Dictionary<string, string> names) => operand with
    {
        Register = operand.Register < 0 ? -1 : operand.Register + _registers[body],
        Name = operand.Register < 0 && names.TryGetValue(operand.Name, out string? name) ? name : operand.Name,
        Elements = operand.Elements is null ? null : [.. operand.Elements.Select(e => Rename(e, body, names))],
    };

    private static PtxInstruction Copy(PtxInstruction at, PtxOperand[] operands, int registers, string? opcode = null) => new()
    {
        Opcode = opcode ?? at.Opcode,
        Operands = operands,
        Guard = at.Guard < 0 ? -1 : at.Guard + registers,
        GuardNegated = at.GuardNegated,
        Line = at.Line,
        Column = at.Column,
        Location = at.Location,
    };

    /// <summary>ld.param and st.param of call variables become moves, or accesses to local memory.</summary>
    private void ReplaceVariables()
    {
        var registers = new Dictionary<(string, long), int>();
        var sizes = new Dictionary<(string Name, long Offset), int>();
        var inMemory = new HashSet<string>(StringComparer.Ordinal);
        foreach (var at in _code)
        {
            if (!IsAccess(at, out var address, out var values, out int size))
            {
                foreach (var operand in at.Operands) if (operand.Kind == PtxOperandKind.Symbol && _variables.ContainsKey(operand.Name)) inMemory.Add(operand.Name);
                continue;
            }
            for (int e = 0; e < values.Length; e++)
            {
                var place = (address.Name, address.Value + e * size);
                bool fits = size >= 4 && (values[e].Register < 0 || _entry.Registers[values[e].Register].Bits == 8 * size);
                if (!fits || (sizes.TryGetValue(place, out int before) && before != size)) inMemory.Add(address.Name);
                sizes[place] = size;
            }
        }
        foreach (var ((name, offset), size) in sizes)
        {
            if (size == 8 && sizes.ContainsKey((name, offset + 4))) inMemory.Add(name);
        }
        foreach (string name in inMemory) _entry.AddLocal(name, _variables[name].Bytes, _variables[name].Alignment);

        var positions = new int[_code.Count + 1];
        var result = new List<PtxInstruction>();
        for (int i = 0; i < _code.Count; i++)
        {
            positions[i] = result.Count;
            var at = _code[i];
            if (!IsAccess(at, out var address, out var values, out int size)) result.Add(at);
            else if (inMemory.Contains(address.Name)) result.Add(Copy(at, at.Operands, 0, at.Opcode.Replace(".param", ".local", StringComparison.Ordinal)));
            else for (int e = 0; e < values.Length; e++) result.Add(Move(at, values[e], address, address.Value + e * size, size));
        }
        positions[^1] = result.Count;
        foreach (var at in result) if (ControlFlow.IsBranch(at)) at.Operands[0] = at.Operands[0] with { Value = positions[(int)at.Operands[0].Value] };
        _code.Clear();
        _code.AddRange(result);

        PtxInstruction Move(PtxInstruction at, PtxOperand value, PtxOperand address, long offset, int size)
        {
            bool isFloat = at.Opcode.EndsWith(size == 8 ? ".f64" : ".f32", StringComparison.Ordinal);
            if (!registers.TryGetValue((address.Name, offset), out int register))
            {
                registers.Add((address.Name, offset), register = _entry.Registers.Count);
                _entry.Registers.Add(new PtxRegister(string.Create(CultureInfo.InvariantCulture, $"{address.Name}+{offset}"), 8 * size, isFloat));
            }
            var variable = new PtxOperand(PtxOperandKind.Register, register, Name: _entry.Registers[register].Name);
            bool floats = _entry.Registers[register].IsFloat && value.Register >= 0 && _entry.Registers[value.Register].IsFloat;
            string opcode = (floats, size) switch { (true, 4) => "mov.f32", (true, _) => "mov.f64", (false, 4) => "mov.b32", _ => "mov.b64" };
            return Copy(at, at.Opcode[0] == 'l' ? [value, variable] : [variable, value], 0, opcode);
        }
    }

    /// <summary>Whether an instruction is ld.param or st.param of a call variable: where, what, and how many bytes each.</summary>
    private bool IsAccess(PtxInstruction at, out PtxOperand address, out PtxOperand[] values, out int size)
    {
        (address, values, size) = (null!, [], 0);
        bool load = at.Opcode.StartsWith("ld.param.", StringComparison.Ordinal);
        if ((!load && !at.Opcode.StartsWith("st.param.", StringComparison.Ordinal)) || at.Operands.Length != 2) return false;
        address = at.Operands[load ? 1 : 0];
        var value = at.Operands[load ? 0 : 1];
        values = value.Elements ?? [value];
        string type = at.Opcode[(at.Opcode.LastIndexOf('.') + 2)..];
        size = type switch { "8" => 1, "16" => 2, "32" => 4, _ => 8 };
        return address.Register < 0 && _variables.ContainsKey(address.Name);
    }

    private static PtxException Error(PtxInstruction at, PtxBody body, string what) => new($"{body.Module}({at.Line},{at.Column}): {what}.");
}
