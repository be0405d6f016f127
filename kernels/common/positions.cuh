// The gradient of positional embeddings, which every embedding adds to its rows.
#pragma once
#include "cuda.cuh"

// dpositions[s][c] += Σ_b dy[b][s][c] of the one element that this thread owns: c by blockIdx.x and thread (128 a block), s by blockIdx.y.
// Returns the sum.
DEVICE float add_position_gradient(float* dpositions, const float* dy, int batch, int sequence, int width) {
    int c = blockIdx.x * 128 + threadIdx.x;
    if (c >= width) return 0;
    int s = blockIdx.y;
    float sum = 0;
    for (int b = 0; b < batch; ++b) sum += dy[((long long)b * sequence + s) * width + c];
    dpositions[(long long)s * width + c] += sum;
    return sum;
}
