using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class L2NormalizeTests
{
    [Test]
    public void Matches_the_reference_and_its_gradients([Values(1, 4, 5)] int rows, [Values(2, 31, 33, 128, 517)] int width) => new OpTest
    {
        Inputs = [OpInput.Activation("x", [rows, width], scale: 3)],
        Op = (tape, t) => L2Normalize.Forward(tape, t[0]),
        Reference = x => Reference(x[0], width),
        OutputShape = [rows, width],
        ForwardTolerance = 1.5e-6, // a lane adds 17 positive terms, the tree 5, half of that error passes the root: 11·2^-24, and 3 roundings
        GradientTolerance = 4e-6,
    }.Run();

    [Test]
    [OnEveryDevice]
    public void A_zero_row_stays_zero_and_passes_a_finite_gradient()
    {
        using var device = OpDevices.Open("cpu:check", 1);
        using var tape = new Tape(device);
        float[] gradient = [];
        var x = tape.Allocate(1, 3);
        x.Clear();
        tape.Record(x, () => gradient = tape.GradientOf(x).ToArray());
        var y = L2Normalize.Forward(tape, x);
        Assert.That(y.ToArray(), Is.EqualTo(new float[3]));
        tape.Backward(y, 1, 2, 3);
        Assert.That(gradient, Is.EqualTo(new[] { 1e12f, 2e12f, 3e12f }));
    }

    /// <summary>Below a norm of 1e-12 the divisor is 1e-12, and no longer depends on the row.</summary>
    [TestCase(0.7e-12f, 0.7f, 1e12f)]
    [TestCase(2e-12f, 1f, 0f)]
    [OnEveryDevice]
    public void A_very_short_row_is_divided_by_the_smallest_norm(float value, float output, float gradientAlong)
    {
        using var device = OpDevices.Open("cpu:check", 1);
        using var tape = new Tape(device);
        float[] gradient = [];
        var x = tape.Allocate(1, 2);
        x.Upload([value, 0]);
        tape.Record(x, () => gradient = tape.GradientOf(x).ToArray());
        var y = L2Normalize.Forward(tape, x);
        Assert.That(y.ToArray(), Is.EqualTo(new[] { output, 0 }).Within(1e-6f));
        tape.Backward(y, 1, 1);
        // dx = r · (dy − y · y·dy): 0 along the row itself, where rounding leaves 2^-23 of r.
        Assert.That(gradient, Is.EqualTo(new[] { gradientAlong, Math.Min(1e12f, 1 / value) }).Within(1e12f * 2e-7f));
    }

    [Test]
    [OnEveryDevice]
    public void A_row_with_a_value_that_is_no_number_is_none_throughout_and_the_others_are_untouched()
    {
        using var device = OpDevices.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        float[] y = L2Normalize.Forward(tape, tape.Input([3, float.NaN, 4, 0], 2, 2)).ToArray();
        Assert.That(y, Is.EqualTo(new[] { float.NaN, float.NaN, 1, 0 }));
    }

    internal static double[] Reference(double[] x, int width)
    {
        var y = new double[x.Length];
        for (int start = 0; start < x.Length; start += width)
        {
            double norm = Math.Sqrt(x.AsSpan(start, width).ToArray().Sum(v => v * v));
            for (int c = 0; c < width; c++) y[start + c] = x[start + c] / norm;
        }
        return y;
    }
}
