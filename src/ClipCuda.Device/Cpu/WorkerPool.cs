using System.Diagnostics;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace ClipCuda.Devices;

/// <summary>
/// Threads that share the items of one loop after another. Each has a stretch of its own, the same one in every loop of that length, so that a
/// core finds in its cache what it wrote in the loop before and reads memory in order; who is done takes from the ends of the others' stretches.
/// The caller works too and never waits for a helper that has not entered: on a busy machine a loop costs what one thread needs, and a short
/// one costs microseconds. Helpers spin for a moment after a loop, since the next one usually follows, and then sleep.
/// </summary>
internal sealed class WorkerPool : IDisposable
{
    // _inside counts the helpers in the current loop; while this bit is set nobody may enter.
    private const int Closed = 1 << 30;
    private static readonly long SpinTicks = Stopwatch.Frequency / 20_000; // 50 µs

    private readonly Lock _errorLock = new();
    private readonly object _sleepGate = new();
    private readonly Thread[] _helpers;

    /// <summary>Of each thread, the caller's first.</summary>
    private readonly Stretch[] _stretches;
    private int _inside = Closed;
    private int _generation;
    private int _sleeping;
    private volatile bool _stopping;

    private Action<long, long> _body = static (_, _) => { };
    private long _items;
    private long _chunk;
    private Exception? _error;
    private long _errorItem;

    public WorkerPool(int threads)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(threads);
        _stretches = new Stretch[threads];
        _helpers = new Thread[threads - 1];
        for (int i = 0; i < _helpers.Length; i++)
        {
            int own = i + 1;
            _helpers[i] = new Thread(() => Help(own)) { IsBackground = true, Name = $"ClipCuda worker {own}" };
            _helpers[i].Start();
        }
    }

    public int Threads => _helpers.Length + 1;

    /// <summary>
    /// Calls <paramref name="body"/>(first, count) until all items 0 … <paramref name="items"/> − 1 are done, <paramref name="chunk"/>
    /// items a call (fewer than 2³¹ calls), on any thread in any order. If calls throw, no further chunk is started and the exception of the lowest of the
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
        (_body, _items, _chunk, _error) = (body, items, chunk, null);
        int chunks = checked((int)((items + chunk - 1) / chunk));
        for (int t = 0; t < Threads; t++) _stretches[t].Set((int)((long)chunks * t / Threads), (int)((long)chunks * (t + 1) / Threads));
        Volatile.Write(ref _inside, 0);
        Interlocked.Increment(ref _generation);
        if (Volatile.Read(ref _sleeping) > 0) Wake();
        Work(0);
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

    private void Help(int own)
    {
        int seen = 0;
        while (true)
        {
            seen = AwaitGenerationAfter(seen);
            if (_stopping) return;
            if (!TryEnter()) continue;
            Work(own);
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

    /// <summary>Does the thread's own stretch, then what is left of the next threads'.</summary>
    private void Work(int own)
    {
        while (_stretches[own].TryTakeFirst(out int chunk)) Do(chunk);
        for (int i = 1; i < _stretches.Length; i++)
        {
            while (_stretches[(own + i) % _stretches.Length].TryTakeLast(out int chunk)) Do(chunk);
        }
    }

    private void Do(int chunk)
    {
        long first = chunk * _chunk;
        try
        {
            _body(first, Math.Min(_chunk, _items - first));
        }
        catch (Exception error)
        {
            Keep(error, first);
        }
    }

    private void Keep(Exception error, long item)
    {
        foreach (ref var stretch in _stretches.AsSpan()) stretch.Set(0, 0);
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

    /// <summary>Chunks that nobody has taken yet, on cache lines of its own: its thread takes from the front, others from the back.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct Stretch
    {
        /// <summary>The first in the low half, the end in the high half.</summary>
        [FieldOffset(128)]
        private long _left;

        public void Set(int first, int end) => Volatile.Write(ref _left, Pack(first, end));

        public bool TryTakeFirst(out int chunk) => TryTake(ofFront: true, out chunk);

        public bool TryTakeLast(out int chunk) => TryTake(ofFront: false, out chunk);

        private bool TryTake(bool ofFront, out int chunk)
        {
            long left = Volatile.Read(ref _left);
            while (true)
            {
                int first = (int)left, end = (int)(left >> 32);
                chunk = ofFront ? first : end - 1;
                if (first >= end) return false;
                long found = Interlocked.CompareExchange(ref _left, ofFront ? Pack(first + 1, end) : Pack(first, end - 1), left);
                if (found == left) return true;
                left = found;
            }
        }

        private static long Pack(int first, int end) => ((long)end << 32) | (uint)first;
    }
}
