// Image bytes to normalised pixels: Pillow's antialiased bicubic resize in fixed point, then a window, then (x/255 − mean) / deviation.
//
//   horizontal:  t[r][c][x] = clip8((2^21 + Σ_k source[r][from_x + k][c] · w_x[k]) >> 22)
//   vertical:    b[y][c][x] = clip8((2^21 + Σ_k t[from_y + k][c][x] · w_y[k]) >> 22)
//   normalise:   pixels[c][y][x] = (b[y][c][x] / 255 − mean[c]) / deviation[c]
//
// rgb: packed source bytes; table: 9 numbers an image (enum Column); taps: of columns [1 + count, size], from and then w_x, as many for all;
// of rows [from, count, w_y…] each, `pitch` ints; rows: the horizontal pass's bytes, [rows, 3, size] an image; pixels: [images, 3, size, size];
// normalisation: mean[3], deviation[3]. Grids (rows of the pass · spans / 4, images), 128 threads, a warp a span of 32 pixels of a row. Only what
// the window needs is computed.
//
// Colour changes of training, in place on pixels in [0, 1] before they are normalised; torchvision's, in floats:
//
//   gray:        g = 0.2989 red + 0.587 green + 0.114 blue
//   brightness:  x = clamp(f x)
//   contrast:    x = clamp(f x + (1 − f) · mean of g over the image)
//   saturation:  x = clamp(f x + (1 − f) g)
//   hue:         (h, s, v) = hsv(x);  x = rgb(frac(h + f), s, v)
//   normalise:   x = (x − mean[c]) / deviation[c]
//
// changes: 8 numbers an image (enum Change). A block of 256 threads an image, each with every 256th pixel, which it alone reads and writes; up to
// 7 passes over 12·size² bytes.
#include "common/reduce.cuh"

// Source: the first byte of the first row needed; FirstRow: which row of the crop that is; Rows, RowCount: where the resized rows go.
enum Column { Source, Stride, FirstRow, Rows, RowCount, TapsX, CountX, TapsY, PitchY, Columns };

DEVICE int clip8(int sum) { return min(max(sum >> 22, 0), 255); }

// A warp takes up to 32 neighbouring pixels of one row.
struct Span {
    int row, x;
};

DEVICE Span find_span(int size) {
    int warp = blockIdx.x * 4 + warp_index();
    int spans = (size + WarpSize - 1) / WarpSize;
    return {warp / spans, warp % spans * WarpSize + (int)(threadIdx.x % WarpSize)};
}

// x unsigned: two signed comparisons with one number become one of max(row, x), no row of indices, which a CPU takes lane by lane (8 times as long).
DEVICE bool is_inside(Span at, int rows, int columns) { return at.row < rows && (unsigned)at.x < (unsigned)columns; }

KERNEL(128)
preprocess_horizontal(unsigned char* rows, const unsigned char* rgb, const long long* table, const int* taps, int size) {
    const long long* image = table + (long long)blockIdx.y * Columns;
    Span at = find_span(size);
    if (!is_inside(at, (int)image[RowCount], size)) return;
    const int* tap = taps + image[TapsX] + at.x;
    const unsigned char* in = rgb + image[Source] + at.row * image[Stride] + tap[0] * 3;
    int count = (int)image[CountX];
    int red = 1 << 21, green = 1 << 21, blue = 1 << 21;
    for (int k = 0; k < count; ++k) {
        int weight = tap[(1 + k) * size];
        red += in[3 * k] * weight;
        green += in[3 * k + 1] * weight;
        blue += in[3 * k + 2] * weight;
    }
    unsigned char* out = rows + image[Rows] + 3LL * at.row * size + at.x;
    out[0] = (unsigned char)clip8(red);
    out[size] = (unsigned char)clip8(green);
    out[2 * size] = (unsigned char)clip8(blue);
}

