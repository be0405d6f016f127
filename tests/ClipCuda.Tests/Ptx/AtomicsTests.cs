using System.Globalization;
using ClipCuda.Ptx;

namespace ClipCuda.Tests.Ptx;

/// <summary>Every atomic in order of the threads, on one cell of 128 threads, in global, shared and generic memory.</summary>
public sealed class AtomicsTests
{
    private static readonly (string Opcode, Func<ulong, ulong, ulong> Next)[] Operations =
    [
        ("add.u32", (a, b) => (uint)(a + b)), ("add.s32", (a, b) => (uint)(a + b)), ("add.u64", (a, b) => a + b),
        ("min.s32", (a, b) => (uint)Math.Min((int)a, (int)b)), ("max.s32", (a, b) => (uint)Math.Max((int)a, (int)b)),
        ("min.u32", Math.Min), ("max.u32", Math.Max), ("min.u64", Math.Min), ("max.u64", Math.Max),
        ("min.s64", (a, b) => (ulong)Math.Min((long)a, (long)b)), ("max.s64", (a, b) => (ulong)Math.Max((long)a, (long)b)),
        ("and.b32", (a, b) => a & b), ("or.b32", (a, b) => a | b), ("xor.b32", (a, b) => a ^ b),
        ("and.b64", (a, b) => a & b), ("or.b64", (a, b) => a | b), ("xor.b64", (a, b) => a ^ b),
        ("exch.b32", (_, b) => b), ("exch.b64", (_, b) => b),
        ("inc.u32", (a, b) => a >= b ? 0 : a + 1), ("dec.u32", (a, b) => a == 0 || a > b ? b : a - 1),
        ("add.f32", (a, b) => TableRow.Bits(TableRow.Real(a) + TableRow.Real(b))),
        ("add.f64", (a, b) => BitConverter.DoubleToUInt64Bits(TableRow.Wide(a) + TableRow.Wide(b))),
        ("cas.b32", (a, b) => a == b ? b * 3 & uint.MaxValue : a), ("cas.b64", (a, b) => a == b ? b * 3 : a),
    ];

    private static IEnumerable<string> Opcodes() => Operations.Select(o => o.Opcode);

    [Test]
    public void Each_returns_what_was_there_and_leaves_what_the_manual_says(
        [ValueSource(nameof(Opcodes))] string opcode, [Values(".global", ".shared", "")] string space, [Values] TestEngine engine, [Values(false, true)] bool oddOnly)
    {
        bool wide = opcode.EndsWith("64", StringComparison.Ordinal), isFloat = opcode[^3] == 'f';
        string r = wide ? "%d" : "%w", bits = wide ? "64" : "32";
        // The value: thread · 0x01234567 + 5, or its half as a float; cas looks for thread 3's.
        string value = (wide, isFloat) switch
        {
            (false, false) => "mad.lo.s32 %w2, %t0, 19088743, 5;",
            (true, false) => "mul.wide.u32 %d2, %t0, 19088743; add.s64 %d2, %d2, 5;",
            (false, true) => "cvt.rn.f32.u32 %w2, %t0; mul.rn.f32 %w2, %w2, 0f3DCCCCCD;",
            _ => "cvt.rn.f64.u32 %d2, %t0; mul.rn.f64 %d2, %d2, 0d3FB999999999999A;",
        };
        const ulong Start = 19088743 * 3 + 5;
        string third = opcode.StartsWith("cas", StringComparison.Ordinal) ? $"mul.lo.u{bits} {r}3, {r}2, 3; atom{space}.{opcode} {r}1, [%a0], {r}2, {r}3;" : $"atom{space}.{opcode} {r}1, [%a0], {r}2;";
        ulong initial = isFloat ? 0 : Start;
        string text = $$"""
            .version 7.0
            .target sm_80
            .address_size 64
            .visible .entry kernel(.param .u64 out, .param .u64 cell)
            {
                .reg .pred %p<2>; .reg .b32 %t<4>; .reg .b32 %w<5>; .reg .b64 %d<6>; .reg .b64 %a<5>;
                .shared .align 8 .b8 memory[8];
                mov.u32 %t0, %tid.x;
                ld.param.u64 %a1, [out]; mul.wide.u32 %a2, %t0, 8; add.s64 %a1, %a1, %a2;
                {{(space == ".global" ? "ld.param.u64 %a0, [cell];" : "mov.u64 %a0, memory;")}}
                {{(space == "" ? "cvta.shared.u64 %a0, %a0;" : "")}}
                mov.u64 %d4, {{initial}};
                setp.ne.u32 %p0, %t0, 0; @%p0 bra $wait; st{{space}}.u64 [%a0], %d4;
            $wait: bar.sync 0;
                {{value}}
                and.b32 %t1, %t0, 1; setp.eq.u32 %p1, %t1, 0;
                {{(oddOnly ? "@%p1 bra $end;" : "")}}
                {{third}}
                st.global.u{{bits}} [%a1], {{r}}1;
            $end: bar.sync 0;
                ld.param.u64 %a1, [out]; ld{{space}}.u{{bits}} {{r}}1, [%a0];
                @!%p0 st.global.u{{bits}} [%a1+1024], {{r}}1;
                ret;
            }
            """;
        ulong[] actual = RunThreads(text, engine);
        var next = Operations.First(o => o.Opcode == opcode).Next;
        ulong memory = initial;
        for (uint thread = 0; thread < 128; thread++)
        {
            if (oddOnly && thread % 2 == 0) continue;
            ulong operand = (wide, isFloat) switch
            {
                (false, false) => thread * 19088743 + 5,
                (true, false) => (ulong)thread * 19088743 + 5,
                (false, true) => TableRow.Bits(thread * 0.1f),
                _ => BitConverter.DoubleToUInt64Bits(thread * 0.1),
            };
            Assert.That(actual[thread], Is.EqualTo(memory), string.Create(CultureInfo.InvariantCulture, $"thread {thread}"));
            memory = next(memory, operand);
        }
        Assert.That(actual[128], Is.EqualTo(memory), "what stays");
    }

