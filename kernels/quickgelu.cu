// QuickGELU behind an optional bias: OpenAI's CLIP uses it in place of GELU (clip/model.py).
//
//   u = x + bias,  s = 1 / (1 + exp(−1.702 u))
//   forward:   y = u · s
//   backward:  dx = dy · (s + 1.702 · u · s · (1 − s))
//
// x, y, dx, dy: [rows, width]; bias: [width] or null. A warp a row, 4 rows a block of 128. Moves 8 bytes an element forward, 12 backward.
// The bias's gradient is the column sum of dx.
#include "common/math.cuh"

DEVICE float sigmoid(float z) { return 1.0f / (1.0f + exp_f32(-z)); }

KERNEL(128) quickgelu_forward(float* y, const float* x, const float* bias, int rows, int width) {
    int row = blockIdx.x * 4 + threadIdx.x / WarpSize;
    if (row >= rows) return;
    long long start = (long long)row * width;
    for (int c = threadIdx.x % WarpSize; c < width; c += WarpSize) {
        float u = bias ? x[start + c] + bias[c] : x[start + c];
        y[start + c] = u * sigmoid(1.702f * u);
    }
}

KERNEL(128) quickgelu_backward(float* dx, const float* dy, const float* x, const float* bias, int rows, int width) {
    int row = blockIdx.x * 4 + threadIdx.x / WarpSize;
    if (row >= rows) return;
    long long start = (long long)row * width;
    for (int c = threadIdx.x % WarpSize; c < width; c += WarpSize) {
        float u = bias ? x[start + c] + bias[c] : x[start + c];
        float s = sigmoid(1.702f * u);
        dx[start + c] = dy[start + c] * fmaf(1.702f * u * s, 1.0f - s, s);
    }
}
