/* Products of bytes whose result is scaled at once: QGemm, MatMulIntegerToFloat, DynamicQuantizeMatMul. Sums are exact integers.
 *   QGemm: y = alpha a_scale b_scale (sum (a - a zero)(b - b zero) + c), requantized when y_scale is there
 *   MatMulIntegerToFloat: y = a_scale b_scale sum + bias;  DynamicQuantizeMatMul first makes uint8 of a, over a's range with 0 in it. */
#include <math.h>
#include <stdlib.h>

#include "engine/ops/integer_product.h"
#include "engine/ops/list.h"
#include "engine/ops/matmul.h"
#include "engine/ops/ms_common.h"
#include "engine/ops/window.h"

/* Entry i of a list of one or of many; `fallback` when it is left out. */
static int64_t zero_at(const Tensor *t, int64_t i)
{
    return t == NULL ? 0 : tensor_get_int(t, tensor_count(t) == 1 ? 0 : i);
}

static float scale_at(const Tensor *t, int64_t i)
{
    return (float)tensor_get(t, tensor_count(t) == 1 ? 0 : i);
}

/* b[k,n] less its zero points, from entry `at` of theirs on; `transposed`: it is stored [n,k]. */
static void shift_columns(const Tensor *b, int64_t first, int64_t k, int64_t n, bool transposed, const Tensor *zeros, int64_t at,
                          int16_t *out)
{
    if (!transposed && (zeros == NULL || tensor_count(zeros) == 1)) {
        integer_shift(b, first, k * n, zero_at(zeros, 0), out);
        return;
    }
    for (int64_t j = 0; j < n; j++) {
        int64_t zero = zero_at(zeros, at + j);
        for (int64_t i = 0; i < k; i++) out[i * n + j] = (int16_t)(tensor_get_int(b, first + (transposed ? j * k + i : i * n + j)) - zero);
    }
}

/* Room for one product: a[m,k], b[k,n], sums[m,n]. */
typedef struct Room {
    int16_t *a, *b;
    int64_t *sums;
} Room;

static void room_release(Room *r)
{
    free(r->a);
    free(r->b);
    free(r->sums);
}

static Status room_new(Room *r, int64_t m, int64_t n, int64_t k, Err *err)
{
    r->a = alloc_array((size_t)(m * k) + 1, sizeof *r->a);
    r->b = alloc_array((size_t)(k * n) + 1, sizeof *r->b);
    r->sums = alloc_array((size_t)(m * n) + 1, sizeof *r->sums);
    if (r->a != NULL && r->b != NULL && r->sums != NULL) return OK;
    room_release(r);
    return err_no_memory(err, "an integer product");
}

/* --- QGemm */

enum { QG_A, QG_A_SCALE, QG_A_ZERO, QG_B, QG_B_SCALE, QG_B_ZERO, QG_C, QG_Y_SCALE, QG_Y_ZERO };

static Status qgemm_infer(InferCall *c)
{
    bool quantized = c->input_count > QG_Y_SCALE && node_input(c->node, QG_Y_SCALE) != 0;
    c->out[0].type = !quantized ? DT_FLOAT : c->input_count > QG_Y_ZERO && node_input(c->node, QG_Y_ZERO) != 0 ? c->in[QG_Y_ZERO].type
                                                                                                           : c->in[QG_A].type;
    if (c->in[QG_A].shape.rank < 0 || c->in[QG_B].shape.rank < 0) return OK;
    Shape y = { .rank = 2 };
    int64_t k;
    TRY(gemm_dims(c->graph, c->node, &c->in[QG_A].shape, &c->in[QG_B].shape, &y.dims[0], &y.dims[1], &k, c->err));
    c->out[0].shape = y;
    return OK;
}

static Status qgemm_check(const OpCall *c, int64_t n)
{
    const int bytes[] = { QG_A, QG_A_ZERO, QG_B, QG_B_ZERO, QG_Y_ZERO }, single[] = { QG_A_SCALE, QG_A_ZERO, QG_Y_SCALE, QG_Y_ZERO };
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) TRY(ms_check_byte(c, bytes[i]));
    for (size_t i = 0; i < sizeof single / sizeof single[0]; i++) TRY(ms_check_count(c, single[i], 1, false));
    TRY(ms_check_count(c, QG_B_SCALE, n, true));
    TRY(ms_check_count(c, QG_B_ZERO, n, true));
    const Tensor *addend = ms_input(c, QG_C);
    if (addend != NULL && addend->type != DT_INT32) return op_fail(c, ERR_DATA, "C is %s, expected int32", dtype_name(addend->type));
    return OK;
}

