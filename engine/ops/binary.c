/* Elementwise functions of two or more tensors, broadcast: arithmetic, comparisons, logic, Where, PRelu. */
#include "engine/ops/broadcast.h"

#include <math.h>

/* ---- loops ---- */

/* One row of y = expression(p, q), the three usual stride pairs apart so that the compiler can vectorise them. */
#define ROW(name) \
    static void name(const void *pa, int64_t sa, const void *pb, int64_t sb, void *py, int64_t n)
#define ROW_BODY(type, result, expression) \
    { \
        const type *a = pa, *b = pb; \
        result *y = py; \
        if (sa == 1 && sb == 1) { \
            for (int64_t i = 0; i < n; i++) { \
                const type p = a[i], q = b[i]; \
                y[i] = (result)(expression); \
            } \
        } else if (sa == 1 && sb == 0) { \
            const type q = b[0]; \
            for (int64_t i = 0; i < n; i++) { \
                const type p = a[i]; \
                y[i] = (result)(expression); \
            } \
        } else { \
            for (int64_t i = 0; i < n; i++) { \
                const type p = a[i * sa], q = b[i * sb]; \
                y[i] = (result)(expression); \
            } \
        } \
    }
#define LOOP(name, type, result, expression) ROW(name) ROW_BODY(type, result, expression)

#define PICK(id, name) case id: return name;

