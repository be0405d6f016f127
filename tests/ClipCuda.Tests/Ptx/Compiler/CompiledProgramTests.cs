using ClipCuda.Ptx;
using ClipCuda.Ptx.Compiler;

namespace ClipCuda.Tests.Ptx.Compiler;

/// <summary>
/// The compiler against the interpreter, bit for bit, at each vector width, in blocks of whole warps, of parts of warps and of two dimensions.
/// A body finds its thread's number in %r0, its 16 bytes of the result at %rd0 and 4,096 bytes of input at %rd1.
/// </summary>
public sealed unsafe class CompiledProgramTests
{
    private const int Blocks = 3, WordsAThread = 4;

    private static readonly Dim3[] Shapes = [new(128), new(32), new(20), new(50), new(96), new(8, 4), new(16, 3), new(5, 7, 2)];

    private static readonly uint[] Edges =
        [0, 0x80000000, 1, 0xFFFFFFFF, 0x7FFFFFFF, 0x7F800000, 0xFF800000, 0x7FC00001, 0xFFC12345, 0x7F800001, 0x00000001, 0x807FFFFF, 0x3F800000, 0xBF800000, 0x42B17218, 31, 32, 33];

    [TestCase("""
        setp.lt.s32 %p0, %r0, 7; mov.u32 %r2, 5; @%p0 bra $then; add.s32 %r2, %r2, %r0; bra.uni $join;
        $then: mul.lo.s32 %r2, %r0, 3;
        $join: st.global.u32 [%rd0], %r2;
        """, TestName = "A register set on both sides of a branch")]
    [TestCase("""
        and.b32 %r3, %r0, 7; mov.u32 %r2, 0; mov.u32 %r4, 0;
        $loop: add.s32 %r2, %r2, %r4; add.s32 %r4, %r4, 1; setp.lt.u32 %p0, %r4, %r3; @%p0 bra $loop;
        st.global.u32 [%rd0], %r2; st.global.u32 [%rd0+4], %r4;
        """, TestName = "Values carried out of a loop that lanes leave one after another")]
    [TestCase("""
        and.b32 %r3, %r0, 3; mov.u32 %r2, 0; mov.u32 %r4, 0;
        $outer: mov.u32 %r5, 0;
        $inner: add.s32 %r2, %r2, %r5; setp.gt.u32 %p1, %r2, 40; @%p1 bra $out; add.s32 %r5, %r5, 1; setp.le.u32 %p0, %r5, %r3; @%p0 bra $inner;
        add.s32 %r4, %r4, 1; setp.lt.u32 %p0, %r4, 5; @%p0 bra $outer;
        $out: st.global.u32 [%rd0], %r2; st.global.u32 [%rd0+4], %r4; st.global.u32 [%rd0+8], %r5;
        """, TestName = "Nested loops and a way out of both")]
    [TestCase("""
        st.global.u32 [%rd0], %r0; setp.gt.u32 %p0, %r0, 9; @%p0 ret;
        mul.lo.s32 %r2, %r0, %r0; st.global.u32 [%rd0+4], %r2;
        """, TestName = "Lanes that end early")]
    [TestCase("""
        setp.eq.u32 %p0, %r0, 3; mov.u32 %r2, 1; @%p0 mov.u32 %r2, 2; @!%p0 st.global.u32 [%rd0+4], %r0; st.global.u32 [%rd0], %r2;
        """, TestName = "Guarded instructions")]
    [TestCase("""
        add.s32 %r2, %r0, 2147483632; cvt.s64.s32 %rd2, %r2; shr.u64 %rd3, %rd2, 32; cvt.u32.u64 %r3, %rd3; cvt.u32.u64 %r4, %rd2;
        st.global.u32 [%rd0], %r3; st.global.u32 [%rd0+4], %r4;
        add.s32 %r5, %r0, -5; mul.wide.u32 %rd4, %r5, 12; shr.u64 %rd5, %rd4, 32; cvt.u32.u64 %r6, %rd5; st.global.u32 [%rd0+8], %r6;
        """, TestName = "Indices that overflow between two lanes")]
    [TestCase("""
        min.s32 %r2, %r0, 13; max.s32 %r3, %r0, 40; mul.wide.u32 %rd2, %r2, 4; add.s64 %rd2, %rd1, %rd2; ld.global.u32 %r4, [%rd2];
        min.s32 %r5, %r0, 5000; mul.wide.s32 %rd3, %r5, 4; add.s64 %rd3, %rd1, %rd3; ld.global.u32 %r6, [%rd3];
        st.global.u32 [%rd0], %r4; st.global.u32 [%rd0+4], %r3; st.global.u32 [%rd0+8], %r6;
        """, TestName = "Indices clamped in some lanes or in none")]
    [TestCase("""
        mul.wide.u32 %rd2, %r0, 4; add.s64 %rd2, %rd1, %rd2; ld.global.f32 %f0, [%rd2]; ld.global.f32 %f1, [%rd1+8];
        add.rn.f32 %f2, %f0, %f1; fma.rn.f32 %f3, %f2, %f0, %f1; mov.b32 %r2, %f3; xor.b32 %r3, %r2, 1;
        setp.gtu.f32 %p0, %f0, 0f40000000; selp.f32 %f4, %f0, %f2, %p0; max.f32 %f5, %f0, %f1;
        st.global.f32 [%rd0], %f2; st.global.u32 [%rd0+4], %r3; st.global.f32 [%rd0+8], %f4; st.global.f32 [%rd0+12], %f5;
        """, TestName = "NaNs of memory and of arithmetic")]
    [TestCase("""
        mul.wide.u32 %rd2, %r0, 16; and.b64 %rd2, %rd2, 2047; add.s64 %rd2, %rd1, %rd2; ld.global.v4.u32 {%r2, %r3, %r4, %r5}, [%rd2];
        mul.lo.s32 %r6, %r0, 37; and.b32 %r6, %r6, 1020; cvt.u64.u32 %rd3, %r6; add.s64 %rd3, %rd1, %rd3; ld.global.u8 %r7, [%rd3+3];
        add.s32 %r2, %r2, %r7; st.global.v2.u32 [%rd0], {%r2, %r3}; st.global.u16 [%rd0+8], %r4; ld.global.s8 %r8, [%rd3]; st.global.u32 [%rd0+12], %r8;
        """, TestName = "Loads of four elements, of bytes, and stores of two and of halves")]
    [TestCase("""
        mul.wide.u32 %rd2, %r0, 4; add.s64 %rd2, %rd1, %rd2; ld.global.u32 %r2, [%rd2]; ld.global.u32 %r3, [%rd2+28];
        div.s32 %r4, %r2, %r3; rem.s32 %r5, %r2, %r3; div.u32 %r6, %r2, %r3; rem.u32 %r7, %r2, %r3;
        st.global.u32 [%rd0], %r4; st.global.u32 [%rd0+4], %r5; st.global.u32 [%rd0+8], %r6; st.global.u32 [%rd0+12], %r7;
        """, TestName = "Quotients and remainders")]
    [TestCase("""
        and.b32 %r2, %r0, 31; shr.u32 %r3, %r0, 5; shl.b32 %r4, %r0, 3; and.b32 %r4, %r4, 7936; or.b32 %r5, %r2, 64; cvt.u64.u32 %rd2, %r0; and.b64 %rd3, %rd2, 28; cvt.u32.u64 %r6, %rd3;
        st.global.u32 [%rd0], %r3; st.global.u32 [%rd0+4], %r4; st.global.u32 [%rd0+8], %r5; st.global.u32 [%rd0+12], %r6;
        """, TestName = "Parts of the thread index")]
    [TestCase("""
        mov.u32 %r2, %tid.y; mov.u32 %r3, %ctaid.x; mov.u32 %r4, %tid.z; mov.u32 %r5, %ntid.x; mad.lo.s32 %r2, %r2, %r5, %r4; st.global.u32 [%rd0], %r2; st.global.u32 [%rd0+4], %r3;
        """, TestName = "Special registers")]
    [TestCase("""
        ld.global.f32 %f0, [%rd1+28]; max.f32 %f1, %f0, 0f80000000; min.f32 %f2, %f0, 0f00000000; ld.global.f32 %f3, [%rd1+4]; max.f32 %f4, 0f80000000, %f3; min.f32 %f5, %f3, 0f80000000;
        st.global.f32 [%rd0], %f1; st.global.f32 [%rd0+4], %f2; st.global.f32 [%rd0+8], %f4; st.global.f32 [%rd0+12], %f5;
        """, TestName = "Maxima with a negative zero")]
    [TestCase("""
        setp.lt.u32 %p0, %r0, 9; setp.lt.u32 %p1, %r0, 5; @%p0 setp.gt.xor.s32 %p1, %r0, 3, %p0; selp.u32 %r2, 1, 0, %p1; st.global.u32 [%rd0], %r2;
        """, TestName = "A guard that is an operand too")]
    public void Gives_the_interpreters_bits(string body)
    {
        foreach (var shape in Shapes) Compare(body, shape);
    }

