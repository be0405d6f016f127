using ClipCuda.Ptx;
using ClipCuda.Ptx.Compiler;

namespace ClipCuda.Tests.Ptx.Compiler;

public sealed class LanePassesTests
{
    private const int Sums = 20, BytesAThread = 128;

    /// <summary>
    /// More sums than any processor has registers for; a scalar and an index that iterations hand on; what the loop leaves behind in its last
    /// iteration; and a loop after it that begins where it ended.
    /// </summary>
    private static string Body(string inLoop = "", string condition = "setp.lt.u32 %p1, %r1, 7;") => $"""
        mov.u32 %r1, 0;
        mov.u64 %R1, %in;
        mul.wide.u32 %R2, %flat, 4;
        add.s64 %R2, %in, %R2;
        {Each(i => $"mov.f32 %f{i}, 0f3F800000;")}
        again:
        ld.global.f32 %f60, [%R2];
        ld.global.f32 %f62, [%R2+128];
        {Each(i => $"ld.global.f32 %f61, [%R1+{4 * i}]; fma.rn.f32 %f{i}, %f60, %f61, %f{i}; fma.rn.f32 %f{i}, %f{i}, 0f3F000000, %f62;")}
        mul.f32 %f63, %f60, %f0;
        {inLoop}
        add.u32 %r1, %r1, 1;
        add.s64 %R1, %R1, 64;
        add.s64 %R2, %R2, 256;
        {condition}
        @%p1 bra again;
        more:
        ld.global.f32 %f60, [%R2];
        {Each(i => $"fma.rn.f32 %f{i}, %f60, %f63, %f{i};")}
        add.s64 %R2, %R2, 128;
        add.u32 %r1, %r1, 1;
        setp.lt.u32 %p1, %r1, 11;
        @%p1 bra more;
        {Each(i => $"st.global.f32 [%out+{4 * i}], %f{i};")}
        st.global.f32 [%out+{4 * Sums}], %f63;
        st.global.u32 [%out+{4 * Sums + 4}], %r1;
        """;

    [Test]
    public void A_loop_in_passes_gives_the_same_bits([Values(64, 32, 17)] int threads)
    {
        Assert.That(EngineComparison.Difference(EngineComparison.Entry(Body(), BytesAThread), new LaunchShape(2, threads), BytesAThread * threads, 1, at => $"word {at % BytesAThread / 4} of thread {at / BytesAThread}"), Is.Null);
    }

    private static IEnumerable<TestCaseData> Loops()
    {
        yield return new TestCaseData(Body(), true).SetArgDisplayNames("loads and sums");
        yield return new TestCaseData(Body("st.global.f32 [%out], %f63;"), false).SetArgDisplayNames("a store");
        yield return new TestCaseData(Body("shfl.sync.bfly.b32 %f63, %f63, 16, 31, -1;"), false).SetArgDisplayNames("a shuffle");
        yield return new TestCaseData(Body("bar.sync 0;"), false).SetArgDisplayNames("a barrier");
        yield return new TestCaseData(Body(condition: "setp.lt.f32 %p1, %f63, 0f3F800000;"), false).SetArgDisplayNames("lanes that leave at different times");
        yield return new TestCaseData(Body("vote.sync.ballot.b32 %r2, %p1, -1;"), false).SetArgDisplayNames("an instruction of the interpreter's");
    }

    [TestCaseSource(nameof(Loops))]
    public void Lanes_that_have_nothing_to_do_with_each_other_may_pass_one_after_another(string body, bool expected)
    {
        var kernel = new CompiledKernel(PtxModule.Parse(EngineComparison.Entry(body, BytesAThread), "loop.ptx").Entries[0], vectorBits: 256, linear: true, checksBounds: false);
        var analysis = new Analysis(kernel.Entry, kernel.Blocks, kernel.Graph, kernel.Webs, Daring.Together, linear: true, bolder: null);
        var inlining = new Inlining(kernel.Blocks, kernel.Graph, kernel.Webs, analysis);
        var loop = kernel.Graph.Loops.MinBy(l => kernel.Graph.Position[l.Header])!;
        Assert.That(LanePasses.Allow(loop, kernel.Blocks, kernel.Graph, kernel.Webs, analysis, inlining), Is.EqualTo(expected));
    }

    private static string Each(Func<int, string> line) => string.Join('\n', Enumerable.Range(0, Sums).Select(line));
}
