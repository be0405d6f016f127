using ClipCuda.Devices;

namespace ClipCuda.Tests.Devices;

/// <summary>A GEMM that would leave its buffers, or overwrite what it reads, is refused with a reason.</summary>
public sealed class GemmCallTests
{
    private Device _device = null!;
    private DeviceBuffer _a = null!, _b = null!, _c = null!;

    [SetUp]
    public void Open()
    {
        _device = Device.Open("cpu:check", 1);
        _a = Allocate("a");
        _b = Allocate("b");
        _c = Allocate("c");
    }

    [TearDown]
    public void Close() => _device.Dispose();

    /// <summary>4×6 · 6×5, for which each buffer of 64 elements has room to spare.</summary>
    private GemmCall Good => new(4, 5, 6, new(_a.Start, 6), new(_b.Start, 5), new(_c.Start, 5));

    [Test]
    public void A_good_call_passes()
    {
        _device.Gemm(Good);
        _device.Gemm(Good with { A = new(_a.Start, 4, Transposed: true), B = new(_b.Start, 6, Transposed: true) });
        _device.Gemm(Good with { Batch = 2, A = new(_a.Start, 6, BatchStride: 24), C = new(_c.Start, 5, BatchStride: 20) });
        _device.Gemm(Good with { Batch = 2, C = new(_c.Start, 10, BatchStride: 5) });
        _device.Gemm(default);
    }

    private IEnumerable<(GemmCall Call, string Reason)> BadCalls()
    {
        yield return (Good with { M = -1 }, "a size is negative");
        yield return (Good with { Batch = -1 }, "a size is negative");
        yield return (Good with { A = new(_a.Start, 5) }, "leading dimension 5 of A is less than its 6 columns");
        yield return (Good with { A = new(_a.Start, 3, Transposed: true) }, "leading dimension 3 of A is less than its 4 columns");
        yield return (Good with { B = new(_b.Start, 4) }, "leading dimension 4 of B is less than its 5 columns");
        yield return (Good with { C = new(_c.Start, 4) }, "leading dimension 4 of C is less than its 5 columns");
        yield return (Good with { C = new(_c.Start, 4, Transposed: true) }, "C cannot be transposed");
        yield return (Good with { A = new(_a.At(41 * 4), 6) }, "do not fit in buffer 'a'");
        yield return (Good with { A = new(_a.Start, 20) }, "do not fit in buffer 'a'");
        yield return (Good with { B = new(_b.Start, int.MaxValue) }, "do not fit in buffer 'b'");
        yield return (Good with { Batch = 2, B = new(_b.Start, 5, BatchStride: 35), C = new(_c.Start, 5, BatchStride: 20) }, "do not fit in buffer 'b'");
        yield return (Good with { Batch = 3, B = new(_b.Start, 5, BatchStride: long.MaxValue), C = new(_c.Start, 5, BatchStride: 20) }, "do not fit in buffer 'b'");
        yield return (Good with { Batch = 2 }, "the 2 matrices of C overlap");
        yield return (Good with { Batch = 2, C = new(_c.Start, 5, BatchStride: 19) }, "the 2 matrices of C overlap");
        yield return (Good with { Batch = 2, C = new(_c.Start, 9, BatchStride: 5) }, "the 2 matrices of C overlap");
        yield return (Good with { Batch = 2, A = new(_a.Start, 6, BatchStride: -1), C = new(_c.Start, 5, BatchStride: 20) }, "the batch stride of A is negative");
        yield return (Good with { A = new(_a.At(2), 6) }, "A starts at byte 2");
        yield return (Good with { C = new(_a.At(23 * 4), 5) }, "C overlaps A in buffer 'a'");
        yield return (Good with { C = new(_b.Start, 5) }, "C overlaps B in buffer 'b'");
        yield return (Good with { A = new(default, 6) }, "the device pointer is null");
    }

    [Test]
    public void A_bad_call_says_what_is_wrong()
    {
        foreach (var (call, reason) in BadCalls())
            Assert.That(() => _device.Gemm(call), Throws.TypeOf<DeviceException>().With.Message.Contains(reason), reason);
    }

    [Test]
    public void A_freed_operand_is_refused()
    {
        _b.Dispose();
        Assert.That(() => _device.Gemm(Good), Throws.TypeOf<DeviceException>().With.Message.Contains("buffer 'b' has been freed"));
    }

    [Test]
    public void An_operand_of_another_device_is_refused()
    {
        using var other = Device.Open("cpu", 1);
        using var foreign = other.Allocate(256, "foreign");
        Assert.That(() => _device.Gemm(Good with { B = new(foreign.Start, 5) }), Throws.TypeOf<DeviceException>().With.Message.Contains("belongs to another device"));
    }

    private DeviceBuffer Allocate(string label)
    {
        var buffer = _device.Allocate(64 * sizeof(float), label);
        _device.Clear(buffer.Start, buffer.Bytes);
        return buffer;
    }
}
