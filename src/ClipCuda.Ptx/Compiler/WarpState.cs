using System.Reflection;
using System.Runtime.InteropServices;

namespace ClipCuda.Ptx.Compiler;

/// <summary>What a compiled method knows of the warp it runs; methods read it by field offset.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct WarpState
{
    /// <summary>Values that live across barriers and from version to version.</summary>
    public byte* Frame;

    /// <summary>What a method keeps in memory for want of registers; used by one method at a time.</summary>
    public byte* Arena;

    public byte* Shared;
    public byte* Parameters;

    /// <summary><see cref="ConstantVectors.Broadcasts"/>.</summary>
    public byte* Constants;

    /// <summary>%tid.x of the 32 lanes, then y, then z.</summary>
    public int* ThreadIds;

    /// <summary>32 addresses, then up to four times 32 values of 64 bits.</summary>
    public byte* Scratch;

    /// <summary>Lanes that wait at each block, where a version hands over.</summary>
    public uint* Masks;

    /// <summary>The interpreter's register file at this warp's lanes, of 32-bit and of 64-bit registers.</summary>
    public byte* File32;
    public byte* File64;

    /// <summary>A handle of the <see cref="Workspace"/>.</summary>
    public nint Workspace;

    /// <summary>Where accesses are checked: the buffer that was accessed last.</summary>
    public ulong KnownStart;
    public ulong KnownEnd;

    /// <summary>The lanes that run when a method begins.</summary>
    public uint Lanes;

    /// <summary>Which lanes' predicate held at the branch where a version left off.</summary>
    public uint Condition;
    public int Warp;

    /// <summary>The instruction at fault.</summary>
    public int Fault;
    public int TidX;
    public int TidY;
    public int TidZ;
    public int NtidX;
    public int NtidY;
    public int NtidZ;
    public int CtaidX;
    public int CtaidY;
    public int CtaidZ;
    public int NctaidX;
    public int NctaidY;
    public int NctaidZ;

    private static readonly Dictionary<string, int> Offsets =
        typeof(WarpState).GetFields(BindingFlags.Public | BindingFlags.Instance).ToDictionary(field => field.Name, field => (int)Marshal.OffsetOf<WarpState>(field.Name), StringComparer.Ordinal);

    /// <summary>The bytes before a field.</summary>
    public static int OffsetOf(string field) => Offsets[field];
}

/// <summary>Runs a warp up to a barrier, to its end or to where the version leaves off.</summary>
/// <returns>One of <see cref="Outcome"/>, or a resume point's number times 2, plus 1 if it goes on at once, without a barrier.</returns>
internal unsafe delegate int Segment(WarpState* warp);

internal static class Outcome
{
    public const int Exited = -1, Trapped = -2, DivergentBarrier = -3, OutOfBounds = -4;
}

/// <summary>Where a warp goes on: a version, a block, and whether before its first instruction or at its last, the branch.</summary>
internal readonly record struct ResumePoint(Daring Daring, int Block, bool AtBranch);
