namespace ClipCuda.Devices;

/// <summary>A device as <see cref="Device.Open"/> names it, and what it is; or in place of GPUs, why there is none.</summary>
public sealed record ListedDevice(string Name, string Description);

/// <summary>The devices of this machine.</summary>
public static class DeviceList
{
    /// <summary>The GPUs and the CPU. Nothing is opened for it but the driver's and cuBLAS's libraries.</summary>
    public static IEnumerable<ListedDevice> Find()
    {
        List<ListedDevice> devices = [];
        try
        {
            var driver = new CudaDriver(new LibraryBinding());
            string blas = BlasVersion();
            for (int ordinal = 0; ordinal < driver.Count; ordinal++)
                devices.Add(new($"{CudaDevice.Kind}:{ordinal}", $"{CudaDeviceInfo.Read(driver, ordinal).Describe()}, {blas}"));
            if (driver.Count == 0) devices.Add(new(CudaDevice.Kind, "none: the driver sees no GPU."));
        }
        catch (DeviceException missing)
        {
            devices.Add(new(CudaDevice.Kind, $"none: {missing.Message}"));
        }
        using var cpu = Device.Open("cpu", 0);
        return [.. devices, new(cpu.Name, cpu.Description)];
    }

    private static string BlasVersion()
    {
        try
        {
            return $"cuBLAS {new CuBlas(new LibraryBinding()).Version(0)}";
        }
        catch (DeviceException missing)
        {
            return $"unusable: {missing.Message}";
        }
    }
}
