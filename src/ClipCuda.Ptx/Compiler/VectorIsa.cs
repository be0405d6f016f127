using System.Collections.Concurrent;
using System.Reflection;
using System.Reflection.Emit;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace ClipCuda.Ptx.Compiler;

/// <summary>
/// The vector instructions of one width: .NET's own Vector128, Vector256 or Vector512 by name and element type. They are intrinsics: the
/// JIT turns each call into an instruction or a few.
/// </summary>
internal sealed class VectorIsa
{
    private static readonly Dictionary<int, VectorIsa> ByBits = new() { [128] = new(128), [256] = new(256), [512] = new(512) };

    private readonly Type _static;
    private readonly Type _open;

    /// <summary>Finding a method by reflection takes longer than all else that is done for an instruction.</summary>
    private readonly ConcurrentDictionary<(string Name, Type Element, int Parameters), MethodInfo> _methods = [];
    private readonly ConcurrentDictionary<(Type From, Type To), MethodInfo> _casts = [];
    private readonly ConcurrentDictionary<Type, Type> _vectors = [];

    private VectorIsa(int bits)
    {
        Bits = bits;
        (_static, _open) = bits switch
        {
            512 => (typeof(Vector512), typeof(Vector512<>)),
            256 => (typeof(Vector256), typeof(Vector256<>)),
            _ => (typeof(Vector128), typeof(Vector128<>)),
        };
    }

    public int Bits { get; }

    public int Bytes => Bits / 8;

    /// <summary>Lanes of 32 bits in a vector.</summary>
    public int Lanes => Bits / 32;

    /// <summary>Vectors that the processor has registers for.</summary>
    public int Registers => Avx512F.VL.IsSupported || (Bits == 512 && Avx512F.IsSupported) ? 32 : 16;

    /// <summary>Loads and stores under a mask of 32-bit lanes exist.</summary>
    public bool HasMaskedMemory => Bits == 512 ? Avx512F.IsSupported : Avx2.IsSupported;

    public static VectorIsa Of(int bits) => ByBits[bits];

    public Type Vector(Type element) => _vectors.GetOrAdd(element, static (key, isa) => isa._open.MakeGenericType(key), this);

    /// <summary>A method whose vectors all have elements of this type, by its number of parameters.</summary>
    public MethodInfo Method(string name, Type element, int parameters) =>
        _methods.GetOrAdd((name, element, parameters), static (key, isa) => Find(isa._static, key.Name, key.Element, isa.Vector(key.Element), key.Parameters), this);

    /// <summary>Reinterprets the bits of vectors.</summary>
    public MethodInfo As(Type from, Type to) =>
        _casts.GetOrAdd((from, to), static (key, isa) => isa._static.GetMethods().First(m => m.Name == "As" && m.GetGenericArguments().Length == 2).MakeGenericMethod(key.From, key.To), this);

    /// <summary>Makes a vector of elements given one by one.</summary>
    public MethodInfo CreateOfElements(Type element)
    {
        int elements = Bytes / (element == typeof(long) || element == typeof(double) ? 8 : 4);
        return _methods.GetOrAdd(("Create", element, elements), static (key, isa) => isa._static.GetMethod("Create", [.. Enumerable.Repeat(key.Element, key.Parameters)])!, this);
    }

    public MethodInfo MaskLoad(Type element) => Masked("MaskLoad", element, Bits == 512 ? 3 : 2);

    public MethodInfo MaskStore(Type element) => Masked("MaskStore", element, 3);

    public bool LoadTakesMerge => Bits == 512;

    /// <summary>
    /// VRANGEPS, by its control the lesser or the greater of two floats in one instruction: −0 is less than 0, and of a number and a quiet NaN it
    /// gives the number. Null where the processor has none.
    /// </summary>
    public MethodInfo? Range =>
        !(Bits == 512 ? Avx512DQ.IsSupported : Avx512DQ.VL.IsSupported) ? null
        : _methods.GetOrAdd(("Range", typeof(float), 3), static (_, isa) =>
            (isa.Bits == 512 ? typeof(Avx512DQ) : typeof(Avx512DQ.VL)).GetMethod("Range", [isa.Vector(typeof(float)), isa.Vector(typeof(float)), typeof(byte)])!, this);

    /// <summary>
    /// Makes 32-bit lanes of neighbouring bytes or 16-bit numbers: at a pointer, or of 512 bits of the vector that holds them. Null where the processor
    /// has none, or for other types.
    /// </summary>
    public MethodInfo? Extend(string type)
    {
        Type? element = type switch
        {
            "u8" or "b8" => typeof(byte),
            "s8" => typeof(sbyte),
            "u16" or "b16" => typeof(ushort),
            "s16" => typeof(short),
            _ => null,
        };
        if (element is null) return null;
        return Bits switch
        {
            512 => Avx512F.IsSupported ? typeof(Avx512F).GetMethod("ConvertToVector512Int32", [NarrowVector(type).MakeGenericType(element)]) : null,
            256 => Avx2.IsSupported ? typeof(Avx2).GetMethod("ConvertToVector256Int32", [element.MakePointerType()]) : null,
            _ => Sse41.IsSupported ? typeof(Sse41).GetMethod("ConvertToVector128Int32", [element.MakePointerType()]) : null,
        };
    }

