/* Elementwise, pooling and joining operators on bytes with one scale and zero point per tensor: QLinearAdd, QLinearMul, QLinearSigmoid,
 * QLinearLeakyRelu, QLinearSoftmax, QLinearAveragePool, QLinearGlobalAveragePool, QLinearConcat.
 *   y = saturate(round(f((x - x zero) * x scale) / y scale) + y zero)
 * f in float32, round half to even. ONNX Runtime folds the scales in another order, so a tie may fall to the neighbouring byte. */
#include <math.h>
#include <stdlib.h>

#include "engine/ops/list.h"
#include "engine/ops/ms_common.h"
#include "engine/ops/window.h"

/* Where an operand's value, scale and zero point stand. */
typedef struct Quantized {
    int value, scale, zero;
} Quantized;

static Status check_operand(const OpCall *c, Quantized q)
{
    if (q.value >= 0) TRY(ms_check_byte(c, q.value));
    if (c->in[q.scale]->type != DT_FLOAT) return op_bad_type(c, c->in[q.scale]->type);
    TRY(ms_check_count(c, q.scale, 1, false));
    const Tensor *zero = ms_input(c, q.zero);
    if (zero == NULL) return OK;
    TRY(ms_check_count(c, q.zero, 1, false));
    TRY(ms_check_byte(c, q.zero));
    if (q.value >= 0 && zero->type != c->in[q.value]->type) return op_fail(c, ERR_DATA, "the zero point of input %d has another type",
                                                                           q.value);
    return OK;
}

static float scale_of(const OpCall *c, Quantized q)
{
    return tensor_floats(c->in[q.scale])[0];
}

static int64_t zero_of(const OpCall *c, Quantized q)
{
    const Tensor *zero = ms_input(c, q.zero);
    return zero != NULL ? tensor_get_int(zero, 0) : 0;
}

/* What each of the 256 bytes stands for. */
static void byte_values(const OpCall *c, Quantized q, float *table)
{
    bool is_signed = c->in[q.value]->type == DT_INT8;
    float scale = scale_of(c, q);
    int64_t zero = zero_of(c, q);
    for (int i = 0; i < 256; i++) table[i] = (float)((is_signed ? (int64_t)(int8_t)i : i) - zero) * scale;
}

static Status dequantize(const OpCall *c, Quantized q, Tensor *out)
{
    float table[256];
    TRY(check_operand(c, q));
    byte_values(c, q, table);
    const Tensor *x = c->in[q.value];
    TRY(tensor_new(out, DT_FLOAT, &x->shape, c->err));
    int64_t count = tensor_count(x);
    for (int64_t i = 0; i < count; i++) tensor_floats(out)[i] = table[x->data[i]];
    return OK;
}

/* --- QLinearAdd, QLinearMul */

static const Quantized pair_a = { 0, 1, 2 }, pair_b = { 3, 4, 5 }, pair_y = { -1, 6, 7 };

static Status pair_infer(InferCall *c)
{
    c->out[0].type = c->in[0].type;
    if (!shape_broadcast(&c->in[0].shape, &c->in[3].shape, &c->out[0].shape)) return op_fail(c, ERR_DATA, "the operands do not broadcast");
    return OK;
}

static Status pair_forward(OpCall *c)
{
    float a_table[256], b_table[256], row[256];
    TRY(check_operand(c, pair_a));
    TRY(check_operand(c, pair_b));
    TRY(check_operand(c, pair_y));
    TRY(opcall_prepare(c));
    byte_values(c, pair_a, a_table);
    byte_values(c, pair_b, b_table);
    const Tensor *a = c->in[0], *b = c->in[3];
    Tensor *y = &c->out[0];
    int64_t a_step[MAX_RANK], b_step[MAX_RANK], count = tensor_count(y), width = y->shape.rank > 0 ? y->shape.dims[y->shape.rank - 1] : 1;
    strides_broadcast(&a->shape, &y->shape, a_step);
    strides_broadcast(&b->shape, &y->shape, b_step);
    int last = y->shape.rank - 1;
    int64_t a_last = last >= 0 ? a_step[last] : 0, b_last = last >= 0 ? b_step[last] : 0, zero = zero_of(c, pair_y);
    float scale = scale_of(c, pair_y);
    bool product = str_ends(c->node->type, "Mul");
    for (int64_t from = 0; from < count; from += width) {
        int64_t rest = from / (width > 0 ? width : 1), ia = 0, ib = 0;
        for (int d = last - 1; d >= 0; d--) {
            ia += rest % y->shape.dims[d] * a_step[d];
            ib += rest % y->shape.dims[d] * b_step[d];
            rest /= y->shape.dims[d];
        }
        for (int64_t at = 0; at < width; at += 256) {
            int64_t n = width - at < 256 ? width - at : 256;
            for (int64_t i = 0; i < n; i++) {
                float va = a_table[a->data[ia + (at + i) * a_last]], vb = b_table[b->data[ib + (at + i) * b_last]];
                row[i] = product ? va * vb : va + vb;
            }
            ms_quantize(row, n, scale, zero, y->type, y->data + from + at);
        }
    }
    return OK;
}

