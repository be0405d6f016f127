using ClipCuda.Devices;
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
    public void Far_tails_are_zero_and_the_identity()
    {
        using var device = Device.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        Assert.That(QuickGelu.Forward(tape, tape.Input([-100f, 100f, 0f], 1, 3), bias: null).ToArray(), Is.EqualTo(new[] { 0f, 100f, 0f }));
    }
}
