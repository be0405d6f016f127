using System.Reflection;
using System.Reflection.Emit;

namespace ClipCuda.Ptx.Compiler;

/// <summary>
/// Arithmetic: scalars of integers as plain IL; vectors of all types, and float scalars (vectors of one), by .NET's vector methods. Each has the
/// meaning that the interpreter's <c>Operations.cs</c> gives it, to the bit.
/// </summary>
internal sealed partial class Emitter
{
    private void WriteOperation(Operation operation)
    {
        switch (operation.Kind)
        {
            case OperationKind.Load:
                WriteLoad(operation);
                break;
            case OperationKind.Store:
                WriteStore(operation);
                break;
            case OperationKind.Shuffle:
                WriteShuffle(operation);
                break;
            case OperationKind.Pure when VectorForm.Exists(operation, _analysis):
                WritePure(operation);
                break;
            default:
                WriteFallback(operation);
                break;
        }
    }

    private bool NeedsBlend(Operation operation, int web)
    {
        if (!_analysis.NeedsBlend(operation.Block, web)) return false;
        PrepareMasks(operation.Block);
        return true;
    }

    private void WritePure(Operation operation)
    {
        int web = operation.Destinations[0];
        if (_webs.Uses[web] == 0) return;
        var (type, result) = (_webs.Types[web], _analysis.ResultOf(operation));
        int period = _analysis.ReductionPeriod(operation, out int shuffled);
        if (period > 0)
        {
            WriteReduction(operation, shuffled, period);
            return;
        }
        if (_analysis.Classes[web].IsScalar)
        {
            PushScalarResult(operation, type);
            StoreScalar(web);
            return;
        }
        bool blend = NeedsBlend(operation, web);
        LocalBuilder? scalar = null;
        if (result.IsScalar && !operation.Sources.All(s => s.IsConstant))
        {
            scalar = Temporary(Allocation.ScalarType(type), 2);
            PushScalarResult(operation, type);
            _il.Emit(OpCodes.Stloc, scalar);
        }
        var parts = PartsNow(Allocation.Parts(web, _webs, _analysis, _isa));
        if (scalar is null) ClimbRungs(operation, type, parts);
        foreach (int part in parts)
        {
            StorePart(web, part, blend, () =>
            {
                if (scalar is null)
                {
                    PushVectorResult(operation, type, part);
                    return;
                }
                _il.Emit(OpCodes.Ldloc, scalar);
                Broadcast(type, result, part);
            });
        }
    }

    /// <summary>Pushes the scalar that an operation of uniform or affine result computes.</summary>
    private void PushScalarResult(Operation operation, ValueType want)
    {
        if (operation.Kind == OperationKind.Load)
        {
            PushScalarLoad(operation, 0, want);
            return;
        }
        var native = operation.Native;
        int web = operation.Destinations[0];
        if (native.Kind == Native.Parameter)
        {
            PushParameter(operation, want);
            return;
        }
        // Moves and selects pass bits on in whatever form is wanted.
        if (native.Kind == Native.Move)
        {
            PushScalar(operation.Sources[0], want);
            return;
        }
        if (native.Kind == Native.Select)
        {
            PushScalarSelect(operation, want);
            return;
        }
        if (native.Kind == Native.IntegerToFloat)
        {
            PushScalar(operation.Sources[0], ValueType.Bits32);
            if (native.In == Number.U32) _il.Emit(OpCodes.Conv_R_Un);
            _il.Emit(OpCodes.Conv_R4);
            if (want == ValueType.Float)
            {
                Call(Small, "CreateScalarUnsafe", typeof(float), 1);
                return;
            }
            // Through a vector, .NET 10's JIT loses the conversion and passes the integer on.
            _il.Emit(OpCodes.Call, typeof(BitConverter).GetMethod(nameof(BitConverter.SingleToInt32Bits))!);
            ConvertScalar(ValueType.Bits32, want);
            return;
        }
        if (native.In == Number.F32)
        {
            PushFloats(operation, Small, (s, type) => PushScalar(operation.Sources[s], type));
            if (native.Kind == Native.Compare)
            {
                Cast(Small, typeof(float), typeof(int));
                Call(Small, "ToScalar", typeof(int), 1);
                Constant(1);
                _il.Emit(OpCodes.And);
                Combine(native, () => PushScalar(operation.Sources[2], ValueType.Predicate));
                return;
            }
            ConvertScalar(ValueType.Float, want);
            return;
        }
        PushIntegers(operation, native);
        ConvertScalar(TypeOf(native.Out), want);
    }

