// What the elementwise activations share: u = x + bias goes through a function, or its slope there scales what comes back.
#pragma once
#include "math.cuh"
#include "rows.cuh"

// y = f(u)
template <class Function>
DEVICE void activation_forward(float* y, const float* x, const float* bias, int rows, int width, Function f) {
    for_each_in_row(rows, width, [=](long long i, int c) { y[i] = f(bias ? x[i] + bias[c] : x[i]); });
}

// dx = dy · f'(u)
template <class Slope>
DEVICE void activation_backward(float* dx, const float* dy, const float* x, const float* bias, int rows, int width, Slope slope) {
    for_each_in_row(rows, width, [=](long long i, int c) { dx[i] = dy[i] * slope(bias ? x[i] + bias[c] : x[i]); });
}
