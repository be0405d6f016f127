// The mean of 2 × 2 neighbours, channels last: the anti-aliased stride of CLIP's ResNet (Radford et al. 2021, section 2.4).
//
//   forward:   y[b][i][j] = (x[b][2i][2j] + x[b][2i][2j+1] + x[b][2i+1][2j] + x[b][2i+1][2j+1]) / 4
//   backward:  dx[b][i][j] = dy[b][i/2][j/2] / 4
//
// x, dx: [B, 2H, 2W, channels]; y, dy: [B, H, W, channels]; rows = B·H·W. Blocks of 128: a tile of 16 rows of y and 256 channels, a warp a row.
// Moves 20 bytes an element of y either way.
#include "common/tile.cuh"

KERNEL(128) averagepool_forward(float* y, const float* x, int rows, int width, int channels) {
    Tile tile = find_tile(rows, channels);
    long long below = 2LL * width * channels;
    for (int row = tile.row; row < tile.last_row; row += TileWarps) {
        // Rows of images lie one after another, so that row r of y takes rows 2·r and 2·r + 1 of pairs.
        const float* in = x + ((long long)(row / width) * 4 * width + row % width * 2) * channels;
        float* out = y + (long long)row * channels;
        for (int c = tile.column; c < tile.last_column; c += WarpSize)
            out[c] = 0.25f * ((in[c] + in[channels + c]) + (in[below + c] + in[below + channels + c]));
    }
}

KERNEL(128) averagepool_backward(float* dx, const float* dy, int rows, int width, int channels) {
    Tile tile = find_tile(rows, channels);
    long long below = 2LL * width * channels;
    for (int row = tile.row; row < tile.last_row; row += TileWarps) {
        float* out = dx + ((long long)(row / width) * 4 * width + row % width * 2) * channels;
        const float* in = dy + (long long)row * channels;
        for (int c = tile.column; c < tile.last_column; c += WarpSize) {
            float quarter = 0.25f * in[c];
            out[c] = quarter;
            out[channels + c] = quarter;
            out[below + c] = quarter;
            out[below + channels + c] = quarter;
        }
    }
}
