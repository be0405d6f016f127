using System.Diagnostics;
using System.Runtime.InteropServices;
using ClipCuda.Devices;
using ClipCuda.Ptx;

namespace ClipCuda.Tests.SoftCuda;

/// <summary>The callbacks of the soft CUDA driver, by the names of the driver API; each goes through <see cref="SoftGpu.Enter"/>.</summary>
internal static unsafe class SoftDriver
{
    private static readonly Dictionary<(Device Engine, string Text), KernelModule> Modules = [];
    private static readonly Dictionary<string, nint> Names = new(StringComparer.Ordinal);
    private static nint LastHandle = 0x50F70000;

    [ThreadStatic]
    private static nint CurrentContext;

    /// <summary>Handles are never used twice, so that a stale one is found.</summary>
    public static nint NewHandle() => LastHandle += 16;

    public static bool HasContext(SoftGpu gpu)
    {
        if (CurrentContext == 0) return false;
        gpu.Get<SoftContext>(CurrentContext, "the current context");
        return true;
    }

    [UnmanagedCallersOnly(EntryPoint = "cuInit")]
    private static int Init(uint flags) => SoftGpu.Enter("cuInit", gpu =>
    {
        if (flags != 0) throw gpu.Misuse(1, "cuInit: flags");
        if (gpu.Devices == 0) throw new SoftError(CudaDriver.NoDevice);
    }, needsContext: false);

    [UnmanagedCallersOnly(EntryPoint = "cuDriverGetVersion")]
    private static int DriverGetVersion(int* version)
    {
        *version = SoftGpu.Current?.DriverVersion ?? 12_040;
        return 0;
    }

    [UnmanagedCallersOnly(EntryPoint = "cuGetErrorName")]
    private static int GetErrorName(int error, byte** text)
    {
        *text = Text(error switch
        {
            1 => "CUDA_ERROR_INVALID_VALUE",
            2 => "CUDA_ERROR_OUT_OF_MEMORY",
            46 => "CUDA_ERROR_DEVICE_UNAVAILABLE",
            100 => "CUDA_ERROR_NO_DEVICE",
            201 => "CUDA_ERROR_INVALID_CONTEXT",
            214 => "CUDA_ERROR_ECC_UNCORRECTABLE",
            218 => "CUDA_ERROR_INVALID_PTX",
            222 => "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
            400 => "CUDA_ERROR_INVALID_HANDLE",
            700 => "CUDA_ERROR_ILLEGAL_ADDRESS",
            719 => "CUDA_ERROR_LAUNCH_FAILED",
            801 => "CUDA_ERROR_NOT_SUPPORTED",
            900 => "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
            901 => "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
            999 => "CUDA_ERROR_UNKNOWN",
            _ => "CUDA_ERROR_OTHER",
        });
        return 0;
    }

    [UnmanagedCallersOnly(EntryPoint = "cuGetErrorString")]
    private static int GetErrorString(int error, byte** text)
    {
        *text = Text($"the text of result {error}");
        return 0;
    }

    [UnmanagedCallersOnly(EntryPoint = "cuDeviceGetCount")]
    private static int DeviceGetCount(int* count) => SoftGpu.Enter("cuDeviceGetCount", gpu => *count = gpu.Devices, needsContext: false);

    [UnmanagedCallersOnly(EntryPoint = "cuDeviceGet")]
    private static int DeviceGet(int* device, int ordinal) => SoftGpu.Enter("cuDeviceGet", gpu => *device = Known(gpu, ordinal), needsContext: false);

    [UnmanagedCallersOnly(EntryPoint = "cuDeviceGetName")]
    private static int DeviceGetName(byte* name, int length, int device) => SoftGpu.Enter("cuDeviceGetName", gpu =>
    {
        byte[] text = System.Text.Encoding.UTF8.GetBytes($"Soft GPU {Known(gpu, device)}\0");
        text.CopyTo(new Span<byte>(name, length));
    }, needsContext: false);

