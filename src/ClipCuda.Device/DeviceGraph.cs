namespace ClipCuda.Devices;

/// <summary>Work that <see cref="Device.Capture"/> recorded: it runs again, on the same buffers, with one call.</summary>
public abstract class DeviceGraph : IDisposable
{
    private readonly Device _device;
    private readonly IReadOnlyList<DeviceBuffer> _used;

    protected DeviceGraph(Device device, IReadOnlyList<DeviceBuffer> used) => (_device, _used) = (device, used);

    /// <summary>Runs the recorded work once more, in the order of the device's calls.</summary>
    /// <exception cref="DeviceException">A buffer that the work uses has been freed, or the device failed.</exception>
    public void Launch()
    {
        foreach (var buffer in _used)
        {
            if (buffer.IsDisposed) throw new DeviceException($"Recorded work: buffer '{buffer.Label}' has been freed.");
            _device.Touch(buffer);
        }
        Run();
    }

    protected abstract void Run();

    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    protected abstract void Dispose(bool disposing);
}
