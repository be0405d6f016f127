using System.Reflection.Emit;
using System.Runtime.Intrinsics.X86;

namespace ClipCuda.Ptx.Compiler;

/// <summary>Float arithmetic on vectors of any width; a uniform float is a Vector128 of which lane 0 counts.</summary>
internal sealed partial class Emitter
{
    /// <param name="push">Pushes source s as a vector of the width of <paramref name="isa"/>.</param>
    private void PushFloats(Operation operation, VectorIsa isa, Action<int, ValueType> push)
    {
        var (native, type) = (operation.Native, typeof(float));
        switch (native.Kind)
        {
            case Native.Compare:
                PushFloatCompare(native, isa, push);
                return;
            case Native.IntegerToFloat:
                push(0, ValueType.Bits32);
                if (native.In == Number.U32) PushUnsignedToFloat(isa);
                else Call(isa, "ConvertToSingle", typeof(int), 1);
                return;
            case Native.Saturate:
                PushSaturated(isa, push);
                return;
            case Native.Exp2:
                PushExp2(native, isa, push);
                break;
            case Native.Reciprocal:
                One();
                Operand(0);
                Call(isa, "Divide", type, 2);
                break;
            case Native.ReciprocalSquareRoot:
                One();
                Operand(0);
                Call(isa, "Sqrt", type, 1);
                Call(isa, "Divide", type, 2);
                break;
            case Native.Fused:
                // The addend first: of a chain of them the factors would else all be in registers before the first is used.
                var addend = Temporary(isa.Vector(type), 200 + _putAside++);
                Operand(2);
                _il.Emit(OpCodes.Stloc, addend);
                Operand(0);
                Operand(1);
                _il.Emit(OpCodes.Ldloc, addend);
                Call(isa, "FusedMultiplyAdd", type, 3);
                _putAside--;
                break;
            case Native.Minimum or Native.Maximum:
                PushGreater(operation, isa, native.Kind == Native.Maximum, Operand);
                break;
            default:
                string name = native.Kind switch
                {
                    Native.Add => "Add",
                    Native.Subtract => "Subtract",
                    Native.Multiply => "Multiply",
                    Native.Divide => "Divide",
                    Native.Negate => "Negate",
                    Native.Absolute => "Abs",
                    Native.SquareRoot => "Sqrt",
                    Native.RoundToEven => "Round",
                    Native.RoundDown => "Floor",
                    Native.RoundUp => "Ceiling",
                    Native.RoundToZero => "Truncate",
                    _ => throw new NotCompilableException($"{native.Kind} of floats"),
                };
                int operands = native.Kind is Native.Add or Native.Subtract or Native.Multiply or Native.Divide ? 2 : 1;
                for (int s = 0; s < operands; s++) Operand(s);
                Call(isa, name, type, operands);
                break;
        }
        if (native.Flush) Flush(isa);
        if (_nans.MustBePutRight(operation.Destinations[0])) Canonicalise(isa);

        void Operand(int s)
        {
            push(s, ValueType.Float);
            if (native.Flush) Flush(isa);
        }

        void One() => PushFloat(isa, 1);
    }

    /// <summary>The machine's minimum and maximum give their second operand if one is NaN or both are zero.</summary>
    private static bool NativeGivesSecond => Sse.IsSupported;

    /// <summary>The source that is a number other than 0 at compile time; −1 if none is.</summary>
    private static int NonZeroConstant(Operation operation) =>
        Array.FindIndex(operation.Sources, s => s.IsConstant && BitConverter.UInt32BitsToSingle((uint)s.Bits) is not (0 or float.NaN));

    /// <summary>Operands that wait in locals for others to be computed.</summary>
    private int _putAside;

    private void PushFloat(VectorIsa isa, float value)
    {
        _il.Emit(OpCodes.Ldc_R4, value);
        Call(isa, "Create", typeof(float), 1);
    }

    /// <summary>The greater or the lesser of two operands: of a number and a NaN the number, of zeros the positive or the negative one.</summary>
    private void PushGreater(Operation operation, VectorIsa isa, bool greater, Action<int> push)
    {
        var type = typeof(float);
        string native = greater ? "MaxNative" : "MinNative";
        if (NativeGivesSecond && NonZeroConstant(operation) is >= 0 and var bound)
        {
            push(1 - bound);
            push(bound);
            Call(isa, native, type, 2);
            return;
        }
        push(0);
        push(1);
        if (isa.Range is { } range && operation.Sources.Take(2).All(_nans.IsQuiet))
        {
            _il.Emit(OpCodes.Ldc_I4, greater ? 0b0101 : 0b0100); // the sign of the one chosen
            _il.Emit(OpCodes.Call, range);
            return;
        }
        var (a, b) = (Temporary(isa.Vector(type), 60), Temporary(isa.Vector(type), 61));
        _il.Emit(OpCodes.Stloc, b);
        _il.Emit(OpCodes.Stloc, a);
        Replace(b, a);
        if (!NativeGivesSecond) Replace(a, b);
        // Equal ones differ at most in their sign.
        Equal(a, b);
        Both(greater ? "BitwiseAnd" : "BitwiseOr");
        Both(native);
        Call(isa, "ConditionalSelect", type, 3);

        // A NaN by the other operand.
        void Replace(LocalBuilder x, LocalBuilder y)
        {
            Equal(x, x);
            _il.Emit(OpCodes.Ldloc, x);
            _il.Emit(OpCodes.Ldloc, y);
            Call(isa, "ConditionalSelect", type, 3);
            _il.Emit(OpCodes.Stloc, x);
        }

        void Equal(LocalBuilder x, LocalBuilder y)
        {
            _il.Emit(OpCodes.Ldloc, x);
            _il.Emit(OpCodes.Ldloc, y);
            Call(isa, "Equals", type, 2);
        }

        void Both(string name)
        {
            _il.Emit(OpCodes.Ldloc, a);
            _il.Emit(OpCodes.Ldloc, b);
            Call(isa, name, type, 2);
        }
    }

