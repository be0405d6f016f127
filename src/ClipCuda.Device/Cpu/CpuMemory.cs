using System.Runtime.InteropServices;

namespace ClipCuda.Devices;

/// <summary>Unmanaged memory, aligned to 256 bytes; large blocks ask Linux for 2 MiB pages, which packing and kernels walk faster.</summary>
internal static unsafe partial class CpuMemory
{
    public const int Alignment = 256;

    private const int HugePage = 2 << 20;
    private const int AdviseHugePages = 14; // MADV_HUGEPAGE

    /// <exception cref="DeviceException">The system has not that much memory.</exception>
    public static byte* Allocate(long bytes)
    {
        bool large = bytes >= 2 * HugePage;
        try
        {
            var memory = (byte*)NativeMemory.AlignedAlloc(checked((nuint)bytes), (nuint)(large ? HugePage : Alignment));
            // Only advice: where the system refuses it, the memory is the same in small pages.
            if (large && OperatingSystem.IsLinux()) _ = Advise(memory, (nuint)bytes, AdviseHugePages);
            return memory;
        }
        catch (OutOfMemoryException error)
        {
            throw new DeviceException($"Out of memory: {bytes} bytes could not be allocated.", error);
        }
    }

    public static void Free(byte* memory) => NativeMemory.AlignedFree(memory);

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(void* address, nuint length, int advice);
}