    [UnmanagedCallersOnly(EntryPoint = "cuDeviceGetAttribute")]
    private static int DeviceGetAttribute(int* value, int attribute, int device) => SoftGpu.Enter("cuDeviceGetAttribute", gpu =>
    {
        Known(gpu, device);
        *value = attribute switch
        {
            CudaDriver.ComputeCapabilityMajor => gpu.Capability / 10,
            CudaDriver.ComputeCapabilityMinor => gpu.Capability % 10,
            CudaDriver.MemoryPoolsSupported => gpu.MemoryPools ? 1 : 0,
            _ => throw gpu.Misuse(1, $"cuDeviceGetAttribute: {attribute} is not known to the soft driver"),
        };
    }, needsContext: false);

    [UnmanagedCallersOnly(EntryPoint = "cuDeviceTotalMem_v2")]
    private static int DeviceTotalMem(nuint* bytes, int device) => SoftGpu.Enter("cuDeviceTotalMem_v2", gpu =>
    {
        Known(gpu, device);
        *bytes = (nuint)gpu.MemoryBytes;
    }, needsContext: false);

    [UnmanagedCallersOnly(EntryPoint = "cuMemGetInfo_v2")]
    private static int MemGetInfo(nuint* free, nuint* total) =>
        SoftGpu.Enter("cuMemGetInfo_v2", gpu => (*free, *total) = ((nuint)(gpu.MemoryBytes - gpu.Memory.UsedBytes), (nuint)gpu.MemoryBytes));

    [UnmanagedCallersOnly(EntryPoint = "cuDevicePrimaryCtxRetain")]
    private static int PrimaryCtxRetain(nint* context, int device) => SoftGpu.Enter("cuDevicePrimaryCtxRetain", gpu =>
    {
        Known(gpu, device);
        if (gpu.ContextReferences[device]++ > 0) throw gpu.Misuse(1, "cuDevicePrimaryCtxRetain: the context is open already");
        *context = gpu.Add(new SoftContext(device));
    }, needsContext: false);

    [UnmanagedCallersOnly(EntryPoint = "cuDevicePrimaryCtxRelease_v2")]
    private static int PrimaryCtxRelease(int device) => SoftGpu.Enter("cuDevicePrimaryCtxRelease_v2", gpu =>
    {
        Known(gpu, device);
        if (--gpu.ContextReferences[device] < 0) throw gpu.Misuse(201, "cuDevicePrimaryCtxRelease_v2: the context is not open");
        string[] left = [.. gpu.LiveObjects()];
        if (left.Length > 0 || gpu.Memory.Live > 0) gpu.Violate($"leaked: {string.Join(", ", left)}, {gpu.Memory.Live} pieces of memory");
        else if (Array.TrueForAll(gpu.ContextReferences, count => count == 0)) gpu.Streams.Forget();
    }, needsContext: false, releases: true);

    [UnmanagedCallersOnly(EntryPoint = "cuCtxSetCurrent")]
    private static int CtxSetCurrent(nint context) => SoftGpu.Enter("cuCtxSetCurrent", gpu =>
    {
        if (context != 0) gpu.Get<SoftContext>(context, "cuCtxSetCurrent");
        CurrentContext = context;
    }, needsContext: false, releases: true);

    [UnmanagedCallersOnly(EntryPoint = "cuModuleLoadDataEx")]
    private static int ModuleLoadDataEx(nint* module, byte* image, uint count, int* options, void** values) => SoftGpu.Enter("cuModuleLoadDataEx", gpu =>
    {
        gpu.Streams.RefuseInCapture("cuModuleLoadDataEx");
        string text = Marshal.PtrToStringUTF8((nint)image)!;
        try
        {
            // An engine outlives its GPUs, and keeps what it made of each module.
            if (!Modules.TryGetValue((gpu.Engine, text), out var loaded)) Modules.Add((gpu.Engine, text), loaded = gpu.Engine.LoadModule("image", text));
            *module = gpu.Add(new SoftModule(loaded));
        }
        catch (PtxException error)
        {
            for (int i = 0; i < count; i++)
            {
                if (options[i] == CudaDriver.JitErrorLog) System.Text.Encoding.UTF8.GetBytes($"ptxas: {error.Message}\0").CopyTo(new Span<byte>(values[i], 4096));
            }
            throw new SoftError(CudaDriver.InvalidPtx);
        }
    });

