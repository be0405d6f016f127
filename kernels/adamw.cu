// AdamW (Loshchilov, Hutter 2019, algorithm 2), in the form of torch.optim.AdamW, over all parameters at once.
//
//   g' = g · clip
//   p' = p · (1 − lr·decay)                        the first `decayed` elements only
//   m' = β1·m + (1 − β1)·g',  v' = β2·v + (1 − β2)·g'²
//   p'' = p' − lr/(1 − β1^t) · m' / (√v' / √(1 − β2^t) + ε)
//
// p, m, v, g: [count]. step: [3] on the device = 1 − lr·decay, lr / (1 − β1^t), 1 / √(1 − β2^t); clip: [2] of gradientnorm, its second.
// |m'| and v' below 2^-126 become 0: moments of embedding rows that stay unused would else be denormal for ever, which costs a CPU
// 4 to 5 times an element. Blocks of 256, a block 2,048 elements. Moves 28 bytes a parameter.
#include "common/stretch.cuh"

constexpr int Threads = 256;
constexpr float SmallestNormal = 1.17549435e-38f;

DEVICE float flush(float a) { return fabsf(a) < SmallestNormal ? 0.0f : a; }

KERNEL(Threads)
adamw_step(float* p, float* m, float* v, const float* g, const float* step, const float* clip, long long count, long long decayed, float beta1,
           float one_minus_beta1, float beta2, float one_minus_beta2, float epsilon) {
    float keep = step[0], rate = step[1], correction = step[2], factor = clip[1];
    for_each_in_stretch<Threads>(count, [=](long long start, int lane) {
        long long i = start + lane;
        float gradient = g[i] * factor;
        float first = flush(fmaf(beta1, m[i], one_minus_beta1 * gradient));
        float second = flush(fmaf(beta2, v[i], one_minus_beta2 * gradient * gradient));
        float value = p[i] * (lane < lanes_before(decayed, start) ? keep : 1.0f);
        m[i] = first;
        v[i] = second;
        p[i] = value - rate * first / fmaf(sqrtf(second), correction, epsilon);
    });
}
