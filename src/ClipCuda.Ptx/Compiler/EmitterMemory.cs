using System.Numerics;
using System.Reflection.Emit;

namespace ClipCuda.Ptx.Compiler;

/// <summary>
/// Loads and stores, by the shape of their addresses: one address is a scalar access, neighbouring ones a vector access (masked where lanes
/// may be elsewhere), all others go lane by lane through the warp's scratch memory. Memory of a lane that does not run is never touched.
/// </summary>
internal sealed partial class Emitter
{
    private const int ScratchValues = 256;

    private MemoryShape ShapeOf(Operation operation) => MemoryForm.Of(operation, _analysis, _webs);

    /// <summary>Pushes the address of a uniform or affine access in lane 0, plus an offset.</summary>
    private void PushAddress(Operation operation, long extra)
    {
        var source = operation.Sources[0];
        long offset = operation.Offset + extra;
        if (operation.Space == MemorySpace.Shared)
        {
            State(nameof(WarpState.Shared), OpCodes.Ldind_I8);
            if (source.IsConstant)
            {
                offset += (long)source.Bits;
            }
            else
            {
                PushScalar(source, ValueType.Bits64);
                _il.Emit(OpCodes.Add);
            }
        }
        else
        {
            PushScalar(source, ValueType.Bits64);
        }
        _il.Emit(OpCodes.Conv_I);
        AddOffset(offset);
    }

    /// <summary>Moves the pointer on the stack.</summary>
    private void AddOffset(long offset)
    {
        if (offset == 0) return;
        if (offset is < int.MinValue or > int.MaxValue)
        {
            _il.Emit(OpCodes.Ldc_I8, offset);
            _il.Emit(OpCodes.Conv_I);
        }
        else
        {
            Constant((int)offset);
        }
        _il.Emit(OpCodes.Add);
    }

    /// <summary>Reads memory of a type at the address on the stack: an int, or a long for a wide register.</summary>
    private void LoadElement(string type, bool wide)
    {
        _il.Emit(type switch
        {
            "b8" or "u8" => OpCodes.Ldind_U1,
            "s8" => OpCodes.Ldind_I1,
            "b16" or "u16" => OpCodes.Ldind_U2,
            "s16" => OpCodes.Ldind_I2,
            "b64" or "u64" or "s64" or "f64" => OpCodes.Ldind_I8,
            _ => OpCodes.Ldind_I4,
        });
        if (wide && MemoryForm.ElementBytes(type) < 8) _il.Emit(type[0] == 's' ? OpCodes.Conv_I8 : OpCodes.Conv_U8);
    }

    private void PushScalarLoad(Operation operation, int element, ValueType want)
    {
        var natural = _webs.Types[operation.Destinations[element]];
        PushAddress(operation, element * MemoryForm.ElementBytes(operation.Type));
        if (natural == ValueType.Float)
        {
            _il.Emit(OpCodes.Ldind_R4);
            Call(Small, "CreateScalarUnsafe", typeof(float), 1);
        }
        else
        {
            LoadElement(operation.Type, IsWide(natural));
        }
        ConvertScalar(natural, want);
    }

    private void PushParameter(Operation operation, ValueType want)
    {
        var natural = _webs.Types[operation.Destinations[0]];
        PushPointer(nameof(WarpState.Parameters), (int)operation.Offset);
        LoadElement(operation.Type, IsWide(natural));
        if (natural == ValueType.Float) ConvertScalar(ValueType.Bits32, ValueType.Float);
        ConvertScalar(natural, want);
    }

    private void PushContiguous(Operation operation, ValueType want, int part)
    {
        var natural = _webs.Types[operation.Destinations[0]];
        PushAddress(operation, part * _isa.Bytes);
        _il.Emit(OpCodes.Unaligned, (byte)1);
        _il.Emit(OpCodes.Ldobj, _isa.Vector(ElementOf(natural)));
        CastVector(natural, want);
    }

