namespace ClipCuda.Ptx.Compiler;

/// <summary>Workspaces that no thread uses just now. Unlike the bags of .NET it allocates nothing: a launch takes and returns one many times.</summary>
internal sealed class IdleWorkspaces
{
    /// <summary>More threads than that at once make a workspace for each call.</summary>
    private readonly Workspace?[] _slots = new Workspace?[64];

    /// <summary>One of them, or null if there is none.</summary>
    public Workspace? Take()
    {
        for (int i = 0; i < _slots.Length; i++)
        {
            if (Volatile.Read(ref _slots[i]) is not null && Interlocked.Exchange(ref _slots[i], null) is { } workspace) return workspace;
        }
        return null;
    }

    public void Return(Workspace workspace)
    {
        for (int i = 0; i < _slots.Length; i++)
        {
            if (Volatile.Read(ref _slots[i]) is null && Interlocked.CompareExchange(ref _slots[i], workspace, null) is null) return;
        }
        workspace.Dispose();
    }
}