    /// <summary>Both halves of an unsigned number are floats exactly, so that only their sum is rounded.</summary>
    private void PushUnsignedToFloat(VectorIsa isa)
    {
        var value = Temporary(isa.Vector(typeof(int)), 5);
        _il.Emit(OpCodes.Stloc, value);
        _il.Emit(OpCodes.Ldloc, value);
        Constant(16);
        Call(isa, "ShiftRightLogical", typeof(int), 2);
        Call(isa, "ConvertToSingle", typeof(int), 1);
        PushFloat(isa, 65536);
        Call(isa, "Multiply", typeof(float), 2);
        _il.Emit(OpCodes.Ldloc, value);
        Constant(0xFFFF);
        Call(isa, "Create", typeof(int), 1);
        Call(isa, "BitwiseAnd", typeof(int), 2);
        Call(isa, "ConvertToSingle", typeof(int), 1);
        Call(isa, "Add", typeof(float), 2);
    }

    /// <summary>Any NaN on the stack becomes 7FFFFFFF.</summary>
    private void Canonicalise(VectorIsa isa)
    {
        var value = Temporary(isa.Vector(typeof(float)), 3);
        _il.Emit(OpCodes.Stloc, value);
        _il.Emit(OpCodes.Ldloc, value);
        _il.Emit(OpCodes.Ldloc, value);
        Call(isa, "Equals", typeof(float), 2);
        _il.Emit(OpCodes.Ldloc, value);
        Constant(0x7FFFFFFF);
        Call(isa, "Create", typeof(int), 1);
        Cast(isa, typeof(int), typeof(float));
        Call(isa, "ConditionalSelect", typeof(float), 3);
    }

    /// <summary>Denormals on the stack become zero of their sign.</summary>
    private void Flush(VectorIsa isa)
    {
        var value = Temporary(isa.Vector(typeof(float)), 4);
        _il.Emit(OpCodes.Stloc, value);
        _il.Emit(OpCodes.Ldloc, value);
        Call(isa, "Abs", typeof(float), 1);
        PushFloat(isa, 1.17549435e-38f);
        Call(isa, "LessThan", typeof(float), 2);
        _il.Emit(OpCodes.Ldloc, value);
        PushFloat(isa, -0f);
        Call(isa, "BitwiseAnd", typeof(float), 2);
        _il.Emit(OpCodes.Ldloc, value);
        Call(isa, "ConditionalSelect", typeof(float), 3);
    }

    /// <summary>Leaves a mask of floats.</summary>
    private void PushFloatCompare(NativeOperation native, VectorIsa isa, Action<int, ValueType> push)
    {
        var type = typeof(float);
        if (native.Comparison is Comparison.IsNumber or Comparison.IsNaN || (native.Comparison == Comparison.NotEqual && !native.Unordered) || (native.Comparison == Comparison.Equal && native.Unordered))
        {
            var (a, b) = (Temporary(isa.Vector(type), 5), Temporary(isa.Vector(type), 6));
            // Both operands first: computing one may use the same temporaries.
            push(0, ValueType.Float);
            push(1, ValueType.Float);
            _il.Emit(OpCodes.Stloc, b);
            _il.Emit(OpCodes.Stloc, a);
            // Both are numbers.
            Twice(a);
            Twice(b);
            Call(isa, "BitwiseAnd", type, 2);
            switch (native.Comparison)
            {
                case Comparison.IsNaN:
                    Call(isa, "OnesComplement", type, 1);
                    break;
                case Comparison.NotEqual:
                    Pair();
                    Call(isa, "OnesComplement", type, 1);
                    Call(isa, "BitwiseAnd", type, 2);
                    break;
                case Comparison.Equal:
                    Call(isa, "OnesComplement", type, 1);
                    Pair();
                    Call(isa, "BitwiseOr", type, 2);
                    break;
            }
            return;

            void Twice(LocalBuilder local)
            {
                _il.Emit(OpCodes.Ldloc, local);
                _il.Emit(OpCodes.Ldloc, local);
                Call(isa, "Equals", type, 2);
            }

            void Pair()
            {
                _il.Emit(OpCodes.Ldloc, a);
                _il.Emit(OpCodes.Ldloc, b);
                Call(isa, "Equals", type, 2);
            }
        }
        push(0, ValueType.Float);
        push(1, ValueType.Float);
        // An unordered comparison is the opposite of the ordered opposite.
        var (name, negate) = (native.Comparison, native.Unordered) switch
        {
            (Comparison.Equal, _) => ("Equals", false),
            (Comparison.NotEqual, _) => ("Equals", true),
            (Comparison.Less, false) => ("LessThan", false),
            (Comparison.LessOrEqual, false) => ("LessThanOrEqual", false),
            (Comparison.Greater, false) => ("GreaterThan", false),
            (Comparison.GreaterOrEqual, false) => ("GreaterThanOrEqual", false),
            (Comparison.Less, true) => ("GreaterThanOrEqual", true),
            (Comparison.LessOrEqual, true) => ("GreaterThan", true),
            (Comparison.Greater, true) => ("LessThanOrEqual", true),
            _ => ("LessThan", true),
        };
        Call(isa, name, type, 2);
        if (negate) Call(isa, "OnesComplement", type, 1);
    }

