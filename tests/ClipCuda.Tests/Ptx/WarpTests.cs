using ClipCuda.Ptx;

namespace ClipCuda.Tests.Ptx;

/// <summary>Loads and stores of every form, guards, special registers, and what lanes of a warp exchange.</summary>
public sealed unsafe class WarpTests
{
    private const int Threads = 128;

    /// <summary>shfl.sync by its definition (PTX ISA 9.7.9.6), for every mode, in segments of 4 to 32 lanes.</summary>
    [Test]
    public void Shuffles_read_the_lane_that_the_manual_says(
        [Values("up", "down", "bfly", "idx")] string mode, [Values(4, 8, 16, 32)] int width, [Values(0, 1, 3, 8, 16, 31)] int amount, [Values(false, true)] bool oddOnly)
    {
        int clamp = mode == "up" ? 0 : 31, c = (32 - width) << 8 | clamp;
        uint[] values = Run($"shfl.sync.{mode}.b32 %r1|%p1, %r0, {amount}, {c}, -1; selp.b32 %r2, 1000, 0, %p1; add.s32 %r1, %r1, %r2;", oddOnly);
        for (int thread = 0; thread < Threads; thread++)
        {
            int lane = thread % 32, segment = c >> 8 & 31, last = (lane & segment) | (clamp & ~segment & 31), first = lane & segment;
            int source = mode switch { "up" => lane - amount, "down" => lane + amount, "bfly" => lane ^ amount, _ => first | (amount & ~segment & 31) };
            bool inside = mode == "up" ? source >= last : source <= last;
            uint expected = (uint)(thread - lane + (inside ? source : lane) + (inside ? 1000 : 0));
            Assert.That(values[thread], Is.EqualTo(oddOnly && thread % 2 == 0 ? 7777u : expected), $"thread {thread}");
        }
    }

    [Test]
    public void A_butterfly_over_whole_warps_is_the_same_permutation([Values(1, 2, 4, 8, 16, 21, 31)] int amount)
    {
        uint[] values = Run($"shfl.sync.bfly.b32 %r1, %r0, {amount}, 31, -1;");
        Assert.That(values, Is.EqualTo(Enumerable.Range(0, Threads).Select(t => (uint)(t ^ amount))));
    }

    [TestCase("%tid.x", "thread")]
    [TestCase("%laneid", "lane")]
    [TestCase("%warpid", "warp")]
    [TestCase("%lanemask_eq", "eq")]
    [TestCase("%lanemask_lt", "lt")]
    [TestCase("%lanemask_le", "le")]
    [TestCase("%lanemask_gt", "gt")]
    [TestCase("%lanemask_ge", "ge")]
    [TestCase("%ntid.x", "128")]
    [TestCase("%ctaid.y", "0")]
    [TestCase("%nctaid.z", "1")]
    public void Special_registers_hold_their_values(string register, string meaning)
    {
        uint[] values = Run($"mov.u32 %r1, {register};");
        for (int thread = 0; thread < Threads; thread++)
        {
            int lane = thread % 32;
            uint expected = meaning switch
            {
                "thread" => (uint)thread,
                "lane" => (uint)lane,
                "warp" => (uint)(thread / 32),
                "eq" => 1u << lane,
                "lt" => (uint)((1UL << lane) - 1),
                "le" => (uint)((2UL << lane) - 1),
                "gt" => ~(uint)((2UL << lane) - 1),
                "ge" => ~(uint)((1UL << lane) - 1),
                _ => uint.Parse(meaning, System.Globalization.CultureInfo.InvariantCulture),
            };
            Assert.That(values[thread], Is.EqualTo(expected), $"thread {thread}");
        }
    }

    [TestCase("@%p0 mov.u32 %r1, 5;", 5u, 7777u)]
    [TestCase("@!%p0 add.s32 %r1, %r1, 1;", 7777u, 7778u)]
    public void Guards_narrow_the_mask_for_one_instruction(string instruction, uint odd, uint even) =>
        Assert.That(Run($"{instruction} add.s32 %r1, %r1, 0;"), Is.EqualTo(Enumerable.Range(0, Threads).Select(t => t % 2 == 1 ? odd : even)));