    /// <summary>Before a load or store of a scalar address; others are checked lane by lane (<see cref="EachLane"/>).</summary>
    private void WriteBoundsCheck(Operation operation)
    {
        if (operation.Kind is not (OperationKind.Load or OperationKind.Store) || _analysis.ClassOf(operation.Sources[0]) is not { IsScalar: true } value) return;
        if (operation.Kind == OperationKind.Load && operation.Destinations.All(w => _webs.Uses[w] == 0)) return;
        PushWarp();
        PushAddress(operation, 0);
        _il.Emit(OpCodes.Ldc_I8, value.IsAffine ? value.Step : 0);
        PushAccess(operation, () => PushCurrent(operation.Block));
    }

    /// <summary>On the stack: the warp, lane 0's address and the distance of lanes. Ends the method where <see cref="Bounds.Allow"/> refuses the access.</summary>
    private void PushAccess(Operation operation, Action pushLanes)
    {
        bool store = operation.Kind == OperationKind.Store;
        Constant((store ? operation.Sources.Length - 1 : operation.Destinations.Length) * MemoryForm.ElementBytes(operation.Type));
        pushLanes();
        Constant((store ? Bounds.Access.Write : 0) | (operation.Space == MemorySpace.Shared ? Bounds.Access.Shared : 0));
        _il.Emit(OpCodes.Call, typeof(Bounds).GetMethod(nameof(Bounds.Allow))!);
        var allowed = _il.DefineLabel();
        _il.Emit(OpCodes.Brtrue, allowed);
        WriteFault(operation.Origin, operation.Block, Outcome.OutOfBounds);
        _il.MarkLabel(allowed);
    }

    private void WriteLoad(Operation operation)
    {
        if (operation.Destinations.All(w => _webs.Uses[w] == 0)) return;
        bool partial = _analysis.IsPartial(operation.Block);
        switch (ShapeOf(operation))
        {
            case MemoryShape.Uniform:
                WriteUniformLoad(operation);
                return;
            case MemoryShape.Contiguous when !partial || _isa.HasMaskedMemory && !IsWide(_webs.Types[operation.Destinations[0]]):
                WriteContiguousLoad(operation, partial);
                return;
            case MemoryShape.Strided when !partial && IsNarrow(operation) && _isa.Extend(operation.Type) is { } extend:
                WriteNarrowLoad(operation, extend);
                return;
            case MemoryShape.Strided when !partial:
                WriteStridedLoad(operation);
                return;
            default:
                WriteLoadByLane(operation);
                return;
        }
    }

    private void WriteUniformLoad(Operation operation)
    {
        // An address that one of the results overwrites is read first.
        int count = operation.Destinations.Length;
        for (int e = 0; e < count; e++)
        {
            var type = _webs.Types[operation.Destinations[e]];
            PushScalarLoad(operation, e, type);
            _il.Emit(OpCodes.Stloc, Temporary(Allocation.ScalarType(type), 20 + e));
        }
        for (int e = 0; e < count; e++)
        {
            int web = operation.Destinations[e];
            var type = _webs.Types[web];
            var scalar = Temporary(Allocation.ScalarType(type), 20 + e);
            if (_analysis.Classes[web].IsScalar)
            {
                _il.Emit(OpCodes.Ldloc, scalar);
                StoreScalar(web);
                continue;
            }
            bool blend = NeedsBlend(operation, web);
            foreach (int p in PartsNow(Allocation.Parts(web, _webs, _analysis, _isa)))
            {
                StorePart(web, p, blend, () =>
                {
                    _il.Emit(OpCodes.Ldloc, scalar);
                    Broadcast(type, ValueClass.Uniform, 0);
                });
            }
        }
    }

    private void WriteContiguousLoad(Operation operation, bool masked)
    {
        int web = operation.Destinations[0];
        var type = _webs.Types[web];
        var element = ElementOf(type);
        bool blend = NeedsBlend(operation, web);
        if (masked) PrepareMasks(operation.Block);
        foreach (int part in PartsNow(PartsOf(type)))
        {
            StorePart(web, part, blend, () =>
            {
                if (!masked)
                {
                    PushContiguous(operation, type, part);
                    return;
                }
                PushAddress(operation, part * _isa.Bytes);
                PushMaskPart(false, part, element);
                if (_isa.LoadTakesMerge) PushConstantVector(0, type);
                _il.Emit(OpCodes.Call, _isa.MaskLoad(element));
            });
        }
    }