    /// <summary>To [0, 1], NaN to 0.</summary>
    private void PushSaturated(VectorIsa isa, Action<int, ValueType> push)
    {
        var type = typeof(float);
        var value = Temporary(isa.Vector(type), 5);
        push(0, ValueType.Float);
        _il.Emit(OpCodes.Stloc, value);
        _il.Emit(OpCodes.Ldloc, value);
        _il.Emit(OpCodes.Ldloc, value);
        Call(isa, "Equals", type, 2);
        _il.Emit(OpCodes.Ldloc, value);
        PushFloat(isa, 0);
        Call(isa, "Max", type, 2);
        PushFloat(isa, 1);
        Call(isa, "Min", type, 2);
        PushFloat(isa, 0);
        Call(isa, "ConditionalSelect", type, 3);
    }

    /// <summary>The formula of <see cref="Float.Exp2"/>.</summary>
    private void PushExp2(NativeOperation native, VectorIsa isa, Action<int, ValueType> push)
    {
        var type = typeof(float);
        var vector = isa.Vector(type);
        var (x, n, y) = (Temporary(vector, 5), Temporary(vector, 6), Temporary(vector, 7));
        var (whole, half) = (Temporary(isa.Vector(typeof(int)), 8), Temporary(isa.Vector(typeof(int)), 9));
        push(0, ValueType.Float);
        if (native.Flush) Flush(isa);
        PushFloat(isa, -160);
        Call(isa, "Max", type, 2);
        PushFloat(isa, 160);
        Call(isa, "Min", type, 2);
        _il.Emit(OpCodes.Stloc, x);
        _il.Emit(OpCodes.Ldloc, x);
        Call(isa, "Round", type, 1);
        _il.Emit(OpCodes.Stloc, n);
        _il.Emit(OpCodes.Ldloc, x);
        _il.Emit(OpCodes.Ldloc, n);
        Call(isa, "Subtract", type, 2);
        _il.Emit(OpCodes.Stloc, x);
        PushFloat(isa, 1.52527338e-5f);
        foreach (float coefficient in (ReadOnlySpan<float>)[1.54035304e-4f, 1.33335581e-3f, 9.61812911e-3f, 5.55041087e-2f, 2.40226507e-1f, 6.93147181e-1f, 1])
        {
            _il.Emit(OpCodes.Ldloc, x);
            PushFloat(isa, coefficient);
            Call(isa, "FusedMultiplyAdd", type, 3);
        }
        _il.Emit(OpCodes.Stloc, y);
        _il.Emit(OpCodes.Ldloc, n);
        Call(isa, "ConvertToInt32Native", type, 1);
        _il.Emit(OpCodes.Stloc, whole);
        _il.Emit(OpCodes.Ldloc, whole);
        Constant(1);
        Call(isa, "ShiftRightArithmetic", typeof(int), 2);
        _il.Emit(OpCodes.Stloc, half);
        _il.Emit(OpCodes.Ldloc, y);
        _il.Emit(OpCodes.Ldloc, half);
        Scale();
        _il.Emit(OpCodes.Ldloc, whole);
        _il.Emit(OpCodes.Ldloc, half);
        Call(isa, "Subtract", typeof(int), 2);
        Scale();

        // · 2^k of the integers on the stack
        void Scale()
        {
            Constant(127);
            Call(isa, "Create", typeof(int), 1);
            Call(isa, "Add", typeof(int), 2);
            Constant(23);
            Call(isa, "ShiftLeft", typeof(int), 2);
            Cast(isa, typeof(int), type);
            Call(isa, "Multiply", type, 2);
        }
    }
}
