namespace ClipCuda.Tests;

public sealed class LayoutTests
{
    [Test]
    public void Repository_root_is_found() => Assert.That(1, Is.EqualTo(1));
}
