namespace ClipCuda.Ptx;

/// <summary>What stands between the braces of an entry or a function.</summary>
internal sealed class PtxBody(string module, string name)
{
    /// <summary>The offset of a shared array whose size a launch gives.</summary>
    public const int DynamicShared = -1;

    public string Module { get; } = module;

    public string Name { get; } = name;

    public List<PtxRegister> Registers { get; } = [];

    public List<PtxInstruction> Instructions { get; } = [];

    /// <summary>Shared variables by name: their offset; a dynamic array's is <see cref="DynamicShared"/>.</summary>
    public Dictionary<string, int> SharedOffsets { get; } = new(StringComparer.Ordinal);

    public int StaticSharedBytes { get; set; }

    /// <summary>Local variables by name: where they lie in each thread's own memory.</summary>
    public Dictionary<string, int> LocalOffsets { get; } = new(StringComparer.Ordinal);

    /// <summary>Local memory of a thread.</summary>
    public int LocalBytes { get; set; }

    /// <summary>Variables that calls in it take or give, until <see cref="Inliner"/> has replaced them: bytes and alignment.</summary>
    public Dictionary<string, (int Bytes, int Alignment)> CallVariables { get; } = new(StringComparer.Ordinal);

    public static bool IsBlockBarrier(PtxInstruction instruction) => instruction.Opcode is "bar.sync" or "barrier.sync" or "barrier.sync.aligned";

    public void PlaceShared(SharedVariable variable)
    {
        if (variable.IsDynamic)
        {
            SharedOffsets[variable.Name] = DynamicShared;
            return;
        }
        int offset = (StaticSharedBytes + variable.Alignment - 1) / variable.Alignment * variable.Alignment;
        SharedOffsets[variable.Name] = offset;
        StaticSharedBytes = offset + variable.Bytes;
    }

    public void AddLocal(string name, int bytes, int alignment)
    {
        int offset = (LocalBytes + alignment - 1) / alignment * alignment;
        LocalOffsets[name] = offset;
        LocalBytes = offset + bytes;
    }
}
