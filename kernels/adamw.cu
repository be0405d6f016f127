// AdamW (Loshchilov, Hutter 2019, algorithm 2), in the form of torch.optim.AdamW, over all parameters at once.
//
//   g' = g · clip
//   p' = p · (1 − lr·decay)                        the first `decayed` elements only
//   m' = β1·m + (1 − β1)·g',  v' = β2·v + (1 − β2)·g'²
//   p'' = p' − lr/(1 − β1^t) · m' / (√v' / √(1 − β2^t) + ε)
//
// p, m, v, g: [count]. step: [3] on the device = 1 − lr·decay, lr / (1 − β1^t), 1 / √(1 − β2^t); clip: [2] of gradientnorm, its second.
// |m'| and v' below 2^-126 become 0: moments of embedding rows that stay unused would else be denormal for ever, which costs a CPU
// 4 to 5 times an element. One thread an element, 256 a block. Moves 28 bytes a parameter.
#include "common/cuda.cuh"

constexpr float SmallestNormal = 1.17549435e-38f;

DEVICE float flush(float a) { return fabsf(a) < SmallestNormal ? 0.0f : a; }

KERNEL(256)
adamw_step(float* p, float* m, float* v, const float* g, const float* step, const float* clip, long long count, long long decayed, float beta1,
           float one_minus_beta1, float beta2, float one_minus_beta2, float epsilon) {
    long long i = (long long)blockIdx.x * 256 + threadIdx.x;
    if (i >= count) return;
    float gradient = g[i] * clip[1];
    float first = flush(fmaf(beta1, m[i], one_minus_beta1 * gradient));
    float second = flush(fmaf(beta2, v[i], one_minus_beta2 * gradient * gradient));
    float value = i < decayed ? p[i] * step[0] : p[i];
    m[i] = first;
    v[i] = second;
    p[i] = value - step[1] * first / fmaf(sqrtf(second), step[2], epsilon);
}