    [Test]
    public void A_guarded_return_ends_those_threads_only() =>
        Assert.That(Run("st.global.u32 [%rd2], %r1; @%p0 ret; mov.u32 %r1, 9;"), Is.EqualTo(Enumerable.Range(0, Threads).Select(t => t % 2 == 1 ? 7777u : 9u)));

    /// <summary>The bytes of the source are 0x80 + i, so that signs show; %rd3 walks over it by the stride.</summary>
    [TestCase("ld.global.u8 %h1, [%rd3]; cvt.u32.u16 %r1, %h1;", 1)]
    [TestCase("ld.global.s8 %r1, [%rd3];", 1)]
    [TestCase("ld.global.u16 %h1, [%rd3]; cvt.u32.u16 %r1, %h1;", 2)]
    [TestCase("ld.global.s16 %r1, [%rd3];", 2)]
    [TestCase("ld.global.u32 %r1, [%rd3];", 4)]
    [TestCase("ld.global.nc.f32 %r1, [%rd3];", 4)]
    [TestCase("ld.u32 %r1, [%rd3+4];", 4, 4)]
    [TestCase("ld.global.s32 %rd5, [%rd3]; shr.u64 %rd5, %rd5, 16; cvt.u32.u64 %r1, %rd5;", 4)]
    [TestCase("ld.global.u32 %rd5, [%rd3]; shr.u64 %rd5, %rd5, 16; cvt.u32.u64 %r1, %rd5;", 4)]
    [TestCase("ld.global.u64 %rd5, [%rd3]; shr.u64 %rd5, %rd5, 20; cvt.u32.u64 %r1, %rd5;", 8)]
    [TestCase("ld.global.v2.u32 {%r1, %r2}, [%rd3]; sub.s32 %r1, %r1, %r2;", 8)]
    [TestCase("ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd3]; sub.s32 %r1, %r1, %r2; sub.s32 %r3, %r3, %r4; xor.b32 %r1, %r1, %r3;", 16)]
    public void Loads_extend_by_the_sign_of_their_type(string body, int size, int offset = 0)
    {
        foreach (int stride in (int[])[0, size, 2 * size])
        {
            foreach (bool oddOnly in (bool[])[false, true])
            {
                uint[] values = Run($"mul.wide.u32 %rd4, %r0, {stride}; add.s64 %rd3, %rd3, %rd4; {body}", oddOnly);
                for (int thread = 0; thread < Threads; thread++)
                {
                    ReadOnlySpan<byte> at = Source.AsSpan(thread * stride + offset);
                    uint expected = Expected(body, at);
                    Assert.That(values[thread], Is.EqualTo(oddOnly && thread % 2 == 0 ? 7777u : expected), $"stride {stride}, thread {thread}");
                }
            }
        }
    }

    [TestCase("st.shared.u8 [%rd6], %r0; ld.shared.u8 %r1, [%rd6];", 255u)]
    [TestCase("st.shared.u16 [%rd6], %r0; ld.shared.u16 %r1, [%rd6];", 65535u)]
    [TestCase("st.shared.u32 [%rd6], %r0; ld.shared.u32 %r1, [%rd6];", uint.MaxValue)]
    [TestCase("st.shared.v2.u32 [%rd6], {%r3, %r0}; ld.shared.u32 %r1, [%rd6+4];", uint.MaxValue)]
    [TestCase("st.shared.v4.u32 [%rd6], {%r3, %r3, %r3, %r0}; ld.shared.u32 %r1, [%rd6+12];", uint.MaxValue)]
    [TestCase("cvt.u64.u32 %rd5, %r0; st.shared.u64 [%rd6], %rd5; ld.shared.u32 %r1, [%rd6];", uint.MaxValue)]
    [TestCase("cvta.shared.u64 %rd5, %rd6; st.u32 [%rd5], %r0; cvta.to.shared.u64 %rd4, %rd5; ld.shared.u32 %r1, [%rd4];", uint.MaxValue)]
    public void Stores_keep_the_low_bits(string body, uint mask)
    {
        foreach (bool oddOnly in (bool[])[false, true])
        {
            uint[] values = Run($"mul.lo.s32 %r5, %r0, 16; cvt.u64.u32 %rd4, %r5; mov.u64 %rd6, memory; add.s64 %rd6, %rd6, %rd4; mov.u32 %r3, 0; mul.lo.s32 %r0, %r0, 1001; {body}", oddOnly);
            for (int thread = 0; thread < Threads; thread++) Assert.That(values[thread], Is.EqualTo(oddOnly && thread % 2 == 0 ? 7777u : (uint)thread * 1001 & mask), $"thread {thread}");
        }
    }

