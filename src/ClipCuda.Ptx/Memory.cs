using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace ClipCuda.Ptx;

/// <summary>Which base an address counts from; a type, so that each gets code of its own.</summary>
internal interface ISpace
{
    static abstract bool Shared { get; }
}

/// <summary>Global, constant and generic addresses: the machine's own.</summary>
internal readonly struct GlobalSpace : ISpace
{
    public static bool Shared => false;
}

/// <summary>Addresses from 0 in the block's shared memory.</summary>
internal readonly struct SharedSpace : ISpace
{
    public static bool Shared => true;
}

/// <summary>
/// Loads and stores. Per warp, addresses that are contiguous become vector copies and equal ones a broadcast; stores at a constant
/// stride skip the search for active lanes; others go lane by lane.
/// Memory of an inactive lane is never touched.
/// </summary>
internal static unsafe class Memory
{
    private static readonly Vector512<long> Iota = Vector512.Create(0L, 1, 2, 3, 4, 5, 6, 7);

    /// <summary>T is what memory holds; the register's lanes are uint or ulong, into which narrower values extend by their own sign.</summary>
    public static void Load<T, TLane, TSpace, TChecks, TMask>(ref Lanes lanes, in Instruction i)
        where T : unmanaged, INumber<T>
        where TLane : unmanaged, INumber<TLane>
        where TSpace : struct, ISpace
        where TChecks : struct, IChecks
        where TMask : struct, IMask
    {
        byte* file = lanes.Registers;
        long shift = i.Immediate + (TSpace.Shared ? (long)lanes.Shared : 0);
        if (TChecks.Enabled) lanes.Group.Checker!.Read(ref lanes, i, sizeof(T) * i.Elements, TSpace.Shared);
        for (int warp = 0; warp < Lanes.Warps; warp++)
        {
            uint active = TMask.Partial ? lanes.WarpMask(warp) : uint.MaxValue;
            if (active == 0) continue;
            long* addresses = (long*)(file + i.A) + warp * Lanes.WarpLanes;
            if (active == uint.MaxValue)
            {
                long first = addresses[0], step = addresses[1] - first;
                T* source = (T*)(first + shift);
                int at = warp * Lanes.WarpLanes;
                if (step == 0 && IsStrided(addresses, first, step))
                {
                    Fill((TLane*)(file + i.D) + at, TLane.CreateTruncating(source[0]));
                    if (i.Elements == 1) continue;
                    Fill((TLane*)(file + i.D1) + at, TLane.CreateTruncating(source[1]));
                    if (i.Elements == 2) continue;
                    Fill((TLane*)(file + i.D2) + at, TLane.CreateTruncating(source[2]));
                    Fill((TLane*)(file + i.D3) + at, TLane.CreateTruncating(source[3]));
                    continue;
                }
                if (sizeof(T) == sizeof(TLane) && i.Elements == 1 && step == sizeof(T) && IsStrided(addresses, first, step))
                {
                    Copy((TLane*)source, (TLane*)(file + i.D) + at);
                    continue;
                }
            }
            for (uint left = active; left != 0; left &= left - 1)
            {
                int lane = BitOperations.TrailingZeroCount(left);
                T* source = (T*)(addresses[lane] + shift);
                int at = warp * Lanes.WarpLanes + lane;
                ((TLane*)(file + i.D))[at] = TLane.CreateTruncating(source[0]);
                if (i.Elements == 1) continue;
                ((TLane*)(file + i.D1))[at] = TLane.CreateTruncating(source[1]);
                if (i.Elements == 2) continue;
                ((TLane*)(file + i.D2))[at] = TLane.CreateTruncating(source[2]);
                ((TLane*)(file + i.D3))[at] = TLane.CreateTruncating(source[3]);
            }
        }
    }

