// Batch normalisation over all axes but the last (Ioffe, Szegedy 2015), with what follows it in a residual block: an addition and ReLU.
//
//   statistics:        mean_k = Σx / n_k,  M2_k = Σ(x − mean_k)²   over the k-th run of rows
//   finish:            mean = Σ n_k·mean_k / N,  M2 = Σ M2_k + n_k·(mean_k − mean)²   (Chan, Golub, LeVeque 1983, equation 1.5)
//                      rstd = 1 / √(M2/N + ε),  running += m · ((mean, M2/(N − 1)) − running)
//   running:           mean = running mean,  rstd = 1 / √(running variance + ε)
//   forward:           y = (x − mean) · rstd · w + b (+ residual), then max(0, ·) if relu
//   backward_partial:  g = relu and y ≤ 0 ? 0 : dy,  partial[k] = Σ g, Σ g·x̂   over the k-th run,  x̂ = (x − mean) · rstd
//   backward_finish:   db += Σ g,  dw += Σ g·x̂,  means = (Σ g, Σ g·x̂) / N, or zero where the statistics are constants
//   backward:          dresidual = g,  dx = w · rstd · (g − means₀ − x̂ · means₁)
//
// x, y, residual and their gradients: [N, C]; w, b, mean, rstd, running…: [C]; partial: [runs, 2, C]; means: [2, C].
// statistics, backward_partial: grid (C / 32, runs / 4), blocks of 128, a warp a run, a lane a column; finish, backward_finish: 32 columns a
// block of 256, whose warps share the runs; running: 128 columns a block; forward, backward: the tiles of common/tile.cuh.
// Moves 4 + 8 (+ 4) bytes an element forward and 12 + 16 (+ 4) backward, the second pass of `statistics` coming from the cache.
#include "common/tile.cuh"

constexpr int FinishWarps = 8;

// The sum over the warps of a block of 256, in order, in every thread.
DEVICE float sum_of_warps(float value, float (&scratch)[FinishWarps][WarpSize]) {
    int lane = threadIdx.x % WarpSize;
    scratch[threadIdx.x / WarpSize][lane] = value;
    __syncthreads();
    float sum = 0;
    for (int warp = 0; warp < FinishWarps; ++warp) sum += scratch[warp][lane];
    __syncthreads();
    return sum;
}

KERNEL(128) batchnorm_statistics(float* partial, const float* x, int rows, int columns, int rows_a_run, int runs) {
    int c = blockIdx.x * WarpSize + threadIdx.x % WarpSize;
    int run = blockIdx.y * 4 + threadIdx.x / WarpSize;
    if (c >= columns || run >= runs) return;
    int count = min(rows_a_run, rows - run * rows_a_run);
    const float* in = x + (long long)run * rows_a_run * columns + c;
    float sum = 0;
    for (int r = 0; r < count; ++r) sum += in[(long long)r * columns];
    float mean = sum / (float)count;
    float squares = 0;
    for (int r = 0; r < count; ++r) {
        float d = in[(long long)r * columns] - mean;
        squares = fmaf(d, d, squares);
    }
    partial[(long long)(2 * run) * columns + c] = mean;
    partial[(long long)(2 * run + 1) * columns + c] = squares;
}

KERNEL(256)
batchnorm_finish(
    float* mean, float* rstd, float* running_mean, float* running_variance, const float* partial, int rows, int columns, int rows_a_run, int runs, float momentum,
    float epsilon) {
    __shared__ float scratch[FinishWarps][WarpSize];
    int warp = threadIdx.x / WarpSize;
    int c = blockIdx.x * WarpSize + threadIdx.x % WarpSize;
    int column = min(c, columns - 1);
    float sum = 0;
    for (int k = warp; k < runs; k += FinishWarps) {
        float share = (float)min(rows_a_run, rows - k * rows_a_run) / (float)rows;
        sum = fmaf(share, partial[(long long)(2 * k) * columns + column], sum);
    }
    float m = sum_of_warps(sum, scratch);
    float squares = 0;
    for (int k = warp; k < runs; k += FinishWarps) {
        float d = partial[(long long)(2 * k) * columns + column] - m;
        squares = fmaf((float)min(rows_a_run, rows - k * rows_a_run) * d, d, squares + partial[(long long)(2 * k + 1) * columns + column]);
    }
    squares = sum_of_warps(squares, scratch);
    if (warp > 0 || c >= columns) return;
    mean[c] = m;
    rstd[c] = 1.0f / sqrtf(squares / (float)rows + epsilon);
    running_mean[c] = fmaf(momentum, m - running_mean[c], running_mean[c]);
    running_variance[c] = fmaf(momentum, squares / (float)(rows - 1) - running_variance[c], running_variance[c]);
}

