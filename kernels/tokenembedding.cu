// Token and positional embedding.
//
//   forward:             y[b][s] = table[id[b][s]] + positions[s]
//   backward_partial:    partial[k] = Σ dy[order[i]] over the k-th chunk of positions, all of one id
//   backward_table:      dtable[id] += Σ_k partial[k] over the chunks of that id
//   backward_positions:  dpositions[s] += Σ_b dy[b][s]
//
// y, dy: [batch · sequence, width]; table, dtable: [vocabulary, width]; positions: [sequence, width].
// order: the rows of y sorted by id; chunks: [chunks + 1] starts in order; owners: [ids + 1] starts in chunks; ids: [ids] distinct ones.
// A frequent id (padding) is split into chunks, a rare one has one: each id has one owner, so no atomics and the same bits every time.
// There may be more blocks than chunks and ids, so that the grid is the same for every batch: the last ones' ranges are empty.
// forward: a block of 128 a row; partial: one a chunk; table: one an id. Moves 8 bytes an element forward, 4 and 4 + 8 an owned one back.
#include "common/positions.cuh"

KERNEL(128) tokenembedding_forward(float* y, const int* id, const float* table, const float* positions, int sequence, int width) {
    long long row = (long long)blockIdx.x * width;
    const float* token = table + (long long)id[blockIdx.x] * width;
    const float* position = positions + (long long)(blockIdx.x % sequence) * width;
    for (int c = threadIdx.x; c < width; c += 128) y[row + c] = token[c] + position[c];
}

KERNEL(128) tokenembedding_backward_partial(float* partial, const float* dy, const int* order, const int* chunks, int width) {
    int first = chunks[blockIdx.x];
    int last = chunks[blockIdx.x + 1];
    if (first == last) return;
    for (int c = threadIdx.x; c < width; c += 128) {
        float sum = 0;
        for (int i = first; i < last; ++i) sum += dy[(long long)order[i] * width + c];
        partial[(long long)blockIdx.x * width + c] = sum;
    }
}

KERNEL(128) tokenembedding_backward_table(float* dtable, const float* partial, const int* ids, const int* owners, int width) {
    int first = owners[blockIdx.x];
    int last = owners[blockIdx.x + 1];
    if (first == last) return;
    float* row = dtable + (long long)ids[blockIdx.x] * width;
    for (int c = threadIdx.x; c < width; c += 128) {
        float sum = 0;
        for (int k = first; k < last; ++k) sum += partial[(long long)k * width + c];
        row[c] += sum;
    }
}

KERNEL(128) tokenembedding_backward_positions(float* dpositions, const float* dy, int batch, int sequence, int width) {
    add_position_gradient(dpositions, dy, batch, sequence, width);
}
