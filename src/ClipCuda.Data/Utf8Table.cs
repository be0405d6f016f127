using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace ClipCuda.Data;

/// <summary>Memory that texts are written into, one behind the other; it neither grows nor moves.</summary>
/// <param name="least">The bytes there must be room for.</param>
internal sealed class Utf8Block(int least)
{
    /// <summary>The size of a block that need not hold more.</summary>
    public const int CommonBytes = 4 << 20;

    private const int PageBytes = 4096;

    public byte[] Bytes { get; } = least == 0 ? [] : GC.AllocateUninitializedArray<byte>(Math.Max(least, CommonBytes));

    /// <summary>A block made by another thread, which also has the system give it its memory: that takes as long as writing all of it.</summary>
    public static Task<Utf8Block> MakeAhead() => Task.Run(() =>
    {
        var block = new Utf8Block(CommonBytes);
        for (int at = 0; at < block.Bytes.Length; at += PageBytes) block.Bytes[at] = 0;
        return block;
    });

    /// <summary>Bytes that are written.</summary>
    public int Used { get; private set; }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool HasRoom(int bytes) => bytes <= Bytes.Length - Used;

    /// <summary>Writes a text and a byte behind it, for which there is room.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Append(ReadOnlySpan<byte> text, byte end)
    {
        text.CopyTo(Bytes.AsSpan(Used));
        Bytes[Used + text.Length] = end;
        Used += text.Length + 1;
    }
}

/// <summary>Many short texts as UTF-8, in blocks of memory: eight bytes a text beside its own. Blocks are never copied, so that growing takes no second room.</summary>
/// <param name="expected">About how many there will be.</param>
internal sealed class Utf8Table(int expected = 0)
{
    /// <summary>The longest text there is room for, in bytes.</summary>
    public const int MostBytes = 1 << 20;

    private const int LengthBits = 21;

    private readonly List<Utf8Block> _blocks = [];
    private readonly List<ulong> _places = new(expected); // where it starts, as if all blocks had the common size, and its length
    private Utf8Block _own = new(0); // what texts are copied into
    private int _ownIndex, _lastIndex = -1;

    public int Count => _places.Count;

    public ReadOnlySpan<byte> this[int index]
    {
        get
        {
            ulong place = _places[index];
            ulong start = place >> LengthBits;
            return _blocks[(int)(start / Utf8Block.CommonBytes)].Bytes.AsSpan((int)(start % Utf8Block.CommonBytes), (int)(place & ((1 << LengthBits) - 1)));
        }
    }

    public string Text(int index) => Encoding.UTF8.GetString(this[index]);

    /// <summary>Reads where a text lies, and nothing of it.</summary>
    public ulong PlaceOf(int index) => _places[index];

    /// <summary>Reads the first byte of a text, or what stands behind an empty one.</summary>
    public byte StartOf(int index)
    {
        ulong start = _places[index] >> LengthBits;
        return _blocks[(int)(start / Utf8Block.CommonBytes)].Bytes[(int)(start % Utf8Block.CommonBytes)];
    }

    /// <summary>Adds a copy of a text.</summary>
    /// <param name="text">At most <see cref="MostBytes"/>.</param>
    public void Add(ReadOnlySpan<byte> text)
    {
        if (!_own.HasRoom(text.Length + 1))
        {
            _own = new Utf8Block(text.Length + 1);
            _ownIndex = _blocks.Count;
            _blocks.Add(_own);
        }
        int start = _own.Used;
        _own.Append(text, 0);
        Add(_ownIndex, start, text.Length);
    }

    /// <summary>Adds a text where it lies.</summary>
    /// <param name="block">Best the same as before.</param>
    /// <param name="place">Of at most <see cref="MostBytes"/>, that begins within <see cref="Utf8Block.CommonBytes"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Add(Utf8Block block, Range place)
    {
        if (_lastIndex < 0 || _blocks[_lastIndex] != block)
        {
            _lastIndex = _blocks.Count;
            _blocks.Add(block);
        }
        Add(_lastIndex, place.Start.Value, place.End.Value - place.Start.Value);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Add(int block, int start, int length)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, MostBytes);
        _places.Add(((ulong)block * Utf8Block.CommonBytes + (ulong)start) << LengthBits | (uint)length);
    }
}

/// <summary>
/// The distinct texts of a <see cref="Utf8Table"/>: finds a text's index, or gives it the next. As long as texts come in ascending order, which those of
/// files often do, one look at the last says all; from the first that does not on, open addressing over hashes.
/// </summary>
/// <param name="expected">About how many there will be; growing moves all of them.</param>
internal sealed class Utf8Index(Utf8Table texts, int expected = 0)
{
    private const int LeastSlots = 1024, MostSlots = 1 << 22;

