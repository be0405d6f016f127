using ClipCuda.Model;

namespace ClipCuda.Tests.Model;

public sealed class PositionalEmbeddingTests
{
    /// <summary>
    /// The definition, written for reading: every output is the mean of all inputs, weighted with the product of two cubics (Keys 1981, a = −0.5) of the
    /// distance in units of the filter, whose support is 2 input cells, or 2 output cells if the grid shrinks.
    /// </summary>
    [TestCase(7, 9)]
    [TestCase(7, 14)]
    [TestCase(14, 7)]
    [TestCase(16, 5)]
    [TestCase(24, 16)]
    [TestCase(3, 1)]
    [TestCase(1, 4)]
    public void Is_the_weighted_mean_of_the_formula(int from, int to)
    {
        const int Width = 3;
        var random = new Random(from * 100 + to);
        float[] grid = [.. Enumerable.Range(0, from * from * Width).Select(_ => Numbers.Normal(random))];
        var expected = new double[to * to * Width];
        for (int i = 0; i < expected.Length; i++)
        {
            int channel = i % Width, x = i / Width % to, y = i / Width / to;
            double sum = 0, weights = 0;
            for (int row = 0; row < from; row++)
            {
                for (int column = 0; column < from; column++)
                {
                    double weight = Weight(row, y) * Weight(column, x);
                    weights += weight;
                    sum += weight * grid[(row * from + column) * Width + channel];
                }
            }
            expected[i] = sum / weights;
        }
        // Sums are float64; what is left is one rounding to float32, 2^-24 of the value.
        Numbers.AssertClose(PositionalEmbedding.ResizeGrid(grid, from, to, Width), expected, 6e-8, 1e-12, $"{from} to {to}");

        double Weight(int input, int output)
        {
            double scale = (double)from / to, distance = Math.Abs((input + 0.5 - (output + 0.5) * scale) / Math.Max(scale, 1));
            return distance < 1 ? 1.5 * Math.Pow(distance, 3) - 2.5 * distance * distance + 1
                : distance < 2 ? -0.5 * Math.Pow(distance, 3) + 2.5 * distance * distance - 4 * distance + 2
                : 0;
        }
    }

    [Test]
    public void The_same_size_is_the_same_bits_and_a_constant_stays_one()
    {
        float[] grid = [.. Enumerable.Range(0, 7 * 7 * 2).Select(i => (float)Math.Sin(i))];
        Numbers.AssertSameBits(PositionalEmbedding.ResizeGrid(grid, 7, 7, 2), grid, "same size");
        float[] constant = [.. Enumerable.Repeat(0.3f, 49)];
        // Weights sum to 1 within a few units of 2^-53, far below float32.
        Assert.That(PositionalEmbedding.ResizeGrid(constant, 7, 12, 1), Is.All.EqualTo(0.3f));
        Assert.That(PositionalEmbedding.ResizeGrid(constant, 7, 3, 1), Is.All.EqualTo(0.3f));
    }
}
