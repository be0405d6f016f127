using ClipCuda.Devices;
using ClipCuda.Ops;
using TorchSharp;

namespace ClipCuda.Benchmarks;

/// <summary>An input of an op: an activation, or a parameter whose gradient accumulates.</summary>
internal sealed record OpInput(string Name, bool IsParameter, float[] Values, params int[] Shape);

/// <summary>Which part of an op is timed.</summary>
internal enum OpPart
{
    Forward,

    /// <summary>The backward alone; the forward before it is not timed.</summary>
    Backward,

    /// <summary>Both, one after the other.</summary>
    ForwardBackward,
}

/// <summary>
/// An op on our tape, and what it is in libtorch with its autograd. Every run of both records what backward needs, as training does;
/// outputs are freed untimed on both sides. One <see cref="OpCase"/> gives a row a part, and a row against the interpreter where that can be chosen.
/// </summary>
internal sealed record OpCase(string Name, OpInput[] Inputs, Func<Tape, Tensor[], Tensor> Ours, Func<torch.Tensor[], torch.Tensor> Theirs, double Tolerance)
{
    /// <summary>For a scalar output its cotangent is 1; otherwise noise.</summary>
    private const int CotangentSeed = 99;

    public Row Against(string group, OpPart part, Device device) =>
        new(group, $"{Name} {Text(part)}", () => (OurSide(device, part), TorchSide(part)));

    public Row Between(string group, OpPart part, Device device, Device other) =>
        new(group, $"{Name} {Text(part)}", () => (OurSide(device, part), OurSide(other, part))) { Theirs = other.Name };

    private static string Text(OpPart part) => part switch
    {
        OpPart.Forward => "forward",
        OpPart.Backward => "backward",
        _ => "forward + backward",
    };

    private static float[] Cotangent(long elements) => elements == 1 ? [1] : Noise.Normal(CotangentSeed, elements);

    private Side OurSide(Device device, OpPart part)
    {
        var buffers = new List<DeviceBuffer>();
        Tensor[] inputs = [.. Inputs.Select(input => Place(device, input, buffers))];
        var tape = new Tape(device);
        var output = Ours(tape, inputs);
        // Where libtorch has its own: in the device's memory.
        var cotangent = Place(device, new OpInput("cotangent", IsParameter: false, Cotangent(output.Elements), [.. output.Shape]), buffers);

        void Prepare()
        {
            tape.Reset();
            if (part == OpPart.Backward) output = Ours(tape, inputs);
        }

        void Run()
        {
            if (part != OpPart.Backward) output = Ours(tape, inputs);
            if (part != OpPart.Forward) tape.Backward(output, cotangent);
        }

        IEnumerable<Result> Results()
        {
            tape.Reset();
            var gradients = new float[Inputs.Length][];
            for (int i = 0; i < inputs.Length; i++)
            {
                int index = i;
                if (Inputs[i].IsParameter) inputs[i].Gradient!.Clear();
                else tape.Record(inputs[i], () => gradients[index] = tape.GradientOf(inputs[index]).ToArray());
            }
            output = Ours(tape, inputs);
            yield return new Result("output", output.ToArray(), Tolerance);
            if (part == OpPart.Forward) yield break;
            tape.Backward(output, cotangent);
            for (int i = 0; i < inputs.Length; i++)
                yield return new Result($"gradient of {Inputs[i].Name}", Inputs[i].IsParameter ? inputs[i].Gradient!.ToArray() : gradients[i], Tolerance);
        }

        void Dispose()
        {
            tape.Dispose();
            foreach (var buffer in buffers) buffer.Dispose();
        }

        return new Side(Run, Results, Prepare, Dispose);
    }

    private Side TorchSide(OpPart part)
    {
        torch.Tensor[] inputs = [.. Inputs.Select(input => TorchTensors.Of(input.Values, input.Shape).requires_grad_())];
        var scope = torch.NewDisposeScope();
        var output = Theirs(inputs);
        using var shape = TorchTensors.Of(Cotangent(output.numel()), (int)output.numel());
        var cotangent = shape.reshape(output.shape).clone().DetachFromDisposeScope();

        void Prepare()
        {
            scope.Dispose();
            scope = torch.NewDisposeScope();
            if (part == OpPart.Backward) output = Theirs(inputs);
        }

        void Run()
        {
            if (part != OpPart.Backward) output = Theirs(inputs);
            if (part != OpPart.Forward) torch.autograd.grad([output], inputs, [cotangent]);
        }

        IEnumerable<Result> Results()
        {
            using var results = torch.NewDisposeScope();
            var y = Theirs(inputs);
            yield return new Result("output", y.ToFloats(), Tolerance);
            if (part == OpPart.Forward) yield break;
            var gradients = torch.autograd.grad([y], inputs, [cotangent]);
            for (int i = 0; i < inputs.Length; i++) yield return new Result($"gradient of {Inputs[i].Name}", gradients[i].ToFloats(), Tolerance);
        }

        void Dispose()
        {
            scope.Dispose();
            cotangent.Dispose();
            foreach (var input in inputs) input.Dispose();
        }

        return new Side(Run, Results, Prepare, Dispose);
    }

    private static Tensor Place(Device device, OpInput input, List<DeviceBuffer> buffers)
    {
        Tensor New()
        {
            var buffer = device.Allocate(input.Values.Length * sizeof(float), input.Name);
            buffers.Add(buffer);
            return new Tensor(device, buffer.Start, DataType.Float32, input.Shape);
        }

        var value = New();
        value.Upload(input.Values);
        if (!input.IsParameter) return new Tensor(device, value.Data, DataType.Float32, input.Shape) { NeedsGradient = true };
        var gradient = New();
        gradient.Clear();
        return new Tensor(device, value.Data, DataType.Float32, input.Shape) { NeedsGradient = true, Gradient = gradient };
    }
}
