using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ClipCuda.Ptx;

namespace ClipCuda.Devices;

/// <summary>A PTX module on a device: its kernels by entry name.</summary>
public sealed class KernelModule
{
    private static readonly ConditionalWeakTable<string, PtxModule> Parsed = [];

    private readonly Dictionary<string, Kernel> _kernels = new(StringComparer.Ordinal);

    internal KernelModule(Device device, PtxModule module)
    {
        Name = module.Name;
        foreach (var entry in module.Entries) _kernels.Add(entry.Name, new Kernel(device, this, entry));
    }

    /// <summary>Reads PTX, each kernel's body at its first launch; a text that was read before, for any device, is not parsed and compiled again.</summary>
    internal static PtxModule Parse(string name, string ptx) => Parsed.GetValue(ptx, text => PtxModule.ParseOnDemand(text, name));

    public string Name { get; }

    public IReadOnlyCollection<Kernel> Kernels => _kernels.Values;

    public Kernel this[string entry] =>
        _kernels.TryGetValue(entry, out var kernel)
            ? kernel
            : throw new DeviceException($"PTX module '{Name}' has no entry '{entry}'; it has {string.Join(", ", _kernels.Keys)}.");
}

/// <summary>
/// One entry of a module. A launch is checked against the entry's own parameter list and against a GPU's limits on
/// every device: a wrong launch is an exception, never a corrupted buffer.
/// </summary>
public sealed class Kernel
{
    /// <summary>What CUDA grants every kernel on compute capability 7.5 (CUDA C++ Programming Guide, Technical Specifications).</summary>
    public const int MaxThreadsPerBlock = 1024, MaxGridYZ = 65_535, MaxBlockZ = 64, MaxStaticSharedBytes = 48 * 1024, MaxParameterBytes = 4096;

    private readonly Device _device;

    internal Kernel(Device device, KernelModule module, PtxEntry entry)
    {
        _device = device;
        Module = module;
        Entry = entry;
        int parameterBytes = entry.Parameters.Count == 0 ? 0 : entry.Parameters[^1].Offset + entry.Parameters[^1].Size;
        if (parameterBytes > MaxParameterBytes)
            throw new PtxException($"{module.Name}: the parameters of {entry.Name} take {parameterBytes} bytes; a GPU allows {MaxParameterBytes}.");
    }

    public KernelModule Module { get; }

    public PtxEntry Entry { get; }

    public string Name => Entry.Name;

    /// <summary>Launches the kernel; arguments are outputs, inputs, sizes, in the order of the CUDA signature.</summary>
    /// <exception cref="DeviceException">The shape or an argument does not fit the kernel.</exception>
    /// <exception cref="PtxException">At the first launch: the kernel's body is not PTX, or not what the device runs. While it runs: it broke a rule.</exception>
    public void Launch(Dim3 grid, Dim3 block, params ReadOnlySpan<KernelArgument> arguments) =>
        Launch(new LaunchShape(grid, block), arguments);

    /// <inheritdoc cref="Launch(Dim3, Dim3, ReadOnlySpan{KernelArgument})"/>
    public void Launch(in LaunchShape shape, params ReadOnlySpan<KernelArgument> arguments)
    {
        CheckShape(shape);
        Span<byte> block = stackalloc byte[MaxParameterBytes];
        long moved = 0;
        foreach (var argument in arguments) moved += argument.MovedBytes;
        _device.LaunchTimed(this, shape, block[..Pack(arguments, block)], moved);
    }

    private void CheckShape(in LaunchShape shape)
    {
        var (grid, block) = (shape.Grid, shape.Block);
        if (grid.X < 1 || grid.Y < 1 || grid.Z < 1 || block.X < 1 || block.Y < 1 || block.Z < 1)
            throw Error($"grid {grid} and block {block} must be at least 1 in every direction");
        if (grid.Y > MaxGridYZ || grid.Z > MaxGridYZ) throw Error($"grid {grid} exceeds {MaxGridYZ} in y or z");
        int most = Entry.MaxThreadsPerBlock is > 0 and var bound ? Math.Min(bound, MaxThreadsPerBlock) : MaxThreadsPerBlock;
        if (block.Count > most || block.Z > MaxBlockZ) throw Error($"block {block} has more than {most} threads (z at most {MaxBlockZ})");
        if (shape.DynamicSharedBytes < 0 || Entry.StaticSharedBytes + (long)shape.DynamicSharedBytes > MaxStaticSharedBytes)
            throw Error($"{Entry.StaticSharedBytes} + {shape.DynamicSharedBytes} bytes of shared memory exceed {MaxStaticSharedBytes}");
    }

    private int Pack(ReadOnlySpan<KernelArgument> arguments, Span<byte> block)
    {
        var parameters = Entry.Parameters;
        if (arguments.Length != parameters.Count)
            throw Error($"takes {parameters.Count} arguments ({string.Join(", ", parameters.Select(p => $"{p.Size} bytes"))}), got {arguments.Length}");
        int end = 0;
        for (int i = 0; i < arguments.Length; i++)
        {
            var (parameter, argument) = (parameters[i], arguments[i]);
            if (argument.Size != parameter.Size)
                throw Error($"argument {i} is {argument.Size} bytes, the kernel's parameter is {parameter.Size}");
            if (argument.Buffer is { } buffer)
            {
                if (buffer.IsDisposed) throw Error($"argument {i}: buffer '{buffer.Label}' has been freed");
                if (buffer.Device != _device) throw Error($"argument {i}: buffer '{buffer.Label}' belongs to another device");
                _device.Touch(buffer);
            }
            argument.Write(block[parameter.Offset..]);
            end = parameter.Offset + parameter.Size;
        }
        return end;
    }

    private DeviceException Error(string what) => new($"Launch of {Name}: {what}.");
}

/// <summary>One kernel argument: a device pointer, an integer or a float, by implicit conversion.</summary>
public readonly struct KernelArgument
{
    private readonly ulong _bits;

    private KernelArgument(ulong bits, int size) => (_bits, Size) = (bits, size);

    internal KernelArgument(DevicePointer pointer, long movedBytes)
        : this(pointer.Address, 8) => (Buffer, MovedBytes) = (pointer.Buffer, movedBytes);

    public int Size { get; }

    internal DeviceBuffer? Buffer { get; }

    /// <summary>What the kernel has to read and write of the memory that a pointer points to; 0 where nobody said.</summary>
    internal long MovedBytes { get; }

    public static implicit operator KernelArgument(DevicePointer value) => new(value, movedBytes: 0);

    public static implicit operator KernelArgument(int value) => new((uint)value, 4);

    public static implicit operator KernelArgument(uint value) => new(value, 4);

    public static implicit operator KernelArgument(float value) => new(BitConverter.SingleToUInt32Bits(value), 4);

    public static implicit operator KernelArgument(long value) => new((ulong)value, 8);

    internal void Write(Span<byte> destination)
    {
        if (Size == 4) Unsafe.WriteUnaligned(ref MemoryMarshal.GetReference(destination[..4]), (uint)_bits);
        else Unsafe.WriteUnaligned(ref MemoryMarshal.GetReference(destination[..8]), _bits);
    }
}