    private static readonly byte[] Source = [.. Enumerable.Range(0, 4096).Select(i => (byte)(0x80 + i * 37))];

    private static uint Expected(string body, ReadOnlySpan<byte> at)
    {
        uint first = BitConverter.ToUInt32(at), second = BitConverter.ToUInt32(at[4..]);
        if (body.Contains(".s8", StringComparison.Ordinal)) return (uint)(sbyte)at[0];
        if (body.Contains("ld.global.u8", StringComparison.Ordinal)) return at[0];
        if (body.Contains(".s16", StringComparison.Ordinal)) return (uint)BitConverter.ToInt16(at);
        if (body.Contains("ld.global.u16", StringComparison.Ordinal)) return BitConverter.ToUInt16(at);
        if (body.Contains("s32 %rd5", StringComparison.Ordinal)) return (uint)((long)(int)first >> 16);
        if (body.Contains("u32 %rd5", StringComparison.Ordinal)) return first >> 16;
        if (body.Contains("u64 %rd5", StringComparison.Ordinal)) return (uint)(BitConverter.ToUInt64(at) >> 20);
        if (body.Contains(".v2", StringComparison.Ordinal)) return first - second;
        if (body.Contains(".v4", StringComparison.Ordinal)) return (first - second) ^ (BitConverter.ToUInt32(at[8..]) - BitConverter.ToUInt32(at[12..]));
        return first;
    }

    /// <summary>Runs a body in 128 threads: %r0 is the thread, %p0 whether it is odd, %rd2 its element of the result, %rd3 the source; returns %r1, 7777 at first.</summary>
    private static uint[] Run(string body, bool oddOnly = false)
    {
        var entry = PtxModule.Parse($$"""
            .version 6.3
            .target sm_75
            .address_size 64
            .visible .entry kernel(.param .u64 out, .param .u64 in)
            {
                .reg .pred %p<3>; .reg .b16 %h<2>; .reg .b32 %r<8>; .reg .b64 %rd<8>;
                .shared .align 16 .b8 memory[2048];
                mov.u32 %r0, %tid.x;
                and.b32 %r6, %r0, 1;
                setp.ne.s32 %p0, %r6, 0;
                mul.wide.u32 %rd1, %r0, 4;
                ld.param.u64 %rd2, [out];
                add.s64 %rd2, %rd2, %rd1;
                ld.param.u64 %rd3, [in];
                mov.u32 %r1, 7777;
                {{(oddOnly ? "@!%p0 bra $end;" : "")}}
                {{body}}
            $end:
                st.global.u32 [%rd2], %r1;
                ret;
            }
            """, "warp.ptx").Entries[0];
        var results = new uint[Threads];
        byte* parameters = stackalloc byte[16];
        fixed (uint* output = results)
        fixed (byte* input = Source)
        {
            ((ulong*)parameters)[0] = (ulong)output;
            ((ulong*)parameters)[1] = (ulong)input;
            KernelProgram.Create(entry, checks: null).Run(new LaunchShape(1, Threads), parameters, 0, 1);
        }
        return results;
    }
}
