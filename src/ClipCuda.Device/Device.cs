using ClipCuda.Ptx;

namespace ClipCuda.Devices;

/// <summary>
/// The only seam between ops and hardware. Ops say what, a device says how: memory, copies, kernels from PTX, and GEMM.
/// Calls are ordered as they are made; <see cref="CopyToHost"/> and <see cref="Synchronize"/> wait for what came before.
/// Used from one thread at a time.
/// </summary>
public abstract class Device : IDisposable
{
    private readonly HashSet<DeviceBuffer> _live = [];

    /// <summary>The name <c>--device</c> takes: <c>cpu</c>, <c>cpu:check</c>.</summary>
    public abstract string Name { get; }

    /// <summary>One line for people: what it is and how wide, such as <c>CPU, 2 threads, Vector512, PTX interpreter</c>.</summary>
    public abstract string Description { get; }

    /// <summary>Buffers allocated and not yet disposed of; what a leak test counts.</summary>
    public int LiveBuffers => _live.Count;

    public long LiveBytes { get; private set; }

    /// <summary>Buffers allocated since the device was opened; a steady state adds none.</summary>
    public long Allocations { get; private set; }

    /// <summary>Allocates at least one byte of memory, aligned to 256 bytes, its contents undefined.</summary>
    /// <exception cref="DeviceException">There is not enough memory; the message says how much was asked for.</exception>
    public DeviceBuffer Allocate(long bytes, string label)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bytes);
        var buffer = new DeviceBuffer(this, AllocateMemory(bytes, label), bytes, label);
        _live.Add(buffer);
        LiveBytes += bytes;
        Allocations++;
        return buffer;
    }

    internal void Free(DeviceBuffer buffer)
    {
        _live.Remove(buffer);
        LiveBytes -= buffer.Bytes;
        FreeMemory(buffer.Address);
    }

    public abstract void CopyToDevice(ReadOnlySpan<byte> source, DevicePointer destination);

    public abstract void CopyToHost(DevicePointer source, Span<byte> destination);

    public abstract void Copy(DevicePointer source, DevicePointer destination, long bytes);

    /// <summary>Sets bytes to zero.</summary>
    public abstract void Clear(DevicePointer destination, long bytes);

    /// <summary>Parses and loads a PTX module. The name appears in errors.</summary>
    /// <exception cref="PtxException">The text is not PTX, or holds an instruction this device does not run.</exception>
    public abstract KernelModule LoadModule(string name, string ptx);

    /// <summary>C = alpha · op(A) · op(B) + beta · C on row-major float32 matrices; see <see cref="GemmCall"/>.</summary>
    public abstract void Gemm(in GemmCall call);

    /// <summary>Waits for everything asked for so far; an error of an earlier launch is thrown here at the latest.</summary>
    public abstract void Synchronize();

    internal abstract void Launch(Kernel kernel, in LaunchShape shape, ReadOnlySpan<byte> parameters);

    protected abstract ulong AllocateMemory(long bytes, string label);

    protected abstract void FreeMemory(ulong address);

    public void Dispose()
    {
        foreach (var buffer in _live.ToArray()) buffer.Dispose();
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    protected virtual void Dispose(bool disposing) { }

    /// <summary>Throws unless the range lies in a live buffer of this device.</summary>
    private protected static void CheckRange(DevicePointer pointer, long bytes, string what)
    {
        if (pointer.Buffer is not { } buffer)
            throw new DeviceException($"{what}: the device pointer is null.");
        if (buffer.IsDisposed)
            throw new DeviceException($"{what}: buffer '{buffer.Label}' has been freed.");
        if (bytes < 0 || bytes > pointer.Remaining)
            throw new DeviceException($"{what}: {bytes} bytes at offset {pointer.Offset} do not fit in buffer '{buffer.Label}' of {buffer.Bytes} bytes.");
    }
}

/// <summary>What went wrong on a device, in one line for the user.</summary>
public sealed class DeviceException : Exception
{
    public DeviceException(string message)
        : base(message) { }

    public DeviceException(string message, Exception inner)
        : base(message, inner) { }
}