    private static ValueType TypeOf(Number number) => number switch
    {
        Number.F32 => ValueType.Float,
        Number.S64 or Number.U64 => ValueType.Bits64,
        Number.Predicate => ValueType.Predicate,
        _ => ValueType.Bits32,
    };

    private static Type ClrTypeOf(Number number) => number switch
    {
        Number.S32 => typeof(int),
        Number.U32 => typeof(uint),
        Number.S64 => typeof(long),
        Number.U64 => typeof(ulong),
        _ => throw new NotCompilableException($"integers of type {number}"),
    };

    private void Combine(NativeOperation native, Action pushThird)
    {
        if (native.Combine == Native.Move) return;
        pushThird();
        _il.Emit(native.Combine == Native.And ? OpCodes.And : OpCodes.Or);
    }

    private void PushScalarSelect(Operation operation, ValueType want)
    {
        if (want == ValueType.Float)
        {
            PushSmallMask(operation.Sources[2]);
            PushScalar(operation.Sources[0], want);
            PushScalar(operation.Sources[1], want);
            Call(Small, "ConditionalSelect", typeof(float), 3);
            return;
        }
        PushScalar(operation.Sources[2], ValueType.Predicate);
        PushScalar(operation.Sources[0], want);
        PushScalar(operation.Sources[1], want);
        CallScalar(IsWide(want) ? nameof(ScalarCode.Select64) : nameof(ScalarCode.Select32));
    }

    /// <summary>Pushes a uniform predicate as a mask of floats; a comparison used only here goes without the detour over an integer.</summary>
    private void PushSmallMask(Source source)
    {
        if (source.IsWeb && _inlining.Of(source.Web) is { Kind: OperationKind.Pure } inner && inner.Native is { Kind: Native.Compare, In: Number.F32, Combine: Native.Move } native)
        {
            PushFloats(inner, Small, (s, type) => PushScalar(inner.Sources[s], type));
            return;
        }
        PushScalar(source, ValueType.Predicate);
        _il.Emit(OpCodes.Neg);
        Call(Small, "Create", typeof(int), 1);
        Cast(Small, typeof(int), typeof(float));
    }

    private static readonly Dictionary<string, MethodInfo> ScalarMethods =
        typeof(ScalarCode).GetMethods(BindingFlags.Public | BindingFlags.Static).ToDictionary(method => method.Name, StringComparer.Ordinal);

    private void CallScalar(string name) => _il.Emit(OpCodes.Call, ScalarMethods[name]);

