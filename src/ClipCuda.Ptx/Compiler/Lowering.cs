namespace ClipCuda.Ptx.Compiler;

/// <summary>Why a kernel stays with the interpreter.</summary>
internal sealed class NotCompilableException(string reason) : Exception(reason);

/// <summary>
/// Turns an entry's instructions into basic blocks. A guard on anything but a branch becomes a branch around it; a guarded exit a branch
/// to an exit; a barrier ends its block. Registers keep their numbers, which <see cref="Webs"/> renames.
/// </summary>
internal sealed class Lowering
{
    private readonly PtxEntry _entry;
    private readonly List<BasicBlock> _blocks = [];
    private readonly Dictionary<int, int> _blockAt = [];
    private readonly List<(BasicBlock Block, int Instruction)> _pending = [];
    private readonly IReadOnlySet<int> _splits;

    private Lowering(PtxEntry entry, IReadOnlySet<int> splits)
    {
        _entry = entry;
        _splits = splits;
    }

    /// <param name="splits">Instructions before which a block begins even if nothing jumps there.</param>
    public static List<BasicBlock> Lower(PtxEntry entry, IReadOnlySet<int> splits)
    {
        var lowering = new Lowering(entry, splits);
        lowering.Run();
        return lowering._blocks;
    }

    private void Run()
    {
        var code = _entry.Instructions;
        var leaders = new HashSet<int> { 0 };
        foreach (int split in _splits) leaders.Add(split);
        for (int i = 0; i < code.Count; i++)
        {
            if (ControlFlow.IsBranch(code[i])) leaders.Add((int)code[i].Operands[0].Value);
        }
        var current = NewBlock();
        _blockAt[0] = current.Index;
        for (int i = 0; i < code.Count; i++)
        {
            var at = code[i];
            bool ended = i > 0 && Ends(code[i - 1]);
            if (i > 0 && (ended || leaders.Contains(i)))
            {
                var next = NewBlock();
                if (!ended) JumpTo(current, next.Index, i);
                else if (current.End is BlockEnd.Branch && current.Next < 0) current.Next = next.Index;
                else if (current.End is BlockEnd.Barrier && current.Target < 0) current.Target = next.Index;
                else if (code[i - 1].Guard >= 0 && !ControlFlow.IsBranch(code[i - 1])) JumpTo(current, next.Index, i);
                current = next;
                _blockAt[i] = current.Index;
            }
            current = LowerOne(current, at, i);
        }
        // Falling off the end is an exit.
        if (code.Count == 0 || !Ends(code[^1]) || code[^1].Guard >= 0 || IsBarrier(code[^1]))
        {
            var last = NewBlock();
            last.End = BlockEnd.Exit;
            last.Origin = code.Count;
            if (current.End is BlockEnd.Branch && current.Next < 0) current.Next = last.Index;
            else if (current.End is BlockEnd.Barrier && current.Target < 0) current.Target = last.Index;
            else if (code.Count == 0 || !Ends(code[^1])) JumpTo(current, last.Index, code.Count);
            _blockAt[code.Count] = last.Index;
        }
        foreach (var (block, instruction) in _pending)
        {
            if (!_blockAt.TryGetValue(instruction, out int target)) throw new NotCompilableException("a branch leads past the end");
            block.Target = target;
        }
    }

    /// <summary>Lowers an instruction into a block; the block to go on with.</summary>
    private BasicBlock LowerOne(BasicBlock block, PtxInstruction at, int index)
    {
        block.Origin = index;
        if (ControlFlow.IsBranch(at))
        {
            block.End = at.Guard < 0 ? BlockEnd.Jump : BlockEnd.Branch;
            block.Condition = at.Guard;
            block.Negated = at.GuardNegated;
            _pending.Add((block, (int)at.Operands[0].Value));
            return block;
        }
        if (at.Guard >= 0)
        {
            var inner = NewBlock();
            block.End = BlockEnd.Branch;
            block.Condition = at.Guard;
            block.Negated = !at.GuardNegated;
            block.Next = inner.Index;
            LowerUnguarded(inner, at, index);
            if (inner.End is BlockEnd.Exit or BlockEnd.Trap)
            {
                // The lanes that do not leave go on with the next instruction's block: swap the sides, so that what follows is Next.
                (block.Target, block.Next, block.Negated) = (inner.Index, -1, at.GuardNegated);
                return block;
            }
            var after = NewBlock();
            block.Target = after.Index;
            if (inner.End == BlockEnd.Barrier) inner.Target = after.Index;
            else JumpTo(inner, after.Index, index);
            after.Origin = index;
            return after;
        }
        LowerUnguarded(block, at, index);
        return block;
    }

