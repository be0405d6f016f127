using System.Runtime.InteropServices;
using ClipCuda.Devices;
using ClipCuda.Ops;

namespace ClipCuda.Training;

/// <summary>
/// Which pairs of a batch show the same picture or say the same: equal keys. Without <c>--mask-duplicates</c> such pairs count as negatives of each other,
/// though each is as right for the other's caption or picture as its own.
/// </summary>
internal sealed class PairKeys : IDisposable
{
    private readonly DeviceBuffer _buffer;

    public PairKeys(Device device, int pairs)
    {
        _buffer = device.Allocate(2L * pairs * sizeof(int), "keys of pairs");
        Tensor = new Tensor(device, _buffer.Start, DataType.Int32, 2, pairs);
    }

    /// <summary>As <see cref="Of"/> gives them, where recorded work finds those of each batch.</summary>
    public Tensor Tensor { get; }

    /// <inheritdoc cref="Of" path="/param"/>
    public void Upload(ReadOnlySpan<int> samples, ReadOnlySpan<int> tokens) => Tensor.Upload(Of(samples, tokens, Tensor.Shape[1]));

    public void Dispose() => _buffer.Dispose();

    /// <summary>Keys of a batch, [2, pairs]: first those of the pictures, then those of the captions.</summary>
    /// <param name="samples">Which picture of the data each one is; empty: all are different.</param>
    /// <param name="tokens">Caption after caption, as they are after truncation: what is equal there is equal for the model.</param>
    public static int[] Of(ReadOnlySpan<int> samples, ReadOnlySpan<int> tokens, int pairs)
    {
        var keys = new int[2 * pairs];
        var captions = new Dictionary<string, int>(StringComparer.Ordinal);
        int context = tokens.Length / pairs;
        for (int i = 0; i < pairs; i++)
        {
            keys[i] = samples.IsEmpty ? i : samples[i];
            string caption = new(MemoryMarshal.Cast<int, char>(tokens.Slice(i * context, context)));
            captions.TryAdd(caption, i);
            keys[pairs + i] = captions[caption];
        }
        return keys;
    }
}
