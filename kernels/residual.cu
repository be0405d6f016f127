// Residual additions.
//
//   forward:   y[r][c] = a[r][c] + b[r][c] (+ bias[c])
//   add_into:  a[i] += b[i]
//
// a, b, y: [rows, width]; bias: [width] or null. Moves 12 bytes an element, the least there is.
// forward: a warp a row, 4 rows a block of 128. add_into: 2,048 elements a block of 256.
#include "common/rows.cuh"
#include "common/stretch.cuh"

KERNEL(128) residual_forward(float* y, const float* a, const float* b, const float* bias, int rows, int width) {
    for_each_in_row(rows, width, [=](long long i, int c) {
        float sum = a[i] + b[i];
        y[i] = bias ? sum + bias[c] : sum;
    });
}

KERNEL(256) residual_add_into(float* a, const float* b, long long count) {
    for_each_in_stretch<256>(count, [=](long long start, int lane) { a[start + lane] += b[start + lane]; });
}
