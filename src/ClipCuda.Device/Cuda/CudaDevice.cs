using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using ClipCuda.Ptx;

namespace ClipCuda.Devices;

/// <summary>
/// An NVIDIA GPU through the driver API and cuBLAS, which are looked for at run time alone. It computes on one stream of the device's primary context, in the
/// order of the calls, and copies from the host on a second one; memory comes from an arena, so that a training step asks the driver for none.
/// The driver compiles PTX for the GPU when a module is loaded and keeps what it compiled.
/// Every failing call is an exception that names it; when the device is closed, everything is given back even if a call failed before.
/// </summary>
internal sealed unsafe class CudaDevice : Device
{
    /// <summary>The name that <c>--device</c> takes, alone or with a number.</summary>
    public const string Kind = "cuda";

    private const int LeastCapability = 75, JitLogBytes = 8192;

    /// <summary>What NVIDIA recommends for cuBLAS (cuBLAS manual, cublasSetWorkspace): 32 MiB on Hopper and later, else 4 MiB.</summary>
    private const long LargeBlasWorkspace = 32 << 20, BlasWorkspace = 4 << 20;

    private static long OpenedSoFar;

    [ThreadStatic]
    private static long CurrentDevice;

    private readonly long _id = Interlocked.Increment(ref OpenedSoFar);
    private readonly CudaBinding _binding;
    private readonly int _ordinal;
    private readonly bool _tf32;
    private readonly CudaDriver _cuda;
    private readonly CuBlas _blas;
    private readonly Dictionary<Kernel, nint> _functions = [];
    private readonly List<nint> _modules = [];
    private readonly HashSet<CudaGraph> _graphs = [];
    private readonly CudaArena _arena;
    private readonly bool _allocatesInOrder;
    private nint _context, _compute, _blasHandle, _timerStart, _timerStop;
    private ulong _workspace;
    private CudaStaging? _staging;
    private bool _failed;
    private DeviceException? _cleanupError;

    /// <exception cref="DeviceException">There is no such GPU, or it, its driver or cuBLAS cannot be used; the message says why.</exception>
    public CudaDevice(CudaBinding binding, int ordinal, bool tf32)
    {
        (_binding, _ordinal, _tf32) = (binding, ordinal, tf32);
        _cuda = new CudaDriver(binding);
        var gpu = CudaDeviceInfo.Read(_cuda, ordinal, binding.Kind);
        if (gpu.Capability < LeastCapability)
            throw new DeviceException($"{gpu.Name} has compute capability {gpu.CapabilityText}; ClipCuda's kernels need {LeastCapability / 10}.{LeastCapability % 10}.");
        _blas = new CuBlas(binding);
        _arena = new CudaArena(AllocateFromDriver, FreeToDriver);
        _allocatesInOrder = gpu.HasMemoryPools;
        try
        {
            nint context;
            Check(_cuda.PrimaryCtxRetain(&context, gpu.Handle), "cuDevicePrimaryCtxRetain");
            _context = context;
            MakeCurrent();
            _compute = CreateStream();
            _timerStart = CreateEvent(0);
            _timerStop = CreateEvent(0);
            _staging = new CudaStaging(this, _cuda, _compute);
            long workspace = gpu.Capability >= 90 ? LargeBlasWorkspace : BlasWorkspace;
            _workspace = AllocateMemory(workspace, "cuBLAS workspace");
            nint handle = 0;
            int status = _blas.Create(&handle, _compute, _workspace, workspace, out string call);
            _blasHandle = handle;
            CheckBlas(status, call);
            Description = $"{gpu.Describe()}, cuBLAS {_blas.Version(handle)}{(tf32 ? ", TF32" : "")}{(binding.Note is { } note ? ", " + note : "")}";
        }
        catch
        {
            Close();
            throw;
        }
    }

    public override string Name => $"{_binding.Kind}:{_ordinal}";

    public override string Description { get; }

    public override long FreeBytes
    {
        get
        {
            MakeCurrent();
            nuint free, total;
            Check(_cuda.MemGetInfo(&free, &total), "cuMemGetInfo_v2");
            return (long)free + _arena.IdleBytes;
        }
    }

