using System.Reflection;
using System.Runtime.InteropServices;
using ClipCuda.Devices;
using ClipCuda.Ptx;

namespace ClipCuda.Tests.SoftCuda;

/// <summary>
/// A GPU made of software: while one is plugged in, the process's CUDA driver and cuBLAS are two C libraries (tests/softcuda) whose exports call back into
/// <see cref="SoftDriver"/> and <see cref="SoftBlas"/>, and those compute on a CPU device. It is as strict as a driver under a sanitizer: what a real one would answer with
/// undefined behaviour (races between streams, freed or host memory where device memory belongs, leaks) is a violation, and <see cref="Dispose"/> fails
/// the test with all of them. Work runs as late as the rules allow, when the host waits for it.
/// </summary>
internal sealed class SoftGpu : IDisposable
{
    private static readonly Dictionary<string, Device> Engines = new(StringComparer.Ordinal);
    private static readonly Lock Gate = new();
    private static string? Reason = "";

    private readonly HashSet<object> _live = [];
    private readonly Dictionary<nint, object> _handles = [];
    private readonly Dictionary<string, int> _calls = new(StringComparer.Ordinal);

    private SoftGpu(string engine)
    {
        if (!Engines.TryGetValue(engine, out var device)) Engines.Add(engine, device = Device.Open(engine, 2));
        (Engine, Memory, Streams) = (device, new SoftMemory(this), new SoftStreams(this));
    }

    public static SoftGpu? Current { get; private set; }

    /// <summary>Why there is no soft GPU on this machine; null if there is.</summary>
    public static string? Missing
    {
        get
        {
            if (Reason is "") Reason = Load();
            return Reason;
        }
    }

    public int Devices { get; init; } = 1;

    public int Capability { get; init; } = 80;

    public long MemoryBytes { get; init; } = 1L << 32;

    public int DriverVersion { get; init; } = 12_040;

    public bool MemoryPools { get; init; } = true;

    /// <summary>Calls of driver and cuBLAS so far; texts of errors and versions do not count.</summary>
    public int Calls { get; private set; }

    /// <summary>The calls of that name so far.</summary>
    public int CallsOf(string name) => _calls.GetValueOrDefault(name);

    /// <summary>The number of the call that is to fail; 0 for none.</summary>
    public int FailAt { get; init; }

    /// <summary>The driver's result of that call, or of the calls of that name.</summary>
    public int FailWith { get; init; } = 999;

    /// <summary>Every call of this name fails.</summary>
    public string? FailCall { get; init; }

    /// <summary>After the failure every call fails, as when a kernel went wrong or the device is lost.</summary>
    public bool FailsForEver { get; init; }

    /// <summary>The first call that was made to fail.</summary>
    public string? Failed { get; private set; }

    /// <summary>Whether the call that is under way is made to fail.</summary>
    public bool IsFailing { get; private set; }

    public List<string> Violations { get; } = [];

    /// <summary>What a kernel did wrong, after which the context is of no use.</summary>
    public string? Fault { get; private set; }

    public Device Engine { get; }

    public SoftMemory Memory { get; }

    public SoftStreams Streams { get; }

    public int[] ContextReferences { get; } = new int[16];

    private int? StickyResult { get; set; }

    /// <summary>Plugs one in; the test is skipped, with the reason, on a machine that cannot have one.</summary>
    public static SoftGpu Plug(string engine = "cpu") => Plug(() => new SoftGpu(engine));

    public static SoftGpu Plug(Func<SoftGpuSettings, SoftGpuSettings> settings)
    {
        var s = settings(new SoftGpuSettings());
        return Plug(() => new SoftGpu("cpu")
        {
            Devices = s.Devices,
            Capability = s.Capability,
            MemoryBytes = s.MemoryBytes,
            DriverVersion = s.DriverVersion,
            MemoryPools = s.MemoryPools,
            FailAt = s.FailAt,
            FailWith = s.FailWith,
            FailCall = s.FailCall,
            FailsForEver = s.FailsForEver,
        });
    }

    /// <summary>Plugs one in for all that a process does, as if it were the machine's own.</summary>
    /// <exception cref="InvalidOperationException">The machine cannot have one; the message says why.</exception>
    public static SoftGpu PlugIntoProcess() => Missing is { } reason ? throw new InvalidOperationException($"No soft GPU: {reason}.") : Current = new SoftGpu("cpu");

    /// <summary>Unplugs it and fails the test for what was done wrong.</summary>
    public void Dispose()
    {
        lock (Gate)
        {
            Current = null;
            if (ContextReferences.Any(count => count != 0)) Violate("a context was not released");
            Memory.Clear();
        }
        Assert.That(Violations, Is.Empty, "violations of the CUDA driver's rules");
    }

    public void Violate(string what) => Violations.Add(what);

    public nint Add(object what)
    {
        nint handle = SoftDriver.NewHandle();
        _handles.Add(handle, what);
        _live.Add(what);
        return handle;
    }

    public T Get<T>(nint handle, string call)
        where T : class =>
        _handles.TryGetValue(handle, out object? found) && found is T typed && _live.Contains(typed)
            ? typed
            : throw Misuse(400, $"{call}: {handle:x} is no live {typeof(T).Name}");

    public T Remove<T>(nint handle, string call)
        where T : class
    {
        var found = Get<T>(handle, call);
        _live.Remove(found);
        return found;
    }

