// Convolutions as matrix products, channels last, zero padding of (kernel − 1) / 2 each side.
//
//   (GEMM)            y[b][i][j][o] = Σ_{t,c} columns[(b,i,j)][t][c] · packed[o][t][c]
//   unfold:           columns[(b,i,j)][t][c] = x[b][i·s + t_y − pad][j·s + t_x − pad][c], zero outside
//   unfold_gradient:  columns[(b,i,j)][t][o] = dy[b][(i + pad − t_y) / s][(j + pad − t_x) / s][o], zero outside and between
//   (GEMM)            dx[b][i][j][c] = Σ_{t,o} columns[(b,i,j)][t][o] · packed[t][o][c];  dpacked[o][t][c] = Σ_rows dy · columns
//   pack:             packed[o · outer + t · inner + c] = weight[o][c][t]
//   add_gradient:     dweight[o][c][t] += dpacked[o][t][c]
//
// x, dx: [B, H, W, C]; y, dy: [B, OH, OW, O]; weight, dweight: [O, C, kernel, kernel]; t = t_y · kernel + t_x, `taps` of them.
// columns: [count, taps, channels] of the rows from `first` on. Blocks of 128. unfold, unfold_gradient: grid (count / 16, taps), a warp a
// row, 8 bytes an element of columns. pack, add_gradient: grid (C / 128, O), one channel a thread, 8 and 12 bytes a weight.
#include "common/cuda.cuh"

constexpr int Rows = 16;
constexpr int Warps = 4;

struct Window {
    int height, width;          // of the rows
    int from_height, from_width;  // of what is unfolded
    int channels, kernel, stride;
};

// Copies one tap of some rows. Gradient: from where that tap took its numbers, instead of where it finds them.
template <bool Gradient>
DEVICE void unfold(float* columns, const float* from, int first, int count, const Window& window) {
    int lane = threadIdx.x % WarpSize;
    int kernel = window.kernel, stride = window.stride, channels = window.channels;
    int shift_y = (int)blockIdx.y / kernel - (kernel - 1) / 2;
    int shift_x = (int)blockIdx.y % kernel - (kernel - 1) / 2;
    int last = min((int)(blockIdx.x + 1) * Rows, count);
    for (int r = blockIdx.x * Rows + threadIdx.x / WarpSize; r < last; r += Warps) {
        unsigned row = first + r;
        unsigned line = row / (unsigned)window.width;
        int j = row - line * window.width;
        int b = line / (unsigned)window.height;
        int i = line - b * window.height;
        int y = Gradient ? i - shift_y : i * stride + shift_y;
        int x = Gradient ? j - shift_x : j * stride + shift_x;
        bool inside = y >= 0 && x >= 0;
        if (Gradient && stride > 1) {
            inside = inside && y % stride == 0 && x % stride == 0;
            y /= stride;
            x /= stride;
        }
        inside = inside && y < window.from_height && x < window.from_width;
        float* out = columns + ((long long)r * gridDim.y + blockIdx.y) * channels;
        if (inside) {
            const float* in = from + (((long long)b * window.from_height + y) * window.from_width + x) * channels;
            for (int c = lane; c < channels; c += WarpSize) out[c] = in[c];
        } else {
            for (int c = lane; c < channels; c += WarpSize) out[c] = 0;
        }
    }
}

KERNEL(128)
convolution_unfold(
    float* columns, const float* x, int first, int count, int height, int width, int from_height, int from_width, int channels, int kernel, int stride) {
    unfold<false>(columns, x, first, count, {height, width, from_height, from_width, channels, kernel, stride});
}

KERNEL(128)
convolution_unfold_gradient(
    float* columns, const float* dy, int first, int count, int height, int width, int from_height, int from_width, int channels, int kernel, int stride) {
    unfold<true>(columns, dy, first, count, {height, width, from_height, from_width, channels, kernel, stride});
}

KERNEL(128) convolution_pack(float* packed, const float* weight, int channels, int taps, int outer, int inner) {
    int c = blockIdx.x * 128 + threadIdx.x;
    if (c >= channels) return;
    const float* in = weight + ((long long)blockIdx.y * channels + c) * taps;
    float* out = packed + (long long)blockIdx.y * outer + c;
    for (int t = 0; t < taps; ++t) out[(long long)t * inner] = in[t];
}

KERNEL(128) convolution_add_gradient(float* dweight, const float* dpacked, int channels, int taps) {
    int c = blockIdx.x * 128 + threadIdx.x;
    if (c >= channels) return;
    float* out = dweight + ((long long)blockIdx.y * channels + c) * taps;
    const float* in = dpacked + (long long)blockIdx.y * taps * channels + c;
    for (int t = 0; t < taps; ++t) out[t] += in[(long long)t * channels];
}
