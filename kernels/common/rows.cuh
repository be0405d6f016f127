// How elementwise kernels share out a [rows, width] array: a warp a row, 4 rows a block of 128. Long stretches of memory one after another, which
// a CPU's prefetch likes: tiles (tile.cuh) make more blocks of few rows, and GELU took 1.4 times as long by them there.
#pragma once
#include "cuda.cuh"

// body(i, column) of every element i that the thread owns.
template <class Body>
DEVICE void for_each_in_row(int rows, int width, Body body) {
    int row = blockIdx.x * 4 + threadIdx.x / WarpSize;
    if (row >= rows) return;
    long long start = (long long)row * width;
    for (int c = threadIdx.x % WarpSize; c < width; c += WarpSize) body(start + c, c);
}
