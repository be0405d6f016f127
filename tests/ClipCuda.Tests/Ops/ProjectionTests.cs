using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class ProjectionTests
{
    [Test]
    public void Matches_the_reference_and_its_gradients([Values(1, 4, 33)] int rows, [Values(1, 17)] int inputs, [Values(1, 50)] int outputs) => new OpTest
    {
        Inputs = [OpInput.Activation("x", [rows, inputs]), OpInput.Parameter("matrix", [inputs, outputs])],
        Op = (tape, t) => Projection.Forward(tape, t[0], t[1]),
        Reference = x => Reference(x[0], x[1], inputs, outputs),
        OutputShape = [rows, outputs],
        ForwardTolerance = 1e-6, // chains of at most 17 fused multiply-adds
        GradientTolerance = 3e-6, // chains of at most 50
    }.Run();

    [Test]
    [OnEveryDevice]
    public void A_matrix_of_another_height_is_refused()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device);
        Assert.That(() => Projection.Forward(tape, tape.Allocate(2, 3), tape.Allocate(4, 5)), Throws.ArgumentException.With.Message.Contains("[4, 5], expected [3, out]"));
    }

    private static double[] Reference(double[] x, double[] matrix, int inputs, int outputs)
    {
        var y = new double[x.Length / inputs * outputs];
        for (int i = 0; i < y.Length; i++)
        {
            for (int k = 0; k < inputs; k++) y[i] += x[i / outputs * inputs + k] * matrix[k * outputs + i % outputs];
        }
        return y;
    }
}
