using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace ClipCuda.Devices;

/// <summary>
/// GEMM on the CPU; what cuBLAS is on a GPU. K is cut into equal parts of at most <see cref="MaxDepth"/>. Threads take tiles of C;
/// for each part of K a thread packs those panels of op(A) and op(B) that its tile needs and nobody has packed yet, and a
/// micro-kernel merges one block of products after another into C. Panels are shared: a panel of rows stays in the first-level cache
/// while the tile's panels of columns stream past it from the second. <see cref="GemmPlan"/> says which operand is which.
/// </summary>
/// <remarks>
/// Bits depend on K alone. Part p of K gives the chain s_p = fma(a_k, b_k, …) from 0 in the order of k, and
/// C = fma(alpha, s_0, beta · C), then C = fma(alpha, s_p, C) for p = 1, 2, …; with beta = 0 the first is C = alpha · s_0.
/// Threads, vector width, tiles and the matrix around an element do not change it.
/// </remarks>
internal sealed unsafe class CpuGemm : IDisposable
{
    /// <summary>The most of K in one part: 14 rows of A at this depth fill two thirds of a 32 KiB cache.</summary>
    public const int MaxDepth = 384;

    // What is packed at once: bounds the workspace to some 16 MiB. Several parts of K together save synchronisation, as long as what is
    // packed comes from the second-level caches again.
    private const int MaxRows = 4032, MaxColumns = 8064;
    private const long WorkspaceElements = 1L << 22;
    private const long SeveralPartsElements = 1L << 19;
    private const int TileRowPanels = 8;
    private const int TileColumnElements = 1 << 17; // of the columns of a tile: half a second-level cache
    private const long WorthSharing = 1_000_000; // multiply-adds; below, waking helpers costs more than it saves
    // An element that one core packs and another reads costs so many multiply-adds on its way; it decides for work of middling size.
    private const double WorkAPackedElement = 60, SurelyWorthSharing = 10_000_000;
    private const int MaxPlans = 1024;

    private readonly WorkerPool _pool;
    private readonly Dictionary<GemmPlan.Shape, GemmPlan> _plans = [];
    private readonly GemmPanels _rows = new(), _columns = new();
    private readonly Action<long, long> _multiply;
    private readonly Action<long, long> _scale;
    private readonly int[] _ownTaken;
    private float* _workspace;
    private long _workspaceElements;

    // The block of work that is being multiplied; set by the caller, read by the workers. Rows and columns are those of the kernel.
    private GemmCall _call;
    private GemmPlan? _plan;
    private int _firstBatch;
    private int _firstRow, _rowEnd, _firstColumn, _columnEnd;
    private int _firstDepth, _depthEnd, _partDepth;
    private int _tileRowPanels, _tileColumnPanels;

    /// <param name="pool">Who does the work.</param>
    /// <param name="vectorBits">128, 256 or 512; 0 for what the machine accelerates.</param>
    public CpuGemm(WorkerPool pool, int vectorBits = 0)
    {
        if (vectorBits is not (0 or 128 or 256 or 512))
            throw new ArgumentOutOfRangeException(nameof(vectorBits), vectorBits, "Vectors have 128, 256 or 512 bits.");
        _pool = pool;
        _ownTaken = new int[pool.Threads];
        VectorBits = vectorBits == 0 ? GemmKernel.BestVectorBits : vectorBits;
        _multiply = MultiplyTiles;
        _scale = ScaleRows;
    }

    public int VectorBits { get; }

