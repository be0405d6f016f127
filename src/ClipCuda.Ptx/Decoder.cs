using System.Numerics;

namespace ClipCuda.Ptx;

/// <summary>
/// Turns an entry's instructions into runnable ones: operands become offsets in the register file, opcodes become handlers. An opcode or
/// an operand form that is not known is an error with its line, when the kernel is loaded.
/// </summary>
internal sealed unsafe class Decoder
{
    private readonly PtxEntry _entry;
    private readonly ControlFlow _flow;
    private readonly RegisterFile _file;
    private readonly bool _checks;
    private readonly List<Instruction> _code = [];
    private readonly List<int> _branches = [];
    private PtxInstruction _at = null!;

    private Decoder(PtxEntry entry, bool checks)
    {
        _entry = entry;
        _checks = checks;
        _flow = new ControlFlow(entry);
        _code.EnsureCapacity(entry.Instructions.Count + 1);
        _file = new RegisterFile(entry, _flow.LiveRanges(AddReads, AddWrites));
    }

    public static (Instruction[] Code, RegisterFile File) Decode(PtxEntry entry, bool checks)
    {
        var decoder = new Decoder(entry, checks);
        decoder.Run();
        return ([.. decoder._code], decoder._file);
    }

    private void Run()
    {
        var source = _entry.Instructions;
        // Where lanes may meet, a marker stands before the block's first instruction.
        var meetings = new HashSet<int>();
        for (int i = 0; i < source.Count; i++)
        {
            if (ControlFlow.IsBranch(source[i]) && source[i].Guard >= 0 && _flow.ReconvergenceOf(i) is var meet && meet < source.Count) meetings.Add(meet);
        }
        var positions = new int[source.Count + 1];
        for (int i = 0; i < source.Count; i++)
        {
            _at = source[i];
            positions[i] = _code.Count;
            if (meetings.Contains(i)) EmitMarker(i, &Control.Meet);
            if (_at.Guard >= 0 && !ControlFlow.IsBranch(_at) && _at.Opcode is not ("ret" or "exit"))
                Emit(i, &Control.Guarded, a: _file.Offset(_at.Guard), negated: _at.GuardNegated, target: _code.Count + 2);
            DecodeOne(i);
        }
        positions[source.Count] = _code.Count;
        EmitMarker(source.Count, &Control.Exit);
        foreach (int i in _branches)
        {
            var instruction = _code[i];
            int meet = _flow.ReconvergenceOf(instruction.Origin);
            instruction.Target = positions[instruction.Target];
            instruction.Reconvergence = meet < source.Count ? positions[meet] : Control.NeverMeets;
            _code[i] = instruction;
        }
    }

