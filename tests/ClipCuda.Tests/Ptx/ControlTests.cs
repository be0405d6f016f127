using static ClipCuda.Tests.Ptx.WarpKernel;

namespace ClipCuda.Tests.Ptx;

/// <summary>What lanes of a warp exchange, and guards that narrow the mask.</summary>
public sealed class ControlTests
{
    /// <summary>shfl.sync by its definition (PTX ISA 9.7.9.6), for every mode, in segments of 4 to 32 lanes.</summary>
    [Test]
    public void Shuffles_read_the_lane_that_the_manual_says(
        [Values("up", "down", "bfly", "idx")] string mode, [Values(4, 8, 16, 32)] int width, [Values(0, 1, 3, 8, 16, 31)] int amount, [Values(false, true)] bool oddOnly)
    {
        int clamp = mode == "up" ? 0 : 31, c = (32 - width) << 8 | clamp;
        uint[] values = Run($"shfl.sync.{mode}.b32 %r1|%p1, %r0, {amount}, {c}, -1; selp.b32 %r2, 1000, 0, %p1; add.s32 %r1, %r1, %r2;", oddOnly);
        for (int thread = 0; thread < Threads; thread++)
        {
            int lane = thread % 32, segment = c >> 8 & 31, last = (lane & segment) | (clamp & ~segment & 31), first = lane & segment;
            int source = mode switch { "up" => lane - amount, "down" => lane + amount, "bfly" => lane ^ amount, _ => first | (amount & ~segment & 31) };
            bool inside = mode == "up" ? source >= last : source <= last;
            uint expected = (uint)(thread - lane + (inside ? source : lane) + (inside ? 1000 : 0));
            Assert.That(values[thread], Is.EqualTo(oddOnly && thread % 2 == 0 ? Untouched : expected), $"thread {thread}");
        }
    }

    [Test]
    public void A_butterfly_over_whole_warps_is_the_same_permutation([Values(1, 2, 4, 8, 16, 21, 31)] int amount)
    {
        uint[] values = Run($"shfl.sync.bfly.b32 %r1, %r0, {amount}, 31, -1;");
        Assert.That(values, Is.EqualTo(Enumerable.Range(0, Threads).Select(t => (uint)(t ^ amount))));
    }

    [TestCase("@%p0 mov.u32 %r1, 5;", 5u, Untouched)]
    [TestCase("@!%p0 add.s32 %r1, %r1, 1;", Untouched, 7778u)]
    public void Guards_narrow_the_mask_for_one_instruction(string instruction, uint odd, uint even) =>
        Assert.That(Run($"{instruction} add.s32 %r1, %r1, 0;"), Is.EqualTo(Enumerable.Range(0, Threads).Select(t => t % 2 == 1 ? odd : even)));

    [Test]
    public void A_guarded_return_ends_those_threads_only() =>
        Assert.That(Run("st.global.u32 [%rd2], %r1; @%p0 ret; mov.u32 %r1, 9;"), Is.EqualTo(Enumerable.Range(0, Threads).Select(t => t % 2 == 1 ? Untouched : 9u)));
}
