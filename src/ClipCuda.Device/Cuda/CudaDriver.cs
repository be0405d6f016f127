using System.Runtime.InteropServices;

namespace ClipCuda.Devices;

/// <summary>
/// The functions of the CUDA driver that ClipCuda calls, by the names of its manual (CUDA Driver API), with what their results mean. Handles are
/// pointers that nobody looks behind; device addresses are 64-bit numbers.
/// </summary>
internal sealed unsafe class CudaDriver
{
    public const int Success = 0, OutOfMemory = 2, NoDevice = 100, InvalidDevice = 101, NoBinary = 209, InvalidPtx = 218, UnsupportedPtxVersion = 222;

    /// <summary>CUDA 11.4, the first with cuGraphInstantiateWithFlags; stream-ordered allocation came with 11.2.</summary>
    public const int LeastVersion = 11_040;

    // CUdevice_attribute
    public const int ComputeCapabilityMajor = 75, ComputeCapabilityMinor = 76, MemoryPoolsSupported = 115;

    // CUjit_option
    public const int JitInfoLog = 3, JitInfoLogBytes = 4, JitErrorLog = 5, JitErrorLogBytes = 6;

    /// <summary>CU_STREAM_NON_BLOCKING: no implicit waiting for the legacy default stream.</summary>
    public const uint NonBlocking = 1;

    /// <summary>CU_EVENT_DISABLE_TIMING: cheaper, for ordering alone.</summary>
    public const uint DisableTiming = 2;

    /// <summary>CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may allocate meanwhile.</summary>
    public const int CaptureThreadLocal = 1;

    // What cuLaunchKernel takes in its last argument in place of single parameters.
    public const nint LaunchBufferPointer = 1, LaunchBufferSize = 2;

    private readonly CudaBinding _binding;

    public readonly delegate* unmanaged<uint, int> Init;
    public readonly delegate* unmanaged<int*, int> DriverGetVersion, DeviceGetCount;
    public readonly delegate* unmanaged<int*, int, int> DeviceGet;
    public readonly delegate* unmanaged<byte*, int, int, int> DeviceGetName;
    public readonly delegate* unmanaged<int*, int, int, int> DeviceGetAttribute;
    public readonly delegate* unmanaged<nuint*, int, int> DeviceTotalMem;
    public readonly delegate* unmanaged<nuint*, nuint*, int> MemGetInfo;
    public readonly delegate* unmanaged<int, byte**, int> GetErrorName, GetErrorString;
    public readonly delegate* unmanaged<nint*, int, int> PrimaryCtxRetain;
    public readonly delegate* unmanaged<int, int> PrimaryCtxRelease;
    public readonly delegate* unmanaged<nint, int> CtxSetCurrent, ModuleUnload, StreamDestroy, StreamSynchronize, EventDestroy, EventSynchronize, GraphDestroy, GraphExecDestroy;
    public readonly delegate* unmanaged<nint*, byte*, uint, int*, void**, int> ModuleLoadDataEx;
    public readonly delegate* unmanaged<nint*, nint, byte*, int> ModuleGetFunction;
    public readonly delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int> LaunchKernel;
    public readonly delegate* unmanaged<ulong*, nuint, int> MemAlloc;
    public readonly delegate* unmanaged<ulong, int> MemFree;
    public readonly delegate* unmanaged<ulong*, nuint, nint, int> MemAllocAsync;
    public readonly delegate* unmanaged<ulong, nint, int> MemFreeAsync;
    public readonly delegate* unmanaged<ulong, void*, nuint, nint, int> MemcpyHtoDAsync;
    public readonly delegate* unmanaged<void*, ulong, nuint, nint, int> MemcpyDtoHAsync;
    public readonly delegate* unmanaged<ulong, ulong, nuint, nint, int> MemcpyDtoDAsync;
    public readonly delegate* unmanaged<ulong, byte, nuint, nint, int> MemsetD8Async;
    public readonly delegate* unmanaged<ulong, uint, nuint, nint, int> MemsetD32Async;
    public readonly delegate* unmanaged<void**, nuint, uint, int> MemHostAlloc;
    public readonly delegate* unmanaged<void*, int> MemFreeHost;
    public readonly delegate* unmanaged<nint*, uint, int> StreamCreate, EventCreate;
    public readonly delegate* unmanaged<nint, nint, uint, int> StreamWaitEvent;
    public readonly delegate* unmanaged<nint, nint, int> EventRecord, GraphLaunch;
    public readonly delegate* unmanaged<float*, nint, nint, int> EventElapsedTime;
    public readonly delegate* unmanaged<nint, int, int> StreamBeginCapture;
    public readonly delegate* unmanaged<nint, nint*, int> StreamEndCapture;
    public readonly delegate* unmanaged<nint*, nint, ulong, int> GraphInstantiate;

