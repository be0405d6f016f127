using ClipCuda.Devices;
using ClipCuda.Model;

namespace ClipCuda.Tests.Model;

public sealed class BatchNormStatisticsTests
{
    [Test]
    public void Fresh_ones_are_as_pytorchs()
    {
        using var device = Device.Open("cpu:check", 1);
        using var statistics = new BatchNormStatistics(device, [("a.bn1", 3), ("a.bn2", 65)]);
        Assert.That(statistics.Names, Is.EqualTo(new[] { "a.bn1.running_mean", "a.bn1.running_var", "a.bn2.running_mean", "a.bn2.running_var" }));
        Assert.That(statistics.Of("a.bn2").Mean.ToArray(), Has.Length.EqualTo(65).And.All.Zero);
        Assert.That(statistics.Of("a.bn2").Variance.ToArray(), Has.Length.EqualTo(65).And.All.EqualTo(1f));
        Assert.That(statistics.BatchesTracked, Is.EquivalentTo(new Dictionary<string, long> { ["a.bn1.num_batches_tracked"] = 0, ["a.bn2.num_batches_tracked"] = 0 }));
    }

    [Test]
    public void A_model_without_batch_norms_has_none_and_takes_no_memory()
    {
        using var device = Device.Open("cpu", 1);
        using var statistics = new BatchNormStatistics(device, []);
        Assert.That((statistics.Names.Count, statistics.BatchesTracked.Count, device.LiveBuffers), Is.EqualTo((0, 0, 0)));
    }

    [Test]
    public void Unknown_names_are_named()
    {
        using var device = Device.Open("cpu", 1);
        using var statistics = new BatchNormStatistics(device, [("bn", 3)]);
        Assert.That(() => statistics["bn.weight"], Throws.TypeOf<KeyNotFoundException>().With.Message.Contains("'bn.weight'"));
        Assert.That(() => statistics.SetBatchesTracked("bn", 1), Throws.TypeOf<KeyNotFoundException>().With.Message.Contains("'bn'"));
    }
}