static Status qgemm_forward(OpCall *c)
{
    const Tensor *a = c->in[QG_A], *b = c->in[QG_B], *addend = ms_input(c, QG_C), *y_scale = ms_input(c, QG_Y_SCALE);
    int64_t m, n, k, row_step = 0, column_step = 0;
    TRY(gemm_dims(c->graph, c->node, &a->shape, &b->shape, &m, &n, &k, c->err));
    TRY(qgemm_check(c, n));
    if (addend != NULL) TRY(gemm_addend(c->graph, c->node, &addend->shape, m, n, &row_step, &column_step, c->err));
    TRY(opcall_prepare(c));
    Room room;
    TRY(room_new(&room, m, n, k, c->err));
    bool ta = node_int(c->node, "transA", 0) != 0;
    int64_t a_zero = zero_at(ms_input(c, QG_A_ZERO), 0), y_zero = zero_at(ms_input(c, QG_Y_ZERO), 0);
    if (!ta) integer_shift(a, 0, m * k, a_zero, room.a);
    for (int64_t i = 0; ta && i < m * k; i++) room.a[i] = (int16_t)(tensor_get_int(a, i % k * m + i / k) - a_zero);
    shift_columns(b, 0, k, n, node_int(c->node, "transB", 0) != 0, ms_input(c, QG_B_ZERO), 0, room.b);
    integer_product(m, n, k, room.a, room.b, room.sums);
    float alpha = node_float(c->node, "alpha", 1), a_scale = scale_at(c->in[QG_A_SCALE], 0);
    for (int64_t i = 0; i < m * n; i++) {
        int64_t r = i / n, s = i % n, sum = room.sums[i];
        if (addend != NULL) sum += tensor_get_int(addend, r * row_step + s * column_step);
        float scale = alpha * a_scale * scale_at(c->in[QG_B_SCALE], s), value = (float)sum;
        if (y_scale == NULL) {
            tensor_floats(&c->out[0])[i] = value * scale;
            continue;
        }
        value *= scale / scale_at(y_scale, 0);
        ms_quantize(&value, 1, 1, y_zero, c->out[0].type, c->out[0].data + i);
    }
    room_release(&room);
    return OK;
}

static void qgemm_cost(const CostCall *c, OpCost *out)
{
    int64_t outputs = 0;
    const Shape *a = &c->in[QG_A].shape;
    if (shape_count(&c->out[0].shape, &outputs) && a->rank == 2)
        out->macs = outputs * a->dims[node_int(c->node, "transA", 0) != 0 ? 0 : 1];
}

/* --- MatMulIntegerToFloat, DynamicQuantizeMatMul */

/* Positions of the operands of both. */
typedef struct ToFloat {
    int a_scale, b_scale, a_zero, b_zero, bias; /* -1: made from a's range */
} ToFloat;

static ToFloat to_float_form(const Node *n)
{
    if (str_is(n->type, "DynamicQuantizeMatMul")) return (ToFloat){ -1, 2, -1, 3, 4 };
    return (ToFloat){ 2, 3, 4, 5, 6 };
}

static Status to_float_infer(InferCall *c)
{
    c->out[0].type = DT_FLOAT;
    return matmul_shape(c->graph, c->node, &c->in[0].shape, &c->in[1].shape, &c->out[0].shape, NULL, c->err);
}

/* B's scale or zero point: one for all of it, one for each column, or [..., 1, n] for the columns of each of its matrices. */
static Status check_columns(const OpCall *c, int i, int64_t n)
{
    const Tensor *t = ms_input(c, i);
    const Shape *b = &c->in[1]->shape;
    if (t == NULL || t->shape.rank < 2 || t->shape.rank != b->rank) return ms_check_count(c, i, n, true);
    Shape wanted = *b;
    wanted.dims[b->rank - 2] = 1;
    return tensor_count(t) == 1 || shape_eq(&t->shape, &wanted) ? OK : ms_check_count(c, i, n, true);
}

/* Where the entries of matrix `ib` start in such a tensor. */
static int64_t columns_at(const Tensor *t, int64_t ib, int64_t n)
{
    return t != NULL && tensor_count(t) > n ? ib * n : 0;
}

