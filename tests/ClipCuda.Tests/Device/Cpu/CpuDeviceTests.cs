using System.Runtime.InteropServices;
using ClipCuda.Devices;
using ClipCuda.Ptx;

namespace ClipCuda.Tests.Devices;

/// <summary>What the checking CPU device catches: beside buffers, in kernels, in GEMM.</summary>
public sealed unsafe class CpuDeviceTests
{
    private Device _device = null!;
    private Kernel _copy = null!;
    private DeviceBuffer _in = null!, _out = null!;

    [SetUp]
    public void Open()
    {
        _device = Device.Open("cpu:check", 2);
        _copy = _device.LoadModule("test.ptx", KernelTests.Ptx)["test_copy"];
        _in = _device.Allocate(1000 * sizeof(float), "in");
        _out = _device.Allocate(1000 * sizeof(float), "out");
        float[] values = [.. Enumerable.Range(0, 1000).Select(i => (float)i)];
        _device.CopyToDevice(MemoryMarshal.AsBytes(values.AsSpan()), _in.Start);
    }

    [TearDown]
    public void Close() => _device.Dispose();

    [TestCase(-1, "1 bytes before the start")]
    [TestCase(-256, "256 bytes before the start")]
    [TestCase(100, "0 bytes past the end")]
    [TestCase(355, "255 bytes past the end")]
    public void A_byte_written_beside_a_buffer_is_found_and_named(int offset, string where)
    {
        var hurt = _device.Allocate(100, "hurt");
        _device.Synchronize();
        ((byte*)hurt.Address)[offset]++;
        AssertFound(_device.Synchronize);
        AssertFound(hurt.Dispose);
        Assert.That(_device.LiveBuffers, Is.EqualTo(2));
        _device.Synchronize();

        void AssertFound(Action check) => Assert.That(check, Throws.TypeOf<DeviceException>().With.Message.Contains($"{where} of buffer 'hurt'"));
    }

    [Test]
    public void Compiled_kernels_are_checked_against_live_buffers_in_debug_builds()
    {
#if DEBUG
        Assert.That(CpuEngine.Fastest.ChecksBounds);
#else
        Assert.That(CpuEngine.Fastest.ChecksBounds, Is.False);
#endif
        using var device = new CpuDevice(2, CpuEngine.Fastest with { ChecksBounds = true });
        var copy = device.LoadModule("test.ptx", KernelTests.Ptx)["test_copy"];
        var (from, to) = (device.Allocate(1000 * sizeof(float), "from"), device.Allocate(1000 * sizeof(float), "to"));
        device.Clear(from.Start, from.Bytes);
        copy.Launch(8, 128, to.Start, from.Start, 1000, 0f);
        Assert.That(() => copy.Launch(8, 128, to.Start, from.Start, 1001, 0f), Throws.TypeOf<PtxException>().With.Message.Contains("'from' (offset 4000 of 4000)"));
    }

    [Test]
    public void A_kernel_whose_body_is_broken_says_so_at_its_launches_and_the_others_of_its_module_run([Values("cpu", "cpu:check", "cpu:interpret")] string name)
    {
        using var device = Device.Open(name, 2);
        var module = device.LoadModule("test.ptx", KernelTests.Ptx + "\n.entry test_broken() {\n  mov.u32 %r1, 0; }\n");
        var (from, to) = (device.Allocate(1000 * sizeof(float), "from"), device.Allocate(1000 * sizeof(float), "to"));
        device.Clear(from.Start, from.Bytes);
        int line = KernelTests.Ptx.AsSpan().Count('\n') + 3;
        for (int i = 0; i < 2; i++)
        {
            Assert.That(() => module["test_broken"].Launch(1, 32), Throws.TypeOf<PtxException>().With.Message.EqualTo($"test.ptx({line},11): '%r1' is not declared."));
            module["test_copy"].Launch(8, 128, to.Start, from.Start, 1000, 0f);
        }
        device.Synchronize();
    }

    [Test]
    public void Checks_bring_a_fault_of_any_block_to_the_caller()
    {
        foreach (int offset in new[] { 0, 900 })
        {
            // Reads past the end of "in" in the last blocks only.
            Assert.That(
                () => _copy.Launch(8, 128, _out.Start, _in.At(offset * sizeof(float)), 1001 - offset, 0f),
                Throws.TypeOf<PtxException>().With.Message.Contains("test_copy").And.Message.Contains("'in'"));
        }
        _copy.Launch(8, 128, _out.Start, _in.Start, 1000, 0f);
        float[] last = new float[1];
        _device.CopyToHost(_out.At(999 * sizeof(float)), MemoryMarshal.AsBytes(last.AsSpan()));
        Assert.That(last[0], Is.EqualTo(999), "the device works on after a fault");
    }

    [Test]
    public void Checks_catch_freed_memory_behind_a_bare_address()
    {
        var freed = _device.Allocate(4000, "freed");
        long address = (long)freed.Address;
        freed.Dispose();
        Assert.That(() => _copy.Launch(1, 128, address, _in.Start, 1, 0f), Throws.TypeOf<PtxException>());
    }

    [Test]
    public void Checks_follow_what_has_been_written()
    {
        using var fresh = _device.Allocate(64 * sizeof(float), "fresh");
        AssertUninitialised(0);
        AssertRefuses(() => _device.Copy(fresh.Start, _out.Start, 4));
        _device.Clear(fresh.Start, 16 * sizeof(float));
        AssertInitialised(0);
        AssertUninitialised(16);
        _device.Copy(_in.Start, fresh.At(16 * sizeof(float)), 16 * sizeof(float));
        AssertInitialised(16);
        _copy.Launch(1, 128, fresh.At(32 * sizeof(float)), _in.Start, 16, 0f);
        AssertInitialised(32);
        AssertUninitialised(48);
        var stale = new GemmOperand(fresh.At(45 * sizeof(float)), 4);
        var good = new GemmOperand(_in.Start, 4);
        var target = new GemmOperand(fresh.At(48 * sizeof(float)), 4);
        AssertRefuses(() => _device.Gemm(new GemmCall(4, 4, 4, stale, good, new(_out.Start, 4))));
        AssertRefuses(() => _device.Gemm(new GemmCall(4, 4, 4, good, stale, new(_out.Start, 4))));
        AssertRefuses(() => _device.Gemm(new GemmCall(4, 4, 4, good, good, target, Beta: 1)));
        AssertRefuses(() => _device.CopyToHost(fresh.At(48 * sizeof(float) - 1), new byte[2]));
        _device.Gemm(new GemmCall(4, 4, 4, good, good, target));
        AssertInitialised(48);
        _device.CopyToHost(fresh.Start, new byte[64 * sizeof(float)]);

        void AssertInitialised(int first) => _copy.Launch(1, 128, _out.Start, fresh.At(first * sizeof(float)), 16, 0f);

        void AssertUninitialised(int first) =>
            Assert.That(() => AssertInitialised(first), Throws.TypeOf<PtxException>().With.Message.Contains("uninitiali"));

        static void AssertRefuses(Action read) =>
            Assert.That(read, Throws.TypeOf<DeviceException>().With.Message.Contains("reads uninitialised memory").And.Message.Contains("of buffer 'fresh'"));
    }
}