    /// <summary>Loads the driver, checks its age, and initialises it.</summary>
    /// <exception cref="DeviceException">There is no driver, it is too old, or it has no device.</exception>
    public CudaDriver(CudaBinding binding)
    {
        _binding = binding;
        GetErrorName = (delegate* unmanaged<int, byte**, int>)Symbol("cuGetErrorName");
        GetErrorString = (delegate* unmanaged<int, byte**, int>)Symbol("cuGetErrorString");
        DriverGetVersion = (delegate* unmanaged<int*, int>)Symbol("cuDriverGetVersion");
        int version = 0;
        Check(DriverGetVersion(&version), "cuDriverGetVersion");
        if (version < LeastVersion)
            throw new DeviceException($"The NVIDIA driver supports CUDA {Format(version)}; ClipCuda needs {Format(LeastVersion)}. Update the driver.");
        Version = version;

        Init = (delegate* unmanaged<uint, int>)Symbol("cuInit");
        DeviceGetCount = (delegate* unmanaged<int*, int>)Symbol("cuDeviceGetCount");
        DeviceGet = (delegate* unmanaged<int*, int, int>)Symbol("cuDeviceGet");
        DeviceGetName = (delegate* unmanaged<byte*, int, int, int>)Symbol("cuDeviceGetName");
        DeviceGetAttribute = (delegate* unmanaged<int*, int, int, int>)Symbol("cuDeviceGetAttribute");
        DeviceTotalMem = (delegate* unmanaged<nuint*, int, int>)Symbol("cuDeviceTotalMem_v2");
        MemGetInfo = (delegate* unmanaged<nuint*, nuint*, int>)Symbol("cuMemGetInfo_v2");
        PrimaryCtxRetain = (delegate* unmanaged<nint*, int, int>)Symbol("cuDevicePrimaryCtxRetain");
        PrimaryCtxRelease = (delegate* unmanaged<int, int>)Symbol("cuDevicePrimaryCtxRelease_v2");
        CtxSetCurrent = (delegate* unmanaged<nint, int>)Symbol("cuCtxSetCurrent");
        ModuleLoadDataEx = (delegate* unmanaged<nint*, byte*, uint, int*, void**, int>)Symbol("cuModuleLoadDataEx");
        ModuleGetFunction = (delegate* unmanaged<nint*, nint, byte*, int>)Symbol("cuModuleGetFunction");
        ModuleUnload = (delegate* unmanaged<nint, int>)Symbol("cuModuleUnload");
        LaunchKernel = (delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int>)Symbol("cuLaunchKernel");
        MemAlloc = (delegate* unmanaged<ulong*, nuint, int>)Symbol("cuMemAlloc_v2");
        MemFree = (delegate* unmanaged<ulong, int>)Symbol("cuMemFree_v2");
        MemAllocAsync = (delegate* unmanaged<ulong*, nuint, nint, int>)Symbol("cuMemAllocAsync");
        MemFreeAsync = (delegate* unmanaged<ulong, nint, int>)Symbol("cuMemFreeAsync");
        MemcpyHtoDAsync = (delegate* unmanaged<ulong, void*, nuint, nint, int>)Symbol("cuMemcpyHtoDAsync_v2");
        MemcpyDtoHAsync = (delegate* unmanaged<void*, ulong, nuint, nint, int>)Symbol("cuMemcpyDtoHAsync_v2");
        MemcpyDtoDAsync = (delegate* unmanaged<ulong, ulong, nuint, nint, int>)Symbol("cuMemcpyDtoDAsync_v2");
        MemsetD8Async = (delegate* unmanaged<ulong, byte, nuint, nint, int>)Symbol("cuMemsetD8Async");
        MemsetD32Async = (delegate* unmanaged<ulong, uint, nuint, nint, int>)Symbol("cuMemsetD32Async");
        MemHostAlloc = (delegate* unmanaged<void**, nuint, uint, int>)Symbol("cuMemHostAlloc");
        MemFreeHost = (delegate* unmanaged<void*, int>)Symbol("cuMemFreeHost");
        StreamCreate = (delegate* unmanaged<nint*, uint, int>)Symbol("cuStreamCreate");
        StreamDestroy = (delegate* unmanaged<nint, int>)Symbol("cuStreamDestroy_v2");
        StreamSynchronize = (delegate* unmanaged<nint, int>)Symbol("cuStreamSynchronize");
        StreamWaitEvent = (delegate* unmanaged<nint, nint, uint, int>)Symbol("cuStreamWaitEvent");
        EventCreate = (delegate* unmanaged<nint*, uint, int>)Symbol("cuEventCreate");
        EventDestroy = (delegate* unmanaged<nint, int>)Symbol("cuEventDestroy_v2");
        EventRecord = (delegate* unmanaged<nint, nint, int>)Symbol("cuEventRecord");
        EventSynchronize = (delegate* unmanaged<nint, int>)Symbol("cuEventSynchronize");
        EventElapsedTime = (delegate* unmanaged<float*, nint, nint, int>)Symbol("cuEventElapsedTime");
        StreamBeginCapture = (delegate* unmanaged<nint, int, int>)Symbol("cuStreamBeginCapture_v2");
        StreamEndCapture = (delegate* unmanaged<nint, nint*, int>)Symbol("cuStreamEndCapture");
        GraphInstantiate = (delegate* unmanaged<nint*, nint, ulong, int>)Symbol("cuGraphInstantiateWithFlags");
        GraphLaunch = (delegate* unmanaged<nint, nint, int>)Symbol("cuGraphLaunch");
        GraphExecDestroy = (delegate* unmanaged<nint, int>)Symbol("cuGraphExecDestroy");
        GraphDestroy = (delegate* unmanaged<nint, int>)Symbol("cuGraphDestroy");

        Check(Init(0), "cuInit");
        int count = 0;
        Check(DeviceGetCount(&count), "cuDeviceGetCount");
        Count = count;
    }

