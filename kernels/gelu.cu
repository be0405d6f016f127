// Exact GELU behind an optional bias (Hendrycks, Gimpel 2016).
//
//   u = x + bias
//   forward:   y = u · Φ(u),  Φ(u) = (1 + erf(u/√2)) / 2 = 1 − Φ(−u)
//   backward:  dx = dy · (Φ(u) + u · φ(u)),  φ(u) = exp(−u²/2) / √(2π)
//
// x, y, dx, dy: [rows, width]; bias: [width] or null. A warp a row, 4 rows a block of 128. Moves 8 bytes an element forward, 12 backward.
// The bias's gradient is the column sum of dx.
#include "common/activation.cuh"

// Φ(−t) for t ≥ 0 to 5.2e-8, of itself to 1.2e-4: 2 to a polynomial that fits log2 Φ(−t) up to 6, and 0 beyond, where it is below 1e-9.
DEVICE float upper_tail(float t) {
    float s = fminf(t, 6.0f);
    float p = 2.14312408e-7f;
    p = fmaf(p, s, -5.08925768e-6f);
    p = fmaf(p, s, 4.80864328e-5f);
    p = fmaf(p, s, -2.00738374e-4f);
    p = fmaf(p, s, -1.29667533e-4f);
    p = fmaf(p, s, 7.07074068e-3f);
    p = fmaf(p, s, -5.25060147e-2f);
    p = fmaf(p, s, -4.59204674e-1f);
    p = fmaf(p, s, -1.15110552f);
    p = fmaf(p, s, -1.0f);
    float tail = exp2_normal_f32(p);
    return t > 6.0f ? 0.0f : tail;
}

DEVICE float normal_cdf(float u) {
    float tail = upper_tail(fabsf(u));
    return u > 0.0f ? 1.0f - tail : tail;
}

// φ(u) = 2^(−u² / 2 ln 2) / √(2π), at least 2^-126 / √(2π). Finite even of a NaN: its factor u brings that back.
DEVICE float normal_density(float u) { return 0.398942280f * exp2_normal_f32(fmaxf(u * u * -0.721347520f, -126.0f)); }

KERNEL(128) gelu_forward(float* y, const float* x, const float* bias, int rows, int width) {
    activation_forward(y, x, bias, rows, width, [](float u) { return u * normal_cdf(u); });
}

KERNEL(128) gelu_backward(float* dx, const float* dy, const float* x, const float* bias, int rows, int width) {
    activation_backward(dx, dy, x, bias, rows, width, [](float u) { return fmaf(u, normal_density(u), normal_cdf(u)); });
}