    private void DecodeOne(int index)
    {
        string[] parts = _at.OpcodeParts;
        switch (parts[0])
        {
            case "bra":
                _branches.Add(_code.Count);
                if (_at.Guard < 0) Emit(index, &Control.Branch, target: (int)_at.Operands[0].Value);
                else Emit(index, &Control.BranchIf, a: _file.Offset(_at.Guard), negated: _at.GuardNegated, target: (int)_at.Operands[0].Value);
                break;
            case "ret" or "exit":
                if (_at.Guard < 0) Emit(index, &Control.Exit);
                else Emit(index, &Control.ExitIf, a: _file.Offset(_at.Guard), negated: _at.GuardNegated);
                break;
            case "trap":
                Emit(index, &Control.Trap);
                break;
            case "bar" or "barrier" when _at.Opcode is "bar.sync" or "barrier.sync" or "barrier.sync.aligned" && _at.Operands is [{ Kind: PtxOperandKind.Number, Value: 0 }]:
                Emit(index, &Control.Barrier);
                break;
            case "bar" or "barrier" when PtxBody.IsBlockBarrier(_at) && _at.Operands.Length is 1 or 2:
                Emit(index, &Control.NamedBarrier, a: Source(_at.Operands[0], Width.W32),
                    b: _at.Operands.Length == 2 ? Source(_at.Operands[1], Width.W32) : _file.Constant(0, Width.W32));
                break;
            case "bar" or "barrier" when _at.Opcode != "bar.warp.sync":
                throw Error($"instruction '{_at.Opcode}' is not supported (supported: bar.sync, barrier.sync, bar.warp.sync)");
            case "mma" or "wmma" or "ldmatrix" or "stmatrix" or "movmatrix" or "cp" or "wgmma":
                throw Error($"instruction '{_at.Opcode}' is not supported (no tensor cores or asynchronous copies here: use the sm_75 fp32 variant of the kernel)");
            case "call":
                Emit(index, &Control.UnknownCall);
                break;
            case "atom" or "red":
                DecodeAtomic(index, parts);
                break;
            case "vote":
                DecodeVote(index);
                break;
            case "activemask":
                Emit(index, &Votes.ActiveMask, d: Destination(_at.Operands[0], Width.W32));
                break;
            case "mov" when _at.Operands is [_, { Kind: PtxOperandKind.Symbol }] && _entry.Parameters.FirstOrDefault(p => p.Name == _at.Operands[1].Name) is { } parameter:
                Emit(index, &Memory.ParameterAddress<AllLanes>, &Memory.ParameterAddress<SomeLanes>, d: Destination(_at.Operands[0], Width.W64), immediate: parameter.Offset);
                break;
            case "mov" when _at.Operands is [_, { Kind: PtxOperandKind.Vector }] or [{ Kind: PtxOperandKind.Vector }, _]:
                DecodePacking(index, parts);
                break;
            case "bar" when _at.Opcode == "bar.warp.sync":
            case "membar" or "fence":
                Emit(index, &Control.Nothing);
                break;
            case "ld" or "st" or "ldu":
                DecodeMemory(index, parts);
                break;
            case "cvta" when _at.Opcode is "cvta.shared.u64" or "cvta.to.shared.u64":
                Emit(index, &Memory.SharedToGeneric<AllLanes>, &Memory.SharedToGeneric<SomeLanes>,
                    d: Destination(_at.Operands[0], Width.W64), a: Source(_at.Operands[1], Width.W64), immediate: parts[1] == "to" ? -1 : 1);
                break;
            case "shfl":
                DecodeShuffle(index, parts);
                break;
            default:
                DecodeElementwise(index);
                break;
        }
    }

    private void DecodeElementwise(int index)
    {
        var row = InstructionTable.Find(_at.Opcode) ?? throw Error($"instruction '{_at.Opcode}' is not supported");
        if (_at.Operands.Length != row.Sources + 1) throw Error($"'{_at.Opcode}' takes {row.Sources + 1} operands, {_at.Operands.Length} are given");
        Emit(index, row.Full, row.Masked, d: Destination(_at.Operands[0], row.D),
            a: Source(_at.Operands[1], row.A),
            b: row.B == Width.None ? 0 : Source(_at.Operands[2], row.B),
            c: row.C == Width.None ? 0 : Source(_at.Operands[3], row.C),
            d1: row.E == Width.None ? 0 : Source(_at.Operands[4], row.E));
    }

    private void DecodeAtomic(int index, string[] parts)
    {
        string space = "", operation = "";
        foreach (string part in parts[1..^1])
        {
            if (part is "global" or "shared") space = part;
            else if (part is not ("relaxed" or "acquire" or "release" or "acq_rel" or "cta" or "gpu" or "sys" or "noftz")) operation += part;
        }
        bool reduction = parts[0] == "red";
        var operands = reduction ? _at.Operands : _at.Operands[1..];
        var handler = Atomics.Find(operation, parts[^1], space == "shared", space == "global", _checks);
        if (handler is null || operands.Length != (operation == "cas" ? 3 : 2) || operands[0].Kind != PtxOperandKind.Address) throw Error($"instruction '{_at.Opcode}' is not supported");
        var width = parts[^1][1..] == "64" ? Width.W64 : Width.W32;
        var (address, offset) = AddressOf(operands[0]);
        Emit(index, handler, handler, d: reduction ? _file.Sink : Destination(_at.Operands[0], width), a: address, b: Source(operands[1], width),
            c: operands.Length == 3 ? Source(operands[2], width) : _file.Sink, immediate: offset);
    }

