// Multi-head scaled dot-product attention, full or causal, by tiles with an online softmax (Dao et al. 2022, FlashAttention, algorithms 1
// and 4): the S × S matrix is never in memory, backward recomputes it from the row's log-sum-exp.
//
//   s = q·k / √D · log2 e,  p = 2^(s − lse),  o = Σ_k p · v,  lse = log2 Σ_k 2^s        scale = 1/√D
//   delta = Σ_d do · o
//   dp = do·v,  ds = p · (dp − delta) · scale,  dq = Σ_k ds · k,  dk = Σ_q ds · q,  dv = Σ_q p · do
//
// qkv, dqkv: [B, S, 3, H, D];  o, do: [B, S, H, D];  lse, delta: [B, H, S].
// One block of 128 threads a (batch, head, tile of own rows). A tile of the 32 other rows lies transposed in shared memory: lane = other
// row while scores are computed, lane = column while rows are accumulated. Warp w owns rows w, w + 4, …: `Slots` of them. Own rows in shared
// memory are read by whole warps at one address, four numbers at once, other rows' columns at 32 neighbouring ones: no bank conflicts, all
// coalesced. `Columns` · 32 ≥ D. Shared memory: 12 to 35 KiB. Moves 16·S·D bytes a head forward if K, V stay in the cache; 4·S·D flops a row.
#include "common/math.cuh"
#include "common/reduce.cuh"

constexpr int Warps = 4;
constexpr int Others = 32;
constexpr float Lowest = -3.402823466e38f;

struct Shape {
    int sequence, heads, head_width, tiles, causal;
    float scale;

    // Scores are kept in powers of 2.
    __device__ float binary_scale() const { return scale * 1.44269504f; }
};

// Which rows a block works on, and where a row of q, k, v, o lies.
struct Place {
    int tile, head, batch;
    long long stride, q, k, v, o;
};

DEVICE Place find_place(const Shape& shape) {
    int width = shape.heads * shape.head_width;
    int pair = blockIdx.x / shape.tiles;
    Place place;
    place.tile = blockIdx.x % shape.tiles;
    place.head = pair % shape.heads;
    place.batch = pair / shape.heads;
    place.stride = 3LL * width;
    place.o = (long long)place.batch * shape.sequence * width + place.head * shape.head_width;
    place.q = (long long)place.batch * shape.sequence * place.stride + place.head * shape.head_width;
    place.k = place.q + width;
    place.v = place.k + width;
    return place;
}

// rows[i][d] of a tile of own rows, zero beyond the sequence and beyond the head.
template <int Columns, int Rows>
DEVICE void load_own(float (&tile)[Rows][Columns * 32], const float* rows, long long stride, int first, const Shape& shape) {
    for (int i = threadIdx.x / WarpSize; i < Rows; i += Warps) {
        for (int d = threadIdx.x % WarpSize; d < Columns * 32; d += WarpSize) {
            bool inside = first + i < shape.sequence && d < shape.head_width;
            tile[i][d] = inside ? rows[(first + i) * stride + d] : 0.0f;
        }
    }
}

// The same of 32 other rows, transposed, with zeros up to the next multiple of 4 columns; a pitch of 33 keeps both directions free of
// bank conflicts.
template <int Columns>
DEVICE void load_others(float (&tile)[Columns * 32][Others + 1], const float* rows, long long stride, int first, const Shape& shape) {
    int columns = (shape.head_width + 3) / 4 * 4;
    for (int i = threadIdx.x / WarpSize; i < Others; i += Warps) {
        for (int d = threadIdx.x % WarpSize; d < columns; d += WarpSize)
            tile[d][i] = first + i < shape.sequence && d < shape.head_width ? rows[(first + i) * stride + d] : 0.0f;
    }
}

DEVICE float4 load_four(const float* aligned) { return *(const float4*)aligned; }

// sum + a · b, from the first element on
DEVICE float dot_four(float4 a, const float (&b)[4], float sum) { return fmaf(a.w, b[3], fmaf(a.z, b[2], fmaf(a.y, b[1], fmaf(a.x, b[0], sum)))); }

