using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class MeanTokenTests
{
    /// <summary>Around the four places, and the four of a batch, that are added at a time.</summary>
    [TestCase(1, 1, 1, 1)]
    [TestCase(4, 2, 2, 33)]
    [TestCase(9, 2, 4, 5)]
    [TestCase(2, 3, 5, 31)]
    [TestCase(3, 7, 7, 130)]
    public void Matches_the_reference_and_its_gradients(int batch, int height, int width, int channels) => new OpTest
    {
        Inputs = [OpInput.Activation("x", [batch, height, width, channels]), OpInput.Parameter("positions", [1 + height * width, channels])],
        Op = (tape, t) => MeanToken.Forward(tape, t[0], t[1]),
        Reference = x => Reference(x[0], x[1], channels),
        OutputShape = [batch, 1 + height * width, channels],
        ForwardTolerance = 1e-6, // a mean of 49 and two additions
        GradientTolerance = 1e-6,
    }.Run();

    [Test]
    [OnEveryDevice]
    public void Wrong_shapes_are_named()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device);
        Assert.That(() => MeanToken.Forward(tape, tape.Allocate(2, 2, 2, 3), tape.Allocate(4, 3)), Throws.ArgumentException.With.Message.Contains("[4, 3], expected [5, 3]"));
        Assert.That(() => MeanToken.Forward(tape, tape.Allocate(2, 3), tape.Allocate(2, 3)), Throws.ArgumentException.With.Message.Contains("[2, 3], expected [batch"));
    }

    internal static double[] Reference(double[] x, double[] positions, int width)
    {
        int sequence = positions.Length / width, places = sequence - 1, batch = x.Length / (places * width);
        var tokens = new double[batch * sequence * width];
        for (int i = 0; i < tokens.Length; i++)
        {
            int c = i % width, s = i / width % sequence, b = i / width / sequence;
            double At(int place) => x[(b * places + place) * width + c];
            tokens[i] = positions[s * width + c] + (s > 0 ? At(s - 1) : Enumerable.Range(0, places).Average(At));
        }
        return tokens;
    }
}
