using System.Runtime.InteropServices;
using ClipCuda.Ptx;
using ClipCuda.Ptx.Compiler;

namespace ClipCuda.Devices;

/// <summary>
/// The CPU as a device: memory is the process's own, kernels are PTX run block by block on a pool of threads, GEMM is
/// <see cref="CpuGemm"/>. Every call is complete when it returns. With checks (<c>cpu:check</c>) each buffer lies between two guard
/// zones, and a <see cref="MemoryMap"/> knows which bytes are live and which have been written; kernels and GEMM obey it.
/// </summary>
internal sealed unsafe class CpuDevice : Device
{
    private const int GuardBytes = CpuMemory.Alignment;
    private const byte GuardValue = 0xA5;
    private const long WorthAsking = 1 << 20; // bytes; below, an allocation does not ask the system what is free

    private readonly MemoryMap? _map;

    /// <summary>What compiled kernels may access, where that is checked.</summary>
    private readonly MemoryMap? _buffers;
    private readonly WorkerPool _pool;
    private readonly CpuGemm _gemm;
    private readonly Dictionary<Kernel, Program> _programs = [];
    private readonly Action<long, long> _runBlocks;
    private readonly CpuEngine _engine;

    // The launch that is running; set by the caller, read by the workers.
    private Program _program;
    private LaunchShape _shape;
    private byte* _parameters;
    private KernelCounters? _counters;

    /// <summary>What is asked for while it is recorded.</summary>
    private List<Action>? _recording;

    /// <param name="threads">0 or less: one for each core this process may use.</param>
    public CpuDevice(int threads, CpuEngine engine)
        : this(threads, engine, engine.VectorBits) { }

    /// <param name="vectorBits">What GEMM uses: 128, 256 or 512; 0 for what the machine accelerates.</param>
    internal CpuDevice(int threads, bool check, int vectorBits = 0)
        : this(threads, check ? CpuEngine.Check : CpuEngine.Fastest, vectorBits) { }

    private CpuDevice(int threads, CpuEngine engine, int vectorBits)
    {
        _engine = engine;
        bool check = engine.Checks;
        _map = check ? new MemoryMap() : null;
        _buffers = engine.ChecksBounds ? new MemoryMap(tracksWrites: false) : null;
        _pool = new WorkerPool(threads > 0 ? threads : Environment.ProcessorCount);
        _gemm = new CpuGemm(_pool, vectorBits);
        _runBlocks = RunBlocks;
        Description = $"CPU, {_pool.Threads} thread{(_pool.Threads == 1 ? "" : "s")}, {engine.Description}";
    }

    public override string Name => _engine.DeviceName;

    public override string Description { get; }

    public override long FreeBytes => SystemMemory.FreeBytes();

    public override bool Captures => true;

    public override bool ChecksBounds => _map is not null;

    public override KernelModule LoadModule(string name, string ptx) => new(this, KernelModule.Parse(name, ptx));

    protected override void Wait()
    {
        foreach (var buffer in Live) CheckGuards(buffer);
    }

    /// <summary>Runs the blocks of the grid on all threads, a few at a time.</summary>
    internal override void Launch(Kernel kernel, in LaunchShape shape, ReadOnlySpan<byte> parameters)
    {
        if (_recording is not null)
        {
            Record(kernel, shape, parameters.ToArray());
            return;
        }
        if (!_programs.TryGetValue(kernel, out var program)) _programs.Add(kernel, program = Prepare(kernel.Entry));
        fixed (byte* pinned = parameters)
        {
            (_program, _shape) = (program, shape);
            _parameters = pinned;
            _counters = Profile is not null && _map is not null ? new KernelCounters(kernel.Entry, _map.StartLaunch()) : null;
            long blocks = shape.Grid.Count;
            if (program.InOrder)
            {
                RunBlocks(0, blocks);
            }
            else
            {
                _pool.Run(blocks, Math.Max(1, blocks / (8 * _pool.Threads)), _runBlocks);
            }
            if (_counters is not null) Profile!.Count(kernel.Name, _counters);
        }
    }