// product[slot] = own[row of slot] · others[lane]
template <int Columns, int Slots>
DEVICE void multiply(float (&product)[Slots], const float (&own)[Slots * Warps][Columns * 32], const float (&others)[Columns * 32][Others + 1], int head_width) {
    int warp = threadIdx.x / WarpSize;
    int lane = threadIdx.x % WarpSize;
    for (int slot = 0; slot < Slots; ++slot) product[slot] = 0;
#pragma unroll 1
    for (int d = 0; d < head_width; d += 4) {
        float other[4] = {others[d][lane], others[d + 1][lane], others[d + 2][lane], others[d + 3][lane]};
#pragma unroll
        for (int slot = 0; slot < Slots; ++slot) product[slot] = dot_four(load_four(&own[warp + slot * Warps][d]), other, product[slot]);
    }
}

// sum[slot][c] += Σ_i weight[row of slot][i] · rows[first + i][lane + 32·c]
template <int Columns, int Slots>
DEVICE void accumulate(
    float (&sum)[Slots][Columns], const float (&weight)[Slots * Warps][Others], const float* rows, long long stride, int first, const Shape& shape) {
    int warp = threadIdx.x / WarpSize;
    int lane = threadIdx.x % WarpSize;
    int count = min(Others, shape.sequence - first);
    // Lanes beyond the head read its last column; their sums are never stored.
    const float* column[Columns];
#pragma unroll
    for (int c = 0; c < Columns; ++c) column[c] = rows + first * stride + min(lane + 32 * c, shape.head_width - 1);
    int i = 0;
#pragma unroll 1
    for (; i + 4 <= count; i += 4) {
        float value[Columns][4];
#pragma unroll
        for (int c = 0; c < Columns; ++c) {
#pragma unroll
            for (int k = 0; k < 4; ++k) value[c][k] = column[c][(i + k) * stride];
        }
#pragma unroll
        for (int slot = 0; slot < Slots; ++slot) {
            float4 four = load_four(&weight[warp + slot * Warps][i]);
#pragma unroll
            for (int c = 0; c < Columns; ++c) sum[slot][c] = dot_four(four, value[c], sum[slot][c]);
        }
    }
#pragma unroll 1
    for (; i < count; ++i) {
#pragma unroll
        for (int c = 0; c < Columns; ++c) {
            float value = column[c][i * stride];
#pragma unroll
            for (int slot = 0; slot < Slots; ++slot) sum[slot][c] = fmaf(weight[warp + slot * Warps][i], value, sum[slot][c]);
        }
    }
}

// rows[row of slot][lane + 32·c] = sum[slot][c] · factor
template <int Columns, int Slots>
DEVICE void store_rows(float* rows, long long stride, int first, const float (&sum)[Slots][Columns], const float (&factor)[Slots], const Shape& shape) {
    int warp = threadIdx.x / WarpSize;
    int lane = threadIdx.x % WarpSize;
#pragma unroll
    for (int slot = 0; slot < Slots; ++slot) {
        int row = first + warp + slot * Warps;
        if (row >= shape.sequence) continue;
#pragma unroll
        for (int c = 0; c < Columns; ++c) {
            int d = lane + 32 * c;
            if (d < shape.head_width) rows[row * stride + d] = sum[slot][c] * factor[slot];
        }
    }
}

template <int Columns, int Slots>
DEVICE void forward(float* o, float* lse, const float* qkv, const Shape& shape) {
    constexpr int Rows = Slots * Warps;
    alignas(16) __shared__ float own[Rows][Columns * 32];
    __shared__ float others[Columns * 32][Others + 1];
    alignas(16) __shared__ float weight[Rows][Others];
    Place place = find_place(shape);
    int warp = threadIdx.x / WarpSize;
    int lane = threadIdx.x % WarpSize;
    int first = place.tile * Rows;
    load_own<Columns>(own, qkv + place.q, place.stride, first, shape);

    float largest[Slots], total[Slots], sum[Slots][Columns] = {};
    for (int slot = 0; slot < Slots; ++slot) {
        largest[slot] = Lowest;
        total[slot] = 0;
    }
    int end = shape.causal ? min(first + Rows, shape.sequence) : shape.sequence;
    for (int start = 0; start < end; start += Others) {
        __syncthreads();
        load_others<Columns>(others, qkv + place.k, place.stride, start, shape);
        __syncthreads();
        float score[Slots];
        multiply<Columns, Slots>(score, own, others, shape.head_width);
        int key = start + lane;
#pragma unroll
        for (int slot = 0; slot < Slots; ++slot) {
            int query = first + warp + slot * Warps;
            bool seen = key < shape.sequence && (!shape.causal || key <= query);
            float s = score[slot] * shape.binary_scale();
            float now = fmaxf(largest[slot], warp_max(seen ? s : Lowest));
            float p = seen ? exp2_f32(s - now) : 0.0f;
            float keep = exp2_f32(largest[slot] - now);
            largest[slot] = now;
            total[slot] = fmaf(total[slot], keep, warp_sum(p));
            for (int c = 0; c < Columns; ++c) sum[slot][c] *= keep;
            weight[warp + slot * Warps][lane] = p;
        }
        __syncwarp();
        accumulate<Columns, Slots>(sum, weight, qkv + place.v, place.stride, start, shape);
    }
    float factor[Slots];
    for (int slot = 0; slot < Slots; ++slot) {
        factor[slot] = 1.0f / total[slot];
        int query = first + warp + slot * Warps;
        if (lane == 0 && query < shape.sequence)
            lse[((long long)place.batch * shape.heads + place.head) * shape.sequence + query] = fmaf(log_f32(total[slot]), 1.44269504f, largest[slot]);
    }
    store_rows<Columns, Slots>(o + place.o, place.stride / 3, first, sum, factor, shape);
}

