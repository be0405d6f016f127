namespace ClipCuda.Ptx;

/// <summary>Three extents of a grid or of a block; those not given are 1.</summary>
public readonly record struct Dim3(int X, int Y = 1, int Z = 1)
{
    public long Count => (long)X * Y * Z;

    public static implicit operator Dim3(int x) => new(x);

    public override string ToString() => $"({X}, {Y}, {Z})";
}

/// <summary>How a kernel is launched: blocks in the grid, threads in a block, bytes of dynamic shared memory.</summary>
public readonly record struct LaunchShape(Dim3 Grid, Dim3 Block, int DynamicSharedBytes = 0);
