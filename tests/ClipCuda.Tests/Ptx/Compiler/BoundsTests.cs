using ClipCuda.Ptx;
using ClipCuda.Ptx.Compiler;

namespace ClipCuda.Tests.Ptx.Compiler;

/// <summary>Compiled code whose accesses are checked: it refuses what the checking interpreter refuses, in the same words, and changes nothing else.</summary>
public sealed unsafe class BoundsTests
{
    private const int Elements = 256;

    // %r0 is the thread, %rd1 four times it, %rd2 and %rd3 its elements of out and in, %rd4 and %rd5 the first ones.
    [TestCase("ld.global.u32 %r1, [%rd3]; st.global.u32 [%rd2], %r1;")]
    [TestCase("ld.global.u32 %r1, [%rd3+896]; st.global.u32 [%rd2], %r1;")]
    [TestCase("ld.global.u32 %r1, [%rd3+900]; st.global.u32 [%rd2], %r1;")]
    [TestCase("ld.global.u32 %r1, [%rd3+-4]; st.global.u32 [%rd2], %r1;")]
    [TestCase("st.global.u32 [%rd2+1000], %r0;")]
    [TestCase("st.global.u32 [%rd4+1024], %r0;")]
    [TestCase("ld.global.u32 %r1, [%rd5+1024]; st.global.u32 [%rd2], %r1;")]
    // Strided up and down, in twos and fours, narrow.
    [TestCase("mul.wide.u32 %rd6, %r0, 32; add.s64 %rd6, %rd6, %rd5; ld.global.u32 %r1, [%rd6+28]; st.global.u32 [%rd2], %r1;")]
    [TestCase("mul.wide.u32 %rd6, %r0, 32; add.s64 %rd6, %rd6, %rd5; ld.global.u32 %r1, [%rd6+32]; st.global.u32 [%rd2], %r1;")]
    [TestCase("mul.wide.s32 %rd6, %r0, -8; add.s64 %rd6, %rd6, %rd5; ld.global.u32 %r1, [%rd6+248]; st.global.u32 [%rd2], %r1;")]
    [TestCase("mul.wide.s32 %rd6, %r0, -8; add.s64 %rd6, %rd6, %rd5; ld.global.u32 %r1, [%rd6+240]; st.global.u32 [%rd2], %r1;")]
    [TestCase("mul.wide.u32 %rd6, %r0, 32; add.s64 %rd6, %rd6, %rd5; ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd6+16]; st.global.u32 [%rd2], %r1;")]
    [TestCase("mul.wide.u32 %rd6, %r0, 32; add.s64 %rd6, %rd6, %rd4; st.global.v4.u32 [%rd6+32], {%r0, %r0, %r0, %r0};")]
    [TestCase("mul.wide.u32 %rd6, %r0, 1; add.s64 %rd6, %rd6, %rd5; ld.global.u8 %r1, [%rd6+992]; st.global.u32 [%rd2], %r1;")]
    [TestCase("mul.wide.u32 %rd6, %r0, 1; add.s64 %rd6, %rd6, %rd5; ld.global.u8 %r1, [%rd6+1000]; st.global.u32 [%rd2], %r1;")]
    // Scattered: lane 7 alone is far away.
    [TestCase("mul.lo.s32 %r1, %r0, %r0; rem.u32 %r1, %r1, 200; mul.wide.u32 %rd6, %r1, 4; add.s64 %rd6, %rd6, %rd5; ld.global.u32 %r2, [%rd6]; st.global.u32 [%rd2], %r2;")]
    [TestCase("setp.eq.u32 %p1, %r0, 7; selp.b64 %rd6, 4096, %rd3, %p1; ld.global.u32 %r1, [%rd6]; st.global.u32 [%rd2], %r1;")]
    [TestCase("setp.eq.u32 %p1, %r0, 7; selp.b64 %rd6, -4096, %rd2, %p1; st.global.u32 [%rd6], %r0;")]
    // Some lanes only: the others' addresses are nobody's business.
    [TestCase("setp.lt.u32 %p1, %r0, 9; @!%p1 ld.global.u32 %r1, [%rd3+-36]; @!%p1 st.global.u32 [%rd2+-36], %r1;")]
    [TestCase("setp.lt.u32 %p1, %r0, 9; @!%p1 ld.global.u32 %r1, [%rd3+-40];  @!%p1 st.global.u32 [%rd2], %r1;")]
    [TestCase("setp.lt.u32 %p1, %r0, 9; @%p1 st.global.u32 [%rd2+988], %r0;")]
    [TestCase("setp.lt.u32 %p1, %r0, 9; @%p1 st.global.u32 [%rd2+992], %r0;")]
    // Shared memory by offset and by generic address; local memory and variables of the module.
    [TestCase("st.shared.u32 [%rd1+384], %r0; ld.shared.u32 %r1, [%rd1+384]; st.global.u32 [%rd2], %r1;")]
    [TestCase("st.shared.u32 [%rd1+388], %r0;")]
    [TestCase("st.shared.u32 [%rd1+-4], %r0;")]
    [TestCase("cvta.shared.u64 %rd6, %rd1; st.u32 [%rd6+384], %r0; ld.u32 %r1, [%rd6+384]; st.global.u32 [%rd2], %r1;")]
    [TestCase("mov.u64 %rd6, table; cvta.global.u64 %rd6, %rd6; add.s64 %rd6, %rd6, %rd1; ld.u32 %r1, [%rd6]; st.global.u32 [%rd2], %r1;")]
    [TestCase("st.local.u32 [own], %r0; ld.local.u32 %r1, [own]; st.global.u32 [%rd2], %r1;")]
    [TestCase("mov.u64 %rd6, own; cvta.local.u64 %rd6, %rd6; st.u32 [%rd6], %r0; ld.u32 %r1, [%rd6]; st.global.u32 [%rd2], %r1;")]
    // In a loop of sums, which runs some of its lanes after the others.
    [TestCase("mov.u32 %r1, 0; mov.u32 %r2, 0; $next: ld.global.u32 %r3, [%rd3]; add.s32 %r1, %r1, %r3; add.s64 %rd3, %rd3, 128; add.s32 %r2, %r2, 1; setp.lt.u32 %p1, %r2, 8; @%p1 bra $next; st.global.u32 [%rd2], %r1;")]
    [TestCase("mov.u32 %r1, 0; mov.u32 %r2, 0; $next: ld.global.u32 %r3, [%rd3]; add.s32 %r1, %r1, %r3; add.s64 %rd3, %rd3, 128; add.s32 %r2, %r2, 1; setp.lt.u32 %p1, %r2, 9; @%p1 bra $next; st.global.u32 [%rd2], %r1;")]
    public void Refuses_what_the_interpreter_refuses(string body)
    {
        var (expected, words) = Run(body, vectorBits: 0);
        foreach (int bits in (int[])[128, 256, 512])
        {
            var (error, output) = Run(body, bits);
            Assert.That(error, Is.EqualTo(expected), $"{bits} bits");
            if (error.Length == 0) Assert.That(output, Is.EqualTo(words), $"{bits} bits");
        }
    }