/* --- QLinearSigmoid, QLinearLeakyRelu: a table of 256 results */

static const Quantized one_x = { 0, 1, 2 }, one_y = { -1, 3, 4 };

static Status table_forward(OpCall *c)
{
    float table[256];
    uint8_t results[256];
    TRY(check_operand(c, one_x));
    TRY(check_operand(c, one_y));
    TRY(opcall_output(c, 0, c->in[0]->type, &c->in[0]->shape));
    byte_values(c, one_x, table);
    float alpha = node_float(c->node, "alpha", 0.01F);
    bool sigmoid = str_ends(c->node->type, "Sigmoid");
    for (int i = 0; i < 256; i++) {
        if (sigmoid) table[i] = (float)(1 / (1 + exp(-(double)table[i])));
        else table[i] = table[i] < 0 ? alpha * table[i] : table[i];
    }
    ms_quantize(table, 256, scale_of(c, one_y), zero_of(c, one_y), c->in[0]->type, results);
    int64_t count = tensor_count(c->in[0]);
    for (int64_t i = 0; i < count; i++) c->out[0].data[i] = results[c->in[0]->data[i]];
    return OK;
}

static Status same_infer(InferCall *c)
{
    c->out[0] = c->in[0];
    return OK;
}

/* --- the ones that run a float operator in between */

/* Runs `base` on x and quantizes the result; `x` is released. */
static Status through_float(OpCall *c, const MsBase *base, Tensor *x, Tensor *result)
{
    const Tensor *in[] = { x };
    OpCall inner = *c;
    inner.out = result;
    inner.output_count = 1;
    Status status = ms_forward(&inner, base, in);
    tensor_release(x);
    return status;
}

static Status quantize_result(OpCall *c, Tensor *result)
{
    Status status = opcall_output(c, 0, c->in[0]->type, &result->shape);
    if (status == OK)
        ms_quantize(tensor_floats(result), tensor_count(result), scale_of(c, one_y), zero_of(c, one_y), c->in[0]->type, c->out[0].data);
    tensor_release(result);
    return status;
}

/* The attribute opset says which Softmax: before 13 all axes from `axis` on are one. */
static Status softmax_forward(OpCall *c)
{
    Tensor x = { 0 }, result = { 0 };
    int64_t opset = node_int(c->node, "opset", 13);
    const MsBase base = { "Softmax", opset < 13 ? 11 : 13, 1 };
    TRY(check_operand(c, one_y));
    TRY(dequantize(c, one_x, &x));
    Status status = through_float(c, &base, &x, &result);
    if (status == OK) return quantize_result(c, &result);
    tensor_release(&result);
    return status;
}

static MsBase pool_base(const Node *n)
{
    return (MsBase){ str_is(n->type, "QLinearGlobalAveragePool") ? "GlobalAveragePool" : "AveragePool", 19, 1 };
}

/* Channels from last to second, or back. */
static Shape move_channels(const Shape *s, bool to_last)
{
    Shape moved = *s;
    if (s->rank < 3) return moved;
    int spatial = s->rank - 2;
    for (int i = 0; i < spatial; i++) moved.dims[to_last ? 1 + i : 2 + i] = s->dims[to_last ? 2 + i : 1 + i];
    moved.dims[to_last ? s->rank - 1 : 1] = s->dims[to_last ? 1 : s->rank - 1];
    return moved;
}

static Status pool_infer(InferCall *c)
{
    const MsBase base = pool_base(c->node);
    bool last = node_int(c->node, "channels_last", 0) != 0;
    TypeInfo x = c->in[0];
    if (last) x.shape = move_channels(&x.shape, false);
    InferCall inner = *c;
    inner.in = &x;
    inner.input_count = 1;
    TRY(ms_infer(&inner, &base));
    if (last) c->out[0].shape = move_channels(&c->out[0].shape, true);
    c->out[0].type = c->in[0].type;
    return OK;
}

/* Replaces t by itself with the channels moved. */
static Status transpose_channels(Tensor *t, bool to_last, Err *err)
{
    Tensor moved = { 0 };
    Shape shape = move_channels(&t->shape, to_last);
    int64_t channels = t->shape.dims[to_last ? 1 : t->shape.rank - 1], plane = 1, count = tensor_count(t);
    TRY(tensor_new(&moved, DT_FLOAT, &shape, err));
    for (int i = 1; i < t->shape.rank; i++) plane *= t->shape.dims[i];
    plane = channels > 0 ? plane / channels : 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t n = i / (channels * plane), rest = i % (channels * plane), k = to_last ? rest / plane : rest % channels;
        int64_t p = to_last ? rest % plane : rest / channels;
        tensor_floats(&moved)[n * channels * plane + (to_last ? p * channels + k : k * plane + p)] = tensor_floats(t)[i];
    }
    tensor_release(t);
    *t = moved;
    return OK;
}

