using ClipCuda.Devices;
using ClipCuda.Ops;
using TorchSharp;

namespace ClipCuda.Benchmarks;

/// <summary>
/// The GEMMs of CLIP's image towers: forward x·Wᵀ (NT), gradient of the input dy·W (NN), gradient of the weight dyᵀ·x (TN); and small ones.
/// Both sides write into a matrix that is there already (libtorch: <c>addmm_</c> with beta 0), so that no allocation is timed.
/// </summary>
internal static class GemmRows
{
    /// <summary>Rounding of a chain of K products is about √K · 2⁻²⁴ of the result; 10⁻⁵ allows K beyond 10⁴.</summary>
    private const double Tolerance = 1e-5;

    public static IEnumerable<Row> All(Device device)
    {
        foreach (var (model, rows, width) in ((string, int, int)[])[("ViT-B/32", 8 * 50, 768), ("bench-small", 64 * 65, 192), ("emoji-small", 128 * 17, 192)])
        {
            foreach (var (layer, outputs, inputs) in ((string, int, int)[])[("QKV", 3 * width, width), ("proj", width, width), ("MLP up", 4 * width, width), ("MLP down", width, 4 * width)])
            {
                yield return Gemm(device, $"{model} {layer} forward", rows, outputs, inputs, transposeB: true);
                yield return Gemm(device, $"{model} {layer} input gradient", rows, inputs, outputs);
                yield return Gemm(device, $"{model} {layer} weight gradient", outputs, inputs, rows, transposeA: true);
            }
        }
        yield return Gemm(device, "logits of 128", 128, 128, 128, transposeB: true);
        yield return Gemm(device, "logits of 8", 8, 8, 512, transposeB: true);
        yield return Gemm(device, "gradient of embeddings of 128", 128, 128, 128);
        yield return Gemm(device, "width 20 forward", 170, 60, 20, transposeB: true);
        yield return Gemm(device, "width 20 weight gradient", 60, 20, 170, transposeA: true);
        yield return Gemm(device, "projection of 8 rows", 8, 512, 768);
    }

    private static Row Gemm(Device device, string what, int m, int n, int k, bool transposeA = false, bool transposeB = false)
    {
        string kind = $"{(transposeA ? 'T' : 'N')}{(transposeB ? 'T' : 'N')}";
        return new Row("GEMM", $"GEMM {what} {kind} {m}×{n}×{k}", Create, Flops: 2.0 * m * n * k);

        (Side Ours, Side Theirs) Create()
        {
            float[] a = Noise.Normal(1, (long)m * k), b = Noise.Normal(2, (long)k * n);
            return (Ours(a, b), Theirs(a, b));
        }

        Side Ours(float[] valuesA, float[] valuesB)
        {
            var buffers = new[] { device.Allocate(4L * m * k, "A"), device.Allocate(4L * k * n, "B"), device.Allocate(4L * m * n, "C") };
            new Tensor(device, buffers[0].Start, DataType.Float32, m, k).Upload(valuesA);
            new Tensor(device, buffers[1].Start, DataType.Float32, k, n).Upload(valuesB);
            var c = new Tensor(device, buffers[2].Start, DataType.Float32, m, n);
            var call = new GemmCall(
                m, n, k, new(buffers[0].Start, transposeA ? m : k, transposeA), new(buffers[1].Start, transposeB ? k : n, transposeB), new(buffers[2].Start, n));
            return new Side(() => device.Gemm(call), Results, dispose: () => Array.ForEach(buffers, buffer => buffer.Dispose()));

            IEnumerable<Result> Results()
            {
                device.Gemm(call);
                yield return new Result("C", c.ToArray(), Tolerance);
            }
        }

        Side Theirs(float[] valuesA, float[] valuesB)
        {
            torch.Tensor storedA = transposeA ? TorchTensors.Of(valuesA, k, m) : TorchTensors.Of(valuesA, m, k);
            torch.Tensor storedB = transposeB ? TorchTensors.Of(valuesB, n, k) : TorchTensors.Of(valuesB, k, n);
            torch.Tensor a = transposeA ? storedA.t() : storedA, b = transposeB ? storedB.t() : storedB, c = torch.zeros(m, n);
            return new Side(() => c.addmm_(a, b, beta: 0, alpha: 1), Results, dispose: () => Array.ForEach([a, b, c, storedA, storedB], t => t.Dispose()));

            IEnumerable<Result> Results()
            {
                c.addmm_(a, b, beta: 0, alpha: 1);
                yield return new Result("C", c.ToFloats(), Tolerance);
            }
        }
    }
}
