using System.Diagnostics;
using System.Runtime.ExceptionServices;

namespace ClipCuda.Devices;

/// <summary>
/// Threads that share the items of one loop after another. The caller works too and never waits for a helper that has not entered: on
/// a busy machine a loop costs what one thread needs, and a short one costs microseconds. Helpers spin for a moment after a loop,
/// since the next one usually follows, and then sleep.
/// </summary>
internal sealed class WorkerPool : IDisposable
{
    // _inside counts the helpers in the current loop; while this bit is set nobody may enter.
    private const int Closed = 1 << 30;
    private static readonly long SpinTicks = Stopwatch.Frequency / 20_000; // 50 µs

    private readonly Lock _errorLock = new();
    private readonly object _sleepGate = new();
    private readonly Thread[] _helpers;
    private int _inside = Closed;
    private int _generation;
    private int _sleeping;
    private volatile bool _stopping;

    private Action<long, long> _body = static (_, _) => { };
    private long _items;
    private long _chunk;
    private long _next;
    private Exception? _error;
    private long _errorItem;

    public WorkerPool(int threads)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(threads);
        _helpers = new Thread[threads - 1];
        for (int i = 0; i < _helpers.Length; i++)
        {
            _helpers[i] = new Thread(Help) { IsBackground = true, Name = $"ClipCuda worker {i + 1}" };
            _helpers[i].Start();
        }
    }

    public int Threads => _helpers.Length + 1;

    /// <summary>
    /// Calls <paramref name="body"/>(first, count) until all items 0 … <paramref name="items"/> − 1 are done, <paramref name="chunk"/>
    /// items a call, on any thread in any order. If calls throw, no further chunk is started and the exception of the lowest of the
    /// items that failed is thrown again here.
    /// </summary>
    public void Run(long items, long chunk, Action<long, long> body)
    {
        if (items <= 0) return;
        if (items <= chunk || _helpers.Length == 0)
        {
            for (long first = 0; first < items; first += chunk) body(first, Math.Min(chunk, items - first));
            return;
        }
        (_body, _items, _chunk, _next, _error) = (body, items, chunk, 0, null);
        Volatile.Write(ref _inside, 0);
        Interlocked.Increment(ref _generation);
        if (Volatile.Read(ref _sleeping) > 0) Wake();
        TakeChunks();
        Interlocked.Or(ref _inside, Closed);
        var wait = new SpinWait();
        while (Volatile.Read(ref _inside) != Closed) wait.SpinOnce(sleep1Threshold: -1);
        if (_error is { } error)
        {
            _error = null;
            ExceptionDispatchInfo.Throw(error);
        }
    }

    public void Dispose()
    {
        _stopping = true;
        Interlocked.Increment(ref _generation);
        Wake();
        foreach (var helper in _helpers) helper.Join();
    }

    private void Help()
    {
        int seen = 0;
        while (true)
        {
            seen = AwaitGenerationAfter(seen);
            if (_stopping) return;
            if (!TryEnter()) continue;
            TakeChunks();
            Interlocked.Decrement(ref _inside);
        }
    }

    private bool TryEnter()
    {
        int inside = Volatile.Read(ref _inside);
        while ((inside & Closed) == 0)
        {
            int found = Interlocked.CompareExchange(ref _inside, inside + 1, inside);
            if (found == inside) return true;
            inside = found;
        }
        return false;
    }

    private void TakeChunks()
    {
        while (true)
        {
            long first = Interlocked.Add(ref _next, _chunk) - _chunk;
            if (first >= _items) return;
            try
            {
                _body(first, Math.Min(_chunk, _items - first));
            }
            catch (Exception error)
            {
                Keep(error, first);
            }
        }
    }

    private void Keep(Exception error, long item)
    {
        Volatile.Write(ref _next, _items);
        lock (_errorLock)
        {
            if (_error is not null && _errorItem < item) return;
            (_error, _errorItem) = (error, item);
        }
    }

    private int AwaitGenerationAfter(int seen)
    {
        for (long start = Stopwatch.GetTimestamp(); Stopwatch.GetTimestamp() - start < SpinTicks;)
        {
            if (Volatile.Read(ref _generation) != seen) return Volatile.Read(ref _generation);
            Thread.SpinWait(8);
        }
        lock (_sleepGate)
        {
            // The caller raises the generation and then reads this count; a helper does the reverse. One of the two sees the other.
            Interlocked.Increment(ref _sleeping);
            while (Volatile.Read(ref _generation) == seen) Monitor.Wait(_sleepGate);
            Interlocked.Decrement(ref _sleeping);
        }
        return Volatile.Read(ref _generation);
    }

    private void Wake()
    {
        lock (_sleepGate) Monitor.PulseAll(_sleepGate);
    }
}