    [Test]
    public void A_reduction_changes_memory_and_returns_nothing([Values] TestEngine engine)
    {
        ulong[] actual = RunThreads("""
            .version 7.0
            .target sm_80
            .address_size 64
            .visible .entry kernel(.param .u64 out, .param .u64 cell)
            {
                .reg .b32 %t<2>; .reg .b64 %a<2>;
                ld.param.u64 %a0, [out];
                mov.u32 %t0, %tid.x;
                red.relaxed.gpu.global.add.u32 [%a0+8], %t0;
                ret;
            }
            """, engine);
        Assert.That(actual[1], Is.EqualTo(127 * 64));
    }

    /// <summary>Warp 0 stores and everybody adds: the store races with the others' atomics, which do not race with each other.</summary>
    [TestCase("", "", "race: reads shared memory at offset 0, which warp 0 wrote")]
    [TestCase("bar.sync 0;", "", null)]
    [TestCase("bar.sync 0;", "ld.shared.u32 %t1, [word];", "race: writes shared memory at offset 0, which another warp read since the last barrier")]
    [TestCase("bar.sync 0;", "bar.warp.sync -1; setp.ge.u32 %p, %t0, 32; @%p ld.shared.u32 %t1, [word];", "race: reads shared memory at offset 0, which an atomic wrote")]
    public void Plain_and_atomic_accesses_of_two_warps_are_a_race(string interval, string last, string? message)
    {
        const string Text = """
            .version 7.0
            .target sm_80
            .address_size 64
            .visible .entry kernel(.param .u64 out, .param .u64 cell)
            {
                .reg .pred %p; .reg .b32 %t<3>; .shared .align 4 .u32 word;
                mov.u32 %t0, %tid.x;
                setp.lt.u32 %p, %t0, 32;
                @%p st.shared.u32 [word], %t0;
                INTERVAL
                atom.shared.add.u32 %t1, [word], %t0;
                @%p LAST
                ret;
            }
            """;
        string text = Text.Replace("INTERVAL", interval, StringComparison.Ordinal).Replace("@%p LAST", last.StartsWith('l') ? $"@%p {last}" : last, StringComparison.Ordinal);
        if (message is null) RunThreads(text, TestEngine.Checked);
        else Assert.That(() => RunThreads(text, TestEngine.Checked), Throws.TypeOf<PtxException>().With.Message.Contains(message));
    }

    /// <summary>A block of 128 threads; 256 elements of out, zero at first.</summary>
    private static unsafe ulong[] RunThreads(string text, TestEngine engine)
    {
        var entry = PtxModule.Parse(text, "atomics.ptx").Entries[0];
        Assert.That(entry.HasAtomics, Is.True);
        ulong[] results = GC.AllocateArray<ulong>(256, pinned: true), cell = GC.AllocateArray<ulong>(1, pinned: true);
        byte* parameters = stackalloc byte[16];
        fixed (ulong* output = results, memory = cell)
        {
            ((ulong*)parameters)[0] = (ulong)output;
            ((ulong*)parameters)[1] = (ulong)memory;
            var map = new MemoryMap();
            map.Add((ulong)output, 2048, "out");
            map.Add((ulong)memory, 8, "cell");
            map.MarkInitialised((ulong)output, 2048);
            InstructionKernel.Launch(entry, engine, new LaunchShape(1, 128), parameters, map);
        }
        return results;
    }
}