    /// <summary>Objects that are alive, by kind; what a context must not leave behind.</summary>
    public IEnumerable<string> LiveObjects() => _live.Where(o => o is not SoftContext).GroupBy(o => o.GetType().Name, (kind, all) => $"{all.Count()} {kind}");

    /// <summary>Notes a violation; the exception carries what the call returns.</summary>
    public SoftError Misuse(int result, string what)
    {
        Violate(what);
        return new SoftError(result);
    }

    /// <summary>What every callback goes through: one call at a time, faults injected, a context demanded, exceptions kept from native code.</summary>
    /// <param name="releases">It gives something back, which happens even if it is made to fail.</param>
    public static int Enter(string name, Action<SoftGpu> body, bool needsContext = true, bool releases = false, bool blas = false)
    {
        lock (Gate)
        {
            if (Current is not { } gpu) return blas ? 1 : CudaDriver.NoDevice;
            gpu.Calls++;
            gpu._calls[name] = gpu.CallsOf(name) + 1;
            int? injected = gpu.StickyResult;
            if (injected is null && (gpu.Calls == gpu.FailAt || gpu.FailCall == name))
            {
                gpu.Failed ??= name;
                injected = gpu.FailWith;
                if (gpu.FailsForEver) gpu.Break(injected.Value);
            }
            gpu.IsFailing = injected is not null;
            if (injected is not null && !releases) return Result(injected.Value);
            try
            {
                if (needsContext && !SoftDriver.HasContext(gpu)) throw gpu.Misuse(201, $"{name}: the thread has no current context");
                body(gpu);
                return injected is null ? 0 : Result(injected.Value);
            }
            catch (SoftError error)
            {
                return Result(injected ?? error.Result);
            }
            catch (Exception error) when (error is PtxException or DeviceException)
            {
                gpu.Fault ??= error.Message;
                gpu.Break(700);
                return Result(700);
            }
            catch (Exception error)
            {
                gpu.Violate($"{name}: {error}");
                return Result(999);
            }
        }

        // cuBLAS reports a failure of the device as its own.
        int Result(int result) => !blas || result == 0 ? result : result switch { CudaDriver.OutOfMemory => 3, 1 => 7, < 0 => -result, _ => 13 };
    }

    /// <summary>The context is of no use from now on: every call fails, and what was asked for and has not run never does.</summary>
    private void Break(int result)
    {
        StickyResult = result;
        Streams.Abort();
    }

    /// <summary>Skips the test, with the reason, where a soft GPU cannot be had.</summary>
    public static void Require()
    {
        // One process has one libcuda: beside the machine's own there is no place for a soft one.
        if (TestDevices.ForcesGpu) Assert.Ignore("CLIPCUDA_DEVICE demands the machine's own GPU; this test is of the soft one.");
        // The soft driver needs a C compiler, which a machine with the .NET SDK alone has not: counted as skipped, with the reason.
        if (Missing is { } reason) Assert.Ignore($"No soft GPU: {reason}.");
    }

    private static SoftGpu Plug(Func<SoftGpu> create)
    {
        Require();
        lock (Gate)
        {
            if (Current is not null) throw new InvalidOperationException("A soft GPU is plugged in already.");
            return Current = create();
        }
    }

    /// <summary>Loads the two libraries before anything else asks for them by name, and registers the callbacks.</summary>
    private static string? Load()
    {
        string folder = Path.Combine(AppContext.BaseDirectory, "softcuda");
        string why = Path.Combine(folder, "missing.txt");
        if (File.Exists(why)) return File.ReadAllText(why).Trim();
        if (!Directory.Exists(folder)) return "it was not built";
        Register(Path.Combine(folder, "libcuda.so.1"), typeof(SoftDriver));
        Register(Path.Combine(folder, "libcublas.so.13"), typeof(SoftBlas));
        return null;
    }

    private static unsafe void Register(string path, Type callbacks)
    {
        nint library = NativeLibrary.Load(path);
        var register = (delegate* unmanaged<byte*, nint, int>)NativeLibrary.GetExport(library, "soft_register");
        foreach (var method in callbacks.GetMethods(BindingFlags.Static | BindingFlags.NonPublic | BindingFlags.Public))
        {
            if (method.GetCustomAttribute<UnmanagedCallersOnlyAttribute>()?.EntryPoint is not { } name) continue;
            fixed (byte* text = System.Text.Encoding.UTF8.GetBytes(name + '\0'))
            {
                if (register(text, method.MethodHandle.GetFunctionPointer()) == 0) throw new InvalidOperationException($"The soft driver's library has no export {name}.");
            }
        }
    }
}

/// <summary>What a soft GPU is and where it is to fail; the properties are those of <see cref="SoftGpu"/>.</summary>
internal sealed record SoftGpuSettings
{
    public int Devices { get; init; } = 1;

    public int Capability { get; init; } = 80;

    public long MemoryBytes { get; init; } = 1L << 32;

    public int DriverVersion { get; init; } = 12_040;

    public bool MemoryPools { get; init; } = true;

    public int FailAt { get; init; }

    public int FailWith { get; init; } = 999;

    public string? FailCall { get; init; }

    public bool FailsForEver { get; init; }
}

/// <summary>A call that fails with this result.</summary>
internal sealed class SoftError(int result) : Exception
{
    public int Result { get; } = result;
}

internal sealed record SoftContext(int Device);
