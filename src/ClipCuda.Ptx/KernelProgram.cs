
namespace ClipCuda.Ptx;

/// <summary>
/// A kernel ready to run on the calling thread: the interpreter of one entry, 128 lanes an instruction. Safe to call from many threads at
/// once; each call borrows a workspace (register files, shared memory) that is kept for the next.
/// </summary>
public sealed unsafe class KernelProgram
{
    /// <summary>What no block that ends comes near.</summary>
    public const long DefaultStepLimit = 200_000_000;

    private readonly PtxEntry _entry;
    private readonly MemoryMap? _map;
    private readonly long _stepLimit;
    private readonly bool _backwards;
    private readonly Instruction[] _code;
    private readonly RegisterFile _file;

    /// <summary>128, or 32 where warps have to run one after another.</summary>
    private readonly int _groupThreads;
    private readonly Idle<Workspace> _idle = new();

    private KernelProgram(PtxEntry entry, MemoryMap? checks, long stepLimit)
    {
        _stepLimit = stepLimit;
        _entry = entry;
        _map = checks;
        bool atomics = entry.HasAtomics;
        _backwards = !atomics;
        _groupThreads = atomics || entry.HasNamedBarriers ? Lanes.WarpLanes : Lanes.Count;
        (_code, _file) = Decoder.Decode(entry, checks is not null);
    }

    /// <summary>Prepares an entry; with a map every access is checked against it.</summary>
    /// <param name="stepLimit">Instructions of 128 lanes that a block may take when it is checked; more, and the kernel counts as one that never ends.</param>
    /// <exception cref="PtxException">The entry holds an instruction that is not supported; names its line.</exception>
    public static KernelProgram Create(PtxEntry entry, MemoryMap? checks, long stepLimit = DefaultStepLimit) => new(entry, checks, stepLimit);

    /// <summary>Dynamic shared memory follows the static one, aligned for vector access.</summary>
    internal static int DynamicSharedStart(PtxEntry entry) => (entry.StaticSharedBytes + 127) / 128 * 128;

    /// <summary>Where a shared variable of an entry lies, a dynamic array too.</summary>
    internal static bool TrySharedStart(PtxEntry entry, string name, out int start)
    {
        bool found = entry.SharedOffsets.TryGetValue(name, out start);
        if (start == PtxBody.DynamicShared) start = DynamicSharedStart(entry);
        return found;
    }

    /// <inheritdoc cref="Run(in LaunchShape, byte*, long, long, KernelCounters?)"/>
    public void Run(in LaunchShape shape, byte* parameters, long firstBlock, long blockCount) => Run(shape, parameters, firstBlock, blockCount, counters: null);

    /// <summary>
    /// Runs blocks [firstBlock, firstBlock + blockCount) of the grid, x fastest, one after another; with checks from the last to the first, if there are no
    /// atomics: a kernel may not rely on an order, and one that does gives other results there.
    /// </summary>
    /// <param name="parameters">The argument block, laid out as <see cref="PtxEntry.Parameters"/> says.</param>
    /// <param name="counters">Where to count what runs; a program without checks counts nothing.</param>
    /// <exception cref="PtxException">A check failed, or the kernel broke a rule; one line that says where.</exception>
    public void Run(in LaunchShape shape, byte* parameters, long firstBlock, long blockCount, KernelCounters? counters)
    {
        int threads = (int)shape.Block.Count;
        int sharedBytes = DynamicSharedStart(_entry) + shape.DynamicSharedBytes;
        var workspace = _idle.Take() ?? new Workspace();
        workspace.Prepare(this, shape, threads, sharedBytes);
        if (workspace.Checker is { } checker) checker.Counters = counters;
        for (long i = 0; i < blockCount; i++)
        {
            if (_map is null) RunBlock<Unchecked>(workspace, shape, threads, sharedBytes, parameters, firstBlock + i);
            else RunBlock<Checked>(workspace, shape, threads, sharedBytes, parameters, _backwards ? firstBlock + blockCount - 1 - i : firstBlock + i);
        }
        _idle.TryReturn(workspace);
    }

