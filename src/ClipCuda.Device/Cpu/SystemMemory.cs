using System.Globalization;

namespace ClipCuda.Devices;

/// <summary>How much memory this process may still take: what the machine has free, within the limits of its control groups.</summary>
internal static class SystemMemory
{
    /// <summary>
    /// On Linux MemAvailable of /proc/meminfo, and for each control group that holds the process (version 1 or 2) its limit less its usage,
    /// whose reclaimable file cache does not count; the least of them. Elsewhere what .NET may use less what the process does.
    /// </summary>
    public static long FreeBytes(string processes = "/proc", string groups = "/sys/fs/cgroup")
    {
        if (!OperatingSystem.IsLinux()) return GC.GetGCMemoryInfo().TotalAvailableMemoryBytes - Environment.WorkingSet;
        long free = ReadField(Path.Combine(processes, "meminfo"), "MemAvailable:") is { } kilobytes ? kilobytes * 1024 : long.MaxValue;
        foreach (string line in File.ReadLines(Path.Combine(processes, "self/cgroup")))
        {
            // hierarchy:controllers:path, of which version 2 names no controllers.
            string[] parts = line.Split(':', 3);
            bool first = parts[1].Split(',').Contains("memory"), second = parts[1].Length == 0;
            if (!first && !second) continue;
            string root = first ? Path.Combine(groups, "memory") : groups;
            for (string path = parts[2].Trim('/'); ; path = Path.GetDirectoryName(path)!)
            {
                free = Math.Min(free, FreeInGroup(Path.Combine(root, path), first));
                if (path.Length == 0) break;
            }
        }
        return Math.Max(0, free);
    }

    private static long FreeInGroup(string folder, bool first)
    {
        // A container does not see its path on the host; and "max", or no file, is no limit.
        if (ReadNumber(Path.Combine(folder, first ? "memory.limit_in_bytes" : "memory.max")) is not { } limit) return long.MaxValue;
        long usage = ReadNumber(Path.Combine(folder, first ? "memory.usage_in_bytes" : "memory.current")) ?? 0;
        long cache = ReadField(Path.Combine(folder, "memory.stat"), first ? "total_inactive_file" : "inactive_file") ?? 0;
        return limit - usage + cache;
    }

    private static long? ReadNumber(string path) =>
        File.Exists(path) && long.TryParse(File.ReadAllText(path).AsSpan().Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : null;

    /// <summary>The number after a name in a file of lines "name number …".</summary>
    private static long? ReadField(string path, string name)
    {
        if (!File.Exists(path)) return null;
        foreach (string line in File.ReadLines(path))
        {
            string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words.Length >= 2 && words[0] == name) return long.Parse(words[1], CultureInfo.InvariantCulture);
        }
        return null;
    }
}
