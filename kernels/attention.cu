// Multi-head scaled dot-product attention, full or causal, by tiles with an online softmax (Dao et al. 2022, FlashAttention, algorithms 1
// and 4): the S × S matrix is never in memory, backward recomputes it from the row's log-sum-exp.
//
//   s = q·k / √D · log2 e,  p = 2^(s − lse),  o = Σ_k p · v,  lse = log2 Σ_k 2^s        scale = 1/√D
//   delta = Σ_d do · o
//   dp = do·v,  ds = p · (dp − delta) · scale,  dq = Σ_k ds · k,  dk = Σ_q ds · q,  dv = Σ_q p · do
//
// qkv, dqkv: [B, S, 3, H, D];  o, do: [B, S, H, D];  lse, delta: [B, H, S].
// Forward: one block a (batch, head, tile of queries). Backward: one a (batch, head), which goes through all tiles of keys and, in each, of
// queries: every product is computed once, and dq is summed in one order. `Warps` warps of `Slots` neighbouring own rows each; a warp without
// rows only helps to load. A tile of the 32 other rows lies transposed in shared memory: lane = other row while scores are computed, lane =
// column while rows are accumulated. Own rows in shared memory are read by whole warps at one address, four numbers at once, other rows' columns
// at 32 neighbouring ones: no bank conflicts, all coalesced. `Columns` · 32 ≥ D. Shared memory: 28 to 48 KiB. Moves 16·S·D bytes a head forward
// if K, V stay in the cache; 4·S·D flops a row.
// Own rows beyond the sequence are copies of the last one, other ones what was there before: nobody sees or stores what comes of them.
#include "common/math.cuh"
#include "common/reduce.cuh"

constexpr int Others = 32;
constexpr int Four = 4;  // queries whose weights are one load, in the backward
constexpr int Pitch = 36;
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

// Whether a head has the lane's column c. The lower half of a kernel's columns every head has: narrower ones have another kernel.
template <int Columns>
DEVICE bool has_column(int c, const Shape& shape) {
    return c < Columns / 2 || (int)(threadIdx.x % WarpSize) + 32 * c < shape.head_width;
}

// tile[i][d] of this warp's own rows, with zeros beyond the head's width.
template <int Slots, int Columns, int Rows>
DEVICE void load_own(float (&tile)[Rows][Columns * 32], const float* rows, long long stride, int first, const Shape& shape) {
    int mine = warp_index() * Slots;
    if (first + mine >= shape.sequence) return;
#pragma unroll
    for (int c = 0; c < Columns; ++c) {
        int d = threadIdx.x % WarpSize + 32 * c;
#pragma unroll
        for (int slot = 0; slot < Slots; ++slot) {
            tile[mine + slot][d] = has_column<Columns>(c, shape) ? rows[min(first + mine + slot, shape.sequence - 1) * stride + d] : 0;
        }
    }
}

// tile[d][i] of up to 32 other rows, four rows a warp: stores of four numbers at a pitch of 36 are free of bank conflicts.
template <int Columns>
DEVICE void load_others(float (&tile)[Columns * 32][Pitch], const float* rows, long long stride, int first, const Shape& shape) {
    int last = shape.sequence - 1;
    for (int i = warp_index() * 4; i < min(Others, shape.sequence - first); i += blockDim.x / WarpSize * 4) {
        const float* a = rows + (first + i) * stride;
        const float* b = rows + min(first + i + 1, last) * stride;
        const float* c = rows + min(first + i + 2, last) * stride;
        const float* e = rows + min(first + i + 3, last) * stride;
        for (int d = threadIdx.x % WarpSize; d < shape.head_width; d += WarpSize) *(float4*)&tile[d][i] = float4{a[d], b[d], c[d], e[d]};
    }
}

// Zeros where load_others never comes: beyond the head's width, up to the next multiple of 4, and beyond a sequence that does not fill a tile.
template <int Columns>
DEVICE void clear_others(float (&tile)[Columns * 32][Pitch], const Shape& shape) {
    int columns = (shape.head_width + 3) / 4 * 4;
    if (columns == shape.head_width && shape.sequence >= Others) return;
    for (int d = warp_index(); d < columns; d += blockDim.x / WarpSize) tile[d][threadIdx.x % WarpSize] = 0;
}

// Element k of four aligned ones.
DEVICE float element(float4 four, int k) { return k == 0 ? four.x : k == 1 ? four.y : k == 2 ? four.z : four.w; }

DEVICE float4 load_four(const float* aligned) { return *(const float4*)aligned; }

