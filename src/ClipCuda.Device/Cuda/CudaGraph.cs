namespace ClipCuda.Devices;

/// <summary>Captured work as an executable CUDA graph.</summary>
internal sealed unsafe class CudaGraph(CudaDevice device, CudaDriver cuda, nint executable, nint stream, IReadOnlyList<DeviceBuffer> used) : DeviceGraph(device, used)
{
    private bool _disposed;

    protected override void Run()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        device.MakeCurrent();
        device.Check(cuda.GraphLaunch(executable, stream), "cuGraphLaunch");
    }

    protected override void Dispose(bool disposing)
    {
        if (_disposed) return;
        _disposed = true;
        device.Forget(this);
        device.Release(cuda.GraphExecDestroy(executable), "cuGraphExecDestroy");
    }
}