    private void DecodeVote(int index)
    {
        int kind = _at.Opcode switch
        {
            "vote.sync.all.pred" => Votes.All,
            "vote.sync.any.pred" => Votes.Any,
            "vote.sync.uni.pred" => Votes.Uniform,
            "vote.sync.ballot.b32" => Votes.Ballot,
            _ => throw Error($"instruction '{_at.Opcode}' is not supported (supported: vote.sync.all, any, uni, ballot)"),
        };
        if (_at.Operands.Length != 3) throw Error($"'{_at.Opcode}' takes 3 operands, {_at.Operands.Length} are given");
        Emit(index, &Votes.Vote, d: Destination(_at.Operands[0], Width.W32), a: Source(_at.Operands[1], Width.W32), target: kind);
    }

    private void DecodePacking(int index, string[] parts)
    {
        var whole = parts[^1][1..] == "64" ? Width.W64 : Width.W32;
        bool pack = _at.Operands[1].Kind == PtxOperandKind.Vector;
        var elements = _at.Operands[pack ? 1 : 0].Elements!;
        int bits = whole == Width.W64 ? 64 : 32;
        if (elements.Length is not (2 or 4) || parts[^1][1..] is not ("32" or "64") || (bits == 32 && elements.Length == 4)) throw Error($"'{_at.Opcode}' of {elements.Length} registers is not supported");
        var offsets = elements.Select(e => pack ? Source(e, Width.W32) : Destination(e, Width.W32)).Concat([0, 0]).ToArray();
        var one = _at.Operands[pack ? 0 : 1];
        delegate*<ref Lanes, in Instruction, void> handler = pack ? &Packing.Pack : &Packing.Unpack;
        var instruction = new Instruction { Full = handler, Masked = handler, Origin = index, Elements = elements.Length, Target = bits };
        if (pack) (instruction.D, instruction.A, instruction.B, instruction.C, instruction.D1) = (Destination(one, whole), offsets[0], offsets[1], offsets[2], offsets[3]);
        else (instruction.A, instruction.D, instruction.D1, instruction.D2, instruction.D3) = (Source(one, whole), offsets[0], offsets[1], offsets[2], offsets[3]);
        _code.Add(instruction);
    }

    /// <summary>Where an address lies in the file, and what is to be added to it.</summary>
    private (int Register, long Offset) AddressOf(PtxOperand address)
    {
        if (address.Register >= 0)
        {
            if (_file.WidthOf(address.Register) != Width.W64) throw Error("addresses must be 64-bit registers");
            return (_file.Offset(address.Register), address.Value);
        }
        if (_entry.LocalOffsets.TryGetValue(address.Name, out int local)) return (_file.Local(local), address.Value);
        // A variable of the module is its own address.
        return (_file.Constant(address.Name.Length == 0 ? 0 : (ulong)SharedOffset(address.Name), Width.W64), address.Value);
    }

