using ClipCuda.Ptx;

namespace ClipCuda.Tests.Ptx;

public sealed class BitSetTests
{
    private static readonly int[] Numbers = [0, 63, 64, 129, 199];

    [Test]
    public void Holds_what_was_added_and_gives_it_least_first()
    {
        var set = new BitSet(200);
        Assert.That((set.IsEmpty, set.Items().Any()), Is.EqualTo((true, false)));
        foreach (int number in Numbers.Reverse()) Assert.That((set.Add(number), set.Add(number)), Is.EqualTo((true, false)), "whether it is new");
        Assert.That(set.IsEmpty, Is.False);
        Assert.That(set.Items(), Is.EqualTo(Numbers));
        Assert.That(Enumerable.Range(0, 200).Where(i => set[i]), Is.EqualTo(Numbers));
        set.Remove(64);
        set.Remove(65);
        Assert.That(set.Items(), Is.EqualTo(Numbers.Where(i => i != 64)));
    }

    [Test]
    public void Sets_are_united_subtracted_and_copied()
    {
        BitSet a = Of(0, 64, 129), b = Of(64, 199);
        Assert.That((a.UnionWith(b), a.UnionWith(b)), Is.EqualTo((true, false)), "whether anything is new");
        Assert.That(a.Items(), Is.EqualTo(new[] { 0, 64, 129, 199 }));
        a.ExceptWith(b);
        Assert.That(a.Items(), Is.EqualTo(new[] { 0, 129 }));
        a.CopyFrom(b);
        b.Remove(64);
        Assert.That(a.Items(), Is.EqualTo(new[] { 64, 199 }));
    }

    private static BitSet Of(params ReadOnlySpan<int> numbers)
    {
        var set = new BitSet(200);
        foreach (int number in numbers) set.Add(number);
        return set;
    }
}