// product[slot] = own[slot] · others[lane]
template <int Columns, int Slots>
DEVICE void multiply(float (&product)[Slots], const float (*own)[Columns * 32], const float (&others)[Columns * 32][Pitch], int head_width) {
    int lane = threadIdx.x % WarpSize;
    for (int slot = 0; slot < Slots; ++slot) product[slot] = 0;
#pragma unroll 1
    for (int d = 0; d < head_width; d += 4) {
        float4 four[Slots];
#pragma unroll
        for (int slot = 0; slot < Slots; ++slot) four[slot] = load_four(&own[slot][d]);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            float other = others[d + k][lane];
#pragma unroll
            for (int slot = 0; slot < Slots; ++slot) product[slot] = fmaf(element(four[slot], k), other, product[slot]);
            keep_order(product);
        }
    }
}

// sum[slot][c] += Σ_i weight[slot][i] · rows[first + i][lane + 32·c]
template <int Columns, int Slots>
DEVICE void accumulate(float (&sum)[Slots][Columns], const float (*weight)[Others], const float* rows, long long stride, int first, const Shape& shape) {
    int lane = threadIdx.x % WarpSize;
    int count = min(Others, shape.sequence - first);
    // Lanes beyond the head read its last column; their sums are never stored.
    const float* column[Columns];
#pragma unroll
    for (int c = 0; c < Columns; ++c) column[c] = rows + first * stride + (has_column<Columns>(c, shape) ? lane + 32 * c : shape.head_width - 1);
    int i = 0;
#pragma unroll 1
    for (; i + 4 <= count; i += 4) {
        float4 four[Slots];
#pragma unroll
        for (int slot = 0; slot < Slots; ++slot) four[slot] = load_four(&weight[slot][i]);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            float value[Columns];
#pragma unroll
            for (int c = 0; c < Columns; ++c) value[c] = column[c][(i + k) * stride];
#pragma unroll
            for (int slot = 0; slot < Slots; ++slot) {
#pragma unroll
                for (int c = 0; c < Columns; ++c) sum[slot][c] = fmaf(element(four[slot], k), value[c], sum[slot][c]);
            }
            keep_order(sum);
        }
    }
#pragma unroll 1
    for (; i < count; ++i) {
#pragma unroll
        for (int c = 0; c < Columns; ++c) {
            float value = column[c][i * stride];
#pragma unroll
            for (int slot = 0; slot < Slots; ++slot) sum[slot][c] = fmaf(weight[slot][i], value, sum[slot][c]);
        }
    }
}

// rows[own + slot][lane + 32·c] = sum[slot][c], as far as there are such rows and columns
template <int Columns, int Slots>
DEVICE void store_rows(float* rows, long long stride, int own, const float (&sum)[Slots][Columns], const Shape& shape) {
#pragma unroll
    for (int c = 0; c < Columns; ++c) {
        if (!has_column<Columns>(c, shape)) continue;
        int d = threadIdx.x % WarpSize + 32 * c;
#pragma unroll
        for (int slot = 0; slot < Slots; ++slot) {
            if (own + slot < shape.sequence) rows[(own + slot) * stride + d] = sum[slot][c];
        }
    }
}

// The reverse.
template <int Columns, int Slots>
DEVICE void load_rows(float (&sum)[Slots][Columns], const float* rows, long long stride, int own, const Shape& shape) {
#pragma unroll
    for (int c = 0; c < Columns; ++c) {
        if (!has_column<Columns>(c, shape)) continue;
        int d = threadIdx.x % WarpSize + 32 * c;
#pragma unroll
        for (int slot = 0; slot < Slots; ++slot) sum[slot][c] = rows[min(own + slot, shape.sequence - 1) * stride + d];
    }
}

