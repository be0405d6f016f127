using ClipCuda.Ptx;

namespace ClipCuda.Devices;

/// <summary>
/// A device that has no memory and computes nothing: it counts what is allocated, and checks launches, copies and GEMMs as every device does.
/// What runs on it shows how much memory it needs, without taking any. Copies to the host give zeros.
/// </summary>
public sealed class MeasuringDevice : Device
{
    private ulong _nextAddress = 1 << 20; // any address but null; nothing is ever read there

    public override string Name => "measuring";

    public override string Description => "Counts memory, computes nothing";

    public override long FreeBytes => long.MaxValue;

    /// <summary>The most bytes that were allocated at one time.</summary>
    public long PeakBytes { get; private set; }

    public override KernelModule LoadModule(string name, string ptx) => new(this, KernelModule.Parse(name, ptx));

    internal override void Launch(Kernel kernel, in LaunchShape shape, ReadOnlySpan<byte> parameters) { }

    protected override void Wait() { }

    protected override ulong AllocateMemory(long bytes, string label)
    {
        PeakBytes = Math.Max(PeakBytes, LiveBytes + bytes);
        ulong address = _nextAddress;
        _nextAddress += ((ulong)bytes + 255) & ~255UL;
        return address;
    }

    protected override void FreeMemory(DeviceBuffer buffer) { }

    protected override void Upload(ReadOnlySpan<byte> source, DevicePointer destination) { }

    protected override void Download(DevicePointer source, Span<byte> destination) => destination.Clear();

    protected override void CopyWithin(DevicePointer source, DevicePointer destination, long bytes) { }

    protected override void SetToZero(DevicePointer destination, long bytes) { }

    protected override void Multiply(in GemmCall call) { }
}