    [TestCase("add.rn.f32")]
    [TestCase("max.f32")]
    public void Reduces_warps_to_the_interpreters_bits(string operation) =>
        Compare(
            $"mul.wide.u32 %rd2, %r0, 4; add.s64 %rd2, %rd1, %rd2; ld.global.f32 %f0, [%rd2+72];" +
            string.Concat(new[] { 16, 8, 4, 2, 1 }.Select(d => $"shfl.sync.bfly.b32 %f1, %f0, {d}, 31, -1; {operation} %f0, %f0, %f1;")) +
            "st.global.f32 [%rd0], %f0; sqrt.rn.f32 %f2, %f0; st.global.f32 [%rd0+4], %f2;",
            new Dim3(128));

    /// <summary>Each result is used twice: whoever follows every path to the first looks at 2^60 of them.</summary>
    [Test]
    public void Compiles_a_number_squared_sixty_times_over() =>
        Compare(
            "mul.wide.u32 %rd2, %r0, 4; add.s64 %rd2, %rd1, %rd2; ld.global.f32 %f0, [%rd2]; add.rn.f32 %f1, %f0, 0f4B40007F;" +
            string.Concat(Enumerable.Repeat("mul.rn.f32 %f0, %f0, %f0;", 60)) +
            "mov.b32 %r2, %f1; shl.b32 %r2, %r2, 23; mov.b32 %f2, %r2; mul.rn.f32 %f2, %f0, %f2; st.global.f32 [%rd0], %f2; st.global.u32 [%rd0+4], %r2;",
            new Dim3(128));

