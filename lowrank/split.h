/* A layer as a matrix, and its replacement by two thinner layers. */
#ifndef PARE_LOWRANK_SPLIT_H
#define PARE_LOWRANK_SPLIT_H

#include "graph/layer.h"
#include "lowrank/factor.h"

typedef enum SplitForm { SPLIT_MATMUL, SPLIT_GEMM, SPLIT_CONV } SplitForm;

/* The stored weight read as m[rows, cols]. */
typedef struct Matrix {
    SplitForm form;
    int64_t rows, cols;
    bool left_first; /* the factor [rows, k] is applied first (weights [in, out]); else the factor [k, cols] ([out, in]) */
} Matrix;

/* NULL and the matrix, or the reason why the layer has no such form (written to `reason`, of `size` bytes). */
const char *split_matrix(const Graph *g, const Layer *l, Matrix *out, char *reason, size_t size);
/* Puts NAME.u and NAME.v (weights WEIGHT.u, WEIGHT.v; u runs first) in the layer's place. The old weight stays until dead code is
 * removed; graph_finish is the caller's. */
Status split_layer(Graph *g, const Layer *l, const Matrix *m, const Spectrum *s, int rank, Err *err);

#endif
