// The symmetric contrastive loss of CLIP (Radford et al. 2021, figure 3), by tiles with an online softmax: never the B × B logits in memory.
//
//   s_ij = e^l · a_i·b_j,  lse_i = log Σ_j exp(s_ij)     once with (a, b) = (images, texts), once with (texts, images)
//   loss = Σ_i ((lse_i + lse'_i) / 2 − s_ii) / B
//   g_ij = (exp(s_ij − lse_i) + exp(s_ij − lse'_j) − 2·[i = j]) · dloss / 2B
//   da_i = e^l · Σ_j g_ij · b_j,  dl += Σ_ij g_ij · s_ij
//
// a, b, da: [B, D]; lse, diagonal: [B]; l, loss, dloss: scalars on the device; partial: [tiles] of dl, or null.
// A block of 128 owns a tile of 32 rows of a and walks over tiles of 32 rows of b; lane = row of b, warp w owns rows w, w + 4, … of the tile.
// forward: grid tiles. backward: grid (tiles, D / 128), each block 128 columns of da, for which it recomputes the logits.
// Shared memory 8 to 12 KiB. Memory O(B·D); 2·B²·D flops forward, 2·B²·D·(D/128 + 1) backward, each side.
#include "common/math.cuh"
#include "common/reduce.cuh"

constexpr int Tile = 32;
constexpr int Slots = 8;
constexpr int Warps = 4;
constexpr float Lowest = -3.402823466e38f;

// product[slot] = a[first + warp + 4·slot] · b[start + lane]; rows beyond the batch count as zero.
DEVICE void multiply(float (&product)[Slots], const float* a, const float* b, int first, int start, int batch, int width) {
    __shared__ float own[Tile][Tile];
    __shared__ float others[Tile][Tile + 1];
    int warp = threadIdx.x / WarpSize;
    int lane = threadIdx.x % WarpSize;
    for (int slot = 0; slot < Slots; ++slot) product[slot] = 0;
    for (int chunk = 0; chunk < width; chunk += Tile) {
        __syncthreads();
        for (int row = warp; row < Tile; row += Warps) {
            int d = chunk + lane;
            own[row][lane] = first + row < batch && d < width ? a[(long long)(first + row) * width + d] : 0.0f;
            others[lane][row] = start + row < batch && d < width ? b[(long long)(start + row) * width + d] : 0.0f;
        }
        __syncthreads();
        for (int d = 0; d < Tile; ++d) {
            float other = others[d][lane];
#pragma unroll
            for (int slot = 0; slot < Slots; ++slot) product[slot] = fmaf(own[warp + slot * Warps][d], other, product[slot]);
        }
    }
}

KERNEL(128) cliploss_forward(float* lse, float* diagonal, const float* a, const float* b, const float* logit_scale, int batch, int width) {
    int warp = threadIdx.x / WarpSize;
    int lane = threadIdx.x % WarpSize;
    int first = blockIdx.x * Tile;
    float scale = exp_f32(*logit_scale);
    float largest[Slots], total[Slots];
    for (int slot = 0; slot < Slots; ++slot) {
        largest[slot] = Lowest;
        total[slot] = 0;
    }
    for (int start = 0; start < batch; start += Tile) {
        float product[Slots];
        multiply(product, a, b, first, start, batch, width);
#pragma unroll
        for (int slot = 0; slot < Slots; ++slot) {
            int row = first + warp + slot * Warps;
            float s = product[slot] * scale;
            bool inside = start + lane < batch;
            float now = fmaxf(largest[slot], warp_max(inside ? s : Lowest));
            float p = inside ? exp_f32(s - now) : 0.0f;
            total[slot] = fmaf(total[slot], exp_f32(largest[slot] - now), warp_sum(p));
            largest[slot] = now;
            if (row == start + lane && row < batch) diagonal[row] = s;
        }
    }
    for (int slot = 0; slot < Slots; ++slot) {
        int row = first + warp + slot * Warps;
        if (lane == 0 && row < batch) lse[row] = largest[slot] + log_f32(total[slot]);
    }
}

