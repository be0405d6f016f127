using System.Collections.Concurrent;
using System.Runtime.InteropServices;

namespace ClipCuda.Ptx.Compiler;

/// <summary>
/// Vectors of constants, in memory that is never freed: there are a few hundred in a process. Of those whose lanes differ, the code would be most of
/// a method, and the JIT does not optimise long ones. Those whose lanes are equal it would keep in registers, of which 16 are too few for both the
/// constants of a polynomial and what it is evaluated for.
/// </summary>
internal static unsafe class ConstantVectors
{
    private const int BroadcastBytes = 64, MostBroadcasts = 1024;
    private static readonly ConcurrentDictionary<uint, Lazy<int>> Offsets = [];
    private static int BroadcastsMade;

    private static readonly ConcurrentDictionary<(long First, long Stride, int Bytes), nint> Multiples = [];
    private static readonly Lazy<nint> Bits = new(() =>
    {
        uint* lanes = (uint*)NativeMemory.AlignedAlloc(32 * sizeof(uint), 64);
        for (int lane = 0; lane < 32; lane++) lanes[lane] = 1u << lane;
        return (nint)lanes;
    });

    /// <summary>Where the vectors of equal lanes begin.</summary>
    public static nint Broadcasts { get; } = (nint)NativeMemory.AlignedAlloc(BroadcastBytes * MostBroadcasts, BroadcastBytes);

    /// <summary>The bytes from there to a vector whose lanes all have these bits, or −1 if there is no room for it.</summary>
    public static int OffsetOf(uint bits) => Offsets.GetOrAdd(bits, static key => new(() =>
    {
        int number = Interlocked.Increment(ref BroadcastsMade) - 1;
        if (number >= MostBroadcasts) return -1;
        new Span<uint>((byte*)Broadcasts + (number * BroadcastBytes), BroadcastBytes / sizeof(uint)).Fill(key);
        return number * BroadcastBytes;
    })).Value;

    /// <summary>32 integers of 32 bits, of which number i has bit i set.</summary>
    public static nint LaneBits => Bits.Value;

    /// <summary>(first + i) · stride for i from 0 to 15, each of 4 or 8 bytes.</summary>
    public static nint LaneMultiples(long first, long stride, bool wide) =>
        Multiples.GetOrAdd((first, stride, wide ? 8 : 4), static key =>
        {
            byte* memory = (byte*)NativeMemory.AlignedAlloc((nuint)(16 * key.Bytes), 64);
            for (int i = 0; i < 16; i++)
            {
                long value = (key.First + i) * key.Stride;
                if (key.Bytes == 8) ((long*)memory)[i] = value;
                else ((int*)memory)[i] = (int)value;
            }
            return (nint)memory;
        });
}