template <int Warps, int Columns, int Slots, bool Exact>
DEVICE void forward(float* o, float* lse, const float* qkv, const Shape& shape) {
    constexpr int Rows = Slots * Warps;
    alignas(16) __shared__ float own[Rows][Columns * 32];
    alignas(16) __shared__ float others[Columns * 32][Pitch];
    alignas(16) __shared__ float weight[Rows][Others];
    Place place = find_place(shape);
    int lane = threadIdx.x % WarpSize;
    int rows = blockDim.x / WarpSize * Slots;
    int first = place.tile * rows;
    int mine = warp_index() * Slots;
    int query = first + mine;
    load_own<Slots, Columns>(own, qkv + place.q, place.stride, first, shape);
    clear_others<Columns>(others, shape);

    // A lane's share of the row's total, until the end.
    float largest[Slots], total[Slots], sum[Slots][Columns] = {};
#pragma unroll
    for (int slot = 0; slot < Slots; ++slot) {
        largest[slot] = Lowest;
        total[slot] = 0;
    }
    int end = shape.causal ? min(first + rows, shape.sequence) : shape.sequence;
    for (int start = 0; start < end; start += Others) {
        __syncthreads();
        load_others<Columns>(others, qkv + place.k, place.stride, start, shape);
        __syncthreads();
        if (query >= shape.sequence) continue;
        float score[Slots];
        multiply<Columns, Slots>(score, own + mine, others, shape.head_width);
#pragma unroll
        for (int slot = 0; slot < Slots; ++slot) {
            // The scale is positive: the largest product makes the largest score. What is not seen comes to 2^−∞.
            float product = start + lane <= (shape.causal ? query + slot : shape.sequence - 1) ? score[slot] : Lowest;
            float now = fmaxf(largest[slot], warp_max(product) * shape.binary_scale());
            float p = exp2_f32(product * shape.binary_scale() - now);
            float keep = exp2_f32(largest[slot] - now);
            largest[slot] = now;
            total[slot] = fmaf(total[slot], keep, p);
            for (int c = 0; c < Columns; ++c) sum[slot][c] *= keep;
            weight[mine + slot][lane] = p;
        }
        __syncwarp();
        accumulate<Columns, Slots>(sum, weight + mine, qkv + place.v, place.stride, start, shape);
        __syncwarp();
    }
    if (query >= shape.sequence) return;
#pragma unroll
    for (int slot = 0; slot < Slots; ++slot) {
        total[slot] = warp_sum(total[slot]);
        float factor = 1.0f / total[slot];
        for (int c = 0; c < Columns; ++c) sum[slot][c] *= factor;
        if (lane == 0 && query + slot < shape.sequence) {
            lse[((long long)place.batch * shape.heads + place.head) * shape.sequence + query + slot] =
                fmaf(log_f32(total[slot]), 1.44269504f, largest[slot]);
        }
    }
    store_rows<Columns, Slots>(o + place.o, place.stride / 3, query, sum, shape);
}

// sum[slot][c] += Σ_i weight[i][slot] · rows[i][lane + 32·c]
template <int Columns>
DEVICE void accumulate_transposed(float (&sum)[Four][Columns], const float* weight, const float (*rows)[Columns * 32], int count) {
    int lane = threadIdx.x % WarpSize;
#pragma unroll 1
    for (int i = 0; i < count; ++i) {
        float4 four = load_four(weight + i * Others);
        float value[Columns];
#pragma unroll
        for (int c = 0; c < Columns; ++c) value[c] = rows[i][lane + 32 * c];
#pragma unroll
        for (int slot = 0; slot < Four; ++slot) {
#pragma unroll
            for (int c = 0; c < Columns; ++c) sum[slot][c] = fmaf(element(four, slot), value[c], sum[slot][c]);
        }
    }
}

