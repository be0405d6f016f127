using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace ClipCuda.Ptx;

/// <summary>y = f(a) on vectors of lanes.</summary>
internal interface IUnary<TFrom, TTo>
    where TFrom : unmanaged
    where TTo : unmanaged
{
    static abstract Vector512<TTo> Apply(Vector512<TFrom> a);
}

/// <summary>y = f(a, b) on vectors of lanes.</summary>
internal interface IBinary<T>
    where T : unmanaged
{
    static abstract Vector512<T> Apply(Vector512<T> a, Vector512<T> b);
}

/// <summary>y = f(a, b, c) on vectors of lanes.</summary>
internal interface ITernary<T>
    where T : unmanaged
{
    static abstract Vector512<T> Apply(Vector512<T> a, Vector512<T> b, Vector512<T> c);
}

/// <summary>p = f(a, b), a lane mask of the width of T.</summary>
internal interface ICompare<T>
    where T : unmanaged
{
    static abstract Vector512<T> Apply(Vector512<T> a, Vector512<T> b);
}

/// <summary>Handlers of instructions that act on each lane by itself: one loop over the register's vectors, no calls inside.</summary>
internal static unsafe class Elementwise
{
    public static void Unary<T, TOp, TMask>(ref Lanes lanes, in Instruction i)
        where T : unmanaged
        where TOp : struct, IUnary<T, T>
        where TMask : struct, IMask
    {
        byte* file = lanes.Registers;
        byte* d = file + i.D, a = file + i.A;
        for (int o = 0; o < Lanes.Count * sizeof(T); o += 64) lanes.Write<T, TMask>(d, o, TOp.Apply(Lanes.Load<T>(a + o)));
    }

    public static void Binary<T, TOp, TMask>(ref Lanes lanes, in Instruction i)
        where T : unmanaged
        where TOp : struct, IBinary<T>
        where TMask : struct, IMask
    {
        byte* file = lanes.Registers;
        byte* d = file + i.D, a = file + i.A, b = file + i.B;
        for (int o = 0; o < Lanes.Count * sizeof(T); o += 64)
            lanes.Write<T, TMask>(d, o, TOp.Apply(Lanes.Load<T>(a + o), Lanes.Load<T>(b + o)));
    }

    public static void Ternary<T, TOp, TMask>(ref Lanes lanes, in Instruction i)
        where T : unmanaged
        where TOp : struct, ITernary<T>
        where TMask : struct, IMask
    {
        byte* file = lanes.Registers;
        byte* d = file + i.D, a = file + i.A, b = file + i.B, c = file + i.C;
        for (int o = 0; o < Lanes.Count * sizeof(T); o += 64)
            lanes.Write<T, TMask>(d, o, TOp.Apply(Lanes.Load<T>(a + o), Lanes.Load<T>(b + o), Lanes.Load<T>(c + o)));
    }

    /// <summary>64-bit value shifted by a 32-bit amount.</summary>
    public static void Shift64<TOp, TMask>(ref Lanes lanes, in Instruction i)
        where TOp : struct, IBinary<ulong>
        where TMask : struct, IMask
    {
        byte* file = lanes.Registers;
        byte* d = file + i.D, a = file + i.A, b = file + i.B;
        for (int o = 0; o < Lanes.Bytes64; o += 64)
            lanes.Write<ulong, TMask>(d, o, TOp.Apply(Lanes.Load<ulong>(a + o), Widen<uint, ulong>(b + o / 2)));
    }

    /// <summary>32 × 32 → 64 bits (TTo is long or ulong and decides the extension), C added for mad.wide.</summary>
    public static void MultiplyWide<TTo, TAdd, TMask>(ref Lanes lanes, in Instruction i)
        where TTo : unmanaged
        where TAdd : struct, IMask
        where TMask : struct, IMask
    {
        byte* file = lanes.Registers;
        byte* d = file + i.D, a = file + i.A, b = file + i.B, c = file + i.C;
        for (int o = 0; o < Lanes.Bytes64; o += 64)
        {
            var product = typeof(TTo) == typeof(long)
                ? (Widen<int, long>(a + o / 2) * Widen<int, long>(b + o / 2)).As<long, TTo>()
                : (Widen<uint, ulong>(a + o / 2) * Widen<uint, ulong>(b + o / 2)).As<ulong, TTo>();
            if (TAdd.Partial) product += Lanes.Load<TTo>(c + o);
            lanes.Write<TTo, TMask>(d, o, product);
        }
    }