    private void PushIntegers(Operation operation, NativeOperation native)
    {
        var type = TypeOf(native.In);
        bool wide = IsWide(type), signed = native.In is Number.S32 or Number.S64;
        switch (native.Kind)
        {
            case Native.Minimum or Native.Maximum when _analysis.ResultOf(operation).IsAffine:
                // The test before it made sure that it is the affine side in every lane.
                PushScalar(operation.Sources[_analysis.ClassOf(operation.Sources[0]).IsAffine ? 0 : 1], type);
                return;
            case Native.Extend:
                PushScalar(operation.Sources[0], ValueType.Bits32);
                _il.Emit(signed ? OpCodes.Conv_I8 : OpCodes.Conv_U8);
                return;
            case Native.Truncate:
                PushScalar(operation.Sources[0], ValueType.Bits64);
                _il.Emit(OpCodes.Conv_I4);
                return;
            case Native.MultiplyWide or Native.MultiplyHigh or Native.MultiplyAddWide:
                for (int s = 0; s < 2; s++)
                {
                    PushScalar(operation.Sources[s], ValueType.Bits32);
                    _il.Emit(signed ? OpCodes.Conv_I8 : OpCodes.Conv_U8);
                }
                _il.Emit(OpCodes.Mul);
                if (native.Kind == Native.MultiplyWide) return;
                if (native.Kind == Native.MultiplyHigh)
                {
                    Constant(32);
                    _il.Emit(OpCodes.Shr);
                    _il.Emit(OpCodes.Conv_I4);
                    return;
                }
                PushScalar(operation.Sources[2], ValueType.Bits64);
                _il.Emit(OpCodes.Add);
                return;
            case Native.SharedToGeneric or Native.GenericToShared:
                PushScalar(operation.Sources[0], ValueType.Bits64);
                State(nameof(WarpState.Shared), OpCodes.Ldind_I8);
                _il.Emit(native.Kind == Native.SharedToGeneric ? OpCodes.Add : OpCodes.Sub);
                return;
            case Native.ShiftLeft or Native.ShiftRight:
                PushScalar(operation.Sources[0], type);
                if (operation.Sources[1].IsConstant && operation.Sources[1].Bits < (wide ? 64u : 32u))
                {
                    // A call, even one that is inlined, costs the JIT some of its locals, of which it follows a thousand.
                    Constant((int)operation.Sources[1].Bits);
                    _il.Emit(native.Kind == Native.ShiftLeft ? OpCodes.Shl : signed ? OpCodes.Shr : OpCodes.Shr_Un);
                    return;
                }
                PushScalar(operation.Sources[1], ValueType.Bits32);
                CallScalar($"Shift{(native.Kind == Native.ShiftLeft ? "Left" : signed ? "RightSigned" : "Right")}{(wide ? 64 : 32)}");
                return;
        }
        PushScalar(operation.Sources[0], type);
        if (operation.Sources.Length > 1) PushScalar(operation.Sources[1], type);
        switch (native.Kind)
        {
            case Native.Add:
                _il.Emit(OpCodes.Add);
                break;
            case Native.Subtract:
                _il.Emit(OpCodes.Sub);
                break;
            case Native.Multiply:
                _il.Emit(OpCodes.Mul);
                break;
            case Native.MultiplyAdd:
                _il.Emit(OpCodes.Mul);
                PushScalar(operation.Sources[2], type);
                _il.Emit(OpCodes.Add);
                break;
            case Native.And:
                _il.Emit(OpCodes.And);
                break;
            case Native.Or:
                _il.Emit(OpCodes.Or);
                break;
            case Native.Xor:
                _il.Emit(OpCodes.Xor);
                break;
            case Native.Not when type == ValueType.Predicate:
                Constant(1);
                _il.Emit(OpCodes.Xor);
                break;
            case Native.Not:
                _il.Emit(OpCodes.Not);
                break;
            case Native.Negate:
                _il.Emit(OpCodes.Neg);
                break;
            case Native.Absolute:
                CallScalar($"Absolute{(wide ? 64 : 32)}");
                break;
            case Native.Minimum or Native.Maximum:
                var number = ClrTypeOf(native.In);
                _il.Emit(OpCodes.Call, typeof(Math).GetMethod(native.Kind == Native.Minimum ? nameof(Math.Min) : nameof(Math.Max), [number, number])!);
                break;
            case Native.Divide or Native.Remainder:
                // The interpreter's own, which say what a division by zero gives.
                var division = native.Kind == Native.Divide ? typeof(Divide<>) : typeof(Remainder<>);
                _il.Emit(OpCodes.Call, division.MakeGenericType(ClrTypeOf(native.In)).GetMethod("Apply")!);
                break;
            case Native.Compare:
                PushComparison(native.Comparison, signed);
                Combine(native, () => PushScalar(operation.Sources[2], ValueType.Predicate));
                break;
            default:
                throw new NotCompilableException($"'{operation.Opcode}' of scalars");
        }
    }