// Own rows are keys, others are queries. A block goes through all tiles of both, so that dq is summed in one order: a warp adds what its block's
// keys give to the same four queries of a tile each time.
template <int Warps, int Columns, int Slots, bool Exact>
DEVICE void backward(float* dqkv, const float* d_out, const float* qkv, const float* lse, const float* delta, const Shape& shape) {
    constexpr int Rows = Slots * Warps;
    alignas(16) __shared__ float own_k[Rows][Columns * 32];
    alignas(16) __shared__ float own_v[Rows][Columns * 32];
    alignas(16) __shared__ float other_q[Columns * 32][Pitch];
    alignas(16) __shared__ float other_do[Columns * 32][Pitch];
    alignas(16) __shared__ float weight[Rows][Others];
    Place place = find_place(shape);
    int lane = threadIdx.x % WarpSize;
    int rows = blockDim.x / WarpSize * Slots;
    int mine = warp_index() * Slots;
    long long statistics = ((long long)place.batch * shape.heads + place.head) * shape.sequence;
    clear_others<Columns>(other_q, shape);
    clear_others<Columns>(other_do, shape);
#pragma unroll 1
    for (int first = 0; first < shape.sequence; first += rows) {
        int key = first + mine;
        __syncthreads();
        load_own<Slots, Columns>(own_k, qkv + place.k, place.stride, first, shape);
        load_own<Slots, Columns>(own_v, qkv + place.v, place.stride, first, shape);
        float dk[Slots][Columns] = {}, dv[Slots][Columns] = {};
        // Causal: queries before the first own key see none of them.
#pragma unroll 1
        for (int start = shape.causal ? first / Others * Others : 0; start < shape.sequence; start += Others) {
            // Of the tile before, products were made before its weights were synchronised: nobody reads it any more.
            load_others<Columns>(other_q, qkv + place.q, place.stride, start, shape);
            load_others<Columns>(other_do, d_out + place.o, place.stride / 3, start, shape);
            __syncthreads();
            if (key < shape.sequence) {
                float score[Slots], dp[Slots];
                multiply<Columns, Slots>(score, own_k + mine, other_q, shape.head_width);
                multiply<Columns, Slots>(dp, own_v + mine, other_do, shape.head_width);
                int query = start + lane;
                int inside = min(query, shape.sequence - 1);
                float column_lse = lse[statistics + inside];
                float column_delta = delta[statistics + inside];
                float p[Slots];
#pragma unroll
                for (int slot = 0; slot < Slots; ++slot) {
                    float product = query >= (shape.causal ? key + slot : 0) ? score[slot] : Lowest;
                    p[slot] = exp2_f32(fmaf(product, shape.binary_scale(), -column_lse));
                    weight[mine + slot][lane] = p[slot];
                }
                __syncwarp();
                accumulate<Columns, Slots>(dv, weight + mine, d_out + place.o, place.stride / 3, start, shape);
                __syncwarp();
#pragma unroll
                for (int slot = 0; slot < Slots; ++slot) weight[mine + slot][lane] = p[slot] * (dp[slot] - column_delta) * shape.scale;
            }
            __syncthreads();
            if (key < shape.sequence) accumulate<Columns, Slots>(dk, weight + mine, qkv + place.q, place.stride, start, shape);
#pragma unroll 1
            for (int i = warp_index() * Four; i < min(Others, shape.sequence - start); i += blockDim.x / WarpSize * Four) {
                float dq[Four][Columns] = {};
                if (first > 0) load_rows<Columns, Four>(dq, dqkv + place.q, place.stride, start + i, shape);
                accumulate_transposed<Columns>(dq, &weight[0][i], own_k, min(rows, shape.sequence - first));
                store_rows<Columns, Four>(dqkv + place.q, place.stride, start + i, dq, shape);
            }
        }
        store_rows<Columns, Slots>(dqkv + place.k, place.stride, key, dk, shape);
        store_rows<Columns, Slots>(dqkv + place.v, place.stride, key, dv, shape);
    }
}

// delta[b][h][s]: a warp a row, in the order of memory.
KERNEL(128) attention_delta(float* delta, const float* d_out, const float* o, int sequence, int heads, int head_width, int rows) {
    int row = blockIdx.x * 4 + warp_index();
    if (row >= rows) return;
    int position = row / heads;
    long long start = (long long)row * head_width;
    float sum = 0;
    for (int d = threadIdx.x % WarpSize; d < head_width; d += WarpSize) sum = fmaf(d_out[start + d], o[start + d], sum);
    sum = warp_sum(sum);
    if (threadIdx.x % WarpSize == 0) delta[(position / sequence * heads + row % heads) * sequence + position % sequence] = sum;
}

#define ATTENTION(D, Exact, Columns, Slots, Forward, Backward)                                                                                  \
    KERNEL(Forward * WarpSize) attention_forward_##D(float* o, float* lse, const float* qkv, int sequence, int heads, int head_width, int tiles, \
                                                     int causal, float scale) {                                                                 \
        __builtin_assume(Exact ? head_width == 32 * Columns : head_width > Columns / 2 * 32 && head_width < 32 * Columns);                      \
        forward<Forward, Columns, Slots, Exact>(o, lse, qkv, {sequence, heads, head_width, tiles, causal, scale});                              \
    }                                                                                                                                           \
    KERNEL(Backward * WarpSize) attention_backward_##D(float* dqkv, const float* d_out, const float* qkv, const float* lse, const float* delta, \
                                                       int sequence, int heads, int head_width, int causal, float scale) {                      \
        __builtin_assume(Exact ? head_width == 32 * Columns : head_width > Columns / 2 * 32 && head_width < 32 * Columns);                      \
        backward<Backward, Columns, Slots, Exact>(dqkv, d_out, qkv, lse, delta, {sequence, heads, head_width, 1, causal, scale});               \
    }

// Heads of exactly so many columns, where nothing is compared with the width, and narrower ones. `Exact` makes them functions of their own: the
// shared arrays of one function are one variable of the module, which would count for every kernel.
ATTENTION(32, true, 1, 8, 12, 8)
ATTENTION(64, true, 2, 6, 12, 8)
ATTENTION(128, true, 4, 4, 8, 2)
ATTENTION(below_32, false, 1, 8, 12, 8)
ATTENTION(below_64, false, 2, 6, 12, 8)
ATTENTION(below_128, false, 4, 4, 8, 2)
