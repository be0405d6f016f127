using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace ClipCuda.Ptx.Compiler;

/// <summary>The memory that one thread needs to run blocks of one kernel: warps' states and frames, shared memory, spills, and the interpreter's register files where its handlers are used.</summary>
internal sealed unsafe class Workspace : IDisposable
{
    /// <summary>Spill arenas are made this large at once: methods that spill more are rare, and then it grows.</summary>
    private const int LeastArena = 64 * 1024;

    private readonly CompiledKernel _kernel;
    private readonly bool _usesHandlers;
    private readonly List<WarpGroup> _groups = [];
    private GCHandle _handle;
    private byte* _memory;
    private byte* _arena;
    private int _arenaBytes;
    private int _warps;
    private int _sharedBytes = -1;
    private int _blockSharedBytes;
    private LaunchShape _shape;

    /// <param name="buffers">If set, what the kernel may access.</param>
    public Workspace(CompiledKernel kernel, MemoryMap? buffers)
    {
        _kernel = kernel;
        Bounds = buffers is null ? null : new Bounds(buffers);
        _usesHandlers = kernel.UsesHandlers;
        _handle = GCHandle.Alloc(this);
    }

    public PtxEntry Entry => _kernel.Entry;

    /// <summary>What the kernel may access; null where that is not checked.</summary>
    public Bounds? Bounds { get; }

    public WarpState* States { get; private set; }

    /// <summary>Where each warp goes on; Exited when it is done.</summary>
    public int* Resume { get; private set; }

    public static Workspace Of(WarpState* state) => (Workspace)GCHandle.FromIntPtr(state->Workspace).Target!;