KERNEL(128) cliploss_finish(float* loss, const float* image_lse, const float* text_lse, const float* diagonal, int batch) {
    __shared__ float scratch[Warps];
    float sum = 0;
    for (int i = threadIdx.x; i < batch; i += 128) sum += 0.5f * (image_lse[i] - diagonal[i]) + 0.5f * (text_lse[i] - diagonal[i]);
    sum = block_sum<128>(sum, scratch);
    if (threadIdx.x == 0) *loss = sum / (float)batch;
}

KERNEL(128)
cliploss_backward(float* da, float* partial, const float* a, const float* b, const float* a_lse, const float* b_lse, const float* logit_scale,
                  const float* dloss, int batch, int width) {
    __shared__ float gradient[Tile][Tile];
    __shared__ float scratch[Warps];
    int warp = threadIdx.x / WarpSize;
    int lane = threadIdx.x % WarpSize;
    int first = blockIdx.x * Tile;
    int column = blockIdx.y * 128 + lane;
    float scale = exp_f32(*logit_scale);
    float factor = 0.5f * *dloss / (float)batch;
    float sum[Slots][4] = {};
    float scale_gradient = 0;
    for (int start = 0; start < batch; start += Tile) {
        float product[Slots];
        multiply(product, a, b, first, start, batch, width);
        int other = start + lane;
#pragma unroll
        for (int slot = 0; slot < Slots; ++slot) {
            int row = first + warp + slot * Warps;
            bool inside = row < batch && other < batch;
            float s = product[slot] * scale;
            float g = inside ? exp_f32(s - a_lse[row]) + exp_f32(s - b_lse[other]) - (row == other ? 2.0f : 0.0f) : 0.0f;
            g *= factor;
            scale_gradient = fmaf(g, s, scale_gradient);
            gradient[warp + slot * Warps][lane] = g * scale;
        }
        __syncwarp();
        int count = min(Tile, batch - start);
        for (int i = 0; i < count; ++i) {
            const float* row = b + (long long)(start + i) * width;
#pragma unroll
            for (int c = 0; c < 4; ++c) {
                float value = column + 32 * c < width ? row[column + 32 * c] : 0.0f;
#pragma unroll
                for (int slot = 0; slot < Slots; ++slot) sum[slot][c] = fmaf(gradient[warp + slot * Warps][i], value, sum[slot][c]);
            }
        }
        __syncwarp();
    }
#pragma unroll
    for (int slot = 0; slot < Slots; ++slot) {
        int row = first + warp + slot * Warps;
        if (row >= batch) continue;
#pragma unroll
        for (int c = 0; c < 4; ++c) {
            if (column + 32 * c < width) da[(long long)row * width + column + 32 * c] = sum[slot][c];
        }
    }
    if (!partial || blockIdx.y != 0) return;
    scale_gradient = block_sum<128>(scale_gradient, scratch);
    if (threadIdx.x == 0) partial[blockIdx.x] = scale_gradient;
}

KERNEL(128) cliploss_backward_scale(float* dlogit_scale, const float* partial, int tiles) {
    __shared__ float scratch[Warps];
    float sum = 0;
    for (int i = threadIdx.x; i < tiles; i += 128) sum += partial[i];
    sum = block_sum<128>(sum, scratch);
    if (threadIdx.x == 0) *dlogit_scale += sum;
}

// To [0, ln 100], as CLIP's trainers keep it; NaN stays, where fminf and fmaxf would make it a number.
KERNEL(128) cliploss_clamp_scale(float* logit_scale) {
    if (threadIdx.x != 0) return;
    float value = *logit_scale;
    value = value < 0.0f ? 0.0f : value;
    *logit_scale = value > 4.60517019f ? 4.60517019f : value;
}
