using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class ResidualTests
{
    [Test]
    public void Matches_the_reference_and_its_gradients([Values(1, 3)] int batch, [Values(1, 127, 128, 129, 300)] int width, [Values] bool withBias) => new OpTest
    {
        Inputs =
        [
            OpInput.Activation("x", [batch, 5, width]), OpInput.Activation("y", [batch, 5, width]),
            .. withBias ? (OpInput[])[OpInput.Parameter("bias", [width])] : [],
        ],
        Op = (tape, t) => Residual.Forward(tape, t[0], t[1], withBias ? t[2] : null),
        Reference = x => [.. x[0].Select((value, i) => value + x[1][i] + (withBias ? x[2][i % width] : 0))],
        OutputShape = [batch, 5, width],
        ForwardTolerance = 1.2e-7, // two roundings
        GradientTolerance = 1e-6, // copies; the bias sums 15 rows
    }.Run();

    /// <summary>In the first vector of a warp's stretch and in later ones, in the first block and in the second.</summary>
    [Test]
    [OnEveryDevice]
    public void Adding_into_handles_a_tail([Values(1, 255, 257, 2048 + 3 * 256 + 2 * 32 + 1, 2048 + 3 * 256 + 5 * 32 + 20)] int count)
    {
        using var device = OpDevices.Open("cpu:check", 2);
        using var tape = new Tape(device, recording: false);
        float[] a = [.. Enumerable.Range(0, count).Select(i => (float)i)], b = [.. Enumerable.Range(0, count).Select(i => 0.5f * i)];
        var target = tape.Input(a, count);
        Residual.AddInto(target, tape.Input(b, count));
        Assert.That(target.ToArray(), Is.EqualTo(a.Zip(b, (x, y) => x + y)));
    }

    [Test]
    [OnEveryDevice]
    public void Unequal_shapes_are_refused()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device);
        Assert.That(() => Residual.Forward(tape, tape.Allocate(2, 3), tape.Allocate(3, 2), null), Throws.ArgumentException.With.Message.Contains("y has shape [3, 2], expected [2, 3]"));
    }
}
