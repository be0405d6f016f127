using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Ops;

namespace ClipCuda.Training;

/// <summary>
/// Floating-point operations of one image's and one caption's way through the towers: two for each multiply-add of the matrix products,
/// attention's included, nothing for norms, activations and sums. It is the convention of PyTorch's FlopCounterMode
/// (torch/utils/flop_counter.py), by which open_clip's docs/model_profile.csv was made: 8.82 + 5.96 = 14.78 GFLOP for ViT-B-32.
/// </summary>
public sealed record ForwardFlops(double Image, double Text)
{
    public double Pair => Image + Text;

    /// <summary>Counts by running both towers on a <see cref="MeasuringDevice"/>.</summary>
    /// <exception cref="ArgumentException">The configuration makes no sense.</exception>
    public static ForwardFlops Of(ClipConfig config)
    {
        using var device = new MeasuringDevice();
        using var model = new ClipModel(device, config);
        using var tape = new Tape(device, recording: false);
        int size = config.Vision.ImageSize;
        return new ForwardFlops(
            Count(device, () => model.EncodeImage(tape, tape.AllocateScratch(DataType.Float32, 1, 3, size, size))),
            Count(device, () => model.EncodeText(tape, new int[config.Text.ContextLength], batch: 1)));
    }

    private static double Count(MeasuringDevice device, Func<Tensor> encode)
    {
        device.Profile = new DeviceProfile();
        encode();
        return device.Profile.Entries.Sum(entry => entry.Flops);
    }
}