    private void PushComparison(Comparison comparison, bool signed)
    {
        switch (comparison)
        {
            case Comparison.Equal or Comparison.NotEqual:
                _il.Emit(OpCodes.Ceq);
                break;
            case Comparison.Less or Comparison.GreaterOrEqual:
                _il.Emit(signed ? OpCodes.Clt : OpCodes.Clt_Un);
                break;
            default:
                _il.Emit(signed ? OpCodes.Cgt : OpCodes.Cgt_Un);
                break;
        }
        if (comparison is not (Comparison.NotEqual or Comparison.GreaterOrEqual or Comparison.LessOrEqual)) return;
        Constant(0);
        _il.Emit(OpCodes.Ceq);
    }

    /// <summary>Pushes a part of what an operation computes, as a vector of <paramref name="want"/>.</summary>
    private void PushVectorResult(Operation operation, ValueType want, int part)
    {
        if (operation.Kind == OperationKind.Load)
        {
            PushContiguous(operation, want, part);
            return;
        }
        var native = operation.Native;
        var result = _analysis.ResultOf(operation);
        int web = operation.Destinations[0];
        if (result.IsScalar)
        {
            if (native.Kind == Native.Move && operation.Sources[0].IsConstant)
            {
                PushConstantVector(operation.Sources[0].Bits, want);
                return;
            }
            var natural = native.Copies || native.Kind == Native.Parameter ? _webs.Types[web] : TypeOf(native.Out);
            PushScalarResult(operation, natural);
            Broadcast(natural, result, part);
            CastVector(natural, want);
            return;
        }
        switch (native.Kind)
        {
            case Native.Move:
                PushVector(operation.Sources[0], want, part);
                return;
            case Native.Select:
                // The values first: between a comparison and its select, anything that is put aside makes a vector of the mask.
                var (yes, no) = (Temporary(_isa.Vector(ElementOf(want)), 200 + _putAside++), Temporary(_isa.Vector(ElementOf(want)), 200 + _putAside++));
                PushVector(operation.Sources[0], want, part);
                _il.Emit(OpCodes.Stloc, yes);
                PushVector(operation.Sources[1], want, part);
                _il.Emit(OpCodes.Stloc, no);
                PushVectorMask(operation.Sources[2], part, IsWide(want), ElementOf(want));
                _il.Emit(OpCodes.Ldloc, yes);
                _il.Emit(OpCodes.Ldloc, no);
                Call(_isa, "ConditionalSelect", ElementOf(want), 3);
                _putAside -= 2;
                return;
        }
        if (native.Kind == Native.Compare)
        {
            PushVectorCompare(operation, native, part);
            return;
        }
        if (native.In == Number.F32 || native.Out == Number.F32) PushFloats(operation, _isa, (s, type) => PushVector(operation.Sources[s], type, part));
        else PushIntegerVectors(operation, native, part);
        CastVector(TypeOf(native.Out), want);
    }

    /// <summary>Pushes a predicate as a lane mask of elements of 32 or 64 bits.</summary>
    private void PushVectorMask(Source source, int part, bool wide, Type element)
    {
        PushVector(source, ValueType.Predicate, wide ? part / 2 : part);
        if (wide) Widen(typeof(int), part);
        Cast(_isa, wide ? typeof(long) : typeof(int), element);
    }

    private void PushVectorCompare(Operation operation, NativeOperation native, int part)
    {
        var type = TypeOf(native.In);
        if (native.In == Number.F32)
        {
            PushFloats(operation, _isa, (s, t) => PushVector(operation.Sources[s], t, part));
            Cast(_isa, typeof(float), typeof(int));
        }
        else if (!IsWide(type))
        {
            PushIntegerCompare(operation, native, part);
        }
        else
        {
            PushIntegerCompare(operation, native, 2 * part);
            PushIntegerCompare(operation, native, 2 * part + 1);
            Call(_isa, "Narrow", typeof(long), 2);
        }
        if (native.Combine == Native.Move) return;
        PushVector(operation.Sources[2], ValueType.Predicate, part);
        Call(_isa, native.Combine == Native.And ? "BitwiseAnd" : "BitwiseOr", typeof(int), 2);
    }