/* Scale and zero point of uint8 over the range of x, 0 included (DynamicQuantizeLinear). */
static void dynamic_range(const float *x, int64_t count, float *scale, int64_t *zero)
{
    float low = 0, high = 0;
    for (int64_t i = 0; i < count; i++) {
        if (x[i] < low) low = x[i];
        if (x[i] > high) high = x[i];
    }
    *scale = high == low ? 1 : (high - low) / 255;
    *zero = (int64_t)rintf(fminf(fmaxf(-low / *scale, 0), 255));
}

typedef struct Left {
    const Tensor *bytes; /* a, or what was made of it */
    float scale;
    int64_t zero;
} Left;

static Status left_operand(const OpCall *c, const ToFloat *f, Tensor *made, Left *out)
{
    const Tensor *a = c->in[0];
    if (f->a_scale >= 0) {
        TRY(ms_check_byte(c, 0));
        TRY(ms_check_count(c, f->a_scale, 1, false));
        TRY(ms_check_count(c, f->a_zero, 1, false));
        *out = (Left){ a, scale_at(c->in[f->a_scale], 0), zero_at(ms_input(c, f->a_zero), 0) };
        return OK;
    }
    if (a->type != DT_FLOAT) return op_bad_type(c, a->type);
    TRY(tensor_new(made, DT_UINT8, &a->shape, c->err));
    *out = (Left){ .bytes = made };
    dynamic_range(tensor_floats(a), tensor_count(a), &out->scale, &out->zero);
    ms_quantize(tensor_floats(a), tensor_count(a), out->scale, out->zero, DT_UINT8, made->data);
    return OK;
}

static Status to_float_run(OpCall *c, const ToFloat *f, const Left *left)
{
    const Tensor *b = c->in[1], *bias = ms_input(c, f->bias), *b_scale = c->in[f->b_scale], *b_zero = ms_input(c, f->b_zero);
    Shape shape;
    MatMulDims d;
    TRY(matmul_shape(c->graph, c->node, &left->bytes->shape, &b->shape, &shape, &d, c->err));
    TRY(ms_check_byte(c, 1));
    TRY(check_columns(c, f->b_scale, d.n));
    TRY(check_columns(c, f->b_zero, d.n));
    TRY(ms_check_count(c, f->bias, d.n, false));
    TRY(opcall_output(c, 0, DT_FLOAT, &shape));
    Room room;
    TRY(room_new(&room, d.m, d.n, d.k, c->err));
    int64_t batches = matmul_batches(&d), last_b = -1;
    for (int64_t i = 0; i < batches; i++) {
        int64_t ia, ib;
        matmul_batch(&d, i, &ia, &ib);
        integer_shift(left->bytes, ia * d.m * d.k, d.m * d.k, left->zero, room.a);
        if (ib != last_b) shift_columns(b, ib * d.k * d.n, d.k, d.n, false, b_zero, columns_at(b_zero, ib, d.n), room.b);
        last_b = ib;
        integer_product(d.m, d.n, d.k, room.a, room.b, room.sums);
        float *y = tensor_floats(&c->out[0]) + i * d.m * d.n;
        int64_t at = columns_at(b_scale, ib, d.n);
        for (int64_t r = 0; r < d.m; r++)
            for (int64_t s = 0; s < d.n; s++) {
                float v = (float)room.sums[r * d.n + s] * (left->scale * scale_at(b_scale, at + s));
                y[r * d.n + s] = v + (bias != NULL ? (float)tensor_get(bias, s) : 0);
            }
    }
    room_release(&room);
    return OK;
}

static Status to_float_forward(OpCall *c)
{
    ToFloat f = to_float_form(c->node);
    Tensor made = { 0 };
    Left left = { 0 };
    Status status = left_operand(c, &f, &made, &left);
    if (status == OK) status = to_float_run(c, &f, &left);
    tensor_release(&made);
    return status;
}

static void to_float_cost(const CostCall *c, OpCost *out)
{
    int64_t outputs = 0;
    const Shape *a = &c->in[0].shape;
    if (shape_count(&c->out[0].shape, &outputs) && a->rank > 0) out->macs = outputs * a->dims[a->rank - 1];
}

const Op ops_ms_product[] = {
    MS_ENTRY("QGemm", 6, 9, 1, 1, 0, qgemm_infer, qgemm_forward, qgemm_cost),
    MS_ENTRY("MatMulIntegerToFloat", 4, 7, 1, 1, 0, to_float_infer, to_float_forward, to_float_cost),
    MS_ENTRY("DynamicQuantizeMatMul", 3, 5, 1, 1, 0, to_float_infer, to_float_forward, to_float_cost),
    OP_END,
};
