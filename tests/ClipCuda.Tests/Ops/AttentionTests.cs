using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class AttentionTests
{
    // Scores are chains of D fused multiply-adds, D·2^-24 of |q||k|·scale ≤ 4, which exp turns into a relative error of p.
    private const double Forward = 1e-5;

    // ds = p·(dp − delta) subtracts numbers of a size, each to the accuracy above.
    private const double Gradient = 4e-5;

    /// <summary>Around the tiles of 32 other rows, the 8 own rows of a warp, and the 96 forward and 64 backward of a block.</summary>
    [Test]
    public void Matches_the_reference_at_any_length([Values(1, 2, 7, 8, 9, 15, 17, 25, 31, 32, 33, 63, 64, 65, 77, 97, 121)] int sequence, [Values(12, 32)] int headWidth, [Values] bool causal) =>
        Check(batch: 2, sequence, heads: 2, headWidth, causal, scale: 1);

    /// <summary>The same for heads wider than 32, of which a warp has 6 own rows, a block 72 forward and 48 backward.</summary>
    [Test]
    public void Matches_the_reference_around_the_tiles_of_wide_heads([Values(5, 6, 7, 12, 13, 35, 47, 48, 49, 72, 73, 96)] int sequence, [Values(34, 64)] int headWidth, [Values] bool causal) =>
        Check(batch: 1, sequence, heads: 2, headWidth, causal, scale: 1);

    /// <summary>And for those wider than 64: 4, 32 and 8.</summary>
    [Test]
    public void Matches_the_reference_around_the_tiles_of_the_widest_heads([Values(3, 4, 5, 7, 8, 9, 17, 31, 32, 33)] int sequence, [Values(66, 128)] int headWidth, [Values] bool causal) =>
        Check(batch: 1, sequence, heads: 2, headWidth, causal, scale: 1);

    [Test]
    public void Matches_the_reference_at_any_head_width([Values(1, 16, 24, 31, 32, 33, 40, 63, 64, 65, 80, 97, 127, 128)] int headWidth, [Values] bool causal) =>
        Check(batch: 2, sequence: 35, heads: 2, headWidth, causal, scale: 1);

    /// <summary>Of a tile that has fewer rows than 32, or columns than a multiple of four, the rest is cleared.</summary>
    [Test]
    public void Matches_the_reference_where_tiles_are_not_full([Values(3, 32, 34)] int sequence, [Values(21, 28, 53, 60, 85, 92)] int headWidth, [Values] bool causal) =>
        Check(batch: 1, sequence, heads: 1, headWidth, causal, scale: 1);

    [Test]
    public void Large_scores_do_not_overflow([Values(16, 32, 34, 64, 66, 128)] int headWidth, [Values] bool causal) => Check(batch: 1, sequence: 40, heads: 1, headWidth, causal, scale: 6);

    /// <summary>One key in the first or the second tile scores more where all others score 0: e^130 is no float, e^-130 is 0, e^-5 and e^-1.04 weigh.</summary>
    [Test]
    public void One_key_may_outweigh_all_others([Values(3, 35)] int large, [Values(1.04f, 5, 130)] float score, [Values(12, 32, 40, 64, 80, 128)] int headWidth, [Values] bool causal)
    {
        const int Sequence = 40;
        var random = new Random(large);
        var qkv = new float[Sequence * 3 * headWidth];
        for (int row = 0; row < Sequence; row++)
        {
            for (int d = 0; d < headWidth; d++)
            {
                qkv[row * 3 * headWidth + d] = 1;
                qkv[(row * 3 + 1) * headWidth + d] = row == large ? score / MathF.Sqrt(headWidth) : 0;
                qkv[(row * 3 + 2) * headWidth + d] = Numbers.Normal(random);
            }
        }
        new OpTest
        {
            Inputs = [new OpInput("qkv", [1, Sequence, 3 * headWidth], OpInputKind.Activation, Values: qkv)],
            Op = (tape, t) => Attention.Forward(tape, t[0], heads: 1, causal),
            Reference = x => Reference(x[0], 1, Sequence, 1, headWidth, causal),
            OutputShape = [1, Sequence, headWidth],
            ForwardTolerance = Forward,
            GradientTolerance = Gradient,
            // The gradient of a query is (dp − delta) · k, in which the difference is D·2^-24 of rounding, and k the large key.
            Floor = score * Math.Sqrt(headWidth) * Math.ScaleB(1, -22),
        }.Run();
    }

    /// <summary>With scores of 0, p = 1/S = exp(−log S). The gradient's column d comes from query d alone.</summary>
    [Test]
    [OnEveryDevice]
    public void Equal_scores_weigh_equally([Values(31, 32, 63, 64, 127, 128)] int headWidth)
    {
        for (int sequence = 1; sequence <= Math.Min(32, headWidth); sequence++)
        {
            using var device = OpDevices.Open("cpu:check", 1);
            using var tape = new Tape(device);
            float[] gradient = [];
            var qkv = tape.Allocate(1, sequence, 3 * headWidth);
            qkv.Clear();
            tape.Record(qkv, () => gradient = tape.GradientOf(qkv).ToArray());
            var y = Attention.Forward(tape, qkv, heads: 1, causal: false);
            Assert.That(y.ToArray(), Is.All.Zero);
            var cotangent = new float[sequence * headWidth];
            for (int query = 0; query < sequence; query++) cotangent[query * headWidth + query] = 1;
            tape.Backward(y, cotangent);
            for (int i = 0; i < gradient.Length; i++)
            {
                int part = i / headWidth % 3, d = i % headWidth;
                double expected = part == 2 && d < sequence ? 1.0 / sequence : 0;
                // log to 0.85 ulp of at most 3.5, exp of that to 0.87 ulp.
                Assert.That(gradient[i], Is.EqualTo(expected).Within(expected * 4e-7), $"sequence {sequence}, element {i}");
            }
        }
    }

    /// <summary>
    /// The shortest sequences that leave one key to the last of a block's tiles in the backward. Queries are 0, of keys and values the last alone is not: p = 1/S
    /// of every key, and the gradient of a query is p·(1 − p) times the last key over √D.
    /// </summary>
    [Test]
    [OnEveryDevice]
    public void A_key_that_has_a_tile_to_itself_moves_every_query([Values(31, 32, 63, 64, 127, 128)] int headWidth)
    {
        int sequence = headWidth <= 32 ? 7 * 64 + 1 : headWidth <= 64 ? 7 * 48 + 1 : 8 + 1;
        using var device = OpDevices.Open("cpu:check", 1);
        using var tape = new Tape(device);
        float[] gradient = [];
        var values = new float[sequence * 3 * headWidth];
        values[(3 * (sequence - 1) + 1) * headWidth] = MathF.Sqrt(headWidth);
        values[(3 * (sequence - 1) + 2) * headWidth] = 1;
        var qkv = tape.Allocate(1, sequence, 3 * headWidth);
        qkv.Upload(values);
        tape.Record(qkv, () => gradient = tape.GradientOf(qkv).ToArray());
        var y = Attention.Forward(tape, qkv, heads: 1, causal: false);
        var cotangent = new float[sequence * headWidth];
        for (int query = 0; query < sequence; query++) cotangent[query * headWidth] = 1;
        tape.Backward(y, cotangent);
        for (int query = 0; query < sequence; query++)
        {
            for (int d = 0; d < headWidth; d++)
            {
                double p = 1.0 / sequence, expected = d == 0 ? p * (1 - p) : 0;
                // log2 S < 9 is off by two ulp at the most, 2e-6, and p by as much times ln 2; the rest are single roundings.
                Assert.That(gradient[query * 3 * headWidth + d], Is.EqualTo(expected).Within(expected * 2e-6), $"query {query}, column {d}");
            }
        }
    }

    /// <summary>One key in the second tile weighs e^±0.34, about 2^±½, where the polynomial of the exponential needs all of its terms; the 32 before it weigh 1. The first 16 queries have one sign, the others the other: each of a warp's rows has both.</summary>
    [Test]
    [OnEveryDevice]
    public void Weights_are_right_to_a_few_ulp([Values(31, 32, 63, 64, 127, 128)] int headWidth)
    {
        const int Sequence = 33;
        using var device = OpDevices.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        var qkv = new float[Sequence * 3 * headWidth];
        for (int row = 0; row < Sequence; row++) qkv[row * 3 * headWidth] = row < 16 ? 0.34f : -0.34f;
        float key = MathF.Sqrt(headWidth);
        qkv[(3 * (Sequence - 1) + 1) * headWidth] = key;
        for (int d = 0; d < headWidth; d++) qkv[(3 * (Sequence - 1) + 2) * headWidth + d] = 1;
        float[] y = Attention.Forward(tape, tape.Input(qkv, 1, Sequence, 3 * headWidth), heads: 1, causal: false).ToArray();
        for (int i = 0; i < y.Length; i++)
        {
            double weight = Math.Exp(qkv[i / headWidth * 3 * headWidth] * key / Math.Sqrt(headWidth)), expected = weight / (32 + weight);
            // Four roundings of a score of 0.34, 0.94 ulp of its power, and four roundings of the sum, its reciprocal and the products.
            Assert.That(y[i], Is.EqualTo(expected).Within(expected * (0.34 * 4 + 2 + 4) * Math.ScaleB(1, -24)), $"row {i / headWidth}, column {i % headWidth}");
        }
    }

    /// <summary>Numbers of another head or picture must not even be multiplied by 0.</summary>
    [Test]
    [OnEveryDevice]
    public void A_head_that_is_no_number_leaves_the_others_alone([Values(6, 32, 34, 64, 66, 128)] int headWidth, [Values] bool causal)
    {
        const int Sequence = 21, Heads = 2;
        var random = new Random(headWidth);
        int width = Heads * headWidth;
        float[] clean = [.. Enumerable.Range(0, 2 * Sequence * 3 * width).Select(_ => Numbers.Normal(random))], cotangent = [.. Enumerable.Range(0, 2 * Sequence * width).Select(_ => Numbers.Normal(random))];
        float[] bad = [.. clean.Select((value, i) => IsWatched(i, 3 * width) ? value : float.NaN)], badCotangent = [.. cotangent.Select((value, i) => IsWatched(i, width) ? value : float.NaN)];
        var expected = Run(clean, cotangent);
        var actual = Run(bad, badCotangent);
        Numbers.AssertSameBits(actual.Output, expected.Output, "output");
        Numbers.AssertSameBits(actual.Gradient, expected.Gradient, "gradient");

        // The first head of the first of two pictures.
        bool IsWatched(int i, int rowWidth) => i < Sequence * rowWidth && i % width < headWidth;

        (float[] Output, float[] Gradient) Run(float[] values, float[] cotangent)
        {
            using var device = OpDevices.Open("cpu:check", 1);
            using var tape = new Tape(device);
            float[] gradient = [];
            var qkv = tape.Allocate(2, Sequence, 3 * width);
            qkv.Upload(values);
            tape.Record(qkv, () => gradient = tape.GradientOf(qkv).ToArray());
            var y = Attention.Forward(tape, qkv, Heads, causal);
            float[] output = y.ToArray();
            tape.Backward(y, cotangent);
            return ([.. output.Where((_, i) => IsWatched(i, width))], [.. gradient.Where((_, i) => IsWatched(i, 3 * width))]);
        }
    }

    [Test]
    [OnEveryDevice]
    public void Rows_that_see_one_key_only_copy_its_value()
    {
        using var device = OpDevices.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        float[] qkv = [.. Enumerable.Range(0, 3 * 3 * 4).Select(i => i * 100f)];
        float[] y = Attention.Forward(tape, tape.Input(qkv, 1, 3, 12), heads: 2, causal: true).ToArray();
        Assert.That(y[..4], Is.EqualTo(qkv[8..12]));
    }

    [Test]
    [OnEveryDevice]
    public void A_key_that_is_no_number_shows_in_every_row_that_sees_it_and_in_no_other()
    {
        using var device = OpDevices.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        float[] qkv = [.. Enumerable.Range(0, 3 * 6).Select(i => i * 0.1f)];
        qkv[1 * 6 + 2] = float.NaN; // the first number of the second key
        float[] y = Attention.Forward(tape, tape.Input(qkv, 1, 3, 6), heads: 1, causal: true).ToArray();
        Assert.That(y[..2], Is.EqualTo(qkv[4..6]));
        Assert.That(y[2..], Is.All.NaN);
    }

    [Test]
    [OnEveryDevice]
    public void Heads_that_do_not_split_the_width_are_refused()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device);
        Assert.Multiple(() =>
        {
            Assert.That(() => Attention.Forward(tape, tape.Allocate(1, 2, 30), 3, false), Throws.ArgumentException.With.Message.Contains("3 heads do not split width 10"));
            Assert.That(() => Attention.Forward(tape, tape.Allocate(1, 2, 3 * 129), 1, false), Throws.ArgumentException.With.Message.Contains("1 to 128"));
            Assert.That(() => Attention.Forward(tape, tape.Allocate(2, 30), 1, false), Throws.ArgumentException.With.Message.Contains("[batch, sequence, 3·width]"));
        });
    }

    private static void Check(int batch, int sequence, int heads, int headWidth, bool causal, float scale) => new OpTest
    {
        Inputs = [OpInput.Activation("qkv", [batch, sequence, 3 * heads * headWidth], scale)],
        Op = (tape, t) => Attention.Forward(tape, t[0], heads, causal),
        Reference = x => Reference(x[0], batch, sequence, heads, headWidth, causal),
        OutputShape = [batch, sequence, heads * headWidth],
        ForwardTolerance = Forward * scale * scale,
        GradientTolerance = Gradient * scale * scale,
    }.Run();

    internal static double[] Reference(double[] qkv, int batch, int sequence, int heads, int headWidth, bool causal)
    {
        int width = heads * headWidth;
        var y = new double[batch * sequence * width];
        var p = new double[sequence];
        for (int b = 0; b < batch; b++)
        {
            for (int h = 0; h < heads; h++)
            {
                for (int query = 0; query < sequence; query++)
                {
                    int seen = causal ? query + 1 : sequence;
                    for (int key = 0; key < seen; key++)
                    {
                        p[key] = 0;
                        for (int d = 0; d < headWidth; d++) p[key] += At(0, query, d) * At(1, key, d) / Math.Sqrt(headWidth);
                    }
                    double largest = p[..seen].Max(), total = 0;
                    for (int key = 0; key < seen; key++) total += p[key] = Math.Exp(p[key] - largest);
                    for (int d = 0; d < headWidth; d++)
                    {
                        double sum = 0;
                        for (int key = 0; key < seen; key++) sum += p[key] / total * At(2, key, d);
                        y[(b * sequence + query) * width + h * headWidth + d] = sum;
                    }
                }

                double At(int part, int row, int d) => qkv[((b * sequence + row) * 3 + part) * width + h * headWidth + d];
            }
        }
        return y;
    }
}