    [UnmanagedCallersOnly(EntryPoint = "cuModuleGetFunction")]
    private static int ModuleGetFunction(nint* function, nint module, byte* name) => SoftGpu.Enter("cuModuleGetFunction", gpu =>
    {
        var loaded = gpu.Get<SoftModule>(module, "cuModuleGetFunction");
        string entry = Marshal.PtrToStringUTF8((nint)name)!;
        var kernel = loaded.Module.Kernels.FirstOrDefault(k => k.Name == entry) ?? throw gpu.Misuse(500, $"cuModuleGetFunction: no entry '{entry}'");
        *function = loaded.Functions[entry] = gpu.Add(new SoftFunction(kernel, PointerParameters(kernel.Entry)));
    });

    [UnmanagedCallersOnly(EntryPoint = "cuModuleUnload")]
    private static int ModuleUnload(nint module) => SoftGpu.Enter("cuModuleUnload", gpu =>
    {
        gpu.Streams.RefuseInCapture("cuModuleUnload");
        foreach (nint function in gpu.Remove<SoftModule>(module, "cuModuleUnload").Functions.Values) gpu.Remove<SoftFunction>(function, "cuModuleUnload");
    }, releases: true);

    [UnmanagedCallersOnly(EntryPoint = "cuLaunchKernel")]
    private static int LaunchKernel(nint function, uint gx, uint gy, uint gz, uint bx, uint by, uint bz, uint shared, nint stream, void** parameters, void** extra) => SoftGpu.Enter("cuLaunchKernel", gpu =>
    {
        var (kernel, pointers) = gpu.Get<SoftFunction>(function, "cuLaunchKernel");
        var entry = kernel.Entry;
        string call = $"cuLaunchKernel of {kernel.Name}";
        int most = entry.MaxThreadsPerBlock > 0 ? entry.MaxThreadsPerBlock : Kernel.MaxThreadsPerBlock;
        if (gx < 1 || gy < 1 || gz < 1 || gx > int.MaxValue || gy > Kernel.MaxGridYZ || gz > Kernel.MaxGridYZ || bx < 1 || by < 1 || bz < 1 || (long)bx * by * bz > most)
            throw gpu.Misuse(1, $"{call}: grid ({gx}, {gy}, {gz}), block ({bx}, {by}, {bz})");
        if (entry.StaticSharedBytes + shared > Kernel.MaxStaticSharedBytes) throw gpu.Misuse(1, $"{call}: {shared} bytes of shared memory");
        int bytes = entry.Parameters.Count == 0 ? 0 : entry.Parameters[^1].Offset + entry.Parameters[^1].Size;
        var block = new byte[bytes];
        if (extra is not null)
        {
            if (parameters is not null || (nint)extra[0] != 1 || (nint)extra[2] != 2 || extra[4] is not null) throw gpu.Misuse(1, $"{call}: the extra arguments are malformed");
            if (*(nuint*)extra[3] != (nuint)bytes) throw gpu.Misuse(1, $"{call}: {*(nuint*)extra[3]} bytes of arguments, the entry takes {bytes}");
            new ReadOnlySpan<byte>(extra[1], bytes).CopyTo(block);
        }
        else
        {
            for (int i = 0; i < entry.Parameters.Count; i++) new ReadOnlySpan<byte>(parameters[i], entry.Parameters[i].Size).CopyTo(block.AsSpan(entry.Parameters[i].Offset));
        }
        List<SoftAccess> accesses = [];
        foreach (int pointer in pointers)
        {
            ulong address = BitConverter.ToUInt64(block, entry.Parameters[pointer].Offset);
            if (address == 0) continue;
            gpu.Memory.Find(address, 0, $"{call}, argument {pointer}");
            var allocation = gpu.Memory.Holding(address)!;
            if (!accesses.Exists(access => access.Allocation == allocation)) accesses.Add(SoftAccess.Whole(allocation, writes: true));
        }
        var shape = new LaunchShape(new((int)gx, (int)gy, (int)gz), new((int)bx, (int)by, (int)bz), (int)shared);
        gpu.Streams.Enqueue(gpu.Get<SoftStream>(stream, call), call, accesses, () => gpu.Engine.Launch(kernel, shape, block));
    });