    private void DecodeMemory(int index, string[] parts)
    {
        bool load = parts[0] != "st";
        string type = parts[^1], space = "";
        int elements = 1;
        foreach (string part in parts[1..^1])
        {
            switch (part)
            {
                case "global" or "shared" or "param" or "const" or "local":
                    space = part;
                    break;
                case "v2" or "v4":
                    elements = part[1] - '0';
                    break;
                case "nc" or "cs" or "cg" or "ca" or "cv" or "wb" or "wt" or "lu" or "volatile" or "relaxed" or "weak" or "sys" or "gpu" or "cta":
                    break;
                default:
                    throw Error($"'.{part}' of '{_at.Opcode}' is not supported");
            }
        }
        var (value, address) = load ? (_at.Operands[0], _at.Operands[1]) : (_at.Operands[1], _at.Operands[0]);
        if (address.Kind != PtxOperandKind.Address) throw Error($"'{_at.Opcode}' needs an address in brackets");
        PtxOperand[] values = elements == 1 ? [value] : value.Elements ?? throw Error($"'{_at.Opcode}' needs {elements} registers in braces");
        if (values.Length != elements) throw Error($"'{_at.Opcode}' needs {elements} registers, {values.Length} are given");
        if (space == "param" && address.Register < 0)
        {
            DecodeParameter(index, load, type, elements, address);
            return;
        }
        // A register may be wider than what memory holds, and all of an instruction's are of one width.
        bool wide = values.Any(v => v.Register >= 0 && _file.WidthOf(v.Register) == Width.W64) || type is "b64" or "u64" or "s64" or "f64";
        var width = wide ? Width.W64 : Width.W32;
        int[] offsets = [.. values.Select(v => load ? Destination(v, width) : Source(v, width))];
        var (full, masked) = wide ? MemoryHandlers<ulong>(load, space, type) : MemoryHandlers<uint>(load, space, type);
        var (register, offset) = AddressOf(address);
        var instruction = new Instruction
        {
            Full = full,
            Masked = masked,
            Origin = index,
            Elements = elements,
            D = offsets[0],
            Immediate = offset,
            A = register,
        };
        if (elements > 1) instruction.D1 = offsets[1];
        if (elements > 2) (instruction.D2, instruction.D3) = (offsets[2], offsets[3]);
        _code.Add(instruction);
    }

    private void DecodeParameter(int index, bool load, string type, int elements, PtxOperand address)
    {
        var parameter = _entry.Parameters.FirstOrDefault(p => p.Name == address.Name);
        if (!load || parameter is null) throw Error($"'{_at.Opcode}' on '{address.Name}' is not supported");
        if (elements > 1) throw Error($"a vector of parameters is not supported ('{_at.Opcode}')");
        long offset = parameter.Offset + address.Value;
        var target = _at.Operands[0];
        bool wide = target.Register >= 0 && _file.WidthOf(target.Register) == Width.W64;
        switch (type)
        {
            case "b64" or "u64" or "s64" or "f64":
                EmitParameter<ulong, ulong>(index, target, Width.W64, offset);
                break;
            case "s32" when wide:
                EmitParameter<int, ulong>(index, target, Width.W64, offset);
                break;
            case "b32" or "u32" or "s32" or "f32":
                Extended<uint>();
                break;
            case "b16" or "u16":
                Extended<ushort>();
                break;
            case "s16":
                Extended<short>();
                break;
            case "b8" or "u8":
                Extended<byte>();
                break;
            case "s8":
                Extended<sbyte>();
                break;
            default:
                throw Error($"a parameter of type '.{type}' is not supported");
        }

        void Extended<T>()
            where T : unmanaged, INumber<T>
        {
            if (wide) EmitParameter<T, ulong>(index, target, Width.W64, offset);
            else EmitParameter<T, uint>(index, target, Width.W32, offset);
        }
    }

    private void EmitParameter<T, TLane>(int index, PtxOperand target, Width width, long offset)
        where T : unmanaged, INumber<T>
        where TLane : unmanaged, INumber<TLane> =>
        Emit(index, &Memory.LoadParameter<T, TLane, AllLanes>, &Memory.LoadParameter<T, TLane, SomeLanes>, d: Destination(target, width), immediate: offset);

    private void DecodeShuffle(int index, string[] parts)
    {
        if (parts is not ["shfl", "sync", var mode, "b32"]) throw Error($"instruction '{_at.Opcode}' is not supported");
        int kind = mode switch
        {
            "up" => Control.ShuffleUp,
            "down" => Control.ShuffleDown,
            "bfly" => Control.ShuffleButterfly,
            "idx" => Control.ShuffleIndex,
            _ => throw Error($"shuffle mode '.{mode}' is not supported"),
        };
        bool predicate = _at.Operands.Length == 6;
        var operands = predicate ? _at.Operands[2..] : _at.Operands[1..];
        int d = Destination(_at.Operands[0], Width.W32), d1 = predicate ? Destination(_at.Operands[1], Width.W32) : -1;
        int a = Source(operands[0], Width.W32), b = Source(operands[1], Width.W32), c = Source(operands[2], Width.W32);
        bool butterfly = kind == Control.ShuffleButterfly && !predicate
            && operands[1].Kind == PtxOperandKind.Number && operands[2] is { Kind: PtxOperandKind.Number, Value: 31 };
        if (butterfly) Emit(index, &Control.Butterfly, &Control.Shuffle, d: d, a: a, b: b, c: c, d1: -1, target: kind);
        else Emit(index, &Control.Shuffle, d: d, a: a, b: b, c: c, d1: d1, target: kind);
    }