// dq: own rows are queries, others are keys.
template <int Columns, int Slots>
DEVICE void backward_query(float* dqkv, const float* d_out, const float* qkv, const float* lse, const float* delta, const Shape& shape) {
    constexpr int Rows = Slots * Warps;
    alignas(16) __shared__ float own_q[Rows][Columns * 32];
    alignas(16) __shared__ float own_do[Rows][Columns * 32];
    __shared__ float others[Columns * 32][Others + 1];
    alignas(16) __shared__ float weight[Rows][Others];
    Place place = find_place(shape);
    int warp = threadIdx.x / WarpSize;
    int lane = threadIdx.x % WarpSize;
    int first = place.tile * Rows;
    load_own<Columns>(own_q, qkv + place.q, place.stride, first, shape);
    load_own<Columns>(own_do, d_out + place.o, place.stride / 3, first, shape);
    long long statistics = ((long long)place.batch * shape.heads + place.head) * shape.sequence;

    float dq[Slots][Columns] = {}, one[Slots], row_lse[Slots], row_delta[Slots];
    for (int slot = 0; slot < Slots; ++slot) {
        int query = min(first + warp + slot * Warps, shape.sequence - 1);
        one[slot] = 1;
        row_lse[slot] = lse[statistics + query];
        row_delta[slot] = delta[statistics + query];
    }
    int end = shape.causal ? min(first + Rows, shape.sequence) : shape.sequence;
    for (int start = 0; start < end; start += Others) {
        float score[Slots], dp[Slots];
        __syncthreads();
        load_others<Columns>(others, qkv + place.k, place.stride, start, shape);
        __syncthreads();
        multiply<Columns, Slots>(score, own_q, others, shape.head_width);
        __syncthreads();
        load_others<Columns>(others, qkv + place.v, place.stride, start, shape);
        __syncthreads();
        multiply<Columns, Slots>(dp, own_do, others, shape.head_width);
        int key = start + lane;
#pragma unroll
        for (int slot = 0; slot < Slots; ++slot) {
            int query = first + warp + slot * Warps;
            bool seen = key < shape.sequence && (!shape.causal || key <= query);
            float p = seen ? exp2_f32(fmaf(score[slot], shape.binary_scale(), -row_lse[slot])) : 0.0f;
            weight[warp + slot * Warps][lane] = p * (dp[slot] - row_delta[slot]) * shape.scale;
        }
        __syncwarp();
        accumulate<Columns, Slots>(dq, weight, qkv + place.k, place.stride, start, shape);
    }
    store_rows<Columns, Slots>(dqkv + place.q, place.stride, first, dq, one, shape);
}

