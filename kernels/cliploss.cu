// The symmetric contrastive loss of CLIP (Radford et al. 2021, figure 3), a strip of images at a time: never all B × B logits in memory.
//
//   s_ij = e^l · a_i·b_j,  lse_i = log Σ_j exp(s_ij),  lse'_j = log Σ_i exp(s_ij)
//   loss = Σ_i ((lse_i + lse'_i) / 2 − s_ii) / B
//   g_ij = (exp(s_ij − lse_i) + exp(s_ij − lse'_j) − 2·[i = j]) · dloss / 2B
//   da_i = e^l · Σ_j g_ij · b_j,  db_j = e^l · Σ_i g_ij · a_i,  dl += Σ_ij g_ij · s_ij
//
// The host multiplies a strip of `rows` images, from image `first` on, by all texts; kernels go over those products p_ij = a_i·b_j, [rows, B].
// lse, lse', diagonal, total, partial: [B]; l, loss, dloss: scalars on the device.
//   rows      a warp an image, 4 a block of 128: lse and s_ii. 2 reads a product, of which the second is of what the cache has by then.
//   columns   32 texts a block of 128, each warp every fourth image: the running maximum and Σ exp of each text, lse' after the last strip.
//   gradient  as rows: p_ij becomes e^l · g_ij, by which the host then multiplies; partial_i = Σ_j g_ij · s_ij. 8 bytes a product.
// Memory O(B · strip); with the host's products 2·B²·D flops forward and 6·B²·D backward.
#include "common/math.cuh"
#include "common/reduce.cuh"

constexpr int Warps = 4;
constexpr float Lowest = -3.402823466e38f;

KERNEL(128) cliploss_rows(float* lse, float* diagonal, const float* product, const float* logit_scale, int first, int rows, int batch) {
    int row = blockIdx.x * Warps + threadIdx.x / WarpSize;
    int lane = threadIdx.x % WarpSize;
    if (row >= rows) return;
    const float* p = product + (long long)row * batch;
    float scale = exp_f32(*logit_scale);
    // The scale is positive: the largest product makes the largest logit.
    float largest = Lowest;
    for (int c = lane; c < batch; c += WarpSize) largest = fmaxf(largest, p[c]);
    largest = warp_max(largest) * scale;
    float total = 0;
    for (int c = lane; c < batch; c += WarpSize) total += exp_f32(fmaf(p[c], scale, -largest));
    total = warp_sum(total);
    if (lane == 0) {
        lse[first + row] = largest + log_f32(total);
        diagonal[first + row] = p[first + row] * scale;
    }
}

// `lse` holds a text's largest logit until the last strip has come.
KERNEL(128) cliploss_columns(float* lse, float* total, const float* product, const float* logit_scale, int first, int rows, int batch) {
    __shared__ float scratch[Warps][WarpSize];
    int warp = threadIdx.x / WarpSize;
    int lane = threadIdx.x % WarpSize;
    int column = blockIdx.x * WarpSize + lane;
    bool inside = column < batch;
    float scale = exp_f32(*logit_scale);
    float largest = Lowest;
    if (inside) {
        for (int row = warp; row < rows; row += Warps) largest = fmaxf(largest, product[(long long)row * batch + column]);
    }
    scratch[warp][lane] = largest;
    __syncthreads();
    for (int w = 0; w < Warps; ++w) largest = fmaxf(largest, scratch[w][lane]);
    largest *= scale;
    float before = inside && first > 0 ? lse[column] : Lowest;
    largest = fmaxf(largest, before);
    float sum = 0;
    if (inside) {
        for (int row = warp; row < rows; row += Warps) sum += exp_f32(fmaf(product[(long long)row * batch + column], scale, -largest));
    }
    __syncthreads();
    scratch[warp][lane] = sum;
    __syncthreads();
    if (warp > 0 || !inside) return;
    for (int w = 1; w < Warps; ++w) sum += scratch[w][lane];
    if (first > 0) sum = fmaf(total[column], exp_f32(before - largest), sum);
    total[column] = sum;
    lse[column] = first + rows == batch ? largest + log_f32(sum) : largest;
}

KERNEL(128) cliploss_finish(float* loss, const float* image_lse, const float* text_lse, const float* diagonal, int batch) {
    __shared__ float scratch[Warps];
    float sum = 0;
    for (int i = threadIdx.x; i < batch; i += 128) sum += 0.5f * (image_lse[i] - diagonal[i]) + 0.5f * (text_lse[i] - diagonal[i]);
    sum = block_sum<128>(sum, scratch);
    if (threadIdx.x == 0) *loss = sum / (float)batch;
}

KERNEL(128)
cliploss_gradient(float* product, float* partial, const float* image_lse, const float* text_lse, const float* logit_scale, const float* dloss,
                  int first, int rows, int batch) {
    int row = blockIdx.x * Warps + threadIdx.x / WarpSize;
    int lane = threadIdx.x % WarpSize;
    if (row >= rows) return;
    float* p = product + (long long)row * batch;
    float scale = exp_f32(*logit_scale);
    float factor = 0.5f * *dloss / (float)batch;
    float own = image_lse[first + row];
    float sum = 0;
    for (int c = lane; c < batch; c += WarpSize) {
        float s = p[c] * scale;
        float g = exp_f32(s - own) + exp_f32(s - text_lse[c]) - (c == first + row ? 2.0f : 0.0f);
        g *= factor;
        sum = fmaf(g, s, sum);
        p[c] = g * scale;
    }
    sum = warp_sum(sum);
    if (lane == 0) partial[first + row] = sum;
}

KERNEL(128) cliploss_gradient_scale(float* dlogit_scale, const float* partial, int batch) {
    __shared__ float scratch[Warps];
    float sum = 0;
    for (int i = threadIdx.x; i < batch; i += 128) sum += partial[i];
    sum = block_sum<128>(sum, scratch);
    if (threadIdx.x == 0) *dlogit_scale += sum;
}

// Pairs of equal captions or equal pictures are no negatives of each other: their products count as −10³⁰, whose exponential is 0 in every sum.
KERNEL(128) cliploss_mask(float* product, const int* image_keys, const int* text_keys, int first, int rows, int batch) {
    int row = blockIdx.x * Warps + threadIdx.x / WarpSize;
    if (row >= rows) return;
    float* p = product + (long long)row * batch;
    int image = image_keys[first + row];
    int text = text_keys[first + row];
    for (int c = threadIdx.x % WarpSize; c < batch; c += WarpSize) {
        bool equal = image_keys[c] == image || text_keys[c] == text;
        if (equal && c != first + row) p[c] = -1e30f;
    }
}

// To [0, ln 100], as CLIP's trainers keep it; NaN stays, where fminf and fmaxf would make it a number.
KERNEL(128) cliploss_clamp_scale(float* logit_scale) {
    if (threadIdx.x != 0) return;
    float value = *logit_scale;
    value = value < 0.0f ? 0.0f : value;
    *logit_scale = value > 4.60517019f ? 4.60517019f : value;
}
