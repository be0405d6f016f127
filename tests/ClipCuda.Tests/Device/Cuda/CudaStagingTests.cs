using ClipCuda.Devices;
using ClipCuda.Tests.SoftCuda;

namespace ClipCuda.Tests.Devices;

/// <summary>Copies between pageable memory and a soft GPU, which runs work as late as it may and finds every race.</summary>
public sealed class CudaStagingTests
{
    private SoftGpu _gpu = null!;
    private Device _device = null!;

    [SetUp]
    public void SetUp()
    {
        _gpu = SoftGpu.Plug();
        _device = Device.Open("cuda", 0);
    }

    [TearDown]
    public void TearDown()
    {
        _device?.Dispose();
        _gpu?.Dispose();
    }

    [Test]
    public void Many_small_copies_fill_both_pinned_buffers_and_the_source_may_change_at_once()
    {
        const int Pieces = 100, PieceBytes = 300_001; // 30 MB, more than the buffers hold
        using var buffer = _device.Allocate(Pieces * (long)PieceBytes, "x");
        var piece = new byte[PieceBytes];
        for (int i = 0; i < Pieces; i++)
        {
            Array.Fill(piece, (byte)i);
            _device.CopyToDevice(piece, buffer.At(i * (long)PieceBytes));
        }
        var received = new byte[buffer.Bytes];
        _device.CopyToHost(buffer.Start, received);
        for (int i = 0; i < Pieces; i++) Assert.That(received.AsSpan(i * PieceBytes, PieceBytes).IndexOfAnyExcept((byte)i), Is.EqualTo(-1), $"piece {i}");
    }

    [Test]
    public void The_host_waits_for_no_copy_to_the_device_as_long_as_there_is_room()
    {
        using var buffer = _device.Allocate(1000, "x");
        for (int i = 0; i < 10; i++) _device.CopyToDevice(new byte[1000], buffer.Start);
        Assert.That(_gpu.CallsOf("cuEventSynchronize") + _gpu.CallsOf("cuStreamSynchronize"), Is.Zero);
    }

    [Test]
    public void A_copy_waits_for_what_computes_only_where_that_may_use_its_destination()
    {
        using var idle = _device.Allocate(1000, "idle");
        using var busy = _device.Allocate(1000, "busy");
        _device.Clear(idle.Start, 1000);
        _device.Synchronize();
        _device.Clear(busy.Start, 1000);
        Assert.That(WaitsOf(idle), Is.EqualTo(1), "what computes waits for the copy");
        Assert.That(WaitsOf(busy), Is.EqualTo(2), "and the copy for what computes");

        int WaitsOf(DeviceBuffer buffer)
        {
            int before = _gpu.CallsOf("cuStreamWaitEvent");
            _device.CopyToDevice(new byte[1000], buffer.Start);
            return _gpu.CallsOf("cuStreamWaitEvent") - before;
        }
    }

    [Test]
    public void Large_copies_to_the_host_overlap_with_emptying_what_has_come()
    {
        int bytes = 3 * CudaStaging.DownloadBytes + 17;
        using var buffer = _device.Allocate(bytes, "x");
        var sent = new byte[bytes];
        new Random(1).NextBytes(sent);
        _device.CopyToDevice(sent, buffer.Start);
        var received = new byte[bytes];
        _device.CopyToHost(buffer.Start, received);
        Assert.That(received.AsSpan().SequenceEqual(sent));
        Assert.That(_gpu.CallsOf("cuMemcpyDtoHAsync_v2"), Is.EqualTo(4));
    }
}
