using static ClipCuda.Tests.Ptx.WarpKernel;

namespace ClipCuda.Tests.Ptx;

/// <summary>Votes of whole warps and of the lanes of a branch, setp with two results, and predicates that are numbers.</summary>
public sealed class VotesTests
{
    /// <summary>The predicate holds where the thread is at least the limit; lanes of four warps: 0, 5, all or none of them.</summary>
    [Test]
    public void A_warp_answers_for_its_running_lanes(
        [Values("all", "any", "uni", "ballot")] string question, [Values(0, 5, 32, 69, 127, 128)] int limit, [Values(false, true)] bool negated, [Values] TestEngine engine, [Values(false, true)] bool oddOnly)
    {
        string vote = question == "ballot" ? $"vote.sync.ballot.b32 %r1, {(negated ? "!" : "")}%p1, -1;" : $"vote.sync.{question}.pred %p2, {(negated ? "!" : "")}%p1, -1; selp.b32 %r1, 1, 0, %p2;";
        uint[] values = Run($"setp.ge.u32 %p1, %r0, {limit}; {vote}", oddOnly, engine);
        for (int thread = 0; thread < Threads; thread++)
        {
            int[] warp = [.. Enumerable.Range(thread / 32 * 32, 32).Where(t => !oddOnly || t % 2 == 1)];
            bool[] holds = [.. warp.Select(t => t >= limit != negated)];
            uint expected = question switch
            {
                "all" => holds.All(h => h) ? 1u : 0,
                "any" => holds.Any(h => h) ? 1u : 0,
                "uni" => holds.Distinct().Count() == 1 ? 1u : 0,
                _ => warp.Where((_, k) => holds[k]).Aggregate(0u, (bits, t) => bits | 1u << (t % 32)),
            };
            Assert.That(values[thread], Is.EqualTo(oddOnly && thread % 2 == 0 ? Untouched : expected), $"thread {thread}");
        }
    }

    [Test]
    public void Activemask_names_the_lanes_of_a_branch([Values] TestEngine engine, [Values(false, true)] bool oddOnly)
    {
        uint[] values = Run("activemask.b32 %r1;", oddOnly, engine);
        Assert.That(values, Is.EqualTo(Enumerable.Range(0, Threads).Select(t => !oddOnly ? uint.MaxValue : t % 2 == 1 ? 0xAAAAAAAA : Untouched)));
    }

    /// <summary>Any number but 0 is a predicate that holds (PTX ISA 4.5.3).</summary>
    [TestCase("mov.pred %p1, 0;", 0)]
    [TestCase("mov.pred %p1, 1;", 3)]
    [TestCase("mov.pred %p1, 2;", 3)]
    [TestCase("mov.pred %p1, -1;", 3)]
    [TestCase("not.pred %p1, 2;", 0)]
    [TestCase("and.pred %p1, %p0, 2;", 2)]
    [TestCase("or.pred %p1, %p0, 0;", 2)]
    [TestCase("or.pred %p1, %p0, 4;", 3)]
    [TestCase("xor.pred %p1, %p0, 1;", 1)]
    public void A_predicate_may_be_a_number(string instruction, int holds)
    {
        foreach (var engine in Enum.GetValues<TestEngine>())
        {
            uint[] values = Run($"{instruction} mov.u32 %r1, 0; @%p1 mov.u32 %r1, 1; selp.b32 %r2, 2, 0, %p1; add.s32 %r1, %r1, %r2;", engine: engine);
            Assert.That(values, Is.EqualTo(Enumerable.Range(0, Threads).Select(thread => (holds >> thread % 2 & 1) * 3u)), $"{engine}");
        }
    }

    /// <summary>p = (a &lt; b) op c and q = !(a &lt; b) op c, where c may be negated and may be one of the results.</summary>
    [TestCase("setp.lt.u32 %p1|%p2, %r0, 9;", 0)]
    [TestCase("setp.lt.and.u32 %p1|%p2, %r0, 9, %p0;", 1)]
    [TestCase("setp.lt.or.u32 %p1|%p2, %r0, 9, !%p0;", 2)]
    [TestCase("setp.lt.xor.u32 %p1|%p2, %r0, 9, !%p0;", 3)]
    [TestCase("mov.pred %p1, %p0; setp.lt.and.u32 %p1|%p2, %r0, 9, %p1;", 1)]
    [TestCase("setp.lt.and.u32 _|%p2, %r0, 9, %p0; setp.lt.and.u32 %p1|_, %r0, 9, %p0;", 1)]
    [TestCase("cvt.rn.f32.u32 %r3, %r0; setp.lt.f32 %p1|%p2, %r3, 0f41100000;", 0)]
    public void Setp_may_write_the_opposite_too(string instruction, int combine)
    {
        foreach (var engine in Enum.GetValues<TestEngine>())
        {
            uint[] values = Run($"{instruction} selp.b32 %r1, 1, 0, %p1; selp.b32 %r2, 2, 0, %p2; add.s32 %r1, %r1, %r2;", engine: engine);
            for (int thread = 0; thread < Threads; thread++)
            {
                bool less = thread < 9, odd = thread % 2 == 1;
                bool Combined(bool holds) => combine switch { 0 => holds, 1 => holds && odd, 2 => holds || !odd, _ => holds != !odd };
                Assert.That(values[thread], Is.EqualTo((Combined(less) ? 1u : 0) + (Combined(!less) ? 2u : 0)), $"{engine}, thread {thread}");
            }
        }
    }
}
