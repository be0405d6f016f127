using System.Runtime.CompilerServices;

namespace ClipCuda.Devices;

/// <summary>
/// One operand of a GEMM as the micro-kernels read it: panels of a few lanes (rows of op(A) or columns of op(B)), each in parts of K.
/// A panel is packed by the first thread that needs it, and those that need it meanwhile pack others or wait. A panel that is needed
/// once is packed into its thread's own cache; where few passes are made over them, and a kernel can read them, panels are read where they are.
/// </summary>
internal sealed unsafe class GemmPanels
{
    private const int Alignment = 16; // elements: a cache line

    // For each panel the number of the last block of work for which it was claimed (odd) or packed (even).
    private int[] _states = [];
    private int _claimed = -1;
    private float* _packed;
    private float* _data;
    private long _laneStride, _depthStride, _batchStride;
    private int _firstBatch;
    private int _firstDepth, _depthEnd, _partDepth, _parts;
    private int _firstLane, _laneEnd;
    private bool _pack, _once;

    /// <summary>Panels a matrix.</summary>
    public int Count { get; private set; }

    /// <summary>Elements that one thread packs and others may read, in this block of work.</summary>
    public long SharedElements { get; private set; }

    /// <summary>Lanes a panel; the last may have fewer.</summary>
    public int Lanes { get; private set; }

    /// <summary>Lanes that the last panel is packed with.</summary>
    public int EdgeLanes { get; private set; }

    /// <summary>Elements that packing a range needs at the most.</summary>
    public static long PackedElements(int lanes, int panelLanes, int depth, int parts) =>
        parts * (((long)lanes + panelLanes) * depth + ((long)lanes / panelLanes + 1) * Alignment);

    /// <summary>Says which operand; its lanes are rows in memory unless <paramref name="lanesAreColumns"/>.</summary>
    public void Describe(in GemmOperand operand, bool lanesAreColumns, int panelLanes, int edgeLanes, bool pack)
    {
        _data = (float*)operand.Data.Address;
        (_laneStride, _depthStride) = lanesAreColumns ? (1L, (long)operand.LeadingDimension) : (operand.LeadingDimension, 1L);
        _batchStride = operand.BatchStride;
        Lanes = panelLanes;
        EdgeLanes = edgeLanes;
        _pack = pack;
    }

    /// <summary>Begins a block of work: matrices from <paramref name="firstBatch"/> on, a range of lanes, a range of K in parts.</summary>
    public void Begin(int firstBatch, int firstLane, int laneEnd, int firstDepth, int depthEnd, int partDepth)
    {
        (_firstLane, _laneEnd, _firstDepth, _depthEnd, _partDepth) = (firstLane, laneEnd, firstDepth, depthEnd, partDepth);
        _firstBatch = firstBatch;
        Count = (laneEnd - firstLane - 1) / Lanes + 1;
        _parts = (depthEnd - firstDepth - 1) / partDepth + 1;
    }

    /// <summary>Says where to pack, and how many times each panel of this block of work is needed.</summary>
    /// <returns>Elements of the workspace that it takes.</returns>
    public long Place(float* workspace, int batches, int uses)
    {
        _packed = workspace;
        _once = uses == 1 && (batches == 1 || _batchStride != 0);
        SharedElements = 0;
        if (_once || (!_pack && !IsPartial)) return 0;
        int matrices = _batchStride == 0 ? 1 : batches, panels = checked(matrices * Count * _parts);
        if (panels > _states.Length)
        {
            _states = new int[Math.Max(panels, 2 * _states.Length)];
            _claimed = -1;
        }
        if (_claimed >= int.MaxValue - 3)
        {
            _states.AsSpan().Clear();
            _claimed = -1;
        }
        _claimed += 2;
        SharedElements = panels * PanelElements / (_pack ? 1 : Count);
        return panels * PanelElements;
    }

    /// <summary>Elements of a packed panel, in whole cache lines.</summary>
    public long PanelElements => ((long)_partDepth * Math.Max(Lanes, EdgeLanes) + Alignment - 1) / Alignment * Alignment;

    /// <summary>Packs those panels of a part that no thread has packed yet, and waits for those that another thread is packing.</summary>
    public void Prepare(int batch, int first, int end, int part)
    {
        if (_once) return;
        bool waiting = false;
        for (int panel = first; panel < end; panel++)
        {
            if (IsUnpacked(panel)) continue;
            ref int state = ref _states[Index(batch, panel, part)];
            int seen = Volatile.Read(ref state);
            if (seen < _claimed && Interlocked.CompareExchange(ref state, _claimed, seen) == seen)
            {
                Pack(batch, panel, part, Packed(batch, panel, part));
                Volatile.Write(ref state, _claimed + 1);
            }
            else if (seen <= _claimed)
            {
                waiting = true;
            }
        }
        if (waiting) Await(batch, first, end, part);
    }

    /// <summary>
    /// Where a panel begins; the strides are the elements from one k, and from one lane, to the next. A panel that is needed once is packed
    /// into the memory given, which is the calling thread's.
    /// </summary>
    public float* Panel(int batch, int panel, int part, float* own, out long stride, out long laneStride)
    {
        if (IsUnpacked(panel))
        {
            (stride, laneStride) = (_depthStride, _laneStride);
            return Source(batch, panel, part);
        }
        laneStride = 1;
        stride = panel == Count - 1 && IsPartial ? EdgeLanes : Lanes;
        if (!_once) return Packed(batch, panel, part);
        Pack(batch, panel, part, own);
        return own;
    }

    private void Pack(int batch, int panel, int part, float* to)
    {
        int valid = Math.Min(Lanes, _laneEnd - _firstLane - panel * Lanes), depth = Math.Min(_partDepth, _depthEnd - _firstDepth - part * _partDepth);
        GemmPacking.Pack(Source(batch, panel, part), _laneStride, _depthStride, valid == Lanes ? Lanes : EdgeLanes, valid, depth, to);
    }

    private bool IsPartial => (_laneEnd - _firstLane) % Lanes != 0;

    /// <summary>A panel that is not full would be read past the end of its operand.</summary>
    private bool IsUnpacked(int panel) => !_pack && (panel < Count - 1 || !IsPartial);

    private float* Source(int batch, int panel, int part) =>
        _data + (_firstBatch + batch) * _batchStride + (_firstLane + (long)panel * Lanes) * _laneStride + (_firstDepth + (long)part * _partDepth) * _depthStride;

    private int Index(int batch, int panel, int part) => ((_batchStride == 0 ? 0 : batch * Count) + panel) * _parts + part;

    private float* Packed(int batch, int panel, int part) => _packed + Index(batch, panel, part) * PanelElements;

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Await(int batch, int first, int end, int part)
    {
        for (int panel = first; panel < end; panel++)
        {
            if (IsUnpacked(panel)) continue;
            // Packing takes microseconds: give up the core only if the other thread seems to have lost its own.
            for (int spins = 0; Volatile.Read(ref _states[Index(batch, panel, part)]) <= _claimed; spins++)
            {
                if (spins < 1000) Thread.SpinWait(2);
                else Thread.Yield();
            }
        }
    }
}
