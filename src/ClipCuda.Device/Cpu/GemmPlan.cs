namespace ClipCuda.Devices;

/// <summary>
/// How one shape of GEMM is run: which operand is read element by element ("rows") and which in vectors ("columns"), with which
/// micro-kernels. None of it changes a bit of the result; an estimate of cycles decides.
/// </summary>
internal sealed class GemmPlan
{
    /// <summary>Vectors a row that the kernels tried have.</summary>
    public static readonly int[] VectorCounts = [1, 2, 3, 4, 6, 8];

    // Ways of a first-level cache: so many rows that clash stay in it.
    private const int RowsASet = 8;

    // Up to so many passes over a panel are faster than packing it, more where that is to transpose it; and cycles an element, measured.
    private const int UnpackedUses = 32, UnpackedApartUses = 64;
    private const double ScatterCycles = 1.5, CopyCycles = 0.2, TransposeCycles = 0.3;

    /// <summary>What decides a plan, besides the machine.</summary>
    /// <param name="ClashesA">Rows of A in memory fall on the same sets of the first-level cache.</param>
    public readonly record struct Shape(int M, int N, int K, bool TransposedA, bool TransposedB, bool ClashesA, bool ClashesB);

    private GemmPlan(bool exchanged, GemmKernel kernel, GemmKernel edge, bool packRows, bool packColumns)
    {
        Exchanged = exchanged;
        Kernel = kernel;
        Edge = edge;
        PackRows = packRows;
        PackColumns = packColumns;
    }

    /// <summary>Cᵀ = op(B)ᵀ · op(A)ᵀ is computed: the columns of op(B) are the rows of the kernel.</summary>
    public bool Exchanged { get; }

    public GemmKernel Kernel { get; }

    /// <summary>The kernel of the last panel of columns, as many vectors wide as that needs.</summary>
    public GemmKernel Edge { get; }

    /// <summary>Panels of rows are packed even where a kernel could read them where they are.</summary>
    public bool PackRows { get; }

    public bool PackColumns { get; }

    public static GemmPlan For(in Shape shape, int vectorBits)
    {
        var best = (Cycles: double.MaxValue, Exchanged: false, Rows: 0, Vectors: 0, EdgeVectors: 0, PackRows: false, PackColumns: false);
        foreach (bool exchanged in (ReadOnlySpan<bool>)[false, true])
        {
            var (rows, columns) = exchanged ? (shape.N, shape.M) : (shape.M, shape.N);
            // Whether an operand's lanes lie side by side in memory, so that a kernel can read it unpacked.
            var (rowsAreVectors, columnsAreVectors) = exchanged ? (!shape.TransposedB, shape.TransposedA) : (shape.TransposedA, !shape.TransposedB);
            bool rowsClash = exchanged ? shape.ClashesB : shape.ClashesA;
            foreach (int vectors in VectorCounts)
            {
                int rowPanels = Ceiling(rows, GemmKernel.MaxRows(vectors)), kernelRows = Ceiling(rows, rowPanels);
                var (columnPanels, rest) = Math.DivRem(columns, vectors * vectorBits / 32);
                int edgeVectors = rest == 0 ? vectors : Ceiling(rest, vectorBits / 32);
                if (columnPanels == 0 && edgeVectors < vectors) continue;
                double cycles = rowPanels * (columnPanels * KernelCycles(kernelRows, vectors, vectorBits, shape.K)
                    + (rest == 0 ? 0 : KernelCycles(kernelRows, edgeVectors, vectorBits, shape.K)));
                int columnUses = rowPanels, rowUses = columnPanels + (rest == 0 ? 0 : 1);
                bool packRows = rowsAreVectors ? rowUses > UnpackedUses : rowUses > UnpackedApartUses || (rowsClash && kernelRows > RowsASet);
                bool packColumns = !columnsAreVectors || columnUses > UnpackedUses;
                cycles += (double)shape.K * (rows * PackingCycles(packRows, rowsAreVectors) + columns * PackingCycles(packColumns, columnsAreVectors));
                if (exchanged) cycles += ScatterCycles * Ceiling(shape.K, CpuGemm.MaxDepth) * (double)rows * columns;
                if (cycles < best.Cycles) best = (cycles, exchanged, kernelRows, vectors, edgeVectors, packRows, packColumns);
            }
        }
        return new GemmPlan(
            best.Exchanged, GemmKernel.Get(vectorBits, best.Rows, best.Vectors), GemmKernel.Get(vectorBits, best.Rows, best.EdgeVectors),
            best.PackRows, best.PackColumns);
    }

    private static double PackingCycles(bool packed, bool copied) => !packed ? 0 : copied ? CopyCycles : TransposeCycles;

    /// <summary>
    /// Two multiply-adds or two loads a cycle, four cycles from one multiply-add of a chain to the next, a little for what comes from
    /// the second-level cache, or 42 bytes a cycle from there, whichever takes longest; and what starting and merging a block costs.
    /// </summary>
    private static double KernelCycles(int rows, int vectors, int vectorBits, int depth)
    {
        double streamed = vectors * vectorBits / 8.0;
        double step = Math.Max(Math.Max(rows * vectors, rows + vectors) / 2.0, 4) + streamed / 256;
        return depth * Math.Max(step, streamed / 42) + 30 + 1.5 * rows * vectors;
    }

    private static int Ceiling(int value, int divisor) => (value - 1) / divisor + 1;
}
