using ClipCuda.Devices;

namespace ClipCuda.Tests.Devices;

/// <summary>What every device promises about names, memory and copies.</summary>
[TestFixture("cpu")]
[TestFixture("cpu:check")]
[TestFixture("cuda")]
[TestFixture("managedcuda")]
public sealed class DeviceTests(string name)
{
    private IDisposable? _prepared;
    private Device _device = null!;

    [SetUp]
    public void Open()
    {
        _prepared = TestDevices.Prepare(name);
        _device = Device.Open(name, 2);
    }

    [TearDown]
    public void Close()
    {
        _device?.Dispose();
        _prepared?.Dispose();
    }

    [Test]
    public void Opens_under_its_name()
    {
        Assert.That(_device.Name, Does.StartWith(name));
        Assert.That(_device.Description, Does.StartWith("CPU, 2 threads").Or.Contain("compute capability"));
    }

    [Test]
    public void Auto_is_the_GPU_or_else_the_cpu_on_all_cores()
    {
        if (name is "cuda" or "managedcuda")
        {
            _device.Dispose();
            using var gpu = Device.Open("auto", 0);
            Assert.That(gpu.Name, Is.EqualTo("cuda:0"));
            Assert.That(gpu.Announcement, Does.EndWith("(auto: the first CUDA device)"));
            return;
        }
        using var device = Device.Open("auto", 0);
        Assert.That(device.Name, Is.EqualTo("cpu"));
        Assert.That(device.Announcement, Does.Contain("(auto: no CUDA device: "));
        Assert.That(device.Description, Does.Contain($" {Environment.ProcessorCount} thread"));
    }

    [TestCase("gpu")]
    [TestCase("")]
    [TestCase("CPU")]
    public void An_unknown_name_is_refused_with_the_list(string unknown) =>
        Assert.That(() => Device.Open(unknown, 1), Throws.ArgumentException.With.Message.Contains("auto, cpu, cpu:check"));

    [TestCase(1)]
    [TestCase(255)]
    [TestCase(5_000_000)]
    public void Bytes_come_back_as_they_went(int count)
    {
        byte[] sent = [.. Enumerable.Range(0, count).Select(i => (byte)(i * 31 % 251))], received = new byte[count], moved = new byte[count];
        using var buffer = _device.Allocate(count, "x");
        using var copy = _device.Allocate(count, "y");
        Assert.That(buffer.Address % 256, Is.Zero);
        _device.CopyToDevice(sent, buffer.Start);
        _device.CopyToHost(buffer.Start, received);
        Assert.That(received.AsSpan().SequenceEqual(sent));
        _device.Copy(buffer.Start, copy.Start, count);
        _device.CopyToHost(copy.Start, moved);
        Assert.That(moved.AsSpan().SequenceEqual(sent));
        _device.Clear(copy.Start, count);
        _device.CopyToHost(copy.Start, moved);
        Assert.That(moved.AsSpan().IndexOfAnyExcept((byte)0), Is.EqualTo(-1));
    }

    /// <summary>20,000,000 bytes are two pieces.</summary>
    [TestCase(0)]
    [TestCase(7)]
    [TestCase(20_000_000)]
    public void Bytes_are_written_in_order_where_they_belong(int count)
    {
        using var buffer = _device.Allocate(count + 2, "x");
        _device.Clear(buffer.Start, count + 2);
        long next = 0;
        _device.Fill(buffer.At(1), count, (start, piece) =>
        {
            Assert.That(start, Is.EqualTo(next));
            for (int i = 0; i < piece.Length; i++) piece[i] = (byte)(1 + (start + i) % 251);
            next += piece.Length;
        });
        byte[] received = new byte[count + 2];
        _device.CopyToHost(buffer.Start, received);
        Assert.That(next, Is.EqualTo(count));
        for (int i = 0; i < received.Length; i++)
        {
            int expected = i == 0 || i > count ? 0 : 1 + (i - 1) % 251;
            if (received[i] != expected) Assert.Fail($"byte {i} is {received[i]}, expected {expected}");
        }
        Assert.That(() => _device.Fill(buffer.At(1), count + 2, (_, _) => { }), Throws.TypeOf<DeviceException>().With.Message.Contains("do not fit"));
    }

