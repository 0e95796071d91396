/* What joins the gates of a recurrent cell, for one row of a batch: sigmoids and hyperbolic tangents by polynomials, within 4 units in the
 * last place of the library's, the same on every processor. */
#ifndef PARE_ENGINE_GATES_H
#define PARE_ENGINE_GATES_H

#include "engine/ops/cell.h"

/* One row, `count` of its H hidden units, from the first one that is pointed at. `fixed`: W x and the biases, `product`: R h; either by
 * gates in ONNX's order, H apart. `before` and h are the states before and after, which may be the same memory; c, of an LSTM, is both;
 * y gets h once more and may be h. */
typedef struct GateRow {
    int64_t hidden, count;
    const float *fixed, *product, *before;
    float *h, *c, *y;
} GateRow;

/* `peephole` [3,H]: i o f, or NULL. */
void gates_lstm(const GateRow *row, const float *peephole);
/* A GRU with linear_before_reset; `inner` [H]: the bias of R for the candidate. */
void gates_gru_reset_last(const GateRow *row, const float *inner);
/* A GRU whose reset comes first, in two halves: `product` holds z and r, `update` gets z and `reset` r h; then `product` holds R (r h). */
void gates_gru_reset(const GateRow *row, float *update, float *reset);
void gates_gru_rest(const GateRow *row, const float *update);
/* Relu, Tanh, Sigmoid or LeakyRelu. */
void gates_rnn(const GateRow *row, const Activation *act);

#endif
