using System.Numerics;

namespace ClipCuda.Ptx;

/// <summary>
/// atom and red (PTX ISA 9.7.13.4–5): lanes read, change and write in their order. They are atomic because nobody else runs meanwhile: an entry that
/// holds any is run warp by warp, its blocks in order on one thread (<see cref="PtxEntry.HasAtomics"/>), so that sums of floats have the same bits
/// every time.
/// </summary>
internal static unsafe class Atomics
{
    /// <summary>The handler of an operation on a type, or null if there is none.</summary>
    public static delegate*<ref Lanes, in Instruction, void> Find(string operation, string type, bool shared, bool global, bool checks) => (operation, type) switch
    {
        ("add", "u32" or "s32") => Of<uint, Sum<uint>>(shared, checks),
        ("add", "u64" or "s64") => Of<ulong, Sum<ulong>>(shared, checks),
        ("add", "f32") => global ? Of<float, FloatSumFlushed>(shared, checks) : Of<float, FloatSum>(shared, checks),
        ("add", "f64") => Of<double, DoubleSum>(shared, checks),
        ("min", "s32") => Of<int, Smaller<int>>(shared, checks),
        ("min", "u32") => Of<uint, Smaller<uint>>(shared, checks),
        ("min", "s64") => Of<long, Smaller<long>>(shared, checks),
        ("min", "u64") => Of<ulong, Smaller<ulong>>(shared, checks),
        ("max", "s32") => Of<int, Larger<int>>(shared, checks),
        ("max", "u32") => Of<uint, Larger<uint>>(shared, checks),
        ("max", "s64") => Of<long, Larger<long>>(shared, checks),
        ("max", "u64") => Of<ulong, Larger<ulong>>(shared, checks),
        ("and", "b32") => Of<uint, BitsAnd<uint>>(shared, checks),
        ("and", "b64") => Of<ulong, BitsAnd<ulong>>(shared, checks),
        ("or", "b32") => Of<uint, BitsOr<uint>>(shared, checks),
        ("or", "b64") => Of<ulong, BitsOr<ulong>>(shared, checks),
        ("xor", "b32") => Of<uint, BitsXor<uint>>(shared, checks),
        ("xor", "b64") => Of<ulong, BitsXor<ulong>>(shared, checks),
        ("exch", "b32") => Of<uint, Exchange<uint>>(shared, checks),
        ("exch", "b64") => Of<ulong, Exchange<ulong>>(shared, checks),
        ("cas", "b32") => Of<uint, CompareAndSwap<uint>>(shared, checks),
        ("cas", "b64") => Of<ulong, CompareAndSwap<ulong>>(shared, checks),
        ("inc", "u32") => Of<uint, IncrementWrapping>(shared, checks),
        ("dec", "u32") => Of<uint, DecrementWrapping>(shared, checks),
        _ => null,
    };

    private static delegate*<ref Lanes, in Instruction, void> Of<T, TOp>(bool shared, bool checks)
        where T : unmanaged
        where TOp : struct, IScalarTernary<T> =>
        shared
            ? checks ? &Run<T, TOp, SharedSpace, Checked> : &Run<T, TOp, SharedSpace, Unchecked>
            : checks ? &Run<T, TOp, GlobalSpace, Checked> : &Run<T, TOp, GlobalSpace, Unchecked>;

    /// <summary>D gets what memory held; TOp makes the new value of the old one, B and C.</summary>
    private static void Run<T, TOp, TSpace, TChecks>(ref Lanes lanes, in Instruction i)
        where T : unmanaged
        where TOp : struct, IScalarTernary<T>
        where TSpace : struct, ISpace
        where TChecks : struct, IChecks
    {
        byte* file = lanes.Registers;
        long shift = i.Immediate + (TSpace.Shared ? (long)lanes.Shared : 0);
        if (TChecks.Enabled) lanes.Group.Checker!.Atomic(ref lanes, i, sizeof(T), TSpace.Shared);
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (!lanes.IsActive(lane)) continue;
            T* target = (T*)(((long*)(file + i.A))[lane] + shift);
            T old = *target;
            *target = TOp.Apply(old, ((T*)(file + i.B))[lane], ((T*)(file + i.C))[lane]);
            ((T*)(file + i.D))[lane] = old;
        }
    }
}

internal readonly struct Sum<T> : IScalarTernary<T>
    where T : IBinaryInteger<T>
{
    public static T Apply(T a, T b, T c) => unchecked(a + b);
}

internal readonly struct FloatSum : IScalarTernary<float>
{
    public static float Apply(float a, float b, float c) => ScalarFloat.Canonical(a + b);
}

/// <summary>atom.global.add.f32 flushes denormals, the one in shared memory does not (PTX ISA 9.7.13.4).</summary>
internal readonly struct FloatSumFlushed : IScalarTernary<float>
{
    public static float Apply(float a, float b, float c) => ScalarFloat.Flush(ScalarFloat.Canonical(ScalarFloat.Flush(a) + ScalarFloat.Flush(b)));
}

internal readonly struct DoubleSum : IScalarTernary<double>
{
    public static double Apply(double a, double b, double c) => AddDouble.Apply(a, b);
}

internal readonly struct Smaller<T> : IScalarTernary<T>
    where T : INumber<T>
{
    public static T Apply(T a, T b, T c) => b < a ? b : a;
}

internal readonly struct Larger<T> : IScalarTernary<T>
    where T : INumber<T>
{
    public static T Apply(T a, T b, T c) => b > a ? b : a;
}

internal readonly struct BitsAnd<T> : IScalarTernary<T>
    where T : IBinaryInteger<T>
{
    public static T Apply(T a, T b, T c) => a & b;
}

internal readonly struct BitsOr<T> : IScalarTernary<T>
    where T : IBinaryInteger<T>
{
    public static T Apply(T a, T b, T c) => a | b;
}

internal readonly struct BitsXor<T> : IScalarTernary<T>
    where T : IBinaryInteger<T>
{
    public static T Apply(T a, T b, T c) => a ^ b;
}

internal readonly struct Exchange<T> : IScalarTernary<T>
{
    public static T Apply(T a, T b, T c) => b;
}

/// <summary>c if memory held b.</summary>
internal readonly struct CompareAndSwap<T> : IScalarTernary<T>
    where T : IBinaryInteger<T>
{
    public static T Apply(T a, T b, T c) => a == b ? c : a;
}

/// <summary>Counts 0 … b and starts again.</summary>
internal readonly struct IncrementWrapping : IScalarTernary<uint>
{
    public static uint Apply(uint a, uint b, uint c) => a >= b ? 0 : a + 1;
}

/// <summary>Counts b … 0 and starts again; from above b it starts as well.</summary>
internal readonly struct DecrementWrapping : IScalarTernary<uint>
{
    public static uint Apply(uint a, uint b, uint c) => a == 0 || a > b ? b : a - 1;
}