    [Test]
    public void Copies_reach_into_the_middle_of_a_buffer()
    {
        using var buffer = _device.Allocate(8, "x");
        _device.Clear(buffer.Start, 8);
        _device.CopyToDevice([1, 2], buffer.At(3));
        _device.Copy(buffer.At(3), buffer.At(5), 2);
        _device.Clear(buffer.At(4), 1);
        byte[] received = new byte[8];
        _device.CopyToHost(buffer.Start, received);
        Assert.That(received, Is.EqualTo(new byte[] { 0, 0, 0, 1, 0, 1, 2, 0 }));
    }

    [Test]
    public void A_range_past_the_end_is_refused()
    {
        using var buffer = _device.Allocate(10, "short");
        using var other = _device.Allocate(20, "long");
        AssertRefused(() => _device.CopyToDevice(new byte[11], buffer.Start));
        AssertRefused(() => _device.CopyToHost(buffer.At(4), new byte[7]));
        AssertRefused(() => _device.Copy(other.Start, buffer.Start, 11));
        AssertRefused(() => _device.Copy(buffer.Start, other.Start, 11));
        AssertRefused(() => _device.Clear(buffer.At(10), 1));
        AssertRefused(() => _device.Clear(buffer.Start, -1));
        Assert.That(() => buffer.At(11), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => buffer.Start + -1, Throws.InstanceOf<ArgumentOutOfRangeException>());

        static void AssertRefused(Action copy) =>
            Assert.That(copy, Throws.TypeOf<DeviceException>().With.Message.Contains("do not fit in buffer 'short' of 10 bytes"));
    }

    [Test]
    public void Overlapping_copies_are_refused()
    {
        using var buffer = _device.Allocate(10, "x");
        Assert.That(() => _device.Copy(buffer.Start, buffer.At(4), 5), Throws.TypeOf<DeviceException>().With.Message.Contains("overlap"));
    }

    [Test]
    public void Freed_null_and_foreign_memory_is_refused()
    {
        using var otherDevice = Device.Open("cpu", 1);
        using var foreign = otherDevice.Allocate(4, "foreign");
        var freed = _device.Allocate(4, "freed");
        freed.Dispose();
        freed.Dispose();
        Assert.That(() => _device.Clear(freed.Start, 4), Throws.TypeOf<DeviceException>().With.Message.Contains("buffer 'freed' has been freed"));
        Assert.That(() => _device.Clear(default, 4), Throws.TypeOf<DeviceException>().With.Message.Contains("null"));
        Assert.That(() => _device.Clear(foreign.Start, 4), Throws.TypeOf<DeviceException>().With.Message.Contains("another device"));
    }

    [Test]
    public void Live_buffers_are_counted()
    {
        var first = _device.Allocate(100, "first");
        var second = _device.Allocate(50, "second");
        Assert.That((_device.LiveBuffers, _device.LiveBytes, _device.Allocations), Is.EqualTo((2, 150L, 2L)));
        first.Dispose();
        Assert.That((_device.LiveBuffers, _device.LiveBytes, _device.Allocations), Is.EqualTo((1, 50L, 2L)));
        _device.Dispose();
        Assert.That(second.IsDisposed);
        Assert.That((_device.LiveBuffers, _device.LiveBytes), Is.EqualTo((0, 0L)));
        Assert.That(() => _device.Allocate(1, "late"), Throws.InstanceOf<ObjectDisposedException>());
    }

    [Test]
    public void More_memory_than_there_is_is_refused_by_its_name()
    {
        Assert.That(
            () => _device.Allocate(long.MaxValue / 2, "huge"),
            Throws.TypeOf<DeviceException>().With.Message.Contains($"'huge' needs {long.MaxValue / 2} bytes"));
        Assert.That(_device.LiveBuffers, Is.Zero);
        Assert.That(() => _device.Allocate(0, "empty"), Throws.InstanceOf<ArgumentOutOfRangeException>());
    }
}
