namespace ClipCuda.Tests;

/// <summary>Philox against the published vectors, and its distributions against their definitions.</summary>
public sealed class PhiloxTests
{
    private const ulong Seed = 0x0123_4567_89AB_CDEF;

    // Random123 1.14, tests/kat_vectors, the three lines "philox4x32 10": counter, key, result.
    [TestCase(0u, 0u, 0u, 0u, 0u, 0u, 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u)]
    [TestCase(~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu)]
    [TestCase(0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u, 0xa4093822u, 0x299f31d0u, 0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u)]
    public void A_block_equals_the_known_answer(uint c0, uint c1, uint c2, uint c3, uint k0, uint k1, uint r0, uint r1, uint r2, uint r3) =>
        Assert.That(Philox.Block((c0, c1, c2, c3), (k0, k1)), Is.EqualTo((r0, r1, r2, r3)));

    [Test]
    public void A_stream_is_the_blocks_of_its_counter()
    {
        var random = new Philox(Seed, RandomPurpose.Crop, epoch: 3, index: 7);
        foreach (uint block in new uint[] { 0, 1, 2 })
        {
            var drawn = (random.NextUInt32(), random.NextUInt32(), random.NextUInt32(), random.NextUInt32());
            Assert.That(drawn, Is.EqualTo(Philox.Block((block, 7, 3, (uint)RandomPurpose.Crop), (0x89AB_CDEF, 0x0123_4567))));
        }
    }

    [TestCase(0)]
    [TestCase(4)]
    [TestCase(1000)]
    public void Skipping_gives_the_same_numbers_as_drawing(int draws)
    {
        var drawn = new Philox(Seed, RandomPurpose.Crop, epoch: 3, index: 7);
        for (int i = 0; i < draws; i++) drawn.Normal();
        // What is left of a block or of a pair does not matter.
        var skipped = new Philox(Seed, RandomPurpose.Crop, epoch: 3, index: 7);
        skipped.Normal();
        skipped.SkipTo(draws);
        Assert.That(Enumerable.Range(0, 9).Select(_ => skipped.Normal()), Is.EqualTo(Enumerable.Range(0, 9).Select(_ => drawn.Normal())));
    }

    [Test]
    public void Skipping_ends_between_two_blocks_only() =>
        Assert.That(() => new Philox(Seed, RandomPurpose.Crop).SkipTo(6), Throws.TypeOf<ArgumentOutOfRangeException>());

    [Test]
    public void Seed_purpose_epoch_and_index_each_give_another_stream()
    {
        uint[] first =
        [
            new Philox(1, RandomPurpose.Order, 2, 3).NextUInt32(),
            new Philox(2, RandomPurpose.Order, 2, 3).NextUInt32(),
            new Philox(1UL << 32, RandomPurpose.Order, 2, 3).NextUInt32(),
            new Philox(1, RandomPurpose.Crop, 2, 3).NextUInt32(),
            new Philox(1, RandomPurpose.Order, 3, 3).NextUInt32(),
            new Philox(1, RandomPurpose.Order, 2, 4).NextUInt32(),
        ];
        Assert.That(first, Is.Unique);
        Assert.That(new Philox(1, RandomPurpose.Order, 2, 3).NextUInt32(), Is.EqualTo(first[0]));
    }

    [Test]
    public void Uniform_lies_in_the_unit_interval_with_its_mean_and_variance()
    {
        const int Count = 40_000;
        var random = new Philox(Seed, RandomPurpose.Initialization);
        double sum = 0, squares = 0;
        for (int i = 0; i < Count; i++)
        {
            double u = random.Uniform();
            Assert.That(u, Is.InRange(0.0, 1.0 - Math.ScaleB(1, -24)));
            sum += u;
            squares += (u - 0.5) * (u - 0.5);
        }
        // Five standard errors: the variance of u is 1/12, that of (u − ½)² is 1/180.
        Assert.That(sum / Count, Is.EqualTo(0.5).Within(5 * Math.Sqrt(1.0 / 12 / Count)));
        Assert.That(squares / Count, Is.EqualTo(1.0 / 12).Within(5 * Math.Sqrt(1.0 / 180 / Count)));
    }