    private int Destination(PtxOperand operand, Width width) => operand.Kind switch
    {
        PtxOperandKind.Register when _file.WidthOf(operand.Register) != width =>
            throw Error($"register {operand.Name} has the wrong width for the result of '{_at.Opcode}'"),
        PtxOperandKind.Register => _file.Offset(operand.Register),
        PtxOperandKind.Special when operand.Name == "_" => _file.Sink,
        _ => throw Error("the destination must be a register"),
    };

    private int Source(PtxOperand operand, Width width) => operand.Kind switch
    {
        PtxOperandKind.Register when _file.WidthOf(operand.Register) != width =>
            throw Error($"register {operand.Name} has the wrong width for '{_at.Opcode}'"),
        PtxOperandKind.Register when operand.Negated => throw Error("a negated operand is not supported here"),
        PtxOperandKind.Register => _file.Offset(operand.Register),
        PtxOperandKind.Number => _file.Constant((ulong)operand.Value, width),
        PtxOperandKind.Special when width == Width.W32 => _file.Special(operand.Name) ?? throw Error($"special register '{operand.Name}' is not supported"),
        PtxOperandKind.Symbol when width == Width.W64 && _entry.LocalOffsets.TryGetValue(operand.Name, out int local) => _file.Local(local),
        PtxOperandKind.Symbol when width == Width.W64 => _file.Constant((ulong)SharedOffset(operand.Name), width),
        _ => throw Error($"operand '{operand.Name}' of '{_at.Opcode}' is not supported"),
    };

    private long SharedOffset(string symbol)
    {
        return KernelProgram.TrySharedStart(_entry, symbol, out int start) ? start : throw Error($"'{symbol}' is no shared variable");
    }

    /// <summary>Appends the registers that an instruction reads, its guard first.</summary>
    internal static void AddReads(PtxInstruction instruction, List<int> registers)
    {
        if (instruction.Guard >= 0) registers.Add(instruction.Guard);
        bool store = instruction.Opcode.StartsWith("st.", StringComparison.Ordinal);
        for (int i = 0; i < instruction.Operands.Length; i++)
        {
            var operand = instruction.Operands[i];
            bool reads = store || i > 0 || operand.Kind == PtxOperandKind.Address;
            if (!reads || (i == 1 && IsPredicatedShuffle(instruction))) continue;
            if (operand.Register >= 0) registers.Add(operand.Register);
            foreach (var element in operand.Elements ?? []) if (element.Register >= 0) registers.Add(element.Register);
        }
    }

    /// <summary>Appends the registers that an instruction writes.</summary>
    internal static void AddWrites(PtxInstruction instruction, List<int> registers)
    {
        if (instruction.Operands.Length == 0 || instruction.Opcode.StartsWith("st.", StringComparison.Ordinal)) return;
        var operand = instruction.Operands[0];
        if (operand.Kind == PtxOperandKind.Register) registers.Add(operand.Register);
        if (operand.Kind == PtxOperandKind.Vector) foreach (var element in operand.Elements!) if (element.Register >= 0) registers.Add(element.Register);
        if (IsPredicatedShuffle(instruction) && instruction.Operands[1].Register >= 0) registers.Add(instruction.Operands[1].Register);
    }

    private static bool IsPredicatedShuffle(PtxInstruction instruction) =>
        instruction.Operands.Length == 6 && instruction.Opcode.StartsWith("shfl.", StringComparison.Ordinal);

