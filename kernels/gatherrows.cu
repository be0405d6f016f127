// One row of each sequence: the class token, or the caption's end token.
//
//   forward:   y[b] = x[b][row[b]]
//   backward:  dx[b][s] = s == row[b] ? dy[b] : 0
//
// x, dx: [batch, sequence, width]; y, dy: [batch, width]; row: [batch]. Blocks of 128: one a y row forward, one a dx row backward.
// Moves 8 bytes an element of y forward, 4 an element of dx backward.
#include "common/cuda.cuh"

KERNEL(128) gatherrows_forward(float* y, const float* x, const int* row, int sequence, int width) {
    int b = blockIdx.x;
    long long from = ((long long)b * sequence + row[b]) * width;
    for (int c = threadIdx.x; c < width; c += 128) y[(long long)b * width + c] = x[from + c];
}

KERNEL(128) gatherrows_backward(float* dx, const float* dy, const int* row, int sequence, int width) {
    int b = blockIdx.x / sequence;
    bool gathered = (int)(blockIdx.x % sequence) == row[b];
    long long to = (long long)blockIdx.x * width;
    for (int c = threadIdx.x; c < width; c += 128) dx[to + c] = gathered ? dy[(long long)b * width + c] : 0.0f;
}
