namespace ClipCuda.Devices;

/// <summary>Captured work on the CPU: its calls one after another, with all checks and allocations of the host behind them.</summary>
internal sealed class CpuGraph(CpuDevice device, IReadOnlyList<Action> calls, IReadOnlyList<DeviceBuffer> used) : DeviceGraph(device, used)
{
    private bool _disposed;

    protected override void Run()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        foreach (var call in calls) call();
    }

    protected override void Dispose(bool disposing) => _disposed = true;
}