    private void LowerUnguarded(BasicBlock block, PtxInstruction at, int index)
    {
        block.Origin = index;
        if (ControlFlow.IsExit(at))
        {
            block.End = at.Opcode == "trap" ? BlockEnd.Trap : BlockEnd.Exit;
            return;
        }
        if (at.Opcode.StartsWith("bar", StringComparison.Ordinal) && at.Opcode != "bar.warp.sync")
        {
            if (!IsBarrier(at)) throw new NotCompilableException($"'{at.Opcode}' with these operands");
            block.End = BlockEnd.Barrier;
            return;
        }
        // Lanes of a warp run in lockstep and memory is coherent.
        if (at.Opcode == "bar.warp.sync" || at.Opcode.StartsWith("membar", StringComparison.Ordinal) || at.Opcode.StartsWith("fence", StringComparison.Ordinal)) return;
        LowerOperation(block, at, index);
    }

    private void LowerOperation(BasicBlock block, PtxInstruction at, int index)
    {
        string[] parts = at.OpcodeParts;
        bool lowered = parts[0] switch
        {
            "ld" or "ldu" => LowerLoad(block, at, index, parts),
            "st" => LowerStore(block, at, index, parts),
            "shfl" => LowerShuffle(block, at, index),
            _ => LowerPure(block, at, index, parts),
        };
        if (!lowered) block.Operations.Add(FallbackOf(at, index, parts[^1]));
    }

    private bool LowerPure(BasicBlock block, PtxInstruction at, int index, string[] parts)
    {
        if (!Natives.Contains(at.Opcode) || at.Operands.Length < 2) return false;
        if (at.Operands[0] is not { Kind: PtxOperandKind.Register }) return false;
        var sources = new Source[at.Operands.Length - 1];
        for (int i = 0; i < sources.Length; i++)
        {
            if (!TrySource(at.Operands[i + 1], out sources[i])) return false;
        }
        block.Operations.Add(new Operation { Kind = OperationKind.Pure, Opcode = at.Opcode, Type = parts[^1], Destinations = [at.Operands[0].Register], Sources = sources, Origin = index });
        return true;
    }

    private bool LowerLoad(BasicBlock block, PtxInstruction at, int index, string[] parts)
    {
        var address = at.Operands[1];
        var values = at.Operands[0].Elements ?? [at.Operands[0]];
        if (address.Kind != PtxOperandKind.Address || values.Any(v => v.Kind != PtxOperandKind.Register)) return false;
        string type = parts[^1];
        if (parts.Contains("param"))
        {
            if (_entry.Parameters.FirstOrDefault(p => p.Name == address.Name) is not { } parameter || values.Length != 1) return false;
            if (type is not ("b32" or "u32" or "s32" or "f32" or "b64" or "u64" or "s64" or "f64")) return false;
            block.Operations.Add(new Operation { Kind = OperationKind.Pure, Opcode = "param", Type = type, Destinations = [values[0].Register], Offset = parameter.Offset + address.Value, Origin = index });
            return true;
        }
        if (!TrySpace(parts, out var space) || !TryAddress(address, space, out var source, out long offset)) return false;
        // A vector load is a load an element, each of which may find its way into the instruction that uses it; unless one overwrites the address.
        int[] registers = [.. values.Select(v => v.Register)];
        int together = registers.Contains(address.Register) ? registers.Length : 1;
        for (int e = 0; e < registers.Length; e += together)
        {
            block.Operations.Add(new Operation
            {
                Kind = OperationKind.Load,
                Opcode = at.Opcode,
                Type = type,
                Destinations = registers[e..(e + together)],
                Sources = [source],
                Space = space,
                Offset = offset + e * MemoryForm.ElementBytes(type),
                Origin = index,
            });
        }
        return true;
    }