    public override bool HasOwnMemory => true;

    public override bool Captures => true;

    /// <summary>The number in <c>cuda</c> (0) or <c>cuda:N</c>, or those of another kind; null for other names.</summary>
    public static int? ParseName(string name, string kind = Kind)
    {
        if (name == kind) return 0;
        return name.StartsWith(kind + ":", StringComparison.Ordinal) && int.TryParse(name.AsSpan(kind.Length + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int ordinal)
            ? ordinal
            : null;
    }

    /// <exception cref="DeviceException">The driver cannot compile it; the message has the compiler's own.</exception>
    public override KernelModule LoadModule(string name, string ptx)
    {
        var module = new KernelModule(this, KernelModule.Parse(name, ptx));
        MakeCurrent();
        nint handle = LoadImage(name, ptx);
        _modules.Add(handle);
        foreach (var kernel in module.Kernels)
        {
            nint function;
            fixed (byte* entry = Encoding.UTF8.GetBytes(kernel.Name + '\0'))
            {
                Check(_cuda.ModuleGetFunction(&function, handle, entry), "cuModuleGetFunction", $"{kernel.Name} of {name}");
            }
            _functions.Add(kernel, function);
        }
        return module;
    }

    internal override void Launch(Kernel kernel, in LaunchShape shape, ReadOnlySpan<byte> parameters)
    {
        MakeCurrent();
        var (grid, block) = (shape.Grid, shape.Block);
        fixed (byte* arguments = parameters)
        {
            nuint bytes = (nuint)parameters.Length;
            void** extra = stackalloc void*[] { (void*)CudaDriver.LaunchBufferPointer, arguments, (void*)CudaDriver.LaunchBufferSize, &bytes, null };
            int result = _cuda.LaunchKernel(
                _functions[kernel], (uint)grid.X, (uint)grid.Y, (uint)grid.Z, (uint)block.X, (uint)block.Y, (uint)block.Z, (uint)shape.DynamicSharedBytes, _compute, null, extra);
            if (result != CudaDriver.Success) Fail(result, "cuLaunchKernel", kernel.Name);
        }
    }

    protected override void Multiply(in GemmCall call)
    {
        if (call.M == 0 || call.N == 0 || call.Batch == 0) return;
        MakeCurrent();
        int status = _blas.Gemm(_blasHandle, call, _tf32, out string name);
        if (status != 0) CheckBlas(status, name, $"{call.M}×{call.N}×{call.K}");
    }

    protected override void Wait()
    {
        MakeCurrent();
        Check(_cuda.StreamSynchronize(_compute), "cuStreamSynchronize");
        Waits++;
    }

    protected override void Upload(ReadOnlySpan<byte> source, DevicePointer destination)
    {
        MakeCurrent();
        _staging!.Upload(source, destination.Address, idle: destination.Buffer!.LastUse < Waits);
    }

    protected override void Download(DevicePointer source, Span<byte> destination)
    {
        if (destination.IsEmpty) return;
        MakeCurrent();
        _staging!.Download(source.Address, destination);
        Waits++;
    }

    protected override void CopyWithin(DevicePointer source, DevicePointer destination, long bytes)
    {
        if (bytes == 0) return;
        MakeCurrent();
        Check(_cuda.MemcpyDtoDAsync(destination.Address, source.Address, (nuint)bytes, _compute), "cuMemcpyDtoDAsync_v2");
    }

    protected override void SetToZero(DevicePointer destination, long bytes)
    {
        if (bytes == 0) return;
        MakeCurrent();
        ulong address = destination.Address;
        if (address % sizeof(uint) == 0 && bytes % sizeof(uint) == 0)
            Check(_cuda.MemsetD32Async(address, 0, (nuint)(bytes / sizeof(uint)), _compute), "cuMemsetD32Async");
        else
            Check(_cuda.MemsetD8Async(address, 0, (nuint)bytes, _compute), "cuMemsetD8Async");
    }

    protected override ulong AllocateMemory(long bytes, string label)
    {
        MakeCurrent();
        return _arena.Allocate(bytes) ?? throw OutOfMemory(bytes, label);
    }

    protected override void FreeMemory(DeviceBuffer buffer) => _arena.Free(buffer.Address);

    protected override void BeginCapture()
    {
        MakeCurrent();
        Check(_cuda.StreamBeginCapture(_compute, CudaDriver.CaptureThreadLocal), "cuStreamBeginCapture_v2");
    }

    protected override DeviceGraph EndCapture(IReadOnlyList<DeviceBuffer> used)
    {
        nint graph, executable;
        Check(_cuda.StreamEndCapture(_compute, &graph), "cuStreamEndCapture");
        int result = _cuda.GraphInstantiate(&executable, graph, 0), destroyed = _cuda.GraphDestroy(graph);
        Check(result, "cuGraphInstantiateWithFlags");
        if (destroyed != CudaDriver.Success)
        {
            Release(_cuda.GraphExecDestroy(executable), "cuGraphExecDestroy");
            Fail(destroyed, "cuGraphDestroy", where: null);
        }
        var captured = new CudaGraph(this, _cuda, executable, _compute, used);
        _graphs.Add(captured);
        return captured;
    }

    protected override void AbandonCapture()
    {
        // The stream leaves capture mode whatever this returns; after a failed call it gives no graph.
        nint graph = 0;
        _ = _cuda.StreamEndCapture(_compute, &graph);
        if (graph != 0) Release(_cuda.GraphDestroy(graph), "cuGraphDestroy");
    }

    protected override void StartTimer()
    {
        MakeCurrent();
        Check(_cuda.EventRecord(_timerStart, _compute), "cuEventRecord");
    }

    protected override double StopTimer()
    {
        float milliseconds;
        Check(_cuda.EventRecord(_timerStop, _compute), "cuEventRecord");
        Check(_cuda.EventSynchronize(_timerStop), "cuEventSynchronize");
        Check(_cuda.EventElapsedTime(&milliseconds, _timerStart, _timerStop), "cuEventElapsedTime");
        return milliseconds / 1e3;
    }

    /// <exception cref="DeviceException">Something could not be given back, and no call had failed before.</exception>
    protected override void Dispose(bool disposing)
    {
        Close();
        base.Dispose(disposing);
        if (_cleanupError is not null && !_failed) throw _cleanupError;
    }

    /// <summary>Makes the device's context the calling thread's own; contexts are per thread.</summary>
    internal void MakeCurrent()
    {
        if (CurrentDevice == _id) return;
        Check(_cuda.CtxSetCurrent(_context), "cuCtxSetCurrent");
        CurrentDevice = _id;
    }

    internal void Check(int result, string call, string? where = null)
    {
        if (result != CudaDriver.Success) Fail(result, call, where);
    }

    /// <summary>Notes that giving something back failed; <see cref="Dispose(bool)"/> throws it when everything is given back.</summary>
    internal void Release(int result, string call)
    {
        if (result != CudaDriver.Success) _cleanupError ??= _cuda.Error(result, call, "while closing the device");
    }

    internal nint CreateStream()
    {
        nint stream;
        Check(_cuda.StreamCreate(&stream, CudaDriver.NonBlocking), "cuStreamCreate");
        return stream;
    }

    internal nint CreateEvent(uint flags)
    {
        nint mark;
        Check(_cuda.EventCreate(&mark, flags), "cuEventCreate");
        return mark;
    }

    internal void DestroyStream(nint stream)
    {
        if (stream != 0) Release(_cuda.StreamDestroy(stream), "cuStreamDestroy_v2");
    }

    internal void DestroyEvent(nint mark)
    {
        if (mark != 0) Release(_cuda.EventDestroy(mark), "cuEventDestroy_v2");
    }

    internal void Forget(CudaGraph graph) => _graphs.Remove(graph);

    private nint LoadImage(string name, string ptx)
    {
        nint module;
        byte* information = stackalloc byte[JitLogBytes], errors = stackalloc byte[JitLogBytes];
        (information[0], errors[0]) = (0, 0);
        int* options = stackalloc int[] { CudaDriver.JitInfoLog, CudaDriver.JitInfoLogBytes, CudaDriver.JitErrorLog, CudaDriver.JitErrorLogBytes };
        void** values = stackalloc void*[] { information, (void*)JitLogBytes, errors, (void*)JitLogBytes };
        fixed (byte* image = Encoding.UTF8.GetBytes(ptx + '\0'))
        {
            int result = _cuda.ModuleLoadDataEx(&module, image, 4, options, values);
            string log = result == CudaDriver.Success ? "" : $"{Marshal.PtrToStringUTF8((nint)errors)} {Marshal.PtrToStringUTF8((nint)information)}".Trim();
            Check(result, "cuModuleLoadDataEx", log.Length == 0 ? name : $"{name}: {log}");
        }
        return module;
    }

    private ulong? AllocateFromDriver(long bytes)
    {
        ulong address;
        string call = _allocatesInOrder ? "cuMemAllocAsync" : "cuMemAlloc_v2";
        int result = _allocatesInOrder ? _cuda.MemAllocAsync(&address, (nuint)bytes, _compute) : _cuda.MemAlloc(&address, (nuint)bytes);
        if (result == CudaDriver.OutOfMemory) return null;
        Check(result, call);
        return address;
    }

    private void FreeToDriver(ulong address)
    {
        if (_allocatesInOrder) Release(_cuda.MemFreeAsync(address, _compute), "cuMemFreeAsync");
        else Release(_cuda.MemFree(address), "cuMemFree_v2");
    }

    private DeviceException OutOfMemory(long bytes, string label)
    {
        _failed = true;
        nuint free = 0, total = 0;
        bool known = _cuda.MemGetInfo(&free, &total) == CudaDriver.Success;
        string where = $"'{label}' needs {bytes} bytes{(known ? $", {free} of {total} are free" : "")}";
        return _cuda.Error(CudaDriver.OutOfMemory, _allocatesInOrder ? "cuMemAllocAsync" : "cuMemAlloc_v2", where);
    }

    private void Fail(int result, string call, string? where)
    {
        _failed = true;
        throw _cuda.Error(result, call, where);
    }

    private void CheckBlas(int status, string call, string? where = null)
    {
        if (status == 0) return;
        _failed = true;
        throw CuBlas.Error(status, call, where);
    }

    /// <summary>Gives everything back, newest first, whatever fails.</summary>
    private void Close()
    {
        if (_context == 0) return;
        if (CurrentDevice != _id) Release(_cuda.CtxSetCurrent(_context), "cuCtxSetCurrent");
        if (_compute != 0) Release(_cuda.StreamSynchronize(_compute), "cuStreamSynchronize");
        _staging?.Finish();
        foreach (var graph in _graphs.ToArray()) graph.Dispose();
        if (_blasHandle != 0 && _blas.Destroy(_blasHandle) is not 0 and var status) _cleanupError ??= CuBlas.Error(status, "cublasDestroy_v2", "while closing the device");
        if (_workspace != 0) _arena.Free(_workspace);
        _arena.Trim();
        _staging?.Dispose();
        DestroyEvent(_timerStart);
        DestroyEvent(_timerStop);
        foreach (nint module in _modules) Release(_cuda.ModuleUnload(module), "cuModuleUnload");
        if (_compute != 0)
        {
            // Stream-ordered frees have to be over before the stream goes.
            Release(_cuda.StreamSynchronize(_compute), "cuStreamSynchronize");
            DestroyStream(_compute);
        }
        Release(_cuda.CtxSetCurrent(0), "cuCtxSetCurrent");
        CurrentDevice = 0;
        Release(_cuda.PrimaryCtxRelease(_ordinal), "cuDevicePrimaryCtxRelease_v2");
        (_context, _compute, _blasHandle, _workspace) = (0, 0, 0, 0);
    }
}
