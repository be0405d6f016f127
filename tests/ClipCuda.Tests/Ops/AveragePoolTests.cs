using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class AveragePoolTests
{
    // 3 additions of numbers below the largest.
    private const double Tolerance = 3e-7;

    [TestCase(1, 2, 2, 1)]
    [TestCase(2, 6, 10, 31)]
    [TestCase(1, 4, 2, 257)]
    [TestCase(3, 14, 6, 33)]
    public void Matches_the_reference_and_its_gradients(int batch, int height, int width, int channels) => new OpTest
    {
        Inputs = [OpInput.Activation("x", [batch, height, width, channels])],
        Op = (tape, t) => AveragePool.Forward(tape, t[0]),
        Reference = x => Reference(x[0], height, width, channels),
        OutputShape = [batch, height / 2, width / 2, channels],
        ForwardTolerance = Tolerance,
        GradientTolerance = Tolerance,
    }.Run();

    [Test]
    [OnEveryDevice]
    public void An_odd_size_is_refused()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device);
        Assert.That(() => AveragePool.Forward(tape, tape.Allocate(1, 4, 3, 2)), Throws.ArgumentException.With.Message.Contains("[1, 4, 3, 2]"));
    }

    internal static double[] Reference(double[] x, int height, int width, int channels)
    {
        var y = new double[x.Length / 4];
        for (int i = 0; i < x.Length; i++)
        {
            int c = i % channels, column = i / channels % width, row = i / channels / width % height, b = i / channels / width / height;
            y[((b * (height / 2) + row / 2) * (width / 2) + column / 2) * channels + c] += x[i] / 4;
        }
        return y;
    }
}