    private bool LowerStore(BasicBlock block, PtxInstruction at, int index, string[] parts)
    {
        var address = at.Operands[0];
        var values = at.Operands[1].Elements ?? [at.Operands[1]];
        if (address.Kind != PtxOperandKind.Address || !TrySpace(parts, out var space) || !TryAddress(address, space, out var source, out long offset)) return false;
        var sources = new Source[values.Length + 1];
        sources[0] = source;
        for (int i = 0; i < values.Length; i++)
        {
            if (!TrySource(values[i], out sources[i + 1])) return false;
        }
        block.Operations.Add(new Operation { Kind = OperationKind.Store, Opcode = at.Opcode, Type = parts[^1], Sources = sources, Space = space, Offset = offset, Origin = index });
        return true;
    }

    /// <summary>Shuffles of whole warps by a constant; all others fall back.</summary>
    private static bool LowerShuffle(BasicBlock block, PtxInstruction at, int index)
    {
        if (at.Operands.Length != 5 || at.Operands[0].Kind != PtxOperandKind.Register || at.Operands[1].Kind != PtxOperandKind.Register) return false;
        if (at.Operands[2].Kind != PtxOperandKind.Number || at.Operands[3] is not { Kind: PtxOperandKind.Number, Value: 31 }) return false;
        if (at.Opcode != "shfl.sync.bfly.b32") return false;
        block.Operations.Add(new Operation
        {
            Kind = OperationKind.Shuffle,
            Opcode = at.Opcode,
            Type = "b32",
            Destinations = [at.Operands[0].Register],
            Sources = [new Source(at.Operands[1].Register)],
            Offset = at.Operands[2].Value & 31,
            Origin = index,
        });
        return true;
    }

    private static Operation FallbackOf(PtxInstruction at, int index, string type)
    {
        List<int> reads = [], writes = [];
        Decoder.AddReads(at, reads);
        Decoder.AddWrites(at, writes);
        return new()
        {
            Kind = OperationKind.Fallback,
            Opcode = at.Opcode,
            Type = type,
            Destinations = [.. writes],
            // The guard, which comes first, has become a branch; it may be an operand as well.
            Sources = [.. reads.Skip(at.Guard >= 0 ? 1 : 0).Distinct().Select(r => new Source(r))],
            Origin = index,
        };
    }

    private static bool TrySpace(string[] parts, out MemorySpace space)
    {
        space = parts.Contains("shared") ? MemorySpace.Shared : MemorySpace.Global;
        return !parts.Contains("local") && !parts.Contains("const") && !parts.Contains("param")
            && parts[^1] is "b8" or "u8" or "s8" or "b16" or "u16" or "s16" or "b32" or "u32" or "s32" or "f32" or "b64" or "u64" or "s64" or "f64";
    }

    private bool TryAddress(PtxOperand address, MemorySpace space, out Source source, out long offset)
    {
        offset = address.Value;
        source = new Source(address.Register);
        if (address.Register >= 0) return true;
        return space == MemorySpace.Shared && TryShared(address.Name, out source);
    }

    private bool TrySource(PtxOperand operand, out Source source)
    {
        source = default;
        switch (operand.Kind)
        {
            case PtxOperandKind.Register when !operand.Negated:
                source = new Source(operand.Register);
                return true;
            case PtxOperandKind.Number:
                source = Source.Constant((ulong)operand.Value);
                return true;
            case PtxOperandKind.Special when Natives.IsSpecial(operand.Name):
                source = new Source(-1, Special: operand.Name);
                return true;
            default:
                return operand.Kind == PtxOperandKind.Symbol && TryShared(operand.Name, out source);
        }
    }

    /// <summary>The address of a shared variable.</summary>
    private bool TryShared(string name, out Source source)
    {
        bool found = KernelProgram.TrySharedStart(_entry, name, out int start);
        source = Source.Constant((ulong)start);
        return found;
    }

    private static bool Ends(PtxInstruction at) => ControlFlow.IsBranch(at) || ControlFlow.IsExit(at) || IsBarrier(at);

    private static bool IsBarrier(PtxInstruction at) =>
        at.Opcode is "bar.sync" or "barrier.sync" or "barrier.sync.aligned" && at.Operands is [{ Kind: PtxOperandKind.Number, Value: 0 }];

    private static void JumpTo(BasicBlock block, int target, int origin)
    {
        block.End = BlockEnd.Jump;
        block.Target = target;
        block.Origin = origin;
    }

    private BasicBlock NewBlock()
    {
        var block = new BasicBlock(_blocks.Count) { End = BlockEnd.Jump };
        _blocks.Add(block);
        return block;
    }
}