    [UnmanagedCallersOnly(EntryPoint = "cuMemAlloc_v2")]
    private static int MemAlloc(ulong* address, nuint bytes) => SoftGpu.Enter("cuMemAlloc_v2", gpu =>
    {
        gpu.Streams.RefuseInCapture("cuMemAlloc_v2");
        *address = gpu.Memory.Allocate((long)bytes).Address;
    });

    [UnmanagedCallersOnly(EntryPoint = "cuMemFree_v2")]
    private static int MemFree(ulong address) => SoftGpu.Enter("cuMemFree_v2", gpu =>
    {
        gpu.Streams.RefuseInCapture("cuMemFree_v2");
        var allocation = gpu.Memory.Free(address, "cuMemFree_v2");
        try
        {
            gpu.Streams.SynchronizeAll();
        }
        finally
        {
            allocation.Buffer.Dispose();
        }
    }, releases: true);

    [UnmanagedCallersOnly(EntryPoint = "cuMemAllocAsync")]
    private static int MemAllocAsync(ulong* address, nuint bytes, nint stream) => SoftGpu.Enter("cuMemAllocAsync", gpu =>
    {
        gpu.Streams.RefuseInCapture("cuMemAllocAsync");
        var allocation = gpu.Memory.Allocate((long)bytes);
        gpu.Streams.Enqueue(gpu.Get<SoftStream>(stream, "cuMemAllocAsync"), "cuMemAllocAsync", [SoftAccess.Whole(allocation, writes: true)], () => { });
        *address = allocation.Address;
    });

    [UnmanagedCallersOnly(EntryPoint = "cuMemFreeAsync")]
    private static int MemFreeAsync(ulong address, nint stream) => SoftGpu.Enter("cuMemFreeAsync", gpu =>
    {
        gpu.Streams.RefuseInCapture("cuMemFreeAsync");
        var on = gpu.Get<SoftStream>(stream, "cuMemFreeAsync");
        gpu.Memory.Find(address, 0, "cuMemFreeAsync");
        var whole = SoftAccess.Whole(gpu.Memory.Holding(address)!, writes: true);
        gpu.Streams.Enqueue(on, "cuMemFreeAsync", [whole], whole.Allocation.Buffer.Dispose);
        gpu.Memory.Free(address, "cuMemFreeAsync");
    }, releases: true);

    [UnmanagedCallersOnly(EntryPoint = "cuMemcpyHtoDAsync_v2")]
    private static int MemcpyHtoDAsync(ulong to, void* from, nuint bytes, nint stream) => SoftGpu.Enter("cuMemcpyHtoDAsync_v2", gpu =>
    {
        const string Call = "cuMemcpyHtoDAsync_v2";
        var on = gpu.Get<SoftStream>(stream, Call);
        var target = gpu.Memory.Find(to, (long)bytes, Call);
        gpu.Memory.UsePinned((ulong)from, (long)bytes, on, Call);
        byte[] now = new ReadOnlySpan<byte>(from, (int)bytes).ToArray();
        gpu.Streams.Enqueue(on, Call, [Range(gpu, to, bytes, writes: true)], () =>
        {
            var source = new ReadOnlySpan<byte>(from, now.Length);
            if (!source.SequenceEqual(now)) gpu.Violate($"{Call}: the host changed the source before the copy had run");
            gpu.Engine.CopyToDevice(source, target);
        });
    });

