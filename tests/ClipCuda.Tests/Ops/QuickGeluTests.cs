using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class QuickGeluTests
{
    [Test]
    public void Matches_the_reference_and_its_gradients([Values(1, 7, 67)] int rows, [Values(1, 33, 128, 131)] int width, [Values] bool withBias) => new OpTest
    {
        Inputs = withBias ? [OpInput.Activation("x", [rows, width], scale: 2), OpInput.Parameter("bias", [width])] : [OpInput.Activation("x", [rows, width], scale: 2)],
        Op = (tape, t) => QuickGelu.Forward(tape, t[0], withBias ? t[1] : null),
        Reference = x => [.. x[0].Select((value, i) => value + (withBias ? x[1][i % width] : 0)).Select(u => u / (1 + Math.Exp(-1.702 * u)))],
        OutputShape = [rows, width],
        // The argument of exp rounds by 2^-24·1.702·|u|, |u| ≤ 8, which exp turns into a relative error; three roundings more.
        ForwardTolerance = 1e-6,
        GradientTolerance = 3e-6,
    }.Run();

    [Test]
    [OnEveryDevice]
    public void Output_and_derivative_are_right_everywhere()
    {
        float[] x = [.. Enumerable.Range(-6000, 12001).Select(i => i / 100f)];
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device);
        float[] gradient = [];
        var input = tape.Allocate(1, x.Length);
        input.Upload(x);
        tape.Record(input, () => gradient = tape.GradientOf(input).ToArray());
        var output = QuickGelu.Forward(tape, input, bias: null);
        float[] y = output.ToArray();
        tape.Backward(output, [.. Enumerable.Repeat(1f, x.Length)]);
        for (int i = 0; i < x.Length; i++)
        {
            // exp's argument z rounds by 2^-24·|z| twice, then exp to 1 ulp, and the roundings of 1 + e, the quotient and the products. exp gives 0 below 2^-126, infinity above e^88.7.
            double u = x[i], z = 1.702 * u, s = 1 / (1 + Math.Exp(-z)), unit = Math.ScaleB(1, -24) * (2 * Math.Abs(z) + 8);
            Assert.That(Math.Abs(y[i] - u * s), Is.LessThanOrEqualTo(Math.Abs(u) * (s * unit + 1.2e-38)), $"at {u}");
            Assert.That(Math.Abs(gradient[i] - (s + z * s * (1 - s))), Is.LessThanOrEqualTo((s + Math.Abs(z) * s) * unit + Math.Abs(z) * 1.2e-38), $"derivative at {u}");
        }
    }

    [Test]
    [OnEveryDevice]
    public void Far_tails_are_zero_and_the_identity()
    {
        using var device = OpDevices.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        Assert.That(QuickGelu.Forward(tape, tape.Input([-100f, 100f, 0f], 1, 3), bias: null).ToArray(), Is.EqualTo(new[] { 0f, 100f, 0f }));
    }
}
