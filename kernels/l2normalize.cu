// Rows to unit length.
//
//   forward:   r = 1 / max(√Σx², 1e-12),  y = x · r
//   backward:  dx = r · (dy − y · Σ dy·y);  where the norm was below 1e-12, dx = r · dy
//
// x, y, dx, dy: [rows, width]; r: [rows]. A warp a row, 4 rows a block of 128. Moves 8 bytes an element forward, 12 backward.
#include "common/reduce.cuh"

constexpr float LargestReciprocal = 1e12f;

KERNEL(128) l2normalize_forward(float* y, float* reciprocal, const float* x, int rows, int width) {
    int row = blockIdx.x * 4 + threadIdx.x / WarpSize;
    int lane = threadIdx.x % WarpSize;
    if (row >= rows) return;
    long long start = (long long)row * width;
    float squares = 0;
    for (int c = lane; c < width; c += WarpSize) squares = fmaf(x[start + c], x[start + c], squares);
    float r = 1.0f / sqrtf(warp_sum(squares));
    r = r > LargestReciprocal ? LargestReciprocal : r;  // NaN stays, where fminf would make it 1e12
    for (int c = lane; c < width; c += WarpSize) y[start + c] = x[start + c] * r;
    if (lane == 0) reciprocal[row] = r;
}

KERNEL(128) l2normalize_backward(float* dx, const float* dy, const float* y, const float* reciprocal, int rows, int width) {
    int row = blockIdx.x * 4 + threadIdx.x / WarpSize;
    int lane = threadIdx.x % WarpSize;
    if (row >= rows) return;
    long long start = (long long)row * width;
    float along = 0;
    for (int c = lane; c < width; c += WarpSize) along = fmaf(dy[start + c], y[start + c], along);
    float r = reciprocal[row];
    along = r < LargestReciprocal ? warp_sum(along) : 0.0f;
    for (int c = lane; c < width; c += WarpSize) dx[start + c] = r * fmaf(-y[start + c], along, dy[start + c]);
}