    public void Prepare(in LaunchShape shape, int sharedBytes)
    {
        _blockSharedBytes = sharedBytes;
        if (shape == _shape && sharedBytes == _sharedBytes) return;
        int warps = ((int)shape.Block.Count + 31) / 32;
        if (warps > _warps || sharedBytes > _sharedBytes) Allocate(Math.Max(warps, _warps), Math.Max(sharedBytes, _sharedBytes));
        _shape = shape;
        for (int w = 0; w < warps; w++) Describe(w, shape);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)] // for every block of every kernel
    public void StartBlock(byte* parameters, int x, int y, int z)
    {
        int threads = (int)_shape.Block.Count;
        for (int w = 0; w * 32 < threads; w++)
        {
            var state = States + w;
            int count = Math.Min(32, threads - w * 32);
            state->Parameters = parameters;
            state->Lanes = count == 32 ? uint.MaxValue : (1u << count) - 1;
            (state->CtaidX, state->CtaidY, state->CtaidZ) = (x, y, z);
            Resume[w] = count == 32 ? 0 : 1;
        }
        Bounds?.StartBlock(States, (threads + 31) / 32, _blockSharedBytes);
        if (!_usesHandlers) return;
        foreach (var group in _groups)
        {
            if (group.Index * Lanes.Count >= threads) break;
            group.BlockIndex = (x, y, z);
            group.Start(threads, States->Shared, parameters);
            _kernel.File.FillBlock(group.Lanes.Registers, x, y, z);
        }
    }

    /// <summary>Makes sure that a method's spills fit, whatever was compiled meanwhile.</summary>
    public void EnsureArena()
    {
        if (_arena is not null && _kernel.ArenaBytes <= _arenaBytes) return;
        NativeMemory.AlignedFree(_arena);
        _arenaBytes = Math.Max(LeastArena, _kernel.ArenaBytes);
        _arena = (byte*)NativeMemory.AlignedAlloc((nuint)_arenaBytes, 64);
        for (int w = 0; w < _warps; w++) States[w].Arena = _arena;
    }

    /// <summary>Runs one instruction by the interpreter's handler for the lanes of a mask; operands and results lie in its register file.</summary>
    public static void RunHandler(WarpState* state, int codeIndex, uint mask)
    {
        var workspace = Of(state);
        var group = workspace._groups[state->Warp / Lanes.Warps];
        int shift = state->Warp % 2 * 32;
        bool high = state->Warp % Lanes.Warps >= 2;
        group.Lanes.SetMask(high ? 0 : (ulong)mask << shift, high ? (ulong)mask << shift : 0);
        ref readonly var instruction = ref workspace._kernel.Code[codeIndex];
        instruction.Masked(ref group.Lanes, instruction);
    }

    /// <summary>Whether bytes lie in the local memory of a warp's lane.</summary>
    public bool IsLocal(int warp, int lane, long address, int bytes) => _usesHandlers && _groups[warp / Lanes.Warps].IsLocal(address, bytes, warp % Lanes.Warps * 32 + lane);

    /// <summary>The error of an access that <see cref="Bounds"/> refused a warp.</summary>
    public PtxException Refused(int warp)
    {
        var (what, lane) = Bounds!.Violation;
        States[warp].Lanes = 1u << lane;
        return Fault(warp, what);
    }

    /// <summary>An error at an instruction of a warp, in the interpreter's words.</summary>
    public PtxException Fault(int warp, string what)
    {
        var state = States[warp];
        int lane = state.Lanes == 0 ? 0 : System.Numerics.BitOperations.TrailingZeroCount(state.Lanes);
        var group = new WarpGroup(_kernel.Entry, _kernel.Code, warp / Lanes.Warps, 0, null) { Block = _shape.Block, BlockIndex = (state.CtaidX, state.CtaidY, state.CtaidZ) };
        return group.Fault(new Instruction { Origin = state.Fault }, what, warp % Lanes.Warps * 32 + lane);
    }

    public void Dispose()
    {
        NativeMemory.AlignedFree(_memory);
        NativeMemory.AlignedFree(_arena);
        _memory = _arena = null;
        if (_handle.IsAllocated) _handle.Free();
    }

    private void Allocate(int warps, int sharedBytes)
    {
        NativeMemory.AlignedFree(_memory);
        (_warps, _sharedBytes) = (warps, sharedBytes);
        const int scratch = 256 * 5, ids = 3 * 32 * sizeof(int);
        int masks = RoundUp(4 * _kernel.Blocks.Count), frame = RoundUp(_kernel.Frame.Bytes), state = RoundUp(sizeof(WarpState));
        long total = (long)warps * (state + scratch + RoundUp(ids) + masks + frame) + RoundUp(warps * sizeof(int)) + RoundUp(sharedBytes + 128);
        _memory = (byte*)NativeMemory.AlignedAlloc((nuint)total, 128);
        NativeMemory.Clear(_memory, (nuint)total);
        byte* next = _memory;
        byte* Take(long bytes)
        {
            byte* start = next;
            next += bytes;
            return start;
        }
        byte* shared = Take(RoundUp(sharedBytes + 128));
        States = (WarpState*)Take(warps * state);
        Resume = (int*)Take(RoundUp(warps * sizeof(int)));
        for (int w = 0; w < warps; w++)
        {
            var at = States + w;
            at->Shared = shared;
            at->Constants = (byte*)ConstantVectors.Broadcasts;
            at->Scratch = Take(scratch);
            at->ThreadIds = (int*)Take(RoundUp(ids));
            at->Masks = (uint*)Take(masks);
            at->Frame = Take(frame);
            at->Arena = _arena;
            at->Workspace = GCHandle.ToIntPtr(_handle);
            at->Warp = w;
        }
        EnsureArena();
    }

    private void Describe(int warp, in LaunchShape shape)
    {
        var state = States + warp;
        for (int lane = 0; lane < 32; lane++)
        {
            int thread = warp * 32 + lane;
            state->ThreadIds[lane] = thread % shape.Block.X;
            state->ThreadIds[32 + lane] = thread / shape.Block.X % shape.Block.Y;
            state->ThreadIds[64 + lane] = thread / shape.Block.X / shape.Block.Y;
        }
        (state->TidX, state->TidY, state->TidZ) = (state->ThreadIds[0], state->ThreadIds[32], state->ThreadIds[64]);
        (state->NtidX, state->NtidY, state->NtidZ) = (shape.Block.X, shape.Block.Y, shape.Block.Z);
        (state->NctaidX, state->NctaidY, state->NctaidZ) = (shape.Grid.X, shape.Grid.Y, shape.Grid.Z);
        if (!_usesHandlers) return;
        int index = warp / Lanes.Warps;
        if (index == _groups.Count)
        {
            _groups.Add(new WarpGroup(_kernel.Entry, _kernel.Code, index, _kernel.File.Bytes, null));
            (_groups[index].LocalStart, _groups[index].LocalStride) = (_kernel.File.LocalMemory.Start, _kernel.File.LocalStride);
            _kernel.File.FillConstants(_groups[index].Lanes.Registers);
        }
        if (warp % Lanes.Warps == 0)
        {
            _groups[index].Block = shape.Block;
            _kernel.File.FillLaunch(_groups[index].Lanes.Registers, index, shape);
        }
        state->File32 = _groups[index].Lanes.Registers + warp % Lanes.Warps * 128;
        state->File64 = _groups[index].Lanes.Registers + warp % Lanes.Warps * 256;
    }

    private static int RoundUp(int bytes) => (bytes + 127) / 128 * 128;
}
