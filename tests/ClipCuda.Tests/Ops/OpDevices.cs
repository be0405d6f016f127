using ClipCuda.Devices;

namespace ClipCuda.Tests.Ops;

/// <summary>
/// Where the tests of ops get their devices: by name, as users do. A mutation test calls the same tests with a device of its own in the place of
/// each of those, on which one kernel is altered.
/// </summary>
internal static class OpDevices
{
    [ThreadStatic]
    private static Replacement? Replaced;

    /// <summary>All tests of the calling thread run on devices of a mutation test.</summary>
    public static bool AreReplaced => Replaced is not null;

    public static Device Open(string name, int threads) => Replaced?.Open() ?? Device.Open(name, threads);

    /// <summary>What a test derives from its inputs alone, such as a reference: computed each time, but only once for all mutants.</summary>
    public static T Derive<T>(Func<T> compute)
        where T : notnull => Replaced is { } replacement ? replacement.Derive(compute) : compute();

    /// <summary>The calling thread's test opens this device wherever it opens one of the CPU's engines; those are as they are for <c>cpu</c>.</summary>
    public static void Run(Action test, string device)
    {
        if (device == TestDevices.Cpu) test();
        else Run(test, () => Device.Open(device, 2), []);
    }

    /// <summary>Replaces devices of the calling thread while it runs one test case.</summary>
    /// <param name="derived">Kept by the caller for the next run of the same case.</param>
    public static void Run(Action test, Func<Device> open, List<object> derived)
    {
        Replaced = new Replacement(open, derived);
        try
        {
            test();
        }
        finally
        {
            Replaced = null;
        }
    }

    private sealed class Replacement(Func<Device> open, List<object> derived)
    {
        private int _next;

        public Device Open() => open();

        public T Derive<T>(Func<T> compute)
            where T : notnull
        {
            lock (derived)
            {
                if (_next == derived.Count) derived.Add(compute());
                return (T)derived[_next++];
            }
        }
    }
}
