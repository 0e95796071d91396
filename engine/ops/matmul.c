/* MatMul (numpy rules), Gemm, Einsum.
 *   MatMul: y[..., m, n] = sum over k of a[..., m, k] b[..., k, n]; leading axes broadcast; a 1-D operand gains and loses an axis.
 *   Gemm: y = alpha op(a) op(b) + beta c, c broadcast to [M,N]. Sums in double: this is the oracle. */
#include "engine/ops/matmul.h"

#include <stdlib.h>
#include <string.h>

#include "engine/ops/common.h"
#include "engine/ops/einsum.h"
#include "engine/ops/list.h"
#include "engine/ops/window.h"

static int last_axis(const Graph *g, const Node *n)
{
    (void)g;
    (void)n;
    return -1;
}

static int gemm_axis(const Graph *g, const Node *n)
{
    (void)g;
    return node_int(n, "transB", 0) != 0 ? 0 : 1;
}

/* One broadcast dimension of two; unknown when it cannot be told. False: they clash. */
static bool join_dim(int64_t a, int64_t b, int64_t *out)
{
    if (a == b || b == 1) *out = a;
    else if (a == 1) *out = b;
    else if (a >= 0 && b >= 0) return false;
    else *out = a >= 0 ? a : b >= 0 ? b : DIM_UNKNOWN;
    return true;
}

Status matmul_shape(const Graph *g, const Node *n, const Shape *a, const Shape *b, Shape *out, MatMulDims *dims, Err *err)
{
    *out = SHAPE_UNKNOWN;
    if (a->rank < 0 || b->rank < 0) return OK;
    if (a->rank == 0 || b->rank == 0) return op_error(g, n, err, ERR_DATA, "an operand is a scalar");
    MatMulDims d = { .k = a->dims[a->rank - 1], .m = a->rank > 1 ? a->dims[a->rank - 2] : 1, .n = b->rank > 1 ? b->dims[b->rank - 1] : 1 };
    int64_t k = b->rank > 1 ? b->dims[b->rank - 2] : b->dims[0];
    if (k >= 0 && d.k >= 0 && k != d.k)
        return op_error(g, n, err, ERR_DATA, "%lld columns meet %lld rows", (long long)d.k, (long long)k);
    int a_batch = a->rank > 2 ? a->rank - 2 : 0, b_batch = b->rank > 2 ? b->rank - 2 : 0;
    int batch = a_batch > b_batch ? a_batch : b_batch;
    Shape y = { .rank = batch };
    for (int i = 0; i < batch; i++) {
        int64_t da = i < batch - a_batch ? 1 : a->dims[i - (batch - a_batch)];
        int64_t db = i < batch - b_batch ? 1 : b->dims[i - (batch - b_batch)];
        if (!join_dim(da, db, &y.dims[i]))
            return op_error(g, n, err, ERR_DATA, "batch dimensions %lld and %lld do not broadcast", (long long)da, (long long)db);
        d.batch_dims[i] = y.dims[i];
        d.a_step[i] = da == 1 ? 0 : 1;
        d.b_step[i] = db == 1 ? 0 : 1;
    }
    d.batch_rank = batch;
    int64_t a_stride = 1, b_stride = 1;
    for (int i = batch - 1; i >= 0; i--) { /* in matrices */
        int64_t da = i < batch - a_batch ? 1 : a->dims[i - (batch - a_batch)];
        int64_t db = i < batch - b_batch ? 1 : b->dims[i - (batch - b_batch)];
        d.a_step[i] *= a_stride;
        d.b_step[i] *= b_stride;
        a_stride *= da < 0 ? 1 : da;
        b_stride *= db < 0 ? 1 : db;
    }
    if (a->rank > 1) y.dims[y.rank++] = d.m;
    if (b->rank > 1) y.dims[y.rank++] = d.n;
    *out = y;
    if (dims != NULL) *dims = d;
    return OK;
}

void matmul_batch(const MatMulDims *d, int64_t index, int64_t *a, int64_t *b)
{
    *a = *b = 0;
    for (int i = d->batch_rank - 1; i >= 0; i--) {
        int64_t at = index % d->batch_dims[i];
        index /= d->batch_dims[i];
        *a += at * d->a_step[i];
        *b += at * d->b_step[i];
    }
}

