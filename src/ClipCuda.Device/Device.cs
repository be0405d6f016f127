using System.Diagnostics;
using ClipCuda.Ptx;

namespace ClipCuda.Devices;

/// <summary>
/// The only seam between ops and hardware. Ops say what, a device says how: memory, copies, kernels from PTX, and GEMM.
/// Calls are ordered as they are made; <see cref="CopyToHost"/> and <see cref="Synchronize"/> wait for what came before, the others need not.
/// Used from one thread at a time.
/// </summary>
public abstract class Device : IDisposable
{
    private const int PieceBytes = 1 << 24;

    private readonly HashSet<DeviceBuffer> _live = [];
    private HashSet<DeviceBuffer>? _captured;
    private long _timerStart;
    private bool _disposed;

    /// <summary>What <see cref="Open"/> takes here; <c>cuda</c> and <c>managedcuda</c> may be followed by a number.</summary>
    public static IReadOnlyList<string> Names { get; } =
        ["auto", .. CpuEngine.All.Select(e => e.DeviceName), CudaDevice.Kind, .. ManagedCudaPlugIn.IsThere ? [ManagedCudaPlugIn.Kind] : Array.Empty<string>()];

    /// <summary>Whether <see cref="Open"/> takes this name; whether there is such a device is another question.</summary>
    public static bool IsName(string name) => Names.Contains(name) || CudaDevice.ParseName(name) is not null || CudaDevice.ParseName(name, ManagedCudaPlugIn.Kind) is not null;

    /// <summary>
    /// Opens a device: <c>cpu</c>; <c>cpu:check</c>, with every memory access checked; <c>cpu:interpret</c>, without the compiler;
    /// <c>cpu:128</c>, <c>cpu:256</c> or <c>cpu:512</c>, with vectors of that width; <c>cuda</c> or <c>cuda:1</c>, a GPU by its number, and
    /// <c>managedcuda</c> or <c>managedcuda:1</c>, the same through the ManagedCuda packages, if their plug-in is there; or
    /// <c>auto</c>, the first GPU if there is one, else the CPU. A number of threads of 0 or less means one for each core this process may use.
    /// </summary>
    /// <param name="tf32">GEMMs may round their factors to TF32 (10 bits of fraction), which tensor cores multiply several times as fast.</param>
    /// <exception cref="ArgumentException">There is no device of that name, or it has no TF32.</exception>
    /// <exception cref="DeviceException">The GPU cannot be opened; the message says why.</exception>
    public static Device Open(string name, int threads, bool tf32 = false)
    {
        if (name == "auto") return OpenFastest(threads, tf32);
        if (CudaDevice.ParseName(name) is { } ordinal) return new CudaDevice(new LibraryBinding(), ordinal, tf32);
        if (CudaDevice.ParseName(name, ManagedCudaPlugIn.Kind) is { } managed) return new CudaDevice(ManagedCudaPlugIn.Binding, managed, tf32);
        var engine = CpuEngine.All.FirstOrDefault(e => e.DeviceName == name)
            ?? throw new ArgumentException($"Unknown device '{name}'; the devices are {string.Join(", ", Names)}.");
        if (tf32) throw new ArgumentException($"The device '{name}' has no TF32; leave out --tf32 or use --device cuda.");
        return new CpuDevice(threads, engine);
    }

    private static Device OpenFastest(int threads, bool tf32)
    {
        try
        {
            return new CudaDevice(new LibraryBinding(), 0, tf32) { Choice = "the first CUDA device" };
        }
        catch (DeviceException noGpu)
        {
            return new CpuDevice(threads, CpuEngine.Fastest) { Choice = $"no CUDA device: {noGpu.Message}{(tf32 ? " --tf32 has no effect." : "")}" };
        }
    }

    /// <summary>The name <c>--device</c> takes: <c>cpu</c>, <c>cpu:check</c>.</summary>
    public abstract string Name { get; }

    /// <summary>One line for people: what it is and how wide, such as <c>CPU, 2 threads, Vector512, PTX interpreter</c>.</summary>
    public abstract string Description { get; }

    /// <summary>Why <c>auto</c> took this device; null if it was named.</summary>
    public string? Choice { get; private init; }

    /// <summary><see cref="Description"/>, and why it was chosen if <c>auto</c> did.</summary>
    public string Announcement => Choice is null ? Description : $"{Description} (auto: {Choice})";

    /// <summary>Buffers allocated and not yet disposed of; what a leak test counts.</summary>
    public int LiveBuffers => _live.Count;

    public long LiveBytes { get; private set; }

    /// <summary>Bytes that can still be allocated, as far as the system says; limits of control groups count.</summary>
    public abstract long FreeBytes { get; }

    /// <summary>Whether the device's memory is another than the host's.</summary>
    public virtual bool HasOwnMemory => false;

    /// <summary>Bytes that can still be allocated on the host, as far as the system says; limits of control groups count.</summary>
    public static long FreeHostBytes => SystemMemory.FreeBytes();

