using ClipCuda.Ptx;

namespace ClipCuda.Tests.Ptx;

public sealed unsafe class KernelProgramTests
{
    /// <summary>y[block] = Σ f(x[i]) over the block's threads; f halves x in a loop whose length differs from lane to lane, odd threads leave early.</summary>
    private const string Reduction = """
        .version 6.3
        .target sm_75
        .address_size 64
        .visible .entry reduce(.param .u64 reduce_y, .param .u64 reduce_x, .param .u32 reduce_n)
        .maxntid 1024, 1, 1
        {
            .reg .pred %p<5>;
            .reg .b32 %r<12>;
            .reg .f32 %f<6>;
            .reg .b64 %rd<8>;
            .shared .align 4 .b8 part[4096];
            mov.u32 %r1, %tid.x;
            mov.u32 %r2, %ctaid.x;
            mov.u32 %r3, %ntid.x;
            mad.lo.s32 %r4, %r2, %r3, %r1;
            ld.param.u32 %r5, [reduce_n];
            ld.param.u64 %rd1, [reduce_x];
            mov.f32 %f1, 0f00000000;
            setp.ge.s32 %p1, %r4, %r5;
            @%p1 bra $store;
            mul.wide.s32 %rd2, %r4, 4;
            add.s64 %rd3, %rd1, %rd2;
            ld.global.f32 %f1, [%rd3];
            rem.s32 %r6, %r1, 7;
            mov.u32 %r7, 0;
        $loop:
            setp.ge.s32 %p2, %r7, %r6;
            @%p2 bra $store;
            mul.rn.f32 %f1, %f1, 0f3F000000;
            add.s32 %r7, %r7, 1;
            bra.uni $loop;
        $store:
            mov.u64 %rd4, part;
            mul.wide.u32 %rd5, %r1, 4;
            add.s64 %rd6, %rd4, %rd5;
            st.shared.f32 [%rd6], %f1;
            bar.sync 0;
            setp.ne.s32 %p3, %r1, 0;
            @%p3 bra $done;
            mov.f32 %f2, 0f00000000;
            mov.u32 %r8, 0;
        $sum:
            ld.shared.f32 %f3, [%rd4];
            add.rn.f32 %f2, %f2, %f3;
            add.s64 %rd4, %rd4, 4;
            add.s32 %r8, %r8, 1;
            setp.lt.s32 %p4, %r8, %r3;
            @%p4 bra $sum;
            ld.param.u64 %rd1, [reduce_y];
            mul.wide.s32 %rd2, %r2, 4;
            add.s64 %rd3, %rd1, %rd2;
            st.global.f32 [%rd3], %f2;
        $done:
            ret;
        }
        """;

    [Test]
    public void Divergent_loops_barriers_and_early_exits_give_the_sequential_result(
        [Values(false, true)] bool check, [Values(1, 31, 32, 33, 128, 129, 256, 1024)] int threads)
    {
        const int Blocks = 3;
        var entry = PtxModule.Parse(Reduction, "reduce.ptx").Entries[0];
        int count = Blocks * threads - threads / 3;
        float[] x = GC.AllocateArray<float>(count, pinned: true), y = GC.AllocateArray<float>(Blocks, pinned: true);
        for (int i = 0; i < count; i++) x[i] = 1f + i % 97;
        fixed (float* px = x, py = y)
        {
            MemoryMap? map = check ? new MemoryMap() : null;
            map?.Add((ulong)px, count * 4L, "x");
            map?.Add((ulong)py, Blocks * 4L, "y");
            map?.MarkInitialised((ulong)px, count * 4L);
            byte* parameters = stackalloc byte[20];
            *(float**)parameters = py;
            *(float**)(parameters + 8) = px;
            *(int*)(parameters + 16) = count;
            KernelProgram.Create(entry, map).Run(new LaunchShape(Blocks, threads), parameters, 0, Blocks);
        }
        for (int block = 0; block < Blocks; block++)
        {
            float sum = 0;
            for (int t = 0; t < threads; t++)
            {
                int i = block * threads + t;
                if (i < count) sum += x[i] * MathF.Pow(0.5f, t % 7);
            }
            Assert.That(y[block], Is.EqualTo(sum), $"block {block}");
        }
    }