    protected override void Upload(ReadOnlySpan<byte> source, DevicePointer destination)
    {
        source.CopyTo(new Span<byte>((void*)destination.Address, source.Length));
        _map?.MarkInitialised(destination.Address, source.Length);
    }

    protected override void FillPiece(DevicePointer destination, int bytes, Action<Span<byte>> write)
    {
        write(new Span<byte>((void*)destination.Address, bytes));
        _map?.MarkInitialised(destination.Address, bytes);
    }

    protected override void Download(DevicePointer source, Span<byte> destination)
    {
        CheckInitialised(source, destination.Length, "Copy to the host");
        new ReadOnlySpan<byte>((void*)source.Address, destination.Length).CopyTo(destination);
    }

    protected override void CopyWithin(DevicePointer source, DevicePointer destination, long bytes)
    {
        if (_recording is not null)
        {
            RecordCopy(source, destination, bytes);
            return;
        }
        CheckInitialised(source, bytes, "Copy");
        Buffer.MemoryCopy((void*)source.Address, (void*)destination.Address, bytes, bytes);
        _map?.MarkInitialised(destination.Address, bytes);
    }

    protected override void SetToZero(DevicePointer destination, long bytes)
    {
        if (_recording is not null)
        {
            RecordClear(destination, bytes);
            return;
        }
        NativeMemory.Clear((void*)destination.Address, (nuint)bytes);
        _map?.MarkInitialised(destination.Address, bytes);
    }

    protected override void Multiply(in GemmCall call)
    {
        if (_recording is not null)
        {
            Record(call);
            return;
        }
        if (_map is not null) CheckInputs(call);
        _gemm.Run(call);
        if (_map is not null) MarkOutput(call);
    }

    protected override ulong AllocateMemory(long bytes, string label)
    {
        // Linux grants what it does not have, and kills the process when it writes there.
        if (bytes >= WorthAsking && FreeBytes is var free && bytes > free)
            throw new DeviceException($"Out of memory: '{label}' needs {bytes} bytes, {free} are free.");
        if (_map is null)
        {
            ulong address = (ulong)CpuMemory.Allocate(bytes);
            _buffers?.Add(address, bytes, label);
            return address;
        }
        if (bytes > Array.MaxLength) throw new DeviceException($"'{label}' needs {bytes} bytes; cpu:check can watch over buffers of {Array.MaxLength}.");
        byte* memory = CpuMemory.Allocate(bytes + 2 * GuardBytes);
        new Span<byte>(memory, GuardBytes).Fill(GuardValue);
        new Span<byte>(memory + GuardBytes + bytes, GuardBytes).Fill(GuardValue);
        _map.Add((ulong)(memory + GuardBytes), bytes, label);
        return (ulong)(memory + GuardBytes);
    }

    protected override void FreeMemory(DeviceBuffer buffer)
    {
        try
        {
            CheckGuards(buffer);
        }
        finally
        {
            _map?.Remove(buffer.Address);
            _buffers?.Remove(buffer.Address);
            CpuMemory.Free((byte*)buffer.Address - (_map is null ? 0 : GuardBytes));
        }
    }

    protected override void BeginCapture() => _recording = [];

    protected override DeviceGraph EndCapture(IReadOnlyList<DeviceBuffer> used)
    {
        var graph = new CpuGraph(this, _recording!, used);
        _recording = null;
        return graph;
    }

    protected override void AbandonCapture() => _recording = null;

    // Methods of their own: where a closure is made, its object is made on every way through the method.
    private void Record(Kernel kernel, LaunchShape shape, byte[] parameters) => _recording!.Add(() => Launch(kernel, shape, parameters));

    private void Record(GemmCall call) => _recording!.Add(() => Multiply(call));

    private void RecordCopy(DevicePointer source, DevicePointer destination, long bytes) => _recording!.Add(() => CopyWithin(source, destination, bytes));

    private void RecordClear(DevicePointer destination, long bytes) => _recording!.Add(() => SetToZero(destination, bytes));

    private void RunBlocks(long first, long count)
    {
        // Where accesses are checked, so is that nothing relies on the order of blocks: see KernelProgram.Run.
        if (_map is not null && !_program.InOrder) first = _shape.Grid.Count - first - count;
        if (_counters is not { } total)
        {
            _program.Run(_shape, _parameters, first, count, null);
            return;
        }
        var counters = total.Another();
        _program.Run(_shape, _parameters, first, count, counters);
        lock (total) total.Add(counters);
    }