    [Test]
    public void Carries_registers_over_barriers_in_a_loop() =>
        Compare(
            """
            mul.lo.s32 %r2, %r0, 7; mov.u32 %r3, 0; mul.wide.u32 %rd2, %r0, 4;
            mov.u64 %rd3, memory; add.s64 %rd2, %rd3, %rd2;
            $loop: st.shared.u32 [%rd2], %r2; bar.sync 0; ld.shared.u32 %r4, [memory+128]; bar.sync 0;
            add.s32 %r2, %r2, %r4; add.s32 %r3, %r3, 1; setp.lt.u32 %p0, %r3, 4; @%p0 bra $loop;
            st.global.u32 [%rd0], %r2;
            """,
            new Dim3(128), new Dim3(50), new Dim3(96));

    [TestCase("setp.lt.u32 %p0, %r0, 5; @%p0 bra $a; bar.sync 0; $a: st.global.u32 [%rd0], %r0;", "divergent barrier")]
    [TestCase("setp.eq.u32 %p0, %r0, 37; @%p0 trap; st.global.u32 [%rd0], %r0;", "the kernel executed trap")]
    public void Faults_in_the_interpreters_words(string body, string expected)
    {
        string interpreted = Assert.Throws<PtxException>(() => Run(body, new Dim3(64), vectorBits: 0))!.Message;
        Assert.That(interpreted, Does.Contain(expected));
        foreach (int bits in (int[])[128, 256, 512])
            Assert.That(() => Run(body, new Dim3(64), bits), Throws.TypeOf<PtxException>().With.Message.EqualTo(interpreted), $"{bits} bits");
    }

