// Layer normalisation (Ba, Kiros, Hinton 2016) over the last axis.
//
//   forward:   mean = Σx / n,  rstd = 1 / √(Σ(x − mean)² / n + ε),  x̂ = (x − mean) · rstd,  y = x̂ · w + b
//   backward:  g = dy · w,  dx = rstd · (g − Σg/n − x̂ · Σ(g·x̂)/n)  (+ dx)
//              dw += Σ_rows dy · x̂,  db += Σ_rows dy
//
// x, y, dx, dy: [rows, n]; w, b, dw, db: [n]; mean, rstd: [rows]; partial: [runs, 2, n].
// forward, backward: a warp a row, 4 rows a block of 128; the variance takes a second pass over the row, which is in the cache by then.
// backward_partial: grid (n / 128, runs), one column a thread, the rows of one run; backward_parameters: 128 columns a block.
// Moves 8 bytes an element forward, 12 + 8 backward, 4 more where dx holds a gradient that this one is added to.
#include "common/reduce.cuh"

KERNEL(128)
layernorm_forward(float* y, float* mean, float* rstd, const float* x, const float* weight, const float* bias, float epsilon, int rows, int n) {
    int row = blockIdx.x * 4 + threadIdx.x / WarpSize;
    int lane = threadIdx.x % WarpSize;
    if (row >= rows) return;
    const float* in = x + (long long)row * n;
    float* out = y + (long long)row * n;
    float sum = 0;
    for (int c = lane; c < n; c += WarpSize) sum += in[c];
    float m = warp_sum(sum) / (float)n;
    float squares = 0;
    for (int c = lane; c < n; c += WarpSize) {
        float d = in[c] - m;
        squares = fmaf(d, d, squares);
    }
    float r = 1.0f / sqrtf(warp_sum(squares) / (float)n + epsilon);
    for (int c = lane; c < n; c += WarpSize) out[c] = fmaf((in[c] - m) * r, weight[c], bias[c]);
    if (lane == 0) {
        mean[row] = m;
        rstd[row] = r;
    }
}

KERNEL(128)
layernorm_backward(
    float* dx, const float* dy, const float* x, const float* mean, const float* rstd, const float* weight, int adds, int rows, int n) {
    int row = blockIdx.x * 4 + threadIdx.x / WarpSize;
    int lane = threadIdx.x % WarpSize;
    if (row >= rows) return;
    long long start = (long long)row * n;
    float m = mean[row];
    float r = rstd[row];
    float sum = 0;
    float projected = 0;
    for (int c = lane; c < n; c += WarpSize) {
        float g = dy[start + c] * weight[c];
        sum += g;
        projected = fmaf(g, (x[start + c] - m) * r, projected);
    }
    sum = warp_sum(sum) / (float)n;
    projected = warp_sum(projected) / (float)n;
    for (int c = lane; c < n; c += WarpSize) {
        float g = dy[start + c] * weight[c];
        float normalised = (x[start + c] - m) * r;
        float gradient = r * fmaf(-normalised, projected, g - sum);
        dx[start + c] = adds ? dx[start + c] + gradient : gradient;
    }
}

KERNEL(128)
layernorm_backward_partial(float* partial, const float* dy, const float* x, const float* mean, const float* rstd, int rows, int n, int rows_a_run) {
    int c = blockIdx.x * 128 + threadIdx.x;
    if (c >= n) return;
    int first = blockIdx.y * rows_a_run;
    int last = min(first + rows_a_run, rows);
    float dweight = 0;
    float dbias = 0;
    for (int r = first; r < last; ++r) {
        float g = dy[(long long)r * n + c];
        dweight = fmaf(g, (x[(long long)r * n + c] - mean[r]) * rstd[r], dweight);
        dbias += g;
    }
    partial[(long long)(2 * blockIdx.y) * n + c] = dweight;
    partial[(long long)(2 * blockIdx.y + 1) * n + c] = dbias;
}

KERNEL(128) layernorm_backward_parameters(float* dweight, float* dbias, const float* partial, int runs, int n) {
    int c = blockIdx.x * 128 + threadIdx.x;
    if (c >= n) return;
    float weight_sum = 0;
    float bias_sum = 0;
    for (int k = 0; k < runs; ++k) {
        weight_sum += partial[(long long)(2 * k) * n + c];
        bias_sum += partial[(long long)(2 * k + 1) * n + c];
    }
    dweight[c] += weight_sum;
    dbias[c] += bias_sum;
}
