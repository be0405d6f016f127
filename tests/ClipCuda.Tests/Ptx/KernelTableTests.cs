using ClipCuda.Ptx;

namespace ClipCuda.Tests.Ptx;

/// <summary>What the kernels ask of memory, on the shapes of ViT-B/32; <c>./build.sh counters</c> (CLIPCUDA_COUNTERS=write) writes it to kernels/README.md.</summary>
public sealed class KernelTableTests
{
    private const double Most = 1.1;

    [Test]
    public void Kernels_ask_for_little_more_than_they_need_and_the_table_says_so()
    {
        var kernels = KernelTable.Measure();
        string path = Path.Combine(LayoutTests.Root, "kernels/README.md"), table = KernelTable.Text(kernels);
        if (Environment.GetEnvironmentVariable("CLIPCUDA_COUNTERS") == "write") File.WriteAllText(path, table);
        TestContext.Out.WriteLine(table);
        Assert.Multiple(() =>
        {
            foreach (var kernel in kernels)
            {
                string name = kernel.Entry.Name;
                var counters = kernel.Counters;
                // Not in inner loops, then.
                Assert.That((double)counters.BankConflicts, Is.LessThanOrEqualTo(0.005 * counters.SharedRequests), $"{name}, bank conflicts");
                foreach (var (what, traffic) in new[] { ("loads", counters.Loads), ("stores", counters.Stores) })
                {
                    double least = (double)traffic.DistinctBytes / KernelCounters.SectorBytes;
                    Assert.That(traffic.DistinctSectors, Is.LessThanOrEqualTo(Math.Max(Most * least, least + kernel.PartlyUsedSectors)), $"{name}, sectors of {what}, of which {least} are the least");
                    // Taps of neighbouring pixels lie where the image's size says.
                    if (!name.StartsWith("preprocess", StringComparison.Ordinal)) Assert.That((double)traffic.Sectors, Is.LessThanOrEqualTo(Most * traffic.IdealSectors), $"{name}, sectors of {what}");
                }
            }
            Assert.That(File.ReadAllText(path), Is.EqualTo(table), "kernels/README.md is out of date; ./build.sh counters writes it");
        });
    }
}
