using System.Runtime.ExceptionServices;

namespace ClipCuda.Data;

/// <summary>
/// Makes items number first … end − 1 on some threads ahead of their use and hands them out in order. At most one more than there are threads is
/// made or waiting at any time. What making an item throws is thrown where that item is taken. With no threads the taker makes them itself.
/// </summary>
internal sealed class OrderedPrefetch<T> : IDisposable
    where T : class, IDisposable
{
    private readonly object _gate = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly Func<int, CancellationToken, T> _make;
    private readonly Thread[] _threads;
    private readonly (T? Item, ExceptionDispatchInfo? Error)[] _made;
    private readonly int _end;
    private int _next, _taken;
    private bool _stopped;

    public OrderedPrefetch(int first, int end, int threads, Func<int, CancellationToken, T> make)
    {
        (_next, _taken, _end, _make) = (first, first, end, make);
        _made = new (T?, ExceptionDispatchInfo?)[threads + 1];
        _threads = [.. Enumerable.Range(0, threads).Select(i => new Thread(Work) { IsBackground = true, Name = $"loader {i}" })];
        foreach (var thread in _threads) thread.Start();
    }

    /// <summary>The next item, or null after the last.</summary>
    /// <exception cref="ObjectDisposedException">Stopped, possibly while waiting.</exception>
    public T? Take()
    {
        (T? Item, ExceptionDispatchInfo? Error) made;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_stopped, this);
            if (_taken == _end) return null;
            if (_threads.Length == 0) return _make(_taken++, _stop.Token);
            ref var slot = ref _made[_taken % _made.Length];
            while (slot is (null, null))
            {
                Monitor.Wait(_gate);
                ObjectDisposedException.ThrowIf(_stopped, this);
            }
            made = slot;
            slot = default;
            _taken++;
            Monitor.PulseAll(_gate);
        }
        made.Error?.Throw();
        return made.Item;
    }

    /// <summary>Stops the threads and disposes of the items that nobody took.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_stopped) return;
            _stopped = true;
            Monitor.PulseAll(_gate);
        }
        _stop.Cancel();
        foreach (var thread in _threads) thread.Join();
        foreach (var (item, _) in _made) item?.Dispose();
        _stop.Dispose();
    }

    private void Work()
    {
        while (Claim(out int number))
        {
            T? item = null;
            ExceptionDispatchInfo? error = null;
            try
            {
                item = _make(number, _stop.Token);
            }
            catch (OperationCanceledException) when (_stop.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                error = ExceptionDispatchInfo.Capture(e);
            }
            lock (_gate)
            {
                _made[number % _made.Length] = (item, error);
                Monitor.PulseAll(_gate);
            }
        }
    }

    private bool Claim(out int number)
    {
        lock (_gate)
        {
            while (!_stopped && _next < _end && _next - _taken >= _made.Length) Monitor.Wait(_gate);
            number = _next;
            if (_stopped || _next == _end) return false;
            _next++;
            return true;
        }
    }
}
