using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace ClipCuda.Ptx;

/// <summary>
/// What a group of four warps is while it runs: 128 lanes in lockstep, lane = thread − 128·group. A 32-bit register (and a 16-bit one, and a
/// predicate as all-ones or zero) is 128 × 4 bytes of the register file, a 64-bit one 128 × 8. The active mask is kept twice: as bits
/// and as 128 lane masks of 32 bits.
/// </summary>
[StructLayout(LayoutKind.Auto)]
internal unsafe struct Lanes
{
    public const int Count = 128, Warps = 4, WarpLanes = 32, Bytes32 = Count * 4, Bytes64 = Count * 8;

    public byte* Registers;
    public byte* MaskVector;
    public ulong MaskLow, MaskHigh;
    public ulong AliveLow, AliveHigh;
    public bool Full;
    public int Pc;
    public RunState State;
    public byte* Shared;
    public byte* Parameters;
    public ReconvergenceEntry* Stack;
    public int StackDepth;
    public WarpGroup Group;

    public readonly bool IsActive(int lane) => ((lane < 64 ? MaskLow : MaskHigh) >> lane & 1) != 0;

    /// <summary>The active lanes of a warp, bit by lane.</summary>
    public readonly uint WarpMask(int warp) => (uint)((warp < 2 ? MaskLow : MaskHigh) >> (warp * 32));

    public void SetMask(ulong low, ulong high)
    {
        (MaskLow, MaskHigh) = (low, high);
        Full = (low & high) == ulong.MaxValue;
        if (!Full) Expand(low, high, MaskVector);
    }

    /// <summary>Bits to lane masks.</summary>
    public static void Expand(ulong low, ulong high, byte* destination)
    {
        var bit = Vector512.Create(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768);
        for (int v = 0; v < 8; v++)
        {
            int bits = (int)((v < 4 ? low : high) >> (v * 16)) & 0xFFFF;
            Vector512.Equals(Vector512.Create(bits) & bit, bit).Store((int*)destination + v * 16);
        }
    }

    /// <summary>Lane masks to bits.</summary>
    public static (ulong Low, ulong High) Collect(byte* masks)
    {
        ulong low = 0, high = 0;
        for (int v = 0; v < 4; v++)
        {
            low |= Vector512.Load((int*)masks + v * 16).ExtractMostSignificantBits() << (v * 16);
            high |= Vector512.Load((int*)masks + 64 + v * 16).ExtractMostSignificantBits() << (v * 16);
        }
        return (low, high);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Load<T>(byte* address)
        where T : unmanaged => Unsafe.ReadUnaligned<Vector512<T>>(address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<T>(byte* address, Vector512<T> value)
        where T : unmanaged => Unsafe.WriteUnaligned(address, value);

    /// <summary>The lane masks that go with the 64 bytes at <paramref name="offset"/> of a register of T.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly Vector512<T> Mask<T>(int offset)
        where T : unmanaged
    {
        if (sizeof(T) == 4) return Load<T>(MaskVector + offset);
        var half = Unsafe.ReadUnaligned<Vector256<int>>(MaskVector + offset / 2);
        return Vector512.Create(Vector256.WidenLower(half), Vector256.WidenUpper(half)).As<long, T>();
    }

    /// <summary>Writes a vector of a register under the active mask, or whole.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Write<T, TMask>(byte* register, int offset, Vector512<T> value)
        where T : unmanaged
        where TMask : struct, IMask
    {
        if (TMask.Partial) value = Vector512.ConditionalSelect(Mask<T>(offset), value, Load<T>(register + offset));
        Store(register + offset, value);
    }
}

internal enum RunState
{
    Running,
    AtBarrier,
    Exited,
}

/// <summary>Lanes that wait: they go on at <see cref="Pc"/> when the running ones have come to <see cref="Reconvergence"/>.</summary>
internal struct ReconvergenceEntry
{
    public int Reconvergence;
    public int Pc;
    public ulong Low;
    public ulong High;
}

/// <summary>Whether a handler runs with all 128 lanes or under the mask; a type, so that each gets code of its own.</summary>
internal interface IMask
{
    static abstract bool Partial { get; }
}

internal readonly struct AllLanes : IMask
{
    public static bool Partial => false;
}

internal readonly struct SomeLanes : IMask
{
    public static bool Partial => true;
}
