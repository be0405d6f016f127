using System.Numerics;

namespace ClipCuda.Ptx.Compiler;

/// <summary>
/// Where loads and stores of compiled code are checked: what each calls before it touches memory. Whoever runs kernels gives the live buffers
/// (<see cref="MemoryMap"/>); shared and local memory and the module's variables are known. Instructions that the interpreter's handlers run,
/// such as atomics, are not checked.
/// </summary>
internal sealed unsafe class Bounds(MemoryMap buffers)
{
    private long _shared;
    private int _sharedBytes;

    /// <summary>What is wrong with the access that was refused, and in which lane.</summary>
    public (string What, int Lane) Violation { get; private set; } = ("", 0);

    /// <summary>Forgets where the warps of the last block found their buffers: some may be gone.</summary>
    public void StartBlock(WarpState* states, int warps, int sharedBytes)
    {
        (_shared, _sharedBytes) = ((long)states->Shared, sharedBytes);
        for (int w = 0; w < warps; w++) (states[w].KnownStart, states[w].KnownEnd) = (0, 0);
    }

    /// <summary>Whether running lanes may access memory; if not, <see cref="Violation"/> says why.</summary>
    /// <param name="address">Where lane 0 accesses memory, or would.</param>
    /// <param name="step">From one lane's address to the next.</param>
    /// <param name="bytes">What each lane accesses.</param>
    /// <param name="lanes">The lanes that do.</param>
    /// <param name="kind">One of <see cref="Access"/>.</param>
    public static bool Allow(WarpState* state, nint address, long step, int bytes, uint lanes, int kind)
    {
        if (lanes == 0) return true;
        long first = address + BitOperations.TrailingZeroCount(lanes) * step, last = address + (31 - BitOperations.LeadingZeroCount(lanes)) * step;
        var (start, end) = step < 0 ? ((ulong)last, (ulong)first + (uint)bytes) : ((ulong)first, (ulong)last + (uint)bytes);
        if ((kind & Access.Shared) == 0 && start >= state->KnownStart && end <= state->KnownEnd && start <= end) return true;
        var bounds = Workspace.Of(state).Bounds!;
        return bounds.AllowAll(state, start, end, (kind & Access.Shared) != 0) || bounds.AllowEach(state, address, step, bytes, lanes, kind);
    }

    /// <summary>All lanes access one buffer, or shared memory.</summary>
    private bool AllowAll(WarpState* state, ulong start, ulong end, bool shared)
    {
        if (start > end) return false;
        if (start >= (ulong)_shared && end <= (ulong)(_shared + _sharedBytes)) return true;
        if (shared || buffers.Holding(start, end) is not { } buffer) return false;
        (state->KnownStart, state->KnownEnd) = buffer;
        return true;
    }

    private bool AllowEach(WarpState* state, nint address, long step, int bytes, uint lanes, int kind)
    {
        for (uint left = lanes; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            long at = address + lane * step;
            if (Refuse(state, lane, at, bytes, kind) is not { } problem) continue;
            Violation = ($"{((kind & Access.Write) != 0 ? "write" : "read")} of {bytes} bytes {problem}", lane);
            return false;
        }
        return true;
    }

    /// <summary>What is wrong with one lane's access; null if nothing is.</summary>
    private string? Refuse(WarpState* state, int lane, long address, int bytes, int kind)
    {
        long offset = address - _shared;
        if (offset >= 0 && offset + bytes <= _sharedBytes) return null;
        if ((kind & Access.Shared) != 0) return $"at offset {offset} of {_sharedBytes} bytes of shared memory";
        var workspace = Workspace.Of(state);
        return workspace.Entry.Variables.Holds((ulong)address, bytes) || workspace.IsLocal(state->Warp, lane, address, bytes) ? null : buffers.Misses((ulong)address, bytes);
    }

    /// <summary>How memory is accessed, as bits.</summary>
    internal static class Access
    {
        public const int Write = 1, Shared = 2;
    }
}
