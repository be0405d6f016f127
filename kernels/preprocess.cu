// Image bytes to normalised pixels: Pillow's antialiased bicubic resize in fixed point, then a window, then (x/255 − mean) / deviation.
//
//   horizontal:  t[r][x][c] = clip8((2^21 + Σ_k source[r][from_x + k][c] · w_x[k]) >> 22)
//   vertical:    b[y][x][c] = clip8((2^21 + Σ_k t[from_y + k][x][c] · w_y[k]) >> 22)
//   normalise:   pixels[c][y][x] = (b[y][x][c] / 255 − mean[c]) / deviation[c]
//
// rgb: packed source bytes; table: 9 numbers an image (enum Column); taps: [from, count, w…] an output column or row, `pitch` ints each;
// rows: the horizontal pass's bytes, [rows, size, 3] an image; pixels: [images, 3, size, size]; normalisation: mean[3], deviation[3].
// Grids (pixels of the pass / 128, images), 128 threads, one output pixel a thread. Only what the window needs is computed.
#include "common/cuda.cuh"

// Source: the first byte of the first row needed; FirstRow: which row of the crop that is; Rows, RowCount: where the resized rows go.
enum Column { Source, Stride, FirstRow, Rows, RowCount, TapsX, PitchX, TapsY, PitchY, Columns };

DEVICE int clip8(int sum) { return min(max(sum >> 22, 0), 255); }

KERNEL(128)
preprocess_horizontal(unsigned char* rows, const unsigned char* rgb, const long long* table, const int* taps, int size) {
    const long long* image = table + (long long)blockIdx.y * Columns;
    int i = blockIdx.x * 128 + threadIdx.x;
    if (i >= (int)image[RowCount] * size) return;
    const int* tap = taps + image[TapsX] + (i % size) * image[PitchX];
    const unsigned char* in = rgb + image[Source] + (long long)(i / size) * image[Stride] + tap[0] * 3;
    int red = 1 << 21, green = 1 << 21, blue = 1 << 21;
    for (int k = 0; k < tap[1]; ++k) {
        int weight = tap[2 + k];
        red += in[3 * k] * weight;
        green += in[3 * k + 1] * weight;
        blue += in[3 * k + 2] * weight;
    }
    unsigned char* out = rows + image[Rows] + 3LL * i;
    out[0] = (unsigned char)clip8(red);
    out[1] = (unsigned char)clip8(green);
    out[2] = (unsigned char)clip8(blue);
}

KERNEL(128)
preprocess_vertical(float* pixels, const unsigned char* rows, const long long* table, const int* taps, const float* normalisation, int size) {
    const long long* image = table + (long long)blockIdx.y * Columns;
    int i = blockIdx.x * 128 + threadIdx.x;
    if (i >= size * size) return;
    const int* tap = taps + image[TapsY] + (i / size) * image[PitchY];
    const unsigned char* in = rows + image[Rows] + 3LL * ((tap[0] - (int)image[FirstRow]) * size + i % size);
    int sum[3] = {1 << 21, 1 << 21, 1 << 21};
    for (int k = 0; k < tap[1]; ++k) {
        int weight = tap[2 + k];
        for (int c = 0; c < 3; ++c) sum[c] += in[3 * (k * size) + c] * weight;
    }
    float* out = pixels + (long long)blockIdx.y * 3 * size * size + i;
    for (int c = 0; c < 3; ++c) out[(long long)c * size * size] = ((float)clip8(sum[c]) / 255.0f - normalisation[c]) / normalisation[3 + c];
}
