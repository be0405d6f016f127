namespace ClipCuda;

/// <summary>What random numbers are drawn for; each purpose has numbers of its own.</summary>
internal enum RandomPurpose : uint
{
    Initialization = 1,
    Order = 2,
    Crop = 3,
    Caption = 4,
    Pixels = 5,
    Shards = 6,
    ShuffleBuffer = 7,
    MadeUpImage = 8,
}

/// <summary>
/// Counter-based randomness: Philox 4×32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
/// The seed is the key; the counter is (draw, index, epoch, purpose). A stream is therefore found by what it is for, and does not depend
/// on threads, on what was drawn before, or on where a run was resumed. One stream holds 2³⁴ draws of 32 bits.
/// </summary>
internal sealed class Philox
{
    private const int Rounds = 10;
    private const uint Multiplier0 = 0xD2511F53, Multiplier1 = 0xCD9E8D57; // the paper's constants for 4×32
    private const uint Weyl0 = 0x9E3779B9, Weyl1 = 0xBB67AE85; // golden ratio, √3 − 1

    private (uint X0, uint X1, uint X2, uint X3) _block;
    private uint _nextBlock;
    private int _used = 4;
    private double _spareNormal = double.NaN;
    private ulong _seed;
    private RandomPurpose _purpose;
    private uint _epoch, _index;

    public Philox(ulong seed, RandomPurpose purpose, uint epoch = 0, uint index = 0) => (_seed, _purpose, _epoch, _index) = (seed, purpose, epoch, index);

    /// <summary>Becomes another stream, at its beginning, which takes no new memory.</summary>
    public Philox Begin(ulong seed, RandomPurpose purpose, uint epoch, uint index)
    {
        (_seed, _purpose, _epoch, _index) = (seed, purpose, epoch, index);
        (_nextBlock, _used, _spareNormal) = (0, 4, double.NaN);
        return this;
    }

    /// <summary>Goes to a draw of 32 bits of this stream.</summary>
    /// <param name="draw">How many come before it: a multiple of 4, as they come in blocks.</param>
    public Philox SkipTo(long draw)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(draw % 4, 0);
        (_nextBlock, _used, _spareNormal) = (checked((uint)(draw / 4)), 4, double.NaN);
        return this;
    }

    /// <summary>The function itself: ten rounds over a counter of four words under a key of two.</summary>
    public static (uint X0, uint X1, uint X2, uint X3) Block((uint X0, uint X1, uint X2, uint X3) counter, (uint K0, uint K1) key)
    {
        var (x0, x1, x2, x3) = counter;
        var (k0, k1) = key;
        for (int round = 0; round < Rounds; round++)
        {
            ulong product0 = (ulong)Multiplier0 * x0, product1 = (ulong)Multiplier1 * x2;
            (x0, x1, x2, x3) = ((uint)(product1 >> 32) ^ x1 ^ k0, (uint)product1, (uint)(product0 >> 32) ^ x3 ^ k1, (uint)product0);
            k0 += Weyl0;
            k1 += Weyl1;
        }
        return (x0, x1, x2, x3);
    }

    /// <summary>32 random bits.</summary>
    public uint NextUInt32()
    {
        if (_used == 4)
        {
            _block = Block((_nextBlock++, _index, _epoch, (uint)_purpose), ((uint)_seed, (uint)(_seed >> 32)));
            _used = 0;
        }
        return _used++ switch
        {
            0 => _block.X0,
            1 => _block.X1,
            2 => _block.X2,
            _ => _block.X3,
        };
    }

    /// <summary>Uniform in [0, 1): a multiple of 2⁻²⁴, so that every value is exact in float32.</summary>
    public float Uniform() => (NextUInt32() >> 8) * (1f / (1 << 24));

    /// <summary>Uniform in [low, high).</summary>
    public double Uniform(double low, double high) => low + (high - low) * (NextUInt32() * Math.ScaleB(1, -32));

    /// <summary>Uniform in 0 … n − 1 without bias, n ≥ 1 (Lemire, "Fast random integer generation in an interval", 2019).</summary>
    public int Below(int n)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(n);
        uint range = (uint)n, rejected = (0 - range) % range;
        ulong product;
        do product = (ulong)NextUInt32() * range;
        while ((uint)product < rejected);
        return (int)(product >> 32);
    }

    /// <summary>Standard normal, by Box and Muller's transform in float64; at most 6.7 in magnitude.</summary>
    public double Normal()
    {
        if (!double.IsNaN(_spareNormal))
        {
            double spare = _spareNormal;
            _spareNormal = double.NaN;
            return spare;
        }
        double radius = Math.Sqrt(-2 * Math.Log((NextUInt32() + 1.0) * Math.ScaleB(1, -32)));
        var (sine, cosine) = Math.SinCos(2 * Math.PI * (NextUInt32() * Math.ScaleB(1, -32)));
        _spareNormal = radius * sine;
        return radius * cosine;
    }

    /// <summary>Puts items in random order (Fisher and Yates).</summary>
    public void Shuffle(Span<int> items)
    {
        for (int i = items.Length - 1; i > 0; i--)
        {
            int j = Below(i + 1);
            (items[i], items[j]) = (items[j], items[i]);
        }
    }
}