    /// <summary>Runs a call that has been checked.</summary>
    public void Run(in GemmCall call)
    {
        if (call.M == 0 || call.N == 0 || call.Batch == 0) return;
        _call = call;
        if (call.K == 0 || call.Alpha == 0)
        {
            _pool.Run((long)call.Batch * call.M, Math.Max(1, WorthSharing / call.N), _scale);
            return;
        }
        var plan = _plan = PlanFor(call);
        if (plan.Exchanged)
        {
            _rows.Describe(call.B, !call.B.Transposed, plan.Kernel.Rows, plan.Kernel.Rows, plan.PackRows);
            _columns.Describe(call.A, call.A.Transposed, plan.Kernel.Columns, plan.Edge.Columns, plan.PackColumns);
        }
        else
        {
            _rows.Describe(call.A, call.A.Transposed, plan.Kernel.Rows, plan.Kernel.Rows, plan.PackRows);
            _columns.Describe(call.B, !call.B.Transposed, plan.Kernel.Columns, plan.Edge.Columns, plan.PackColumns);
        }
        var (allRows, allColumns) = plan.Exchanged ? (call.N, call.M) : (call.M, call.N);
        int parts = Ceiling(call.K, MaxDepth);
        _partDepth = Ceiling(call.K, parts);
        // All of it at once if the workspace holds that, else fewer matrices, else parts of one; cuts lie between panels and parts.
        int rows = Math.Min(allRows, MaxRows / plan.Kernel.Rows * plan.Kernel.Rows);
        int columns = Math.Min(allColumns, MaxColumns / plan.Kernel.Columns * plan.Kernel.Columns);
        long elements = Elements(rows, columns, 1);
        int blockParts = (int)Math.Clamp(SeveralPartsElements / elements, 1, parts);
        elements = Elements(rows, columns, blockParts);
        int batches = blockParts < parts ? 1 : (int)Math.Clamp(WorkspaceElements / elements, 1, call.Batch);
        Reserve(batches * elements + _pool.Threads * Elements(_rows.Lanes, _columns.Lanes, 1));
        for (_firstBatch = 0; _firstBatch < call.Batch; _firstBatch += batches)
        {
            for (_firstColumn = 0; _firstColumn < allColumns; _firstColumn += columns)
            {
                _columnEnd = Math.Min(_firstColumn + columns, allColumns);
                for (_firstRow = 0; _firstRow < allRows; _firstRow += rows)
                {
                    _rowEnd = Math.Min(_firstRow + rows, allRows);
                    for (_firstDepth = 0; _firstDepth < call.K; _firstDepth += blockParts * _partDepth)
                    {
                        _depthEnd = (int)Math.Min((long)_firstDepth + (long)blockParts * _partDepth, call.K);
                        MultiplyBlock(Math.Min(batches, call.Batch - _firstBatch));
                    }
                }
            }
        }
    }

    public void Dispose()
    {
        CpuMemory.Free((byte*)_workspace);
        _workspace = null;
        _workspaceElements = 0;
    }

    private GemmPlan PlanFor(in GemmCall call)
    {
        var shape = new GemmPlan.Shape(call.M, call.N, call.K, call.A.Transposed, call.B.Transposed, Clashes(call.A), Clashes(call.B));
        if (_plans.TryGetValue(shape, out var plan)) return plan;
        if (_plans.Count == MaxPlans) _plans.Clear();
        plan = GemmPlan.For(shape, VectorBits);
        _plans.Add(shape, plan);
        return plan;
    }

    /// <summary>Rows are multiples of 4 KiB apart.</summary>
    private static bool Clashes(in GemmOperand operand) => operand.LeadingDimension % 1024 == 0;

    private long Elements(int rows, int columns, int parts) =>
        GemmPanels.PackedElements(rows, _rows.Lanes, _partDepth, parts) + GemmPanels.PackedElements(columns, _columns.Lanes, _partDepth, parts);

    private void MultiplyBlock(int batches)
    {
        _rows.Begin(_firstBatch, _firstRow, _rowEnd, _firstDepth, _depthEnd, _partDepth);
        _columns.Begin(_firstBatch, _firstColumn, _columnEnd, _firstDepth, _depthEnd, _partDepth);
        float* shared = _workspace + _pool.Threads * (_rows.PanelElements + _columns.PanelElements);
        shared += _rows.Place(shared, batches, _columns.Count);
        _columns.Place(shared, batches, _rows.Count);
        double work = (double)batches * (_rowEnd - _firstRow) * (_columnEnd - _firstColumn) * (_depthEnd - _firstDepth);
        bool alone = _pool.Threads == 1 || work < WorthSharing || (work < SurelyWorthSharing && work < WorkAPackedElement * (_rows.SharedElements + _columns.SharedElements));
        ChooseTiles(batches, alone ? 1 : 4 * _pool.Threads);
        long tiles = Tiles(batches);
        _pool.Run(tiles, alone ? tiles : 1, _multiply);
    }

