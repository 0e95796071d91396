/* QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear.
 *   q = saturate(round(x / scale) + zero point), round half to even;   x = (q - zero point) * scale
 * per tensor, per axis, or in blocks along one axis (opset 21). The quotient is taken in float32, as ONNX Runtime does. */
#include "engine/ops/quantize.h"

#include <math.h>

#include "base/vectors.h"
#include "engine/ops/common.h"
#include "engine/ops/integer.h"
#include "engine/ops/list.h"
#include "engine/ops/short_float.h"
#include "engine/ops/window.h"

#define BLOCK 16384 /* elements of one piece of work */

bool quant_range(DType t, int64_t *low, int64_t *high)
{
    int bits = dtype_bits(t);
    if (!dtype_is_integer(t) || bits > 32) return false;
    bool is_signed = t == DT_INT8 || t == DT_INT16 || t == DT_INT32 || t == DT_INT4 || t == DT_INT2;
    *low = is_signed ? -((int64_t)1 << (bits - 1)) : 0;
    *high = is_signed ? ((int64_t)1 << (bits - 1)) - 1 : ((int64_t)1 << bits) - 1;
    return true;
}

Status quant_layout(const OpCall *c, const Shape *x, const Tensor *scale, QuantLayout *out)
{
    int64_t total = shape_span(x, 0, x->rank), given = tensor_count(scale);
    *out = (QuantLayout){ .outer = 1, .count = 1, .inner = total, .block = 1, .blocks = 1 };
    if (scale->shape.rank == 0 || (given == 1 && scale->shape.rank <= 1)) return OK;
    int axis;
    if (!axis_fix(node_int(c->node, "axis", 1), x->rank, &axis)) return op_fail(c, ERR_DATA, "axis is out of range for rank %d", x->rank);
    *out = (QuantLayout){ .outer = shape_span(x, 0, axis), .count = x->dims[axis], .inner = shape_span(x, axis + 1, x->rank), .block = 1,
                          .blocks = given };
    int64_t block = node_int(c->node, "block_size", 0);
    if (scale->shape.rank == 1 && block == 0) {
        if (given != out->count) return op_fail(c, ERR_DATA, "%lld scales for %lld entries of axis %d", (long long)given,
                                                (long long)out->count, axis);
        return OK;
    }
    if (block <= 0 || scale->shape.rank != x->rank) return op_fail(c, ERR_DATA, "scales of rank %d without a block_size",
                                                                   scale->shape.rank);
    out->block = block;
    out->blocks = scale->shape.dims[axis];
    out->blocked = true;
    for (int i = 0; i < x->rank; i++)
        if (scale->shape.dims[i] != (i == axis ? (out->count + block - 1) / block : x->dims[i]))
            return op_fail(c, ERR_DATA, "the scale's shape does not fit blocks of %lld along axis %d", (long long)block, axis);
    return OK;
}

/* Index of the parameter of element (o, k, i). */
static inline int64_t parameter(const QuantLayout *q, int64_t o, int64_t k, int64_t i)
{
    return q->blocked ? (o * q->blocks + k / q->block) * q->inner + i : k;
}

static DType quantized_type(const Node *n, DType zero_point)
{
    DType wanted = (DType)node_int(n, "output_dtype", DT_NONE);
    return zero_point != DT_NONE ? zero_point : wanted != DT_NONE ? wanted : DT_UINT8;
}

static Status quantize_infer(InferCall *c)
{
    c->out[0].shape = c->in[0].shape;
    if (c->input_count > 2 && node_input(c->node, 2) != 0 && c->in[2].type == DT_NONE) return OK;
    c->out[0].type = quantized_type(c->node, c->input_count > 2 ? c->in[2].type : DT_NONE);
    return OK;
}

static Status check_zero_point(const OpCall *c)
{
    const Tensor *zero = c->input_count > 2 ? c->in[2] : NULL;
    if (zero != NULL && tensor_count(zero) != tensor_count(c->in[1]))
        return op_fail(c, ERR_DATA, "%lld scales but %lld zero points", (long long)tensor_count(c->in[1]), (long long)tensor_count(zero));
    return OK;
}

/* The common case: float32 to a byte with one parameter, the same low eight bits whether the byte is signed or not. */
typedef struct ByteRange {
    float scale, least, most;
    int32_t zero, turn; /* turn: 128 for signed bytes, which read as unsigned ones with the upper bit turned, less 128 */
} ByteRange;

VECTOR_BODY void to_bytes(const ByteRange *r, const float *x, int64_t count, uint8_t *out)
{
    float scale = r->scale, least = r->least, most = r->most;
    int32_t zero = r->zero;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) out[i] = (uint8_t)((int32_t)quant_round(x[i] / scale, least, most) + zero);
}

