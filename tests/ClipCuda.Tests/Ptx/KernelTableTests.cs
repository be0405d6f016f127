using ClipCuda.Ptx;

namespace ClipCuda.Tests.Ptx;

/// <summary>What the kernels ask of memory, on the shapes of ViT-B/32 and RN50; <c>./build.sh counters</c> (CLIPCUDA_COUNTERS=write) writes it to kernels/README.md.</summary>
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
                // `profile` divides by time what launches say that they move.
                long moved = counters.Loads.DistinctBytes + counters.Stores.DistinctBytes;
                if (SkipsNumbers(name)) Assert.That(kernel.MovedBytes, Is.AtLeast(moved), $"{name}, bytes that its arguments say");
                else Assert.That((double)kernel.MovedBytes, Is.EqualTo((double)moved).Within(Math.Max(0.05 * moved, 64 * kernel.Launches)), $"{name}, bytes that its arguments say");
                if (SkipsNumbers(name)) continue;
                foreach (var (what, traffic) in new[] { ("loads", counters.Loads), ("stores", counters.Stores) })
                {
                    double least = (double)traffic.DistinctBytes / KernelCounters.SectorBytes;
                    Assert.That(traffic.DistinctSectors, Is.LessThanOrEqualTo(Math.Max(Most * least, least + kernel.PartlyUsedSectors)), $"{name}, sectors of {what}, of which {least} are the least");
                    if (!TakesSingleNumbers(name)) Assert.That((double)traffic.Sectors, Is.LessThanOrEqualTo(Most * traffic.IdealSectors), $"{name}, sectors of {what}");
                }
            }
            Assert.That(File.ReadAllText(path), Is.EqualTo(table), "kernels/README.md is out of date; ./build.sh counters writes it");
        });
    }

    /// <summary>Where a ReLU cut, its backward reads nothing else: by the data, a sector has holes.</summary>
    private static bool SkipsNumbers(string kernel) => kernel is "batchnorm_backward" or "batchnorm_backward_partial";

    /// <summary>
    /// Pixels under a filter lie where the image's size says; three channels and a kernel's taps lie next to each other in one of two layouts and apart in the other. All of them are
    /// a small share of a step.
    /// </summary>
    private static bool TakesSingleNumbers(string kernel) => kernel.StartsWith("preprocess", StringComparison.Ordinal) || kernel is "channelslast_forward" or "convolution_pack" or "convolution_add_gradient";
}
