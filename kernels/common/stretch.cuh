// How kernels share out an array that has no rows: a warp 256 neighbouring elements. A CPU's core then reads a few long streams, which its
// prefetch follows; threads at a distance of the block's size would make them eight times as many.
#pragma once
#include "cuda.cuh"

constexpr int StretchOfWarp = 256;

// How many lanes of a warp that begins at `start` are before `end`; in 32 bits, whose comparison costs a CPU a fourth.
DEVICE int lanes_before(long long end, long long start) { return end <= start ? 0 : end - start < WarpSize ? (int)(end - start) : WarpSize; }

// body(start, lane) of every element start + lane that the thread owns, in a block of `Threads`.
template <int Threads, class Body>
DEVICE void for_each_in_stretch(long long count, Body body) {
    int lane = threadIdx.x % WarpSize;
    long long start = ((long long)blockIdx.x * (Threads / WarpSize) + warp_index()) * StretchOfWarp;
#pragma unroll 1
    for (int k = 0; k < StretchOfWarp; k += WarpSize, start += WarpSize) {
        if (lane >= lanes_before(count, start)) return;
        body(start, lane);
    }
}
