// Vision transformer input (Dosovitskiy et al. 2021, equation 1): patches, class token, positions.
//
//   unfold:     patches[b][0] = 0,  patches[b][1 + py·G + px][(ch·P + y)·P + x] = pixels[b][ch][py·P + y][px·P + x]
//   (GEMM)      y = patches · convᵀ: the class token's row comes out zero
//   add:        y[b][s] += positions[s] (+ class where s = 0)
//   backward:   dpositions[s] += Σ_b dy[b][s],  dclass += Σ_b dy[b][0];  (GEMM) dconv += dyᵀ · patches
//
// pixels: [B, 3, H, W]; patches: [B, S, 3·P·P]; y, dy: [B, S, width]; positions: [S, width]; class: [width]; S = 1 + (H/P)·G, G = W/P.
// unfold, add: one block of 128 a row (b, s). backward: grid (width / 128, S), one column of one position a thread.
// unfold moves 8 bytes an element of patches, add 8 of y, backward 4 of dy.
#include "common/positions.cuh"

KERNEL(128) patchembedding_unfold(float* patches, const float* pixels, int height, int width, int patch, int sequence) {
    int b = blockIdx.x / sequence;
    int s = blockIdx.x % sequence;
    int area = patch * patch;
    float* out = patches + (long long)blockIdx.x * 3 * area;
    if (s == 0) {
        for (int i = threadIdx.x; i < 3 * area; i += 128) out[i] = 0;
        return;
    }
    int across = width / patch;
    int top = (s - 1) / across * patch;
    int left = (s - 1) % across * patch;
    const float* in = pixels + (long long)b * 3 * height * width;
    // A warp a row of a patch's channel.
    int lane = threadIdx.x % WarpSize;
    for (int row = warp_index(); row < 3 * patch; row += 128 / WarpSize) {
        int channel = row / patch;
        const float* from = in + ((long long)channel * height + top + row - channel * patch) * width + left + lane;
        float* to = out + row * patch + lane;
#pragma unroll 1
        for (int x = 0; x < patch; x += WarpSize) {
            if (lane < patch - x) to[x] = from[x];
        }
    }
}

KERNEL(128) patchembedding_add(float* y, const float* positions, const float* class_token, int sequence, int width) {
    int s = blockIdx.x % sequence;
    float* out = y + (long long)blockIdx.x * width;
    for (int c = threadIdx.x; c < width; c += 128) {
        float token = s == 0 ? class_token[c] : out[c];
        out[c] = token + positions[(long long)s * width + c];
    }
}

KERNEL(128) patchembedding_backward(float* dpositions, float* dclass, const float* dy, int batch, int sequence, int width) {
    float sum = add_position_gradient(dpositions, dy, batch, sequence, width);
    int c = blockIdx.x * 128 + threadIdx.x;
    if (blockIdx.y == 0 && c < width) dclass[c] += sum;
}
