using ClipCuda.Devices;
using ClipCuda.Ptx;

namespace ClipCuda.Ops;

/// <summary>Checks at the doors of ops, and the launch sizes that several of them share.</summary>
internal static class Shapes
{
    /// <summary>Rows that one partial sum of a column reduction covers. It depends on nothing but the number of rows, so that the bits do too.</summary>
    public static int RowsARun(int rows) => Math.Max(16, Ceiling(rows, 64));

    public static int Ceiling(long count, int divisor) => checked((int)((count + divisor - 1) / divisor));

    /// <summary>The blocks of 256 threads of kernels that take the stretches of common/stretch.cuh.</summary>
    public static int Stretches(long elements) => Ceiling(elements, 2048);

    /// <summary>The grid of kernels that take the tiles of common/tile.cuh.</summary>
    public static Dim3 Tiles(int rows, int columns) => new(Ceiling(rows, 16), Ceiling(columns, 256));

    /// <summary>Throws unless a tensor has this shape.</summary>
    public static void Require(Tensor tensor, string name, params ReadOnlySpan<int> shape)
    {
        if (!tensor.Shape.AsSpan().SequenceEqual(shape))
            throw new ArgumentException($"{name} has shape {tensor.ShapeText}, expected [{string.Join(", ", shape.ToArray())}].", name);
    }

    /// <summary>A tensor that may be absent, as an argument of a kernel; then its pointer is null.</summary>
    public static KernelArgument OrNull(Tensor? tensor) => tensor is null ? default(DevicePointer) : tensor;

    /// <summary>The same of a kernel that reads it and writes it again.</summary>
    public static KernelArgument UpdatedOrNull(Tensor? tensor) => tensor is null ? default(DevicePointer) : tensor.Updated;
}
