using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class LinearTests
{
    [Test]
    public void Matches_the_reference_and_its_gradients([Values(1, 4, 33)] int rows, [Values(1, 17)] int inputs, [Values(1, 50)] int outputs, [Values] bool withBias) => new OpTest
    {
        Inputs =
        [
            OpInput.Activation("x", [rows, inputs]), OpInput.Parameter("weight", [outputs, inputs]),
            .. withBias ? (OpInput[])[OpInput.Parameter("bias", [outputs])] : [],
        ],
        Op = (tape, t) => Linear.Forward(tape, t[0], t[1], withBias ? t[2] : null),
        Reference = x => Reference(x[0], x[1], withBias ? x[2] : new double[outputs], inputs),
        OutputShape = [rows, outputs],
        ForwardTolerance = 1e-6, // chains of at most 17 fused multiply-adds
        GradientTolerance = 3e-6, // chains of at most 50
    }.Run();

    /// <summary>In y = x · weightᵀ + x the sum's gradient reaches x before the product's.</summary>
    [Test]
    public void The_gradient_is_added_to_what_another_op_gave() => new OpTest
    {
        Inputs = [OpInput.Activation("x", [4, 17]), OpInput.Parameter("weight", [17, 17])],
        Op = (tape, t) => Residual.Forward(tape, Linear.Forward(tape, t[0], t[1], null), t[0], bias: null),
        Reference = x => [.. Reference(x[0], x[1], new double[17], 17).Zip(x[0], (y, a) => y + a)],
        OutputShape = [4, 17],
        ForwardTolerance = 1e-6,
        GradientTolerance = 3e-6,
    }.Run();

    [Test]
    [OnEveryDevice]
    public void A_weight_of_another_width_is_refused()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device);
        Assert.That(() => Linear.Forward(tape, tape.Allocate(2, 3), tape.Allocate(4, 5), null), Throws.ArgumentException.With.Message.Contains("[4, 5], expected [out, 3]"));
    }

    internal static double[] Reference(double[] x, double[] weight, double[] bias, int inputs)
    {
        int rows = x.Length / inputs, outputs = weight.Length / inputs;
        var y = new double[rows * outputs];
        for (int r = 0; r < rows; r++)
        {
            for (int o = 0; o < outputs; o++)
            {
                double sum = bias[o];
                for (int i = 0; i < inputs; i++) sum += x[r * inputs + i] * weight[o * inputs + i];
                y[r * outputs + o] = sum;
            }
        }
        return y;
    }
}
