using System.Reflection;
using System.Runtime.InteropServices;

namespace ClipCuda.Devices;

/// <summary>
/// The functions of the driver and of cuBLAS as the ManagedCuda packages declare them: each is a method here that calls the package's, so that device and tests
/// are the same as with the driver itself. What the packages do not declare, or the installed libraries do not have, is absent.
/// </summary>
public sealed class ManagedCudaBinding : CudaBinding
{
    private static readonly Dictionary<string, nint> Driver = Functions(typeof(ManagedCudaDriver)), Blas = Functions(typeof(ManagedCudaBlas));

    private readonly Lazy<nint> _driver = new(CudaLibraries.LoadDriver), _blas = new(CudaLibraries.LoadBlas);

    public override string Kind => ManagedCudaPlugIn.Kind;

    public override string? Note => "through ManagedCuda";

    public override nint DriverFunction(string name) => Find(Driver, _driver.Value, name);

    public override nint BlasFunction(string name) => Find(Blas, _blas.Value, name);

    /// <summary>A method that calls what the library lacks would end the process, so it is absent.</summary>
    private static nint Find(Dictionary<string, nint> functions, nint library, string name) =>
        functions.TryGetValue(name, out nint function) && NativeLibrary.TryGetExport(library, name, out _) ? function : 0;

    private static Dictionary<string, nint> Functions(Type type) =>
        type.GetMethods(BindingFlags.Static | BindingFlags.NonPublic)
            .Select(method => (method.GetCustomAttribute<UnmanagedCallersOnlyAttribute>()?.EntryPoint, method.MethodHandle))
            .Where(found => found.EntryPoint is not null)
            .ToDictionary(found => found.EntryPoint!, found => found.MethodHandle.GetFunctionPointer(), StringComparer.Ordinal);
}