KERNEL(128) batchnorm_running(float* mean, float* rstd, const float* running_mean, const float* running_variance, int columns, float epsilon) {
    int c = blockIdx.x * 128 + threadIdx.x;
    if (c >= columns) return;
    mean[c] = running_mean[c];
    rstd[c] = 1.0f / sqrtf(running_variance[c] + epsilon);
}

KERNEL(128)
batchnorm_forward(
    float* y, const float* x, const float* residual, const float* mean, const float* rstd, const float* weight, const float* bias, int rows, int columns, int relu) {
    float least = relu ? 0.0f : -__int_as_float(0x7f800000);
    for_each_in_tile(rows, columns, [=](long long i, int c) {
        float value = fmaf((x[i] - mean[c]) * rstd[c], weight[c], bias[c]);
        if (residual) value += residual[i];
        y[i] = value < least ? least : value;  // NaN stays
    });
}

KERNEL(128)
batchnorm_backward_partial(
    float* partial, const float* dy, const float* y, const float* x, const float* mean, const float* rstd, int rows, int columns, int rows_a_run, int runs, int relu) {
    int c = blockIdx.x * WarpSize + threadIdx.x % WarpSize;
    int run = blockIdx.y * 4 + threadIdx.x / WarpSize;
    if (c >= columns || run >= runs) return;
    int count = min(rows_a_run, rows - run * rows_a_run);
    long long start = (long long)run * rows_a_run * columns + c;
    float m = mean[c];
    float sum = 0;
    float projected = 0;
    for (int r = 0; r < count; ++r) {
        long long i = start + (long long)r * columns;
        float g = relu && y[i] <= 0.0f ? 0.0f : dy[i];
        sum += g;
        projected = fmaf(g, x[i] - m, projected);
    }
    partial[(long long)(2 * run) * columns + c] = sum;
    partial[(long long)(2 * run + 1) * columns + c] = projected * rstd[c];
}

KERNEL(256)
batchnorm_backward_finish(float* means, float* dweight, float* dbias, const float* partial, int columns, int runs, float reciprocal) {
    __shared__ float scratch[FinishWarps][WarpSize];
    int warp = threadIdx.x / WarpSize;
    int c = blockIdx.x * WarpSize + threadIdx.x % WarpSize;
    int column = min(c, columns - 1);
    float sum = 0;
    float projected = 0;
    for (int k = warp; k < runs; k += FinishWarps) {
        sum += partial[(long long)(2 * k) * columns + column];
        projected += partial[(long long)(2 * k + 1) * columns + column];
    }
    sum = sum_of_warps(sum, scratch);
    projected = sum_of_warps(projected, scratch);
    if (warp > 0 || c >= columns) return;
    means[c] = sum * reciprocal;
    means[columns + c] = projected * reciprocal;
    if (dbias) dbias[c] += sum;
    if (dweight) dweight[c] += projected;
}

KERNEL(128)
batchnorm_backward(
    float* dx, float* dresidual, const float* dy, const float* y, const float* x, const float* mean, const float* rstd, const float* weight, const float* means,
    int rows, int columns, int relu) {
    for_each_in_tile(rows, columns, [=](long long i, int c) {
        float g = relu && y[i] <= 0.0f ? 0.0f : dy[i];
        if (dresidual) dresidual[i] = g;
        float normalised = (x[i] - mean[c]) * rstd[c];
        dx[i] = weight[c] * rstd[c] * fmaf(-normalised, means[columns + c], g - means[c]);
    });
}
