using ClipCuda.Ptx;

namespace ClipCuda.Tests.Ptx;

public sealed class IdleTests
{
    [Test]
    public void What_was_returned_is_taken_once_each()
    {
        var idle = new Idle<string>();
        Assert.That(idle.Take(), Is.Null);
        Assert.That((idle.TryReturn("a"), idle.TryReturn("b")), Is.EqualTo((true, true)));
        Assert.That(new[] { idle.Take(), idle.Take() }, Is.EquivalentTo(new[] { "a", "b" }));
        Assert.That(idle.Take(), Is.Null);
    }

    [Test]
    public void What_there_is_no_room_for_is_refused()
    {
        var idle = new Idle<string>();
        for (int i = 0; i < Idle<string>.Slots; i++) Assert.That(idle.TryReturn($"{i}"));
        Assert.That(idle.TryReturn("one more"), Is.False);
    }

    [Test]
    public void Threads_never_hold_the_same_one()
    {
        var idle = new Idle<object>();
        var held = new System.Collections.Concurrent.ConcurrentDictionary<object, bool>();
        Parallel.For(0, 20_000, _ =>
        {
            object mine = idle.Take() ?? new object();
            if (!held.TryAdd(mine, true)) throw new InvalidOperationException("two threads have one");
            held.TryRemove(mine, out bool _);
            idle.TryReturn(mine);
        });
    }
}