    private ulong[] _slots = []; // hash, index + 1; 0 for none; no slots as long as texts ascend
    private ulong _fetched; // read by nothing: it keeps the loads of Fetch from being optimised away

    /// <summary>Whether texts are found by hashes.</summary>
    public bool IsHashed => _slots.Length > 0;

    /// <summary>
    /// Brings the slots of some hashes into the cache, then where the texts that they most likely stand for lie, then those texts. The loads of each of
    /// the three do not depend on one another, so the processor waits for many at a time; in <see cref="Find(Utf8Block, Range, int?)"/> it waits for each
    /// by itself, which is most of the time that a million texts take.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Fetch(ReadOnlySpan<int> hashes)
    {
        ulong all = 0;
        foreach (int hash in hashes) all |= _slots[SlotOf(hash)];
        foreach (int hash in hashes) if (Likely(hash) is >= 0 and var index) all |= texts.PlaceOf(index);
        foreach (int hash in hashes) if (Likely(hash) is >= 0 and var index) all |= texts.StartOf(index);
        _fetched = all;
    }

    /// <summary>Returns the text's index, and whether it was new and a copy of it has been added.</summary>
    public (int Index, bool IsNew) Find(ReadOnlySpan<byte> text) => Find(text, null, null, default);

    /// <summary>Returns the index of a text that lies in a block, and whether it was new and has been added where it lies.</summary>
    /// <param name="hash">The text's <see cref="Hash"/>, if that is known.</param>
    public (int Index, bool IsNew) Find(Utf8Block block, Range place, int? hash) => Find(block.Bytes.AsSpan(place), hash, block, place);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private (int Index, bool IsNew) Find(ReadOnlySpan<byte> text, int? known, Utf8Block? block, Range place)
    {
        if (_slots.Length == 0)
        {
            int order = texts.Count == 0 ? 1 : text.SequenceCompareTo(texts[texts.Count - 1]);
            if (order == 0) return (texts.Count - 1, false);
            if (order > 0)
            {
                Add(text, block, place);
                return (texts.Count - 1, true);
            }
            HashAll();
        }
        int hash = known ?? Hash(text), slot = SlotOf(hash);
        for (; _slots[slot] != 0; slot = (slot + 1) & (_slots.Length - 1))
        {
            int index = (int)_slots[slot] - 1;
            if ((int)(_slots[slot] >> 32) == hash && texts[index].SequenceEqual(text)) return (index, false);
        }
        Add(text, block, place);
        _slots[slot] = (ulong)(uint)hash << 32 | (uint)texts.Count;
        if (texts.Count * 3L > _slots.Length * 2L) Grow();
        return (texts.Count - 1, true);
    }

    /// <summary>Multiplies by the golden ratio eight bytes at a time (Knuth, The Art of Computer Programming, 6.4); what is left over comes last.</summary>
    public static int Hash(ReadOnlySpan<byte> text)
    {
        const ulong Golden = 0x9E3779B97F4A7C15;
        ulong hash = (ulong)text.Length;
        for (; text.Length >= sizeof(ulong); text = text[sizeof(ulong)..]) hash = (BitOperations.RotateLeft(hash, 23) ^ MemoryMarshal.Read<ulong>(text)) * Golden;
        ulong rest = 0;
        foreach (byte part in text) rest = rest << 8 | part;
        hash = (BitOperations.RotateLeft(hash, 23) ^ rest) * Golden;
        return (int)(hash ^ hash >> 32);
    }

    /// <summary>The text of that hash, if the first slot to look at has it; else −1.</summary>
    private int Likely(int hash)
    {
        ulong entry = _slots[SlotOf(hash)];
        return (int)(entry >> 32) == hash ? (int)entry - 1 : -1;
    }

    private int SlotOf(int hash) => hash & (_slots.Length - 1);

    private void Add(ReadOnlySpan<byte> text, Utf8Block? block, Range place)
    {
        if (block is null) texts.Add(text);
        else texts.Add(block, place);
    }

    private void HashAll()
    {
        _slots = new ulong[(int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(Math.Clamp(expected * 3L / 2, LeastSlots, MostSlots), texts.Count * 2L))];
        for (int i = 0; i < texts.Count; i++) Put((ulong)(uint)Hash(texts[i]) << 32 | (uint)(i + 1));
    }

    private void Grow()
    {
        ulong[] old = _slots;
        _slots = new ulong[old.Length * 2];
        foreach (ulong entry in old)
        {
            if (entry != 0) Put(entry);
        }
    }

    private void Put(ulong entry)
    {
        int slot = SlotOf((int)(entry >> 32));
        while (_slots[slot] != 0) slot = (slot + 1) & (_slots.Length - 1);
        _slots[slot] = entry;
    }
}
