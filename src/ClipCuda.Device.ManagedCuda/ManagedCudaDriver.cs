using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ManagedCuda;
using ManagedCuda.BasicTypes;

namespace ClipCuda.Devices;

/// <summary>The CUDA driver through ManagedCuda, a method a function. Its handles and sizes are structs of one pointer, which are those of <see cref="CudaDriver"/> under other names.</summary>
internal static unsafe class ManagedCudaDriver
{
    /// <summary>What cuLaunchKernel gets, kept from launch to launch.</summary>
    [ThreadStatic]
    private static nint[]? LaunchArguments;

    [UnmanagedCallersOnly(EntryPoint = "cuInit")]
    private static int Init(uint flags) => (int)DriverAPINativeMethods.cuInit((CUInitializationFlags)flags);

    [UnmanagedCallersOnly(EntryPoint = "cuDriverGetVersion")]
    private static int DriverGetVersion(int* version) => (int)DriverAPINativeMethods.cuDriverGetVersion(ref *version);

    [UnmanagedCallersOnly(EntryPoint = "cuGetErrorName")]
    private static int GetErrorName(int error, nint* text) => (int)DriverAPINativeMethods.ErrorHandling.cuGetErrorName((CUResult)error, ref *text);

    [UnmanagedCallersOnly(EntryPoint = "cuGetErrorString")]
    private static int GetErrorString(int error, nint* text) => (int)DriverAPINativeMethods.ErrorHandling.cuGetErrorString((CUResult)error, ref *text);

    [UnmanagedCallersOnly(EntryPoint = "cuDeviceGetCount")]
    private static int DeviceGetCount(int* count) => (int)DriverAPINativeMethods.DeviceManagement.cuDeviceGetCount(ref *count);

    [UnmanagedCallersOnly(EntryPoint = "cuDeviceGet")]
    private static int DeviceGet(CUdevice* device, int ordinal) => (int)DriverAPINativeMethods.DeviceManagement.cuDeviceGet(ref *device, ordinal);

    [UnmanagedCallersOnly(EntryPoint = "cuDeviceGetName")]
    private static int DeviceGetName(byte* name, int length, int device)
    {
        byte[] text = new byte[length];
        int result = (int)DriverAPINativeMethods.DeviceManagement.cuDeviceGetName(text, length, Device(device));
        text.CopyTo(new Span<byte>(name, length));
        return result;
    }

    [UnmanagedCallersOnly(EntryPoint = "cuDeviceGetAttribute")]
    private static int DeviceGetAttribute(int* value, int attribute, int device) =>
        (int)DriverAPINativeMethods.DeviceManagement.cuDeviceGetAttribute(ref *value, (CUDeviceAttribute)attribute, Device(device));

    [UnmanagedCallersOnly(EntryPoint = "cuDeviceTotalMem_v2")]
    private static int DeviceTotalMem(SizeT* bytes, int device) => (int)DriverAPINativeMethods.DeviceManagement.cuDeviceTotalMem_v2(ref *bytes, Device(device));

    [UnmanagedCallersOnly(EntryPoint = "cuMemGetInfo_v2")]
    private static int MemGetInfo(SizeT* free, SizeT* total) => (int)DriverAPINativeMethods.MemoryManagement.cuMemGetInfo_v2(ref *free, ref *total);

    [UnmanagedCallersOnly(EntryPoint = "cuDevicePrimaryCtxRetain")]
    private static int PrimaryCtxRetain(CUcontext* context, int device) => (int)DriverAPINativeMethods.ContextManagement.cuDevicePrimaryCtxRetain(ref *context, Device(device));

    [UnmanagedCallersOnly(EntryPoint = "cuDevicePrimaryCtxRelease_v2")]
    private static int PrimaryCtxRelease(int device) => (int)DriverAPINativeMethods.ContextManagement.cuDevicePrimaryCtxRelease(Device(device));

    [UnmanagedCallersOnly(EntryPoint = "cuCtxSetCurrent")]
    private static int CtxSetCurrent(nint context) => (int)DriverAPINativeMethods.ContextManagement.cuCtxSetCurrent(Handle<CUcontext>(context));

    [UnmanagedCallersOnly(EntryPoint = "cuModuleLoadDataEx")]
    private static int ModuleLoadDataEx(CUmodule* module, byte* image, uint count, int* options, nint* values)
    {
        byte[] text = new ReadOnlySpan<byte>(image, 1 + MemoryMarshal.CreateReadOnlySpanFromNullTerminated(image).Length).ToArray();
        var names = new ReadOnlySpan<CUJITOption>(options, (int)count).ToArray();
        return (int)DriverAPINativeMethods.ModuleManagement.cuModuleLoadDataEx(ref *module, text, count, names, new ReadOnlySpan<nint>(values, (int)count).ToArray());
    }

