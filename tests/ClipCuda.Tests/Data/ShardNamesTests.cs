using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class ShardNamesTests
{
    [TestCase("a.tar", "a.tar")]
    [TestCase("s/{08..11}.tar", "s/08.tar s/09.tar s/10.tar s/11.tar")]
    [TestCase("s/{0..0}.tar::t.tar", "s/0.tar t.tar")]
    [TestCase("{a,b}{1..2}.tar", "a1.tar a2.tar b1.tar b2.tar")]
    [TestCase("{x,y{0..1}}.tar::z.tar", "x.tar y0.tar y1.tar z.tar")]
    [TestCase("{a,}.tar", "a.tar .tar")]
    public void Braces_count_and_list_and_colons_join(string pattern, string names) =>
        Assert.That(ShardNames.Expand(pattern), Is.EqualTo(names.Split(' ')));

    [TestCase("{0..9.tar", "without its other half")]
    [TestCase("0..9}.tar", "without its other half")]
    [TestCase("a}{0..1}.tar", "without its other half")]
    [TestCase("{9..0}.tar", "not a range")]
    [TestCase("{a..c}.tar", "not a range")]
    [TestCase("{abc}.tar", "neither a range nor a list")]
    [TestCase("{0..2000000}.tar", "more than 1,000,000")]
    [TestCase("a.tar::", "no name")]
    public void What_is_no_pattern_is_told(string pattern, string message) =>
        Assert.That(() => ShardNames.Expand(pattern), Throws.ArgumentException.With.Message.Contains(message).And.Message.Contains(pattern));

    [Test]
    public void A_missing_shard_is_named()
    {
        using var folder = new TemporaryFolder();
        folder.Write("0.tar", "");
        Assert.That(() => ShardNames.Find(folder.At("{0..2}.tar")), Throws.TypeOf<FileNotFoundException>().With.Message.Contains("1.tar' does not exist (2 of 3"));
        Assert.That(ShardNames.Find(folder.At("0.tar")), Has.Count.EqualTo(1));
    }
}
