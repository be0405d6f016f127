using ClipCuda.Ptx;
using static ClipCuda.Tests.Ptx.WarpKernel;

namespace ClipCuda.Tests.Ptx;

/// <summary>Calls as clang writes them, on both engines.</summary>
public sealed class InlinerTests
{
    /// <summary>collatz counts steps with a return inside a loop; twice calls it and adds; pair takes and gives a struct; local has an array it indexes.</summary>
    private const string Functions = """
        .extern .func __assertfail ( .param .b64 __assertfail_param_0 ) .noreturn ;
        .extern .func (.param .b32 func_retval0) vprintf ( .param .b64 a, .param .b64 b ) ;
        .global .align 1 .b8 _$_str[6] = {65, 66, 67};
        .const .align 4 .u32 table[4] = {10, 20, 0x1E, -1};
        .global .align 8 .u64 pointer = table+4;
        .visible .func  (.param .b32 func_retval0) collatz(
            .param .b32 collatz_param_0
        )
        {
            .reg .pred %p<4>; .reg .b32 %r<8>;
            ld.param.u32 %r1, [collatz_param_0];
            mov.u32 %r2, 0;
        $L__BB0_1:
            setp.lt.u32 %p1, %r1, 2;
            @%p1 bra $L__BB0_2;
            and.b32 %r3, %r1, 1;
            setp.eq.s32 %p2, %r3, 1;
            shr.u32 %r4, %r1, 1;
            mad.lo.s32 %r5, %r1, 3, 1;
            selp.b32 %r1, %r5, %r4, %p2;
            add.s32 %r2, %r2, 1;
            setp.gt.u32 %p3, %r2, 19;
            @!%p3 bra $L__BB0_1;
            st.param.b32 [func_retval0+0], 20;
            ret;
        $L__BB0_2:
            st.param.b32 [func_retval0+0], %r2;
            ret;
        }
        .weak .func  (.param .b32 func_retval0) twice(.param .b32 twice_param_0)
        {
            .reg .b32 %r<4>;
            ld.param.u32 %r1, [twice_param_0];
            { // callseq 0
            .param .b32 param0; st.param.b32 [param0+0], %r1; .param .b32 retval0;
            call.uni (retval0),
            collatz,
            (
            param0
            );
            ld.param.b32 %r2, [retval0+0];
            } // callseq 0
            add.s32 %r1, %r1, 1;
            {
            .param .b32 param0; st.param.b32 [param0+0], %r1; .param .b32 retval0;
            call.uni (retval0), collatz, (param0);
            ld.param.b32 %r3, [retval0+0];
            }
            add.s32 %r2, %r2, %r3;
            st.param.b32 [func_retval0+0], %r2;
            ret;
        }
        .visible .func  (.param .align 8 .b8 func_retval0[8]) swap(.param .align 8 .b8 swap_param_0[8], .param .b32 swap_param_1)
        {
            .reg .b32 %r<4>; .reg .b16 %h<2>;
            ld.param.v2.u32 {%r1, %r2}, [swap_param_0];
            ld.param.u8 %h1, [swap_param_1];
            cvt.u32.u16 %r3, %h1;
            add.s32 %r2, %r2, %r3;
            st.param.b32 [func_retval0+0], %r2;
            st.param.b32 [func_retval0+4], %r1;
        }
        .func (.param .b32 func_retval0) depot(.param .b32 depot_param_0)
        {
            .local .align 16 .b8 __local_depot3[32];
            .reg .b64 %SP; .reg .b64 %SPL; .reg .b32 %r<6>; .reg .b64 %rd<4>; .reg .pred %p1;
            mov.u64 %SPL, __local_depot3; cvta.local.u64 %SP, %SPL;
            ld.param.u32 %r1, [depot_param_0];
            st.local.u32 [%SPL+8], %r1;
            mov.u32 %r2, 0; mov.u64 %rd1, %SP;
        $fill:
            mul.lo.s32 %r3, %r2, %r1;
            st.u32 [%rd1+-0], %r3;
            add.s64 %rd1, %rd1, 4; add.s32 %r2, %r2, 1;
            setp.lt.s32 %p1, %r2, 8; @%p1 bra $fill;
            and.b32 %r4, %r1, 7; mul.wide.u32 %rd2, %r4, 4; add.s64 %rd3, %SPL, %rd2;
            ld.local.u32 %r5, [%rd3];
            ld.local.u32 %r4, [__local_depot3+4];
            add.s32 %r5, %r5, %r4;
            st.param.b32 [func_retval0], %r5;
            ret;
        }
        """;

    private static uint Collatz(uint n)
    {
        uint steps = 0;
        for (; n >= 2 && steps < 20; steps++) n = n % 2 == 1 ? 3 * n + 1 : n / 2;
        return steps;
    }