    [UnmanagedCallersOnly(EntryPoint = "cuModuleGetFunction")]
    private static int ModuleGetFunction(CUfunction* function, nint module, nint name) =>
        (int)DriverAPINativeMethods.ModuleManagement.cuModuleGetFunction(ref *function, Handle<CUmodule>(module), Marshal.PtrToStringUTF8(name)!);

    [UnmanagedCallersOnly(EntryPoint = "cuModuleUnload")]
    private static int ModuleUnload(nint module) => (int)DriverAPINativeMethods.ModuleManagement.cuModuleUnload(Handle<CUmodule>(module));

    [UnmanagedCallersOnly(EntryPoint = "cuLaunchKernel")]
    private static int LaunchKernel(
        nint function, uint gridX, uint gridY, uint gridZ, uint blockX, uint blockY, uint blockZ, uint sharedBytes, nint stream, nint* parameters, nint* extra)
    {
        // Five: pointer and size of the block of arguments, each behind its name, and the end.
        var arguments = LaunchArguments ??= new nint[5];
        new ReadOnlySpan<nint>(extra, arguments.Length).CopyTo(arguments);
        return (int)DriverAPINativeMethods.Launch.cuLaunchKernel(
            Handle<CUfunction>(function), gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes, Handle<CUstream>(stream), null, arguments);
    }

    [UnmanagedCallersOnly(EntryPoint = "cuMemAlloc_v2")]
    private static int MemAlloc(CUdeviceptr* address, nuint bytes) => (int)DriverAPINativeMethods.MemoryManagement.cuMemAlloc_v2(ref *address, bytes);

    [UnmanagedCallersOnly(EntryPoint = "cuMemFree_v2")]
    private static int MemFree(ulong address) => (int)DriverAPINativeMethods.MemoryManagement.cuMemFree_v2(At(address));

    [UnmanagedCallersOnly(EntryPoint = "cuMemAllocAsync")]
    private static int MemAllocAsync(CUdeviceptr* address, nuint bytes, nint stream) => (int)DriverAPINativeMethods.MemoryManagement.cuMemAllocAsync(ref *address, bytes, Handle<CUstream>(stream));

    [UnmanagedCallersOnly(EntryPoint = "cuMemFreeAsync")]
    private static int MemFreeAsync(ulong address, nint stream) => (int)DriverAPINativeMethods.MemoryManagement.cuMemFreeAsync(At(address), Handle<CUstream>(stream));

    [UnmanagedCallersOnly(EntryPoint = "cuMemcpyHtoDAsync_v2")]
    private static int MemcpyHtoDAsync(ulong to, nint from, nuint bytes, nint stream) =>
        (int)DriverAPINativeMethods.AsynchronousMemcpy_v2.cuMemcpyHtoDAsync_v2(At(to), from, bytes, Handle<CUstream>(stream));

    [UnmanagedCallersOnly(EntryPoint = "cuMemcpyDtoHAsync_v2")]
    private static int MemcpyDtoHAsync(nint to, ulong from, nuint bytes, nint stream) =>
        (int)DriverAPINativeMethods.AsynchronousMemcpy_v2.cuMemcpyDtoHAsync_v2(to, At(from), bytes, Handle<CUstream>(stream));

    [UnmanagedCallersOnly(EntryPoint = "cuMemcpyDtoDAsync_v2")]
    private static int MemcpyDtoDAsync(ulong to, ulong from, nuint bytes, nint stream) =>
        (int)DriverAPINativeMethods.AsynchronousMemcpy_v2.cuMemcpyDtoDAsync_v2(At(to), At(from), bytes, Handle<CUstream>(stream));

    [UnmanagedCallersOnly(EntryPoint = "cuMemsetD8Async")]
    private static int MemsetD8Async(ulong to, byte value, nuint count, nint stream) =>
        (int)DriverAPINativeMethods.MemsetAsync.cuMemsetD8Async(At(to), value, count, Handle<CUstream>(stream));

    [UnmanagedCallersOnly(EntryPoint = "cuMemsetD32Async")]
    private static int MemsetD32Async(ulong to, uint value, nuint count, nint stream) =>
        (int)DriverAPINativeMethods.MemsetAsync.cuMemsetD32Async(At(to), value, count, Handle<CUstream>(stream));

    [UnmanagedCallersOnly(EntryPoint = "cuMemHostAlloc")]
    private static int MemHostAlloc(nint* memory, nuint bytes, uint flags) => (int)DriverAPINativeMethods.MemoryManagement.cuMemHostAlloc(ref *memory, bytes, (CUMemHostAllocFlags)flags);

