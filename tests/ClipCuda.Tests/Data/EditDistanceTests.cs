using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class EditDistanceTests
{
    [TestCase("", "", 0)]
    [TestCase("", "abc", 3)]
    [TestCase("abc", "", 3)]
    [TestCase("kitten", "sitting", 3)]
    [TestCase("flaw", "lawn", 2)]
    [TestCase("hflip", "hflip", 0)]
    public void Counts_letters_put_in_left_out_or_exchanged(string a, string b, int expected)
    {
        Assert.That(EditDistance.Between(a, b), Is.EqualTo(expected));
        Assert.That(EditDistance.Between(b, a), Is.EqualTo(expected));
    }

    [TestCase("epoch", "epochs")]
    [TestCase("batchsize", "batch_size")]
    [TestCase("wramup", "warmup")]
    [TestCase("Lr", "lr")]
    public void The_nearest_name_is_the_one_with_the_fewest_changes(string typo, string name) =>
        Assert.That(EditDistance.Nearest(typo, ["lr", "epochs", "batch_size", "warmup", "beta1", "epochs_cooldown"]), Is.EqualTo(name));
}