    private long Tiles(int batches) => (long)batches * Ceiling(_rows.Count, _tileRowPanels) * Ceiling(_columns.Count, _tileColumnPanels);

    /// <summary>Tiles large enough to reuse what is in the caches, and small enough that there are as many as wanted.</summary>
    private void ChooseTiles(int batches, int wanted)
    {
        _tileRowPanels = Math.Min(TileRowPanels, _rows.Count);
        _tileColumnPanels = Math.Clamp(TileColumnElements / (_partDepth * _columns.Lanes), 1, _columns.Count);
        while (Tiles(batches) < wanted && _tileRowPanels * _tileColumnPanels > 1)
        {
            bool tall = _tileRowPanels * _rows.Lanes >= _tileColumnPanels * _columns.Lanes;
            if ((tall && _tileRowPanels > 1) || _tileColumnPanels == 1) _tileRowPanels = (_tileRowPanels + 1) / 2;
            else _tileColumnPanels = (_tileColumnPanels + 1) / 2;
        }
        // As many tiles, of more equal sizes.
        _tileRowPanels = Ceiling(_rows.Count, Ceiling(_rows.Count, _tileRowPanels));
        _tileColumnPanels = Ceiling(_columns.Count, Ceiling(_columns.Count, _tileColumnPanels));
    }

    /// <summary>Items are tiles of C: batches, in them columns of tiles, in them rows.</summary>
    private void MultiplyTiles(long first, long count)
    {
        float* products = stackalloc float[GemmKernel.MaxElements + 16];
        products = (float*)(((nuint)products + 63) & ~(nuint)63);
        int own = TakeOwn();
        int tileRows = Ceiling(_rows.Count, _tileRowPanels), tileColumns = Ceiling(_columns.Count, _tileColumnPanels);
        for (long item = first; item < first + count; item++)
        {
            var (rest, tileRow) = Math.DivRem(item, tileRows);
            var (batch, tileColumn) = Math.DivRem(rest, tileColumns);
            int row = (int)tileRow * _tileRowPanels, column = (int)tileColumn * _tileColumnPanels;
            int rowEnd = Math.Min(row + _tileRowPanels, _rows.Count), columnEnd = Math.Min(column + _tileColumnPanels, _columns.Count);
            for (int part = 0; _firstDepth + part * _partDepth < _depthEnd; part++)
            {
                _columns.Prepare((int)batch, column, columnEnd, part);
                _rows.Prepare((int)batch, row, rowEnd, part);
                MultiplyTile((int)batch, row, rowEnd, column, columnEnd, part, _workspace + own * (_rows.PanelElements + _columns.PanelElements), products);
            }
        }
        Volatile.Write(ref _ownTaken[own], 0);
    }

    /// <summary>Takes one of the pieces of the workspace that are there for each thread to pack a panel of rows and one of columns.</summary>
    private int TakeOwn()
    {
        for (int i = 0; ; i = (i + 1) % _ownTaken.Length)
        {
            if (Interlocked.CompareExchange(ref _ownTaken[i], 1, 0) == 0) return i;
        }
    }

