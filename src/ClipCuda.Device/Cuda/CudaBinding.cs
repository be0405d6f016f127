using System.Runtime.InteropServices;

namespace ClipCuda.Devices;

/// <summary>Where the functions of the CUDA driver and of cuBLAS come from. The device and all it does are the same whichever it is.</summary>
public abstract class CudaBinding
{
    /// <summary>What <c>--device</c> calls a device that uses it, without a number.</summary>
    public abstract string Kind { get; }

    /// <summary>What a device's description says of it; null for nothing.</summary>
    public virtual string? Note => null;

    /// <summary>The address of a function of the driver's API by the name of its export; 0 if there is none.</summary>
    /// <exception cref="DeviceException">There is no NVIDIA driver.</exception>
    public abstract nint DriverFunction(string name);

    /// <summary>The address of a function of cuBLAS by the name of its export; 0 if there is none.</summary>
    /// <exception cref="DeviceException">There is no cuBLAS.</exception>
    public abstract nint BlasFunction(string name);
}

/// <summary>The functions of the libraries themselves.</summary>
internal sealed class LibraryBinding : CudaBinding
{
    private readonly Lazy<nint> _driver = new(CudaLibraries.LoadDriver), _blas = new(CudaLibraries.LoadBlas);

    public override string Kind => CudaDevice.Kind;

    public override nint DriverFunction(string name) => Find(_driver.Value, name);

    public override nint BlasFunction(string name) => Find(_blas.Value, name);

    private static nint Find(nint library, string name) => NativeLibrary.TryGetExport(library, name, out nint function) ? function : 0;
}
