using System.Runtime.InteropServices;
using ClipCuda.Devices;
using ClipCuda.Ptx;

namespace ClipCuda.Tests.Devices;

/// <summary>Launching: arguments and shapes are checked against the PTX before anything runs, and an error in a kernel reaches the caller.</summary>
[TestFixture("cpu")]
[TestFixture("cpu:check")]
[TestFixture("cuda")]
[TestFixture("managedcuda")]
public sealed class KernelTests(string name)
{
    // copy(float* out, const float* in, int n, float addend): out[i] = in[i] + addend, one thread an element; and a kernel with limits.
    internal const string Ptx = """
        .version 6.3
        .target sm_75
        .address_size 64

        .visible .entry test_copy(
            .param .u64 test_copy_param_0,
            .param .u64 test_copy_param_1,
            .param .u32 test_copy_param_2,
            .param .f32 test_copy_param_3
        )
        {
            .reg .pred  %p<2>;
            .reg .f32   %f<4>;
            .reg .b32   %r<6>;
            .reg .b64   %rd<8>;

            ld.param.u64    %rd1, [test_copy_param_0];
            ld.param.u64    %rd2, [test_copy_param_1];
            ld.param.u32    %r1, [test_copy_param_2];
            ld.param.f32    %f1, [test_copy_param_3];
            mov.u32         %r2, %ctaid.x;
            mov.u32         %r3, %ntid.x;
            mov.u32         %r4, %tid.x;
            mad.lo.s32      %r5, %r2, %r3, %r4;
            setp.ge.s32     %p1, %r5, %r1;
            @%p1 bra        $L_end;
            cvta.to.global.u64  %rd3, %rd2;
            mul.wide.s32    %rd4, %r5, 4;
            add.s64         %rd5, %rd3, %rd4;
            ld.global.f32   %f2, [%rd5];
            add.rn.f32      %f3, %f2, %f1;
            cvta.to.global.u64  %rd6, %rd1;
            add.s64         %rd7, %rd6, %rd4;
            st.global.f32   [%rd7], %f3;
        $L_end:
            ret;
        }

        .visible .entry test_limited(
            .param .u32 test_limited_param_0
        )
        .maxntid 128, 1, 1
        {
            .shared .align 4 .b8 buffer[40960];
            ret;
        }
        """;

    private IDisposable? _prepared;
    private Device _device = null!;
    private KernelModule _module = null!;
    private Kernel _copy = null!;
    private DeviceBuffer _in = null!, _out = null!;

    [SetUp]
    public void Open()
    {
        _prepared = TestDevices.Prepare(name);
        _device = Device.Open(name, 2);
        _module = _device.LoadModule("test.ptx", Ptx);
        _copy = _module["test_copy"];
        _in = _device.Allocate(1000 * sizeof(float), "in");
        _out = _device.Allocate(1000 * sizeof(float), "out");
        float[] values = [.. Enumerable.Range(0, 1000).Select(i => (float)i)];
        _device.CopyToDevice(MemoryMarshal.AsBytes(values.AsSpan()), _in.Start);
        _device.Clear(_out.Start, _out.Bytes);
    }

    [TearDown]
    public void Close()
    {
        _device?.Dispose();
        _prepared?.Dispose();
    }

    [Test]
    public void A_kernel_runs_over_all_blocks_and_stops_at_its_size()
    {
        for (int repeat = 1; repeat <= 3; repeat++)
        {
            _copy.Launch(8, 128, _out.Start, _in.Start, 999, (float)repeat);
            Assert.That(Download(_out), Is.EqualTo(Enumerable.Range(0, 1000).Select(i => i < 999 ? (float)i + repeat : 0)));
        }
    }

    [Test]
    public void A_pointer_into_a_buffer_is_an_argument()
    {
        _copy.Launch(1, 128, _out.At(40), _in.At(400), 5, 0f);
        Assert.That(Download(_out)[9..16], Is.EqualTo(new float[] { 0, 100, 101, 102, 103, 104, 0 }));
    }

    [Test]
    public void Modules_know_their_kernels()
    {
        Assert.That(_module.Kernels.Select(kernel => kernel.Name), Is.EquivalentTo(new[] { "test_copy", "test_limited" }));
        Assert.That(() => _module["test_paste"], Throws.TypeOf<DeviceException>().With.Message.Contains("no entry 'test_paste'; it has test_copy, test_limited"));
    }

    [Test]
    public void Wrong_arguments_are_refused()
    {
        AssertRefused(() => _copy.Launch(8, 128, _out.Start, _in.Start, 999), "takes 4 arguments (8 bytes, 8 bytes, 4 bytes, 4 bytes), got 3");
        AssertRefused(() => _copy.Launch(8, 128, _out.Start, _in.Start, 999, 0f, 0f), "takes 4 arguments");
        AssertRefused(() => _copy.Launch(8, 128, _out.Start, 5, 999, 0f), "argument 1 is 4 bytes, the kernel's parameter is 8");
        AssertRefused(() => _copy.Launch(8, 128, _out.Start, _in.Start, 999L, 0f), "argument 2 is 8 bytes, the kernel's parameter is 4");
    }

    [Test]
    public void Freed_and_foreign_buffers_are_refused()
    {
        using var otherDevice = Device.Open("cpu", 1);
        using var foreign = otherDevice.Allocate(4000, "foreign");
        var freed = _device.Allocate(4000, "freed");
        freed.Dispose();
        AssertRefused(() => _copy.Launch(8, 128, _out.Start, freed.Start, 999, 0f), "argument 1: buffer 'freed' has been freed");
        AssertRefused(() => _copy.Launch(8, 128, foreign.Start, _in.Start, 999, 0f), "argument 0: buffer 'foreign' belongs to another device");
    }

    [Test]
    public void Shapes_beyond_a_gpu_are_refused()
    {
        var limited = _module["test_limited"];
        limited.Launch(new Dim3(1, 65_535), 1, 0);
        limited.Launch(new LaunchShape(1, new Dim3(1, 2, 64), 8192), 0);
        AssertRefused(() => limited.Launch(0, 128, 0), "must be at least 1");
        AssertRefused(() => limited.Launch(1, new Dim3(128, 0), 0), "must be at least 1");
        AssertRefused(() => limited.Launch(new Dim3(1, 65_536), 128, 0), "exceeds 65535 in y or z");
        AssertRefused(() => limited.Launch(new Dim3(1, 1, 65_536), 128, 0), "exceeds 65535 in y or z");
        AssertRefused(() => limited.Launch(1, 129, 0), "more than 128 threads");
        AssertRefused(() => limited.Launch(1, new Dim3(1, 1, 65), 0), "z at most 64");
        AssertRefused(() => limited.Launch(new LaunchShape(1, 1, 8193), 0), "40960 + 8193 bytes of shared memory exceed 49152");
        AssertRefused(() => _copy.Launch(1, 1025, _out.Start, _in.Start, 999, 0f), "more than 1024 threads");
    }

    [Test]
    public void Ptx_that_cannot_be_read_is_an_error() =>
        Assert.That(() => _device.LoadModule("bad.ptx", "nonsense"), Throws.TypeOf<PtxException>().With.Message.Contains("bad.ptx"));

    private static void AssertRefused(Action launch, string reason) =>
        Assert.That(launch, Throws.TypeOf<DeviceException>().With.Message.Contains(reason));

    private float[] Download(DeviceBuffer buffer)
    {
        var values = new float[buffer.Bytes / sizeof(float)];
        _device.CopyToHost(buffer.Start, MemoryMarshal.AsBytes(values.AsSpan()));
        return values;
    }
}
