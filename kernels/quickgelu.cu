// QuickGELU behind an optional bias: OpenAI's CLIP uses it in place of GELU (clip/model.py).
//
//   u = x + bias,  s = 1 / (1 + exp(−1.702 u))
//   forward:   y = u · s
//   backward:  dx = dy · (s + 1.702 · u · s · (1 − s))
//
// x, y, dx, dy: [rows, width]; bias: [width] or null. A warp a row, 4 rows a block of 128. Moves 8 bytes an element forward, 12 backward.
// The bias's gradient is the column sum of dx.
#include "common/activation.cuh"

DEVICE float sigmoid(float z) { return 1.0f / (1.0f + exp_f32(-z)); }

KERNEL(128) quickgelu_forward(float* y, const float* x, const float* bias, int rows, int width) {
    activation_forward(y, x, bias, rows, width, [](float u) { return u * sigmoid(1.702f * u); });
}

KERNEL(128) quickgelu_backward(float* dx, const float* dy, const float* x, const float* bias, int rows, int width) {
    activation_backward(dx, dy, x, bias, rows, width, [](float u) {
        float s = sigmoid(1.702f * u);
        return fmaf(1.702f * u * s, 1.0f - s, s);
    });
}
