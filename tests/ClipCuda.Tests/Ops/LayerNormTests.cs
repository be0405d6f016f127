using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class LayerNormTests
{
    // A lane adds width/32 terms and a warp tree five more, each rounding by 2^-24 of sums below 3 times the largest output: (7 + 5)·3·6e-8.
    private const double Forward = 2.5e-6;

    // dx subtracts two such means and multiplies by rstd; column sums over at most 1,025 rows in runs of 17.
    private const double Gradient = 1e-5;

    /// <summary>Runs of 16 rows at most: 1, 4, 7 and 9 of them, of which 4 are read at a time.</summary>
    [Test]
    public void Matches_the_reference_and_its_gradients([Values(1, 4, 5, 64, 112, 131)] int rows, [Values(2, 31, 32, 33, 197)] int width) => Check(rows, width);

    /// <summary>Runs of 17 rows, of which every second begins at an odd row.</summary>
    [Test]
    public void Sums_of_columns_are_right_over_runs_of_an_odd_length() => Check(rows: 1025, width: 3);

    private static void Check(int rows, int width) => new OpTest
    {
        Inputs = [OpInput.Activation("x", [rows, width], scale: 2), OpInput.Parameter("weight", [width]), OpInput.Parameter("bias", [width])],
        Op = (tape, t) => LayerNorm.Forward(tape, t[0], t[1], t[2]),
        Reference = x => Reference(x[0], x[1], x[2], 1e-5),
        OutputShape = [rows, width],
        ForwardTolerance = Forward,
        // With two columns x̂ is ±1 and dx cancels to ε: what is left is rounding, of the size of g·rstd.
        GradientTolerance = width == 2 ? 1e-3 : Gradient,
        Floor = width == 2 ? 1e-5 : 1e-7,
    }.Run();

    /// <summary>In y = norm(x) + x the sum's gradient reaches x before the norm's.</summary>
    [Test]
    public void The_gradient_is_added_to_what_another_op_gave([Values(31, 64)] int width) => new OpTest
    {
        Inputs = [OpInput.Activation("x", [5, width], scale: 2), OpInput.Parameter("weight", [width]), OpInput.Parameter("bias", [width])],
        Op = (tape, t) => Residual.Forward(tape, LayerNorm.Forward(tape, t[0], t[1], t[2]), t[0], bias: null),
        Reference = x => [.. Reference(x[0], x[1], x[2], 1e-5).Zip(x[0], (y, a) => y + a)],
        OutputShape = [5, width],
        ForwardTolerance = Forward,
        GradientTolerance = Gradient,
    }.Run();

    [Test]
    public void A_constant_row_becomes_the_bias() => new OpTest
    {
        Inputs =
        [
            new OpInput("x", [2, 3], OpInputKind.Activation, Values: [5, 5, 5, 1, 2, 3]), OpInput.Parameter("weight", [3]), OpInput.Parameter("bias", [3]),
        ],
        Op = (tape, t) => LayerNorm.Forward(tape, t[0], t[1], t[2], epsilon: 0.1f),
        Reference = x => Reference(x[0], x[1], x[2], 0.1f),
        OutputShape = [2, 3],
        ForwardTolerance = Forward,
        GradientTolerance = Gradient,
    }.Run();

    [Test]
    [OnEveryDevice]
    public void A_large_mean_costs_no_accuracy_of_the_variance()
    {
        using var device = OpDevices.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        float[] x = [4096, 4097, 4098, 4099], weight = [1, 2, 3, 4], bias = [0, 0, 0, 1];
        float[] y = LayerNorm.Forward(tape, tape.Input(x, 1, 4), tape.Input(weight, 4), tape.Input(bias, 4)).ToArray();
        double[] expected = Reference([4096, 4097, 4098, 4099], [1, 2, 3, 4], [0, 0, 0, 1], 1e-5f);
        Numbers.AssertClose(y, expected, Forward, floor: 0, "y");
    }

    [Test]
    [OnEveryDevice]
    public void Wrong_shapes_are_named()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device);
        var x = tape.Allocate(2, 3);
        Assert.That(() => LayerNorm.Forward(tape, x, tape.Allocate(4), tape.Allocate(3)), Throws.ArgumentException.With.Message.Contains("[4], expected [3]"));
    }

    internal static double[] Reference(double[] x, double[] weight, double[] bias, double epsilon)
    {
        int width = weight.Length;
        var y = new double[x.Length];
        for (int start = 0; start < x.Length; start += width)
        {
            double mean = 0, variance = 0;
            for (int c = 0; c < width; c++) mean += x[start + c] / width;
            for (int c = 0; c < width; c++) variance += Math.Pow(x[start + c] - mean, 2) / width;
            for (int c = 0; c < width; c++) y[start + c] = (x[start + c] - mean) / Math.Sqrt(variance + epsilon) * weight[c] + bias[c];
        }
        return y;
    }
}
