namespace ClipCuda.Ptx;

/// <summary>What no thread uses just now and the next one may take. Unlike .NET's bags it allocates nothing: a launch takes and returns a workspace many times.</summary>
internal sealed class Idle<T>
    where T : class
{
    /// <summary>More threads than that at once make something of their own for each call.</summary>
    public const int Slots = 64;

    private readonly T?[] _slots = new T?[Slots];

    /// <summary>One of them, or null if there is none.</summary>
    public T? Take()
    {
        for (int i = 0; i < _slots.Length; i++)
        {
            if (Volatile.Read(ref _slots[i]) is not null && Interlocked.Exchange(ref _slots[i], null) is { } taken) return taken;
        }
        return null;
    }

    /// <summary>Keeps it for the next; false if there is no room.</summary>
    public bool TryReturn(T used)
    {
        for (int i = 0; i < _slots.Length; i++)
        {
            if (Volatile.Read(ref _slots[i]) is null && Interlocked.CompareExchange(ref _slots[i], used, null) is null) return true;
        }
        return false;
    }
}