    private static readonly (string Body, Func<uint, uint> Expected)[] Cases =
    [
        ("{ .param .b32 param0; st.param.b32 [param0+0], %r0; .param .b32 retval0; call.uni (retval0), collatz, (param0); ld.param.b32 %r1, [retval0+0]; }", Collatz),
        ("{ .param .b32 param0; st.param.b32 [param0+0], %r0; .param .b32 retval0; call.uni (retval0), twice, (param0); ld.param.b32 %r1, [retval0+0]; }", t => Collatz(t) + Collatz(t + 1)),
        ("{ .param .b32 param0; st.param.b32 [param0], %r0; .param .b32 retval0; @%p0 call (retval0), twice, (param0); @%p0 ld.param.b32 %r1, [retval0+0]; }", t => t % 2 == 1 ? Collatz(t) + Collatz(t + 1) : Untouched),
        ("""
            mov.u32 %r2, 1000; mul.lo.s32 %r4, %r0, 257;
            { .param .align 8 .b8 param0[8]; .param .b32 param1; .param .align 8 .b8 retval0[8]; st.param.v2.b32 [param0+0], {%r0, %r2}; st.param.b32 [param1], %r4;
              call.uni (retval0), swap, (param0, param1); ld.param.v2.u32 {%r1, %r3}, [retval0]; }
            shl.b32 %r3, %r3, 16; add.s32 %r1, %r1, %r3;
            """, t => 1000 + (t * 257 & 255) + (t << 16)),
        ("{ .param .b32 param0; st.param.b32 [param0+0], %r0; .param .b32 retval0; call.uni (retval0), depot, (param0); ld.param.b32 %r1, [retval0+0]; }", t => (t & 7) * t + t),
        // The same storage written as one wide and read as two narrow values.
        ("{ .param .b64 param0; .param .b64 retval0; cvt.u64.u32 %rd4, %r0; st.param.b64 [param0], %rd4; call.uni (retval0), swap, (param0, param0); ld.param.b64 %rd5, [retval0]; } shr.u64 %rd6, %rd5, 32; cvt.u32.u64 %r1, %rd6;", t => t),
        ("mov.u64 %rd4, _$_str; and.b32 %r2, %r0, 3; cvt.u64.u32 %rd5, %r2; add.s64 %rd4, %rd4, %rd5; ld.global.u8 %r1, [%rd4+1]; ld.global.u8 %r3, [_$_str+2]; add.s32 %r1, %r1, %r3;", t => 67 + (t % 4) switch { 0 => 66u, 1 => 67u, _ => 0u }),
        ("mov.u64 %rd4, table; cvta.const.u64 %rd5, %rd4; ld.u32 %r1, [%rd5+12]; ld.const.u32 %r3, [table+8]; add.s32 %r1, %r1, %r3;", _ => 29),
        ("ld.global.u64 %rd4, [pointer]; ld.const.u32 %r1, [%rd4];", _ => 20),
        ("mov.b64 %rd4, {%r0, %r6}; mov.b64 {%r1, %r2}, %rd4; shl.b32 %r2, %r2, 8; add.s32 %r1, %r1, %r2;", t => t + (t % 2 << 8)),
        ("mov.b32 {%h0, %h1}, 0x12345678; mov.b32 %r1, {%h1, %h0};", _ => 0x56781234),
        ("cvt.u64.u32 %rd4, %r0; add.s64 %rd4, %rd4, -256; cvt.s64.s8 %rd5, %rd4; cvt.u32.u64 %r1, %rd5;", t => (uint)(sbyte)t),
        ("{ .reg .b32 %r1; mov.u32 %r1, 3; } { .reg .b32 %t; mov.u32 %t, 4; mov.u32 %r1, %t; bra $here; mov.u32 %r1, 9; $here: } { bra $here; mov.u32 %r1, 9; $here: }", _ => 4),
        ("mov.b64 %rd4, out; ld.param.u64 %rd5, [%rd4+8]; sub.s64 %rd5, %rd5, %rd3; cvt.u32.u64 %r1, %rd5; ld.param.u8 %r2, [in+7]; add.s32 %r1, %r1, %r2;", _ => 0),
    ];

    [Test]
    public void Both_engines_run_it([Range(0, 13)] int number, [Values] TestEngine engine, [Values(false, true)] bool oddOnly)
    {
        var (body, expected) = Cases[number];
        uint[] values = Run(body, oddOnly, engine, Functions);
        Assert.That(values, Is.EqualTo(Enumerable.Range(0, Threads).Select(t => oddOnly && t % 2 == 0 ? Untouched : expected((uint)t))));
    }

    [TestCase("{ .param .b64 param0; st.param.b64 [param0+0], %rd3; call.uni __assertfail, (param0); }", "a call of '__assertfail', which has no body in this module")]
    [TestCase("{ .param .b64 param0; .param .b64 param1; .param .b32 retval0; call.uni (retval0), vprintf, (param0, param1); }", "a call of 'vprintf', which has no body")]
    [TestCase("{ .param .b32 param0; .param .b32 retval0; mov.u64 %rd4, collatz; prototype_1 : .callprototype (.param .b32 _) _ (.param .b32 _); call (retval0), %rd4, (param0), prototype_1; }", "an indirect call")]
    public void What_has_no_body_is_an_error_when_a_thread_comes_to_it(string call, string message)
    {
        foreach (var engine in Enum.GetValues<TestEngine>())
        {
            Assert.That(() => Run($"setp.eq.u32 %p1, %r0, 77; @!%p1 bra $over; {call} $over:", engine: engine, module: Functions),
                Throws.TypeOf<PtxException>().With.Message.Contains(message).And.Message.Contains("thread (77, 0, 0)"));
            Assert.That(Run($"setp.eq.u32 %p1, %r0, 777; @!%p1 bra $over; {call} $over:", engine: engine, module: Functions), Has.All.EqualTo(Untouched));
        }
    }
}
