// What CLIP's attention pooling attends over: the mean of all places before them, positions added (clip/model.py, AttentionPool2d).
//
//   forward:             tokens[b][0] = Σ_s x[b][s] / n + positions[0],  tokens[b][1 + s] = x[b][s] + positions[1 + s]
//   backward:            dx[b][s] = dtokens[b][1 + s] + dtokens[b][0] / n
//   backward_positions:  dpositions[s] += Σ_b dtokens[b][s]
//
// x, dx: [B, n, width]; tokens, dtokens: [B, 1 + n, width]; positions, dpositions: [1 + n, width].
// Blocks of 128, one column a thread: forward (width / 128, B), backward (B·n, width / 128), backward_positions (width / 128, 1 + n).
// Moves 8 bytes an element forward, 8 + 4 backward.
#include "common/positions.cuh"

KERNEL(128) meantoken_forward(float* tokens, const float* x, const float* positions, int count, int width) {
    int c = blockIdx.x * 128 + threadIdx.x;
    if (c >= width) return;
    const float* in = x + (long long)blockIdx.y * count * width + c;
    float* out = tokens + (long long)blockIdx.y * (count + 1) * width + c;
    float sum = 0;
    for (int s = 0; s < count; ++s) {
        float value = in[(long long)s * width];
        sum += value;
        out[(long long)(s + 1) * width] = value + positions[(long long)(s + 1) * width + c];
    }
    out[0] = sum / (float)count + positions[c];
}

KERNEL(128) meantoken_backward(float* dx, const float* dtokens, int count, int width) {
    int c = blockIdx.y * 128 + threadIdx.x;
    if (c >= width) return;
    int b = blockIdx.x / count;
    const float* mean = dtokens + (long long)b * (count + 1) * width + c;
    const float* own = dtokens + ((long long)blockIdx.x + b + 1) * width + c;
    dx[(long long)blockIdx.x * width + c] = *own + *mean / (float)count;
}

KERNEL(128) meantoken_backward_positions(float* dpositions, const float* dtokens, int batch, int sequence, int width) {
    add_position_gradient(dpositions, dtokens, batch, sequence, width);
}