    private Program Prepare(PtxEntry entry)
    {
        bool inOrder = entry.HasAtomics;
        if (_engine.VectorBits == 0) return new Program(KernelProgram.Create(entry, _map, _engine.StepLimit), null, inOrder);
        if (CompiledProgram.TryCreate(entry, _engine.VectorBits, out string reason, _buffers) is { } compiled) return new Program(null, compiled, inOrder);
        Console.Error.WriteLine($"Kernel {entry.Name} is interpreted, which is slower: {reason}.");
        return new Program(KernelProgram.Create(entry, null), null, inOrder);
    }

    protected override void Dispose(bool disposing)
    {
        _pool.Dispose();
        foreach (var program in _programs.Values) program.Compiled?.Dispose();
        _gemm.Dispose();
        base.Dispose(disposing);
    }

    private void CheckGuards(DeviceBuffer buffer)
    {
        if (_map is null) return;
        byte* start = (byte*)buffer.Address;
        int before = new ReadOnlySpan<byte>(start - GuardBytes, GuardBytes).IndexOfAnyExcept(GuardValue);
        if (before >= 0) throw new DeviceException($"Memory {GuardBytes - before} bytes before the start of buffer '{buffer.Label}' was overwritten.");
        int after = new ReadOnlySpan<byte>(start + buffer.Bytes, GuardBytes).IndexOfAnyExcept(GuardValue);
        if (after >= 0) throw new DeviceException($"Memory {after} bytes past the end of buffer '{buffer.Label}' was overwritten.");
    }

    private void CheckInputs(in GemmCall call)
    {
        if (call.K > 0 && call.Alpha != 0)
        {
            CheckInput(call, "A", call.A, call.A.Transposed ? call.K : call.M, call.A.Transposed ? call.M : call.K);
            CheckInput(call, "B", call.B, call.B.Transposed ? call.N : call.K, call.B.Transposed ? call.K : call.N);
        }
        if (call.Beta != 0) CheckInput(call, "C", call.C, call.M, call.N);
    }

    private void CheckInput(in GemmCall call, string name, in GemmOperand operand, int rows, int columns)
    {
        string what = $"GEMM of {call.M}×{call.N}×{call.K}, operand {name}";
        for (int batch = 0; batch < (operand.BatchStride == 0 ? 1 : call.Batch); batch++)
        {
            for (int row = 0; row < rows; row++) CheckInitialised(operand.Data + RowOffset(operand, batch, row), (long)columns * sizeof(float), what);
        }
    }

    private void MarkOutput(in GemmCall call)
    {
        for (int batch = 0; batch < call.Batch; batch++)
        {
            for (int row = 0; row < call.M; row++) _map!.MarkInitialised(call.C.Data.Address + (ulong)RowOffset(call.C, batch, row), (long)call.N * sizeof(float));
        }
    }

    private static long RowOffset(in GemmOperand operand, int batch, int row) =>
        (batch * operand.BatchStride + (long)row * operand.LeadingDimension) * sizeof(float);

    private void CheckInitialised(DevicePointer source, long bytes, string what)
    {
        if (_map?.FirstUninitialised(source.Address, bytes) is >= 0 and var first)
            throw new DeviceException($"{what}: reads uninitialised memory at byte {source.Offset + first} of buffer '{source.Buffer!.Label}'.");
    }

    /// <summary>A kernel on the engine that runs it.</summary>
    /// <param name="InOrder">Its blocks run one after another on one thread; see <see cref="PtxEntry.HasAtomics"/>, which looks at every instruction.</param>
    private readonly record struct Program(KernelProgram? Interpreted, CompiledProgram? Compiled, bool InOrder)
    {
        public void Run(in LaunchShape shape, byte* parameters, long first, long count, KernelCounters? counters)
        {
            if (Compiled is not null) Compiled.Run(shape, parameters, first, count);
            else Interpreted!.Run(shape, parameters, first, count, counters);
        }
    }
}
