// Elementary functions in plain arithmetic, so that a GPU and the CPU engine give the same bits. Each error is the largest over every
// seventh float of its range, against float64. Minimax coefficients: N. Juffa's public answers on Stack Overflow (expf 29381117, erff
// 35148199, logf 39821367).
#pragma once
#include "cuda.cuh"

// e^a to 0.87 ulp; 0 where the result would be denormal, infinity above 88.72, NaN of NaN.
DEVICE float exp_f32(float a) {
    float shifted = fmaf(a, 1.44269504f, 12582912.0f);  // a/ln 2, its integer part n in the low bits
    float n = shifted - 12582912.0f;
    float f = fmaf(n, -6.93145752e-1f, a);  // a − n·ln 2 in two pieces
    f = fmaf(n, -1.42860677e-6f, f);
    float r = 1.37805939e-3f;
    r = fmaf(r, f, 8.37312452e-3f);
    r = fmaf(r, f, 4.16695364e-2f);
    r = fmaf(r, f, 1.66664720e-1f);
    r = fmaf(r, f, 4.99999851e-1f);
    r = fmaf(r, f, 1.0f);
    r = fmaf(r, f, 1.0f);
    r = __int_as_float(__float_as_int(r) + (__float_as_int(shifted) << 23));  // · 2^n
    r = a < -87.3365402f ? 0.0f : r;
    return !(a <= 88.7228317f) ? a + __int_as_float(0x7f800000) : r;
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

// erf a to 0.99 ulp: a polynomial near 0, 1 − e^p(|a|) beyond.
DEVICE float erf_f32(float a) {
    float t = fabsf(a);
    float s = a * a;
    float r = fmaf(-1.72853470e-5f, t, 3.83197126e-4f);
    float u = fmaf(-3.88396438e-3f, t, 2.42546219e-2f);
    r = fmaf(r, s, u);
    r = fmaf(r, t, -1.06777877e-1f);
    r = fmaf(r, t, -6.34846687e-1f);
    r = fmaf(r, t, -1.28717512e-1f);
    r = fmaf(r, t, -t);
    float far = copysignf(1.0f - exp_f32(r), a);
    float p = -5.96761703e-4f;
    p = fmaf(p, s, 4.99119423e-3f);
    p = fmaf(p, s, -2.67681349e-2f);
    p = fmaf(p, s, 1.12819925e-1f);
    p = fmaf(p, s, -3.76125336e-1f);
    p = fmaf(p, s, 1.28379166e-1f);
    float near = fmaf(p, a, a);
    return t > 0.927734375f ? far : near;
}
