using static ClipCuda.Tests.Ptx.WarpKernel;

namespace ClipCuda.Tests.Ptx;

/// <summary>Loads and stores of every form, at equal, neighbouring and scattered addresses.</summary>
public sealed class MemoryTests
{
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
                    Assert.That(values[thread], Is.EqualTo(oddOnly && thread % 2 == 0 ? Untouched : expected), $"stride {stride}, thread {thread}");
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
            for (int thread = 0; thread < Threads; thread++) Assert.That(values[thread], Is.EqualTo(oddOnly && thread % 2 == 0 ? Untouched : (uint)thread * 1001 & mask), $"thread {thread}");
        }
    }

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
}
