// How kernels that go over a [rows, columns] array once share it out: a block of 128 has a tile of 16 rows and 256 columns, each of its four
// warps every fourth row. Lanes are neighbouring columns, so all is coalesced, and few rows of many columns still make many blocks.
#pragma once
#include "cuda.cuh"

constexpr int TileRows = 16;
constexpr int TileColumns = 256;
constexpr int TileWarps = 4;

// Where a thread begins and ends: rows by TileWarps, columns by WarpSize.
struct Tile {
    int row, last_row, column, last_column;
};

DEVICE Tile find_tile(int rows, int columns) {
    Tile tile;
    tile.row = blockIdx.x * TileRows + threadIdx.x / WarpSize;
    tile.last_row = min((int)(blockIdx.x + 1) * TileRows, rows);
    tile.column = blockIdx.y * TileColumns + threadIdx.x % WarpSize;
    tile.last_column = min((int)(blockIdx.y + 1) * TileColumns, columns);
    return tile;
}

// body(i, column) of every element i that the thread owns.
template <class Body>
DEVICE void for_each_in_tile(int rows, int columns, Body body) {
    Tile tile = find_tile(rows, columns);
    for (int row = tile.row; row < tile.last_row; row += TileWarps) {
        long long start = (long long)row * columns;
        for (int c = tile.column; c < tile.last_column; c += WarpSize) body(start + c, c);
    }
}