int64_t matmul_batches(const MatMulDims *d)
{
    int64_t count = 1;
    for (int i = 0; i < d->batch_rank; i++) count *= d->batch_dims[i];
    return count;
}

static Status matmul_infer(InferCall *c)
{
    c->out[0].type = c->in[0].type;
    return matmul_shape(c->graph, c->node, &c->in[0].shape, &c->in[1].shape, &c->out[0].shape, NULL, c->err);
}

static Status matmul_float(OpCall *c)
{
    Shape shape;
    MatMulDims d;
    TRY(matmul_shape(c->graph, c->node, &c->in[0]->shape, &c->in[1]->shape, &shape, &d, c->err));
    TRY(opcall_output(c, 0, DT_FLOAT, &shape));
    int64_t batches = matmul_batches(&d);
    for (int64_t i = 0; i < batches; i++) {
        int64_t ia, ib;
        matmul_batch(&d, i, &ia, &ib);
        const float *a = tensor_floats(c->in[0]) + ia * d.m * d.k, *b = tensor_floats(c->in[1]) + ib * d.k * d.n;
        float *y = tensor_floats(&c->out[0]) + i * d.m * d.n;
        for (int64_t r = 0; r < d.m; r++)
            for (int64_t s = 0; s < d.n; s++) {
                double sum = 0;
                for (int64_t k = 0; k < d.k; k++) sum += (double)a[r * d.k + k] * b[k * d.n + s];
                y[r * d.n + s] = (float)sum;
            }
    }
    return OK;
}

/* Integers wrap around as the type does. */
static Status matmul_integers(OpCall *c)
{
    Shape shape;
    MatMulDims d;
    TRY(matmul_shape(c->graph, c->node, &c->in[0]->shape, &c->in[1]->shape, &shape, &d, c->err));
    DType type = c->in[0]->type;
    TRY(opcall_output(c, 0, type, &shape));
    int64_t batches = matmul_batches(&d);
    for (int64_t i = 0; i < batches; i++) {
        int64_t ia, ib;
        matmul_batch(&d, i, &ia, &ib);
        for (int64_t r = 0; r < d.m; r++)
            for (int64_t s = 0; s < d.n; s++) {
                uint64_t sum = 0;
                for (int64_t k = 0; k < d.k; k++)
                    sum += (uint64_t)tensor_get_int(c->in[0], (ia * d.m + r) * d.k + k) *
                           (uint64_t)tensor_get_int(c->in[1], (ib * d.k + k) * d.n + s);
                int64_t wrapped = type == DT_INT32 ? (int32_t)sum : type == DT_UINT32 ? (int64_t)(uint32_t)sum : (int64_t)sum;
                tensor_set_int(&c->out[0], (i * d.m + r) * d.n + s, wrapped);
            }
    }
    return OK;
}

static Status matmul_forward(OpCall *c)
{
    return dtype_is_integer(c->in[0]->type) ? matmul_integers(c) : opcall_in_float(c, matmul_float);
}

static void matmul_cost(const CostCall *c, OpCost *out)
{
    int64_t outputs = 0;
    const Shape *a = &c->in[0].shape;
    if (shape_count(&c->out[0].shape, &outputs) && a->rank > 0) out->macs = outputs * a->dims[a->rank - 1];
}

/* --- Gemm */

Status gemm_dims(const Graph *g, const Node *n, const Shape *a, const Shape *b, int64_t *m, int64_t *columns, int64_t *k, Err *err)
{
    if (a->rank != 2 || b->rank != 2) return op_error(g, n, err, ERR_DATA, "operands of rank %d and %d, expected matrices", a->rank,
                                                      b->rank);
    bool ta = node_int(n, "transA", 0) != 0, tb = node_int(n, "transB", 0) != 0;
    *m = a->dims[ta ? 1 : 0];
    *k = a->dims[ta ? 0 : 1];
    *columns = b->dims[tb ? 0 : 1];
    int64_t rows = b->dims[tb ? 1 : 0];
    if (*k >= 0 && rows >= 0 && *k != rows) return op_error(g, n, err, ERR_DATA, "%lld columns meet %lld rows", (long long)*k,
                                                            (long long)rows);
    if (*k < 0) *k = rows;
    return OK;
}

