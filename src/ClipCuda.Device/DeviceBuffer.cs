namespace ClipCuda.Devices;

/// <summary>
/// A piece of device memory, owned by whoever allocated it and freed by <see cref="Dispose"/>; there is no finalizer.
/// The label is what an error message calls it.
/// </summary>
public sealed class DeviceBuffer : IDisposable
{
    internal DeviceBuffer(Device device, ulong address, long bytes, string label)
    {
        Device = device;
        Address = address;
        Bytes = bytes;
        Label = label;
    }

    internal Device Device { get; }

    /// <summary>The address of the first byte as a kernel sees it.</summary>
    public ulong Address { get; }

    public long Bytes { get; }

    public string Label { get; }

    /// <summary><see cref="Device.Waits"/> when work that uses it was last asked for.</summary>
    internal long LastUse { get; set; }

    public bool IsDisposed { get; private set; }

    public DevicePointer Start => new(this, 0);

    public DevicePointer At(long byteOffset) => new(this, byteOffset);

    public void Dispose()
    {
        if (IsDisposed) return;
        IsDisposed = true;
        Device.Free(this);
    }
}

/// <summary>An address inside a <see cref="DeviceBuffer"/>. The default value is the null pointer.</summary>
public readonly struct DevicePointer
{
    internal DevicePointer(DeviceBuffer buffer, long offset)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, buffer.Bytes);
        Buffer = buffer;
        Offset = offset;
    }

    public DeviceBuffer? Buffer { get; }

    /// <summary>Bytes from the start of <see cref="Buffer"/>.</summary>
    public long Offset { get; }

    public bool IsNull => Buffer is null;

    public ulong Address => Buffer is null ? 0 : Buffer.Address + (ulong)Offset;

    /// <summary>As an argument of a kernel that reads or writes so many bytes from here; <see cref="DeviceProfile"/> adds them up.</summary>
    public KernelArgument Moving(long bytes) => new(this, bytes);

    /// <summary>Bytes from here to the end of the buffer.</summary>
    public long Remaining => Buffer is null ? 0 : Buffer.Bytes - Offset;

    public static DevicePointer operator +(DevicePointer pointer, long bytes) =>
        pointer.Buffer is null
            ? throw new InvalidOperationException("A null device pointer has no neighbours.")
            : new(pointer.Buffer, pointer.Offset + bytes);
}
