using System.Numerics;

namespace ClipCuda.Ptx;

/// <summary>A set of small numbers, as bits.</summary>
internal sealed class BitSet(int size)
{
    private readonly ulong[] _words = new ulong[(size + 63) / 64];

    public bool this[int i] => (_words[i >> 6] >> i & 1) != 0;

    public bool IsEmpty => !_words.AsSpan().ContainsAnyExcept(0UL);

    public bool Add(int i)
    {
        ulong before = _words[i >> 6];
        _words[i >> 6] |= 1UL << i;
        return before != _words[i >> 6];
    }

    public void Remove(int i) => _words[i >> 6] &= ~(1UL << i);

    /// <summary>Adds all of another; whether that changed anything.</summary>
    public bool UnionWith(BitSet other)
    {
        bool changed = false;
        for (int w = 0; w < _words.Length; w++)
        {
            ulong next = _words[w] | other._words[w];
            changed |= next != _words[w];
            _words[w] = next;
        }
        return changed;
    }

    public void ExceptWith(BitSet other)
    {
        for (int w = 0; w < _words.Length; w++) _words[w] &= ~other._words[w];
    }

    public void CopyFrom(BitSet other) => other._words.CopyTo(_words, 0);

    /// <summary>The numbers, least first.</summary>
    public IEnumerable<int> Items()
    {
        foreach (int item in this) yield return item;
    }

    public Enumerator GetEnumerator() => new(_words);

    public struct Enumerator(ulong[] words)
    {
        private int _word = -1;
        private ulong _left;

        public int Current { get; private set; }

        public bool MoveNext()
        {
            while (_left == 0)
            {
                if (++_word == words.Length) return false;
                _left = words[_word];
            }
            Current = _word * 64 + BitOperations.TrailingZeroCount(_left);
            _left &= _left - 1;
            return true;
        }
    }
}
