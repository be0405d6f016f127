using System.Reflection.Emit;

namespace ClipCuda.Ptx.Compiler;

/// <summary>
/// Values: how operands come onto the IL stack and results go to their places. A scalar is an int, a long, or a float in lane 0 of a Vector128;
/// an affine value is the scalar of lane 0; a varying one a vector a part. Predicates are 0 or 1 as scalars, lane masks as vectors.
/// </summary>
internal sealed partial class Emitter
{
    private static readonly VectorIsa Small = VectorIsa.Of(128);

    private static Type ElementOf(ValueType type) => Allocation.ElementOf(type);

    private int PartsOf(ValueType type) => Allocation.Parts(type, ValueClass.Varying, _isa);

    /// <summary>The parts of so many that the pass being written computes; all of them outside of loops in passes.</summary>
    private IEnumerable<int> PartsNow(int parts) => PartsIn(_loop, _pass, parts);

    private void Call(VectorIsa isa, string name, Type element, int parameters) => _il.Emit(OpCodes.Call, isa.Method(name, element, parameters));

    private void Cast(VectorIsa isa, Type from, Type to)
    {
        if (from != to) _il.Emit(OpCodes.Call, isa.As(from, to));
    }

    /// <summary>Pushes the scalar of a uniform or affine operand.</summary>
    private void PushScalar(Source source, ValueType want)
    {
        if (source.IsConstant)
        {
            PushConstant(source.Bits, want);
            return;
        }
        if (source.Special is { } special)
        {
            PushSpecial(special);
            return;
        }
        if (_inlining.Of(source.Web) is { } inner)
        {
            PushScalarResult(inner, want);
            return;
        }
        _il.Emit(OpCodes.Ldloc, _places[source.Web].Locals[0]);
        ConvertScalar(_webs.Types[source.Web], want);
    }

    private void PushConstant(ulong bits, ValueType want)
    {
        switch (want)
        {
            case ValueType.Bits64 or ValueType.Double:
                _il.Emit(OpCodes.Ldc_I8, (long)bits);
                break;
            case ValueType.Float:
                Constant((int)bits);
                Call(Small, "Create", typeof(int), 1);
                Cast(Small, typeof(int), typeof(float));
                break;
            case ValueType.Predicate:
                Constant(bits != 0 ? 1 : 0);
                break;
            default:
                Constant((int)bits);
                break;
        }
    }

    private void PushSpecial(string name)
    {
        if (name == "%laneid")
        {
            Constant(0);
            return;
        }
        string field = $"{char.ToUpperInvariant(name[1])}{name[2..^2]}{char.ToUpperInvariant(name[^1])}";
        State(field, OpCodes.Ldind_I4);
    }

    private void ConvertScalar(ValueType have, ValueType want)
    {
        if (have == want || (IsWide(have) && IsWide(want))) return;
        if (have == ValueType.Float && want == ValueType.Bits32)
        {
            Cast(Small, typeof(float), typeof(int));
            Call(Small, "ToScalar", typeof(int), 1);
        }
        else if (have == ValueType.Bits32 && want == ValueType.Float)
        {
            Call(Small, "CreateScalarUnsafe", typeof(int), 1);
            Cast(Small, typeof(int), typeof(float));
        }
        else
        {
            throw new NotCompilableException($"a {have} read as {want}");
        }
    }

    private static bool IsWide(ValueType type) => type is ValueType.Bits64 or ValueType.Double;

    private void StoreScalar(int web) => _il.Emit(OpCodes.Stloc, _places[web].Locals[0]);

