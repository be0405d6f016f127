using ClipCuda.Ptx;

namespace ClipCuda.Tests.Ptx.Mutation;

/// <summary>What is altered, by example.</summary>
public sealed class MutationsTests
{
    [TestCase("add.rn.f32 %f1, %f2, %f3;", "add.rn.f32 → sub.rn.f32", "add.rn.f32 a, b → a, a")]
    [TestCase("sub.s32 %r1, %r2, %r3;", "sub.s32 → add.s32", "sub.s32 a, b → b, a")]
    [TestCase("mul.rn.f32 %f1, %f2, 0f40000000;", "mul.rn.f32 → add.rn.f32", "mul.rn.f32 2 → 4")]
    [TestCase("fma.rn.f32 %f1, %f2, %f3, 0f00000000;", "fma.rn.f32 without its addend 0", "fma.rn.f32 without its second factor", "fma.rn.f32 0 → 1")]
    [TestCase("shl.b32 %r1, %r2, 5;", "shl.b32 → shr.u32", "shl.b32 5 → 6")]
    [TestCase("and.b32 %r1, %r2, 2147483644;", "and.b32 → or.b32", "and.b32 2147483644 → 4294967288")]
    [TestCase("max.f32 %f1, %f2, %f3;", "max.f32 → min.f32", "max.f32 a, b → a, a")]
    [TestCase("setp.lt.s32 %p1, %r1, 7;", "setp.lt.s32 → setp.le.s32", "setp.lt.s32 → setp.gt.s32", "setp.lt.s32 7 → 8")]
    [TestCase("selp.f32 %f1, %f2, %f3, %p1;", "selp.f32 a, b → b, a")]
    [TestCase("bar.sync 0;", "bar.sync dropped")]
    [TestCase("shfl.sync.bfly.b32 %r1, %r2, 16, 31, -1;", "lane 16 → 8", "clamp 31 → 15")]
    [TestCase("ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd1];", "ld.global.v4.f32 16 bytes further")]
    [TestCase("st.shared.f32 [%rd1+8], %f1;", "st.shared.f32 4 bytes further", "st.shared.f32 dropped")]
    [TestCase("ld.param.u32 %r1, [n];", "another parameter")]
    [TestCase("@%p1 bra $end;", "bra with its guard inverted", "bra without its guard", "guarded bra dropped")]
    [TestCase("mov.pred %p1, 0;", "mov.pred 0 → -1")]
    [TestCase("mov.u32 %r1, %tid.x;")]
    public void Each_instruction_is_altered_in_these_ways(string instruction, params string[] changes)
    {
        var entry = Parse(instruction);
        var mutants = Mutations.Of(entry).Where(m => m.Index == 0).ToArray();
        Assert.That(mutants.Select(m => m.Change), Is.EqualTo(changes));
        foreach (var mutant in mutants)
        {
            // Each is an instruction that engines run.
            entry.Instructions[0] = mutant.Replacement;
            Assert.That(() => KernelProgram.Create(entry, null), Throws.Nothing, mutant.Change);
        }
    }

    [Test]
    public void A_mutant_says_where_it_is()
    {
        var mutant = Mutations.Of(Parse("add.s32 %r1, %r2, %r3;")).First();
        Assert.That((mutant.Entry, mutant.Source, mutant.Kind), Is.EqualTo(("kernel", "kernels/k.cu:42", "operator")));
    }

    private static PtxEntry Parse(string instruction) => PtxModule.Parse($$"""
        .version 6.3
        .target sm_75
        .address_size 64
        .visible .entry kernel(.param .u64 out, .param .u32 n, .param .u32 m)
        {
            .reg .pred %p<2>; .reg .b32 %r<5>; .reg .f32 %f<5>; .reg .b64 %rd<3>;
            .loc 1 42 1
            {{instruction}}
        $end:
            ret;
        }
        .file 1 "kernels/k.cu"
        """, "mutations.ptx").Entries[0];
}
