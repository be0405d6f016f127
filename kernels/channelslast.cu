// Pixels from planes to channels last, the order in which convolutions and batch norms take their activations.
//
//   y[b][p][ch] = x[b][ch][p]
//
// x: [B, channels, pixels]; y: [B, pixels, channels]. Grid (pixels / 128, B), one pixel a thread. Moves 8 bytes an element.
#include "common/cuda.cuh"

KERNEL(128) channelslast_forward(float* y, const float* x, int channels, int pixels) {
    int p = blockIdx.x * 128 + threadIdx.x;
    if (p >= pixels) return;
    const float* in = x + (long long)blockIdx.y * channels * pixels + p;
    float* out = y + ((long long)blockIdx.y * pixels + p) * channels;
    for (int c = 0; c < channels; ++c) out[c] = in[(long long)c * pixels];
}
