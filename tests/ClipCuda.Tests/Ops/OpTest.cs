using ClipCuda.Devices;
using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

/// <summary>
/// The one harness for ops. An op runs on every CPU engine and on the CUDA device; its output is compared with a float64 reference written for reading, its
/// gradients with central finite differences of that reference under a random cotangent (never a sum: softmax's gradient of a sum is zero).
/// Parameter gradients start from random numbers, so that an op which assigns instead of adding fails.
/// Outputs and gradients must have the same bits on every engine and for every number of threads.
/// <example><code>
/// new OpTest
/// {
///     Inputs = [OpInput.Activation("x", [5, 7]), OpInput.Parameter("bias", [7])],
///     Op = (tape, t) => Gelu.Forward(tape, t[0], t[1]),
///     Reference = x => Gelu64(x[0], x[1]),      // flat row-major arrays in the order of Inputs
///     OutputShape = [5, 7],
///     ForwardTolerance = 4e-7, GradientTolerance = 1e-6,   // of the largest magnitude; derive them where they are given
/// }.Run();
/// </code></example>
/// </summary>
internal sealed class OpTest
{
    /// <summary>At most this many coordinates of an input are differenced; larger inputs are sampled.</summary>
    private const int DifferencedCoordinates = 160;

    private static readonly (string Device, int Threads)[] Engines =
        [("cpu:check", 2), ("cpu:interpret", 2), ("cpu:512", 1), ("cpu:512", 2), ("cpu:256", 2), ("cpu:128", 2), ("cuda", 0), ("managedcuda", 0)];

    public required OpInput[] Inputs { get; init; }

    public required Func<Tape, Tensor[], Tensor> Op { get; init; }

    public required Func<double[][], double[]> Reference { get; init; }

    public required int[] OutputShape { get; init; }

    /// <summary>Allowed error of the output as a share of its largest magnitude.</summary>
    public required double ForwardTolerance { get; init; }

    /// <summary>Allowed error of a gradient as a share of its largest magnitude.</summary>
    public required double GradientTolerance { get; init; }

    /// <summary>Absolute error always allowed, for results that are zero in exact arithmetic.</summary>
    public double Floor { get; init; } = 1e-7;

    public ulong Seed { get; init; } = 1;

    public void Run()
    {
        var expected = OpDevices.Derive(Expect);
        Assert.That(Engines.Any(engine => TestDevices.Runs(engine.Device)), "CLIPCUDA_DEVICE names no device that ops are tested on");
        Outcome? first = null;
        foreach (var (name, threads) in OpDevices.AreReplaced ? Engines[..1] : Engines.Where(engine => TestDevices.Runs(engine.Device)))
        {
            using var prepared = TestDevices.Prepare(name);
            string engine = $"{name}, {threads} threads";
            var outcome = RunOn(name, threads, expected);
            if (first is null)
            {
                first = outcome;
                Numbers.AssertClose(outcome.Output, expected.Output, ForwardTolerance, Floor, $"output on {engine}");
                for (int i = 0; i < Inputs.Length; i++)
                {
                    var (coordinates, gradient) = expected.Gradients[i];
                    float[] actual = [.. coordinates.Select(c => outcome.Gradients[i][c])];
                    Numbers.AssertClose(actual, gradient, GradientTolerance, Floor, $"gradient of {Inputs[i].Name} on {engine}");
                }
            }
            else
            {
                Numbers.AssertSameBits(outcome.Output, first.Output, $"output on {engine}");
                for (int i = 0; i < Inputs.Length; i++)
                    Numbers.AssertSameBits(outcome.Gradients[i], first.Gradients[i], $"gradient of {Inputs[i].Name} on {engine}");
            }
        }
    }

    private Expectation Expect()
    {
        var random = new Random((int)Seed);
        float[][] values = [.. Inputs.Select(input => input.Draw(random))];
        double[][] exact = [.. values.Select(v => Array.ConvertAll(v, x => (double)x))];
        double[] output = Reference(exact);
        float[] cotangent = Draw(random, output.Length);
        float[][] start = [.. values.Select(v => Draw(random, v.Length))];
        var gradients = new (int[], double[])[Inputs.Length];
        for (int i = 0; i < Inputs.Length; i++)
        {
            int[] coordinates = [.. Enumerable.Range(0, exact[i].Length)];
            if (coordinates.Length > DifferencedCoordinates)
            {
                random.Shuffle(coordinates);
                coordinates = coordinates[..DifferencedCoordinates];
            }
            bool adds = Inputs[i].Kind == OpInputKind.Parameter;
            int index = i;
            gradients[i] = (coordinates, [.. coordinates.Select(c => Difference(exact, index, c, cotangent) + (adds ? start[index][c] : 0))]);
        }
        return new Expectation(values, start, output, cotangent, gradients);
    }

