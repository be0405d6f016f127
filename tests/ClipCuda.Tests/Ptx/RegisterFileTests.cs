using static ClipCuda.Tests.Ptx.WarpKernel;

namespace ClipCuda.Tests.Ptx;

public sealed class RegisterFileTests
{
    [TestCase("%tid.x", "thread")]
    [TestCase("%laneid", "lane")]
    [TestCase("%warpid", "warp")]
    [TestCase("%lanemask_eq", "eq")]
    [TestCase("%lanemask_lt", "lt")]
    [TestCase("%lanemask_le", "le")]
    [TestCase("%lanemask_gt", "gt")]
    [TestCase("%lanemask_ge", "ge")]
    [TestCase("%ntid.x", "128")]
    [TestCase("%ctaid.y", "0")]
    [TestCase("%nctaid.z", "1")]
    public void Special_registers_hold_their_values(string register, string meaning)
    {
        uint[] values = Run($"mov.u32 %r1, {register};");
        for (int thread = 0; thread < Threads; thread++)
        {
            int lane = thread % 32;
            uint expected = meaning switch
            {
                "thread" => (uint)thread,
                "lane" => (uint)lane,
                "warp" => (uint)(thread / 32),
                "eq" => 1u << lane,
                "lt" => (uint)((1UL << lane) - 1),
                "le" => (uint)((2UL << lane) - 1),
                "gt" => ~(uint)((2UL << lane) - 1),
                "ge" => ~(uint)((1UL << lane) - 1),
                _ => uint.Parse(meaning, System.Globalization.CultureInfo.InvariantCulture),
            };
            Assert.That(values[thread], Is.EqualTo(expected), $"thread {thread}");
        }
    }
}