    private void RunBlock<TChecks>(Workspace workspace, in LaunchShape shape, int threads, int sharedBytes, byte* parameters, long block)
        where TChecks : struct, IChecks
    {
        var (x, y, z) = ((int)(block % shape.Grid.X), (int)(block / shape.Grid.X % shape.Grid.Y), (int)(block / shape.Grid.X / shape.Grid.Y));
        if (TChecks.Enabled) workspace.Checker!.StartBlock(sharedBytes);
        int groups = (threads + _groupThreads - 1) / _groupThreads;
        for (int g = 0; g < groups; g++)
        {
            var group = workspace.Groups[g];
            group.BlockIndex = (x, y, z);
            group.Start(threads, workspace.Shared, parameters);
            _file.FillBlock(group.Lanes.Registers, x, y, z);
        }
        for (bool running = true; running;)
        {
            for (int g = 0; g < groups; g++)
            {
                if (workspace.Groups[g].Lanes.State == RunState.Running) workspace.Groups[g].Run<TChecks>();
            }
            running = Release(workspace.Groups, groups);
            if (TChecks.Enabled) workspace.Checker!.StartInterval();
        }
    }

    /// <summary>Lets groups go on whose barrier is complete: it has the threads it counts, or all that have not exited.</summary>
    private static bool Release(List<WarpGroup> groups, int count)
    {
        bool waiting = false, released = false;
        for (int g = 0; g < count; g++)
        {
            if (groups[g].Lanes.State != RunState.AtBarrier) continue;
            waiting = true;
            var (id, threads) = groups[g].Barrier;
            int arrived = 0, alive = 0;
            for (int other = 0; other < count; other++)
            {
                if (groups[other].Lanes.State == RunState.Exited) continue;
                alive++;
                if (groups[other].Lanes.State == RunState.AtBarrier && groups[other].Barrier.Id == id) arrived++;
            }
            // Warps count whole (PTX ISA 9.7.13.1).
            if (threads > 0 ? arrived * Lanes.WarpLanes < threads : arrived < alive) continue;
            released = true;
            for (int other = g; other < count; other++)
            {
                if (groups[other].Lanes.State == RunState.AtBarrier && groups[other].Barrier.Id == id) groups[other].Lanes.State = RunState.Running;
            }
        }
        if (waiting && !released)
        {
            var stuck = groups.Find(g => g.Lanes.State == RunState.AtBarrier)!;
            throw stuck.Fault(stuck.Code[stuck.Lanes.Pc - 1], $"deadlock: barrier {stuck.Barrier.Id} waits for threads that never come", 0);
        }
        return released;
    }

    /// <summary>Register files and shared memory for one block at a time.</summary>
    private sealed class Workspace
    {
        private LaunchShape _shape;
        private byte[] _sharedMemory = [];

        public List<WarpGroup> Groups { get; } = [];

        public SharedChecker? Checker { get; private set; }

        public byte* Shared { get; private set; }

        public void Prepare(KernelProgram program, in LaunchShape shape, int threads, int sharedBytes)
        {
            if (_sharedMemory.Length < sharedBytes + 128)
            {
                _sharedMemory = WarpGroup.AllocateAligned(sharedBytes, out byte* shared);
                Shared = shared;
            }
            if (program._map is not null) Checker ??= new SharedChecker(program._map, program._stepLimit);
            bool changed = _shape.Grid != shape.Grid || _shape.Block != shape.Block;
            for (int g = 0; g * program._groupThreads < threads; g++)
            {
                if (g == Groups.Count)
                {
                    Groups.Add(new WarpGroup(program._entry, program._code, g, program._file.Bytes, Checker, program._groupThreads));
                    (Groups[g].LocalStart, Groups[g].LocalStride) = (program._file.LocalMemory.Start, program._file.LocalStride);
                    program._file.FillConstants(Groups[g].Lanes.Registers);
                    changed = true;
                }
            }
            if (!changed) return;
            for (int g = 0; g < Groups.Count; g++)
            {
                Groups[g].Block = shape.Block;
                program._file.FillThreads(Groups[g].Lanes.Registers, Groups[g].FirstThread, shape);
            }
            _shape = shape;
        }
    }
}
