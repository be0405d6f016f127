using System.Numerics;
using System.Runtime.CompilerServices;

namespace ClipCuda.Ptx.Compiler;

/// <summary>What compiled methods call for uniform integers; small enough to be inlined.</summary>
internal static class ScalarCode
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int ShiftLeft32(int a, int count) => (uint)count < 32 ? a << count : 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int ShiftRight32(int a, int count) => (uint)count < 32 ? (int)((uint)a >> count) : 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int ShiftRightSigned32(int a, int count) => a >> (int)Math.Min((uint)count, 31);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long ShiftLeft64(long a, int count) => (uint)count < 64 ? a << count : 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long ShiftRight64(long a, int count) => (uint)count < 64 ? (long)((ulong)a >> count) : 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long ShiftRightSigned64(long a, int count) => a >> (int)Math.Min((uint)count, 63);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Select32(int condition, int a, int b) => condition != 0 ? a : b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long Select64(int condition, long a, long b) => condition != 0 ? a : b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Absolute32(int a) => a < 0 ? -a : a;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long Absolute64(long a) => a < 0 ? -a : a;

    /// <summary>The last of the lanes of a mask that is not empty: whose store to a common address stays.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int LastLane(uint mask) => 31 - BitOperations.LeadingZeroCount(mask);
}
