using ClipCuda.Devices;

namespace ClipCuda.Tests.Devices;

/// <summary>Free memory, read from folders laid out as Linux lays them out.</summary>
[Platform("Linux")]
public sealed class SystemMemoryTests
{
    private string _folder = null!;

    [SetUp]
    public void Create()
    {
        _folder = Directory.CreateTempSubdirectory("clipcuda").FullName;
        Write("proc/meminfo", "MemTotal:  2000 kB\nMemAvailable:   1000 kB\n");
    }

    [TearDown]
    public void Delete() => Directory.Delete(_folder, recursive: true);

    private long Free => SystemMemory.FreeBytes(Path.Combine(_folder, "proc"), Path.Combine(_folder, "cgroup"));

    [Test]
    public void Without_limits_it_is_what_the_machine_has()
    {
        Write("proc/self/cgroup", "0::/\n");
        Assert.That(Free, Is.EqualTo(1000 * 1024));
        Write("proc/self/cgroup", "0::/not/visible\n");
        Write("cgroup/memory.max", "max\n");
        Assert.That(Free, Is.EqualTo(1000 * 1024));
    }

    [Test]
    public void The_tightest_group_of_version_2_counts()
    {
        Write("proc/self/cgroup", "0::/user/job\n");
        Write("cgroup/user/memory.max", "900000\n");
        Write("cgroup/user/memory.current", "600000\n");
        Write("cgroup/user/memory.stat", "anon 1\ninactive_file 50000\n");
        Write("cgroup/user/job/memory.max", "500000\n");
        Write("cgroup/user/job/memory.current", "100000\n");
        Assert.That(Free, Is.EqualTo(900_000 - 600_000 + 50_000));
    }

    [Test]
    public void The_memory_group_of_version_1_counts()
    {
        Write("proc/self/cgroup", "5:devices:/elsewhere\n4:cpu,memory:/job\n0::/\n");
        Write("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        Write("cgroup/memory/memory.usage_in_bytes", "1\n");
        Write("cgroup/memory/job/memory.limit_in_bytes", "700000\n");
        Write("cgroup/memory/job/memory.usage_in_bytes", "300000\n");
        Write("cgroup/memory/job/memory.stat", "inactive_file 7\ntotal_inactive_file 1000\n");
        Assert.That(Free, Is.EqualTo(401_000));
    }

    [Test]
    public void A_group_over_its_limit_has_nothing_free()
    {
        Write("proc/self/cgroup", "0::/\n");
        Write("cgroup/memory.max", "10\n");
        Write("cgroup/memory.current", "20\n");
        Assert.That(Free, Is.Zero);
    }

    [Test]
    public void This_machine_has_some() => Assert.That(SystemMemory.FreeBytes(), Is.Positive.And.LessThan(1L << 50));

    private void Write(string path, string text)
    {
        string full = Path.Combine(_folder, path);
        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        File.WriteAllText(full, text);
    }
}