    private void MultiplyTile(int batch, int rowPanel, int rowPanelEnd, int columnPanel, int columnPanelEnd, int part, float* own, float* products)
    {
        var plan = _plan!;
        int firstDepth = _firstDepth + part * _partDepth;
        nint depth = Math.Min(_partDepth, _depthEnd - firstDepth);
        float alpha = _call.Alpha, beta = firstDepth == 0 ? _call.Beta : 1;
        long strideC = _call.C.LeadingDimension;
        float* c = (float*)_call.C.Data.Address + (_firstBatch + batch) * _call.C.BatchStride;
        for (int i = rowPanel; i < rowPanelEnd; i++)
        {
            int row = _firstRow + i * plan.Kernel.Rows, rows = Math.Min(plan.Kernel.Rows, _rowEnd - row);
            float* a = _rows.Panel(batch, i, part, own, out long strideA, out long rowStrideA);
            for (int j = columnPanel; j < columnPanelEnd; j++)
            {
                int column = _firstColumn + j * plan.Kernel.Columns, columns = Math.Min(plan.Kernel.Columns, _columnEnd - column);
                var kernel = columns == plan.Kernel.Columns ? plan.Kernel : plan.Edge;
                var multiply = rowStrideA == 1 ? kernel.Multiply : kernel.MultiplyApart;
                float* b = _columns.Panel(batch, j, part, own + _rows.PanelElements, out long strideB, out _);
                if (rows == kernel.Rows && columns == kernel.Columns && !plan.Exchanged)
                {
                    multiply(depth, a, Bytes(strideA), Bytes(rowStrideA), b, Bytes(strideB), c + row * strideC + column, Bytes(strideC), alpha, beta);
                    continue;
                }
                multiply(depth, a, Bytes(strideA), Bytes(rowStrideA), b, Bytes(strideB), products, Bytes(kernel.Columns), 1, 0);
                if (plan.Exchanged) MergeTransposed(products, kernel.Columns, c + column * strideC + row, strideC, rows, columns, alpha, beta);
                else Merge(products, kernel.Columns, c + row * strideC + column, strideC, rows, columns, alpha, beta);
            }
        }
    }

    private static nint Bytes(long elements) => (nint)elements * sizeof(float);

    /// <summary>c = fma(alpha, products, beta · c), or alpha · products where beta = 0, of which c is not read.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Merge(float* products, int productStride, float* c, long stride, int rows, int columns, float alpha, float beta)
    {
        var alphas = Vector256.Create(alpha);
        var betas = Vector256.Create(beta);
        for (int i = 0; i < rows; i++, products += productStride, c += stride)
        {
            int j = 0;
            if (beta == 0)
            {
                for (; j + 8 <= columns; j += 8) *(Vector256<float>*)(c + j) = alphas * *(Vector256<float>*)(products + j);
                for (; j < columns; j++) c[j] = alpha * products[j];
            }
            else
            {
                for (; j + 8 <= columns; j += 8)
                    *(Vector256<float>*)(c + j) = Vector256.FusedMultiplyAdd(alphas, *(Vector256<float>*)(products + j), betas * *(Vector256<float>*)(c + j));
                for (; j < columns; j++) c[j] = MathF.FusedMultiplyAdd(alpha, products[j], beta * c[j]);
            }
        }
    }

    /// <summary>The same into a block of C whose rows are the columns of the products.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void MergeTransposed(float* products, int productStride, float* c, long stride, int rows, int columns, float alpha, float beta)
    {
        for (int j = 0; j < columns; j++, products++, c += stride)
        {
            float* product = products;
            if (beta == 0)
            {
                for (int i = 0; i < rows; i++, product += productStride) c[i] = alpha * *product;
            }
            else
            {
                for (int i = 0; i < rows; i++, product += productStride) c[i] = MathF.FusedMultiplyAdd(alpha, *product, beta * c[i]);
            }
        }
    }

    /// <summary>C = beta · C, for alpha = 0 or K = 0; items are the rows of every batch.</summary>
    private void ScaleRows(long first, long count)
    {
        for (long item = first; item < first + count; item++)
        {
            var (batch, row) = Math.DivRem(item, _call.M);
            var c = new Span<float>((float*)_call.C.Data.Address + batch * _call.C.BatchStride + row * _call.C.LeadingDimension, _call.N);
            if (_call.Beta == 0) c.Clear();
            else foreach (ref float element in c) element *= _call.Beta;
        }
    }

    private void Reserve(long elements)
    {
        if (elements <= _workspaceElements) return;
        Dispose();
        _workspace = (float*)CpuMemory.Allocate(elements * sizeof(float));
        _workspaceElements = elements;
    }

    private static int Ceiling(int value, int divisor) => (value - 1) / divisor + 1;
}
