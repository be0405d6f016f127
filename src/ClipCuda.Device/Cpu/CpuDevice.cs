using System.Runtime.InteropServices;
using ClipCuda.Ptx;

namespace ClipCuda.Devices;

/// <summary>
/// The CPU as a device: memory is the process's own, kernels are PTX run block by block on a pool of threads, GEMM is
/// <see cref="CpuGemm"/>. Every call is complete when it returns. With checks (<c>cpu:check</c>) each buffer lies between two guard zones.
/// </summary>
internal sealed unsafe class CpuDevice : Device
{
    private const int GuardBytes = CpuMemory.Alignment;
    private const byte GuardValue = 0xA5;
    private static readonly long MemoryLimit = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;

    private readonly bool _check;
    private readonly WorkerPool _pool;
    private readonly CpuGemm _gemm;

    public CpuDevice(int threads, bool check)
        : this(threads, check, GemmKernel.Available) { }

    internal CpuDevice(int threads, bool check, params GemmKernel[] gemmKernels)
    {
        _check = check;
        _pool = new WorkerPool(threads > 0 ? threads : Environment.ProcessorCount);
        _gemm = new CpuGemm(_pool, gemmKernels);
        Description = $"CPU, {_pool.Threads} thread{(_pool.Threads == 1 ? "" : "s")}, {gemmKernels[0].Name}, PTX interpreter{(check ? " with checks" : "")}";
    }

    public override string Name => _check ? "cpu:check" : "cpu";

    public override string Description { get; }

    public override KernelModule LoadModule(string name, string ptx) => throw new PtxException($"{name}: this build has no PTX engine.");

    public override void Synchronize()
    {
        foreach (var buffer in Live) CheckGuards(buffer);
    }

    internal override void Launch(Kernel kernel, in LaunchShape shape, ReadOnlySpan<byte> parameters) => throw new PtxException("No PTX engine.");

    protected override void Upload(ReadOnlySpan<byte> source, DevicePointer destination) => source.CopyTo(Bytes(destination, source.Length));

    protected override void Download(DevicePointer source, Span<byte> destination) => Bytes(source, destination.Length).CopyTo(destination);

    protected override void CopyWithin(DevicePointer source, DevicePointer destination, long bytes) =>
        Buffer.MemoryCopy((void*)source.Address, (void*)destination.Address, bytes, bytes);

    protected override void SetToZero(DevicePointer destination, long bytes) =>
        NativeMemory.Clear((void*)destination.Address, (nuint)bytes);

    protected override void Multiply(in GemmCall call) => _gemm.Run(call);

    protected override ulong AllocateMemory(long bytes, string label)
    {
        if (bytes > MemoryLimit - LiveBytes)
            throw new DeviceException($"Out of memory: '{label}' needs {bytes} bytes, {LiveBytes} of {MemoryLimit} are in use.");
        if (!_check) return (ulong)CpuMemory.Allocate(bytes);
        byte* memory = CpuMemory.Allocate(bytes + 2 * GuardBytes);
        new Span<byte>(memory, GuardBytes).Fill(GuardValue);
        new Span<byte>(memory + GuardBytes + bytes, GuardBytes).Fill(GuardValue);
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
            CpuMemory.Free((byte*)buffer.Address - (_check ? GuardBytes : 0));
        }
    }

    protected override void Dispose(bool disposing)
    {
        _pool.Dispose();
        _gemm.Dispose();
        base.Dispose(disposing);
    }

    private static Span<byte> Bytes(DevicePointer pointer, int count) => new((void*)pointer.Address, count);

    private void CheckGuards(DeviceBuffer buffer)
    {
        if (!_check) return;
        byte* start = (byte*)buffer.Address;
        int before = new ReadOnlySpan<byte>(start - GuardBytes, GuardBytes).IndexOfAnyExcept(GuardValue);
        if (before >= 0) throw new DeviceException($"Memory {GuardBytes - before} bytes before the start of buffer '{buffer.Label}' was overwritten.");
        int after = new ReadOnlySpan<byte>(start + buffer.Bytes, GuardBytes).IndexOfAnyExcept(GuardValue);
        if (after >= 0) throw new DeviceException($"Memory {after} bytes past the end of buffer '{buffer.Label}' was overwritten.");
    }
}
