using ClipCuda.Devices;
using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class AttentionTests
{
    // Scores are chains of D fused multiply-adds, D·2^-24 of |q||k|·scale ≤ 4, which exp turns into a relative error of p.
    private const double Forward = 1e-5;

    // ds = p·(dp − delta) subtracts numbers of a size, each to the accuracy above.
    private const double Gradient = 4e-5;

    /// <summary>Around the tiles of 32 other rows and of 32 own rows.</summary>
    [Test]
    public void Matches_the_reference_at_any_length([Values(1, 2, 15, 16, 17, 31, 32, 33, 64, 77)] int sequence, [Values] bool causal) =>
        Check(batch: 2, sequence, heads: 2, headWidth: 12, causal, scale: 1);

    /// <summary>Around the tiles of 24 own rows of heads wider than 32, and of 16 of those wider than 64.</summary>
    [Test]
    public void Matches_the_reference_around_the_tiles_of_wide_heads([Values(15, 16, 17, 23, 24, 25)] int sequence, [Values(34, 66)] int headWidth, [Values] bool causal) =>
        Check(batch: 1, sequence, heads: 1, headWidth, causal, scale: 1);

    [Test]
    public void Matches_the_reference_at_any_head_width([Values(1, 16, 24, 32, 33, 40, 64, 65, 80, 128)] int headWidth, [Values] bool causal) =>
        Check(batch: 1, sequence: 35, heads: 3, headWidth, causal, scale: 1);

    [Test]
    public void Large_scores_do_not_overflow([Values] bool causal) => Check(batch: 1, sequence: 40, heads: 1, headWidth: 16, causal, scale: 6);

    [Test]
    public void Rows_that_see_one_key_only_copy_its_value()
    {
        using var device = Device.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        float[] qkv = [.. Enumerable.Range(0, 3 * 3 * 4).Select(i => i * 100f)];
        float[] y = Attention.Forward(tape, tape.Input(qkv, 1, 3, 12), heads: 2, causal: true).ToArray();
        Assert.That(y[..4], Is.EqualTo(qkv[8..12]));
    }

    [Test]
    public void A_key_that_is_no_number_shows_in_every_row_that_sees_it_and_in_no_other()
    {
        using var device = Device.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        float[] qkv = [.. Enumerable.Range(0, 3 * 6).Select(i => i * 0.1f)];
        qkv[1 * 6 + 2] = float.NaN; // the first number of the second key
        float[] y = Attention.Forward(tape, tape.Input(qkv, 1, 3, 6), heads: 1, causal: true).ToArray();
        Assert.That(y[..2], Is.EqualTo(qkv[4..6]));
        Assert.That(y[2..], Is.All.NaN);
    }

    [Test]
    public void Heads_that_do_not_split_the_width_are_refused()
    {
        using var device = Device.Open("cpu", 1);
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