    private void WriteLoadByLane(Operation operation)
    {
        int bytes = MemoryForm.ElementBytes(operation.Type);
        EachLane(operation, (lane, address) =>
        {
            for (int e = 0; e < operation.Destinations.Length; e++)
            {
                bool wide = IsWide(_webs.Types[operation.Destinations[e]]);
                PushScratch(ScratchValues * (e + 1), lane, wide);
                PushOffset(address, e * bytes);
                LoadElement(operation.Type, wide);
                _il.Emit(wide ? OpCodes.Stind_I8 : OpCodes.Stind_I4);
            }
        });
        for (int e = 0; e < operation.Destinations.Length; e++)
        {
            int web = operation.Destinations[e], element = e;
            var type = _webs.Types[web];
            bool blend = NeedsBlend(operation, web);
            for (int p = 0; p < PartsOf(type); p++)
            {
                int part = p;
                StorePart(web, p, blend, () =>
                {
                    State(nameof(WarpState.Scratch), OpCodes.Ldind_I);
                    LoadVectorAt(ScratchValues * (element + 1) + part * _isa.Bytes, ElementOf(type));
                });
            }
        }
    }

    private void WriteStore(Operation operation)
    {
        bool partial = _analysis.IsPartial(operation.Block);
        switch (ShapeOf(operation))
        {
            case MemoryShape.Uniform:
                WriteUniformStore(operation);
                return;
            case MemoryShape.Contiguous when !partial || _isa.HasMaskedMemory && TypeOfStored(operation, 1) is not ValueType.Bits64:
                WriteContiguousStore(operation, partial);
                return;
            case MemoryShape.Strided when !partial && IsQuad(operation):
                WriteQuadStore(operation);
                return;
            case MemoryShape.Strided when !partial:
                WriteStridedStore(operation);
                return;
            default:
                WriteStoreByLane(operation);
                return;
        }
    }

    /// <summary>What a stored value is kept as: its web's type, or for an immediate by the width in memory.</summary>
    private ValueType TypeOfStored(Operation operation, int source)
    {
        var value = operation.Sources[source];
        if (value.IsWeb) return IsWide(_webs.Types[value.Web]) ? ValueType.Bits64 : _webs.Types[value.Web];
        return MemoryForm.ElementBytes(operation.Type) == 8 ? ValueType.Bits64 : ValueType.Bits32;
    }

    private void PushStoredVector(Operation operation, int source, int part)
    {
        var type = TypeOfStored(operation, source);
        PushVector(operation.Sources[source], type, part);
        if (!_nans.IsRaw(operation.Sources[source])) return;
        CastVector(type, ValueType.Float);
        Canonicalise(_isa);
        CastVector(ValueType.Float, type);
    }

    private void WriteUniformStore(Operation operation)
    {
        int bytes = MemoryForm.ElementBytes(operation.Type);
        for (int s = 1; s < operation.Sources.Length; s++)
        {
            var type = TypeOfStored(operation, s);
            if (_analysis.IsUniform(operation.Sources[s]))
            {
                PushAddress(operation, (s - 1) * bytes);
                PushScalar(operation.Sources[s], type);
                if (_nans.IsRaw(operation.Sources[s]))
                {
                    ConvertScalar(type, ValueType.Float);
                    Canonicalise(Small);
                    ConvertScalar(ValueType.Float, ValueType.Bits32);
                }
                else if (type == ValueType.Float)
                {
                    ConvertScalar(type, ValueType.Bits32);
                }
            }
            else
            {
                // Lanes store in their order, so the last one's value stays.
                ToScratch(operation, s);
                PushAddress(operation, (s - 1) * bytes);
                var lane = Temporary(typeof(int), 4);
                PushCurrent(operation.Block);
                CallScalar(nameof(ScalarCode.LastLane));
                _il.Emit(OpCodes.Stloc, lane);
                PushScratch(ScratchValues * s, lane, IsWide(type));
                _il.Emit(IsWide(type) ? OpCodes.Ldind_I8 : OpCodes.Ldind_I4);
            }
            StoreElement(operation.Type, IsWide(type));
        }
    }

