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
    public void Matches_the_reference_and_its_gradients(int batch, int height, int width, int inputs, int outputs, int kernel, int stride) => new OpTest
    {
        Inputs = [OpInput.Activation("x", [batch, height, width, inputs]), OpInput.Parameter("weight", [outputs, inputs, kernel, kernel])],
        Op = (tape, t) => Convolution.Forward(tape, t[0], t[1], stride),
        Reference = x => Reference(x[0], x[1], batch, height, width, inputs, kernel, stride),
        OutputShape = [batch, (height + stride - 1) / stride, (width + stride - 1) / stride, outputs],
        ForwardTolerance = Forward,
        GradientTolerance = Gradient,
    }.Run();

    /// <summary>16 MiB hold 9,709 windows of 9 · 48 numbers; these are 10,200.</summary>
    [Test]
    [OnEveryDevice]
    public void Windows_beyond_one_chunk_give_the_same()
    {
        using var device = OpDevices.Open("cpu", 2);
        using var tape = new Tape(device);
        var random = new Random(3);
        float[] Draw(int count) => [.. Enumerable.Range(0, count).Select(_ => Numbers.Normal(random))];
        const int Inputs = 48, Height = 102, Width = 100;
        float[] values = Draw(Height * Width * Inputs), weights = Draw(Inputs * 9), cotangent = Draw(Height * Width);
        var gradients = new float[2][];
        var x = tape.Allocate(1, Height, Width, Inputs);
        x.Upload(values);
        tape.Record(x, () => gradients[0] = tape.GradientOf(x).ToArray());
        using var parameter = device.Allocate(2 * weights.Length * sizeof(float), "weight");
        var weight = new Tensor(device, parameter.Start, DataType.Float32, 1, Inputs, 3, 3)
        {
            Gradient = new Tensor(device, parameter.At(weights.Length * sizeof(float)), DataType.Float32, 1, Inputs, 3, 3),
            NeedsGradient = true,
        };
        weight.Upload(weights);
        weight.Gradient.Clear();
        var y = Convolution.Forward(tape, x, weight);
        float[] output = y.ToArray();
        tape.Backward(y, cotangent);
        gradients[1] = weight.Gradient.ToArray();

        double[] exact = Array.ConvertAll(values, v => (double)v), kernel = Array.ConvertAll(weights, v => (double)v), back = Array.ConvertAll(cotangent, v => (double)v);
        Numbers.AssertClose(output, Reference(exact, kernel, 1, Height, Width, Inputs, 3, 1), Forward, 0, "output");
        // The transposed convolution is one with the kernel turned around; the weight's gradient is each window times its output's.
        double[] dx = new double[values.Length], dweight = new double[weights.Length];
        for (int row = 0; row < Height; row++)
        {
            for (int column = 0; column < Width; column++)
            {
                for (int t = 0; t < 9; t++)
                {
                    int i = row + t / 3 - 1, j = column + t % 3 - 1;
                    if (i < 0 || j < 0 || i >= Height || j >= Width) continue;
                    double d = back[row * Width + column];
                    for (int c = 0; c < Inputs; c++)
                    {
                        dx[(i * Width + j) * Inputs + c] += d * kernel[c * 9 + t];
                        dweight[c * 9 + t] += d * exact[(i * Width + j) * Inputs + c];
                    }
                }
            }
        }
        Numbers.AssertClose(gradients[0], dx, Gradient, 0, "gradient of x");
        Numbers.AssertClose(gradients[1], dweight, Gradient, 0, "gradient of weight");
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
