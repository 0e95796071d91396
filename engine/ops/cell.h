/* The cells of RNN, GRU and LSTM: what one node computes, in the layout [T,B,.] (time first). Letters: T steps, B batch, I inputs, H hidden
 * units, D directions, G gates (1, 3, 4). */
#ifndef PARE_ENGINE_OPS_CELL_H
#define PARE_ENGINE_OPS_CELL_H

#include "graph/op.h"

typedef enum CellKind { CELL_RNN, CELL_GRU, CELL_LSTM } CellKind;

typedef enum ActivationKind {
    ACT_RELU, ACT_TANH, ACT_SIGMOID, ACT_AFFINE, ACT_LEAKY, ACT_THRESHOLDED, ACT_SCALED_TANH, ACT_HARD_SIGMOID, ACT_ELU, ACT_SOFTSIGN,
    ACT_SOFTPLUS
} ActivationKind;

typedef struct Activation {
    ActivationKind kind;
    float alpha, beta;
} Activation;

typedef struct Cell {
    CellKind kind;
    int64_t steps, batch, inputs, hidden;
    int directions, gates;
    bool backwards;   /* the only direction is reverse */
    float clip;       /* 0: none */
    bool input_forget, linear_before_reset;
    Activation activation[2][3]; /* [direction][f, g, h] */
} Cell;

/* Operands of one direction; NULL where left out. */
typedef struct CellData {
    const float *x;         /* [T,B,I] */
    const float *w, *r;     /* [G*H,I], [G*H,H]; gates in ONNX's order: RNN i; GRU z r h; LSTM i o f c */
    const float *bias;      /* [2,G*H]: of W, of R */
    const float *peephole;  /* [3,H]: i o f */
    const int32_t *lengths; /* [B], each in 0..T */
    float *h, *c;           /* [B,H] states: initial before, last after */
    float *y;               /* [T,D,B,H] from this direction's first row; zero before */
} CellData;

/* What an RNN, GRU or LSTM node is, from its type and its attribute `direction`. ERR_DATA: a direction that is not known. */
CellKind cell_kind(const Node *n);
int cell_gates(CellKind kind);
Status cell_directions(const Graph *g, const Node *n, int *count, bool *backwards, Err *err);
/* Reads activations, clip and the flags of a node; kind, gates and directions are set. ERR_DATA, ERR_UNSUPPORTED name what does not fit. */
Status cell_read(Cell *cell, const Graph *g, const Node *n, Err *err);
/* Runs direction d over all steps; Err: ERR_MEMORY. */
Status cell_run(const Cell *cell, int d, const CellData *data, Err *err);

#endif
