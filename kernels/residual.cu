// Residual additions.
//
//   forward:   y[r][c] = a[r][c] + b[r][c] (+ bias[c])
//   add_into:  a[i] += b[i]
//
// a, b, y: [rows, width]; bias: [width] or null. Moves 12 bytes an element, the least there is.
// forward: one block of 128 a row. add_into: one thread an element, 256 a block.
#include "common/cuda.cuh"

KERNEL(128) residual_forward(float* y, const float* a, const float* b, const float* bias, int width) {
    long long row = (long long)blockIdx.x * width;
    for (int c = threadIdx.x; c < width; c += 128) {
        float sum = a[row + c] + b[row + c];
        y[row + c] = bias ? sum + bias[c] : sum;
    }
}

KERNEL(256) residual_add_into(float* a, const float* b, long long count) {
    long long i = (long long)blockIdx.x * 256 + threadIdx.x;
    if (i < count) a[i] += b[i];
}