    private void StoreElement(string type, bool wide)
    {
        int bytes = MemoryForm.ElementBytes(type);
        if (wide && bytes < 8) _il.Emit(OpCodes.Conv_I4);
        if (!wide && bytes == 8) _il.Emit(OpCodes.Conv_U8);
        _il.Emit(bytes switch
        {
            1 => OpCodes.Stind_I1,
            2 => OpCodes.Stind_I2,
            4 => OpCodes.Stind_I4,
            _ => OpCodes.Stind_I8,
        });
    }

    private void WriteContiguousStore(Operation operation, bool masked)
    {
        var type = TypeOfStored(operation, 1);
        var element = ElementOf(type);
        if (masked) PrepareMasks(operation.Block);
        // All parts before the first is stored: what they are computed from may be what is overwritten.
        int parts = PartsOf(type);
        ClimbRungs(operation, type, Enumerable.Range(0, parts));
        for (int p = 0; p < parts; p++)
        {
            PushStoredVector(operation, 1, p);
            _il.Emit(OpCodes.Stloc, Temporary(_isa.Vector(element), 10 + p));
        }
        for (int p = 0; p < parts; p++)
        {
            PushAddress(operation, p * _isa.Bytes);
            if (masked) PushMaskPart(false, p, element);
            _il.Emit(OpCodes.Ldloc, Temporary(_isa.Vector(element), 10 + p));
            if (masked) _il.Emit(OpCodes.Call, _isa.MaskStore(element));
            else
            {
                _il.Emit(OpCodes.Unaligned, (byte)1);
                StoreVector(element);
            }
        }
    }

    private void WriteStoreByLane(Operation operation)
    {
        int bytes = MemoryForm.ElementBytes(operation.Type);
        for (int s = 1; s < operation.Sources.Length; s++) ToScratch(operation, s);
        EachLane(operation, (lane, address) =>
        {
            for (int s = 1; s < operation.Sources.Length; s++)
            {
                bool wide = IsWide(TypeOfStored(operation, s));
                PushOffset(address, (s - 1) * bytes);
                PushScratch(ScratchValues * s, lane, wide);
                _il.Emit(wide ? OpCodes.Ldind_I8 : OpCodes.Ldind_I4);
                StoreElement(operation.Type, wide);
            }
        });
    }

    /// <summary>Writes a stored value's lanes to its place in the scratch memory.</summary>
    private void ToScratch(Operation operation, int source)
    {
        var type = TypeOfStored(operation, source);
        for (int p = 0; p < PartsOf(type); p++)
        {
            PushPointer(nameof(WarpState.Scratch), ScratchValues * source + p * _isa.Bytes);
            PushStoredVector(operation, source, p);
            StoreVector(ElementOf(type));
        }
    }

    private void PushScratch(int offset, LocalBuilder lane, bool wide)
    {
        State(nameof(WarpState.Scratch), OpCodes.Ldind_I);
        _il.Emit(OpCodes.Ldloc, lane);
        Constant(wide ? 3 : 2);
        _il.Emit(OpCodes.Shl);
        _il.Emit(OpCodes.Conv_I);
        _il.Emit(OpCodes.Add);
        Constant(offset);
        _il.Emit(OpCodes.Add);
    }