static Status gemm_infer(InferCall *c)
{
    c->out[0].type = c->in[0].type;
    if (c->in[0].shape.rank < 0 || c->in[1].shape.rank < 0) return OK;
    Shape y = { .rank = 2 };
    int64_t k;
    TRY(gemm_dims(c->graph, c->node, &c->in[0].shape, &c->in[1].shape, &y.dims[0], &y.dims[1], &k, c->err));
    c->out[0].shape = y;
    return OK;
}

Status gemm_addend(const Graph *g, const Node *n, const Shape *c, int64_t m, int64_t columns, int64_t *row_step, int64_t *column_step,
                   Err *err)
{
    int64_t rows = c->rank > 1 ? c->dims[c->rank - 2] : 1, cols = c->rank > 0 ? c->dims[c->rank - 1] : 1;
    for (int i = 0; i < c->rank - 2; i++)
        if (c->dims[i] != 1) rows = -1;
    if ((rows != 1 && rows != m) || (cols != 1 && cols != columns))
        return op_error(g, n, err, ERR_DATA, "the addend does not broadcast to [%lld,%lld]", (long long)m, (long long)columns);
    *row_step = rows == 1 ? 0 : cols;
    *column_step = cols == 1 ? 0 : 1;
    return OK;
}

static Status gemm_float(OpCall *c)
{
    const Tensor *a = c->in[0], *b = c->in[1], *addend = c->input_count > 2 ? c->in[2] : NULL;
    int64_t m, n, depth, row_step = 0, column_step = 0;
    TRY(gemm_dims(c->graph, c->node, &a->shape, &b->shape, &m, &n, &depth, c->err));
    if (addend != NULL) TRY(gemm_addend(c->graph, c->node, &addend->shape, m, n, &row_step, &column_step, c->err));
    Shape shape = shape_of(2, (int64_t[]){ m, n });
    TRY(opcall_output(c, 0, DT_FLOAT, &shape));
    bool ta = node_int(c->node, "transA", 0) != 0, tb = node_int(c->node, "transB", 0) != 0;
    double alpha = node_float(c->node, "alpha", 1), beta = node_float(c->node, "beta", 1);
    const float *pa = tensor_floats(a), *pb = tensor_floats(b);
    float *y = tensor_floats(&c->out[0]);
    for (int64_t r = 0; r < m; r++)
        for (int64_t s = 0; s < n; s++) {
            double sum = 0;
            for (int64_t k = 0; k < depth; k++) sum += (double)pa[ta ? k * m + r : r * depth + k] * pb[tb ? s * depth + k : k * n + s];
            sum *= alpha;
            if (addend != NULL) sum += beta * tensor_floats(addend)[r * row_step + s * column_step];
            y[r * n + s] = (float)sum;
        }
    return OK;
}

static Status gemm_forward(OpCall *c)
{
    return opcall_in_float(c, gemm_float);
}

static void gemm_cost(const CostCall *c, OpCost *out)
{
    int64_t outputs = 0;
    const Shape *a = &c->in[0].shape;
    if (shape_count(&c->out[0].shape, &outputs) && a->rank == 2)
        out->macs = outputs * a->dims[node_int(c->node, "transA", 0) != 0 ? 0 : 1];
}

const Op ops_matmul[] = {
    { .type = "MatMul", .domain = "", .since = 1, .min_inputs = 2, .max_inputs = 2, .min_outputs = 1, .max_outputs = 1, .weight_input = 1,
      .bias_input = -1, .weight_axis = last_axis, .infer = matmul_infer, .forward = matmul_forward, .cost = matmul_cost },
    { .type = "Gemm", .domain = "", .since = 1, .min_inputs = 2, .max_inputs = 3, .min_outputs = 1, .max_outputs = 1, .weight_input = 1,
      .bias_input = 2, .weight_axis = gemm_axis, .infer = gemm_infer, .forward = gemm_forward, .cost = gemm_cost },
    OP_ENTRY("Einsum", 12, 0, 1, -1, 1, 1, 0, einsum_infer, einsum_forward, einsum_cost),
    OP_END,
};
