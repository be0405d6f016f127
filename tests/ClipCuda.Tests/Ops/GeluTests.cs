using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class GeluTests
{
    // Φ to 5.2e-8 (see the kernel) and a rounding of 1 − tail, of values up to 1, plus one rounding of the product: below 3·2^-24.
    private const double Forward = 2e-7;

    // Φ and u·φ each to about 3 ulp.
    private const double Gradient = 1e-6;

    [Test]
    public void Matches_the_reference_and_its_gradients([Values(1, 7, 67)] int rows, [Values(1, 33, 128, 131)] int width, [Values] bool withBias) => new OpTest
    {
        Inputs = withBias ? [OpInput.Activation("x", [rows, width], scale: 2), OpInput.Parameter("bias", [width])] : [OpInput.Activation("x", [rows, width], scale: 2)],
        Op = (tape, t) => Gelu.Forward(tape, t[0], withBias ? t[1] : null),
        Reference = x => Reference(x[0], withBias ? x[1] : new double[width]),
        OutputShape = [rows, width],
        ForwardTolerance = Forward,
        // A bias gradient is a sum of up to 67 terms.
        GradientTolerance = 2 * Gradient,
    }.Run();

    [Test]
    [OnEveryDevice]
    public void The_distribution_function_is_right_everywhere()
    {
        // y = u·Φ(u) with u = x, so Φ's error shows relative to u on the right half, and absolutely on the left.
        float[] x = [.. Enumerable.Range(-6000, 12001).Select(i => i / 1000f)];
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device, recording: false);
        float[] y = Gelu.Forward(tape, tape.Input(x, 1, x.Length), bias: null).ToArray();
        for (int i = 0; i < x.Length; i++)
        {
            // 5.2e-8 of the tail, one rounding of 1 − tail, one of the product.
            double allowed = Math.Abs(x[i]) * (5.2e-8 + Math.ScaleB(1, -25)) + Math.Abs(y[i]) * Math.ScaleB(1, -24) + 1e-45;
            Assert.That(Math.Abs(y[i] - x[i] * Cdf(x[i])), Is.LessThanOrEqualTo(allowed), $"at {x[i]}");
        }
    }

    [Test]
    [OnEveryDevice]
    public void Output_and_derivative_are_right_far_out_too()
    {
        float[] x = [.. Enumerable.Range(-4000, 8001).Select(i => i / 200f)];
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device);
        float[] actual = [];
        var input = tape.Allocate(1, x.Length);
        input.Upload(x);
        tape.Record(input, () => actual = tape.GradientOf(input).ToArray());
        var output = Gelu.Forward(tape, input, bias: null);
        float[] y = output.ToArray();
        tape.Backward(output, [.. Enumerable.Repeat(1f, x.Length)]);
        for (int i = 0; i < x.Length; i++)
        {
            double u = x[i], product = u * Math.Exp(-u * u / 2) / Math.Sqrt(2 * Math.PI);
            // Φ to 2 ulp of erf, halved, and two roundings; φ by five roundings and those of exp's argument, u² times its own.
            double allowed = Math.ScaleB(1, -24) * (1 + 2 + (6 + u * u) * Math.Abs(product));
            // Left of −6 the tail is left out, which is all of it and no more; 1e-16 is what the reference knows of it.
            if (u < -6) allowed = Cdf(u) + Math.ScaleB(1, -24) * (6 + u * u) * Math.Abs(product) + 1e-16;
            Assert.That(Math.Abs(actual[i] - (Cdf(u) + product)), Is.LessThanOrEqualTo(allowed), $"at {u}");
            if (u < -6) Assert.That(y[i], Is.Zero, $"output at {u}");
            Assert.That(Math.Abs(y[i] - u * Cdf(u)), Is.LessThanOrEqualTo(Math.Abs(u) * 4 * Math.ScaleB(1, -24)), $"output at {u}");
        }
    }

    [Test]
    [OnEveryDevice]
    public void A_value_that_is_no_number_shows_in_the_output_and_in_the_gradient()
    {
        using var device = OpDevices.Open("cpu:check", 1);
        using var tape = new Tape(device);
        float[] gradient = [];
        var x = tape.Allocate(1, 2);
        x.Upload([float.NaN, 0]);
        tape.Record(x, () => gradient = tape.GradientOf(x).ToArray());
        var y = Gelu.Forward(tape, x, bias: null);
        Assert.That(y.ToArray(), Is.EqualTo(new[] { float.NaN, 0 }));
        tape.Backward(y, 1, 1);
        Assert.That(gradient, Is.EqualTo(new[] { float.NaN, 0.5f }));
    }

    [Test]
    [OnEveryDevice]
    public void Far_tails_are_zero_and_the_identity()
    {
        using var device = OpDevices.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        Assert.That(Gelu.Forward(tape, tape.Input([-30f, 30f, -1e30f, 1e30f], 1, 4), bias: null).ToArray(), Is.EqualTo(new[] { 0f, 30f, 0f, 1e30f }));
    }

    private static double[] Reference(double[] x, double[] bias) =>
        [.. x.Select((value, i) => value + bias[i % bias.Length]).Select(u => u * Cdf(u))];

    internal static double Cdf(double u) => (1 + Erf(u / Math.Sqrt(2))) / 2;

    /// <summary>Maclaurin series below 3, Lentz's continued fraction of erfc beyond (Abramowitz, Stegun 7.1.5 and 7.1.14).</summary>
    private static double Erf(double x)
    {
        double a = Math.Abs(x);
        if (a < 3)
        {
            double term = a, sum = a;
            for (int n = 1; Math.Abs(term) > 1e-18 * sum; n++)
            {
                term *= -a * a / n;
                sum += term / (2 * n + 1);
            }
            return Math.CopySign(2 / Math.Sqrt(Math.PI) * sum, x);
        }
        double fraction = a;
        for (int n = 60; n > 0; n--) fraction = a + n / 2.0 / fraction;
        return Math.CopySign(1 - Math.Exp(-a * a) / (Math.Sqrt(Math.PI) * fraction), x);
    }
}