    /// <summary>A loop over the running lanes, lowest first; the body gets the lane and the address it accesses.</summary>
    private void EachLane(Operation operation, Action<LocalBuilder, LocalBuilder> body)
    {
        var (left, lane, address) = (Temporary(typeof(int), 2), Temporary(typeof(int), 3), Temporary(typeof(nint), 1));
        var source = operation.Sources[0];
        var value = _analysis.ClassOf(source);
        if (!value.IsScalar)
        {
            for (int p = 0; p < PartsOf(ValueType.Bits64); p++)
            {
                PushPointer(nameof(WarpState.Scratch), p * _isa.Bytes);
                PushVector(source, ValueType.Bits64, p);
                StoreVector(typeof(long));
            }
        }
        PushCurrent(operation.Block);
        _il.Emit(OpCodes.Stloc, left);
        var (test, next) = (_il.DefineLabel(), _il.DefineLabel());
        _il.Emit(OpCodes.Br, test);
        _il.MarkLabel(next);
        _il.Emit(OpCodes.Ldloc, left);
        _il.Emit(OpCodes.Call, typeof(BitOperations).GetMethod(nameof(BitOperations.TrailingZeroCount), [typeof(int)])!);
        _il.Emit(OpCodes.Stloc, lane);
        _il.Emit(OpCodes.Ldloc, left);
        _il.Emit(OpCodes.Ldloc, left);
        Constant(1);
        _il.Emit(OpCodes.Sub);
        _il.Emit(OpCodes.And);
        _il.Emit(OpCodes.Stloc, left);
        if (value.IsScalar)
        {
            PushAddress(operation, 0);
            _il.Emit(OpCodes.Ldloc, lane);
            _il.Emit(OpCodes.Conv_I);
            _il.Emit(OpCodes.Ldc_I8, value.IsAffine ? value.Step : 0);
            _il.Emit(OpCodes.Conv_I);
            _il.Emit(OpCodes.Mul);
            _il.Emit(OpCodes.Add);
        }
        else
        {
            PushScratch(0, lane, wide: true);
            _il.Emit(OpCodes.Ldind_I8);
            _il.Emit(OpCodes.Ldc_I8, operation.Offset);
            _il.Emit(OpCodes.Add);
            if (operation.Space == MemorySpace.Shared)
            {
                State(nameof(WarpState.Shared), OpCodes.Ldind_I8);
                _il.Emit(OpCodes.Add);
            }
            _il.Emit(OpCodes.Conv_I);
        }
        _il.Emit(OpCodes.Stloc, address);
        if (_version.Kernel.ChecksBounds && !value.IsScalar)
        {
            PushWarp();
            // As if lane 0 were that lane, so that a lane counts as the one that it is.
            _il.Emit(OpCodes.Ldloc, address);
            _il.Emit(OpCodes.Ldc_I8, 0L);
            PushAccess(operation, () =>
            {
                Constant(1);
                _il.Emit(OpCodes.Ldloc, lane);
                _il.Emit(OpCodes.Shl);
            });
        }
        body(lane, address);
        _il.MarkLabel(test);
        _il.Emit(OpCodes.Ldloc, left);
        _il.Emit(OpCodes.Brtrue, next);
    }

    /// <summary>Operands into the interpreter's register file, its handler, results back.</summary>
    private void WriteFallback(Operation operation)
    {
        for (int s = 0; s < operation.Sources.Length; s++)
        {
            // Immediates of the instruction itself lie in the file already.
            int register = operation.SourceRegisters[s];
            if (register < 0) continue;
            var type = operation.Sources[s].IsWeb ? _webs.Types[operation.Sources[s].Web] : _version.Kernel.TypeOf(register);
            for (int p = 0; p < PartsOf(type); p++)
            {
                PushFile(register, type, p);
                PushVector(operation.Sources[s], type, p);
                StoreVector(ElementOf(type));
            }
        }
        PushWarp();
        Constant(_version.Kernel.CodeIndexOf(operation.Origin));
        PushCurrent(operation.Block);
        _il.Emit(OpCodes.Call, typeof(Workspace).GetMethod(nameof(Workspace.RunHandler))!);
        for (int d = 0; d < operation.Destinations.Length; d++)
        {
            int web = operation.Destinations[d], register = operation.DestinationRegisters[d];
            var type = _webs.Types[web];
            bool blend = NeedsBlend(operation, web);
            for (int p = 0; p < PartsOf(type); p++)
            {
                int part = p;
                StorePart(web, p, blend, () =>
                {
                    PushFile(register, type, part);
                    LoadVectorAt(0, ElementOf(type));
                });
            }
        }
    }

    private void PushFile(int register, ValueType type, int part)
    {
        PushPointer(IsWide(type) ? nameof(WarpState.File64) : nameof(WarpState.File32), _version.Kernel.FileOffsetOf(register) + part * _isa.Bytes);
    }
}
