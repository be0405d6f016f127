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

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int MinimumS32(int a, int b) => a < b ? a : b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int MaximumS32(int a, int b) => a > b ? a : b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int MinimumU32(int a, int b) => (uint)a < (uint)b ? a : b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int MaximumU32(int a, int b) => (uint)a > (uint)b ? a : b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long MinimumS64(long a, long b) => a < b ? a : b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long MaximumS64(long a, long b) => a > b ? a : b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long MinimumU64(long a, long b) => (ulong)a < (ulong)b ? a : b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long MaximumU64(long a, long b) => (ulong)a > (ulong)b ? a : b;

    public static int DivideS32(int a, int b) => Divide<int>.Apply(a, b);

    public static int DivideU32(int a, int b) => (int)Divide<uint>.Apply((uint)a, (uint)b);

    public static long DivideS64(long a, long b) => Divide<long>.Apply(a, b);

    public static long DivideU64(long a, long b) => (long)Divide<ulong>.Apply((ulong)a, (ulong)b);

    public static int RemainderS32(int a, int b) => Remainder<int>.Apply(a, b);

    public static int RemainderU32(int a, int b) => (int)Remainder<uint>.Apply((uint)a, (uint)b);

    public static long RemainderS64(long a, long b) => Remainder<long>.Apply(a, b);

    public static long RemainderU64(long a, long b) => (long)Remainder<ulong>.Apply((ulong)a, (ulong)b);

    /// <summary>The last of the lanes of a mask that is not empty: whose store to a common address stays.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int LastLane(uint mask) => 31 - BitOperations.LeadingZeroCount(mask);
}
