using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class PairKeysTests
{
    [Test]
    public void Equal_pictures_and_equal_captions_have_equal_keys()
    {
        int[] keys = PairKeys.Of([7, 3, 7, 9], [1, 2, 1, 3, 4, 5, 1, 2], pairs: 4);
        Assert.That(keys[..4], Is.EqualTo(new[] { 7, 3, 7, 9 }));
        Assert.That(keys[4..], Is.EqualTo(new[] { 0, 1, 2, 0 }));
    }

    [Test]
    public void Pictures_of_which_nothing_is_known_are_different() => Assert.That(PairKeys.Of([], [5, 5, 5], pairs: 3), Is.EqualTo(new[] { 0, 1, 2, 0, 0, 0 }));

    /// <summary>Tokens above 65,535 take two characters of the text that captions are compared by.</summary>
    [Test]
    public void Large_tokens_are_told_apart() => Assert.That(PairKeys.Of([], [65536 + 7, 7], pairs: 2)[2..], Is.EqualTo(new[] { 0, 1 }));
}
