using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class OrderedPrefetchTests
{
    [TestCase(0)]
    [TestCase(1)]
    [TestCase(2)]
    [TestCase(5)]
    public void Hands_out_items_in_order_and_then_null(int threads)
    {
        using var prefetch = new OrderedPrefetch<Item>(3, 40, threads, (number, _) =>
        {
            if (number % 3 == 0) Thread.Yield();
            return new Item(number);
        });
        for (int number = 3; number < 40; number++) Assert.That(prefetch.Take()!.Number, Is.EqualTo(number));
        Assert.That(prefetch.Take(), Is.Null);
        Assert.That(prefetch.Take(), Is.Null);
    }

    [Test]
    public void Makes_one_more_than_it_has_threads_ahead()
    {
        int made = 0;
        using var prefetch = new OrderedPrefetch<Item>(0, 100, 3, (number, _) =>
        {
            Interlocked.Increment(ref made);
            return new Item(number);
        });
        for (int taken = 0; taken < 50; taken++)
        {
            int expected = taken + 4;
            Assert.That(() => Volatile.Read(ref made), Is.EqualTo(expected).After(2000, 1));
            prefetch.Take();
        }
        Thread.Sleep(20);
        Assert.That(made, Is.EqualTo(54));
    }

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(4)]
    public void An_error_is_thrown_where_its_item_is_taken(int threads)
    {
        using var prefetch = new OrderedPrefetch<Item>(0, 10, threads, (number, _) => number == 5 ? throw new InvalidDataException("five") : new Item(number));
        for (int number = 0; number < 5; number++) Assert.That(prefetch.Take()!.Number, Is.EqualTo(number));
        Assert.That(prefetch.Take, Throws.TypeOf<InvalidDataException>().With.Message.EqualTo("five"));
    }

    [Test]
    public void Disposal_stops_threads_in_mid_item_and_disposes_of_what_nobody_took()
    {
        var items = new List<Item>();
        using var busy = new ManualResetEventSlim();
        var prefetch = new OrderedPrefetch<Item>(0, 100, 2, (number, stop) =>
        {
            if (number >= 2)
            {
                busy.Set();
                stop.WaitHandle.WaitOne();
                stop.ThrowIfCancellationRequested();
            }
            var item = new Item(number);
            lock (items) items.Add(item);
            return item;
        });
        busy.Wait();
        var taken = prefetch.Take()!;
        prefetch.Dispose();
        prefetch.Dispose();
        Assert.That(items, Has.Count.InRange(1, 2));
        Assert.That(items.Where(item => item != taken).All(item => item.IsDisposed));
        Assert.That(taken.IsDisposed, Is.False);
        Assert.That(prefetch.Take, Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public void Disposal_wakes_one_who_waits()
    {
        var prefetch = new OrderedPrefetch<Item>(0, 1, 1, (_, stop) =>
        {
            stop.WaitHandle.WaitOne();
            throw new OperationCanceledException(stop);
        });
        var waiting = Task.Run(() => Assert.That(prefetch.Take, Throws.TypeOf<ObjectDisposedException>()));
        Thread.Sleep(20);
        prefetch.Dispose();
        Assert.That(waiting.Wait(TimeSpan.FromSeconds(10)));
    }

    private sealed class Item(int number) : IDisposable
    {
        public int Number { get; } = number;

        public bool IsDisposed { get; private set; }

        public void Dispose() => IsDisposed = true;
    }
}
