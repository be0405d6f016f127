using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace ClipCuda.Ptx;

/// <summary>Shifts by an amount of each lane's own; amounts are below the width (or the result is masked away).</summary>
internal static class Shift
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Left(Vector512<uint> a, Vector512<uint> b) =>
        Avx512F.IsSupported ? Avx512F.ShiftLeftLogicalVariable(a, b) : EachLane(a, b, (x, n) => x << (int)n);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Right(Vector512<uint> a, Vector512<uint> b) =>
        Avx512F.IsSupported ? Avx512F.ShiftRightLogicalVariable(a, b) : EachLane(a, b, (x, n) => x >> (int)n);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> RightSigned(Vector512<int> a, Vector512<uint> b) =>
        Avx512F.IsSupported ? Avx512F.ShiftRightArithmeticVariable(a, b) : EachLane(a, b, (x, n) => x >> (int)n);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<ulong> Left(Vector512<ulong> a, Vector512<ulong> b) =>
        Avx512F.IsSupported ? Avx512F.ShiftLeftLogicalVariable(a, b) : EachLane(a, b, (x, n) => x << (int)n);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<ulong> Right(Vector512<ulong> a, Vector512<ulong> b) =>
        Avx512F.IsSupported ? Avx512F.ShiftRightLogicalVariable(a, b) : EachLane(a, b, (x, n) => x >> (int)n);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<long> RightSigned(Vector512<long> a, Vector512<ulong> b) =>
        Avx512F.IsSupported ? Avx512F.ShiftRightArithmeticVariable(a, b) : EachLane(a, b, (x, n) => x >> (int)n);

    private static Vector512<T> EachLane<T, TAmount>(Vector512<T> a, Vector512<TAmount> b, Func<T, TAmount, T> shift)
    {
        var result = a;
        for (int lane = 0; lane < Vector512<T>.Count; lane++) result = result.WithElement(lane, shift(a[lane], b[lane]));
        return result;
    }
}
