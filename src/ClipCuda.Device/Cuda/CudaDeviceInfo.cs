using System.Runtime.InteropServices;

namespace ClipCuda.Devices;

/// <summary>What a GPU is, as the driver tells without opening it.</summary>
internal sealed record CudaDeviceInfo(int Handle, string Name, int Capability, long Memory, bool HasMemoryPools, int DriverVersion)
{
    private const int NameBytes = 256;

    /// <summary>Such as 9.0.</summary>
    public string CapabilityText => $"{Capability / 10}.{Capability % 10}";

    public string Describe() => $"{Name}, compute capability {CapabilityText}, {Memory / (double)(1L << 30):0.0} GiB, driver for CUDA {CudaDriver.Format(DriverVersion)}";

    /// <exception cref="DeviceException">There is no GPU of that number.</exception>
    public static unsafe CudaDeviceInfo Read(CudaDriver cuda, int ordinal, string kind = CudaDevice.Kind)
    {
        if (ordinal >= cuda.Count)
        {
            string there = cuda.Count switch { 0 => "no CUDA device", 1 => $"one CUDA device, {kind}:0", var count => $"{count} CUDA devices, {kind}:0 to {kind}:{count - 1}" };
            throw new DeviceException($"There is no device {kind}:{ordinal}; the driver has {there}.");
        }
        int device;
        cuda.Check(cuda.DeviceGet(&device, ordinal), "cuDeviceGet");
        byte* name = stackalloc byte[NameBytes];
        cuda.Check(cuda.DeviceGetName(name, NameBytes, device), "cuDeviceGetName");
        nuint memory;
        cuda.Check(cuda.DeviceTotalMem(&memory, device), "cuDeviceTotalMem_v2");
        int capability = 10 * Attribute(cuda, device, CudaDriver.ComputeCapabilityMajor) + Attribute(cuda, device, CudaDriver.ComputeCapabilityMinor);
        bool pools = Attribute(cuda, device, CudaDriver.MemoryPoolsSupported) != 0;
        return new CudaDeviceInfo(device, Marshal.PtrToStringUTF8((nint)name)!, capability, (long)memory, pools, cuda.Version);
    }

    private static unsafe int Attribute(CudaDriver cuda, int device, int which)
    {
        int value;
        cuda.Check(cuda.DeviceGetAttribute(&value, which, device), "cuDeviceGetAttribute");
        return value;
    }
}