    /// <summary>A register may be wider than the parameter (PTX ISA 5.4.1): it is then extended as its type says.</summary>
    [TestCase("s32", -2, -2)]
    [TestCase("u32", -2, 0xfffffffe)]
    [TestCase("s32", 3, 3)]
    public void A_parameter_extends_to_the_width_of_its_register(string type, int value, long expected)
    {
        var entry = PtxModule.Parse(
            $$"""
            .version 6.3
            .target sm_75
            .address_size 64
            .visible .entry widen(.param .u64 widen_y, .param .u32 widen_x)
            {
                .reg .b64 %rd<3>;
                ld.param.u64 %rd1, [widen_y];
                ld.param.{{type}} %rd2, [widen_x];
                st.global.u64 [%rd1], %rd2;
                ret;
            }
            """,
            "widen.ptx").Entries[0];
        long y = 0;
        byte* parameters = stackalloc byte[12];
        *(long**)parameters = &y;
        *(int*)(parameters + 8) = value;
        KernelProgram.Create(entry, checks: null).Run(new LaunchShape(1, 1), parameters, 0, 1);
        Assert.That(y, Is.EqualTo(expected));
    }

    /// <summary>Two halves of a block meet at barriers of their own, as many rounds as the half's number says; then a warp leaves and the rest meets again.</summary>
    [Test]
    public void Barriers_with_a_number_and_a_count_hold_up_whom_they_name([Values(false, true)] bool check)
    {
        var entry = PtxModule.Parse("""
            .version 7.0
            .target sm_80
            .address_size 64
            .visible .entry named(.param .u64 named_y)
            {
                .reg .pred %p<3>; .reg .b32 %r<8>; .reg .b64 %rd<5>;
                .shared .align 4 .b8 part[512];
                mov.u32 %r1, %tid.x;
                shr.u32 %r2, %r1, 6;
                add.s32 %r3, %r2, 1;
                mul.wide.u32 %rd1, %r1, 4;
                mov.u64 %rd2, part;
                add.s64 %rd2, %rd2, %rd1;
                st.shared.u32 [%rd2], %r1;
                bar.sync %r3, 64;
                xor.b32 %r4, %r1, 32;
                mul.wide.u32 %rd3, %r4, 4;
                mov.u64 %rd4, part;
                add.s64 %rd3, %rd4, %rd3;
                ld.shared.u32 %r5, [%rd3];
                setp.lt.u32 %p1, %r1, 32;
                @%p1 ret;
                bar.sync 0;
                ld.param.u64 %rd4, [named_y];
                add.s64 %rd4, %rd4, %rd1;
                st.global.u32 [%rd4], %r5;
                ret;
            }
            """, "named.ptx").Entries[0];
        uint[] y = GC.AllocateArray<uint>(128, pinned: true);
        byte* parameters = stackalloc byte[8];
        fixed (uint* start = y)
        {
            *(uint**)parameters = start;
            var map = new MemoryMap();
            map.Add((ulong)start, 512, "y");
            KernelProgram.Create(entry, check ? map : null).Run(new LaunchShape(1, 128), parameters, 0, 1);
        }
        Assert.That(y, Is.EqualTo(Enumerable.Range(0, 128).Select(t => t < 32 ? 0u : (uint)(t ^ 32))));
    }

    [Test]
    public void A_barrier_that_waits_for_too_many_is_a_deadlock()
    {
        var entry = PtxModule.Parse(".version 7.0\n.target sm_80\n.address_size 64\n.entry k() {\nbar.sync 2, 96;\nret; }", "k.ptx").Entries[0];
        byte* parameters = stackalloc byte[8];
        string? message = null;
        try
        {
            KernelProgram.Create(entry, null).Run(new LaunchShape(1, 64), parameters, 0, 1);
        }
        catch (PtxException error)
        {
            message = error.Message;
        }
        Assert.That(message, Does.StartWith("k: deadlock: barrier 2 waits for threads that never come, at (k.ptx:5)"));
    }
}
