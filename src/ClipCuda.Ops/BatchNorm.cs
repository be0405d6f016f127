using ClipCuda.Ptx;

namespace ClipCuda.Ops;

/// <summary>What a batch norm of one width learns, and the statistics it keeps for evaluation; each [width].</summary>
public sealed record BatchNormParameters(Tensor Weight, Tensor Bias, Tensor RunningMean, Tensor RunningVariance);

/// <summary>Batch normalisation over all axes but the last, as <c>torch.nn.BatchNorm2d</c> (Ioffe, Szegedy 2015).</summary>
public static class BatchNorm
{
    private const float Momentum = 0.1f, Epsilon = 1e-5f;

    /// <summary>(x − mean) / √(variance + 1e-5) · weight + bias for each column, plus <paramref name="residual"/>, cut at zero if <paramref name="relu"/>.</summary>
    /// <param name="x">[..., width].</param>
    /// <param name="training">
    /// True: mean and variance are the batch's, and the running ones move towards them by a tenth (the variance towards the unbiased one).
    /// False: they are the running ones, constants of which backward knows.
    /// </param>
    /// <param name="residual">What is added, of x's shape, or null.</param>
    public static Tensor Forward(Tape tape, Tensor x, BatchNormParameters parameters, bool training, Tensor? residual, bool relu)
    {
        (int rows, int width) = (x.Rows, x.Width);
        var (weight, bias, runningMean, runningVariance) = parameters;
        Shapes.Require(weight, nameof(weight), width);
        Shapes.Require(bias, nameof(bias), width);
        Shapes.Require(runningMean, nameof(runningMean), width);
        Shapes.Require(runningVariance, nameof(runningVariance), width);
        if (residual is not null) Shapes.Require(residual, nameof(residual), x.Shape);
        if (training && rows < 2) throw new ArgumentException("Batch norm has no variance of one row; train with a batch of 2 or more.", nameof(x));

        var device = tape.Device;
        var y = tape.Allocate(x.Shape);
        var mean = tape.AllocateScratch(DataType.Float32, width);
        var rstd = tape.AllocateScratch(DataType.Float32, width);
        // Enough runs for a GPU's many cores, few enough that adding them up is quick.
        int rowsARun = Math.Max(32, Shapes.Ceiling(rows, 256)), runs = Shapes.Ceiling(rows, rowsARun), blocks = Shapes.Ceiling(width, 32);
        var runGrid = new Dim3(blocks, Shapes.Ceiling(runs, 4));
        if (training)
        {
            var partial = tape.AllocateScratch(DataType.Float32, runs, 2, width);
            device.Kernel("batchnorm_statistics").Launch(runGrid, 128, partial, x, rows, width, rowsARun, runs);
            device.Kernel("batchnorm_finish").Launch(
                blocks, 256, mean, rstd, runningMean.Updated, runningVariance.Updated, partial, rows, width, rowsARun, runs, Momentum, Epsilon);
            tape.Release(partial);
        }
        else
        {
            device.Kernel("batchnorm_running").Launch(Shapes.Ceiling(width, 128), 128, mean, rstd, runningMean, runningVariance, width, Epsilon);
        }
        var tiles = Shapes.Tiles(rows, width);
        int cut = relu ? 1 : 0;
        device.Kernel("batchnorm_forward")
            .Launch(tiles, 128, y, x, Shapes.OrNull(residual), mean, rstd, weight, bias, rows, width, cut);
        tape.Record(y, () =>
        {
            var dy = tape.GradientOf(y);
            var partial = tape.AllocateScratch(DataType.Float32, runs, 2, width);
            var means = tape.AllocateScratch(DataType.Float32, 2, width);
            device.Kernel("batchnorm_backward_partial")
                .Launch(runGrid, 128, partial, dy, y, x, mean, rstd, rows, width, rowsARun, runs, cut);
            device.Kernel("batchnorm_backward_finish").Launch(
                blocks, 256, means, Shapes.UpdatedOrNull(weight.Gradient), Shapes.UpdatedOrNull(bias.Gradient), partial, width, runs, training ? 1f / rows : 0f);
            var dresidual = residual is null ? null : tape.GradientTarget(residual);
            // Where nobody needs dx, the residual may still need its gradient.
            var dx = tape.GradientTarget(x) ?? (dresidual is null ? null : tape.AllocateScratch(DataType.Float32, x.Shape));
            if (dx is null) return;
            device.Kernel("batchnorm_backward").Launch(
                tiles, 128, dx, Shapes.OrNull(dresidual), dy, y, x, mean, rstd, weight, means, rows, width, cut);
        });
        return y;
    }
}