    /// <summary>Where local memory lies differs between engines, and with it how far the access is from a buffer.</summary>
    [Test]
    public void Refuses_the_local_memory_of_another_thread([Values(0, 128, 256, 512)] int vectorBits)
    {
        Assert.That(Run("mov.u64 %rd6, own; cvta.local.u64 %rd6, %rd6; st.u32 [%rd6+4], %r0;", vectorBits).Error, Does.Match(@"^kernel: write of 4 bytes .*, thread \(0, 0, 0\)\.$"));
        Assert.That(Run("mov.u64 %rd6, own; cvta.local.u64 %rd6, %rd6; ld.u32 %r1, [%rd6+-4]; st.global.u32 [%rd2], %r1;", vectorBits).Error, Does.Match(@"^kernel: read of 4 bytes .*, thread \(0, 0, 0\)\.$"));
    }

    [Test]
    public void Names_all_that_a_reader_needs() =>
        Assert.That(
            Run("ld.global.u32 %r1, [%rd3+900]; st.global.u32 [%rd2], %r1;", vectorBits: 256).Error,
            Is.EqualTo("kernel: read of 4 bytes past the end of buffer 'in' (offset 1024 of 1024), at kernels/k.cu:42 (bounds.ptx:19), block (0, 0, 0), thread (31, 0, 0)."));