    [UnmanagedCallersOnly(EntryPoint = "cuMemcpyDtoHAsync_v2")]
    private static int MemcpyDtoHAsync(void* to, ulong from, nuint bytes, nint stream) => SoftGpu.Enter("cuMemcpyDtoHAsync_v2", gpu =>
    {
        const string Call = "cuMemcpyDtoHAsync_v2";
        var on = gpu.Get<SoftStream>(stream, Call);
        var source = gpu.Memory.Find(from, (long)bytes, Call);
        gpu.Memory.UsePinned((ulong)to, (long)bytes, on, Call);
        new Span<byte>(to, (int)bytes).Fill(0xFF); // whoever reads before waiting reads NaN
        gpu.Streams.Enqueue(on, Call, [Range(gpu, from, bytes, writes: false)], () => gpu.Engine.CopyToHost(source, new Span<byte>(to, (int)bytes)));
    });

    [UnmanagedCallersOnly(EntryPoint = "cuMemcpyDtoDAsync_v2")]
    private static int MemcpyDtoDAsync(ulong to, ulong from, nuint bytes, nint stream) => SoftGpu.Enter("cuMemcpyDtoDAsync_v2", gpu =>
    {
        const string Call = "cuMemcpyDtoDAsync_v2";
        var target = gpu.Memory.Find(to, (long)bytes, Call);
        var source = gpu.Memory.Find(from, (long)bytes, Call);
        gpu.Streams.Enqueue(
            gpu.Get<SoftStream>(stream, Call), Call, [Range(gpu, from, bytes, writes: false), Range(gpu, to, bytes, writes: true)], () => gpu.Engine.Copy(source, target, (long)bytes));
    });

    [UnmanagedCallersOnly(EntryPoint = "cuMemsetD8Async")]
    private static int MemsetD8Async(ulong to, byte value, nuint count, nint stream) => Clear("cuMemsetD8Async", to, value, count, stream);

    [UnmanagedCallersOnly(EntryPoint = "cuMemsetD32Async")]
    private static int MemsetD32Async(ulong to, uint value, nuint count, nint stream) => Clear("cuMemsetD32Async", to, value, 4 * count, stream);

    [UnmanagedCallersOnly(EntryPoint = "cuMemHostAlloc")]
    private static int MemHostAlloc(void** memory, nuint bytes, uint flags) => SoftGpu.Enter("cuMemHostAlloc", gpu =>
    {
        gpu.Streams.RefuseInCapture("cuMemHostAlloc");
        *memory = gpu.Memory.AllocatePinned((long)bytes);
    });

    [UnmanagedCallersOnly(EntryPoint = "cuMemFreeHost")]
    private static int MemFreeHost(void* memory) => SoftGpu.Enter("cuMemFreeHost", gpu =>
    {
        gpu.Streams.RefuseInCapture("cuMemFreeHost");
        gpu.Memory.FreePinned(memory, "cuMemFreeHost");
    }, releases: true);

    [UnmanagedCallersOnly(EntryPoint = "cuStreamCreate")]
    private static int StreamCreate(nint* stream, uint flags) => SoftGpu.Enter("cuStreamCreate", gpu => *stream = gpu.Add(gpu.Streams.Create()));

    [UnmanagedCallersOnly(EntryPoint = "cuStreamDestroy_v2")]
    private static int StreamDestroy(nint stream) => SoftGpu.Enter("cuStreamDestroy_v2", gpu =>
    {
        var gone = gpu.Remove<SoftStream>(stream, "cuStreamDestroy_v2");
        if (gone.Capture is not null) gpu.Violate("cuStreamDestroy_v2: the stream captures");
        gpu.Streams.Synchronize(gone);
    }, releases: true);

