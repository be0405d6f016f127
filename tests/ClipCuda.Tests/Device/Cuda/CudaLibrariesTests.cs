using ClipCuda.Devices;

namespace ClipCuda.Tests.Devices;

public sealed class CudaLibrariesTests
{
    [Test]
    public void Names_are_the_system_s()
    {
        Assert.That(CudaLibraries.FileName("cublas", "12"), Is.EqualTo(OperatingSystem.IsWindows() ? "cublas64_12.dll" : "libcublas.so.12"));
    }

    [Test]
    public void Toolkits_come_first_then_the_active_Python_environment_then_the_user_s_own()
    {
        if (OperatingSystem.IsWindows()) Assert.Ignore("The folders are those of Linux.");
        var variables = new Dictionary<string, string> { ["CUDA_PATH"] = "/opt/cuda", ["VIRTUAL_ENV"] = "/venv", ["CONDA_PREFIX"] = "/conda", ["HOME"] = "/home/me" };
        string[] folders =
        [
            .. CudaLibraries.Folders(
                variables.GetValueOrDefault,
                folder => !folder.Contains("targets", StringComparison.Ordinal) && !folder.EndsWith("/lib64", StringComparison.Ordinal),
                (folder, pattern) => pattern == "python3*" && folder == "/venv/lib" ? [$"{folder}/python3.9", $"{folder}/python3.12"] : [$"{folder}/python3.11"]),
        ];
        Assert.That(folders, Is.EqualTo(new[]
        {
            "/opt/cuda/lib", "/usr/local/cuda/lib",
            "/venv/lib/python3.9/site-packages/nvidia/cu13/lib", "/venv/lib/python3.9/site-packages/nvidia/cublas/lib",
            "/venv/lib/python3.12/site-packages/nvidia/cu13/lib", "/venv/lib/python3.12/site-packages/nvidia/cublas/lib",
            "/conda/lib/python3.11/site-packages/nvidia/cu13/lib", "/conda/lib/python3.11/site-packages/nvidia/cublas/lib",
            "/home/me/.local/lib/python3.11/site-packages/nvidia/cu13/lib", "/home/me/.local/lib/python3.11/site-packages/nvidia/cublas/lib",
        }));
    }

    [Test]
    public void A_folder_that_two_variables_name_is_searched_once()
    {
        if (OperatingSystem.IsWindows()) Assert.Ignore("The folders are those of Linux.");
        string[] folders = [.. CudaLibraries.Folders(name => name.StartsWith("CUDA", StringComparison.Ordinal) ? "/usr/local/cuda" : null, _ => true, (_, _) => [])];
        Assert.That(folders, Is.EqualTo(new[] { "/usr/local/cuda/lib64", "/usr/local/cuda/lib", "/usr/local/cuda/targets/x86_64-linux/lib" }));
    }
}
