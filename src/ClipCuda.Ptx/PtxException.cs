namespace ClipCuda.Ptx;

/// <summary>PTX that cannot be read or run, or a kernel that broke a rule while running; one line for the user.</summary>
public sealed class PtxException : Exception
{
    public PtxException(string message)
        : base(message) { }
}
