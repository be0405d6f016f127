using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class ImageLoaderTests : FolderTests
{
    private string[] _paths = null!;

    [SetUp]
    public void SetUp() => _paths = [.. Enumerable.Range(0, 7).Select(i => Folder.WriteImage($"{i}.png", 3 + i, 2, red: (byte)(10 * i)))];

    [Test]
    public void Gives_every_image_in_order_whatever_the_workers([Values(0, 1, 3)] int workers)
    {
        var loader = new ImageLoader(_paths, batchSize: 3, workers);
        var seen = new List<(int Index, int Width, byte Red)>();
        var counts = new List<int>();
        foreach (var batch in loader.Batches())
        {
            using (batch)
            {
                counts.Add(batch.Count);
                for (int i = 0; i < batch.Count; i++) seen.Add((batch.SampleIndices[i], batch.Images[i].Width, batch.Rgb[(int)batch.Images[i].Offset]));
            }
        }
        Assert.That(counts, Is.EqualTo(new[] { 3, 3, 1 }));
        Assert.That(seen, Is.EqualTo(Enumerable.Range(0, 7).Select(i => (i, 3 + i, (byte)(10 * i)))));
        Assert.That(loader.Unreadable, Is.Empty);
        Assert.That(loader.Batches(first: 1).Select(batch => batch.SampleIndices[0]), Is.EqualTo(new[] { 3, 6 }));
    }

    [Test]
    public void Leaves_out_what_cannot_be_read_and_says_why()
    {
        foreach (int i in new[] { 1, 3, 4, 5 }) File.WriteAllText(_paths[i], "no image");
        File.Delete(_paths[4]);
        var loader = new ImageLoader(_paths, batchSize: 3);
        Assert.That(loader.Batches().Select(batch => batch.SampleIndices.ToArray()), Is.EqualTo(new int[][] { [0, 2], [], [6] }));
        Assert.That(loader.Unreadable.Select(image => (image.Index, image.Path)), Is.EqualTo(new[] { 1, 3, 4, 5 }.Select(i => (i, _paths[i]))));
        Assert.That(loader.Unreadable[0].Reason, Does.Contain(_paths[1]).And.Contain("not an image"));
        Assert.That(loader.Unreadable[2].Reason, Does.Contain("does not exist"));
    }

    [Test]
    public void Strict_makes_that_an_error()
    {
        File.WriteAllText(_paths[5], "no image");
        Assert.That(() => new ImageLoader(_paths, batchSize: 3, strict: true).Batches().Count(), Throws.TypeOf<InvalidDataException>().With.Message.Contains(_paths[5]));
    }
}