VECTOR_BODY void from_bytes(const ByteRange *r, const uint8_t *x, int64_t count, float *out)
{
    float scale = r->scale;
    int32_t turn = r->turn, zero = r->zero + turn;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) out[i] = (float)((x[i] ^ turn) - zero) * scale;
}

static void to_bytes_any(const ByteRange *r, const float *x, int64_t count, uint8_t *out)
{
    to_bytes(r, x, count, out);
}

VECTOR_AVX2 static void to_bytes_avx2(const ByteRange *r, const float *x, int64_t count, uint8_t *out)
{
    to_bytes(r, x, count, out);
}

static void from_bytes_any(const ByteRange *r, const uint8_t *x, int64_t count, float *out)
{
    from_bytes(r, x, count, out);
}

VECTOR_AVX2 static void from_bytes_avx2(const ByteRange *r, const uint8_t *x, int64_t count, float *out)
{
    from_bytes(r, x, count, out);
}

static void quantize_bytes(const float *x, int64_t count, float scale, int64_t zero, int64_t low, int64_t high, uint8_t *out)
{
    ByteRange r = { scale, (float)(low - zero), (float)(high - zero), (int32_t)zero, 0 };
#pragma omp parallel for schedule(static) if (count > PARALLEL_FROM)
    for (int64_t i = 0; i < count; i += BLOCK) VECTOR_PICK(to_bytes)(&r, x + i, count - i < BLOCK ? count - i : BLOCK, out + i);
}

static Status quantize_forward(OpCall *c)
{
    const Tensor *x = c->in[0], *scale = c->in[1], *zero = c->input_count > 2 ? c->in[2] : NULL;
    DType type = quantized_type(c->node, zero != NULL ? zero->type : DT_NONE);
    int64_t low = 0, high = 0;
    bool short_float = short_float_max(type) > 0, saturate = node_int(c->node, "saturate", 1) != 0;
    if (!short_float && !quant_range(type, &low, &high)) return op_bad_type(c, type);
    if (!dtype_is_float(x->type) && x->type != DT_INT32) return op_bad_type(c, x->type);
    QuantLayout q;
    TRY(check_zero_point(c));
    TRY(quant_layout(c, &x->shape, scale, &q));
    TRY(opcall_output(c, 0, type, &x->shape));
    bool fast = !short_float && x->type == DT_FLOAT && scale->type == DT_FLOAT && dtype_bits(type) == 8 && !q.blocked;
    for (int64_t o = 0; o < q.outer; o++)
        for (int64_t k = 0; k < q.count; k++) {
            int64_t from = (o * q.count + k) * q.inner;
            if (fast) {
                quantize_bytes(tensor_floats(x) + from, q.inner, tensor_floats(scale)[k], zero != NULL ? tensor_get_int(zero, k) : 0, low,
                               high,
                               c->out[0].data + from);
                continue;
            }
            for (int64_t i = 0; i < q.inner; i++) {
                int64_t p = parameter(&q, o, k, i);
                if (short_float) {
                    float v = (float)tensor_get(x, from + i) / (float)tensor_get(scale, p);
                    short_float_set(&c->out[0], from + i, v + (zero != NULL ? tensor_get(zero, p) : 0), saturate);
                    continue;
                }
                float ratio = rintf((float)tensor_get(x, from + i) / (float)tensor_get(scale, p));
                double value = (double)ratio + (zero != NULL ? (double)tensor_get_int(zero, p) : 0);
                if (!(value > (double)low)) value = (double)low;
                if (value > (double)high) value = (double)high;
                tensor_set_int(&c->out[0], from + i, (int64_t)value);
            }
        }
    return OK;
}

static DType dequantized_type(const Node *n, DType scale)
{
    DType wanted = (DType)node_int(n, "output_dtype", DT_NONE);
    return wanted != DT_NONE ? wanted : scale;
}

static Status dequantize_infer(InferCall *c)
{
    c->out[0] = (TypeInfo){ dequantized_type(c->node, c->in[1].type), c->in[0].shape };
    return OK;
}

static void dequantize_bytes(const uint8_t *x, bool is_signed, int64_t count, float scale, int32_t zero, float *out)
{
    ByteRange r = { .scale = scale, .zero = zero, .turn = is_signed ? 128 : 0 };
#pragma omp parallel for schedule(static) if (count > PARALLEL_FROM)
    for (int64_t i = 0; i < count; i += BLOCK) VECTOR_PICK(from_bytes)(&r, x + i, count - i < BLOCK ? count - i : BLOCK, out + i);
}

