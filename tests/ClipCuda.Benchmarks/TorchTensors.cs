using TorchSharp;

namespace ClipCuda.Benchmarks;

/// <summary>Numbers into libtorch and out of it.</summary>
internal static class TorchTensors
{
    public static torch.Tensor Of(float[] values, params int[] shape) =>
        torch.tensor(values, Array.ConvertAll(shape, extent => (long)extent));

    public static float[] ToFloats(this torch.Tensor tensor)
    {
        using var contiguous = tensor.detach().contiguous();
        return contiguous.data<float>().ToArray();
    }
}
