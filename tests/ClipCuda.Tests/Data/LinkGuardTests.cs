using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

[Platform(Exclude = "Win", Reason = "links need a right of their own there")]
public sealed class LinkGuardTests : FolderTests
{
    [SetUp]
    public void SetUp()
    {
        foreach (string file in new[] { "root/a.png", "root/sub/b.png", "outside/secret.png", "rooted/c.png" }) Folder.Write(file, "x");
    }

    [Test]
    public void Files_below_the_root_are_inside_however_it_is_reached()
    {
        Directory.CreateSymbolicLink(Folder.At("linked"), "root");
        foreach (string root in new[] { "root", "linked" })
        {
            var guard = new LinkGuard(Folder.At(root));
            foreach (string file in new[] { "a.png", "sub/b.png" }) Assert.That(guard.IsInside(Folder.At($"{root}/{file}")), file);
        }
    }

    [Test]
    public void A_link_counts_by_where_it_leads()
    {
        var guard = new LinkGuard(Folder.At("root"));
        File.CreateSymbolicLink(Folder.At("root/within.png"), "sub/b.png");
        File.CreateSymbolicLink(Folder.At("root/full.png"), Folder.At("root/a.png"));
        File.CreateSymbolicLink(Folder.At("root/out.png"), "../outside/secret.png");
        File.CreateSymbolicLink(Folder.At("root/twice.png"), "out.png");
        File.CreateSymbolicLink(Folder.At("root/like.png"), "../rooted/c.png");
        Directory.CreateSymbolicLink(Folder.At("root/way"), "../outside");
        Directory.CreateSymbolicLink(Folder.At("root/round"), "sub/../way");
        Directory.CreateSymbolicLink(Folder.At("outside/back"), "../root/sub");
        foreach (var (file, inside) in new[]
        {
            ("within.png", true), ("full.png", true), ("out.png", false), ("twice.png", false), ("like.png", false), ("way/secret.png", false), ("round/secret.png", false), ("way/back/b.png", true),
        })
        {
            for (int time = 0; time < 2; time++) Assert.That(guard.IsInside(Folder.At($"root/{file}")), Is.EqualTo(inside), file);
        }
    }

    [Test]
    public void Above_a_link_is_above_its_target()
    {
        Directory.CreateDirectory(Folder.At("outside/deep"));
        Directory.CreateSymbolicLink(Folder.At("root/way"), "../outside/deep");
        File.CreateSymbolicLink(Folder.At("root/up.png"), "way/../secret.png");
        Assert.That(new LinkGuard(Folder.At("root")).IsInside(Folder.At("root/up.png")), Is.False);
    }

    [Test]
    public void A_circle_is_an_error()
    {
        Directory.CreateSymbolicLink(Folder.At("root/x"), "y");
        Directory.CreateSymbolicLink(Folder.At("root/y"), "x");
        Assert.That(() => new LinkGuard(Folder.At("root")).IsInside(Folder.At("root/x/a.png")), Throws.InstanceOf<IOException>().With.Message.Contains("symbolic links"));
    }
}
