using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class BatchNormTests
{
    // Means of at most 700 rows, run by run: some 40 roundings of 2^-24 of numbers up to 4 times the largest deviation.
    private const double Forward = 1e-5;

    // dx subtracts two such means; columns add up to 700 rows.
    private const double Gradient = 2e-5;

    /// <summary>Runs of fewer than eight rows, of eight, which are added at a time, and of more.</summary>
    [Test]
    public void Matches_the_reference_and_its_gradients([Values(3, 8, 33, 700)] int rows, [Values(1, 31, 40)] int width, [Values] bool training) => new OpTest
    {
        Inputs = [OpInput.Activation("x", [rows, width], scale: 2), OpInput.Parameter("weight", [width]), OpInput.Parameter("bias", [width])],
        Op = (tape, t) => BatchNorm.Forward(tape, t[0], Parameters(tape, t[1], t[2]), training, residual: null, relu: false),
        Reference = x => Reference(x[0], x[1], x[2], training ? null : Running(width)),
        OutputShape = [rows, width],
        ForwardTolerance = Forward,
        GradientTolerance = Gradient,
    }.Run();

    [Test]
    public void Adds_the_residual_and_cuts_at_zero([Values] bool training, [Values] bool relu, [Values(17, 40)] int width) => new OpTest
    {
        Inputs =
        [
            OpInput.Activation("x", [3, 5, 7, width], scale: 2), OpInput.Activation("residual", [3, 5, 7, width]), OpInput.Parameter("weight", [width]), OpInput.Parameter("bias", [width]),
        ],
        Op = (tape, t) => BatchNorm.Forward(tape, t[0], Parameters(tape, t[2], t[3]), training, t[1], relu),
        Reference = x => [.. Reference(x[0], x[2], x[3], training ? null : Running(width)).Zip(x[1], (a, b) => relu ? Math.Max(0, a + b) : a + b)],
        OutputShape = [3, 5, 7, width],
        ForwardTolerance = Forward,
        GradientTolerance = Gradient,
    }.Run();

    [Test]
    public void Relu_passes_the_gradient_of_what_is_above_zero([Values] bool training) => new OpTest
    {
        Inputs = [OpInput.Activation("x", [50, 300]), OpInput.Parameter("weight", [300]), OpInput.Parameter("bias", [300])],
        Op = (tape, t) => BatchNorm.Forward(tape, t[0], Parameters(tape, t[1], t[2]), training, residual: null, relu: true),
        Reference = x => [.. Reference(x[0], x[1], x[2], training ? null : Running(300)).Select(y => Math.Max(0, y))],
        OutputShape = [50, 300],
        ForwardTolerance = Forward,
        GradientTolerance = Gradient,
    }.Run();

    [Test]
    public void Frozen_parameters_let_the_gradient_of_x_through([Values] bool training) => new OpTest
    {
        Inputs = [OpInput.Activation("x", [5, 3])],
        Op = (tape, t) => BatchNorm.Forward(tape, t[0], Parameters(tape, tape.Input([1f, 2, 3], 3), tape.Input([4f, 5, 6], 3)), training, residual: null, relu: false),
        Reference = x => Reference(x[0], [1, 2, 3], [4, 5, 6], training ? null : Running(3)),
        OutputShape = [5, 3],
        ForwardTolerance = Forward,
        GradientTolerance = Gradient,
    }.Run();

    /// <summary>Of a variance of 3e-5 epsilon is a quarter of all.</summary>
    [Test]
    [OnEveryDevice]
    public void Epsilon_is_added_to_the_variance([Values] bool training)
    {
        using var device = OpDevices.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        float deviation = MathF.Sqrt(3e-5f);
        var one = tape.Input([1f], 1);
        var parameters = new BatchNormParameters(one, tape.Input([0f], 1), tape.Input([0f], 1), tape.Input([3e-5f], 1));
        float[] y = BatchNorm.Forward(tape, tape.Input([-deviation, deviation], 2, 1), parameters, training, residual: null, relu: false).ToArray();
        Numbers.AssertClose(y, [-Math.Sqrt(0.75), Math.Sqrt(0.75)], 1e-6, 0, "y");
    }

    /// <summary>torch.nn.BatchNorm2d's documentation: momentum 0.1, the running variance moves towards the unbiased one.</summary>
    [Test]
    [OnEveryDevice]
    public void Training_moves_the_running_statistics_and_evaluation_does_not([Values("cpu", "cpu:check")] string engine)
    {
        using var device = OpDevices.Open(engine, 2);
        using var tape = new Tape(device);
        var parameters = Parameters(tape, tape.Input(new float[2], 2), tape.Input(new float[2], 2));
        float[] before = parameters.RunningMean.ToArray(), varianceBefore = parameters.RunningVariance.ToArray();
        float[] x = [1, 10, 2, 20, 6, 60];
        BatchNorm.Forward(tape, tape.Input(x, 3, 2), parameters, training: false, residual: null, relu: false);
        Numbers.AssertSameBits(parameters.RunningMean.ToArray(), before, "running mean after evaluation");
        BatchNorm.Forward(tape, tape.Input(x, 3, 2), parameters, training: true, residual: null, relu: false);
        // Column 0: mean 3, squares 4 + 1 + 9 over 2; column 1 ten times that.
        Numbers.AssertClose(parameters.RunningMean.ToArray(), [0.9 * before[0] + 0.1 * 3, 0.9 * before[1] + 0.1 * 30], 1e-6, 0, "running mean");
        Numbers.AssertClose(parameters.RunningVariance.ToArray(), [0.9 * varianceBefore[0] + 0.1 * 7, 0.9 * varianceBefore[1] + 0.1 * 700], 1e-6, 0, "running variance");
    }

    [Test]
    [OnEveryDevice]
    public void A_large_mean_costs_no_accuracy_of_the_variance()
    {
        using var device = OpDevices.Open("cpu:check", 2);
        using var tape = new Tape(device, recording: false);
        const int Rows = 300;
        var random = new Random(5);
        float[] x = [.. Enumerable.Range(0, Rows).Select(_ => (float)(4096 + random.Next(8)))];
        var parameters = Parameters(tape, tape.Input([1f], 1), tape.Input([0f], 1));
        float[] y = BatchNorm.Forward(tape, tape.Input(x, Rows, 1), parameters, training: true, residual: null, relu: false).ToArray();
        // The mean is a float: it is off by up to 2^-12 / 2 of deviations of about 2.3.
        Numbers.AssertClose(y, Reference(Array.ConvertAll(x, v => (double)v), [1], [0], null), 1e-4, 0, "y");
    }

    [Test]
    [OnEveryDevice]
    public void What_is_not_finite_stays_so()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device, recording: false);
        var parameters = Parameters(tape, tape.Input([1f], 1), tape.Input([0f], 1));
        float[] y = BatchNorm.Forward(tape, tape.Input([1f, float.NaN], 2, 1), parameters, training: false, residual: null, relu: true).ToArray();
        Assert.That(y[1], Is.NaN);
    }

    [Test]
    [OnEveryDevice]
    public void What_cannot_be_normalised_is_named()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device);
        var parameters = Parameters(tape, tape.Allocate(3), tape.Allocate(3));
        Assert.That(() => BatchNorm.Forward(tape, tape.Allocate(2, 4), parameters, true, null, false), Throws.ArgumentException.With.Message.Contains("[3], expected [4]"));
        Assert.That(() => BatchNorm.Forward(tape, tape.Allocate(1, 3), parameters, true, null, false), Throws.ArgumentException.With.Message.Contains("batch of 2 or more"));
        Assert.That(() => BatchNorm.Forward(tape, tape.Allocate(2, 3), parameters, true, tape.Allocate(3, 2), false), Throws.ArgumentException.With.Message.Contains("residual has shape [3, 2]"));
    }

    /// <summary>Running statistics of column c: mean c/4 − 1, variance 1 + c/8.</summary>
    private static BatchNormParameters Parameters(Tape tape, Tensor weight, Tensor bias)
    {
        var running = Running(weight.Width);
        float[] Of(Func<(double Mean, double Variance), double> part) => [.. running.Select(r => (float)part(r))];
        return new BatchNormParameters(weight, bias, tape.Input(Of(r => r.Mean), weight.Width), tape.Input(Of(r => r.Variance), weight.Width));
    }

    private static (double Mean, double Variance)[] Running(int width) => [.. Enumerable.Range(0, width).Select(c => (c / 4.0 - 1, 1 + c / 8.0))];

    /// <param name="running">Mean and variance of each column; null for the batch's.</param>
    internal static double[] Reference(double[] x, double[] weight, double[] bias, (double Mean, double Variance)[]? running)
    {
        int width = weight.Length, rows = x.Length / width;
        var y = new double[x.Length];
        for (int c = 0; c < width; c++)
        {
            double mean = 0, variance = 0;
            for (int r = 0; r < rows; r++) mean += x[r * width + c] / rows;
            for (int r = 0; r < rows; r++) variance += Math.Pow(x[r * width + c] - mean, 2) / rows;
            if (running is not null) (mean, variance) = running[c];
            for (int r = 0; r < rows; r++) y[r * width + c] = (x[r * width + c] - mean) / Math.Sqrt(variance + 1e-5) * weight[c] + bias[c];
        }
        return y;
    }
}