    /// <summary>Pushes a part of an operand as a vector, whatever its class.</summary>
    private void PushVector(Source source, ValueType want, int part)
    {
        var value = _analysis.ClassOf(source);
        if (source.IsConstant)
        {
            PushConstantVector(source.Bits, want);
            return;
        }
        if (source.Special is { } special && !value.IsScalar)
        {
            State(nameof(WarpState.ThreadIds), OpCodes.Ldind_I);
            LoadVectorAt(128 * "xyz".IndexOf(special[^1], StringComparison.Ordinal) + part * _isa.Bytes, typeof(int));
            return;
        }
        if (value.IsScalar)
        {
            if (source.IsWeb && want == ValueType.Float && _inlining.Of(source.Web) is { Kind: OperationKind.Load } load)
            {
                PushBroadcast(source.Web, load);
                return;
            }
            var natural = source.IsWeb ? _webs.Types[source.Web] : ValueType.Bits32;
            if (want == ValueType.Float || natural == ValueType.Float || IsWide(natural) != IsWide(want)) natural = want;
            PushScalar(source, natural);
            Broadcast(natural, value, part);
            CastVector(natural, want);
            return;
        }
        if (_rungs.TryGetValue(source.Web, out var rung))
        {
            _il.Emit(OpCodes.Ldloc, rung[part]);
            CastVector(_webs.Types[source.Web], want);
            return;
        }
        if (_inlining.Of(source.Web) is { } inner)
        {
            PushVectorResult(inner, want, part);
            return;
        }
        PushPart(source.Web, part);
        CastVector(_webs.Types[source.Web], want);
    }

    /// <summary>
    /// A number from memory in all lanes. With AVX-512 it folds into the instruction that uses it; without, it takes an instruction of its own, so it
    /// is kept for the next part or operation that uses the same number.
    /// </summary>
    private void PushBroadcast(int web, Operation load)
    {
        var kept = Temporary(_isa.Vector(typeof(float)), 400);
        if (_broadcast != web)
        {
            PushAddress(load, 0);
            _il.Emit(OpCodes.Ldind_R4);
            Call(_isa, "Create", typeof(float), 1);
            if (_isa.Registers == 32) return;
            _il.Emit(OpCodes.Stloc, kept);
            _broadcast = web;
        }
        _il.Emit(OpCodes.Ldloc, kept);
    }

    private void CastVector(ValueType have, ValueType want) => Cast(_isa, ElementOf(have), ElementOf(want));

    /// <summary>Pushes a part of a web that has vectors of its own.</summary>
    private void PushPart(int web, int part)
    {
        var place = PlaceOf(web);
        part %= Allocation.Parts(web, _webs, _analysis, _isa);
        if (!place.IsSpilled)
        {
            _il.Emit(OpCodes.Ldloc, place.Locals[part]);
            return;
        }
        PushMemory(place, part);
        LoadVectorAt(0, ElementOf(_webs.Types[web]));
    }

    /// <summary>Where a web is in the block that is being written.</summary>
    private Place PlaceOf(int web) => _places.In(_loop, web);

    private void PushMemory(Place place, int part)
    {
        PushPointer(place.InFrame ? nameof(WarpState.Frame) : nameof(WarpState.Arena), place.Offset + part * _isa.Bytes);
    }

    /// <summary>Stores the vector that <paramref name="push"/> pushes; lanes that wait keep theirs if <paramref name="blend"/>.</summary>
    private void StorePart(int web, int part, bool blend, Action push)
    {
        var place = PlaceOf(web);
        var type = ElementOf(_webs.Types[web]);
        if (place.IsSpilled) PushMemory(place, part);
        if (blend)
        {
            PushMaskPart(IsWide(_webs.Types[web]), part, type);
            push();
            PushPart(web, part);
            Call(_isa, "ConditionalSelect", type, 3);
        }
        else
        {
            push();
        }
        if (place.IsSpilled) StoreVector(type);
        else _il.Emit(OpCodes.Stloc, place.Locals[part]);
    }

