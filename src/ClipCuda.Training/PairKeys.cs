using System.Runtime.InteropServices;

namespace ClipCuda.Training;

/// <summary>
/// Which pairs of a batch show the same picture or say the same: equal keys. Without <c>--mask-duplicates</c> such pairs count as negatives of each other,
/// though each is as right for the other's caption or picture as its own.
/// </summary>
internal static class PairKeys
{
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
