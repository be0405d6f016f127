// Elementary functions in plain arithmetic, so that a GPU and the CPU engine give the same bits. Each error is the largest over every
// seventh float of its range, against float64. Minimax coefficients of exp and log: N. Juffa's public answers on Stack Overflow (expf
// 29381117, logf 39821367); of exp2: a weighted least-squares fit of (2^f − 1) / f for |f| ≤ ½.
#pragma once
#include "cuda.cuh"

// r · 2^n for r in [½, 2): n is what adding `Rounder` to a number left in the low bits of the sum, −126 ≤ n ≤ 127.
constexpr float Rounder = 12583039.0f;  // 1.5 · 2^23 + 127: rounds to an integer, and adds the bias of a float's exponent
DEVICE float scale_by_rounded(float r, float rounded) { return r * __int_as_float(__float_as_int(rounded) << 23); }

// 2^a to 0.94 ulp, for −126 ≤ a < 127.5; NaN of NaN.
DEVICE float exp2_normal_f32(float a) {
    float rounded = a + Rounder;
    float f = a - (rounded - Rounder);
    float r = 1.53533503e-4f;
    r = fmaf(r, f, 1.33988878e-3f);
    r = fmaf(r, f, 9.61843785e-3f);
    r = fmaf(r, f, 5.55033237e-2f);
    r = fmaf(r, f, 2.40226477e-1f);
    r = fmaf(r, f, 6.93147182e-1f);
    r = fmaf(r, f, 1.0f);
    return scale_by_rounded(r, rounded);
}

// 2^a to 0.94 ulp, for a < 127.5; 0 where the result would be denormal, NaN of NaN.
DEVICE float exp2_f32(float a) {
    float r = exp2_normal_f32(a);
    return a < -126.0f ? 0.0f : r;
}

// e^a to 0.87 ulp; 0 where the result would be denormal, infinity above 88.37, NaN of NaN.
DEVICE float exp_f32(float a) {
    float rounded = fmaf(a, 1.44269504f, Rounder);
    float n = rounded - Rounder;
    float f = fmaf(n, -6.93145752e-1f, a);  // a − n·ln 2 in two pieces
    f = fmaf(n, -1.42860677e-6f, f);
    float r = 1.37805939e-3f;
    r = fmaf(r, f, 8.37312452e-3f);
    r = fmaf(r, f, 4.16695364e-2f);
    r = fmaf(r, f, 1.66664720e-1f);
    r = fmaf(r, f, 4.99999851e-1f);
    r = fmaf(r, f, 1.0f);
    r = fmaf(r, f, 1.0f);
    r = scale_by_rounded(r, rounded);
    r = a < -87.3365402f ? 0.0f : r;
    return a > 88.3762626f ? __int_as_float(0x7f800000) : r;
}

// ln a to 0.85 ulp, for normal a > 0.
DEVICE float log_f32(float a) {
    int e = (__float_as_int(a) - 0x3f2aaaab) & 0xff800000;  // a = m · 2^k with m in [2/3, 4/3)
    float k = (float)e * 1.19209290e-7f;
    float f = __int_as_float(__float_as_int(a) - e) - 1.0f;
    float s = f * f;
    float r = -0.130310059f;
    float t = 0.140869141f;
    r = fmaf(r, s, -0.121483318f);
    t = fmaf(t, s, 0.139814854f);
    r = fmaf(r, s, -0.166846126f);
    t = fmaf(t, s, 0.200120345f);
    r = fmaf(r, s, -0.249996200f);
    r = fmaf(t, f, r);
    r = fmaf(r, f, 0.333331972f);
    r = fmaf(r, f, -0.5f);
    r = fmaf(r, s, f);
    return fmaf(k, 0.693147182f, r);
}