    private void PushConstantVector(ulong bits, ValueType want)
    {
        switch (want)
        {
            case ValueType.Float when bits != 0 && _isa.Registers == 16 && ConstantVectors.OffsetOf((uint)bits) is >= 0 and var offset:
                PushPointer(nameof(WarpState.Constants), offset);
                _il.Emit(OpCodes.Ldobj, _isa.Vector(typeof(float)));
                break;
            case ValueType.Float when !float.IsNaN(BitConverter.UInt32BitsToSingle((uint)bits)):
                _il.Emit(OpCodes.Ldc_R4, BitConverter.UInt32BitsToSingle((uint)bits));
                Call(_isa, "Create", typeof(float), 1);
                break;
            case ValueType.Float:
                Constant((int)bits);
                Call(_isa, "Create", typeof(int), 1);
                Cast(_isa, typeof(int), typeof(float));
                break;
            case ValueType.Bits64 or ValueType.Double:
                _il.Emit(OpCodes.Ldc_I8, (long)bits);
                Call(_isa, "Create", typeof(long), 1);
                break;
            case ValueType.Predicate:
                Constant(bits != 0 ? -1 : 0);
                Call(_isa, "Create", typeof(int), 1);
                break;
            default:
                Constant((int)bits);
                Call(_isa, "Create", typeof(int), 1);
                break;
        }
    }

    /// <summary>The scalar on the stack in all lanes of a part, plus lane times stride if it is affine.</summary>
    private void Broadcast(ValueType type, ValueClass value, int part)
    {
        if (type == ValueType.Float && value.IsAffine)
        {
            // An index in a float register: its lanes are an integer's.
            ConvertScalar(ValueType.Float, ValueType.Bits32);
            Broadcast(ValueType.Bits32, value, part);
            Cast(_isa, typeof(int), typeof(float));
            return;
        }
        switch (type)
        {
            case ValueType.Float:
                Call(Small, "ToScalar", typeof(float), 1);
                break;
            case ValueType.Predicate:
                _il.Emit(OpCodes.Neg);
                break;
        }
        var element = ElementOf(type);
        Call(_isa, "Create", element, 1);
        if (!value.IsAffine) return;
        int lanes = _isa.Bytes / (IsWide(type) ? 8 : 4);
        PushLaneMultiples(value.Step, part * lanes, IsWide(type));
        Call(_isa, "Add", element, 2);
    }

    /// <summary>Pushes the constant (first + i) · stride of each lane i.</summary>
    private void PushLaneMultiples(long stride, int first, bool wide) =>
        PushConstantAt(ConstantVectors.LaneMultiples(first, stride, wide), wide ? typeof(long) : typeof(int));

    private void PushConstantAt(nint address, Type element)
    {
        _il.Emit(OpCodes.Ldc_I8, address);
        _il.Emit(OpCodes.Conv_I);
        _il.Emit(OpCodes.Ldobj, _isa.Vector(element));
    }

    /// <summary>From the pointer on the stack, which is one of the warp's own, plus an offset.</summary>
    private void LoadVectorAt(int offset, Type element)
    {
        AddOffset(offset);
        _il.Emit(OpCodes.Ldobj, _isa.Vector(element));
    }

    /// <summary>To memory of the warp's own, which is aligned.</summary>
    private void StoreVector(Type element) => _il.Emit(OpCodes.Stobj, _isa.Vector(element));

    /// <summary>Pushes which lanes hold a predicate, as 32 bits.</summary>
    private void PushBits(int web)
    {
        if (_inlining.Of(web) is { Kind: OperationKind.Pure } inner && inner.Native is { Kind: Native.Compare, In: Number.S64 or Number.U64, Combine: Native.Move } native)
        {
            // Bits straight from the 64-bit comparison, without narrowing its mask.
            Gather(ValueType.Bits64, p => PushIntegerCompare(inner, native, p));
            return;
        }
        Gather(ValueType.Predicate, p => PushVector(new Source(web), ValueType.Predicate, p));

        void Gather(ValueType masks, Action<int> push)
        {
            int parts = PartsOf(masks);
            for (int p = 0; p < parts; p++)
            {
                push(p);
                Call(_isa, "ExtractMostSignificantBits", ElementOf(masks), 1);
                _il.Emit(OpCodes.Conv_U4);
                if (p == 0) continue;
                Constant(p * 32 / parts);
                _il.Emit(OpCodes.Shl);
                _il.Emit(OpCodes.Or);
            }
        }
    }

