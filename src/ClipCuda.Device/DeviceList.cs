namespace ClipCuda.Devices;

/// <summary>A device as <see cref="Device.Open"/> names it, and what it is; or in place of GPUs, why there is none.</summary>
public sealed record ListedDevice(string Name, string Description);

/// <summary>The devices of this machine.</summary>
public static class DeviceList
{
    /// <summary>The GPUs, by each binding that is there, and the CPU. Nothing is opened for it but the driver's and cuBLAS's libraries.</summary>
    public static IEnumerable<ListedDevice> Find()
    {
        using var cpu = Device.Open("cpu", 0);
        return
        [
            .. FindGpus(CudaDevice.Kind, () => new LibraryBinding()),
            .. ManagedCudaPlugIn.IsThere ? FindGpus(ManagedCudaPlugIn.Kind, () => ManagedCudaPlugIn.Binding) : [],
            new(cpu.Name, cpu.Description),
        ];
    }

    private static List<ListedDevice> FindGpus(string kind, Func<CudaBinding> open)
    {
        try
        {
            var binding = open();
            var driver = new CudaDriver(binding);
            if (driver.Count == 0) return [new(kind, "none: the driver sees no GPU.")];
            string blas = BlasVersion();
            return [.. Enumerable.Range(0, driver.Count).Select(ordinal => new ListedDevice($"{kind}:{ordinal}", $"{CudaDeviceInfo.Read(driver, ordinal, kind).Describe()}, {blas}{(binding.Note is { } note ? ", " + note : "")}"))];
        }
        catch (DeviceException missing)
        {
            return [new(kind, $"none: {missing.Message}")];
        }
    }

    /// <summary>Asked of the library itself, which tells it without a handle.</summary>
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