    [UnmanagedCallersOnly(EntryPoint = "cuMemFreeHost")]
    private static int MemFreeHost(nint memory) => (int)DriverAPINativeMethods.MemoryManagement.cuMemFreeHost(memory);

    [UnmanagedCallersOnly(EntryPoint = "cuStreamCreate")]
    private static int StreamCreate(CUstream* stream, uint flags) => (int)DriverAPINativeMethods.Streams.cuStreamCreate(ref *stream, (CUStreamFlags)flags);

    [UnmanagedCallersOnly(EntryPoint = "cuStreamDestroy_v2")]
    private static int StreamDestroy(nint stream) => (int)DriverAPINativeMethods.Streams.cuStreamDestroy_v2(Handle<CUstream>(stream));

    [UnmanagedCallersOnly(EntryPoint = "cuStreamSynchronize")]
    private static int StreamSynchronize(nint stream) => (int)DriverAPINativeMethods.Streams.cuStreamSynchronize(Handle<CUstream>(stream));

    [UnmanagedCallersOnly(EntryPoint = "cuStreamWaitEvent")]
    private static int StreamWaitEvent(nint stream, nint mark, uint flags) => (int)DriverAPINativeMethods.Streams.cuStreamWaitEvent(Handle<CUstream>(stream), Handle<CUevent>(mark), flags);

    [UnmanagedCallersOnly(EntryPoint = "cuEventCreate")]
    private static int EventCreate(CUevent* mark, uint flags) => (int)DriverAPINativeMethods.Events.cuEventCreate(ref *mark, (CUEventFlags)flags);

    [UnmanagedCallersOnly(EntryPoint = "cuEventDestroy_v2")]
    private static int EventDestroy(nint mark) => (int)DriverAPINativeMethods.Events.cuEventDestroy_v2(Handle<CUevent>(mark));

    [UnmanagedCallersOnly(EntryPoint = "cuEventRecord")]
    private static int EventRecord(nint mark, nint stream) => (int)DriverAPINativeMethods.Events.cuEventRecord(Handle<CUevent>(mark), Handle<CUstream>(stream));

    [UnmanagedCallersOnly(EntryPoint = "cuEventSynchronize")]
    private static int EventSynchronize(nint mark) => (int)DriverAPINativeMethods.Events.cuEventSynchronize(Handle<CUevent>(mark));

    [UnmanagedCallersOnly(EntryPoint = "cuEventElapsedTime")]
    private static int EventElapsedTime(float* milliseconds, nint start, nint end) =>
        (int)DriverAPINativeMethods.Events.cuEventElapsedTime(ref *milliseconds, Handle<CUevent>(start), Handle<CUevent>(end));

    [UnmanagedCallersOnly(EntryPoint = "cuStreamBeginCapture_v2")]
    private static int StreamBeginCapture(nint stream, int mode) => (int)DriverAPINativeMethods.Streams.cuStreamBeginCapture(Handle<CUstream>(stream), (CUstreamCaptureMode)mode);

    [UnmanagedCallersOnly(EntryPoint = "cuStreamEndCapture")]
    private static int StreamEndCapture(nint stream, CUgraph* graph) => (int)DriverAPINativeMethods.Streams.cuStreamEndCapture(Handle<CUstream>(stream), ref *graph);

    [UnmanagedCallersOnly(EntryPoint = "cuGraphInstantiateWithFlags")]
    private static int GraphInstantiate(CUgraphExec* executable, nint graph, ulong flags) =>
        (int)DriverAPINativeMethods.GraphManagment.cuGraphInstantiate(ref *executable, Handle<CUgraph>(graph), (CUgraphInstantiate_flags)flags);

    [UnmanagedCallersOnly(EntryPoint = "cuGraphLaunch")]
    private static int GraphLaunch(nint executable, nint stream) => (int)DriverAPINativeMethods.GraphManagment.cuGraphLaunch(Handle<CUgraphExec>(executable), Handle<CUstream>(stream));

    [UnmanagedCallersOnly(EntryPoint = "cuGraphExecDestroy")]
    private static int GraphExecDestroy(nint executable) => (int)DriverAPINativeMethods.GraphManagment.cuGraphExecDestroy(Handle<CUgraphExec>(executable));

    [UnmanagedCallersOnly(EntryPoint = "cuGraphDestroy")]
    private static int GraphDestroy(nint graph) => (int)DriverAPINativeMethods.GraphManagment.cuGraphDestroy(Handle<CUgraph>(graph));

    internal static T Handle<T>(nint pointer)
        where T : unmanaged => Unsafe.BitCast<nint, T>(pointer);

    internal static CUdeviceptr At(ulong address) => Unsafe.BitCast<ulong, CUdeviceptr>(address);

    private static CUdevice Device(int device) => Unsafe.BitCast<int, CUdevice>(device);
}
