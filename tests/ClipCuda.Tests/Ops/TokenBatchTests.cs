using ClipCuda.Devices;
using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class TokenBatchTests
{
    private Device _device = null!;
    private Tape _tape = null!;

    [SetUp]
    public void SetUp()
    {
        _device = OpDevices.Open("cpu:check", 1);
        _tape = new Tape(_device);
    }

    [TearDown]
    public void TearDown()
    {
        _tape.Dispose();
        _device.Dispose();
    }

    [Test]
    [OnEveryDevice]
    public void Every_row_has_one_owner_whatever_the_batch([Values(1, 5, 30)] int vocabulary)
    {
        const int Batch = 12, Sequence = 11;
        var tokens = New(Batch, Sequence, vocabulary);
        var random = new Random(vocabulary);
        for (int round = 0; round < 3; round++)
        {
            int[] ids = [.. Enumerable.Range(0, Batch * Sequence).Select(_ => random.Next(vocabulary))];
            tokens.Upload(ids);
            var plan = tokens.Owners!;
            int[] order = plan.Order.ToInt32Array(), chunks = plan.Chunks.ToInt32Array(), starts = plan.Starts.ToInt32Array(), distinct = plan.Ids.ToInt32Array();
            Assert.That(tokens.Ids.ToInt32Array(), Is.EqualTo(ids));
            Assert.That(order, Is.EqualTo(Enumerable.Range(0, ids.Length).OrderBy(i => ids[i])), "a stable sort");
            var rows = new List<int>();
            for (int owner = 0; owner < distinct.Length; owner++)
            {
                for (int chunk = starts[owner]; chunk < starts[owner + 1]; chunk++)
                {
                    int[] summed = order[chunks[chunk]..chunks[chunk + 1]];
                    Assert.That(summed, Is.Not.Empty.And.Length.LessThanOrEqualTo(64));
                    Assert.That(summed.Select(row => ids[row]), Is.All.EqualTo(distinct[owner]));
                    rows.AddRange(summed);
                }
                if (starts[owner] == starts[owner + 1]) Assert.That(distinct[owner], Is.EqualTo(-1), "nobody's id");
            }
            Assert.That(rows, Is.EquivalentTo(Enumerable.Range(0, ids.Length)));
            Assert.That(chunks.Skip(starts[^1]), Is.All.EqualTo(ids.Length), "ranges behind the last are empty");
        }
    }

    [Test]
    [OnEveryDevice]
    public void A_caption_ends_at_the_first_of_its_largest_ids()
    {
        var tokens = New(3, 4, 10);
        tokens.Upload([1, 9, 0, 0, 9, 8, 9, 0, 0, 1, 2, 3]);
        Assert.That(tokens.Ends.ToInt32Array(), Is.EqualTo(new[] { 1, 0, 3 }));
    }

    [Test]
    [OnEveryDevice]
    public void A_token_outside_the_vocabulary_is_named()
    {
        Assert.That(() => New(2, 2, 9).Upload([0, 1, 2, 9]), Throws.ArgumentException.With.Message.Contains("Caption 1 of the batch holds token 9 at position 1; the vocabulary has 9"));
        Assert.That(() => New(2, 2, 9).Upload([0, -1, 2, 8]), Throws.ArgumentException.With.Message.Contains("Caption 0 of the batch holds token -1 at position 1"));
        Assert.That(() => New(2, 2, 9).Upload([0, 1, 2]), Throws.ArgumentException.With.Message.Contains("3 ids are not 2 captions of 2"));
    }

    private TokenBatch New(int batch, int sequence, int vocabulary) => new(batch, sequence, vocabulary, owners: true, integers => _tape.AllocateScratch(DataType.Int32, integers));
}
