using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class ConvolutionTests
{
    // Chains of kernel²·in ≤ 450 fused multiply-adds, whose partial sums stay near the largest result: a random walk of √450 roundings of 2^-24
    // and some spread; the weight's gradient adds up to 1,600 rows.
    private const double Forward = 5e-6, Gradient = 5e-6;

    [TestCase(2, 5, 7, 3, 4, 3, 1)]
    [TestCase(2, 8, 6, 3, 5, 3, 2)]
    [TestCase(1, 7, 5, 33, 31, 3, 2)]
    [TestCase(1, 9, 9, 2, 3, 3, 3)]
    [TestCase(1, 3, 4, 40, 33, 3, 1)]
    [TestCase(3, 4, 5, 17, 9, 1, 1)]
    [TestCase(2, 5, 4, 6, 3, 1, 2)]
    [TestCase(1, 6, 5, 5, 4, 5, 1)]
    [TestCase(1, 1, 1, 3, 2, 3, 1)]
    [TestCase(1, 40, 40, 3, 2, 3, 1)]
    public void Matches_the_reference_and_its_gradients(int batch, int height, int width, int inputs, int outputs, int kernel, int stride) =>
        Check(batch, height, width, inputs, outputs, kernel, stride, unfoldedBytes: null);

    /// <summary>So many rows at a time that forward and backward take several chunks, the last of them shorter; or one row, which always has room.</summary>
    [TestCase(2, 5, 7, 3, 4, 3, 1, 20 * 27 * sizeof(float))]
    [TestCase(2, 8, 6, 3, 5, 3, 2, 5 * 27 * sizeof(float))]
    [TestCase(1, 3, 4, 40, 33, 3, 1, 1)]
    public void Windows_beyond_one_chunk_give_the_same(int batch, int height, int width, int inputs, int outputs, int kernel, int stride, int unfoldedBytes) =>
        Check(batch, height, width, inputs, outputs, kernel, stride, unfoldedBytes);

    /// <summary>Any number of taps, though kernels have 9, 25 and so on: packed weights, added to a gradient, are the weights again.</summary>
    /// <summary>In y = convolution(x) + x the sum's gradient reaches x before the convolution's; in one piece, and in chunks of rows.</summary>
    [Test]
    public void The_gradient_is_added_to_what_another_op_gave([Values(1, 3)] int kernel, [Values(1, 1 << 20)] int unfoldedBytes) => new OpTest
    {
        Inputs = [OpInput.Activation("x", [2, 4, 5, 3]), OpInput.Parameter("weight", [3, 3, kernel, kernel])],
        Op = (tape, t) => Residual.Forward(tape, Convolution.Forward(tape, t[0], t[1], 1, unfoldedBytes), t[0], bias: null),
        Reference = x => [.. Reference(x[0], x[1], 2, 4, 5, 3, kernel, 1).Zip(x[0], (y, a) => y + a)],
        OutputShape = [2, 4, 5, 3],
        ForwardTolerance = Forward,
        GradientTolerance = Gradient,
    }.Run();

    [Test]
    [OnEveryDevice]
    public void Weights_are_packed_and_unpacked([Values(1, 4, 8, 19)] int taps)
    {
        const int Outputs = 2, Channels = 131;
        using var device = OpDevices.Open("cpu:check", 1);
        using var tape = new Tape(device, recording: false);
        float[] weights = [.. Enumerable.Range(0, Outputs * Channels * taps).Select(i => (float)i)];
        var packed = tape.Allocate(Outputs, taps, Channels);
        device.Kernel("convolution_pack").Launch(new(2, Outputs), 128, packed.Data, tape.Input(weights, Outputs, Channels, taps).Data, Channels, taps, taps * Channels, Channels);
        Assert.That(packed.ToArray(), Is.EqualTo(weights.Select((_, i) => (float)((i / (taps * Channels) * Channels + i % Channels) * taps + i / Channels % taps))));
        var gradient = tape.Input(weights, Outputs, Channels, taps);
        device.Kernel("convolution_add_gradient").Launch(new(2, Outputs), 128, gradient.Data, packed.Data, Channels, taps);
        Assert.That(gradient.ToArray(), Is.EqualTo(weights.Select(w => 2 * w)));
    }

    [Test]
    [OnEveryDevice]
    public void The_workspace_of_forward_is_given_back()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device);
        var x = tape.Input(new float[8 * 8 * 4], 1, 8, 8, 4);
        var weight = tape.Input(new float[5 * 4 * 9], 5, 4, 3, 3);
        Convolution.Forward(tape, x, weight);
        long allocations = device.Allocations;
        Convolution.Forward(tape, x, weight);
        Assert.That(device.Allocations, Is.EqualTo(allocations + 1), "only the output is new");
    }

    [Test]
    [OnEveryDevice]
    public void Wrong_shapes_are_named()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device);
        var x = tape.Allocate(1, 4, 4, 3);
        Assert.That(() => Convolution.Forward(tape, x, tape.Allocate(2, 4, 3, 3)), Throws.ArgumentException.With.Message.Contains("[2, 4, 3, 3], expected [out, 3, kernel, kernel]"));
        Assert.That(() => Convolution.Forward(tape, x, tape.Allocate(2, 3, 2, 2)), Throws.ArgumentException.With.Message.Contains("odd kernel"));
        Assert.That(() => Convolution.Forward(tape, tape.Allocate(4, 4, 3), tape.Allocate(2, 3, 3, 3)), Throws.ArgumentException.With.Message.Contains("[4, 4, 3]"));
    }

    private static void Check(int batch, int height, int width, int inputs, int outputs, int kernel, int stride, int? unfoldedBytes) => new OpTest
    {
        Inputs = [OpInput.Activation("x", [batch, height, width, inputs]), OpInput.Parameter("weight", [outputs, inputs, kernel, kernel])],
        Op = (tape, t) => unfoldedBytes is { } bytes ? Convolution.Forward(tape, t[0], t[1], stride, bytes) : Convolution.Forward(tape, t[0], t[1], stride),
        Reference = x => Reference(x[0], x[1], batch, height, width, inputs, kernel, stride),
        OutputShape = [batch, (height + stride - 1) / stride, (width + stride - 1) / stride, outputs],
        ForwardTolerance = Forward,
        GradientTolerance = Gradient,
    }.Run();

    internal static double[] Reference(double[] x, double[] weight, int batch, int height, int width, int inputs, int kernel, int stride)
    {
        int outputs = weight.Length / (inputs * kernel * kernel), pad = kernel / 2, rows = (height + stride - 1) / stride, columns = (width + stride - 1) / stride;
        var y = new double[batch * rows * columns * outputs];
        for (int n = 0; n < y.Length; n++)
        {
            int o = n % outputs, j = n / outputs % columns, i = n / outputs / columns % rows, b = n / outputs / columns / rows;
            for (int k = 0; k < inputs * kernel * kernel; k++)
            {
                int c = k / (kernel * kernel), row = i * stride + k / kernel % kernel - pad, column = j * stride + k % kernel - pad;
                if (row >= 0 && row < height && column >= 0 && column < width)
                    y[n] += weight[o * inputs * kernel * kernel + k] * x[((b * height + row) * width + column) * inputs + c];
            }
        }
        return y;
    }
}
