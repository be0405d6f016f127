namespace ClipCuda.Devices;

/// <summary>
/// Copies between pageable host memory and the device, through two pinned buffers a direction: while the driver copies one, the host fills or
/// empties the other. Copies to the device go on a stream of their own and so run beside the computing, unless what is computing may use their
/// destination; the computing stream waits for them, the host does not.
/// </summary>
internal sealed unsafe class CudaStaging : IDisposable
{
    /// <summary>Bytes of a buffer; PCIe is at its full rate from about 1 MiB on.</summary>
    internal const int UploadBytes = 8 << 20, DownloadBytes = 2 << 20;

    private const int Alignment = 256;

    private readonly CudaDevice _device;
    private readonly CudaDriver _cuda;
    private readonly nint _compute, _copy;
    private readonly nint _computed, _copied; // events: how far the streams had come
    private readonly Slot[] _up = new Slot[2], _down = new Slot[2];
    private int _current, _filled;

    /// <param name="compute">The stream that computes.</param>
    public CudaStaging(CudaDevice device, CudaDriver cuda, nint compute)
    {
        (_device, _cuda, _compute) = (device, cuda, compute);
        try
        {
            _copy = device.CreateStream();
            _computed = device.CreateEvent(CudaDriver.DisableTiming);
            _copied = device.CreateEvent(CudaDriver.DisableTiming);
            for (int i = 0; i < 2; i++)
            {
                _up[i] = new Slot(device, cuda, UploadBytes);
                _down[i] = new Slot(device, cuda, DownloadBytes);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The source may be changed as soon as this returns.</summary>
    /// <param name="idle">Whether nothing that was asked for and may still run uses the destination.</param>
    public void Upload(ReadOnlySpan<byte> source, ulong destination, bool idle)
    {
        if (!idle) Order(_computed, before: _compute, after: _copy);
        while (!source.IsEmpty)
        {
            if (_filled == UploadBytes) NextSlot();
            int bytes = Math.Min(source.Length, UploadBytes - _filled);
            byte* pinned = _up[_current].Memory + _filled;
            source[..bytes].CopyTo(new Span<byte>(pinned, bytes));
            _device.Check(_cuda.MemcpyHtoDAsync(destination, pinned, (nuint)bytes, _copy), "cuMemcpyHtoDAsync_v2");
            _filled = Math.Min(UploadBytes, (_filled + bytes + Alignment - 1) / Alignment * Alignment);
            source = source[bytes..];
            destination += (uint)bytes;
        }
        Order(_copied, before: _copy, after: _compute);
    }

    /// <summary>Returns when the bytes are there, and with them everything that was asked for before.</summary>
    public void Download(ulong source, Span<byte> destination)
    {
        var last = Span<byte>.Empty;
        for (int i = 0; !destination.IsEmpty; i ^= 1)
        {
            int bytes = Math.Min(destination.Length, DownloadBytes);
            _device.Check(_cuda.MemcpyDtoHAsync(_down[i].Memory, source, (nuint)bytes, _compute), "cuMemcpyDtoHAsync_v2");
            _down[i].Record(_compute);
            Receive(last, _down[i ^ 1]);
            last = destination[..bytes];
            destination = destination[bytes..];
            source += (uint)bytes;
            if (destination.IsEmpty) Receive(last, _down[i]);
        }
    }

    /// <summary>Waits for copies that nothing on the computing stream waits for, because a call failed in between.</summary>
    public void Finish() => _device.Release(_cuda.StreamSynchronize(_copy), "cuStreamSynchronize");

    public void Dispose()
    {
        foreach (var slot in (ReadOnlySpan<Slot?>)[.. _up, .. _down]) slot?.Dispose();
        _device.DestroyEvent(_computed);
        _device.DestroyEvent(_copied);
        _device.DestroyStream(_copy);
    }

    private static void Receive(Span<byte> destination, Slot slot)
    {
        if (destination.IsEmpty) return;
        slot.Wait();
        new ReadOnlySpan<byte>(slot.Memory, destination.Length).CopyTo(destination);
    }

    private void NextSlot()
    {
        _up[_current].Record(_copy);
        _current ^= 1;
        _up[_current].Wait();
        _filled = 0;
    }

    /// <summary>What is asked for on one stream from now on waits for what was asked for on the other so far.</summary>
    private void Order(nint mark, nint before, nint after)
    {
        _device.Check(_cuda.EventRecord(mark, before), "cuEventRecord");
        _device.Check(_cuda.StreamWaitEvent(after, mark, 0), "cuStreamWaitEvent");
    }

    /// <summary>Pinned memory, and the event after which it may be used again.</summary>
    private sealed class Slot : IDisposable
    {
        private readonly CudaDevice _device;
        private readonly CudaDriver _cuda;
        private readonly nint _done;
        private bool _inFlight;

        public Slot(CudaDevice device, CudaDriver cuda, int bytes)
        {
            (_device, _cuda) = (device, cuda);
            void* memory;
            device.Check(cuda.MemHostAlloc(&memory, (nuint)bytes, 0), "cuMemHostAlloc", $"{bytes} bytes of pinned host memory");
            Memory = (byte*)memory;
            try
            {
                _done = device.CreateEvent(CudaDriver.DisableTiming);
            }
            catch
            {
                Dispose();
                throw;
            }
        }

        public byte* Memory { get; }

        public void Record(nint stream)
        {
            _device.Check(_cuda.EventRecord(_done, stream), "cuEventRecord");
            _inFlight = true;
        }

        public void Wait()
        {
            if (!_inFlight) return;
            _device.Check(_cuda.EventSynchronize(_done), "cuEventSynchronize");
            _inFlight = false;
        }

        public void Dispose()
        {
            _device.Release(_cuda.MemFreeHost(Memory), "cuMemFreeHost");
            _device.DestroyEvent(_done);
        }
    }
}
