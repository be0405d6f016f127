// The bias of a linear layer.
//
//   add_into:         y[r][c] += bias[c]
//   backward_partial: partial[k][c] = Σ dy[r][c] over the k-th run of rows
//   backward:         dbias[c] += Σ_k partial[k][c]
//
// y, dy: [rows, width]; bias, dbias: [width]; partial: [runs, width].
// add_into: one block of 128 a row, 8 bytes an element. backward_partial: grid (width / 128, runs), 128 threads, one column a thread,
// 4 bytes an element. backward: 128 columns a block. The number of runs depends on the rows alone, so the bits do too.
#include "common/cuda.cuh"

KERNEL(128) bias_add_into(float* y, const float* bias, int width) {
    float* row = y + (long long)blockIdx.x * width;
    for (int c = threadIdx.x; c < width; c += 128) row[c] += bias[c];
}

KERNEL(128) bias_backward_partial(float* partial, const float* dy, int rows, int width, int rows_a_run) {
    int c = blockIdx.x * 128 + threadIdx.x;
    if (c >= width) return;
    int first = blockIdx.y * rows_a_run;
    int last = min(first + rows_a_run, rows);
    float sum = 0;
    for (int r = first; r < last; ++r) sum += dy[(long long)r * width + c];
    partial[(long long)blockIdx.y * width + c] = sum;
}

KERNEL(128) bias_backward(float* dbias, const float* partial, int runs, int width) {
    int c = blockIdx.x * 128 + threadIdx.x;
    if (c >= width) return;
    float sum = 0;
    for (int k = 0; k < runs; ++k) sum += partial[(long long)k * width + c];
    dbias[c] += sum;
}
