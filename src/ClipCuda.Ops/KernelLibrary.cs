using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using ClipCuda.Devices;

namespace ClipCuda.Ops;

/// <summary>
/// The embedded PTX. A kernel is found by its entry name alone: <c>layernorm_forward</c> lives in the module <c>layernorm</c>,
/// built from <c>kernels/layernorm.cu</c> for sm_75. Modules load on first use, once a device.
/// </summary>
public static class KernelLibrary
{
    private static readonly ConditionalWeakTable<Device, Dictionary<string, Kernel>> LoadedByDevice = [];

    private static readonly ConcurrentDictionary<string, string> Texts = new(StringComparer.Ordinal);

    /// <summary>The names of all embedded modules, in order.</summary>
    public static IReadOnlyList<string> ModuleNames { get; } =
        [.. typeof(KernelLibrary).Assembly.GetManifestResourceNames()
            .Where(name => name.EndsWith(Suffix, StringComparison.Ordinal))
            .Select(name => name[..^Suffix.Length])
            .Order(StringComparer.Ordinal)];

    private const string Suffix = ".sm_75.ptx";

    /// <summary>The kernel of that entry name on a device.</summary>
    public static Kernel Kernel(this Device device, string entry)
    {
        var loaded = Loaded(device);
        if (loaded.TryGetValue(entry, out var kernel)) return kernel;
        string module = entry[..entry.IndexOf('_', StringComparison.Ordinal)];
        device.Use(device.LoadModule(module + Suffix, ReadPtx(module)));
        return loaded.TryGetValue(entry, out kernel)
            ? kernel
            : throw new DeviceException($"PTX module '{module}{Suffix}' has no entry '{entry}'.");
    }

    /// <summary>From now on a device's ops find the kernels of a module by their names; if none is given, the embedded one is taken at first need.</summary>
    internal static void Use(this Device device, KernelModule module)
    {
        foreach (var kernel in module.Kernels) Loaded(device)[kernel.Name] = kernel;
    }

    private static Dictionary<string, Kernel> Loaded(Device device) =>
        LoadedByDevice.GetValue(device, _ => new Dictionary<string, Kernel>(StringComparer.Ordinal));

    /// <summary>The PTX text of an embedded module; the same string every time.</summary>
    public static string ReadPtx(string module) => Texts.GetOrAdd(module, Read);

    private static string Read(string module)
    {
        using var stream = typeof(KernelLibrary).Assembly.GetManifestResourceStream(module + Suffix)
            ?? throw new DeviceException($"No PTX module '{module}{Suffix}' is embedded.");
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }
}
