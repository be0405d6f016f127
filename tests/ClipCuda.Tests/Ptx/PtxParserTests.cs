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
    [TestCase(".entry k() { ret; } .func f() { add.s32 %r1, %r2, %r3; }", "m.ptx(4,41): '%r1' is not declared")]
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

    /// <summary>Braces of vectors and scopes, and some that are none: in strings and comments of both kinds.</summary>
    private const string Braces = """
        .entry first() {
            .reg .b32 %r<3>; .reg .b64 %rd<1>; /* { and "
            " again */ .pragma "}}"; // } and /* and "
            { ld.global.v2.u32 {%r1, %r2}, [%rd0]; { ret; } }
        }
        .func f() { { ret; } }
        .entry second() {
            .reg .b32 %r0;
            call f;
            mov.u32 %r0, %r9;
        }
        .entry third() { .reg .b32 %r0; mov.u32 %r0, 1; }
        """;

    [Test]
    public void A_body_is_read_on_demand_and_what_is_wrong_in_it_is_said_each_time_with_line_and_column()
    {
        var module = PtxModule.ParseOnDemand(Head + Braces, "m.ptx");
        Assert.That(module.Entries.Select(entry => entry.Name), Is.EqualTo(new[] { "first", "second", "third" }));
        for (int i = 0; i < 2; i++)
            Assert.That(() => module.Entries[1].StaticSharedBytes, Throws.TypeOf<PtxException>().With.Message.EqualTo("m.ptx(13,18): '%r9' is not declared."));
        Assert.That(module.Entries[0].Instructions.Select(i => (i.Opcode, i.Line, i.Column)), Is.EqualTo(new[] { ("ld.global.v2.u32", 7, 7), ("ret", 7, 46) }));
        Assert.That(module.Entries[2].Instructions.Select(i => (i.Opcode, i.Line, i.Column)), Is.EqualTo(new[] { ("mov.u32", 15, 33) }));
        Assert.That(() => PtxModule.Parse(Head + Braces, "m.ptx"), Throws.TypeOf<PtxException>().With.Message.EqualTo("m.ptx(13,18): '%r9' is not declared."));
    }

    [Test]
    public void A_function_is_read_when_an_entry_that_calls_it_is()
    {
        var module = PtxModule.ParseOnDemand(Head + ".func f() { bra $nowhere; }\n.entry calls() { call f; ret; }\n.entry apart() { ret; }", "m.ptx");
        Assert.That(module.Entries[1].Instructions, Has.Count.EqualTo(1));
        Assert.That(() => module.Entries[0].HasAtomics, Throws.TypeOf<PtxException>().With.Message.EqualTo("m.ptx(4,17): '$nowhere' is not declared."));
    }

    /// <summary>PTX declares before it uses: what comes after a body is not seen in it, whenever it is read.</summary>
    [TestCase(".global .b32 v;", "mov.u64 %rd0, v;", "m.ptx(5,15): 'v' is not declared.")]
    [TestCase(".extern .shared .b8 v[];", "mov.u64 %rd0, v;", "m.ptx(5,15): 'v' is not declared.")]
    [TestCase(".func v() { ret; }", "mov.u64 %rd0, v;", "m.ptx(5,15): 'v' is not declared.")]
    public void A_body_sees_what_was_declared_before_it(string declaration, string use, string message)
    {
        string Text(string before, string after) => $"{Head}{before} .entry k() {{ .reg .b64 %rd0;\n{use} }} {after}";
        Assert.That(PtxModule.ParseOnDemand(Text(declaration, ""), "m.ptx").Entries[0].Instructions, Has.Count.EqualTo(1));
        Assert.That(() => PtxModule.ParseOnDemand(Text("", declaration), "m.ptx").Entries[0].Instructions, Throws.TypeOf<PtxException>().With.Message.EqualTo(message));
    }

    [Test]
    public void Shared_variables_of_a_module_lie_before_those_of_the_entries_after_them()
    {
        const string Text = ".shared .align 4 .b8 a[12]; .entry k() { .shared .align 8 .b8 b[8]; ret; } .shared .b8 c[4]; .entry l() { ret; }";
        var entries = PtxModule.ParseOnDemand(Head + Text, "m.ptx").Entries;
        Assert.That(entries[0].SharedOffsets, Is.EquivalentTo(new Dictionary<string, int>(StringComparer.Ordinal) { ["a"] = 0, ["b"] = 16 }));
        Assert.That((entries[0].StaticSharedBytes, entries[1].StaticSharedBytes), Is.EqualTo((24, 16)));
    }

    [TestCase(".entry k() { ret;", "m.ptx(4,18): the body of 'k' has no end.")]
    [TestCase(".entry k() { { ret; }\n.entry l() { ret; }", "m.ptx(5,1): '.entry' is not supported in an entry", Description = "as well as one can tell where the brace is missing")]
    [TestCase(".entry k() { .loc 1 2 3 {\nret; }", "m.ptx(5,7): the body of 'k' has no end.", Description = "a brace that the rest of its line hides")]
    [TestCase(".func f() { ret; /* }", "m.ptx(4,18): a comment without its end.")]
    [TestCase(".entry k() { .pragma \"}; }", "m.ptx(4,22): a string without its closing quote.")]
    [TestCase(".entry k() / { }", "m.ptx(4,12): expected a name, found '/'.")]
    public void A_body_without_an_end_is_an_error_at_once(string text, string message) =>
        Assert.That(() => PtxModule.ParseOnDemand(Head + text, "m.ptx"), Throws.TypeOf<PtxException>().With.Message.StartsWith(message));

    [Test]
    public void Threads_that_ask_for_bodies_at_once_get_them_or_their_errors()
    {
        string text = Head + ".func f() { .reg .b32 %r0; mov.u32 %r0, 1; ret; }\n" + string.Concat(Enumerable.Range(0, 20).Select(i =>
            $".entry k{10 + i}() {{ .reg .b32 %r0; call f; mov.u32 %r0, {(i % 2 == 0 ? "2" : "nothing")}; ret; }}\n"));
        var entries = PtxModule.ParseOnDemand(text, "m.ptx").Entries;
        const int threads = 4;
        using var start = new Barrier(threads);
        object[][] results = [.. Enumerable.Range(0, threads).Select(_ => Task.Factory.StartNew(
            () =>
            {
                start.SignalAndWait();
                return entries.Select(Ask).ToArray();
            },
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)).ToArray().Select(task => task.Result)];
        foreach (object[] result in results)
        {
            for (int i = 0; i < entries.Count; i++)
            {
                if (i % 2 == 0) Assert.That(result[i], Is.SameAs(results[0][i]).And.InstanceOf<List<PtxInstruction>>().With.Count.EqualTo(4));
                else Assert.That(result[i], Is.EqualTo($"m.ptx({i + 5},52): 'nothing' is not declared."));
            }
        }

        static object Ask(PtxEntry entry)
        {
            try
            {
                return entry.Instructions;
            }
            catch (PtxException error)
            {
                return error.Message;
            }
        }
    }
}
