/* exp: x = n log 2 + r with |r| <= log(2) / 2, and tanh below 0.625: the polynomials of Cephes (S. Moshier, expf and tanhf). */
#include "engine/gates.h"

#include <stdint.h>
#include <string.h>

#include "base/vectors.h"

#define LEAST_EXPONENT (-87.0f)
#define MOST_EXPONENT 88.0f
#define SIGN 0x80000000U
#define ROUNDER 12582912.0f /* 1.5 x 2^23: the sum's lowest bits are the nearest integer */

/* By bits: what a compiler would make a branch of keeps a loop from being vectorized. */
VECTOR_BODY uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

VECTOR_BODY float of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

VECTOR_BODY float pick(bool first, float a, float b)
{
    uint32_t mask = 0U - (uint32_t)first;
    return of_bits((bits_of(a) & mask) | (bits_of(b) & ~mask));
}

VECTOR_BODY float exp_of(float x)
{
    x = pick(x > MOST_EXPONENT, MOST_EXPONENT, x);
    x = pick(x < LEAST_EXPONENT, LEAST_EXPONENT, x);
    float shifted = x * 1.44269504f + ROUNDER, n = shifted - ROUNDER;
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1;
    return p * of_bits((bits_of(shifted) << 23) + (127U << 23));
}

VECTOR_BODY float sigmoid_of(float x)
{
    return 1 / (1 + exp_of(-x));
}

VECTOR_BODY float tanh_of(float x)
{
    float size = of_bits(bits_of(x) & ~SIGN), square = x * x;
    float large = 1 - 2 / (exp_of(2 * size) + 1);
    float p = -5.70498872745e-3f;
    p = p * square + 2.06390887954e-2f;
    p = p * square - 5.37397155531e-2f;
    p = p * square + 1.33314422036e-1f;
    p = p * square - 3.33332819422e-1f;
    float small = p * square * x + x;
    return pick(size < 0.625f, small, of_bits(bits_of(large) | (bits_of(x) & SIGN)));
}

VECTOR_BODY void lstm_body(const GateRow *row, const float *peephole)
{
    int64_t n = row->hidden, count = row->count;
    const float *f = row->fixed, *r = row->product;
    float *h = row->h, *c = row->c, *y = row->y;
#pragma omp simd
    for (int64_t j = 0; j < count; j++) {
        float in = f[j] + r[j], forget = f[2 * n + j] + r[2 * n + j], out = f[n + j] + r[n + j];
        if (peephole != NULL) {
            in += peephole[j] * c[j];
            forget += peephole[2 * n + j] * c[j];
        }
        float kept = sigmoid_of(forget) * c[j] + sigmoid_of(in) * tanh_of(f[3 * n + j] + r[3 * n + j]);
        if (peephole != NULL) out += peephole[n + j] * kept;
        c[j] = kept;
        h[j] = y[j] = sigmoid_of(out) * tanh_of(kept);
    }
}

VECTOR_BODY void lstm(const GateRow *row, const float *peephole)
{
    if (peephole != NULL) lstm_body(row, peephole);
    else lstm_body(row, NULL);
}

VECTOR_BODY void gru_reset_last(const GateRow *row, const float *inner)
{
    int64_t n = row->hidden, count = row->count;
    const float *f = row->fixed, *r = row->product;
    const float *before = row->before;
    float *h = row->h, *y = row->y;
#pragma omp simd
    for (int64_t j = 0; j < count; j++) {
        float update = sigmoid_of(f[j] + r[j]), reset = sigmoid_of(f[n + j] + r[n + j]);
        float candidate = tanh_of(f[2 * n + j] + reset * (r[2 * n + j] + inner[j]));
        h[j] = y[j] = (1 - update) * candidate + update * before[j];
    }
}

VECTOR_BODY void gru_reset(const GateRow *row, float *update, float *reset)
{
    int64_t n = row->hidden, count = row->count;
    const float *f = row->fixed, *r = row->product, *before = row->before;
#pragma omp simd
    for (int64_t j = 0; j < count; j++) {
        update[j] = sigmoid_of(f[j] + r[j]);
        reset[j] = sigmoid_of(f[n + j] + r[n + j]) * before[j];
    }
}

VECTOR_BODY void gru_rest(const GateRow *row, const float *update)
{
    int64_t n = row->hidden, count = row->count;
    const float *f = row->fixed + 2 * n, *r = row->product, *before = row->before;
    float *h = row->h, *y = row->y;
#pragma omp simd
    for (int64_t j = 0; j < count; j++) h[j] = y[j] = (1 - update[j]) * tanh_of(f[j] + r[j]) + update[j] * before[j];
}

VECTOR_BODY void rnn(const GateRow *row, const Activation *act)
{
    int64_t count = row->count;
    const float *f = row->fixed, *r = row->product;
    float *h = row->h, *y = row->y, below = act->kind == ACT_LEAKY ? act->alpha : 0;
    if (act->kind == ACT_TANH) {
#pragma omp simd
        for (int64_t j = 0; j < count; j++) h[j] = y[j] = tanh_of(f[j] + r[j]);
    } else if (act->kind == ACT_SIGMOID) {
#pragma omp simd
        for (int64_t j = 0; j < count; j++) h[j] = y[j] = sigmoid_of(f[j] + r[j]);
    } else {
#pragma omp simd
        for (int64_t j = 0; j < count; j++) {
            float x = f[j] + r[j];
            h[j] = y[j] = pick(x > 0, x, below * x);
        }
    }
}

static void lstm_any(const GateRow *row, const float *peephole)
{
    lstm(row, peephole);
}

VECTOR_AVX2 static void lstm_avx2(const GateRow *row, const float *peephole)
{
    lstm(row, peephole);
}

void gates_lstm(const GateRow *row, const float *peephole)
{
    VECTOR_PICK(lstm)(row, peephole);
}

static void gru_reset_last_any(const GateRow *row, const float *inner)
{
    gru_reset_last(row, inner);
}

VECTOR_AVX2 static void gru_reset_last_avx2(const GateRow *row, const float *inner)
{
    gru_reset_last(row, inner);
}

void gates_gru_reset_last(const GateRow *row, const float *inner)
{
    VECTOR_PICK(gru_reset_last)(row, inner);
}

static void gru_reset_any(const GateRow *row, float *update, float *reset)
{
    gru_reset(row, update, reset);
}

VECTOR_AVX2 static void gru_reset_avx2(const GateRow *row, float *update, float *reset)
{
    gru_reset(row, update, reset);
}

void gates_gru_reset(const GateRow *row, float *update, float *reset)
{
    VECTOR_PICK(gru_reset)(row, update, reset);
}

static void gru_rest_any(const GateRow *row, const float *update)
{
    gru_rest(row, update);
}

VECTOR_AVX2 static void gru_rest_avx2(const GateRow *row, const float *update)
{
    gru_rest(row, update);
}

void gates_gru_rest(const GateRow *row, const float *update)
{
    VECTOR_PICK(gru_rest)(row, update);
}

static void rnn_any(const GateRow *row, const Activation *act)
{
    rnn(row, act);
}

VECTOR_AVX2 static void rnn_avx2(const GateRow *row, const Activation *act)
{
    rnn(row, act);
}

void gates_rnn(const GateRow *row, const Activation *act)
{
    VECTOR_PICK(rnn)(row, act);
}
