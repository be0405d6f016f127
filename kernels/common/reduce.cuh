// Sums and maxima over a warp or a block, always in the same order.
#pragma once
#include "cuda.cuh"

DEVICE float warp_sum(float value) {
    for (int lane = 16; lane > 0; lane >>= 1) value += __shfl_xor_sync(WholeWarp, value, lane);
    return value;
}

DEVICE float warp_max(float value) {
    for (int lane = 16; lane > 0; lane >>= 1) value = fmaxf(value, __shfl_xor_sync(WholeWarp, value, lane));
    return value;
}

// The sum over a block of `Threads`, in every thread. `scratch` holds Threads / 32 floats; the block synchronises twice.
template <int Threads>
DEVICE float block_sum(float value, float* scratch) {
    value = warp_sum(value);
    if (threadIdx.x % WarpSize == 0) scratch[threadIdx.x / WarpSize] = value;
    __syncthreads();
    float sum = 0;
    for (int warp = 0; warp < Threads / WarpSize; ++warp) sum += scratch[warp];
    __syncthreads();
    return sum;
}

// The same of the largest.
template <int Threads>
DEVICE float block_max(float value, float* scratch) {
    value = warp_max(value);
    if (threadIdx.x % WarpSize == 0) scratch[threadIdx.x / WarpSize] = value;
    __syncthreads();
    float largest = scratch[0];
    for (int warp = 1; warp < Threads / WarpSize; ++warp) largest = fmaxf(largest, scratch[warp]);
    __syncthreads();
    return largest;
}
