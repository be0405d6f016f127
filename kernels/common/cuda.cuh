// The part of CUDA that the kernels use, for nvcc and for a clang without a CUDA toolkit.
// Plain operators on floats compile to .rn instructions only with -ffp-contract=off (nvcc: --fmad=false); fused ones are written fmaf.
#pragma once

#ifdef __NVCC__

#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)
#define DEVICE static __device__ __forceinline__

#else

#define __device__ __attribute__((device))
#define __global__ __attribute__((global))
#define __shared__ __attribute__((shared))
#define __launch_bounds__(threads) __attribute__((launch_bounds(threads)))
struct alignas(16) float4 {
    float x, y, z, w;
};
#include <__clang_cuda_builtin_vars.h>

#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)
#define DEVICE static __device__ inline __attribute__((always_inline))

// The last operand of a shuffle: segments of the whole warp, clamped at lane 31 (PTX ISA 9.7.9.6).
DEVICE float __shfl_xor_sync(unsigned mask, float value, int lane) {
    return __nvvm_shfl_sync_bfly_f32(mask, value, lane, 31);
}

DEVICE void __syncwarp() { __nvvm_bar_warp_sync(0xffffffffu); }

DEVICE int min(int a, int b) { return a < b ? a : b; }
DEVICE int max(int a, int b) { return a > b ? a : b; }
DEVICE float fmaf(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
DEVICE float fmaxf(float a, float b) { return __builtin_fmaxf(a, b); }
DEVICE float fminf(float a, float b) { return __builtin_fminf(a, b); }
DEVICE float fabsf(float a) { return __builtin_fabsf(a); }
DEVICE float sqrtf(float a) { return __nvvm_sqrt_rn_f(a); }
DEVICE int __float_as_int(float a) { return __builtin_bit_cast(int, a); }
DEVICE float __int_as_float(int a) { return __builtin_bit_cast(float, a); }

#endif

constexpr unsigned WholeWarp = 0xffffffffu;
constexpr int WarpSize = 32;

// The warp's number in its block. Opaque to the compiler, which else makes of a multiple of it a shift and a mask of threadIdx.x: a CPU then
// no longer sees that all lanes have the same.
DEVICE int warp_index() {
    int warp = threadIdx.x / WarpSize;
    asm("" : "+r"(warp));
    return warp;
}

// What was added to these before stays before, what comes after stays after: a compiler would load everything first and run out of registers.
template <int Count>
DEVICE void keep_order(float (&sums)[Count]) {
#pragma unroll
    for (int i = 0; i < Count; ++i) asm volatile("" : "+f"(sums[i]));
}

template <int Rows, int Columns>
DEVICE void keep_order(float (&sums)[Rows][Columns]) {
#pragma unroll
    for (int row = 0; row < Rows; ++row) keep_order(sums[row]);
}
