using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class GatherRowsTests
{
    [Test]
    public void Matches_the_reference_and_its_gradients([Values(1, 127, 130)] int width)
    {
        int[] rows = [0, 4, 2];
        new OpTest
        {
            Inputs = [OpInput.Activation("x", [3, 5, width])],
            Op = (tape, t) => GatherRows.Forward(tape, t[0], rows),
            Reference = x => [.. Enumerable.Range(0, 3).SelectMany(b => x[0][((b * 5 + rows[b]) * width)..((b * 5 + rows[b] + 1) * width)])],
            OutputShape = [3, width],
            ForwardTolerance = 0, // copies
            GradientTolerance = 1e-9, // copies; the difference quotient of the reference itself
        }.Run();
    }

    [Test]
    public void A_position_outside_the_sequence_is_refused()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device);
        Assert.That(() => GatherRows.Forward(tape, tape.Allocate(2, 3, 4), 0, 3), Throws.ArgumentException.With.Message.Contains("Position 3 lies outside a sequence of 3"));
    }
}