    /// <summary>32 → 64 bits; TFrom decides the extension.</summary>
    public static void Extend<TFrom, TTo, TMask>(ref Lanes lanes, in Instruction i)
        where TFrom : unmanaged
        where TTo : unmanaged
        where TMask : struct, IMask
    {
        byte* d = lanes.Registers + i.D, a = lanes.Registers + i.A;
        for (int o = 0; o < Lanes.Bytes64; o += 64) lanes.Write<TTo, TMask>(d, o, Widen<TFrom, TTo>(a + o / 2));
    }

    /// <summary>The low 32 bits of 64.</summary>
    public static void Truncate<TMask>(ref Lanes lanes, in Instruction i)
        where TMask : struct, IMask
    {
        byte* d = lanes.Registers + i.D, a = lanes.Registers + i.A;
        for (int o = 0; o < Lanes.Bytes32; o += 64)
            lanes.Write<uint, TMask>(d, o, Vector512.Narrow(Lanes.Load<ulong>(a + 2 * o), Lanes.Load<ulong>(a + 2 * o + 64)));
    }

    /// <summary>setp: C is a third predicate, combined with the result by TCombine.</summary>
    public static void Compare<T, TOp, TCombine, TMask>(ref Lanes lanes, in Instruction i)
        where T : unmanaged
        where TOp : struct, ICompare<T>
        where TCombine : struct, IBinary<int>
        where TMask : struct, IMask
    {
        byte* file = lanes.Registers;
        byte* d = file + i.D, a = file + i.A, b = file + i.B, c = file + i.C;
        for (int o = 0; o < Lanes.Bytes32; o += 64)
        {
            var result = sizeof(T) == 4
                ? TOp.Apply(Lanes.Load<T>(a + o), Lanes.Load<T>(b + o)).As<T, int>()
                : Vector512.Narrow(
                    TOp.Apply(Lanes.Load<T>(a + 2 * o), Lanes.Load<T>(b + 2 * o)).As<T, long>(),
                    TOp.Apply(Lanes.Load<T>(a + 2 * o + 64), Lanes.Load<T>(b + 2 * o + 64)).As<T, long>());
            lanes.Write<int, TMask>(d, o, TCombine.Apply(result, Lanes.Load<int>(c + o)));
        }
    }

    /// <summary>d = c ? a : b.</summary>
    public static void Select<T, TMask>(ref Lanes lanes, in Instruction i)
        where T : unmanaged
        where TMask : struct, IMask
    {
        byte* file = lanes.Registers;
        byte* d = file + i.D, a = file + i.A, b = file + i.B, c = file + i.C;
        for (int o = 0; o < Lanes.Count * sizeof(T); o += 64)
        {
            var choice = sizeof(T) == 4
                ? Lanes.Load<T>(c + o)
                : Widen<int, long>(c + o / 2).As<long, T>();
            lanes.Write<T, TMask>(d, o, Vector512.ConditionalSelect(choice, Lanes.Load<T>(a + o), Lanes.Load<T>(b + o)));
        }
    }

    /// <summary>Half a vector at an address, widened to a whole one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<TTo> Widen<TFrom, TTo>(byte* address)
        where TFrom : unmanaged
        where TTo : unmanaged
    {
        if (typeof(TFrom) == typeof(int))
        {
            var half = Unsafe.ReadUnaligned<Vector256<int>>(address);
            return Vector512.Create(Vector256.WidenLower(half), Vector256.WidenUpper(half)).As<long, TTo>();
        }
        var unsigned = Unsafe.ReadUnaligned<Vector256<uint>>(address);
        return Vector512.Create(Vector256.WidenLower(unsigned), Vector256.WidenUpper(unsigned)).As<ulong, TTo>();
    }
}
