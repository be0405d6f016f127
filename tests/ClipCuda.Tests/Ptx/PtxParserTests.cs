using ClipCuda.Ptx;

namespace ClipCuda.Tests.Ptx;

public sealed class PtxParserTests
{
    private const string Head = ".version 6.3\n.target sm_75\n.address_size 64\n";

    [Test]
    public void Reads_entries_parameters_and_limits()
    {
        var module = PtxModule.Parse(Head + """
            .visible .entry first(.param .u32 a, .param .u64 b, .param .f32 c, .param .align 8 .b8 d[12]) .maxntid 16, 8, 2 .minnctapersm 2
            { .shared .align 16 .b8 x[20]; .shared .align 4 .b8 y[4]; ret; }
            .entry second() { ret; }
            """, "m.ptx");
        Assert.That(module.Entries.Select(entry => entry.Name), Is.EqualTo(new[] { "first", "second" }));
        var first = module.Entries[0];
        Assert.That(
            first.Parameters,
            Is.EqualTo(new PtxParameter[] { new("a", 0, 4), new("b", 8, 8), new("c", 16, 4), new("d", 24, 12) }), "natural alignment");
        Assert.That((first.StaticSharedBytes, first.MaxThreadsPerBlock), Is.EqualTo((24, 256)));
        Assert.That((module.Entries[1].Parameters.Count, module.Entries[1].MaxThreadsPerBlock), Is.EqualTo((0, 0)));
    }

    [Test]
    public void Reads_instructions_as_clang_writes_them()
    {
        var entry = PtxModule.Parse(Head + """
            .entry k(.param .u64 k_param_0) // a comment
            {
                .reg .pred %p<3>; .reg .b32 %r<4>; .reg .b64 %rd<2>; /* another,
                over two lines */ .pragma "nounroll";
            $L__BB0_1: ld.param.u64 %rd0, [k_param_0]; @%p1 bra $L__BB0_1; @!%p2 bra.uni $L__BB0_1;
                { ld.global.v2.u32 {%r1, %r2}, [%rd1+-8]; }
                shfl.sync.up.b32 %r1|%p1, %r2, 0x1F, 017, 0b101; mov.f32 %r1, 0fBF800000;
                add.s32 %r3, %r2, -1059760811;
            }
            """, "m.ptx").Entries[0];
        Assert.That(
            entry.Instructions.Select(i => i.Opcode),
            Is.EqualTo(new[] { "ld.param.u64", "bra", "bra.uni", "ld.global.v2.u32", "shfl.sync.up.b32", "mov.f32", "add.s32" }));
        Assert.That(entry.Instructions[1].Operands[0].Value, Is.Zero, "the label's instruction");
        Assert.That(entry.Instructions.Select(i => i.GuardNegated), Is.EqualTo(new[] { false, false, true, false, false, false, false }));
        Assert.That(entry.Instructions[3].Operands[1].Value, Is.EqualTo(-8));
        Assert.That(entry.Instructions[4].Operands[3..].Select(o => o.Value), Is.EqualTo(new long[] { 31, 15, 5 }));
        Assert.That(entry.Instructions[5].Operands[1].Value, Is.EqualTo(0xBF800000L));
        Assert.That(entry.Instructions[6].Operands[2].Value, Is.EqualTo(-1059760811L));
        Assert.That((entry.Instructions[6].Line, entry.Instructions[6].Column), Is.EqualTo((11, 5)));
    }

    [Test]
    public void Locations_name_the_cuda_source_and_never_the_compilers_own_headers()
    {
        var entry = PtxModule.Parse(Head + """
            .entry k() {
                .reg .b32 %r<2>;
                mov.u32 %r0, 1;
                .loc 1 7 3 // kernels/k.cu:7:3
                mov.u32 %r0, 2;
                .loc 2 66 3
                mov.u32 %r0, %ctaid.x;
                .loc 1 0 3
                mov.u32 %r0, 4;
                .loc 1 9 1, function_name $L__info, inlined_at 1 12 5
                ret;
            }
            .section .debug_loc { }
            .file 1 "./kernels/k.cu"
            .file 2 "clang/include/__clang_cuda_builtin_vars.h"
            """, "m.ptx").Entries[0];
        Assert.That(entry.Instructions.Select(i => i.Source), Is.EqualTo(new[] { null, "kernels/k.cu:7", "kernels/k.cu:7", "kernels/k.cu:7", "kernels/k.cu:9" }));
    }

