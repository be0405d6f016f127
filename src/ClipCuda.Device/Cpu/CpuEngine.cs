using System.Runtime.Intrinsics;
using ClipCuda.Ptx;

namespace ClipCuda.Devices;

/// <summary>What runs kernels on a CPU, by the name that <c>--device</c> takes.</summary>
/// <param name="VectorBits">Width of the vectors that kernels are compiled to; 0 for the interpreter.</param>
/// <param name="Checks">Every access is checked.</param>
/// <param name="ChecksBounds">Compiled kernels hold each load and store against the live buffers.</param>
/// <param name="StepLimit">Where kernels are checked, instructions that a block may take; see <see cref="KernelProgram.Create"/>.</param>
internal sealed record CpuEngine(string DeviceName, int VectorBits, bool Checks = false, bool ChecksBounds = false, long StepLimit = KernelProgram.DefaultStepLimit)
{
#if DEBUG
    private const bool IsDebug = true;
#else
    private const bool IsDebug = false;
#endif

    /// <summary>
    /// The widest vectors that this machine is fast with. Debug builds check bounds: there a kernel that accesses what it must not is an error
    /// that names it, where otherwise it may end the process. Engines of a forced width are the same in all builds.
    /// </summary>
    public static CpuEngine Fastest { get; } =
        new("cpu", Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : 128, ChecksBounds: IsDebug);

    /// <summary>The interpreter with every access checked.</summary>
    public static CpuEngine Check { get; } = new("cpu:check", 0, Checks: true);

    /// <summary>All of them: the compiler at each width, and the interpreter, which is what the compiler is held against.</summary>
    public static IReadOnlyList<CpuEngine> All { get; } =
        [Fastest, Check, new("cpu:interpret", 0), new("cpu:128", 128), new("cpu:256", 256), new("cpu:512", 512)];

    public string Description => Checks ? "PTX interpreter with checks" : VectorBits == 0 ? "PTX interpreter" : $"PTX compiled to Vector{VectorBits}{(ChecksBounds ? " with bounds checks" : "")}";
}
