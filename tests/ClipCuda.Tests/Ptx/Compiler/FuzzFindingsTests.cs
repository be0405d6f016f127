using ClipCuda.Ptx;

namespace ClipCuda.Tests.Ptx.Compiler;

/// <summary>What random programs have found, as the few instructions that show it: both engines give the same bits again.</summary>
public sealed class FuzzFindingsTests
{
    private static IEnumerable<TestCaseData> Findings()
    {
        yield return new TestCaseData("""
            ld.global.u32 %r1, [%in+10288];
            cvt.rn.f32.s32 %r2, %r1;
            st.global.u32 [%out], %r2;
            """).SetArgDisplayNames("a uniform float converted into an untyped register");
        yield return new TestCaseData("""
            ld.global.u32 %r1, [%in+3768];
            setp.lt.s32 %p1, %r1, 1;
            ld.global.u16 %h1, [%in+4408];
            @%p1 selp.u16 %h1, %h1, 65504, %p1;
            st.global.u16 [%out], %h1;
            """).SetArgDisplayNames("an instruction of the interpreter's that reads its own guard");
        yield return new TestCaseData("""
            setp.ge.u32 %p1, %flat, 5;
            sub.s32 %r1, 7, %flat;
            ld.global.u32 %r2, [%in+7376];
            selp.b32 %f1, %r1, %r2, %p1;
            mov.b32 %f2, %flat;
            st.global.f32 [%out], %f1;
            st.global.f32 [%out+4], %f2;
            """).SetArgDisplayNames("an index in a float register");
        yield return new TestCaseData("""
            setp.lt.u32 %p1, %flat, 7;
            selp.b32 %r1, 0x7F800001, 0x3F800000, %p1;
            selp.b32 %r2, 0x7F800002, 0x40000000, %p1;
            mov.b32 %f1, %r1;
            mov.b32 %f2, %r2;
            min.f32 %f1, %f1, %f2;
            cvt.rn.f32.u32 %f2, %flat;
            min.f32 %f1, %f1, %f2;
            st.global.f32 [%out], %f1;
            """).SetArgDisplayNames("the lesser of two signalling NaNs, beside a number");
    }

    [TestCaseSource(nameof(Findings))]
    public void Engines_agree(string body)
    {
        string text = EngineComparison.Entry(body, bytesAThread: 16);
        foreach (int threads in (int[])[64, 1])
            Assert.That(EngineComparison.Difference(text, new LaunchShape(1, threads), threads * 16, 1, at => $"byte {at % 16} of thread {at / 16}"), Is.Null, $"{threads} threads");
    }
}