    [TestCase(".entry k() { add.s32 %r1, %r2, %r3; }", "m.ptx(4,22): '%r1' is not declared")]
    [TestCase(".entry k() { .reg .b32 %r<2>; mov.u32 %r0 %r1; }", "m.ptx(4,43): expected ',' or ';', found '%r1'")]
    [TestCase(".entry k() { .reg .b32 %r1; .reg .f32 %r1; }", "m.ptx(4,42): register '%r1' is declared twice")]
    [TestCase(".entry k() { bra $nowhere; }", "m.ptx(4,18): '$nowhere' is not declared.")]
    [TestCase(".entry k() { @%p1 ret; }", "m.ptx(4,19): '%p1' is not declared")]
    [TestCase(".entry k() { $a: $a: ret; }", "m.ptx(4,18): label '$a' is declared twice")]
    [TestCase(".entry k() { ret;", "the body of 'k' has no end")]
    [TestCase(".entry k() { .tex .u32 t; ret; }", "m.ptx(4,14): '.tex' is not supported in an entry")]
    [TestCase(".texref t;", "m.ptx(4,1): '.texref' is not supported at module level")]
    [TestCase(".global .b8 v[2] = {1, 2, 3};", "'v' has more initialisers than elements")]
    [TestCase(".func f();\n.func g() { call f; ret; }\n.func f() { call g; ret; }\n.entry k() { call f; ret; }", "m.ptx(5,13): 'f' calls itself, which is not supported.")]
    [TestCase(".func f(.param .b32 p) { ret; }\n.entry k() { call f; ret; }", "m.ptx(5,14): 'f' takes 1 parameters and returns 0, 0 and 0 are given.")]
    [TestCase(".entry k(.param .b128 p) { ret; }", "'.b128' is not a supported type")]
    [TestCase(".entry k() { .reg .b32 %r0; mov.u32 %r0, 0x1G; }", "m.ptx(4,42): '0x1G' is not a number")]
    [TestCase(".entry k() { .reg .b32 %r0; mov.f32 %r0, 0f12; }", "m.ptx(4,42): '0f12' is not a number")]
    [TestCase(".entry k() { /* ret; }", "m.ptx(4,14): a comment without its end")]
    [TestCase(".address_size 32", "only 64-bit addresses are supported")]
    public void What_is_no_ptx_is_refused_with_line_and_column(string text, string message) =>
        Assert.That(() => PtxModule.Parse(Head + text, "m.ptx"), Throws.TypeOf<PtxException>().With.Message.Contains(message));

    [TestCase("sin.approx.f32 %r0, %r1;", "m.ptx(5,1): instruction 'sin.approx.f32' is not supported (kernel k).")]
    [TestCase("add.s32 %r0, %r1;", "m.ptx(5,1): 'add.s32' takes 3 operands, 2 are given")]
    [TestCase("add.s32 %r0, %r1, %rd0;", "m.ptx(5,1): register %rd0 has the wrong width for 'add.s32'")]
    [TestCase("add.s32 %rd0, %r1, %r1;", "m.ptx(5,1): register %rd0 has the wrong width for the result of 'add.s32'")]
    [TestCase("mov.u32 %r0, %clock;", "special register '%clock' is not supported")]
    [TestCase("ld.surf.u32 %r0, [%rd0];", "'.surf' of 'ld.surf.u32' is not supported")]
    [TestCase("ld.global.u32 %r0, [%r1];", "addresses must be 64-bit registers")]
    [TestCase("ld.global.v2.u32 %r0, [%rd0];", "'ld.global.v2.u32' needs 2 registers in braces")]
    [TestCase("bar.arrive 1, 64;", "m.ptx(5,1): instruction 'bar.arrive' is not supported (supported: bar.sync, barrier.sync, bar.warp.sync)")]
    [TestCase("cp.async.commit_group;", "m.ptx(5,1): instruction 'cp.async.commit_group' is not supported (no tensor cores or asynchronous copies here: use the sm_75 fp32 variant")]
    [TestCase("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r0, %r1}, [%rd0];", "instruction 'ldmatrix.sync.aligned.m8n8.x2.shared.b16' is not supported")]
    [TestCase("vote.all.pred %r0, %r1;", "instruction 'vote.all.pred' is not supported (supported: vote.sync.all, any, uni, ballot)")]
    [TestCase("atom.global.add.b32 %r0, [%rd0], %r1;", "instruction 'atom.global.add.b32' is not supported")]
    [TestCase("shfl.sync.rot.b32 %r0, %r1, 1, 31, -1;", "shuffle mode '.rot' is not supported")]
    [TestCase("mov.u32 5, %r1;", "the destination must be a register")]
    public void What_the_engine_does_not_run_is_refused_when_the_kernel_is_loaded(string instruction, string message)
    {
        var entry = PtxModule.Parse(Head + ".entry k() { .reg .b32 %r<2>; .reg .b64 %rd<1>;\n" + instruction + " ret; }", "m.ptx").Entries[0];
        Assert.That(() => KernelProgram.Create(entry, checks: null), Throws.TypeOf<PtxException>().With.Message.Contains(message));
    }
}
