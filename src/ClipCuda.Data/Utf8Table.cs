using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace ClipCuda.Data;

/// <summary>
/// Many short texts as UTF-8, one behind the other in blocks of memory: eight bytes a text beside its own. Blocks are never copied, so that
/// growing takes no second room.
/// </summary>
/// <param name="expected">About how many there will be.</param>
internal sealed class Utf8Table(int expected = 0)
{
    /// <summary>The longest text there is room for, in bytes.</summary>
    public const int MostBytes = 1 << 20;

    private const int BlockBytes = 4 << 20, LengthBits = 21;

    private readonly List<byte[]> _blocks = [];
    private readonly List<ulong> _places = new(expected); // where it starts, counted over all blocks, and its length
    private int _used = BlockBytes;

    public int Count => _places.Count;

    public ReadOnlySpan<byte> this[int index]
    {
        get
        {
            ulong place = _places[index];
            long start = (long)(place >> LengthBits);
            return _blocks[(int)(start / BlockBytes)].AsSpan((int)(start % BlockBytes), (int)(place & ((1 << LengthBits) - 1)));
        }
    }

    public string Text(int index) => Encoding.UTF8.GetString(this[index]);

    /// <param name="text">At most <see cref="MostBytes"/>.</param>
    public void Add(ReadOnlySpan<byte> text)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(text.Length, MostBytes, nameof(text));
        if (_used + text.Length > BlockBytes)
        {
            _blocks.Add(GC.AllocateUninitializedArray<byte>(BlockBytes));
            _used = 0;
        }
        text.CopyTo(_blocks[^1].AsSpan(_used));
        _places.Add(((ulong)(_blocks.Count - 1) * BlockBytes + (ulong)_used) << LengthBits | (uint)text.Length);
        _used += text.Length;
    }
}

/// <summary>The distinct texts of a <see cref="Utf8Table"/>: finds a text's index, or gives it the next. Open addressing over hashes.</summary>
/// <param name="expected">About how many there will be; growing moves all of them.</param>
internal sealed class Utf8Index(Utf8Table texts, int expected = 0)
{
    private const int LeastSlots = 1024, MostSlots = 1 << 22;

    private ulong[] _slots = new ulong[(int)BitOperations.RoundUpToPowerOf2((uint)Math.Clamp(expected * 3L / 2, LeastSlots, MostSlots))]; // hash, index + 1; 0 for none
    private ulong _fetched; // read by nothing: it keeps the loads of Fetch from being optimised away

    /// <summary>
    /// Brings the slots of some hashes into the cache. These loads do not depend on one another, so the processor waits for many at a time; in
    /// <see cref="Find"/> it waits for each by itself, which is most of the time that a million texts take.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Fetch(ReadOnlySpan<int> hashes)
    {
        ulong all = 0;
        foreach (int hash in hashes) all |= _slots[SlotOf(hash)];
        _fetched = all;
    }

    /// <summary>Returns the text's index, and whether it was new and has been added.</summary>
    /// <param name="hash">The text's <see cref="Hash"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public (int Index, bool IsNew) Find(ReadOnlySpan<byte> text, int hash)
    {
        int slot = SlotOf(hash);
        for (; _slots[slot] != 0; slot = (slot + 1) & (_slots.Length - 1))
        {
            int index = (int)_slots[slot] - 1;
            if ((int)(_slots[slot] >> 32) == hash && texts[index].SequenceEqual(text)) return (index, false);
        }
        texts.Add(text);
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

    private int SlotOf(int hash) => hash & (_slots.Length - 1);

    private void Grow()
    {
        ulong[] old = _slots;
        _slots = new ulong[old.Length * 2];
        foreach (ulong entry in old)
        {
            if (entry == 0) continue;
            int slot = SlotOf((int)(entry >> 32));
            while (_slots[slot] != 0) slot = (slot + 1) & (_slots.Length - 1);
            _slots[slot] = entry;
        }
    }
}
