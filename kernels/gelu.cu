// Exact GELU behind an optional bias (Hendrycks, Gimpel 2016).
//
//   u = x + bias
//   forward:   y = u · Φ(u),  Φ(u) = (1 + erf(u/√2)) / 2
//   backward:  dx = dy · (Φ(u) + u · φ(u)),  φ(u) = exp(−u²/2) / √(2π)
//
// x, y, dx, dy: [rows, width]; bias: [width] or null. Grid: one block of 128 a row. Moves 8 bytes an element forward, 12 backward.
// The bias's gradient is the column sum of dx.
#include "common/math.cuh"

DEVICE float normal_cdf(float u) { return fmaf(0.5f, erf_f32(u * 0.707106781f), 0.5f); }

KERNEL(128) gelu_forward(float* y, const float* x, const float* bias, int width) {
    long long row = (long long)blockIdx.x * width;
    for (int c = threadIdx.x; c < width; c += 128) {
        float u = bias ? x[row + c] + bias[c] : x[row + c];
        y[row + c] = u * normal_cdf(u);
    }
}

KERNEL(128) gelu_backward(float* dx, const float* dy, const float* x, const float* bias, int width) {
    long long row = (long long)blockIdx.x * width;
    for (int c = threadIdx.x; c < width; c += 128) {
        float u = bias ? x[row + c] + bias[c] : x[row + c];
        float density = 0.398942280f * exp_f32(-0.5f * u * u);
        dx[row + c] = dy[row + c] * fmaf(u, density, normal_cdf(u));
    }
}