    /// <summary>Pushes a part of a comparison of integers, as a mask of their width.</summary>
    private void PushIntegerCompare(Operation operation, NativeOperation native, int part)
    {
        var type = TypeOf(native.In);
        var element = ElementOf(type);
        bool unsigned = native.In is Number.U32 or Number.U64 && native.Comparison is not (Comparison.Equal or Comparison.NotEqual);
        var compared = !unsigned ? element : element == typeof(int) ? typeof(uint) : typeof(ulong);
        for (int s = 0; s < 2; s++)
        {
            PushVector(operation.Sources[s], type, part);
            Cast(_isa, element, compared);
        }
        Call(_isa, native.Comparison switch
        {
            Comparison.Equal or Comparison.NotEqual => "Equals",
            Comparison.Less => "LessThan",
            Comparison.LessOrEqual => "LessThanOrEqual",
            Comparison.Greater => "GreaterThan",
            _ => "GreaterThanOrEqual",
        }, compared, 2);
        Cast(_isa, compared, element);
        if (native.Comparison == Comparison.NotEqual) Call(_isa, "OnesComplement", element, 1);
    }

    /// <summary>.NET's name of an operation on vectors of integers.</summary>
    private static string IntegerMethod(NativeOperation native) => native.Kind switch
    {
        Native.Add => "Add",
        Native.Subtract => "Subtract",
        Native.Multiply or Native.MultiplyAdd => "Multiply",
        Native.Minimum => "Min",
        Native.Maximum => "Max",
        Native.Negate => "Negate",
        Native.Absolute => "Abs",
        Native.And => "BitwiseAnd",
        Native.Or => "BitwiseOr",
        Native.Xor => "Xor",
        Native.Not => "OnesComplement",
        _ => throw new NotCompilableException($"{native.Kind} of vectors of integers"),
    };

    private void PushIntegerVectors(Operation operation, NativeOperation native, int part)
    {
        var type = TypeOf(native.In);
        var element = ElementOf(type);
        bool signed = native.In is Number.S32 or Number.S64;
        switch (native.Kind)
        {
            case Native.Extend:
                PushWidened(operation.Sources[0], signed, part);
                return;
            case Native.Truncate:
                PushVector(operation.Sources[0], ValueType.Bits64, 2 * part);
                PushVector(operation.Sources[0], ValueType.Bits64, 2 * part + 1);
                Call(_isa, "Narrow", typeof(long), 2);
                return;
            case Native.MultiplyWide or Native.MultiplyAddWide:
                PushWidened(operation.Sources[0], signed, part);
                PushWidened(operation.Sources[1], signed, part);
                Call(_isa, "Multiply", typeof(long), 2);
                if (native.Kind == Native.MultiplyWide) return;
                PushVector(operation.Sources[2], ValueType.Bits64, part);
                Call(_isa, "Add", typeof(long), 2);
                return;
            case Native.SharedToGeneric or Native.GenericToShared:
                PushVector(operation.Sources[0], ValueType.Bits64, part);
                State(nameof(WarpState.Shared), OpCodes.Ldind_I8);
                Call(_isa, "Create", typeof(long), 1);
                Call(_isa, native.Kind == Native.SharedToGeneric ? "Add" : "Subtract", typeof(long), 2);
                return;
            case Native.ShiftLeft or Native.ShiftRight:
                PushShift(operation, native, type, part);
                return;
            case Native.Divide or Native.Remainder:
                PushQuotient(operation, native, signed, part);
                return;
        }
        PushVector(operation.Sources[0], type, part);
        bool unsignedOrder = native.Kind is Native.Minimum or Native.Maximum && !signed;
        var ordered = !unsignedOrder ? element : element == typeof(int) ? typeof(uint) : typeof(ulong);
        Cast(_isa, element, ordered);
        if (operation.Sources.Length > 1)
        {
            PushVector(operation.Sources[1], type, part);
            Cast(_isa, element, ordered);
        }
        Call(_isa, IntegerMethod(native), ordered, operation.Sources.Length > 1 ? 2 : 1);
        Cast(_isa, ordered, element);
        if (native.Kind != Native.MultiplyAdd) return;
        PushVector(operation.Sources[2], type, part);
        Call(_isa, "Add", element, 2);
    }

