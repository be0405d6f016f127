using ClipCuda.Devices;
using ClipCuda.Ops;
using F = TorchSharp.torch.nn.functional;

namespace ClipCuda.Benchmarks;

/// <summary>Every op whose work is a kernel of ours, on the shapes of the models' steps.</summary>
internal static class KernelRows
{
    private const int HeadWidth = 64;

    private static readonly OpPart[] Separately = [OpPart.Forward, OpPart.Backward];

    public static IEnumerable<Row> All(Device device)
    {
        foreach (var (op, parts) in Kernels([[128, 128], [512, 512]]))
        {
            foreach (var part in parts) yield return op.Against("Kernels", part, device);
        }
        foreach (var op in Attentions())
        {
            foreach (var part in Separately) yield return op.Against("Attention", part, device);
        }
    }

    /// <summary>The same work on two devices of ours. Embeddings of the loss are narrow, since both devices have the same GEMM.</summary>
    public static IEnumerable<Row> Between(Device device, Device other)
    {
        foreach (var (op, parts) in Kernels([[128, 8], [512, 8]]))
        {
            foreach (var part in parts) yield return op.Between("Compiled against interpreted", part, device, other);
        }
        foreach (var op in Attentions())
        {
            foreach (var part in Separately) yield return op.Between("Compiled against interpreted", part, device, other);
        }
    }

    private static IEnumerable<(OpCase Op, OpPart[] Parts)> Kernels(int[][] embeddings)
    {
        foreach (int[] shape in (int[][])[[400, 768], [4160, 192]])
        {
            int width = shape[1];
            yield return (new OpCase(
                $"layer norm {Text(shape)}", [Activation("x", 1, shape), Parameter("weight", 2, width), Parameter("bias", 3, width)],
                (tape, t) => LayerNorm.Forward(tape, t[0], t[1], t[2]),
                t => F.layer_norm(t[0], [width], t[1], t[2]), 3e-6), Separately);
        }
        foreach (int[] shape in (int[][])[[400, 3072], [4160, 768]])
        {
            yield return (new OpCase(
                $"GELU {Text(shape)}", [Activation("x", 1, shape)], (tape, t) => Gelu.Forward(tape, t[0], bias: null), t => F.gelu(t[0]), 3e-6), Separately);
        }
        foreach (int[] shape in (int[][])[[400, 768], [4160, 192]])
        {
            yield return (new OpCase(
                $"residual add {Text(shape)}", [Activation("x", 1, shape), Activation("y", 2, shape)],
                (tape, t) => Residual.Forward(tape, t[0], t[1], bias: null), t => t[0] + t[1], 1e-7), [OpPart.Forward]);
        }
        yield return (new OpCase(
            "L2 normalise 128×512", [Activation("x", 1, 128, 512)], (tape, t) => L2Normalize.Forward(tape, t[0]), t => F.normalize(t[0], dim: -1), 3e-6), Separately);
        foreach (int[] shape in embeddings)
        {
            // Both sides take embeddings of unit length as given.
            yield return (new OpCase(
                $"contrastive loss {Text(shape)}", [Unit("image", 1, shape), Unit("text", 2, shape), new OpInput("scale", true, [2.659f])],
                (tape, t) => ClipLoss.Forward(tape, t[0], t[1], t[2]),
                t => TorchClip.Loss(t[0], t[1], t[2]), 2e-5), [OpPart.Forward, OpPart.ForwardBackward]);
        }
    }

    private static IEnumerable<OpCase> Attentions()
    {
        yield return Attend("emoji-small image", 17, batch: 128, heads: 3);
        yield return Attend("emoji-small text", 24, batch: 128, heads: 2, causal: true);
        yield return Attend("ViT-B/32 image", 50, batch: 8, heads: 12);
        yield return Attend("a power of two", 64, batch: 8, heads: 12);
        yield return Attend("bench-small image", 65, batch: 64, heads: 3);
        yield return Attend("ViT-B/32 text", 77, batch: 8, heads: 8, causal: true);
        yield return Attend("ViT-B/16 image", 197, batch: 2, heads: 12);
        yield return Attend("ViT-L/14 image", 257, batch: 2, heads: 16);
    }

    private static OpCase Attend(string whose, int sequence, int batch, int heads, bool causal = false)
    {
        int width = heads * HeadWidth;
        return new OpCase(
            $"attention S={sequence}{(causal ? " causal" : "")}, {batch}×{heads} heads ({whose})",
            [Activation("qkv", 1, batch, sequence, 3 * width)],
            (tape, t) => Attention.Forward(tape, t[0], heads, causal),
            t => TorchClip.Attend(t[0], heads, causal), 1e-5);
    }

    private static OpInput Activation(string name, int seed, params int[] shape) =>
        new(name, IsParameter: false, Noise.Normal(seed, shape.Aggregate(1L, (product, extent) => product * extent)), shape);

    private static OpInput Parameter(string name, int seed, int width) => new(name, IsParameter: true, Noise.Normal(seed, width), width);

    private static OpInput Unit(string name, int seed, int[] shape)
    {
        float[] values = Noise.Normal(seed, shape[0] * shape[1]);
        for (int row = 0; row < shape[0]; row++)
        {
            var x = values.AsSpan(row * shape[1], shape[1]);
            double squares = 0;
            foreach (float value in x) squares += (double)value * value;
            foreach (ref float value in x) value = (float)(value / Math.Sqrt(squares));
        }
        return new OpInput(name, IsParameter: false, values, shape);
    }

    private static string Text(int[] shape) => string.Join('×', shape);
}
