using System.Collections.Concurrent;
using System.Runtime.InteropServices;

namespace ClipCuda.Ptx.Compiler;

/// <summary>
/// Vectors of which each lane is another constant, in memory that is never freed: there are a few dozen in a process. Written into the code one
/// lane at a time they would be most of it, and the JIT does not optimise long methods.
/// </summary>
internal static unsafe class ConstantVectors
{
    private static readonly ConcurrentDictionary<(long First, long Stride, int Bytes), nint> Multiples = [];
    private static readonly Lazy<nint> Bits = new(() =>
    {
        uint* lanes = (uint*)NativeMemory.AlignedAlloc(32 * sizeof(uint), 64);
        for (int lane = 0; lane < 32; lane++) lanes[lane] = 1u << lane;
        return (nint)lanes;
    });

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
