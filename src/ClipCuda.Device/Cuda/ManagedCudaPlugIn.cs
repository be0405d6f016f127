using System.Reflection;
using System.Runtime.Loader;

namespace ClipCuda.Devices;

/// <summary>
/// The optional second binding, over the ManagedCuda packages: an assembly that lies beside the program if somebody built it. ClipCuda neither contains nor
/// references it, because those packages are licensed under the GPL or commercially.
/// </summary>
internal sealed class ManagedCudaPlugIn : AssemblyLoadContext
{
    /// <summary>The name that <c>--device</c> takes, alone or with a number.</summary>
    public const string Kind = "managedcuda";

    private const string File = "ClipCuda.Device.ManagedCuda.dll", Class = "ClipCuda.Devices.ManagedCudaBinding";

    private static readonly Lazy<CudaBinding> Loaded = new(Load);

    private ManagedCudaPlugIn()
        : base(Kind) { }

    /// <summary>Whether it lies beside the program.</summary>
    public static bool IsThere => System.IO.File.Exists(PathOf(File));

    /// <exception cref="DeviceException">It is not there, or is no plug-in for this version.</exception>
    public static CudaBinding Binding => Loaded.Value;

    /// <summary>ManagedCuda's assemblies lie beside the plug-in; all others are the program's.</summary>
    protected override Assembly? Load(AssemblyName assemblyName)
    {
        string path = PathOf($"{assemblyName.Name}.dll");
        bool ours = assemblyName.Name!.StartsWith("ManagedCuda", StringComparison.Ordinal) || assemblyName.Name.StartsWith("CudaBlas", StringComparison.Ordinal);
        return ours && System.IO.File.Exists(path) ? LoadFromAssemblyPath(path) : null;
    }

    /// <summary>ManagedCuda asks for libraries by names that only a developer's installation has.</summary>
    protected override nint LoadUnmanagedDll(string unmanagedDllName) => unmanagedDllName switch
    {
        "libcuda" or "nvcuda" => CudaLibraries.LoadDriver(),
        "cublas" or "cublas64_12" => CudaLibraries.LoadBlas(),
        _ => 0,
    };

    private static CudaBinding Load()
    {
        if (!IsThere)
            throw new DeviceException($"The device '{Kind}' needs {File} beside the program; ./build.sh build managedcuda makes it, with packages that are licensed under the GPL or commercially.");
        var type = new ManagedCudaPlugIn().LoadFromAssemblyPath(PathOf(File)).GetType(Class);
        return type is not null && Activator.CreateInstance(type) is CudaBinding binding
            ? binding
            : throw new DeviceException($"{File} was built for another version of ClipCuda; build it again (./build.sh build managedcuda).");
    }

    private static string PathOf(string file) => Path.Combine(AppContext.BaseDirectory, file);
}
