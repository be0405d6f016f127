using ClipCuda.Devices;

namespace ClipCuda.Tests.SoftCuda;

/// <summary>The soft driver notices what it is there to notice: each case breaks one rule with bare driver calls.</summary>
public sealed unsafe class SoftGpuTests
{
    private SoftGpu _gpu = null!;
    private CudaDriver _cuda = null!;
    private nint _context, _first, _second, _mark;
    private ulong _memory;
    private void* _pinned;

    [SetUp]
    public void Open()
    {
        _gpu = SoftGpu.Plug();
        _cuda = new CudaDriver(new LibraryBinding());
        nint context, first, second, mark;
        ulong memory;
        void* pinned;
        Assert.That(_cuda.PrimaryCtxRetain(&context, 0), Is.Zero);
        Assert.That(_cuda.CtxSetCurrent(context), Is.Zero);
        Assert.That(_cuda.StreamCreate(&first, CudaDriver.NonBlocking) + _cuda.StreamCreate(&second, CudaDriver.NonBlocking) + _cuda.EventCreate(&mark, 0), Is.Zero);
        Assert.That(_cuda.MemAlloc(&memory, 100) + _cuda.MemHostAlloc(&pinned, 100, 0), Is.Zero);
        (_context, _first, _second, _mark, _memory) = (context, first, second, mark, memory);
        _pinned = pinned;
        new Span<byte>(pinned, 100).Clear();
    }

    [TearDown]
    public void Close()
    {
        if (_gpu is null) return;
        _cuda.CtxSetCurrent(_context);
        _gpu.Violations.Clear();
        _cuda.MemFree(_memory);
        _cuda.StreamDestroy(_first);
        _cuda.StreamDestroy(_second);
        _cuda.EventDestroy(_mark);
        _cuda.MemFreeHost(_pinned);
        _cuda.CtxSetCurrent(0);
        _cuda.PrimaryCtxRelease(0);
        _gpu.Dispose();
    }

    [Test]
    public void Ordered_work_is_no_violation()
    {
        Assert.That(_cuda.MemcpyHtoDAsync(_memory, _pinned, 100, _first), Is.Zero);
        Assert.That(_cuda.EventRecord(_mark, _first) + _cuda.StreamWaitEvent(_second, _mark, 0), Is.Zero);
        Assert.That(_cuda.MemsetD8Async(_memory, 0, 100, _second) + _cuda.StreamSynchronize(_second), Is.Zero);
        Assert.That(_gpu.Violations, Is.Empty);
    }

    [Test]
    public void Unordered_streams_race_over_common_bytes_only()
    {
        _cuda.MemcpyHtoDAsync(_memory, _pinned, 50, _first);
        _cuda.MemsetD8Async(_memory + 50, 0, 50, _second);
        Assert.That(_gpu.Violations, Is.Empty);
        _cuda.MemsetD8Async(_memory + 49, 0, 1, _second);
        Violates("races with stream 0 over bytes 49 to 50");
    }

    [Test]
    public void A_source_changed_before_its_copy_ran_is_found()
    {
        _cuda.MemcpyHtoDAsync(_memory, _pinned, 100, _first);
        *(byte*)_pinned = 1;
        _cuda.StreamSynchronize(_first);
        Violates("changed the source before the copy had run");
    }

    [Test]
    public void Pinned_memory_may_not_be_freed_under_a_copy()
    {
        void* pinned;
        _cuda.MemHostAlloc(&pinned, 10, 0);
        _cuda.MemcpyDtoHAsync(pinned, _memory, 10, _first);
        Assert.That(*(byte*)pinned, Is.EqualTo(0xFF), "nothing is there before the host waits");
        // Refused, so that the copy does not write where nothing is.
        Assert.That(_cuda.MemFreeHost(pinned), Is.EqualTo(1));
        Violates("a copy may still use the memory");
        Assert.That(_cuda.StreamSynchronize(_first) + _cuda.MemFreeHost(pinned), Is.Zero);
    }

    [Test]
    public void Host_and_device_memory_are_told_apart()
    {
        byte pageable = 0;
        _cuda.MemcpyHtoDAsync(_memory, &pageable, 1, _first);
        Violates("pageable memory, not pinned");
        _cuda.MemsetD8Async((ulong)_pinned, 0, 1, _first);
        Violates("lies in no live allocation but in host memory");
        _cuda.MemcpyDtoHAsync((void*)_memory, _memory, 1, _first);
        Violates("device memory, not pinned");
    }

    [Test]
    public void Ranges_lifetimes_and_handles_are_checked()
    {
        _cuda.MemsetD8Async(_memory + 90, 0, 11, _first);
        Violates("11 bytes at 90 of an allocation of 100");
        ulong other;
        _cuda.MemAlloc(&other, 10);
        _cuda.MemFree(other);
        _cuda.MemFree(other);
        Violates("is no live allocation");
        _cuda.StreamSynchronize(_mark);
        Violates("is no live SoftStream");
        _cuda.EventSynchronize(0x1234);
        Violates("is no live SoftEvent");
    }

    [Test]
    public void A_thread_needs_a_current_context()
    {
        int result = 0;
        var thread = new Thread(() => result = _cuda.StreamSynchronize(_first));
        thread.Start();
        thread.Join();
        Assert.That(result, Is.EqualTo(201));
        Violates("the thread has no current context");
    }

    [Test]
    public void Nothing_is_allocated_or_waited_for_while_a_stream_captures()
    {
        nint graph;
        ulong memory;
        foreach (int call in Enumerable.Range(0, 3))
        {
            _cuda.StreamBeginCapture(_first, CudaDriver.CaptureThreadLocal);
            int result = call switch { 0 => _cuda.MemAlloc(&memory, 1), 1 => _cuda.StreamSynchronize(_second), _ => _cuda.EventSynchronize(_mark) };
            Assert.That(result, Is.EqualTo(900));
            Violates("called while a stream captures");
            Assert.That(_cuda.StreamEndCapture(_first, &graph), Is.EqualTo(901), "the recording is void");
        }
    }

    [Test]
    public void A_leak_is_found_when_the_context_goes()
    {
        _cuda.PrimaryCtxRelease(0);
        Violates("leaked: 2 SoftStream, 1 SoftEvent, 2 pieces of memory");
        _gpu.ContextReferences[0]++;
    }

    private void Violates(string what)
    {
        Assert.That(_gpu.Violations, Has.Count.EqualTo(1));
        Assert.That(_gpu.Violations[0], Does.Contain(what));
        _gpu.Violations.Clear();
    }
}