    [UnmanagedCallersOnly(EntryPoint = "cuStreamSynchronize")]
    private static int StreamSynchronize(nint stream) => SoftGpu.Enter("cuStreamSynchronize", gpu =>
    {
        gpu.Streams.RefuseInCapture("cuStreamSynchronize");
        gpu.Streams.Synchronize(gpu.Get<SoftStream>(stream, "cuStreamSynchronize"));
    });

    [UnmanagedCallersOnly(EntryPoint = "cuStreamWaitEvent")]
    private static int StreamWaitEvent(nint stream, nint mark, uint flags) => SoftGpu.Enter("cuStreamWaitEvent", gpu =>
        gpu.Streams.WaitFor(gpu.Get<SoftStream>(stream, "cuStreamWaitEvent"), gpu.Get<SoftEvent>(mark, "cuStreamWaitEvent")));

    [UnmanagedCallersOnly(EntryPoint = "cuEventCreate")]
    private static int EventCreate(nint* mark, uint flags) => SoftGpu.Enter("cuEventCreate", gpu => *mark = gpu.Add(new SoftEvent(timed: (flags & CudaDriver.DisableTiming) == 0)));

    [UnmanagedCallersOnly(EntryPoint = "cuEventDestroy_v2")]
    private static int EventDestroy(nint mark) => SoftGpu.Enter("cuEventDestroy_v2", gpu => gpu.Remove<SoftEvent>(mark, "cuEventDestroy_v2"), releases: true);

    [UnmanagedCallersOnly(EntryPoint = "cuEventRecord")]
    private static int EventRecord(nint mark, nint stream) => SoftGpu.Enter("cuEventRecord", gpu =>
        gpu.Streams.Record(gpu.Get<SoftEvent>(mark, "cuEventRecord"), gpu.Get<SoftStream>(stream, "cuEventRecord")));

    [UnmanagedCallersOnly(EntryPoint = "cuEventSynchronize")]
    private static int EventSynchronize(nint mark) => SoftGpu.Enter("cuEventSynchronize", gpu =>
    {
        gpu.Streams.RefuseInCapture("cuEventSynchronize");
        gpu.Streams.Synchronize(gpu.Get<SoftEvent>(mark, "cuEventSynchronize"));
    });

    [UnmanagedCallersOnly(EntryPoint = "cuEventElapsedTime")]
    private static int EventElapsedTime(float* milliseconds, nint start, nint end) => SoftGpu.Enter("cuEventElapsedTime", gpu =>
    {
        var (from, to) = (gpu.Get<SoftEvent>(start, "cuEventElapsedTime"), gpu.Get<SoftEvent>(end, "cuEventElapsedTime"));
        if (!from.Timed || !to.Timed) throw gpu.Misuse(400, "cuEventElapsedTime: an event without timing");
        if (from.Last is not { Time: > 0 } first || to.Last is not { Time: > 0 } last) throw gpu.Misuse(600, "cuEventElapsedTime: an event that is not complete");
        *milliseconds = (float)Stopwatch.GetElapsedTime(first.Time, last.Time).TotalMilliseconds;
    });

    [UnmanagedCallersOnly(EntryPoint = "cuStreamBeginCapture_v2")]
    private static int StreamBeginCapture(nint stream, int mode) => SoftGpu.Enter("cuStreamBeginCapture_v2", gpu =>
    {
        gpu.Streams.RefuseInCapture("cuStreamBeginCapture_v2");
        gpu.Get<SoftStream>(stream, "cuStreamBeginCapture_v2").Capture = new SoftGraph();
    });

    [UnmanagedCallersOnly(EntryPoint = "cuStreamEndCapture")]
    private static int StreamEndCapture(nint stream, nint* graph) => SoftGpu.Enter("cuStreamEndCapture", gpu =>
    {
        var from = gpu.Get<SoftStream>(stream, "cuStreamEndCapture");
        var captured = from.Capture ?? throw gpu.Misuse(1, "cuStreamEndCapture: the stream does not capture");
        from.Capture = null;
        *graph = 0;
        if (captured.IsInvalid) throw new SoftError(901);
        // A failed call gives no graph that anybody could destroy.
        if (!gpu.IsFailing) *graph = gpu.Add(captured);
    }, releases: true);

