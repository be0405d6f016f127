using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class BiasTests
{
    [Test]
    [OnEveryDevice]
    public void Every_row_gets_the_bias()
    {
        using var device = OpDevices.Open("cpu:check", 2);
        using var tape = new Tape(device, recording: false);
        var y = tape.Input([1f, 2, 3, 4, 5, 6], 2, 3);
        Bias.AddInto(y, tape.Input([10f, 20, 30], 3));
        Assert.That(y.ToArray(), Is.EqualTo(new float[] { 11, 22, 33, 14, 25, 36 }));
    }

    /// <summary>Around the 128 columns that a block takes at a time.</summary>
    [Test]
    [OnEveryDevice]
    public void Every_row_of_any_width_gets_the_bias([Values(1, 127, 128, 129, 300)] int width)
    {
        using var device = OpDevices.Open("cpu:check", 2);
        using var tape = new Tape(device, recording: false);
        float[] x = [.. Enumerable.Range(0, 3 * width).Select(i => (float)i)], bias = [.. Enumerable.Range(0, width).Select(i => 0.5f * i)];
        var y = tape.Input(x, 3, width);
        Bias.AddInto(y, tape.Input(bias, width));
        Assert.That(y.ToArray(), Is.EqualTo(x.Select((value, i) => value + bias[i % width])));
    }

    /// <summary>Around the run length of 16 rows, the 64 runs at most, and the 128 columns of a block; runs of 1 to 17 rows and 1 to 61 runs, 8 being read at a time.</summary>
    [Test]
    public void The_gradient_is_the_column_sum([Values(1, 7, 8, 9, 15, 16, 17, 128, 176, 1025)] int rows, [Values(1, 127, 129)] int width) => new OpTest
    {
        Inputs = [OpInput.Activation("x", [rows, width]), OpInput.Parameter("bias", [width])],
        Op = (tape, t) => Residual.Forward(tape, t[0], t[0], t[1]),
        Reference = x => [.. x[0].Select((value, i) => 2 * value + x[1][i % width])],
        OutputShape = [rows, width],
        ForwardTolerance = 1.2e-7,
        // 17 additions in a run and 64 of runs, each 2^-24 of partial sums that stay below a few times the result's scale.
        GradientTolerance = 1e-5,
    }.Run();

    [Test]
    [OnEveryDevice]
    public void A_bias_of_another_width_is_refused()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device);
        Assert.That(() => Bias.AddInto(tape.Allocate(2, 3), tape.Allocate(2)), Throws.ArgumentException.With.Message.Contains("expected [3]"));
    }
}
