using ClipCuda.Devices;

namespace ClipCuda.Tests.Devices;

public sealed class CudaArenaTests
{
    private const long MiB = 1 << 20;

    private readonly List<(long Bytes, ulong Address)> _given = [];
    private readonly List<ulong> _returned = [];
    private long _memory = long.MaxValue;
    private CudaArena _arena = null!;

    [SetUp]
    public void SetUp()
    {
        _given.Clear();
        _returned.Clear();
        _memory = long.MaxValue;
        _arena = new CudaArena(
            bytes =>
            {
                if (bytes > _memory) return null;
                _memory -= bytes;
                _given.Add((bytes, (ulong)(_given.Count + 1) << 40));
                return _given[^1].Address;
            },
            address =>
            {
                _memory += _given.Single(block => block.Address == address).Bytes;
                _returned.Add(address);
            });
    }

    [TestCase(1, 512)]
    [TestCase(512, 512)]
    [TestCase(513, 1024)]
    [TestCase(MiB - 1, MiB)]
    [TestCase(MiB, 2 * MiB)]
    [TestCase(2 * MiB + 1, 4 * MiB)]
    public void Blocks_are_rounded_so_that_neighbouring_sizes_share_them(long bytes, long size)
    {
        _arena.Allocate(bytes);
        Assert.That(_given.Single().Bytes, Is.EqualTo(size));
    }

    [Test]
    public void A_block_that_was_freed_is_given_out_again()
    {
        ulong first = _arena.Allocate(3000)!.Value, second = _arena.Allocate(3000)!.Value;
        Assert.That(second, Is.Not.EqualTo(first));
        _arena.Free(first);
        Assert.That(_arena.IdleBytes, Is.EqualTo(3072));
        Assert.That(_arena.Allocate(2900), Is.EqualTo(first));
        Assert.That((_arena.IdleBytes, _given.Count, _returned.Count), Is.EqualTo((0L, 2, 0)));
    }

    [Test]
    public void Of_idle_blocks_the_smallest_that_fits_is_taken_if_it_wastes_at_most_a_quarter()
    {
        ulong large = _arena.Allocate(5120)!.Value, larger = _arena.Allocate(5632)!.Value;
        _arena.Free(larger);
        _arena.Free(large);
        Assert.That(_arena.Allocate(4096), Is.EqualTo(large), "5,120 is a quarter more");
        Assert.That(_arena.Allocate(4096), Is.Not.EqualTo(larger), "5,632 is too much");
        Assert.That(_given, Has.Count.EqualTo(3));
    }

    [Test]
    public void What_is_kept_is_given_back_before_memory_is_said_to_be_out()
    {
        _memory = 8 * MiB;
        ulong kept = _arena.Allocate(2 * MiB)!.Value;
        _arena.Allocate(4 * MiB);
        Assert.That(_arena.Allocate(4 * MiB), Is.Null, "nothing is idle");
        _arena.Free(kept);
        Assert.That(_arena.Allocate(4 * MiB), Is.Not.Null);
        Assert.That(_returned, Is.EqualTo(new[] { kept }));
        Assert.That(_arena.Allocate(MiB), Is.Null);
        Assert.That(_arena.Allocate(long.MaxValue), Is.Null, "a size that rounding would make negative");
    }

    [Test]
    public void Trimming_gives_back_what_is_idle_and_that_alone()
    {
        ulong idle = _arena.Allocate(100)!.Value, used = _arena.Allocate(100)!.Value;
        _arena.Free(idle);
        _arena.Trim();
        Assert.That((_returned.Single(), _arena.IdleBytes), Is.EqualTo((idle, 0L)));
        _arena.Free(used);
        _arena.Trim();
        Assert.That(_returned, Is.EqualTo(new[] { idle, used }));
    }
}