// dk, dv: own rows are keys, others are queries.
template <int Columns, int Slots>
DEVICE void backward_key(float* dqkv, const float* d_out, const float* qkv, const float* lse, const float* delta, const Shape& shape) {
    constexpr int Rows = Slots * Warps;
    alignas(16) __shared__ float own_k[Rows][Columns * 32];
    alignas(16) __shared__ float own_v[Rows][Columns * 32];
    __shared__ float others[Columns * 32][Others + 1];
    alignas(16) __shared__ float weight[Rows][Others];
    Place place = find_place(shape);
    int warp = threadIdx.x / WarpSize;
    int lane = threadIdx.x % WarpSize;
    int first = place.tile * Rows;
    load_own<Columns>(own_k, qkv + place.k, place.stride, first, shape);
    load_own<Columns>(own_v, qkv + place.v, place.stride, first, shape);
    long long statistics = ((long long)place.batch * shape.heads + place.head) * shape.sequence;

    float dk[Slots][Columns] = {}, dv[Slots][Columns] = {}, one[Slots];
    for (int slot = 0; slot < Slots; ++slot) one[slot] = 1;
    // Causal: queries before the first own key see none of them.
    for (int start = shape.causal ? first / Others * Others : 0; start < shape.sequence; start += Others) {
        float score[Slots], dp[Slots];
        __syncthreads();
        load_others<Columns>(others, qkv + place.q, place.stride, start, shape);
        __syncthreads();
        multiply<Columns, Slots>(score, own_k, others, shape.head_width);
        __syncthreads();
        load_others<Columns>(others, d_out + place.o, place.stride / 3, start, shape);
        __syncthreads();
        multiply<Columns, Slots>(dp, own_v, others, shape.head_width);
        int query = start + lane;
        int inside = min(query, shape.sequence - 1);
        float column_lse = lse[statistics + inside];
        float column_delta = delta[statistics + inside];
        float p[Slots];
#pragma unroll
        for (int slot = 0; slot < Slots; ++slot) {
            int key = first + warp + slot * Warps;
            bool seen = query < shape.sequence && key < shape.sequence && (!shape.causal || key <= query);
            p[slot] = seen ? exp2_f32(fmaf(score[slot], shape.binary_scale(), -column_lse)) : 0.0f;
            weight[warp + slot * Warps][lane] = p[slot];
        }
        __syncwarp();
        accumulate<Columns, Slots>(dv, weight, d_out + place.o, place.stride / 3, start, shape);
        __syncwarp();
#pragma unroll
        for (int slot = 0; slot < Slots; ++slot) weight[warp + slot * Warps][lane] = p[slot] * (dp[slot] - column_delta) * shape.scale;
        __syncwarp();
        accumulate<Columns, Slots>(dk, weight, qkv + place.q, place.stride, start, shape);
    }
    store_rows<Columns, Slots>(dqkv + place.k, place.stride, first, dk, one, shape);
    store_rows<Columns, Slots>(dqkv + place.v, place.stride, first, dv, one, shape);
}

// delta[b][h][s]: a warp a row.
KERNEL(128) attention_delta(float* delta, const float* d_out, const float* o, int sequence, int heads, int head_width, long long rows) {
    long long row = (long long)blockIdx.x * Warps + threadIdx.x / WarpSize;
    if (row >= rows) return;
    long long s = row % sequence;
    long long head = row / sequence % heads;
    long long start = (row / sequence / heads * sequence + s) * heads * head_width + head * head_width;
    float sum = 0;
    for (int d = threadIdx.x % WarpSize; d < head_width; d += WarpSize) sum = fmaf(d_out[start + d], o[start + d], sum);
    sum = warp_sum(sum);
    if (threadIdx.x % WarpSize == 0) delta[row] = sum;
}

#define ATTENTION(D, Columns, Slots)                                                                                                            \
    KERNEL(128) attention_forward_##D(float* o, float* lse, const float* qkv, int sequence, int heads, int head_width, int tiles, int causal,    \
                                      float scale) {                                                                                            \
        forward<Columns, Slots>(o, lse, qkv, {sequence, heads, head_width, tiles, causal, scale});                                              \
    }                                                                                                                                           \
    KERNEL(128) attention_backward_query_##D(float* dqkv, const float* d_out, const float* qkv, const float* lse, const float* delta,           \
                                             int sequence, int heads, int head_width, int tiles, int causal, float scale) {                     \
        backward_query<Columns, Slots>(dqkv, d_out, qkv, lse, delta, {sequence, heads, head_width, tiles, causal, scale});                      \
    }                                                                                                                                           \
    KERNEL(128) attention_backward_key_##D(float* dqkv, const float* d_out, const float* qkv, const float* lse, const float* delta,             \
                                           int sequence, int heads, int head_width, int tiles, int causal, float scale) {                       \
        backward_key<Columns, Slots>(dqkv, d_out, qkv, lse, delta, {sequence, heads, head_width, tiles, causal, scale});                        \
    }

ATTENTION(32, 1, 8)
ATTENTION(64, 2, 6)
ATTENTION(128, 4, 4)
