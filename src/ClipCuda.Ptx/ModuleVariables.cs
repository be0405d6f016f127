namespace ClipCuda.Ptx;

/// <summary>
/// The .global and .const variables of a module: zero but for their initialisers, and alive as long as the module. Every device that loads the
/// module sees the same ones.
/// </summary>
internal sealed unsafe class ModuleVariables
{
    private readonly List<(byte[] Memory, ulong Start, int Bytes)> _variables = [];

    /// <summary>Makes a variable and gives its address.</summary>
    public ulong Add(int bytes, ReadOnlySpan<byte> initialiser)
    {
        byte[] memory = WarpGroup.AllocateAligned(Math.Max(bytes, 1), out byte* start);
        initialiser.CopyTo(new Span<byte>(start, bytes));
        _variables.Add((memory, (ulong)start, bytes));
        return (ulong)start;
    }

    /// <summary>Whether bytes lie inside one variable.</summary>
    public bool Holds(ulong address, int bytes)
    {
        foreach (var (_, start, size) in _variables) if (address >= start && address + (ulong)bytes <= start + (ulong)size) return true;
        return false;
    }
}
