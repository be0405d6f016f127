// Multi-head attention of one query a sequence: attention pooling needs the first row only, for which the general kernel would work out
// all S queries. Everything is read once, so nothing is tiled.
//
//   forward:   s = scale · q·k,  p = softmax(s),  o = Σ_k p · v                                              scale = 1/√D
//   backward:  dp = do·v,  ds = p · (dp − Σ_k p·dp) · scale,  dq = Σ_k ds · k,  dk = ds · q,  dv = p · do
//
// q, o and their gradients: [B, H, D]; k, v and theirs: [B, S, H, D]; p, ds: [B, H, S]. One block of 128 a head of a sequence: a warp a key
// where dot products are taken, a thread a column where rows are added. Moves 8·S·D bytes a head forward, 24·S·D backward.
#include "common/math.cuh"
#include "common/reduce.cuh"

constexpr int Warps = 4;
constexpr float Lowest = -3.402823466e38f;

// result[s] = scale · a · rows[s] for every row of a head
DEVICE void dot_rows(float* result, const float* a, const float* rows, int sequence, int stride, int head_width, float scale) {
    int lane = threadIdx.x % WarpSize;
    for (int s = threadIdx.x / WarpSize; s < sequence; s += Warps) {
        const float* row = rows + (long long)s * stride;
        float sum = 0;
        for (int d = lane; d < head_width; d += WarpSize) sum = fmaf(a[d], row[d], sum);
        sum = warp_sum(sum);
        if (lane == 0) result[s] = sum * scale;
    }
}

// out = Σ_s weight[s] · rows[s]
DEVICE void add_rows(float* out, const float* weight, const float* rows, int sequence, int stride, int head_width) {
    for (int d = threadIdx.x; d < head_width; d += 128) {
        float sum = 0;
        for (int s = 0; s < sequence; ++s) sum = fmaf(weight[s], rows[(long long)s * stride + d], sum);
        out[d] = sum;
    }
}

KERNEL(128)
queryattention_forward(float* o, float* p, const float* q, const float* k, const float* v, int sequence, int heads, int head_width, float scale) {
    __shared__ float scratch[Warps];
    int width = heads * head_width;
    long long own = (long long)blockIdx.x * head_width;
    long long rows = (long long)(blockIdx.x / heads) * sequence * width + blockIdx.x % heads * head_width;
    float* weight = p + (long long)blockIdx.x * sequence;
    dot_rows(weight, q + own, k + rows, sequence, width, head_width, scale);
    __syncthreads();
    float largest = Lowest;
    for (int s = threadIdx.x; s < sequence; s += 128) largest = fmaxf(largest, weight[s]);
    largest = block_max<128>(largest, scratch);
    float total = 0;
    for (int s = threadIdx.x; s < sequence; s += 128) {
        float e = exp_f32(weight[s] - largest);
        weight[s] = e;
        total += e;
    }
    total = block_sum<128>(total, scratch);
    for (int s = threadIdx.x; s < sequence; s += 128) weight[s] = weight[s] / total;
    __syncthreads();
    add_rows(o + own, weight, v + rows, sequence, width, head_width);
}

KERNEL(128)
queryattention_backward(
    float* dq, float* dk, float* dv, float* ds, const float* d_out, const float* p, const float* q, const float* k, const float* v, int sequence, int heads,
    int head_width, float scale) {
    __shared__ float scratch[Warps];
    int width = heads * head_width;
    long long own = (long long)blockIdx.x * head_width;
    long long rows = (long long)(blockIdx.x / heads) * sequence * width + blockIdx.x % heads * head_width;
    const float* weight = p + (long long)blockIdx.x * sequence;
    float* slope = ds + (long long)blockIdx.x * sequence;
    dot_rows(slope, d_out + own, v + rows, sequence, width, head_width, 1.0f);
    __syncthreads();
    float mean = 0;
    for (int s = threadIdx.x; s < sequence; s += 128) mean = fmaf(weight[s], slope[s], mean);
    mean = block_sum<128>(mean, scratch);
    for (int s = threadIdx.x; s < sequence; s += 128) slope[s] = weight[s] * (slope[s] - mean) * scale;
    __syncthreads();
    add_rows(dq + own, slope, k + rows, sequence, width, head_width);
    int lane = threadIdx.x % WarpSize;
    for (int s = threadIdx.x / WarpSize; s < sequence; s += Warps) {
        float key = slope[s];
        float value = weight[s];
        long long row = rows + (long long)s * width;
        for (int d = lane; d < head_width; d += WarpSize) {
            dk[row + d] = key * q[own + d];
            dv[row + d] = value * d_out[own + d];
        }
    }
}
