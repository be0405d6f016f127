using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace ClipCuda.Devices;

/// <summary>
/// GEMM on the CPU; what cuBLAS is on a GPU. K is cut into equal parts of at most <see cref="MaxDepth"/>. For each part, all threads pack
/// the panels of op(A) and op(B), then all threads multiply, one tile of C at a time: a micro-kernel computes a block of products
/// in registers, and they are merged into C. A panel of A stays in the first-level cache while the panels of B stream past it.
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

    // Panels packed at once: bounds the workspace to about 16 MiB, and keeps it in a shared cache.
    private const int MaxRows = 4032, MaxColumns = 8064;
    private const long WorkspaceElements = 1L << 22;
    private const int TilePanels = 8;
    private const long WorthSharing = 200_000; // multiply-adds; below, waking helpers costs more than it saves

    private readonly WorkerPool _pool;
    private readonly GemmKernel[] _kernels;
    private readonly Action<long, long> _pack;
    private readonly Action<long, long> _multiply;
    private readonly Action<long, long> _scale;
    private float* _workspace;
    private long _workspaceElements;

    // The part of the call that is being packed or multiplied; set by the caller, read by the workers.
    private GemmCall _call;
    private GemmKernel _kernel;
    private int _firstBatch, _batches;
    private int _firstRow, _rowPanels, _rowEnd;
    private int _firstColumn, _columnPanels, _columnEnd;
    private int _firstDepth, _depth;
    private int _tileRowPanels, _tileColumnPanels;

    public CpuGemm(WorkerPool pool, GemmKernel[] kernels)
    {
        _pool = pool;
        _kernels = kernels;
        _kernel = kernels[0];
        _pack = PackPanels;
        _multiply = MultiplyTiles;
        _scale = ScaleRows;
    }

    private int PackedABatches => _call.A.BatchStride == 0 ? 1 : _batches;

    private int PackedBBatches => _call.B.BatchStride == 0 ? 1 : _batches;

    private long PanelElementsA => (long)_depth * _kernel.Rows;

    private long PanelElementsB => (long)_depth * _kernel.Columns;

    private float* WorkspaceB => _workspace + PackedABatches * _rowPanels * PanelElementsA;

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
        _kernel = GemmKernel.BestFor(_kernels, call.M, call.N);
        int parts = Ceiling(call.K, MaxDepth), depth = Ceiling(call.K, parts);
        int rows = Math.Min(call.M, MaxRows), columns = Math.Min(call.N, MaxColumns);
        long elements = depth * (Padded(rows, _kernel.Rows) + Padded(columns, _kernel.Columns));
        int batches = (int)Math.Clamp(WorkspaceElements / elements, 1, call.Batch);
        Reserve(batches * elements);
        for (_firstBatch = 0; _firstBatch < call.Batch; _firstBatch += batches)
        {
            _batches = Math.Min(batches, call.Batch - _firstBatch);
            for (_firstColumn = 0; _firstColumn < call.N; _firstColumn += columns)
            {
                _columnEnd = Math.Min(_firstColumn + columns, call.N);
                _columnPanels = Ceiling(_columnEnd - _firstColumn, _kernel.Columns);
                for (_firstRow = 0; _firstRow < call.M; _firstRow += rows)
                {
                    _rowEnd = Math.Min(_firstRow + rows, call.M);
                    _rowPanels = Ceiling(_rowEnd - _firstRow, _kernel.Rows);
                    MultiplyBlock(depth);
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

    private void MultiplyBlock(int depth)
    {
        ChooseTiles();
        long tiles = (long)_batches * Ceiling(_rowPanels, _tileRowPanels) * Ceiling(_columnPanels, _tileColumnPanels);
        for (_firstDepth = 0; _firstDepth < _call.K; _firstDepth += depth)
        {
            _depth = Math.Min(depth, _call.K - _firstDepth);
            long panels = (long)PackedABatches * _rowPanels + (long)PackedBBatches * _columnPanels;
            long work = (long)_batches * (_rowEnd - _firstRow) * (_columnEnd - _firstColumn) * _depth;
            bool alone = work < WorthSharing;
            _pool.Run(panels, alone ? panels : Math.Max(1, panels / (4 * _pool.Threads)), _pack);
            _pool.Run(tiles, alone ? tiles : 1, _multiply);
        }
    }

    /// <summary>Tiles small enough that every thread gets some, and large enough to reuse what is in the caches.</summary>
    private void ChooseTiles()
    {
        (_tileRowPanels, _tileColumnPanels) = (Math.Min(TilePanels, _rowPanels), Math.Min(TilePanels, _columnPanels));
        int wanted = 4 * _pool.Threads;
        while ((long)_batches * Ceiling(_rowPanels, _tileRowPanels) * Ceiling(_columnPanels, _tileColumnPanels) < wanted
            && _tileRowPanels * _tileColumnPanels > 1)
        {
            if (_tileRowPanels * _kernel.Rows >= _tileColumnPanels * _kernel.Columns && _tileRowPanels > 1) _tileRowPanels = (_tileRowPanels + 1) / 2;
            else if (_tileColumnPanels > 1) _tileColumnPanels = (_tileColumnPanels + 1) / 2;
            else _tileRowPanels = (_tileRowPanels + 1) / 2;
        }
    }

    /// <summary>Items are the panels of A of every batch, then those of B.</summary>
    private void PackPanels(long first, long count)
    {
        long panelsA = (long)PackedABatches * _rowPanels, end = first + count;
        if (first < panelsA)
            Pack(_call.A, !_call.A.Transposed, first, Math.Min(end, panelsA), _firstRow, _rowEnd, _kernel.Rows, _workspace);
        if (end > panelsA)
            Pack(_call.B, _call.B.Transposed, Math.Max(first, panelsA) - panelsA, end - panelsA, _firstColumn, _columnEnd, _kernel.Columns, WorkspaceB);
    }

    /// <summary>Packs panels <paramref name="first"/> … <paramref name="end"/> − 1 of one operand, numbered through its batches.</summary>
    private void Pack(in GemmOperand operand, bool depthContiguous, long first, long end, int firstLane, int laneEnd, int lanes, float* packed)
    {
        long stride = operand.LeadingDimension;
        int panels = Ceiling(laneEnd - firstLane, lanes);
        while (first < end)
        {
            var (batch, panel) = Math.DivRem(first, panels);
            int count = depthContiguous ? 1 : (int)Math.Min(end - first, panels - panel);
            int lane = firstLane + (int)panel * lanes, valid = Math.Min(laneEnd - lane, count * lanes);
            float* matrix = (float*)operand.Data.Address + (_firstBatch + batch) * operand.BatchStride;
            float* to = packed + first * _depth * lanes;
            if (depthContiguous) GemmPacking.PackContiguousDepth(matrix + lane * stride + _firstDepth, stride, lanes, valid, _depth, to);
            else GemmPacking.PackContiguousLanes(matrix + _firstDepth * stride + lane, stride, lanes, valid, _depth, to);
            first += count;
        }
    }

    /// <summary>Items are tiles of C: batches, in them columns of tiles, in them rows.</summary>
    private void MultiplyTiles(long first, long count)
    {
        float* products = stackalloc float[_kernel.Rows * _kernel.Columns + 16];
        products = (float*)(((nuint)products + 63) & ~(nuint)63);
        int tileRows = Ceiling(_rowPanels, _tileRowPanels), tileColumns = Ceiling(_columnPanels, _tileColumnPanels);
        for (long item = first; item < first + count; item++)
        {
            var (rest, tileRow) = Math.DivRem(item, tileRows);
            var (batch, tileColumn) = Math.DivRem(rest, tileColumns);
            int rowPanel = (int)tileRow * _tileRowPanels, columnPanel = (int)tileColumn * _tileColumnPanels;
            MultiplyTile(
                batch, rowPanel, Math.Min(rowPanel + _tileRowPanels, _rowPanels), columnPanel, Math.Min(columnPanel + _tileColumnPanels, _columnPanels), products);
        }
    }

    private void MultiplyTile(long batch, int rowPanel, int rowPanelEnd, int columnPanel, int columnPanelEnd, float* products)
    {
        float* a = _workspace + (PackedABatches == 1 ? 0 : batch) * _rowPanels * PanelElementsA;
        float* b = WorkspaceB + (PackedBBatches == 1 ? 0 : batch) * _columnPanels * PanelElementsB;
        long stride = _call.C.LeadingDimension;
        float* c = (float*)_call.C.Data.Address + (_firstBatch + batch) * _call.C.BatchStride;
        float beta = _firstDepth == 0 ? _call.Beta : 1;
        for (int i = rowPanel; i < rowPanelEnd; i++)
        {
            int row = _firstRow + i * _kernel.Rows, rows = Math.Min(_kernel.Rows, _rowEnd - row);
            for (int j = columnPanel; j < columnPanelEnd; j++)
            {
                int column = _firstColumn + j * _kernel.Columns, columns = Math.Min(_kernel.Columns, _columnEnd - column);
                _kernel.Multiply(_depth, a + i * PanelElementsA, b + j * PanelElementsB, products);
                Merge(products, _kernel.Columns, c + row * stride + column, stride, rows, columns, _call.Alpha, beta);
            }
        }
    }

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

    private static long Padded(int value, int multiple) => (long)Ceiling(value, multiple) * multiple;
}
