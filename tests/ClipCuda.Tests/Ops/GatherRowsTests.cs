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
            Op = (tape, t) => GatherRows.Forward(tape, t[0], tape.Input(rows, 3)),
            Reference = x => [.. Enumerable.Range(0, 3).SelectMany(b => x[0][((b * 5 + rows[b]) * width)..((b * 5 + rows[b] + 1) * width)])],
            OutputShape = [3, width],
            ForwardTolerance = 0, // copies
            GradientTolerance = 1e-9, // copies; the difference quotient of the reference itself
        }.Run();
    }

    [Test]
    [OnEveryDevice]
    public void The_first_rows_are_those_at_position_0()
    {
        float[] values = [.. Enumerable.Range(0, 2 * 3 * 5).Select(i => (float)i)];
        using var device = OpDevices.Open("cpu:check", 1);
        using var tape = new Tape(device);
        var first = GatherRows.First(tape, tape.Input(values, 2, 3, 5));
        Assert.That(first.ToArray(), Is.EqualTo(values[..5].Concat(values[15..20])));
    }

    [Test]
    [OnEveryDevice]
    public void Positions_of_another_batch_are_refused()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device);
        Assert.That(() => GatherRows.Forward(tape, tape.Allocate(2, 3, 4), tape.Input([0, 1, 2], 3)), Throws.ArgumentException.With.Message.Contains("rows has shape [3], expected [2]"));
    }
}
