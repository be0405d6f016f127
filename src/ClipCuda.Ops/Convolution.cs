using ClipCuda.Devices;

namespace ClipCuda.Ops;

/// <summary>
/// Convolution without bias, channels last, as a matrix product. With channels last a 1 × 1 convolution is the product alone; a wider kernel
/// has its windows unfolded before it, so many rows at a time that the unfolded windows take no more than <see cref="UnfoldedBytes"/>, and again in
/// backward. The gradient of the input is a convolution of the output's gradient, so that no sum is scattered.
/// </summary>
public static class Convolution
{
    /// <summary>What unfolded windows may take: they are read again at once, from the cache of a CPU, and are many enough to fill a GPU.</summary>
    private const int UnfoldedBytes = 16 << 20;

    /// <summary>Zeros of (kernel − 1) / 2 each side: with stride 1 the size stays.</summary>
    /// <param name="x">[batch, height, width, in].</param>
    /// <param name="weight">[out, in, kernel, kernel], kernel odd: the layout of PyTorch's checkpoints.</param>
    /// <returns>[batch, ⌈height / stride⌉, ⌈width / stride⌉, out].</returns>
    public static Tensor Forward(Tape tape, Tensor x, Tensor weight, int stride = 1) => Forward(tape, x, weight, stride, UnfoldedBytes);

    /// <inheritdoc cref="Forward(Tape, Tensor, Tensor, int)"/>
    /// <param name="unfoldedBytes">What unfolded windows may take, but for one, which always has room.</param>
    internal static Tensor Forward(Tape tape, Tensor x, Tensor weight, int stride, int unfoldedBytes)
    {
        if (x.Shape is not [var batch, var height, var width, var inputs])
            throw new ArgumentException($"x has shape {x.ShapeText}, expected [batch, height, width, in].", nameof(x));
        if (weight.Shape is not [var outputs, var second, var kernel, var third] || second != inputs || third != kernel || kernel % 2 == 0)
            throw new ArgumentException($"weight has shape {weight.ShapeText}, expected [out, {inputs}, kernel, kernel] with an odd kernel.", nameof(weight));
        ArgumentOutOfRangeException.ThrowIfLessThan(stride, 1);
        var y = tape.Allocate(batch, (height - 1) / stride + 1, (width - 1) / stride + 1, outputs);
        var shape = new Windows(tape, x, y, weight, kernel, stride, unfoldedBytes);
        shape.Multiply();
        tape.Record(y, () =>
        {
            var dy = tape.GradientOf(y);
            if (tape.GradientTarget(x, out bool adds) is { } dx) shape.MultiplyBack(dx, dy, adds);
            if (weight.Gradient is { } dweight) shape.AccumulateWeightGradient(dweight, dy);
        });
        return y;
    }

    /// <summary>One convolution's three matrix products, each over chunks of rows.</summary>
    private sealed record Windows(Tape Tape, Tensor X, Tensor Y, Tensor Weight, int Kernel, int Stride, int UnfoldedBytes)
    {
        private readonly Device _device = Tape.Device;
        private readonly int _inputs = X.Width, _outputs = Y.Width, _taps = Kernel * Kernel;

        private bool IsProduct => _taps == 1 && Stride == 1;

        /// <summary>y = unfolded x · weightᵀ.</summary>
        public void Multiply()
        {
            int depth = _taps * _inputs;
            var packed = Pack(outer: depth, inner: _inputs);
            ForEachChunk(X, Y, "convolution_unfold", (first, count, columns) => _device.Gemm(new GemmCall(
                count, _outputs, depth, new(columns, depth), new(packed.Data, depth, Transposed: true), new(Row(Y, first), _outputs))));
            if (packed != Weight) Tape.Release(packed);
        }

        /// <summary>dx = unfolded dy · weight (+ dx).</summary>
        public void MultiplyBack(Tensor dx, Tensor dy, bool adds)
        {
            int depth = _taps * _outputs;
            var packed = Pack(outer: _inputs, inner: checked(_outputs * _inputs));
            ForEachChunk(dy, dx, "convolution_unfold_gradient", (first, count, columns) => _device.Gemm(new GemmCall(
                count, _inputs, depth, new(columns, depth), new(packed.Data, _inputs), new(Row(dx, first), _inputs), Beta: adds ? 1 : 0)));
        }

        /// <summary>dweight += dyᵀ · unfolded x.</summary>
        public void AccumulateWeightGradient(Tensor dweight, Tensor dy)
        {
            int depth = _taps * _inputs;
            var sum = _taps == 1 ? dweight : Tape.AllocateScratch(DataType.Float32, _outputs, depth);
            ForEachChunk(X, dy, "convolution_unfold", (first, count, columns) => _device.Gemm(new GemmCall(
                _outputs, depth, count, new(Row(dy, first), _outputs, Transposed: true), new(columns, depth), new(sum.Data, depth), Beta: _taps > 1 && first == 0 ? 0 : 1)));
            if (_taps > 1)
                _device.Kernel("convolution_add_gradient").Launch(new(Shapes.Ceiling(_inputs, 128), _outputs), 128, dweight.Updated, sum, _inputs, _taps);
        }

        /// <summary>The weight with its taps before its input channels, or before both kinds of channels.</summary>
        private Tensor Pack(int outer, int inner)
        {
            if (_taps == 1) return Weight;
            var packed = Tape.AllocateScratch(DataType.Float32, Weight.Shape);
            _device.Kernel("convolution_pack").Launch(new(Shapes.Ceiling(_inputs, 128), _outputs), 128, packed, Weight, _inputs, _taps, outer, inner);
            return packed;
        }

        /// <summary>Hands out the rows of <paramref name="to"/>, with the windows of <paramref name="from"/> that belong to them.</summary>
        private void ForEachChunk(Tensor from, Tensor to, string unfold, Action<int, int, DevicePointer> multiply)
        {
            if (IsProduct)
            {
                multiply(0, to.Rows, from.Data);
                return;
            }
            int depth = _taps * from.Width, most = Math.Clamp(UnfoldedBytes / (depth * sizeof(float)), 1, to.Rows);
            var columns = Tape.AllocateScratch(DataType.Float32, most, depth);
            for (int first = 0; first < to.Rows; first += most)
            {
                int count = Math.Min(most, to.Rows - first);
                _device.Kernel(unfold).Launch(
                    new(Shapes.Ceiling(count, 16), _taps), 128, columns.Data.Moving((long)count * depth * sizeof(float)), from.Data.Moving(from.Bytes * count / to.Rows), first, count, to.Shape[1], to.Shape[2], from.Shape[1], from.Shape[2], from.Width, Kernel,
                    Stride);
                multiply(first, count, columns.Data);
            }
            Tape.Release(columns);
        }

        private static DevicePointer Row(Tensor tensor, int row) => tensor.Data + (long)row * tensor.Width * sizeof(float);
    }
}
