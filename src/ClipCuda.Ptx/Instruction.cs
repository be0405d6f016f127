using System.Runtime.InteropServices;

namespace ClipCuda.Ptx;

/// <summary>
/// A decoded instruction: two handlers (all lanes, some lanes) and byte offsets of its operands in the register file. Immediates lie
/// in the file too, so that every operand is an offset.
/// </summary>
[StructLayout(LayoutKind.Auto)]
internal unsafe struct Instruction
{
    public delegate*<ref Lanes, in Instruction, void> Full;
    public delegate*<ref Lanes, in Instruction, void> Masked;

    /// <summary>Destination, or the register stored.</summary>
    public int D;

    public int A, B, C;

    /// <summary>Second to fourth registers of a vector load or store.</summary>
    public int D1, D2, D3;

    /// <summary>Registers of a vector load or store: 1, 2 or 4.</summary>
    public int Elements;

    /// <summary>Offset of an address; offset of a parameter.</summary>
    public long Immediate;

    /// <summary>Branches: where taken lanes go, and where all meet again.</summary>
    public int Target, Reconvergence;

    public bool Negated;

    /// <summary>Stands for no instruction of the entry: a meeting place, or the end.</summary>
    public bool IsMarker;

    /// <summary>Index into the entry's instructions, for error messages.</summary>
    public int Origin;
}