    /// <summary>The low bits of each lane, as wide as T.</summary>
    public static void Store<T, TLane, TSpace, TChecks, TMask>(ref Lanes lanes, in Instruction i)
        where T : unmanaged, INumber<T>
        where TLane : unmanaged, INumber<TLane>
        where TSpace : struct, ISpace
        where TChecks : struct, IChecks
        where TMask : struct, IMask
    {
        byte* file = lanes.Registers;
        long shift = i.Immediate + (TSpace.Shared ? (long)lanes.Shared : 0);
        if (TChecks.Enabled) lanes.Group.Checker!.Write(ref lanes, i, sizeof(T) * i.Elements, TSpace.Shared);
        for (int warp = 0; warp < Lanes.Warps; warp++)
        {
            uint active = TMask.Partial ? lanes.WarpMask(warp) : uint.MaxValue;
            if (active == 0) continue;
            long* addresses = (long*)(file + i.A) + warp * Lanes.WarpLanes;
            if (i.Elements == 1 && active == uint.MaxValue)
            {
                long first = addresses[0], step = addresses[1] - first;
                if (IsStrided(addresses, first, step))
                {
                    TLane* source = (TLane*)(file + i.D) + warp * Lanes.WarpLanes;
                    byte* target = (byte*)(first + shift);
                    if (sizeof(T) == sizeof(TLane) && step == sizeof(T)) Copy((T*)source, (T*)target);
                    else Scatter<T, TLane>(source, target, step);
                    continue;
                }
            }
            for (uint left = active; left != 0; left &= left - 1)
            {
                int lane = BitOperations.TrailingZeroCount(left);
                T* target = (T*)(addresses[lane] + shift);
                int at = warp * Lanes.WarpLanes + lane;
                target[0] = T.CreateTruncating(((TLane*)(file + i.D))[at]);
                if (i.Elements == 1) continue;
                target[1] = T.CreateTruncating(((TLane*)(file + i.D1))[at]);
                if (i.Elements == 2) continue;
                target[2] = T.CreateTruncating(((TLane*)(file + i.D2))[at]);
                target[3] = T.CreateTruncating(((TLane*)(file + i.D3))[at]);
            }
        }
    }

    /// <summary>A parameter, the same for all lanes; into a wider register it extends by its own sign.</summary>
    public static void LoadParameter<T, TLane, TMask>(ref Lanes lanes, in Instruction i)
        where T : unmanaged, INumber<T>
        where TLane : unmanaged, INumber<TLane>
        where TMask : struct, IMask
    {
        var value = Vector512.Create(TLane.CreateTruncating(Unsafe.ReadUnaligned<T>(lanes.Parameters + i.Immediate)));
        for (int o = 0; o < Lanes.Count * sizeof(TLane); o += 64) lanes.Write<TLane, TMask>(lanes.Registers + i.D, o, value);
    }

    /// <summary>mov of a parameter's name: where it lies.</summary>
    public static void ParameterAddress<TMask>(ref Lanes lanes, in Instruction i)
        where TMask : struct, IMask
    {
        for (int o = 0; o < Lanes.Bytes64; o += 64) lanes.Write<long, TMask>(lanes.Registers + i.D, o, Vector512.Create((long)lanes.Parameters + i.Immediate));
    }

    /// <summary>cvta.shared (sign 1) and cvta.to.shared (sign −1): between the shared window and generic addresses.</summary>
    public static void SharedToGeneric<TMask>(ref Lanes lanes, in Instruction i)
        where TMask : struct, IMask
    {
        var shift = Vector512.Create(i.Immediate * (long)lanes.Shared);
        for (int o = 0; o < Lanes.Bytes64; o += 64)
            lanes.Write<long, TMask>(lanes.Registers + i.D, o, Lanes.Load<long>(lanes.Registers + i.A + o) + shift);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsStrided(long* addresses, long first, long step)
    {
        var expected = Vector512.Create(first) + Iota * step;
        var advance = Vector512.Create(8 * step);
        var different = Vector512<long>.Zero;
        for (int v = 0; v < 4; v++)
        {
            different |= Vector512.Load(addresses + v * 8) ^ expected;
            expected += advance;
        }
        return different == Vector512<long>.Zero;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Scatter<T, TLane>(TLane* source, byte* target, long step)
        where T : unmanaged, INumber<T>
        where TLane : unmanaged, INumber<TLane>
    {
        for (int lane = 0; lane < Lanes.WarpLanes; lane++) *(T*)(target + lane * step) = T.CreateTruncating(source[lane]);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Copy<T>(T* source, T* target)
        where T : unmanaged
    {
        for (int o = 0; o < Lanes.WarpLanes * sizeof(T); o += 64) Lanes.Store((byte*)target + o, Lanes.Load<byte>((byte*)source + o));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Fill<T>(T* target, T value)
        where T : unmanaged
    {
        var all = Vector512.Create(value);
        for (int o = 0; o < Lanes.WarpLanes * sizeof(T); o += 64) Lanes.Store((byte*)target + o, all);
    }
}