    private Outcome RunOn(string name, int threads, Expectation expected)
    {
        using var device = OpDevices.Open(name, threads);
        var gradients = new float[Inputs.Length][];
        Outcome outcome;
        var buffers = new List<DeviceBuffer>();
        using (var tape = new Tape(device))
        {
            var tensors = new Tensor[Inputs.Length];
            for (int i = 0; i < Inputs.Length; i++) tensors[i] = Place(tape, i, expected.Values[i], expected.Start[i], gradients, buffers);
            var output = Op(tape, tensors);
            Assert.That(output.Shape, Is.EqualTo(OutputShape), "shape of the output");
            float[] result = output.ToArray();
            tape.Backward(output, expected.Cotangent);
            for (int i = 0; i < Inputs.Length; i++)
            {
                if (Inputs[i].Kind == OpInputKind.Parameter) gradients[i] = tensors[i].Gradient!.ToArray();
                Assert.That(gradients[i], Is.Not.Null, $"no gradient reached {Inputs[i].Name}");
            }
            outcome = new Outcome(result, gradients);
        }
        foreach (var buffer in buffers) buffer.Dispose();
        Assert.That(device.LiveBuffers, Is.Zero, "buffers still alive after the tape is gone");
        return outcome;
    }

    private Tensor Place(Tape tape, int index, float[] values, float[] start, float[][] gradients, List<DeviceBuffer> buffers)
    {
        var input = Inputs[index];
        if (input.Kind == OpInputKind.Activation)
        {
            var tensor = tape.Allocate(input.Shape);
            tensor.Upload(values);
            tape.Record(tensor, () => gradients[index] = tape.GradientOf(tensor).ToArray());
            return tensor;
        }
        var device = tape.Device;
        var value = device.Allocate(values.Length * sizeof(float), input.Name);
        var gradient = device.Allocate(values.Length * sizeof(float), input.Name + ".gradient");
        buffers.Add(value);
        buffers.Add(gradient);
        var parameter = new Tensor(device, value.Start, DataType.Float32, input.Shape)
        {
            Gradient = new Tensor(device, gradient.Start, DataType.Float32, input.Shape),
            NeedsGradient = true,
        };
        parameter.Upload(values);
        parameter.Gradient.Upload(start);
        return parameter;
    }

    /// <summary>d(cotangent · f)/dx by a central difference in float64: truncation h²·f‴/6 ≈ 1e-10, rounding 1e-16/h ≈ 1e-11.</summary>
    private double Difference(double[][] inputs, int input, int coordinate, float[] cotangent)
    {
        double at = inputs[input][coordinate], h = 1e-5 * Math.Max(1, Math.Abs(at));
        inputs[input][coordinate] = at + h;
        double[] above = Reference(inputs);
        inputs[input][coordinate] = at - h;
        double[] below = Reference(inputs);
        inputs[input][coordinate] = at;
        double sum = 0;
        for (int i = 0; i < above.Length; i++) sum += cotangent[i] * (above[i] - below[i]);
        return sum / (2 * h);
    }

    private static float[] Draw(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => Numbers.Normal(random))];

    /// <summary>Inputs, and what comes of them in float64.</summary>
    /// <param name="Start">What gradients of parameters hold before.</param>
    /// <param name="Gradients">For each input some coordinates, and the derivatives by them.</param>
    private sealed record Expectation(float[][] Values, float[][] Start, double[] Output, float[] Cotangent, (int[] Coordinates, double[] Values)[] Gradients);

    private sealed record Outcome(float[] Output, float[][] Gradients);
}

internal enum OpInputKind
{
    /// <summary>Its gradient is assigned.</summary>
    Activation,

    /// <summary>Its gradient is added to.</summary>
    Parameter,
}

/// <summary>An input of an op under test; normal numbers times <paramref name="Scale"/>, or the values given.</summary>
internal sealed record OpInput(string Name, int[] Shape, OpInputKind Kind, float Scale = 1, float[]? Values = null)
{
    public static OpInput Activation(string name, int[] shape, float scale = 1) => new(name, shape, OpInputKind.Activation, scale);

    public static OpInput Parameter(string name, int[] shape, float scale = 1) => new(name, shape, OpInputKind.Parameter, scale);

    public float[] Draw(Random random)
    {
        int count = Shape.Aggregate(1, (product, extent) => product * extent);
        return Values ?? [.. Enumerable.Range(0, count).Select(_ => Scale * Numbers.Normal(random))];
    }
}
