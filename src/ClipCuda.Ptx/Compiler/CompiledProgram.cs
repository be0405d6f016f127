using System.Collections.Concurrent;
using System.Runtime.CompilerServices;

namespace ClipCuda.Ptx.Compiler;

/// <summary>
/// A kernel compiled to SIMD code. Warps of a block take turns: each runs up to its next barrier. Safe to call from many threads at once; each
/// call borrows a workspace that is kept for the next.
/// </summary>
public sealed unsafe class CompiledProgram : IDisposable
{
    private static readonly ConditionalWeakTable<PtxEntry, ConcurrentDictionary<(int, bool, bool), Lazy<CompiledKernel>>> Compiled = [];

    private readonly CompiledKernel?[] _kernels = new CompiledKernel?[2];
    private readonly Idle<Workspace>[] _idle = [new(), new()];
    private readonly PtxEntry _entry;
    private readonly int _vectorBits;
    private readonly MemoryMap? _buffers;

    private CompiledProgram(PtxEntry entry, int vectorBits, MemoryMap? buffers)
    {
        _entry = entry;
        _vectorBits = vectorBits;
        _buffers = buffers;
        KernelFor(linear: true);
    }

    /// <summary>Prepares an entry; its methods are compiled as warps come to them.</summary>
    /// <param name="vectorBits">128, 256 or 512.</param>
    /// <param name="reason">Why the kernel has to be interpreted, if the result is null.</param>
    /// <param name="buffers">If set, each load and store is held against these: what lies in none of them is an error. Otherwise a kernel that
    /// accesses what it must not may end the process.</param>
    /// <exception cref="PtxException">The entry holds an instruction that no engine runs; names its line.</exception>
    public static CompiledProgram? TryCreate(PtxEntry entry, int vectorBits, out string reason, MemoryMap? buffers = null)
    {
        reason = "";
        try
        {
            return new CompiledProgram(entry, vectorBits, buffers);
        }
        catch (NotCompilableException error)
        {
            reason = error.Message;
            return null;
        }
    }

    /// <summary>Runs blocks [firstBlock, firstBlock + blockCount) of the grid, x fastest, one after another.</summary>
    /// <param name="parameters">The argument block, laid out as <see cref="PtxEntry.Parameters"/> says.</param>
    /// <exception cref="PtxException">The kernel broke a rule; one line that says where.</exception>
    public void Run(in LaunchShape shape, byte* parameters, long firstBlock, long blockCount)
    {
        bool linear = shape.Block.X % 32 == 0 || (shape.Block.Y == 1 && shape.Block.Z == 1);
        var kernel = KernelFor(linear);
        var idle = _idle[linear ? 0 : 1];
        var workspace = idle.Take() ?? new Workspace(kernel, _buffers);
        workspace.Prepare(shape, KernelProgram.DynamicSharedStart(_entry) + shape.DynamicSharedBytes);
        int warps = (int)((shape.Block.Count + 31) / 32);
        var (x, y, z) = ((int)(firstBlock % shape.Grid.X), (int)(firstBlock / shape.Grid.X % shape.Grid.Y), (int)(firstBlock / shape.Grid.X / shape.Grid.Y));
        var last = (Number: -1, Method: default(Segment));
        for (long left = blockCount; left > 0; left--)
        {
            workspace.StartBlock(parameters, x, y, z);
            RunBlock(kernel, workspace, warps, ref last);
            // Not by division, which takes as long as a short warp.
            if (++x < shape.Grid.X) continue;
            x = 0;
            if (++y < shape.Grid.Y) continue;
            (y, z) = (0, z + 1);
        }
        if (!idle.TryReturn(workspace)) workspace.Dispose();
    }

    public void Dispose()
    {
        foreach (var idle in _idle) while (idle.Take() is { } workspace) workspace.Dispose();
    }

    /// <param name="last">The method that ran last: most often the next is the same.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)] // for every block of every kernel, and as long as a short warp
    private static void RunBlock(CompiledKernel kernel, Workspace workspace, int warps, ref (int Number, Segment? Method) last)
    {
        int* resume = workspace.Resume;
        for (bool running = true; running;)
        {
            running = false;
            for (int w = 0; w < warps; w++)
            {
                int at = resume[w];
                if (at < 0) continue;
                int outcome;
                do
                {
                    if (at != last.Number)
                    {
                        last = (at, kernel.SegmentOf(at));
                        workspace.EnsureArena();
                    }
                    outcome = last.Method!(workspace.States + w);
                    at = outcome >> 1;
                }
                while (outcome > 0 && (outcome & 1) != 0);
                if (outcome == Outcome.Trapped) throw workspace.Fault(w, "the kernel executed trap");
                if (outcome == Outcome.DivergentBarrier) throw workspace.Fault(w, "divergent barrier: live threads of this warp are elsewhere");
                if (outcome == Outcome.OutOfBounds) throw workspace.Refused(w);
                resume[w] = outcome < 0 ? Outcome.Exited : at;
                running |= outcome >= 0;
            }
        }
    }

    private CompiledKernel KernelFor(bool linear) => Volatile.Read(ref _kernels[linear ? 0 : 1]) ?? Make(linear);

    // A method of its own: where a closure is made, its object is made on every way through the method, and a launch comes here many times.
    private CompiledKernel Make(bool linear)
    {
        var kernel = Compiled.GetOrCreateValue(_entry).GetOrAdd((_vectorBits, linear, _buffers is not null), key => new(() => Compile(linear))).Value;
        Volatile.Write(ref _kernels[linear ? 0 : 1], kernel);
        return kernel;
    }

    private CompiledKernel Compile(bool linear)
    {
        var kernel = new CompiledKernel(_entry, _vectorBits, linear, checksBounds: _buffers is not null);
        kernel.NumberOf(new ResumePoint(Daring.Together, 0, AtBranch: false));
        kernel.NumberOf(new ResumePoint(Daring.Apart, 0, AtBranch: false));
        return kernel;
    }
}