    [Test]
    public void Uniform_between_bounds_stays_between_them()
    {
        var random = new Philox(Seed, RandomPurpose.Crop);
        for (int i = 0; i < 1000; i++) Assert.That(random.Uniform(-3, 5), Is.InRange(-3.0, 5.0).And.LessThan(5.0));
    }

    [Test]
    public void Normal_has_the_moments_of_a_standard_normal()
    {
        const int Count = 40_000;
        var random = new Philox(Seed, RandomPurpose.Initialization, index: 1);
        double sum = 0, squares = 0, fourth = 0;
        for (int i = 0; i < Count; i++)
        {
            double z = random.Normal();
            sum += z;
            squares += z * z;
            fourth += z * z * z * z;
        }
        // Five standard errors: var(z) = 1, var(z²) = 2, var(z⁴) = 105 − 9 = 96.
        Assert.That(sum / Count, Is.EqualTo(0).Within(5 * Math.Sqrt(1.0 / Count)));
        Assert.That(squares / Count, Is.EqualTo(1).Within(5 * Math.Sqrt(2.0 / Count)));
        Assert.That(fourth / Count, Is.EqualTo(3).Within(5 * Math.Sqrt(96.0 / Count)));
    }

    [TestCase(1)]
    [TestCase(3)]
    [TestCase(7)]
    [TestCase(1000)]
    public void Below_reaches_every_value_about_equally_often(int n)
    {
        int draws = 200 * n;
        var random = new Philox(Seed, RandomPurpose.Caption);
        var counts = new int[n];
        for (int i = 0; i < draws; i++) counts[random.Below(n)]++;
        // Each count is binomial with mean 200: six standard deviations are 85.
        Assert.That(counts, Is.All.InRange(200 - 85, 200 + 85));
    }

    [Test]
    public void Below_is_unbiased_where_the_range_does_not_divide_the_generator()
    {
        // 3·2²⁹ leaves 2³² mod n = 2³⁰: without rejection, two of every three values would come up half again as often as the third.
        const int Range = 3 << 29, Count = 30_000;
        var random = new Philox(Seed, RandomPurpose.Caption, index: 1);
        var counts = new int[3];
        for (int i = 0; i < Count; i++) counts[random.Below(Range) % 3]++;
        Assert.That(counts, Is.All.EqualTo(Count / 3).Within(5 * Math.Sqrt(Count * 2.0 / 9)));
    }

    [TestCase(0)]
    [TestCase(-1)]
    public void Below_refuses_an_empty_range(int n) =>
        Assert.That(() => new Philox(Seed, RandomPurpose.Caption).Below(n), Throws.InstanceOf<ArgumentOutOfRangeException>());

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(1000)]
    public void Shuffle_permutes(int count)
    {
        int[] items = [.. Enumerable.Range(0, count)];
        new Philox(Seed, RandomPurpose.Order).Shuffle(items);
        Assert.That(items, Is.EquivalentTo(Enumerable.Range(0, count)));
        if (count > 1) Assert.That(items, Is.Not.Ordered);
    }

    [Test]
    public void Shuffle_gives_every_order_equally_often()
    {
        const int Count = 6000;
        var seen = new Dictionary<string, int>(StringComparer.Ordinal);
        for (uint epoch = 0; epoch < Count; epoch++)
        {
            int[] items = [0, 1, 2];
            new Philox(Seed, RandomPurpose.Order, epoch).Shuffle(items);
            string order = string.Join(',', items);
            seen[order] = seen.GetValueOrDefault(order) + 1;
        }
        Assert.That(seen, Has.Count.EqualTo(6));
        Assert.That(seen.Values, Is.All.EqualTo(Count / 6).Within(5 * Math.Sqrt(Count * 5.0 / 36)));
    }
}
