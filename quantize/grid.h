/* The numbers of 8-bit quantization: scales, zero points, rounded weights, and pairs that are safe on every processor. */
#ifndef PARE_QUANTIZE_GRID_H
#define PARE_QUANTIZE_GRID_H

#include "graph/graph.h"

/* real = (q - zero) * scale, q in [qmin, qmax] */
typedef struct Grid {
    float scale;
    int zero;
    DType type;     /* DT_UINT8 or DT_INT8; DT_NONE: uint8 with all of its range, whatever qmin and qmax say */
    int qmin, qmax;
} Grid;

/* For values in [low, high], widened to hold 0; a range of nothing but zeros gets one of width 1e-4. `type`: DT_UINT8 or DT_INT8.
 * symmetric: the range is that of the larger end on both sides, 0 lies in the middle of the integers (int8 then leaves out -128).
 * reduced: 7 bits, [0, 127] or [-64, 64], so that u8 x s8 products cannot saturate in 16 bits (ONNX Runtime's reduce_range). */
Grid grid_make(double low, double high, DType type, bool symmetric, bool reduced);
/* Asymmetric uint8, all of its range. */
Grid grid_activation(double low, double high);
/* Of its integers. */
static inline DType grid_type(Grid g) { return g.type == DT_NONE ? DT_UINT8 : g.type; }
/* x put on the grid: scale (clamp(round(x / scale) + zero) - zero), in place; float32 division as QuantizeLinear does it. */
void grid_put(Grid g, float *x, int64_t count);
/* Smallest and largest real number the grid can tell. */
double grid_low(Grid g);
double grid_high(Grid g);

/* A weight seen as rows: one output channel each, taps outer, input channels of the group inner; a Gemm or MatMul is one row of K. */
typedef struct Rows {
    int64_t rows, taps, channels; /* channels: inputs per group; row length = taps * channels */
    int64_t row_stride, tap_stride, channel_stride; /* in elements of the stored weight */
    bool pairs;                   /* the pair rule applies (not one input and one output channel per group) */
} Rows;

/* Of a Conv weight [K, C/g, R, S ...] with these groups, or a matrix whose output channels lie along `axis`. */
Rows rows_of_conv(const Shape *w, int64_t groups);
Rows rows_of_matrix(const Shape *w, int axis);
int64_t rows_at(const Rows *r, int64_t row, int64_t i); /* element i of a row, in the stored weight */
/* Where element i of a row stands among a layer's columns: channels outer, taps inner (stats/form.h). */
static inline int64_t rows_column(const Rows *r, int64_t i) { return i % r->channels * r->taps + i / r->channels; }
/* partner[2, taps channels]: columns that share a 16-bit sum with each column, -1: none (quantize/rounding.h). */
void rows_partners(const Rows *r, int32_t *partner);

/* x86 without VNNI adds two products u8 * s8 into 16 bits, saturating: 255 |q0| + 255 |q1| <= 32767 needs |q0| + |q1| <= 128 where the
 * signs agree. Pairs are elements (2i, 2i + 1) of the row; with an odd channel count above 1 also within each tap. */
bool pairs_safe(const Rows *r, const int8_t *row);

#endif
