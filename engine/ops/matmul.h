/* Shapes of matrix products, shared by the plain forwards, the integer forms and the kernels. */
#ifndef PARE_ENGINE_OPS_MATMUL_H
#define PARE_ENGINE_OPS_MATMUL_H

#include "graph/op.h"

/* A broadcast batch of products a[m,k] b[k,n]; steps count matrices along each batch dimension, 0 where an operand is repeated. */
typedef struct MatMulDims {
    int64_t m, n, k;
    int batch_rank;
    int64_t batch_dims[MAX_RANK], a_step[MAX_RANK], b_step[MAX_RANK];
} MatMulDims;

/* Output shape of MatMul (unknown when an operand's is) and, when `dims` is not NULL and all is known, how to walk it.
 * ERR_DATA: a clash. */
Status matmul_shape(const Graph *g, const Node *n, const Shape *a, const Shape *b, Shape *out, MatMulDims *dims, Err *err);
int64_t matmul_batches(const MatMulDims *d);
/* Which matrix of a and of b makes product `index`. */
void matmul_batch(const MatMulDims *d, int64_t index, int64_t *a, int64_t *b);

/* Gemm's M, N and K under transA and transB; negative where unknown. */
Status gemm_dims(const Graph *g, const Node *n, const Shape *a, const Shape *b, int64_t *m, int64_t *columns, int64_t *k, Err *err);
/* How Gemm's third operand is walked: element (r,s) is at r * row_step + s * column_step. */
Status gemm_addend(const Graph *g, const Node *n, const Shape *c, int64_t m, int64_t columns, int64_t *row_step, int64_t *column_step,
                   Err *err);

#endif
