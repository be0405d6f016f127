using System.Runtime.Intrinsics;

namespace ClipCuda.Ptx;

/// <summary>
/// Where everything lies in a group's register file: virtual registers share slots when their lives do not overlap (linear scan),
/// so that a kernel's file stays in the cache; behind them immediates, once each, and the special registers in use.
/// </summary>
internal sealed class RegisterFile
{
    // Whole, because they are looked up for every block that runs.
    private static readonly string[] BlockSize = ["%ntid.x", "%ntid.y", "%ntid.z"], GridSize = ["%nctaid.x", "%nctaid.y", "%nctaid.z"], BlockIndex = ["%ctaid.x", "%ctaid.y", "%ctaid.z"];

    private readonly PtxEntry _entry;
    private readonly int[] _offsets;
    private readonly Dictionary<(ulong Bits, Width Width), int> _constants = [];
    private readonly Dictionary<string, int> _specials = new(StringComparer.Ordinal);

    private readonly Dictionary<int, int> _locals = [];
    private int _localStart = -1;

    public RegisterFile(PtxEntry entry, (int First, int Last)[] lives)
    {
        _entry = entry;
        _offsets = new int[lives.Length];
        Sink = Grow(Width.W64);
        var free = new Dictionary<Width, Stack<int>> { [Width.W32] = [], [Width.W64] = [] };
        var active = new PriorityQueue<int, int>();
        foreach (int register in Enumerable.Range(0, lives.Length).Where(r => lives[r].First >= 0).OrderBy(r => lives[r].First))
        {
            // A slot is free again only after the last reader: an instruction never writes where it still reads.
            while (active.TryPeek(out int done, out int last) && last < lives[register].First)
            {
                active.Dequeue();
                free[WidthOf(done)].Push(_offsets[done]);
            }
            _offsets[register] = free[WidthOf(register)].TryPop(out int slot) ? slot : Grow(WidthOf(register));
            active.Enqueue(register, lives[register].Last);
        }
    }

    public int Bytes { get; private set; }

    /// <summary>Where results go that nobody reads.</summary>
    public int Sink { get; }

    public Width WidthOf(int register) => _entry.Registers[register].Bits == 64 ? Width.W64 : Width.W32;

    public int Offset(int register) => _offsets[register];

    public int Constant(ulong bits, Width width)
    {
        if (width == Width.W32) bits = (uint)bits;
        if (!_constants.TryGetValue((bits, width), out int offset)) _constants.Add((bits, width), offset = Grow(width));
        return offset;
    }

    /// <summary>The slot of a special register, or null if it is not known.</summary>
    public int? Special(string name)
    {
        bool known = name is "%laneid" or "%warpid" or "%lanemask_eq" or "%lanemask_lt" or "%lanemask_le" or "%lanemask_gt" or "%lanemask_ge"
            || (name.Split('.') is ["%tid" or "%ntid" or "%ctaid" or "%nctaid", "x" or "y" or "z"]);
        if (!known) return null;
        if (!_specials.TryGetValue(name, out int offset)) _specials.Add(name, offset = Grow(Width.W32));
        return offset;
    }

    /// <summary>A slot with each lane's address of a local variable. The memory itself, lane after lane, is part of the file.</summary>
    public int Local(int offset)
    {
        if (_localStart < 0)
        {
            _localStart = Bytes;
            Bytes += Lanes.Count * LocalStride;
        }
        if (!_locals.TryGetValue(offset, out int slot)) _locals.Add(offset, slot = Grow(Width.W64));
        return slot;
    }

    /// <summary>Where in a file local memory begins, and its size; (0, 0) if there is none.</summary>
    public (int Start, int Bytes) LocalMemory => _localStart < 0 ? (0, 0) : (_localStart, Lanes.Count * LocalStride);

    /// <summary>From one lane's local memory to the next.</summary>
    public int LocalStride => (_entry.LocalBytes + 63) / 64 * 64;

    /// <summary>Writes the immediates and the addresses of local memory into a new file.</summary>
    public unsafe void FillConstants(byte* file)
    {
        foreach (var (offset, slot) in _locals)
        {
            for (int lane = 0; lane < Lanes.Count; lane++) ((byte**)(file + slot))[lane] = file + _localStart + lane * LocalStride + offset;
        }
        foreach (var ((bits, width), offset) in _constants)
        {
            for (int o = 0; o < (int)width; o += 64)
                Lanes.Store(file + offset + o, width == Width.W64 ? Vector512.Create(bits) : Vector512.Create((uint)bits).AsUInt64());
        }
    }

    /// <summary>Writes what is the same for a whole launch: thread indices, and the sizes of grid and block.</summary>
    public unsafe void FillLaunch(byte* file, int group, in LaunchShape shape) => FillThreads(file, group * Lanes.Count, shape);

    /// <summary>The same for lanes that begin at any thread.</summary>
    public unsafe void FillThreads(byte* file, int firstThread, in LaunchShape shape)
    {
        foreach (var (name, offset) in _specials)
        {
            uint* lanes = (uint*)(file + offset);
            for (int lane = 0; lane < Lanes.Count; lane++)
            {
                int thread = firstThread + lane, laneId = lane & 31;
                lanes[lane] = name switch
                {
                    "%tid.x" => (uint)(thread % shape.Block.X),
                    "%tid.y" => (uint)(thread / shape.Block.X % shape.Block.Y),
                    "%tid.z" => (uint)(thread / shape.Block.X / shape.Block.Y),
                    "%laneid" => (uint)laneId,
                    "%warpid" => (uint)(thread / 32),
                    "%lanemask_eq" => 1u << laneId,
                    "%lanemask_lt" => (1u << laneId) - 1,
                    "%lanemask_le" => uint.MaxValue >> (31 - laneId),
                    "%lanemask_gt" => ~(uint.MaxValue >> (31 - laneId)),
                    "%lanemask_ge" => ~((1u << laneId) - 1),
                    _ => 0,
                };
            }
        }
        FillTriple(file, BlockSize, shape.Block.X, shape.Block.Y, shape.Block.Z);
        FillTriple(file, GridSize, shape.Grid.X, shape.Grid.Y, shape.Grid.Z);
    }

    /// <summary>Writes the index of the block about to run.</summary>
    public unsafe void FillBlock(byte* file, int x, int y, int z) => FillTriple(file, BlockIndex, x, y, z);

    private unsafe void FillTriple(byte* file, string[] names, int x, int y, int z)
    {
        for (int i = 0; i < 3; i++)
        {
            if (!_specials.TryGetValue(names[i], out int offset)) continue;
            var value = Vector512.Create(i == 0 ? x : i == 1 ? y : z);
            for (int o = 0; o < Lanes.Bytes32; o += 64) Lanes.Store(file + offset + o, value);
        }
    }

    private int Grow(Width width)
    {
        int offset = Bytes;
        Bytes += (int)width;
        return offset;
    }
}