    [Test]
    public void A_buffer_that_is_gone_is_in_no_way_remembered()
    {
        var entry = Parse("st.global.u32 [%rd2], %r0;");
        uint* memory = stackalloc uint[Elements];
        var map = new MemoryMap(tracksWrites: false);
        map.Add((ulong)memory, Elements * 4, "out");
        using var program = CompiledProgram.TryCreate(entry, 256, out _, map)!;
        ulong* parameters = stackalloc ulong[2] { (ulong)memory, 0 };
        var shape = new LaunchShape(1, 32);
        program.Run(shape, (byte*)parameters, 0, 1);
        map.Remove((ulong)memory);
        Assert.That(() => program.Run(shape, (byte*)parameters, 0, 1), Throws.TypeOf<PtxException>().With.Message.Contains("in no buffer"));
        map.Add((ulong)memory, Elements * 4, "out");
        program.Run(shape, (byte*)parameters, 0, 1);
    }

    /// <summary>What a block of 32 threads wrote, and the error that ended it.</summary>
    private static (string Error, uint[] Output) Run(string body, int vectorBits)
    {
        var entry = Parse(body);
        // As device memory is aligned, with a gap between the two.
        uint* memory = stackalloc uint[3 * Elements], output = memory, input = memory + 2 * Elements;
        new Span<uint>(memory, 3 * Elements).Clear();
        for (int i = 0; i < Elements; i++) input[i] = (uint)i * 2654435761;
        var map = new MemoryMap(tracksWrites: vectorBits == 0);
        map.Add((ulong)output, Elements * 4, "out");
        map.Add((ulong)input, Elements * 4, "in");
        ulong* parameters = stackalloc ulong[2] { (ulong)output, (ulong)input };
        var shape = new LaunchShape(1, 32);
        try
        {
            if (vectorBits == 0)
            {
                map.MarkInitialised((ulong)input, Elements * 4);
                KernelProgram.Create(entry, map).Run(shape, (byte*)parameters, 0, 1);
            }
            else
            {
                using var program = CompiledProgram.TryCreate(entry, vectorBits, out string reason, map);
                Assert.That(program, Is.Not.Null, reason);
                program!.Run(shape, (byte*)parameters, 0, 1);
            }
        }
        catch (PtxException error)
        {
            return (error.Message, []);
        }
        return ("", new ReadOnlySpan<uint>(output, Elements).ToArray());
    }

    private static PtxEntry Parse(string body) =>
        PtxModule.Parse($$"""
            .version 6.3
            .target sm_75
            .address_size 64
            .global .align 8 .b8 table[128] = {1, 0, 0, 0, 2};
            .visible .entry kernel(.param .u64 out, .param .u64 in)
            {
                .reg .pred %p<2>; .reg .b32 %r<6>; .reg .b64 %rd<8>;
                .shared .align 8 .b8 memory[512];
                .local .align 4 .b8 own[4];
                mov.u32 %r0, %tid.x;
                mul.wide.u32 %rd1, %r0, 4;
                ld.param.u64 %rd4, [out];
                cvta.to.global.u64 %rd4, %rd4;
                ld.param.u64 %rd5, [in];
                cvta.to.global.u64 %rd5, %rd5;
                add.s64 %rd2, %rd4, %rd1;
                add.s64 %rd3, %rd5, %rd1;
                .loc 1 42 1
                {{body}}
                ret;
            }
            .file 1 "kernels/k.cu"
            """, "bounds.ptx").Entries[0];
}