    private void Emit(
        int origin, delegate*<ref Lanes, in Instruction, void> handler, int d = 0, int a = 0, int b = 0, int c = 0, int d1 = 0, int target = 0, bool negated = false, long immediate = 0) =>
        Emit(origin, handler, handler, d, a, b, c, d1, target, negated, immediate);

    private void Emit(
        int origin, delegate*<ref Lanes, in Instruction, void> full, delegate*<ref Lanes, in Instruction, void> masked,
        int d = 0, int a = 0, int b = 0, int c = 0, int d1 = 0, int target = 0, bool negated = false, long immediate = 0) =>
        _code.Add(new Instruction
        {
            Full = full,
            Masked = masked,
            Origin = origin,
            D = d,
            A = a,
            B = b,
            C = c,
            D1 = d1,
            Target = target,
            Negated = negated,
            Immediate = immediate,
        });

    private void EmitMarker(int origin, delegate*<ref Lanes, in Instruction, void> handler) =>
        _code.Add(new Instruction { Full = handler, Masked = handler, Origin = origin, IsMarker = true });

    private PtxException Error(string what) => new($"{_entry.Module}({_at.Line},{_at.Column}): {what} (kernel {_entry.Name}).");

    private (HandlerPointer Full, HandlerPointer Masked) MemoryHandlers<TLane>(bool load, string space, string type)
        where TLane : unmanaged, INumber<TLane> => type switch
        {
            "b8" or "u8" => Handlers<byte, TLane>(load, space),
            "s8" => Handlers<sbyte, TLane>(load, space),
            "b16" or "u16" => Handlers<ushort, TLane>(load, space),
            "s16" => Handlers<short, TLane>(load, space),
            "s32" => Handlers<int, TLane>(load, space),
            "b32" or "u32" or "f32" => Handlers<uint, TLane>(load, space),
            "b64" or "u64" or "s64" or "f64" => Handlers<ulong, TLane>(load, space),
            _ => throw Error($"type '.{type}' of '{_at.Opcode}' is not supported"),
        };

    private (HandlerPointer, HandlerPointer) Handlers<T, TLane>(bool load, string space)
        where T : unmanaged, INumber<T>
        where TLane : unmanaged, INumber<TLane> =>
        space switch
        {
            "shared" => Handlers<T, TLane, SharedSpace>(load),
            // Parameters lie in no buffer that checks know.
            "param" => Handlers<T, TLane, GlobalSpace, Unchecked>(load),
            _ => Handlers<T, TLane, GlobalSpace>(load),
        };

    private (HandlerPointer, HandlerPointer) Handlers<T, TLane, TSpace>(bool load)
        where T : unmanaged, INumber<T>
        where TLane : unmanaged, INumber<TLane>
        where TSpace : struct, ISpace =>
        _checks ? Handlers<T, TLane, TSpace, Checked>(load) : Handlers<T, TLane, TSpace, Unchecked>(load);

    private static (HandlerPointer, HandlerPointer) Handlers<T, TLane, TSpace, TChecks>(bool load)
        where T : unmanaged, INumber<T>
        where TLane : unmanaged, INumber<TLane>
        where TSpace : struct, ISpace
        where TChecks : struct, IChecks =>
        load
            ? (new(&Memory.Load<T, TLane, TSpace, TChecks, AllLanes>), new(&Memory.Load<T, TLane, TSpace, TChecks, SomeLanes>))
            : (new(&Memory.Store<T, TLane, TSpace, TChecks, AllLanes>), new(&Memory.Store<T, TLane, TSpace, TChecks, SomeLanes>));

    /// <summary>A function pointer as a value that tuples can hold.</summary>
    private readonly struct HandlerPointer(delegate*<ref Lanes, in Instruction, void> value)
    {
        public static implicit operator delegate*<ref Lanes, in Instruction, void>(HandlerPointer pointer) => pointer.Value;

        private delegate*<ref Lanes, in Instruction, void> Value { get; } = value;
    }
}