KERNEL(128)
preprocess_vertical(float* pixels, const unsigned char* rows, const long long* table, const int* taps, const float* normalisation, int size) {
    const long long* image = table + (long long)blockIdx.y * Columns;
    Span at = find_span(size);
    if (!is_inside(at, size, size)) return;
    const int* tap = taps + image[TapsY] + at.row * image[PitchY];
    const unsigned char* in = rows + image[Rows] + 3LL * (tap[0] - (int)image[FirstRow]) * size + at.x;
    int sum[3] = {1 << 21, 1 << 21, 1 << 21};
    for (int k = 0; k < tap[1]; ++k) {
        int weight = tap[2 + k];
        for (int c = 0; c < 3; ++c) sum[c] += in[(3 * k + c) * size] * weight;
    }
    float* out = pixels + ((long long)blockIdx.y * 3 * size + at.row) * size + at.x;
    for (int c = 0; c < 3; ++c) out[(long long)c * size * size] = ((float)clip8(sum[c]) / 255.0f - normalisation[c]) / normalisation[3 + c];
}

// Order: −1 for no jitter, else which change comes first to last, two bits each from the lowest; Gray: 1 makes the image grey after that.
enum Change { Order, Brightness, Contrast, Saturation, Hue, Gray, Changes = 8 };

struct Colour {
    float red, green, blue;
};

DEVICE float clamp1(float x) { return fminf(fmaxf(x, 0.0f), 1.0f); }

DEVICE float gray_of(Colour x) { return fmaf(0.2989f, x.red, fmaf(0.587f, x.green, 0.114f * x.blue)); }

// f·x + (1 − f)·other, clamped.
DEVICE Colour blend(Colour x, float factor, float other) {
    float share = (1.0f - factor) * other;
    return {clamp1(fmaf(factor, x.red, share)), clamp1(fmaf(factor, x.green, share)), clamp1(fmaf(factor, x.blue, share))};
}

// A channel of the colour with hue sixth / 6 (n = 5, 3, 1 for red, green, blue): v − range · clamp(min(k, 4 − k)), k = (n + sixth) mod 6.
DEVICE float channel_of_hue(float n, float sixth, float value, float range) {
    float k = n + sixth;
    k = k < 0.0f ? k + 6.0f : k;
    k = k >= 6.0f ? k - 6.0f : k;
    k = k >= 6.0f ? k - 6.0f : k;
    return fmaf(-range, clamp1(fminf(k, 4.0f - k)), value);
}

DEVICE Colour shift_hue(Colour x, float shift) {
    float value = fmaxf(x.red, fmaxf(x.green, x.blue)), range = value - fminf(x.red, fminf(x.green, x.blue));
    if (range == 0.0f) return x;
    float sixth = x.red == value     ? (x.green - x.blue) / range
                  : x.green == value ? 2.0f + (x.blue - x.red) / range
                                     : 4.0f + (x.red - x.green) / range;
    sixth = fmaf(6.0f, shift, sixth);
    return {channel_of_hue(5.0f, sixth, value, range), channel_of_hue(3.0f, sixth, value, range), channel_of_hue(1.0f, sixth, value, range)};
}

KERNEL(256)
preprocess_colours(float* pixels, const float* changes, const float* normalisation, int size) {
    __shared__ float scratch[256 / WarpSize];
    const float* change = changes + (long long)blockIdx.x * Changes;
    int area = size * size;
    float* red = pixels + (long long)blockIdx.x * 3 * area;
    float* green = red + area;
    float* blue = green + area;
    int order = (int)change[Order];
    for (int step = 0; step < 4 && order >= 0; ++step) {
        int kind = Brightness + (order >> (2 * step) & 3);
        float factor = change[kind], mean = 0.0f;
        if (kind == Contrast) {
            float sum = 0.0f;
            for (int i = threadIdx.x; i < area; i += 256) sum += gray_of({red[i], green[i], blue[i]});
            mean = block_sum<256>(sum, scratch) / (float)area;
        }
        for (int i = threadIdx.x; i < area; i += 256) {
            Colour x = {red[i], green[i], blue[i]};
            x = kind == Hue ? shift_hue(x, factor) : blend(x, factor, kind == Saturation ? gray_of(x) : mean);
            red[i] = x.red;
            green[i] = x.green;
            blue[i] = x.blue;
        }
    }
    bool gray = change[Gray] != 0.0f;
    for (int i = threadIdx.x; i < area; i += 256) {
        Colour x = {red[i], green[i], blue[i]};
        if (gray) x.red = x.green = x.blue = gray_of(x);
        red[i] = (x.red - normalisation[0]) / normalisation[3];
        green[i] = (x.green - normalisation[1]) / normalisation[4];
        blue[i] = (x.blue - normalisation[2]) / normalisation[5];
    }
}