    [UnmanagedCallersOnly(EntryPoint = "cuGraphInstantiateWithFlags")]
    private static int GraphInstantiate(nint* executable, nint graph, ulong flags) => SoftGpu.Enter("cuGraphInstantiateWithFlags", gpu =>
        *executable = gpu.Add(new SoftExecutable(gpu.Get<SoftGraph>(graph, "cuGraphInstantiateWithFlags"))));

    [UnmanagedCallersOnly(EntryPoint = "cuGraphLaunch")]
    private static int GraphLaunch(nint executable, nint stream) => SoftGpu.Enter("cuGraphLaunch", gpu =>
        gpu.Streams.Launch(gpu.Get<SoftExecutable>(executable, "cuGraphLaunch").Graph, gpu.Get<SoftStream>(stream, "cuGraphLaunch")));

    [UnmanagedCallersOnly(EntryPoint = "cuGraphExecDestroy")]
    private static int GraphExecDestroy(nint executable) => SoftGpu.Enter("cuGraphExecDestroy", gpu => gpu.Remove<SoftExecutable>(executable, "cuGraphExecDestroy"), releases: true);

    [UnmanagedCallersOnly(EntryPoint = "cuGraphDestroy")]
    private static int GraphDestroy(nint graph) => SoftGpu.Enter("cuGraphDestroy", gpu => gpu.Remove<SoftGraph>(graph, "cuGraphDestroy"), releases: true);

    private static int Clear(string call, ulong to, uint value, nuint bytes, nint stream) => SoftGpu.Enter(call, gpu =>
    {
        if (value != 0) throw gpu.Misuse(801, $"{call}: only zeros are expected");
        var target = gpu.Memory.Find(to, (long)bytes, call);
        gpu.Streams.Enqueue(gpu.Get<SoftStream>(stream, call), call, [Range(gpu, to, bytes, writes: true)], () => gpu.Engine.Clear(target, (long)bytes));
    });

    private static SoftAccess Range(SoftGpu gpu, ulong address, nuint bytes, bool writes)
    {
        var allocation = gpu.Memory.Holding(address)!;
        long start = (long)(address - allocation.Address);
        return new SoftAccess(allocation, start, start + (long)bytes, writes);
    }

    private static int Known(SoftGpu gpu, int device) => device >= 0 && device < gpu.Devices ? device : throw gpu.Misuse(CudaDriver.InvalidDevice, $"there is no device {device}");

    /// <summary>The parameters whose value the kernel turns into a global address: those are pointers, whatever their type says.</summary>
    private static int[] PointerParameters(PtxEntry entry)
    {
        var loaded = new Dictionary<int, string>();
        var pointers = new HashSet<int>();
        foreach (var instruction in entry.Instructions)
        {
            if (instruction.Opcode == "ld.param.u64") loaded[instruction.Operands[0].Register] = instruction.Operands[1].Name;
            if (instruction.Opcode != "cvta.to.global.u64" || !loaded.TryGetValue(instruction.Operands[1].Register, out string? name)) continue;
            int index = entry.Parameters.ToList().FindIndex(parameter => parameter.Name == name);
            if (index >= 0) pointers.Add(index);
        }
        return [.. pointers.Order()];
    }

    private static byte* Text(string text)
    {
        lock (Names)
        {
            if (!Names.TryGetValue(text, out nint address)) Names.Add(text, address = Marshal.StringToCoTaskMemUTF8(text));
            return (byte*)address;
        }
    }
}

internal sealed record SoftModule(KernelModule Module)
{
    public Dictionary<string, nint> Functions { get; } = new(StringComparer.Ordinal);
}

internal sealed record SoftFunction(Kernel Kernel, int[] PointerParameters);
