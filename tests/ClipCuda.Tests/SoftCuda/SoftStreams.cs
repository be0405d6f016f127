using System.Diagnostics;

namespace ClipCuda.Tests.SoftCuda;

/// <summary>
/// Streams, events and graphs of a <see cref="SoftGpu"/>. Work waits in its stream until the host waits for it. Each stream and the host have a vector clock (Fidge, Mattern 1988): two
/// accesses of the same bytes, one of them a write, must be ordered by stream order, events or waits of the host, or else they race.
/// </summary>
internal sealed class SoftStreams(SoftGpu gpu)
{
    private readonly List<SoftStream> _streams = [];
    private readonly long[] _host = new long[SoftStream.Most];

    public SoftStream Create()
    {
        var stream = new SoftStream(_streams.Count);
        _streams.Add(stream);
        return stream;
    }

    /// <summary>All streams are gone, and all memory that they used: the next ones begin anew.</summary>
    public void Forget()
    {
        _streams.Clear();
        Array.Clear(_host);
    }

    public bool IsCapturing => _streams.Exists(stream => stream.Capture is not null);

    /// <summary>Refuses a call that may not be made while work is recorded; the recording is void then.</summary>
    public void RefuseInCapture(string call)
    {
        if (!IsCapturing) return;
        foreach (var stream in _streams) stream.Capture?.Invalidate();
        throw gpu.Misuse(900, $"{call}: called while a stream captures");
    }

    public void Enqueue(SoftStream stream, string call, IReadOnlyList<SoftAccess> accesses, Action run)
    {
        if (stream.Capture is { } graph)
        {
            graph.Work.Add((accesses, run));
            return;
        }
        Join(stream.Clock, _host);
        long tick = ++stream.Clock[stream.Number];
        foreach (var access in accesses) Check(stream, tick, access, call);
        stream.Pending.Enqueue(run);
        stream.Enqueued++;
    }

    public bool HostHasSeen(int stream, long tick) => _host[stream] >= tick;

    public void Synchronize(SoftStream stream)
    {
        Drain(stream, stream.Enqueued);
        Join(_host, stream.Clock);
    }

    public void SynchronizeAll()
    {
        foreach (var stream in _streams) Synchronize(stream);
    }

    /// <summary>Work that has not run never does; nobody has to wait for it.</summary>
    public void Abort()
    {
        foreach (var stream in _streams)
        {
            stream.Pending.Clear();
            stream.Executed = stream.Enqueued;
            Join(_host, stream.Clock);
        }
    }

    public void Record(SoftEvent mark, SoftStream stream)
    {
        if (stream.Capture is not null) throw gpu.Misuse(900, "cuEventRecord: in a captured stream");
        Join(stream.Clock, _host);
        var recording = new Recording(stream, stream.Enqueued + 1, stream.Clock[.._streams.Count]);
        mark.Last = recording;
        Enqueue(stream, "cuEventRecord", [], () => recording.Time = Stopwatch.GetTimestamp());
    }

    public void WaitFor(SoftStream stream, SoftEvent mark)
    {
        if (mark.Last is not { } last) throw gpu.Misuse(1, "cuStreamWaitEvent: the event was never recorded");
        if (stream.Capture is not null) throw gpu.Misuse(905, "cuStreamWaitEvent: a captured stream waits for what is not captured");
        Join(stream.Clock, last.Clock);
        Enqueue(stream, "cuStreamWaitEvent", [], () => Drain(last.Stream, last.Position));
    }

    public void Synchronize(SoftEvent mark)
    {
        if (mark.Last is not { } last) return; // as the driver: complete
        Drain(last.Stream, last.Position);
        Join(_host, last.Clock);
    }

    public void Launch(SoftGraph graph, SoftStream stream)
    {
        var accesses = graph.Work.SelectMany(work => work.Accesses).ToArray();
        if (Array.Exists(accesses, access => access.Allocation.IsFreed)) throw gpu.Misuse(1, "cuGraphLaunch: the graph uses memory that has been freed");
        SoftAccess[] whole = [.. accesses.GroupBy(access => access.Allocation, (allocation, all) => SoftAccess.Whole(allocation, all.Any(access => access.Writes)))];
        Enqueue(stream, "cuGraphLaunch", whole, () =>
        {
            foreach (var (_, run) in graph.Work) run();
        });
    }

    private static void Drain(SoftStream stream, long upTo)
    {
        while (stream.Executed < upTo)
        {
            var run = stream.Pending.Dequeue();
            stream.Executed++;
            run();
        }
    }

    private void Check(SoftStream stream, long tick, in SoftAccess access, string call)
    {
        var (allocation, start, end, writes) = access;
        if (allocation.IsFreed) gpu.Violate($"{call}: uses memory that has been freed");
        foreach (var before in allocation.Accesses)
        {
            bool conflicts = before.Start < end && start < before.End && (writes || before.Writes);
            if (conflicts && stream.Clock[before.Stream] < before.Tick)
                gpu.Violate($"{call}: races with stream {before.Stream} over bytes {Math.Max(start, before.Start)} to {Math.Min(end, before.End)} of an allocation of {allocation.Buffer.Bytes}");
        }
        // A write supersedes what it covers: whoever is ordered after it is ordered after those.
        if (writes) allocation.Accesses.RemoveAll(before => start <= before.Start && before.End <= end);
        else allocation.Accesses.RemoveAll(before => !before.Writes && before.Stream == stream.Number && start <= before.Start && before.End <= end);
        allocation.Accesses.Add((stream.Number, tick, start, end, writes));
    }

    private static void Join(long[] clock, long[] other)
    {
        // A recorded clock ends where the streams of its time do.
        for (int i = 0; i < other.Length; i++) clock[i] = Math.Max(clock[i], other[i]);
    }

    internal sealed record Recording(SoftStream Stream, long Position, long[] Clock)
    {
        /// <summary>When the stream came to it; 0 before.</summary>
        public long Time { get; set; }
    }
}

internal sealed class SoftStream(int number)
{
    public int Number { get; } = number;

    /// <summary>Streams of a soft GPU from the first open context to the last, those included that are gone.</summary>
    public const int Most = 512;

    public long[] Clock { get; } = new long[Most];

    /// <summary>The tick that the next piece of work will have.</summary>
    public long NextTick => Clock[Number] + 1;

    public Queue<Action> Pending { get; } = [];

    public long Enqueued { get; set; }

    public long Executed { get; set; }

    public SoftGraph? Capture { get; set; }
}

internal sealed class SoftEvent(bool timed)
{
    public bool Timed { get; } = timed;

    public SoftStreams.Recording? Last { get; set; }
}

internal sealed class SoftGraph
{
    public List<(IReadOnlyList<SoftAccess> Accesses, Action Run)> Work { get; } = [];

    public bool IsInvalid { get; private set; }

    public void Invalidate() => IsInvalid = true;
}

internal sealed record SoftExecutable(SoftGraph Graph);
