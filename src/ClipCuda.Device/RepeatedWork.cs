namespace ClipCuda.Devices;

/// <summary>
/// The same work on the same buffers again and again. The first time it runs as it is, which loads kernels and allocates what it needs; the second time it is
/// recorded, if the device can, and from then on one call runs it. What changes from time to time lies in buffers that are filled before.
/// </summary>
public sealed class RepeatedWork(Device device, Action work) : IDisposable
{
    private DeviceGraph? _recorded;
    private bool _ran;

    /// <summary>Why a device that records did not record this work, which then runs call by call; null if it did, or was not asked yet.</summary>
    public string? Refusal { get; private set; }

    /// <exception cref="DeviceException">The device failed.</exception>
    public void Run()
    {
        // A profile is of single calls.
        bool records = device.Captures && device.Profile is null && Refusal is null;
        if (records && _ran && _recorded is null) Record();
        if (records && _recorded is not null) _recorded.Launch();
        else work();
        _ran = true;
    }

    public void Dispose() => _recorded?.Dispose();

    private void Record()
    {
        try
        {
            _recorded = device.Capture(work);
        }
        catch (DeviceException refused) when (refused.DeviceIsWell)
        {
            Refusal = refused.Message;
        }
    }
}