/* Arithmetic on every number type: expressions for floats, signed and unsigned integers. */
#define NUMBERS(name, float_expr, signed_expr, unsigned_expr) \
    LOOP(name##_of_f32, float, float, float_expr) \
    LOOP(name##_of_f64, double, double, float_expr) \
    LOOP(name##_of_i8, int8_t, int8_t, signed_expr) \
    LOOP(name##_of_i16, int16_t, int16_t, signed_expr) \
    LOOP(name##_of_i32, int32_t, int32_t, signed_expr) \
    LOOP(name##_of_i64, int64_t, int64_t, signed_expr) \
    LOOP(name##_of_u8, uint8_t, uint8_t, unsigned_expr) \
    LOOP(name##_of_u16, uint16_t, uint16_t, unsigned_expr) \
    LOOP(name##_of_u32, uint32_t, uint32_t, unsigned_expr) \
    LOOP(name##_of_u64, uint64_t, uint64_t, unsigned_expr) \
    static RowFn name##_rows(DType t) \
    { \
        switch (t) { \
            PICK(DT_FLOAT, name##_of_f32) PICK(DT_DOUBLE, name##_of_f64) PICK(DT_INT8, name##_of_i8) PICK(DT_INT16, name##_of_i16) \
            PICK(DT_INT32, name##_of_i32) PICK(DT_INT64, name##_of_i64) PICK(DT_UINT8, name##_of_u8) PICK(DT_UINT16, name##_of_u16) \
            PICK(DT_UINT32, name##_of_u32) PICK(DT_UINT64, name##_of_u64) \
        default: return NULL; \
        } \
    }

/* Comparisons give one byte, 0 or 1; bool compares as uint8. */
#define COMPARE(name, expression) \
    LOOP(name##_of_f32, float, uint8_t, expression) \
    LOOP(name##_of_f64, double, uint8_t, expression) \
    LOOP(name##_of_i8, int8_t, uint8_t, expression) \
    LOOP(name##_of_i16, int16_t, uint8_t, expression) \
    LOOP(name##_of_i32, int32_t, uint8_t, expression) \
    LOOP(name##_of_i64, int64_t, uint8_t, expression) \
    LOOP(name##_of_u8, uint8_t, uint8_t, expression) \
    LOOP(name##_of_u16, uint16_t, uint8_t, expression) \
    LOOP(name##_of_u32, uint32_t, uint8_t, expression) \
    LOOP(name##_of_u64, uint64_t, uint8_t, expression) \
    static RowFn name##_rows(DType t) \
    { \
        switch (t) { \
            PICK(DT_FLOAT, name##_of_f32) PICK(DT_DOUBLE, name##_of_f64) PICK(DT_INT8, name##_of_i8) PICK(DT_INT16, name##_of_i16) \
            PICK(DT_INT32, name##_of_i32) PICK(DT_INT64, name##_of_i64) PICK(DT_UINT8, name##_of_u8) PICK(DT_UINT16, name##_of_u16) \
            PICK(DT_UINT32, name##_of_u32) PICK(DT_UINT64, name##_of_u64) PICK(DT_BOOL, name##_of_u8) \
        default: return NULL; \
        } \
    }

/* Sign-blind integer operations, by width. */
#define BITS(name, expression) \
    LOOP(name##_w1, uint8_t, uint8_t, expression) \
    LOOP(name##_w2, uint16_t, uint16_t, expression) \
    LOOP(name##_w4, uint32_t, uint32_t, expression) \
    LOOP(name##_w8, uint64_t, uint64_t, expression) \
    static RowFn name##_rows(DType t) \
    { \
        if (!dtype_is_integer(t)) return NULL; \
        switch (dtype_size(t)) { \
            PICK(1, name##_w1) PICK(2, name##_w2) PICK(4, name##_w4) PICK(8, name##_w8) \
        default: return NULL; \
        } \
    }

/* Truth values: bytes 0 or 1. */
#define LOGIC(name, expression) \
    LOOP(name##_bool, uint8_t, uint8_t, expression) \
    static RowFn name##_rows(DType t) { return t == DT_BOOL ? name##_bool : NULL; }

/* Integer division by zero gives 0 and MIN / -1 wraps: nothing a file holds may trap. */
#define WRAP(operator_) (uint64_t)p operator_ (uint64_t)q
NUMBERS(add, p + q, WRAP(+), WRAP(+))
NUMBERS(sub, p - q, WRAP(-), WRAP(-))
NUMBERS(mul, p * q, WRAP(*), WRAP(*))
NUMBERS(div, p / q, q == 0 ? 0 : q == -1 ? (int64_t)(0 - (uint64_t)p) : (int64_t)(p / q), q == 0 ? 0 : p / q)
NUMBERS(min, p < q || p != p ? p : q, p < q ? p : q, p < q ? p : q)
NUMBERS(max, p > q || p != p ? p : q, p > q ? p : q, p > q ? p : q)
COMPARE(equal, p == q)
COMPARE(greater, p > q)
COMPARE(less, p < q)
COMPARE(greater_equal, p >= q)
COMPARE(less_equal, p <= q)
LOGIC(and, (p != 0) & (q != 0))
LOGIC(or, (p != 0) | (q != 0))
LOGIC(xor, (p != 0) != (q != 0))
BITS(bit_and, p & q)
BITS(bit_or, p | q)
BITS(bit_xor, p ^ q)
BITS(shift_left, q >= 8 * sizeof p ? 0 : (uint64_t)p << q)
/* Signed numbers shift their sign in; past the width (a negative count is past it too) only the sign is left. */
#define PAST_WIDTH ((uint64_t)q >= 8 * sizeof p)
NUMBERS(shift_right, p + 0 * q, PAST_WIDTH ? (p < 0 ? -1 : 0) : p >> q, PAST_WIDTH ? 0 : p >> q)

/* fmod takes the sign of the dividend, mod that of the divisor (as Python's). */
NUMBERS(fmod, fmod(p, q), q == 0 || q == -1 ? 0 : p % q, q == 0 ? 0 : p % q)

static double floor_mod(double p, double q)
{
    double r = fmod(p, q);
    return r != 0 && (r < 0) != (q < 0) ? r + q : r;
}

NUMBERS(mod, floor_mod(p, q), q == 0 || q == -1 ? 0 : p % q + (p % q != 0 && (p % q < 0) != (q < 0) ? q : 0), q == 0 ? 0 : p % q)

/* p to a power that is at least 0, wrapping. */
static uint64_t power(uint64_t p, uint64_t q)
{
    uint64_t result = 1;
    for (; q > 0; q >>= 1, p *= p) {
        if ((q & 1) != 0) result *= p;
    }
    return result;
}

static float pow_float(float p, float q)
{
    return q == 2 ? p * p : q == 0.5f ? sqrtf(p) : powf(p, q);
}

LOOP(pow_f32, float, float, pow_float(p, q))
LOOP(pow_f64, double, double, pow(p, q))

/* a where positive, else a * slope */
NUMBERS(prelu, p < 0 ? p * q : p, p < 0 ? WRAP(*) : (uint64_t)p, p + 0 * q)

/* Arithmetic in float32 for the usual strides, element by element as above, which the compiler is told to take several at a time. */
#define VECTOR_LOOP(expression) \
    { \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = expression; \
    }
#define VECTORS(name, operator_) \
    static void name##_vectors(const void *pa, int64_t sa, const void *pb, int64_t sb, void *py, int64_t n) \
    { \
        const float *a = pa, *b = pb; \
        float *y = py; \
        if (sa == 1 && sb == 1) VECTOR_LOOP(a[i] operator_ b[i]) \
        else if (sa == 1 && sb == 0) { \
            const float q = b[0]; \
            VECTOR_LOOP(a[i] operator_ q) \
        } else if (sa == 0 && sb == 1) { \
            const float p = a[0]; \
            VECTOR_LOOP(p operator_ b[i]) \
        } else name##_of_f32(pa, sa, pb, sb, py, n); \
    } \
    static RowFn name##_fast_rows(DType t) { return t == DT_FLOAT ? name##_vectors : name##_rows(t); }
VECTORS(add, +)
VECTORS(sub, -)
VECTORS(mul, *)
VECTORS(div, /)

/* ---- running ---- */

static Status run_pair(OpCall *c, RowFn (*rows)(DType), Status (*forward)(OpCall *))
{
    OPCALL_HALF(c, forward);
    const Tensor *a = c->in[0], *b = c->in[1];
    if (a->type != b->type) return op_fail(c, ERR_DATA, "its inputs are %s and %s", dtype_name(a->type), dtype_name(b->type));
    RowFn row = rows(a->type);
    if (row == NULL) return op_bad_type(c, a->type);
    TRY(opcall_prepare(c));
    broadcast_rows(a, b, &c->out[0], row);
    return OK;
}

#define PAIR(name) \
    static Status forward_##name(OpCall *c) { return run_pair(c, name##_rows, forward_##name); }
#define FAST_PAIR(name) \
    static Status forward_##name(OpCall *c) { return run_pair(c, name##_fast_rows, forward_##name); }
FAST_PAIR(add)
FAST_PAIR(sub)
FAST_PAIR(mul)
FAST_PAIR(div)
PAIR(equal)
PAIR(greater)
PAIR(less)
PAIR(greater_equal)
PAIR(less_equal)
PAIR(and)
PAIR(or)
PAIR(xor)
PAIR(bit_and)
PAIR(bit_or)
PAIR(bit_xor)
PAIR(prelu)

static Status forward_mod(OpCall *c)
{
    return run_pair(c, node_int(c->node, "fmod", 0) != 0 ? fmod_rows : mod_rows, forward_mod);
}

static Status forward_bit_shift(OpCall *c)
{
    Str direction = node_string(c->node, "direction", "");
    if (str_is(direction, "LEFT")) return run_pair(c, shift_left_rows, forward_bit_shift);
    if (dtype_is_float(c->in[0]->type)) return op_bad_type(c, c->in[0]->type);
    if (str_is(direction, "RIGHT")) return run_pair(c, shift_right_rows, forward_bit_shift);
    return op_fail(c, ERR_DATA, "direction '%.*s' is neither LEFT nor RIGHT", STR_ARG(direction));
}

/* ---- Pow: the exponent may have another type ---- */

static Status pow_elements(OpCall *c)
{
    const Tensor *a = c->in[0], *b = c->in[1];
    Tensor *y = &c->out[0];
    int64_t sa[MAX_RANK], sb[MAX_RANK], at[MAX_RANK] = { 0 }, count = tensor_count(y), ia = 0, ib = 0;
    bool whole = dtype_is_integer(a->type) && dtype_is_integer(b->type);
    strides_broadcast(&a->shape, &y->shape, sa);
    strides_broadcast(&b->shape, &y->shape, sb);
    for (int64_t i = 0; i < count; i++) {
        int64_t exponent = whole ? tensor_get_int(b, ib) : -1;
        if (exponent >= 0) tensor_set_int(y, i, (int64_t)power((uint64_t)tensor_get_int(a, ia), (uint64_t)exponent));
        else tensor_set(y, i, pow(tensor_get(a, ia), tensor_get(b, ib)));
        for (int d = y->shape.rank - 1; d >= 0; d--) {
            ia += sa[d];
            ib += sb[d];
            if (++at[d] < y->shape.dims[d]) break;
            ia -= sa[d] * y->shape.dims[d];
            ib -= sb[d] * y->shape.dims[d];
            at[d] = 0;
        }
    }
    return OK;
}

static Status infer_first_type(InferCall *c)
{
    TRY(infer_broadcast(c));
    c->out[0].type = c->in[0].type;
    return OK;
}

static Status forward_pow(OpCall *c)
{
    const Tensor *a = c->in[0], *b = c->in[1];
    TRY(opcall_prepare(c));
    if (dtype_size(a->type) == 0 || dtype_size(b->type) == 0) return op_bad_type(c, dtype_size(a->type) == 0 ? a->type : b->type);
    if (a->type == b->type && (a->type == DT_FLOAT || a->type == DT_DOUBLE)) {
        broadcast_rows(a, b, &c->out[0], a->type == DT_FLOAT ? pow_f32 : pow_f64);
        return OK;
    }
    return pow_elements(c);
}

/* ---- Sum, Mean, Min, Max of any number of tensors ---- */

/* out = x, broadcast */
static void spread(const Tensor *x, Tensor *out)
{
    int64_t to[MAX_RANK], from[MAX_RANK];
    strides_of(&out->shape, to);
    strides_broadcast(&x->shape, &out->shape, from);
    copy_strided(dtype_size(x->type), out->shape.rank, out->shape.dims, out->data, to, x->data, from);
}

static Status run_many(OpCall *c, RowFn (*rows)(DType))
{
    TRY(opcall_prepare(c));
    Tensor *out = &c->out[0];
    RowFn row = rows(c->in[0]->type);
    if (row == NULL) return op_bad_type(c, c->in[0]->type);
    for (int i = 0; i < c->input_count; i++) {
        if (c->in[i]->type != out->type)
            return op_fail(c, ERR_DATA, "its inputs are %s and %s", dtype_name(out->type), dtype_name(c->in[i]->type));
    }
    spread(c->in[0], out);
    for (int i = 1; i < c->input_count; i++) broadcast_rows(out, c->in[i], out, row);
    return OK;
}

static Status forward_sum(OpCall *c)
{
    OPCALL_HALF(c, forward_sum);
    return run_many(c, add_rows);
}

static Status forward_min(OpCall *c)
{
    OPCALL_HALF(c, forward_min);
    return run_many(c, min_rows);
}

static Status forward_max(OpCall *c)
{
    OPCALL_HALF(c, forward_max);
    return run_many(c, max_rows);
}

static Status forward_mean(OpCall *c)
{
    OPCALL_HALF(c, forward_mean);
    TRY(run_many(c, add_rows));
    Tensor count = { .type = c->in[0]->type };
    Shape scalar = { .rank = 0 };
    TRY(tensor_new(&count, c->in[0]->type, &scalar, c->err));
    tensor_set(&count, 0, c->input_count);
    broadcast_rows(&c->out[0], &count, &c->out[0], div_rows(count.type));
    tensor_release(&count);
    return OK;
}

/* ---- Where ---- */

#define SELECT(name, type) \
    static void name(const void *pa, int64_t sa, const void *pb, int64_t sb, void *py, int64_t n) \
    { \
        const uint8_t *condition = pa; \
        const type *x = pb; \
        type *y = py; \
        for (int64_t i = 0; i < n; i++) { \
            if (condition[i * sa] != 0) y[i] = x[i * sb]; \
        } \
    }
SELECT(select_1, uint8_t)
SELECT(select_2, uint16_t)
SELECT(select_4, uint32_t)
SELECT(select_8, uint64_t)

static Status infer_where(InferCall *c)
{
    TRY(infer_broadcast(c));
    c->out[0].type = c->in[1].type != DT_NONE ? c->in[1].type : c->in[2].type;
    ints_where(c);
    return OK;
}

static Status forward_where(OpCall *c)
{
    const Tensor *x = c->in[1], *y = c->in[2];
    size_t size = dtype_size(x->type);
    RowFn row = size == 1 ? select_1 : size == 2 ? select_2 : size == 4 ? select_4 : size == 8 ? select_8 : NULL;
    if (row == NULL) return op_bad_type(c, x->type);
    if (x->type != y->type || c->in[0]->type != DT_BOOL)
        return op_fail(c, ERR_DATA, "its inputs are %s, %s and %s; it needs bool and two alike", dtype_name(c->in[0]->type),
                       dtype_name(x->type), dtype_name(y->type));
    TRY(opcall_prepare(c));
    spread(y, &c->out[0]);
    broadcast_rows(c->in[0], x, &c->out[0], row);
    return OK;
}

/* ---- inference ---- */

static Status infer_with_ints(InferCall *c, IntsOp op)
{
    TRY(infer_broadcast(c));
    ints_pair(c, op);
    return OK;
}

#define INFER(name, op) \
    static Status infer_##name(InferCall *c) { return infer_with_ints(c, op); }
INFER(add, INTS_ADD)
INFER(sub, INTS_SUB)
INFER(mul, INTS_MUL)
INFER(div, INTS_DIV)
INFER(min, INTS_MIN)
INFER(max, INTS_MAX)

static Status infer_equal(InferCall *c)
{
    TRY(infer_broadcast_bool(c));
    ints_pair(c, INTS_EQUAL);
    return OK;
}

/* The slope is broadcast to the input, never the other way. */
static Status infer_prelu(InferCall *c)
{
    TRY(infer_broadcast(c));
    const Shape *x = &c->in[0].shape;
    if (shape_known(x) && shape_known(&c->out[0].shape) && !shape_eq(x, &c->out[0].shape))
        return op_fail(c, ERR_DATA, "its slope does not broadcast to the input");
    c->out[0] = c->in[0];
    return OK;
}

static void cost_many(const CostCall *c, OpCost *out)
{
    int64_t count;
    if (c->output_count > 0 && shape_count(&c->out[0].shape, &count))
        out->elementwise = count * (c->input_count > 1 ? c->input_count - 1 : 1);
}

#define BINARY(type, since, infer, forward) OP_ENTRY(type, since, 0, 2, 2, 1, 1, 0, infer, forward, NULL)
#define MANY(type, infer, forward) OP_ENTRY(type, 1, 0, 1, -1, 1, 1, 0, infer, forward, cost_many)

const Op ops_binary[] = {
    BINARY("Add", 7, infer_add, forward_add),
    BINARY("Sub", 7, infer_sub, forward_sub),
    BINARY("Mul", 7, infer_mul, forward_mul),
    OP_ENTRY("Div", 7, 0, 2, 2, 1, 1, 0, infer_div, forward_div, cost_transcendental),
    OP_ENTRY("Pow", 7, 0, 2, 2, 1, 1, 0, infer_first_type, forward_pow, cost_transcendental),
    BINARY("Mod", 10, infer_broadcast, forward_mod),
    BINARY("PRelu", 7, infer_prelu, forward_prelu),
    MANY("Min", infer_min, forward_min),
    MANY("Max", infer_max, forward_max),
    MANY("Sum", infer_broadcast, forward_sum),
    MANY("Mean", infer_broadcast, forward_mean),
    BINARY("Equal", 7, infer_equal, forward_equal),
    BINARY("Greater", 7, infer_broadcast_bool, forward_greater),
    BINARY("Less", 7, infer_broadcast_bool, forward_less),
    BINARY("GreaterOrEqual", 12, infer_broadcast_bool, forward_greater_equal),
    BINARY("LessOrEqual", 12, infer_broadcast_bool, forward_less_equal),
    BINARY("And", 7, infer_broadcast_bool, forward_and),
    BINARY("Or", 7, infer_broadcast_bool, forward_or),
    BINARY("Xor", 7, infer_broadcast_bool, forward_xor),
    BINARY("BitShift", 11, infer_broadcast, forward_bit_shift),
    BINARY("BitwiseAnd", 18, infer_broadcast, forward_bit_and),
    BINARY("BitwiseOr", 18, infer_broadcast, forward_bit_or),
    BINARY("BitwiseXor", 18, infer_broadcast, forward_bit_xor),
    OP_ENTRY("Where", 9, 0, 3, 3, 1, 1, 0, infer_where, forward_where, NULL),
    OP_END,
};
