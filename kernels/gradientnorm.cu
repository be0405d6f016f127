// The global norm of all gradients, and the factor that clips it (as torch.nn.utils.clip_grad_norm_).
//
//   partial[k] = Σ g² over the k-th 8,192 elements
//   norm = √Σ_k partial[k],  factor = max_norm > 0 ? min(1, max_norm / (norm + 1e-6)) : 1
//
// g: [count]; partial: [count / 8192]; result: [2] = norm, factor. Blocks of 256; `finish` is one block. Moves 4 bytes an element.
// All terms are positive, so the relative error is at most (32 + 8 + 8 + partials / 256 + 8) roundings of 2^-24.
#include "common/reduce.cuh"

constexpr int Threads = 256;
constexpr int PerThread = 32;

KERNEL(Threads) gradientnorm_partial(float* partial, const float* g, long long count) {
    __shared__ float scratch[Threads / WarpSize];
    // A warp's elements are neighbours: one stream for a CPU's prefetch.
    constexpr int OfWarp = WarpSize * PerThread;
    long long start = ((long long)blockIdx.x * (Threads / WarpSize) + warp_index()) * OfWarp;
    int left = count - start < OfWarp ? (int)(count - start) : OfWarp;
    const float* own = g + start;
    float squares = 0;
    for (int k = threadIdx.x % WarpSize; k < left; k += WarpSize) squares = fmaf(own[k], own[k], squares);
    float sum = block_sum<Threads>(squares, scratch);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

KERNEL(Threads) gradientnorm_finish(float* result, const float* partial, int count, float max_norm) {
    __shared__ float scratch[Threads / WarpSize];
    float squares = 0;
    for (int i = threadIdx.x; i < count; i += Threads) squares += partial[i];
    float norm = sqrtf(block_sum<Threads>(squares, scratch));
    if (threadIdx.x != 0) return;
    result[0] = norm;
    float factor = max_norm > 0 ? max_norm / (norm + 1e-6f) : 1.0f;
    result[1] = factor > 1.0f ? 1.0f : factor;  // NaN stays, where fminf would give 1
}