static Status dequantize_forward(OpCall *c)
{
    const Tensor *x = c->in[0], *scale = c->in[1], *zero = c->input_count > 2 ? c->in[2] : NULL;
    DType type = dequantized_type(c->node, scale->type);
    int64_t low = 0, high = 0;
    bool short_float = short_float_max(x->type) > 0;
    if (!short_float && !quant_range(x->type, &low, &high)) return op_bad_type(c, x->type);
    if (!dtype_is_float(type)) return op_bad_type(c, type);
    QuantLayout q;
    TRY(check_zero_point(c));
    TRY(quant_layout(c, &x->shape, scale, &q));
    TRY(opcall_output(c, 0, type, &x->shape));
    bool fast = !short_float && type == DT_FLOAT && scale->type == DT_FLOAT && dtype_bits(x->type) == 8 && !q.blocked;
    for (int64_t o = 0; o < q.outer; o++)
        for (int64_t k = 0; k < q.count; k++) {
            int64_t from = (o * q.count + k) * q.inner;
            if (fast) {
                dequantize_bytes(x->data + from, x->type == DT_INT8, q.inner, tensor_floats(scale)[k],
                                 zero != NULL ? (int32_t)tensor_get_int(zero, k) : 0, tensor_floats(&c->out[0]) + from);
                continue;
            }
            for (int64_t i = 0; i < q.inner; i++) {
                int64_t p = parameter(&q, o, k, i);
                if (short_float) {
                    double apart = tensor_get(x, from + i) - (zero != NULL ? tensor_get(zero, p) : 0);
                    tensor_set(&c->out[0], from + i, (double)((float)apart * (float)tensor_get(scale, p)));
                    continue;
                }
                int64_t shifted = tensor_get_int(x, from + i) - (zero != NULL ? tensor_get_int(zero, p) : 0);
                tensor_set(&c->out[0], from + i, (double)((float)shifted * (float)tensor_get(scale, p)));
            }
        }
    return OK;
}

/* --- DynamicQuantizeLinear: uint8 over the range of x widened to contain 0. */

static Status dynamic_infer(InferCall *c)
{
    c->out[0] = (TypeInfo){ DT_UINT8, c->in[0].shape };
    if (c->output_count > 1) c->out[1] = (TypeInfo){ DT_FLOAT, { .rank = 0 } };
    if (c->output_count > 2) c->out[2] = (TypeInfo){ DT_UINT8, { .rank = 0 } };
    return OK;
}

static Status dynamic_forward(OpCall *c)
{
    const Tensor *x = c->in[0];
    if (x->type != DT_FLOAT) return op_bad_type(c, x->type);
    const Shape scalar = { .rank = 0 };
    TRY(opcall_output(c, 0, DT_UINT8, &x->shape));
    TRY(opcall_output(c, 1, DT_FLOAT, &scalar));
    TRY(opcall_output(c, 2, DT_UINT8, &scalar));
    int64_t count = tensor_count(x);
    float low = 0, high = 0;
    for (int64_t i = 0; i < count; i++) {
        if (tensor_floats(x)[i] < low) low = tensor_floats(x)[i];
        if (tensor_floats(x)[i] > high) high = tensor_floats(x)[i];
    }
    float scale = high == low ? 1 : (high - low) / 255;
    float zero = rintf(fminf(fmaxf(-low / scale, 0), 255));
    quantize_bytes(tensor_floats(x), count, scale, (int64_t)zero, 0, 255, c->out[0].data);
    if (c->output_count > 1) tensor_floats(&c->out[1])[0] = scale;
    if (c->output_count > 2) c->out[2].data[0] = (uint8_t)zero;
    return OK;
}

static void dynamic_cost(const CostCall *c, OpCost *out)
{
    int64_t count = 0;
    if (shape_count(&c->in[0].shape, &count)) out->elementwise = 4 * count;
}

const Op ops_quantize[] = {
    OP_ENTRY("QuantizeLinear", 10, 0, 2, 3, 1, 1, 0, quantize_infer, quantize_forward, NULL),
    OP_ENTRY("DequantizeLinear", 10, 0, 2, 3, 1, 1, 0, dequantize_infer, dequantize_forward, NULL),
    OP_ENTRY("DynamicQuantizeLinear", 11, 0, 1, 1, 1, 3, 0, dynamic_infer, dynamic_forward, dynamic_cost),
    OP_ENTRY("QLinearConv", 10, 0, 8, 9, 1, 1, 0, qlinear_conv_infer, qlinear_conv_forward, integer_conv_cost),
    OP_ENTRY("QLinearMatMul", 10, 0, 8, 8, 1, 1, 0, qlinear_matmul_infer, qlinear_matmul_forward, integer_matmul_cost),
    OP_ENTRY("ConvInteger", 10, 0, 2, 4, 1, 1, 0, conv_integer_infer, conv_integer_forward, integer_conv_cost),
    OP_ENTRY("MatMulInteger", 10, 0, 2, 4, 1, 1, 0, matmul_integer_infer, matmul_integer_forward, integer_matmul_cost),
    OP_END,
};