    /// <summary>1000 · major + 10 · minor of the newest CUDA that the driver supports.</summary>
    public int Version { get; }

    public int Count { get; }

    public static string Format(int version) => $"{version / 1000}.{version % 1000 / 10}";

    public void Check(int result, string call, string? where = null)
    {
        if (result != Success) throw Error(result, call, where);
    }

    /// <summary>One line: the call, where it was, the result's name and text, and what to do about it.</summary>
    public DeviceException Error(int result, string call, string? where = null)
    {
        string name = Text(GetErrorName, result) ?? "unknown result", text = Text(GetErrorString, result) ?? "no description";
        string advice = Advice(result);
        return new DeviceException($"{call}{(where is null ? "" : $" ({where})")} failed: {name} ({result}): {text}.{(advice.Length == 0 ? "" : " " + advice)}") { DeviceIsWell = LeavesDeviceWell(result) };
    }

    private static string? Text(delegate* unmanaged<int, byte**, int> get, int result)
    {
        byte* text = null;
        return get(result, &text) == Success && text is not null ? Marshal.PtrToStringUTF8((nint)text) : null;
    }

    /// <summary>Too little memory, what is not supported, and what cannot be captured (CUDA_ERROR_STREAM_CAPTURE_…).</summary>
    private static bool LeavesDeviceWell(int result) => result is OutOfMemory or 801 or (>= 900 and <= 908);

    private static string Advice(int result) => result switch
    {
        OutOfMemory => "Use a lower --batch-size, or a device that nothing else uses.",
        46 => "Another process has the device to itself, or the driver has taken it out of service; nvidia-smi tells.",
        NoDevice => "The driver sees no GPU; look at nvidia-smi, and at CUDA_VISIBLE_DEVICES.",
        NoBinary or UnsupportedPtxVersion => "The driver is older than the PTX, or the GPU older than its target; update the driver.",
        // Illegal address, launch timeout, exceptions of a kernel, launch failure.
        700 or 702 or 714 or 715 or 716 or 717 or 718 or 719 => "A kernel went wrong; the same command with --device cpu:check shows where. After this, only a new process can use the device.",
        214 or 220 or 227 or 999 => "The device is lost to this process; the system's log (dmesg, lines with Xid) says why.",
        802 or 803 => "Driver and GPU are not ready for each other; restart the machine after a driver update.",
        _ => "",
    };

    private nint Symbol(string name) => _binding.DriverFunction(name) is not 0 and var address
        ? address
        : throw new DeviceException($"The NVIDIA driver has no {name}; it is older than CUDA {Format(LeastVersion)}. Update the driver.");
}
