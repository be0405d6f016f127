using System.Runtime.InteropServices;

namespace ClipCuda.Devices;

/// <summary>
/// Where the driver and cuBLAS are. The driver comes with the system. cuBLAS does not: the loader's own search (LD_LIBRARY_PATH, ldconfig, PATH) goes first,
/// then the folders of a CUDA toolkit (CUDA_PATH, CUDA_HOME, /usr/local/cuda), then those of pip's nvidia packages in the active Python environment
/// and the user's own. A library that was found is never unloaded.
/// </summary>
internal static class CudaLibraries
{
    private static readonly string[] Versions = ["13", "12"];

    // pip's nvidia-cublas (13) installs nvidia/cu13, nvidia-cublas-cu12 installs nvidia/cublas.
    private static readonly string[] PipFolders = ["cu13", "cublas"];

    /// <exception cref="DeviceException">There is no NVIDIA driver.</exception>
    public static nint LoadDriver()
    {
        string name = OperatingSystem.IsWindows() ? "nvcuda.dll" : "libcuda.so.1";
        return NativeLibrary.TryLoad(name, out nint library) ? library : throw new DeviceException($"The NVIDIA driver is not installed ({name} was not found).");
    }

    /// <exception cref="DeviceException">cuBLAS was not found; the message says where it was looked for.</exception>
    public static nint LoadBlas()
    {
        string[] folders = [.. Folders(Environment.GetEnvironmentVariable, Directory.Exists, Subfolders)];
        foreach (string version in Versions)
        {
            if (NativeLibrary.TryLoad(FileName("cublas", version), out nint library)) return library;
            foreach (string folder in folders)
            {
                string path = Path.Combine(folder, FileName("cublas", version));
                if (!File.Exists(path)) continue;
                // cublas needs cublasLt, and the loader does not look beside it unless it is loaded already.
                NativeLibrary.TryLoad(Path.Combine(folder, FileName("cublasLt", version)), out _);
                if (NativeLibrary.TryLoad(path, out library)) return library;
            }
        }
        string names = string.Join(" or ", Versions.Select(version => FileName("cublas", version)));
        string places = folders.Length == 0 ? "" : $" nor in {string.Join(", ", folders)}";
        throw new DeviceException($"cuBLAS was not found: neither the loader finds {names}{places}. Install the CUDA toolkit's cuBLAS, or pip's nvidia-cublas-cu12, or name its folder in {(OperatingSystem.IsWindows() ? "PATH" : "LD_LIBRARY_PATH")}.");
    }

    internal static string FileName(string library, string version) => OperatingSystem.IsWindows() ? $"{library}64_{version}.dll" : $"lib{library}.so.{version}";

    /// <summary>The folders that cuBLAS may lie in beyond the loader's own, those that exist, in the order they are tried.</summary>
    internal static IEnumerable<string> Folders(Func<string, string?> variable, Func<string, bool> exists, Func<string, string, IEnumerable<string>> subfolders)
    {
        bool windows = OperatingSystem.IsWindows();
        string[] toolkits = [.. new[] { variable("CUDA_PATH"), variable("CUDA_HOME"), windows ? null : "/usr/local/cuda" }.OfType<string>()];
        string[] libraries = windows ? ["bin/x64", "bin"] : ["lib64", "lib", "targets/x86_64-linux/lib"];
        var toolkitFolders = toolkits.SelectMany(toolkit => libraries.Select(library => Path.Combine(toolkit, library)));

        string?[] environments = [variable("VIRTUAL_ENV"), variable("CONDA_PREFIX"), windows ? null : variable("HOME") is { } home ? Path.Combine(home, ".local") : null];
        var sites = environments.OfType<string>().SelectMany<string, string>(environment =>
            windows ? [Path.Combine(environment, "Lib")] : subfolders(Path.Combine(environment, "lib"), "python3*").OrderDescending(StringComparer.Ordinal));
        var packages = sites.SelectMany(site => PipFolders.Select(package => Path.Combine(site, "site-packages", "nvidia", package, windows ? "bin" : "lib")));
        return toolkitFolders.Concat(packages).Where(exists).Distinct(StringComparer.Ordinal);
    }

    private static IEnumerable<string> Subfolders(string folder, string pattern) => Directory.Exists(folder) ? Directory.EnumerateDirectories(folder, pattern) : [];
}