    private static Type NarrowVector(string type) => type.EndsWith('8') ? typeof(Vector128<>) : typeof(Vector256<>);

    public bool CanInterleave => Bits switch { 512 => Avx512F.IsSupported, 256 => Avx.IsSupported, _ => Sse2.IsSupported };

    /// <summary>Of each 128 bits of two vectors, the lower or the upper halves' elements by turns.</summary>
    public MethodInfo Interleave(Type element, bool high)
    {
        return _methods.GetOrAdd((high ? "UnpackHigh" : "UnpackLow", element, 2), static (key, isa) =>
        {
            var type = isa.Bits switch { 512 => typeof(Avx512F), 256 => typeof(Avx), _ => key.Element == typeof(float) ? typeof(Sse) : typeof(Sse2) };
            return type.GetMethod(key.Name, [isa.Vector(key.Element), isa.Vector(key.Element)])!;
        }, this);
    }

    /// <summary>Makes of the vector of floats on the stack its k-th 128 bits.</summary>
    public void EmitQuarter(ILGenerator il, int k)
    {
        if (Bits == 128) return;
        if (k > 0)
        {
            il.Emit(OpCodes.Ldc_I4, k);
            il.Emit(OpCodes.Call, (Bits == 512 ? typeof(Avx512F) : typeof(Avx)).GetMethod("ExtractVector128", [Vector(typeof(float)), typeof(byte)])!);
            return;
        }
        for (int bits = Bits; bits > 128; bits /= 2) il.Emit(OpCodes.Call, Of(bits).Method("GetLower", typeof(float), 1));
    }

    /// <summary>
    /// The operator that a method is another name of. For the JIT only the operator is intrinsic; the method is a call to inline, which takes it longer than
    /// all else about the instruction, and some of the locals that it can follow.
    /// </summary>
    private static string? Operator(string method) => method switch
    {
        "Add" => "op_Addition",
        "Subtract" => "op_Subtraction",
        "Multiply" => "op_Multiply",
        "Divide" => "op_Division",
        "Negate" => "op_UnaryNegation",
        "BitwiseAnd" => "op_BitwiseAnd",
        "BitwiseOr" => "op_BitwiseOr",
        "Xor" => "op_ExclusiveOr",
        "OnesComplement" => "op_OnesComplement",
        "ShiftLeft" => "op_LeftShift",
        "ShiftRightArithmetic" => "op_RightShift",
        "ShiftRightLogical" => "op_UnsignedRightShift",
        _ => null,
    };

    private MethodInfo Masked(string name, Type element, int parameters) =>
        _methods.GetOrAdd((name, element, parameters), static (key, isa) => FindMasked(isa.Bits, key.Name, key.Element, isa.Vector(key.Element), key.Parameters), this);

    private static MethodInfo FindMasked(int bits, string name, Type element, Type vector, int parameters)
    {
        var type = bits == 512 ? typeof(Avx512F) : element == typeof(float) ? typeof(Avx) : typeof(Avx2);
        return type.GetMethods().First(m => m.Name == name && m.GetParameters() is var p && p.Length == parameters
            && p[0].ParameterType == element.MakePointerType() && p[1].ParameterType == vector);
    }

    private static MethodInfo Find(Type type, string name, Type element, Type vector, int count)
    {
        if (Operator(name) is { } symbol)
        {
            var second = name.StartsWith("Shift", StringComparison.Ordinal) ? typeof(int) : vector;
            return vector.GetMethod(symbol, count == 1 ? [vector] : [vector, second])!;
        }
        foreach (var candidate in type.GetMethods().Where(m => m.Name == name && m.GetParameters().Length == count).OrderBy(m => m.IsGenericMethodDefinition))
        {
            var method = candidate;
            if (candidate.IsGenericMethodDefinition)
            {
                if (candidate.GetGenericArguments().Length != 1) continue;
                method = candidate.MakeGenericMethod(element);
            }
            var parameters = method.GetParameters();
            bool fits = parameters[0].ParameterType == (name is "Create" or "CreateScalarUnsafe" ? element : vector);
            // Of shifts, the second is an int; of Narrow, Shuffle and the like a vector.
            fits &= count < 2 || parameters[1].ParameterType == (name.StartsWith("Shift", StringComparison.Ordinal) || name == "GetElement" ? typeof(int) : vector);
            if (fits) return method;
        }
        throw new InvalidOperationException($"{type.Name} has no {name} of {count} {element.Name} vectors.");
    }
}