    /// <summary>Whether kernels are held to the bounds of buffers: then whoever allocates should not round sizes up.</summary>
    public virtual bool ChecksBounds => false;

    private protected IReadOnlyCollection<DeviceBuffer> Live => _live;

    /// <summary>Buffers allocated since the device was opened; a steady state adds none.</summary>
    public long Allocations { get; private set; }

    /// <summary>Allocates at least one byte of memory, aligned to 256 bytes, its contents undefined.</summary>
    /// <exception cref="DeviceException">There is not enough memory; the message says how much was asked for.</exception>
    public DeviceBuffer Allocate(long bytes, string label)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bytes);
        RefuseInCapture($"Allocation of '{label}'");
        var buffer = new DeviceBuffer(this, AllocateMemory(bytes, label), bytes, label) { LastUse = Waits };
        _live.Add(buffer);
        LiveBytes += bytes;
        Allocations++;
        return buffer;
    }

    internal void Free(DeviceBuffer buffer)
    {
        _live.Remove(buffer);
        LiveBytes -= buffer.Bytes;
        FreeMemory(buffer);
    }

    /// <exception cref="DeviceException">The destination is not a range of a live buffer of this device; so for all copies.</exception>
    public void CopyToDevice(ReadOnlySpan<byte> source, DevicePointer destination)
    {
        CheckRange(destination, source.Length, "Copy to the device");
        RefuseInCapture("Copy to the device");
        Upload(source, destination);
        Touch(destination.Buffer!);
    }

    /// <summary>
    /// Has somebody write bytes, such as those of a file, in order and in pieces; where the device's memory is the
    /// host's, they are written where they belong.
    /// </summary>
    /// <param name="write">Gets where a piece starts, counted from <paramref name="destination"/>, and fills it.</param>
    public void Fill(DevicePointer destination, long bytes, Action<long, Span<byte>> write)
    {
        CheckRange(destination, bytes, "Fill");
        RefuseInCapture("Fill");
        for (long at = 0; at < bytes; at += PieceBytes)
        {
            long start = at;
            FillPiece(destination + at, (int)Math.Min(PieceBytes, bytes - at), piece => write(start, piece));
        }
        Touch(destination.Buffer!);
    }

    public void CopyToHost(DevicePointer source, Span<byte> destination)
    {
        CheckRange(source, destination.Length, "Copy to the host");
        RefuseInCapture("Copy to the host");
        Download(source, destination);
    }

    /// <summary>Copies within the device; the two ranges may not overlap.</summary>
    public void Copy(DevicePointer source, DevicePointer destination, long bytes)
    {
        CheckRange(source, bytes, "Copy, source");
        CheckRange(destination, bytes, "Copy, destination");
        if (source.Buffer == destination.Buffer && Math.Abs(source.Offset - destination.Offset) < bytes)
            throw new DeviceException($"Copy: {bytes} bytes at offsets {source.Offset} and {destination.Offset} of buffer '{source.Buffer!.Label}' overlap.");
        Touch(source.Buffer!);
        Touch(destination.Buffer!);
        CopyWithin(source, destination, bytes);
    }

    /// <summary>Sets bytes to zero.</summary>
    public void Clear(DevicePointer destination, long bytes)
    {
        CheckRange(destination, bytes, "Clear");
        Touch(destination.Buffer!);
        SetToZero(destination, bytes);
    }

    /// <summary>
    /// Loads a PTX module. The name appears in errors. The bodies of its kernels are read at their first launches; <see cref="PtxModule.Parse"/> checks all of
    /// a text.
    /// </summary>
    /// <exception cref="PtxException">
    /// The text outside of bodies is not PTX, or a body has no end. What is wrong in a body, or an instruction that this device does not run, is an error of the
    /// kernel's first launch.
    /// </exception>
    public abstract KernelModule LoadModule(string name, string ptx);

    /// <summary>C = alpha · op(A) · op(B) + beta · C on row-major float32 matrices; see <see cref="GemmCall"/>.</summary>
    /// <exception cref="DeviceException">An operand does not lie in a buffer of this device, or C overlaps A, B or itself.</exception>
    public void Gemm(in GemmCall call)
    {
        call.Check(this);
        if (call.A.Data.Buffer is { } a) Touch(a);
        if (call.B.Data.Buffer is { } b) Touch(b);
        if (call.C.Data.Buffer is { } c) Touch(c);
        if (Profile is not { } profile)
        {
            Multiply(call);
            return;
        }
        StartTimer();
        Multiply(call);
        string batch = call.Batch == 1 ? "" : $" ×{call.Batch}";
        profile.Add($"gemm {(call.A.Transposed ? 'T' : 'N')}{(call.B.Transposed ? 'T' : 'N')} {call.M}×{call.N}×{call.K}{batch}", isGemm: true, StopTimer(), 2.0 * call.M * call.N * call.K * call.Batch, movedBytes: 0);
    }

    /// <summary>If set, every launch and GEMM is timed into it.</summary>
    public DeviceProfile? Profile { get; set; }

    internal void LaunchTimed(Kernel kernel, in LaunchShape shape, ReadOnlySpan<byte> parameters, long movedBytes)
    {
        if (Profile is not { } profile)
        {
            Launch(kernel, shape, parameters);
            return;
        }
        StartTimer();
        Launch(kernel, shape, parameters);
        profile.Add(kernel.Name, isGemm: false, StopTimer(), flops: 0, movedBytes);
    }

    /// <summary>Whether <see cref="Capture"/> works. A GPU runs recorded work with one launch; on the CPU it saves the host's checks and objects.</summary>
    public virtual bool Captures => false;

    /// <summary>
    /// Records the launches, GEMMs, clears and copies within the device that <paramref name="work"/> asks for, without running them. It may neither allocate
    /// nor copy from or to the host nor wait: what is to change from run to run lies in buffers.
    /// </summary>
    /// <exception cref="DeviceException">The work asked for what cannot be recorded, or the driver refused.</exception>
    /// <exception cref="NotSupportedException">The device does not <see cref="Captures">capture</see>.</exception>
    public DeviceGraph Capture(Action work)
    {
        if (!Captures) throw new NotSupportedException($"The device '{Name}' does not capture.");
        RefuseInCapture("A capture");
        BeginCapture();
        DeviceBuffer[] used;
        _captured = [];
        try
        {
            work();
        }
        catch
        {
            AbandonCapture();
            throw;
        }
        finally
        {
            used = [.. _captured];
            _captured = null;
        }
        return EndCapture(used);
    }

    /// <summary>Waits for everything asked for so far; an error of an earlier launch is thrown here at the latest.</summary>
    public void Synchronize()
    {
        RefuseInCapture("Waiting for the device");
        Wait();
    }

    /// <summary>How often the host has waited for all that was asked for; a buffer whose last use lies before the last wait is idle.</summary>
    internal long Waits { get; private protected set; }

    /// <summary>Notes that what was asked for just now uses a buffer.</summary>
    internal void Touch(DeviceBuffer buffer)
    {
        buffer.LastUse = Waits;
        _captured?.Add(buffer);
    }

    protected abstract void Wait();

    protected abstract void Upload(ReadOnlySpan<byte> source, DevicePointer destination);

    protected virtual void FillPiece(DevicePointer destination, int bytes, Action<Span<byte>> write)
    {
        var piece = new byte[bytes];
        write(piece);
        Upload(piece, destination);
    }

    protected abstract void Download(DevicePointer source, Span<byte> destination);

    protected abstract void CopyWithin(DevicePointer source, DevicePointer destination, long bytes);

    protected abstract void SetToZero(DevicePointer destination, long bytes);

    /// <summary>Runs a GEMM that has been checked.</summary>
    protected abstract void Multiply(in GemmCall call);

    internal abstract void Launch(Kernel kernel, in LaunchShape shape, ReadOnlySpan<byte> parameters);

    protected abstract ulong AllocateMemory(long bytes, string label);

    protected abstract void FreeMemory(DeviceBuffer buffer);

    protected virtual void BeginCapture() => throw new NotSupportedException();

    /// <param name="used">The buffers that the recorded work uses.</param>
    protected virtual DeviceGraph EndCapture(IReadOnlyList<DeviceBuffer> used) => throw new NotSupportedException();

    protected virtual void AbandonCapture() => throw new NotSupportedException();

    protected virtual void StartTimer() => _timerStart = Stopwatch.GetTimestamp();

    /// <summary>Waits; returns the seconds from <see cref="StartTimer"/> to the end of what was asked for since.</summary>
    protected virtual double StopTimer()
    {
        Synchronize();
        return Stopwatch.GetElapsedTime(_timerStart).TotalSeconds;
    }

    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        try
        {
            foreach (var buffer in _live.ToArray()) buffer.Dispose();
        }
        finally
        {
            Dispose(disposing: true);
            GC.SuppressFinalize(this);
        }
    }

    protected virtual void Dispose(bool disposing) { }

    private void RefuseInCapture(string what)
    {
        if (_captured is not null) throw new DeviceException($"{what}: not possible while work is recorded.");
    }

    /// <summary>Whether the range lies in a live buffer of this device.</summary>
    internal bool HasRange(DevicePointer pointer, long bytes) =>
        pointer.Buffer is { IsDisposed: false } buffer && buffer.Device == this && bytes >= 0 && bytes <= pointer.Remaining;

    /// <summary>Throws unless the range lies in a live buffer of this device.</summary>
    internal void CheckRange(DevicePointer pointer, long bytes, string what)
    {
        if (pointer.Buffer is not { } buffer)
            throw new DeviceException($"{what}: the device pointer is null.");
        if (buffer.Device != this)
            throw new DeviceException($"{what}: buffer '{buffer.Label}' belongs to another device.");
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

    /// <summary>Whether the device is as well as before, so that something else can be asked of it; false if it or its context is of no use any more.</summary>
    public bool DeviceIsWell { get; init; } = true;
}
