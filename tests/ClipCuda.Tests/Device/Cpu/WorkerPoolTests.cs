using ClipCuda.Devices;

namespace ClipCuda.Tests.Devices;

/// <summary>The pool: every item once, on all threads, with errors brought home.</summary>
public sealed class WorkerPoolTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    [Test]
    public void Every_item_is_done_once([Values(1, 2, 5)] int threads, [Values(0, 1, 7, 1000)] int items, [Values(1, 3, 2000)] int chunk)
    {
        using var pool = new WorkerPool(threads);
        int[] done = new int[items];
        for (int repeat = 0; repeat < 3; repeat++)
        {
            pool.Run(items, chunk, (first, count) =>
            {
                Assert.That(count, Is.InRange(1, chunk));
                for (long i = first; i < first + count; i++) Interlocked.Increment(ref done[i]);
            });
        }
        Assert.That(done, Is.All.EqualTo(3));
    }

    [Test]
    public void Items_run_on_all_threads_at_once()
    {
        using var pool = new WorkerPool(3);
        using var barrier = new Barrier(3);
        for (int repeat = 0; repeat < 3; repeat++)
        {
            bool[] met = new bool[3];
            pool.Run(3, 1, (first, _) => met[first] = barrier.SignalAndWait(Patience));
            Assert.That(met, Is.All.True);
            Thread.Sleep(5); // long enough for the helpers to fall asleep
        }
    }

    [Test]
    public void Others_do_what_a_thread_that_is_held_up_leaves([Values(0, 4)] int held)
    {
        using var pool = new WorkerPool(2);
        using var others = new CountdownEvent(7);
        bool all = false;
        pool.Run(8, 1, (first, _) =>
        {
            // The first item of the caller's stretch, or of the helper's.
            if (first == held) all = others.Wait(Patience);
            else others.Signal();
        });
        Assert.That(all, Is.True);
    }

    [Test]
    public void A_thread_goes_through_the_same_items_in_every_loop()
    {
        using var pool = new WorkerPool(2);
        using var barrier = new Barrier(2);
        for (int repeat = 0; repeat < 3; repeat++)
        {
            int[] thread = new int[8];
            pool.Run(8, 1, (first, _) =>
            {
                thread[first] = Environment.CurrentManagedThreadId;
                // So that neither can take of the other's.
                Assert.That(barrier.SignalAndWait(Patience), Is.True);
            });
            Assert.That(thread[..4], Is.All.EqualTo(Environment.CurrentManagedThreadId));
            Assert.That(thread[4..], Is.All.EqualTo(thread[7]).And.All.Not.EqualTo(thread[0]));
        }
    }

    [Test]
    public void Many_short_loops_lose_nothing()
    {
        using var pool = new WorkerPool(4);
        long sum = 0;
        for (int repeat = 0; repeat < 5000; repeat++) pool.Run(8, 1, (first, _) => Interlocked.Add(ref sum, first + 1));
        Assert.That(sum, Is.EqualTo(5000 * 36));
    }

    [Test]
    public void An_exception_of_any_thread_reaches_the_caller([Values(1, 2)] int threads)
    {
        using var pool = new WorkerPool(threads);
        foreach (int bad in new[] { 0, 1 })
        {
            Assert.That(
                () => pool.Run(2, 1, (first, _) =>
                {
                    if (first == bad) throw new InvalidOperationException($"item {first}");
                }),
                Throws.InvalidOperationException.With.Message.EqualTo($"item {bad}"));
        }
        int done = 0;
        pool.Run(10, 1, (_, _) => Interlocked.Increment(ref done));
        Assert.That(done, Is.EqualTo(10), "the pool works on after an error");
    }

    [Test]
    public void Of_several_exceptions_the_lowest_item_wins()
    {
        using var pool = new WorkerPool(2);
        using var barrier = new Barrier(2);
        Assert.That(
            () => pool.Run(2, 1, (first, _) =>
            {
                barrier.SignalAndWait(Patience);
                throw new InvalidOperationException($"item {first}");
            }),
            Throws.InvalidOperationException.With.Message.EqualTo("item 0"));
    }

    [Test]
    public void After_an_exception_no_further_item_starts()
    {
        using var pool = new WorkerPool(2);
        int started = 0;
        Assert.That(
            () => pool.Run(1_000_000, 1, (_, _) =>
            {
                Interlocked.Increment(ref started);
                throw new InvalidOperationException("first");
            }),
            Throws.InvalidOperationException);
        Assert.That(started, Is.LessThanOrEqualTo(2));
    }
}