    [Test]
    public void Leaves_loops_with_two_entries_to_the_interpreter()
    {
        var entry = Parse("setp.eq.u32 %p0, %r0, 1; @%p0 bra $b; $a: add.s32 %r0, %r0, 1; $b: add.s32 %r0, %r0, 2; setp.lt.u32 %p0, %r0, 9; @%p0 bra $a;");
        Assert.That(CompiledProgram.TryCreate(entry, 512, out string reason), Is.Null);
        Assert.That(reason, Is.EqualTo("a loop with two entries"));
    }

    private static void Compare(string body, params Dim3[] shapes)
    {
        foreach (var shape in shapes)
        {
            uint[] expected = Run(body, shape, vectorBits: 0);
            foreach (int bits in (int[])[128, 256, 512])
                Assert.That(Run(body, shape, bits).Select(w => $"{w:x8}"), Is.EqualTo(expected.Select(w => $"{w:x8}")), $"block {shape}, {bits} bits");
        }
    }

    private static uint[] Run(string body, Dim3 shape, int vectorBits)
    {
        var entry = Parse(body);
        uint[] output = new uint[Blocks * shape.Count * WordsAThread];
        uint[] input = [.. Enumerable.Range(0, 1024).Select(i => i % 5 == 4 ? (uint)i * 2654435761 : Edges[i % Edges.Length])];
        byte* parameters = stackalloc byte[16];
        fixed (uint* to = output, from = input)
        {
            ((ulong*)parameters)[0] = (ulong)to;
            ((ulong*)parameters)[1] = (ulong)from;
            var launch = new LaunchShape(Blocks, shape);
            if (vectorBits == 0)
            {
                KernelProgram.Create(entry, checks: null).Run(launch, parameters, 0, Blocks);
                return output;
            }
            using var program = CompiledProgram.TryCreate(entry, vectorBits, out string reason);
            Assert.That(program, Is.Not.Null, reason);
            program!.Run(launch, parameters, 0, Blocks);
            return output;
        }
    }

    private static PtxEntry Parse(string body) =>
        PtxModule.Parse($$"""
            .version 6.3
            .target sm_75
            .address_size 64
            .visible .entry kernel(.param .u64 out, .param .u64 in)
            {
                .reg .pred %p<4>; .reg .f32 %f<8>; .reg .b32 %r<12>; .reg .b64 %rd<12>;
                .shared .align 16 .b8 memory[2048];
                mov.u32 %r0, %tid.x; mov.u32 %r1, %ntid.x; mov.u32 %r10, %tid.y; mad.lo.s32 %r0, %r10, %r1, %r0;
                mov.u32 %r10, %ntid.y; mul.lo.s32 %r1, %r1, %r10; mov.u32 %r10, %tid.z; mad.lo.s32 %r0, %r10, %r1, %r0;
                mov.u32 %r10, %ntid.z; mul.lo.s32 %r1, %r1, %r10; mov.u32 %r10, %ctaid.x; mad.lo.s32 %r11, %r10, %r1, %r0;
                ld.param.u64 %rd0, [out]; mul.wide.u32 %rd10, %r11, 16; add.s64 %rd0, %rd0, %rd10; ld.param.u64 %rd1, [in];
                {{body}}
                ret;
            }
            """, "test.ptx").Entries[0];
}
