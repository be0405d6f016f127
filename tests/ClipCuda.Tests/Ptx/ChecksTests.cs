using ClipCuda.Ptx;

namespace ClipCuda.Tests.Ptx;

/// <summary>What check mode catches, and that its message says kernel, what, CUDA line, PTX line, block and thread.</summary>
public sealed unsafe class ChecksTests
{
    private const int Elements = 64;

    [Test]
    public void A_read_past_the_end_names_everything() =>
        Assert.That(
            () => Run("ld.global.u32 %r1, [%rd3+4];", grid: 2),
            Throws.TypeOf<PtxException>().With.Message.EqualTo(
                "kernel: read of 4 bytes past the end of buffer 'in' (offset 256 of 256), at kernels/k.cu:42 (check.ptx:20), block (1, 0, 0), thread (31, 0, 0)."));

    [TestCase("st.global.u32 [%rd2+4], %r0;", "write of 4 bytes past the end of buffer 'out'")]
    [TestCase("ld.global.u32 %r1, [%rd3+1];", "misaligned read of 4 bytes")]
    [TestCase("st.global.v2.u32 [%rd2], {%r0, %r0};", "misaligned write of 8 bytes")]
    [TestCase("ld.global.u32 %r1, [%rd2];", "of uninitialised memory in buffer 'out'")]
    [TestCase("mov.u64 %rd4, 4096; ld.global.u32 %r1, [%rd4];", "read of 4 bytes at 0x1000, in no buffer")]
    [TestCase("mov.u64 %rd4, -4096; ld.global.u32 %r1, [%rd4];", "read of 4 bytes past the end of buffer")]
    [TestCase("ld.shared.u32 %r1, [%rd1];", "read of uninitialised shared memory at offset 0")]
    [TestCase("st.shared.u32 [%rd1+4000], %r0;", "of 1024 bytes of shared memory")]
    [TestCase("trap;", "the kernel executed trap")]
    [TestCase("$forever: bra $forever;", "still running after")]
    [TestCase("setp.eq.s32 %p1, %r0, 3; @%p1 bra $join; bar.sync 0; $join:", "divergent barrier")]
    public void Each_fault_is_caught(string body, string message)
    {
        int steps = message.StartsWith("still", StringComparison.Ordinal) ? 10_000 : 1_000_000;
        Assert.That(() => Run(body, grid: 2, steps: steps), Throws.TypeOf<PtxException>().With.Message.Contains(message).And.Message.Contains("kernels/k.cu:42"));
    }

    /// <summary>Thread t and thread t ^ 32 are in different warps, t and t ^ 1 in one.</summary>
    [TestCase("xor.b32 %r2, %r0, 32;", "ld.shared.u32 %r1, [%rd4];", "race: reads shared memory")]
    [TestCase("xor.b32 %r2, %r0, 32;", "st.shared.u32 [%rd4], %r0;", "race: writes shared memory")]
    public void Accesses_of_two_warps_without_a_barrier_are_a_race(string other, string access, string message)
    {
        string body = $"st.shared.u32 [%rd1], %r0; {other} mul.wide.u32 %rd4, %r2, 4; {access}";
        Assert.That(() => Run(body, threads: 64), Throws.TypeOf<PtxException>().With.Message.Contains(message));
        Run(body.Replace(access, $"bar.sync 0; {access}", StringComparison.Ordinal), threads: 64);
        Run(body.Replace("%r0, 32", "%r0, 1", StringComparison.Ordinal), threads: 64);
    }

    [Test]
    public void A_write_over_another_warps_read_is_a_race() =>
        Assert.That(
            () => Run("st.shared.u32 [%rd1], %r0; bar.sync 0; ld.shared.u32 %r1, [%rd1]; xor.b32 %r2, %r0, 32; mul.wide.u32 %rd4, %r2, 4; st.shared.u32 [%rd4], %r0;", threads: 64),
            Throws.TypeOf<PtxException>().With.Message.Contains("which another warp read since the last barrier"));

    [Test]
    public void Shared_memory_by_a_generic_address_is_checked_as_well() =>
        Assert.That(
            () => Run("cvta.shared.u64 %rd4, %rd1; ld.u32 %r1, [%rd4];"),
            Throws.TypeOf<PtxException>().With.Message.Contains("read of uninitialised shared memory"));

    [Test]
    public void Threads_that_have_exited_do_not_count_at_a_barrier() => Run("setp.gt.u32 %p1, %r0, 5; @%p1 ret; bar.sync 0; bar.sync 0;", threads: 64);

    [Test]
    public void What_a_kernel_writes_another_may_read() => Run("st.global.u32 [%rd2], %r0; ld.global.u32 %r1, [%rd2];", grid: 2);

    /// <summary>The block that writes last is the first one.</summary>
    [Test]
    public void Blocks_run_from_the_last_to_the_first() =>
        Assert.That(Run("mov.u32 %r1, %ctaid.x; ld.param.u64 %rd4, [out]; add.s32 %r1, %r1, 7; st.global.u32 [%rd4], %r1;", grid: 2), Is.EqualTo(7));

    /// <summary>%r0 is the thread, %rd1 its byte offset in 1,024 bytes of shared memory, %rd2 and %rd3 its elements of out and in. Returns the first element of out.</summary>
    private static uint Run(string body, int grid = 1, int threads = 32, long steps = 1_000_000)
    {
        var entry = PtxModule.Parse($$"""
            .version 6.3
            .target sm_75
            .address_size 64
            .visible .entry kernel(.param .u64 out, .param .u64 in)
            {
                .reg .pred %p<2>; .reg .b32 %r<6>; .reg .b64 %rd<8>;
                .shared .align 8 .b8 memory[1024];
                .loc 1 42 1
                mov.u32 %r0, %tid.x;
                mov.u32 %r3, %ctaid.x;
                mov.u32 %r4, %ntid.x;
                mad.lo.s32 %r5, %r3, %r4, %r0;
                mul.wide.u32 %rd1, %r0, 4;
                mul.wide.u32 %rd5, %r5, 4;
                ld.param.u64 %rd2, [out];
                ld.param.u64 %rd3, [in];
                add.s64 %rd2, %rd2, %rd5;
                add.s64 %rd3, %rd3, %rd5;

                {{body}}
                ret;
            }
            .file 1 "kernels/k.cu"
            """, "check.ptx").Entries[0];
        // Aligned as device memory is, with a gap between the two.
        ulong* memory = stackalloc ulong[3 * Elements / 2], output = memory, input = memory + Elements;
        var map = new MemoryMap();
        map.Add((ulong)output, Elements * 4, "out");
        map.Add((ulong)input, Elements * 4, "in");
        map.MarkInitialised((ulong)input, Elements * 4);
        byte* parameters = stackalloc byte[16];
        ((ulong*)parameters)[0] = (ulong)output;
        ((ulong*)parameters)[1] = (ulong)input;
        KernelProgram.Create(entry, map, steps).Run(new LaunchShape(grid, threads), parameters, 0, grid);
        return *(uint*)output;
    }
}