static Status pool_forward(OpCall *c)
{
    const MsBase base = pool_base(c->node);
    Tensor x = { 0 }, result = { 0 };
    bool last = node_int(c->node, "channels_last", 0) != 0;
    if (c->in[0]->shape.rank < 3) return op_fail(c, ERR_DATA, "the input has rank %d", c->in[0]->shape.rank);
    TRY(check_operand(c, one_y));
    TRY(dequantize(c, one_x, &x));
    Status status = last ? transpose_channels(&x, false, c->err) : OK;
    if (status == OK) status = through_float(c, &base, &x, &result);
    if (status == OK && last) status = transpose_channels(&result, true, c->err);
    if (status == OK) return quantize_result(c, &result);
    tensor_release(&x);
    tensor_release(&result);
    return status;
}

static void pool_cost(const CostCall *c, OpCost *out)
{
    const MsBase base = pool_base(c->node);
    ms_cost(c, &base, out);
}

/* --- QLinearConcat: y scale, y zero point, then x, scale, zero point of every part */

static Status concat_infer(InferCall *c)
{
    int parts = (c->input_count - 2) / 3, axis = 0;
    c->out[0].type = c->in[1].type;
    if (parts < 1 || c->input_count != 2 + 3 * parts) return op_fail(c, ERR_DATA, "%d inputs, expected 2 and three for each part",
                                                                     c->input_count);
    Shape shape = c->in[2].shape;
    if (shape.rank < 0) return OK;
    if (!axis_fix(node_int(c->node, "axis", 0), shape.rank, &axis)) return op_fail(c, ERR_DATA, "axis is out of range");
    for (int p = 1; p < parts; p++) {
        const Shape *s = &c->in[2 + 3 * p].shape;
        if (s->rank < 0) return OK;
        if (s->rank != shape.rank) return op_fail(c, ERR_DATA, "parts of rank %d and %d", shape.rank, s->rank);
        for (int d = 0; d < s->rank; d++) {
            int64_t *to = &shape.dims[d], dim = s->dims[d];
            if (d == axis) *to = *to < 0 || dim < 0 || __builtin_add_overflow(*to, dim, to) ? DIM_UNKNOWN : *to;
            else if (*to >= 0 && dim >= 0 && *to != dim) return op_fail(c, ERR_DATA, "the parts differ along axis %d", d);
            else if (*to < 0) *to = dim;
        }
    }
    c->out[0].shape = shape;
    return OK;
}

static Status concat_forward(OpCall *c)
{
    const Quantized y = { -1, 0, 1 };
    int parts = (c->input_count - 2) / 3, axis = 0;
    TRY(check_operand(c, y));
    for (int p = 0; p < parts; p++) TRY(check_operand(c, (Quantized){ 2 + 3 * p, 3 + 3 * p, 4 + 3 * p }));
    TRY(opcall_prepare(c));
    Tensor *out = &c->out[0];
    if (!axis_fix(node_int(c->node, "axis", 0), out->shape.rank, &axis)) return op_fail(c, ERR_DATA, "axis is out of range");
    int64_t outer = shape_span(&out->shape, 0, axis), row = shape_span(&out->shape, axis, out->shape.rank), at = 0;
    for (int p = 0; p < parts; p++) {
        const Quantized q = { 2 + 3 * p, 3 + 3 * p, 4 + 3 * p };
        const Tensor *x = c->in[q.value];
        float table[256];
        uint8_t results[256];
        byte_values(c, q, table);
        ms_quantize(table, 256, scale_of(c, y), zero_of(c, y), out->type, results);
        int64_t width = shape_span(&x->shape, axis, x->shape.rank);
        for (int64_t o = 0; o < outer; o++)
            for (int64_t i = 0; i < width; i++) out->data[o * row + at + i] = results[x->data[o * width + i]];
        at += width;
    }
    return OK;
}

#define BIT(i) (1U << (i))

const Op ops_ms_qlinear[] = {
    MS_ENTRY("QLinearAdd", 7, 8, 1, 1, BIT(2) | BIT(5), pair_infer, pair_forward, NULL),
    MS_ENTRY("QLinearMul", 7, 8, 1, 1, BIT(2) | BIT(5), pair_infer, pair_forward, NULL),
    MS_ENTRY("QLinearSigmoid", 4, 5, 1, 1, BIT(2), same_infer, table_forward, cost_transcendental),
    MS_ENTRY("QLinearLeakyRelu", 4, 5, 1, 1, BIT(2), same_infer, table_forward, NULL),
    MS_ENTRY("QLinearSoftmax", 5, 5, 1, 1, BIT(2), same_infer, softmax_forward, cost_transcendental),
    MS_ENTRY("QLinearAveragePool", 4, 5, 1, 1, BIT(2), pool_infer, pool_forward, pool_cost),
    MS_ENTRY("QLinearGlobalAveragePool", 5, 5, 1, 1, BIT(2), pool_infer, pool_forward, pool_cost),
    MS_ENTRY("QLinearConcat", 5, -1, 1, 1, 0, concat_infer, concat_forward, cost_none),
    OP_END,
};