    /// <summary>
    /// Quotients of 32-bit integers by float64: the quotient of two integers below 2^32 is at least 2^-32 of itself away from the next integer, and
    /// rounding moves it by 2^-53, so truncating it gives the exact one. By zero: all ones, and the remainder is the dividend.
    /// </summary>
    private void PushQuotient(Operation operation, NativeOperation native, bool signed, int part)
    {
        var vector = _isa.Vector(typeof(int));
        var (a, b, quotient) = (Temporary(vector, 50), Temporary(vector, 51), Temporary(vector, 52));
        PushVector(operation.Sources[0], ValueType.Bits32, part);
        PushVector(operation.Sources[1], ValueType.Bits32, part);
        _il.Emit(OpCodes.Stloc, b);
        _il.Emit(OpCodes.Stloc, a);
        _il.Emit(OpCodes.Ldloc, b);
        PushConstantVector(0, ValueType.Bits32);
        Call(_isa, "Equals", typeof(int), 2);
        PushConstantVector(uint.MaxValue, ValueType.Bits32);
        foreach (string half in (ReadOnlySpan<string>)["WidenLower", "WidenUpper"])
        {
            PushDouble(a, half);
            PushDouble(b, half);
            Call(_isa, "Divide", typeof(double), 2);
            Call(_isa, "ConvertToInt64Native", typeof(double), 1);
        }
        Call(_isa, "Narrow", typeof(long), 2);
        Call(_isa, "ConditionalSelect", typeof(int), 3);
        if (native.Kind == Native.Divide) return;
        _il.Emit(OpCodes.Stloc, quotient);
        _il.Emit(OpCodes.Ldloc, a);
        _il.Emit(OpCodes.Ldloc, quotient);
        _il.Emit(OpCodes.Ldloc, b);
        Call(_isa, "Multiply", typeof(int), 2);
        Call(_isa, "Subtract", typeof(int), 2);

        void PushDouble(LocalBuilder integers, string half)
        {
            _il.Emit(OpCodes.Ldloc, integers);
            if (!signed) Cast(_isa, typeof(int), typeof(uint));
            Call(_isa, half, signed ? typeof(int) : typeof(uint), 1);
            if (!signed) Cast(_isa, typeof(ulong), typeof(long));
            Call(_isa, "ConvertToDouble", typeof(long), 1);
        }
    }

    private void PushShift(Operation operation, NativeOperation native, ValueType type, int part)
    {
        int bits = IsWide(type) ? 64 : 32;
        uint count = (uint)operation.Sources[1].Bits;
        bool arithmetic = native.Kind == Native.ShiftRight && native.In is Number.S32 or Number.S64;
        if (count >= bits && !arithmetic)
        {
            PushConstantVector(0, type);
            return;
        }
        PushVector(operation.Sources[0], type, part);
        Constant((int)Math.Min(count, bits - 1));
        Call(_isa, native.Kind == Native.ShiftLeft ? "ShiftLeft" : arithmetic ? "ShiftRightArithmetic" : "ShiftRightLogical", ElementOf(type), 2);
    }

    /// <summary>Pushes a part of a 32-bit operand extended to 64 bits.</summary>
    private void PushWidened(Source source, bool signed, int part)
    {
        if (_analysis.IsUniform(source))
        {
            PushScalar(source, ValueType.Bits32);
            _il.Emit(signed ? OpCodes.Conv_I8 : OpCodes.Conv_U8);
            Call(_isa, "Create", typeof(long), 1);
            return;
        }
        PushVector(source, ValueType.Bits32, part / 2);
        if (!signed) Cast(_isa, typeof(int), typeof(uint));
        Widen(signed ? typeof(int) : typeof(uint), part);
        if (!signed) Cast(_isa, typeof(ulong), typeof(long));
    }
}