    /// <summary>Pushes the running lanes of a part as a lane mask, cast to an element type.</summary>
    private void PushMaskPart(bool wide, int part, Type element)
    {
        if (_maskVectors.Length == 0)
        {
            throw new InvalidOperationException("The block's masks have not been made.");
        }
        if (!wide)
        {
            _il.Emit(OpCodes.Ldloc, _maskVectors[part]);
            Cast(_isa, typeof(int), element);
            return;
        }
        _il.Emit(OpCodes.Ldloc, _maskVectors[part / 2]);
        Widen(typeof(int), part);
        Cast(_isa, typeof(long), element);
    }

    /// <summary>The half of a vector of 32-bit lanes that a part of 64-bit lanes comes from, widened.</summary>
    private void Widen(Type element, int part) => Call(_isa, part % 2 == 0 ? "WidenLower" : "WidenUpper", element, 1);

    /// <summary>Makes the lane masks of the running lanes, once a block. Not under a condition: what follows uses them too.</summary>
    private void PrepareMasks(int b)
    {
        if (_maskVectors.Length > 0) return;
        int parts = PartsOf(ValueType.Predicate);
        _maskVectors = new LocalBuilder[parts];
        for (int p = 0; p < parts; p++)
        {
            _maskVectors[p] = Temporary(_isa.Vector(typeof(int)), 100 + p);
            PushCurrent(b);
            ExpandBits(p);
            _il.Emit(OpCodes.Stloc, _maskVectors[p]);
        }
    }

    /// <summary>The lane mask of a part, of bits on the stack.</summary>
    private void ExpandBits(int part)
    {
        Call(_isa, "Create", typeof(int), 1);
        PushLaneBits();
        Call(_isa, "BitwiseAnd", typeof(int), 2);
        PushLaneBits();
        Call(_isa, "Equals", typeof(int), 2);

        void PushLaneBits() => PushConstantAt(ConstantVectors.LaneBits + 4 * part * _isa.Lanes, typeof(int));
    }

    private void LoadFromFrame(int web)
    {
        var (type, place) = (_webs.Types[web], _places[web]);
        if (place.InFrame) return;
        if (_analysis.Classes[web].IsScalar)
        {
            PushFrame(web, 0);
            switch (type)
            {
                case ValueType.Float:
                    _il.Emit(OpCodes.Ldind_I4);
                    ConvertScalar(ValueType.Bits32, ValueType.Float);
                    break;
                case ValueType.Bits64 or ValueType.Double:
                    _il.Emit(OpCodes.Ldind_I8);
                    break;
                case ValueType.Predicate:
                    // A lane mask, or 0 and 1: either way the lowest bit tells.
                    _il.Emit(OpCodes.Ldind_I4);
                    Constant(1);
                    _il.Emit(OpCodes.And);
                    break;
                default:
                    _il.Emit(OpCodes.Ldind_I4);
                    break;
            }
            StoreScalar(web);
            return;
        }
        for (int p = 0; p < Allocation.Parts(web, _webs, _analysis, _isa); p++)
        {
            int part = p;
            StorePart(web, p, blend: false, () =>
            {
                PushFrame(web, part * _isa.Bytes);
                LoadVectorAt(0, ElementOf(type));
            });
        }
    }

    private void StoreToFrame(int web)
    {
        if (PlaceOf(web).InFrame) return;
        var type = _webs.Types[web];
        if (_analysis.Classes[web].IsScalar && _frame.IsScalar(web))
        {
            PushFrame(web, 0);
            PushScalar(new Source(web), type);
            if (type == ValueType.Float) ConvertScalar(type, ValueType.Bits32);
            _il.Emit(IsWide(type) ? OpCodes.Stind_I8 : OpCodes.Stind_I4);
            return;
        }
        for (int p = 0; p < PartsOf(type); p++)
        {
            PushFrame(web, p * _isa.Bytes);
            PushVector(new Source(web), type, p);
            StoreVector(ElementOf(type));
        }
    }

    private void PushFrame(int web, int offset)
    {
        PushPointer(nameof(WarpState.Frame), _frame.OffsetOf(web) + offset);
    }
}
