/* Elementwise functions of one tensor. */
#include "engine/ops/common.h"

#include <tgmath.h>

/* ---- running ---- */

/* y = f(x; a, b) over n elements, in float32 and in float64. */
typedef void (*FloatFn)(const float *x, float *y, int64_t n, float a, float b);
typedef void (*DoubleFn)(const double *x, double *y, int64_t n, double a, double b);

static void run_float(const Tensor *x, Tensor *y, FloatFn fn, float a, float b)
{
    int64_t n = tensor_count(x);
    const float *from = (const float *)(const void *)x->data;
    float *to = (float *)(void *)y->data;
    if (n < PARALLEL_FROM) {
        fn(from, to, n, a, b);
        return;
    }
#pragma omp parallel for schedule(static)
    for (int64_t part = 0; part < 16; part++) {
        int64_t first = n * part / 16, end = n * (part + 1) / 16;
        fn(from + first, to + first, end - first, a, b);
    }
}

/* Integer types go by way of float64, element by element. */
static void run_elements(const Tensor *x, Tensor *y, DoubleFn fn, double a, double b)
{
    int64_t n = tensor_count(x);
    for (int64_t i = 0; i < n; i++) {
        double value = tensor_get(x, i), result;
        fn(&value, &result, 1, a, b);
        tensor_set(y, i, result);
    }
}

/* Type and shape of the input; its contents change. */
static Status infer_unary(InferCall *c)
{
    c->out[0] = c->in[0];
    return OK;
}

static Status run_unary(OpCall *c, FloatFn f32, DoubleFn f64, double a, double b)
{
    TRY(opcall_prepare(c));
    const Tensor *x = c->in[0];
    Tensor *y = &c->out[0];
    if (x->type == DT_FLOAT) run_float(x, y, f32, (float)a, (float)b);
    else if (x->type == DT_DOUBLE) f64((const double *)(const void *)x->data, (double *)(void *)y->data, tensor_count(x), a, b);
    else if (dtype_is_integer(x->type)) run_elements(x, y, f64, a, b);
    else return op_bad_type(c, x->type);
    return OK;
}

/* Defines the loops and the forward of one function: `v` is the element, `T` its type, a and b the attributes named. */
#define UNARY(name, attr_a, default_a, attr_b, default_b, expression) \
    static void name##_f32(const float *x, float *y, int64_t n, float a, float b) \
    { \
        typedef float T; \
        (void)a, (void)b; \
        for (int64_t i = 0; i < n; i++) { \
            const T v = x[i]; \
            y[i] = (T)(expression); \
        } \
    } \
    static void name##_f64(const double *x, double *y, int64_t n, double a, double b) \
    { \
        typedef double T; \
        (void)a, (void)b; \
        for (int64_t i = 0; i < n; i++) { \
            const T v = x[i]; \
            y[i] = (T)(expression); \
        } \
    } \
    static Status forward_##name(OpCall *c) \
    { \
        OPCALL_HALF(c, forward_##name); \
        return run_unary(c, name##_f32, name##_f64, node_float(c->node, attr_a, default_a), node_float(c->node, attr_b, default_b)); \
    }
#define UNARY0(name, expression) UNARY(name, "", 0, "", 0, expression)

/* Comparisons are written so that NaN stays NaN. */
UNARY0(relu, v < 0 ? 0 : v)
UNARY0(sigmoid, 1 / (1 + exp(-v)))
UNARY0(tanh, tanh(v))
UNARY0(exp, exp(v))
UNARY0(log, log(v))
UNARY0(sqrt, sqrt(v))
UNARY0(reciprocal, 1 / v)
UNARY0(floor, floor(v))
UNARY0(ceil, ceil(v))
UNARY0(round, rint(v))
UNARY0(erf, erf(v))
UNARY0(sin, sin(v))
UNARY0(cos, cos(v))
UNARY0(tan, tan(v))
UNARY0(asin, asin(v))
UNARY0(acos, acos(v))
UNARY0(atan, atan(v))
UNARY0(sinh, sinh(v))
UNARY0(cosh, cosh(v))
UNARY0(asinh, asinh(v))
UNARY0(acosh, acosh(v))
UNARY0(atanh, atanh(v))
UNARY0(softplus, v > 0 ? v + log1p(exp(-v)) : log1p(exp(v)))
UNARY0(softsign, v / (1 + fabs(v)))
UNARY0(mish, v * tanh(v > 0 ? v + log1p(exp(-v)) : log1p(exp(v))))
UNARY0(hard_swish, v * fmax((T)0, fmin((T)1, v / 6 + (T)0.5)))
UNARY(hard_sigmoid, "alpha", 0.2f, "beta", 0.5f, fmax((T)0, fmin((T)1, a * v + b)))
UNARY(elu, "alpha", 1.0f, "", 0, v < 0 ? a * expm1(v) : v)
UNARY(selu, "alpha", 1.67326319217681884765625f, "gamma", 1.05070102214813232421875f, b * (v < 0 ? a * expm1(v) : v))
UNARY(selu_oldest, "alpha", 1.6732f, "gamma", 1.0507f, b * (v < 0 ? a * expm1(v) : v)) /* the defaults up to opset 5 */
UNARY(celu, "alpha", 1.0f, "", 0, v < 0 ? a * expm1(v / a) : v)
UNARY(leaky_relu, "alpha", 0.01f, "", 0, v < 0 ? a * v : v)
UNARY(thresholded_relu, "alpha", 1.0f, "", 0, v > a ? v : 0)
UNARY(shrink, "lambd", 0.5f, "bias", 0, v < -a ? v + b : v > a ? v - b : 0)
UNARY(swish, "alpha", 1.0f, "", 0, v / (1 + exp(-a * v)))

#define SQRT_HALF 0.70710678118654752440
#define SQRT_2_BY_PI 0.79788456080286535588
UNARY0(gelu_exact, (T)0.5 * v * (1 + erf(v * (T)SQRT_HALF)))
UNARY0(gelu_tanh, (T)0.5 * v * (1 + tanh((T)SQRT_2_BY_PI * (v + (T)0.044715 * v * v * v))))

static Status forward_gelu(OpCall *c)
{
    Str approximate = node_string(c->node, "approximate", "none");
    if (str_is(approximate, "tanh")) return forward_gelu_tanh(c);
    if (str_is(approximate, "none")) return forward_gelu_exact(c);
    return op_fail(c, ERR_UNSUPPORTED, "approximate '%.*s'", STR_ARG(approximate));
}

/* ---- exact on every numeric type: Abs, Neg, Sign, BitwiseNot ---- */

#define EXACT_CASE(id, type, expression) \
    case id: { \
        const type *from = (const type *)(const void *)x->data; \
        type *to = (type *)(void *)y->data; \
        for (int64_t i = 0; i < n; i++) { \
            const type v = from[i]; \
            to[i] = (type)(expression); \
        } \
        return OK; \
    }

#define EXACT_START(name) \
    OPCALL_HALF(c, forward_##name); \
    TRY(opcall_prepare(c)); \
    const Tensor *x = c->in[0]; \
    Tensor *y = &c->out[0]; \
    int64_t n = tensor_count(x)

static Status forward_abs(OpCall *c)
{
    EXACT_START(abs);
    switch (x->type) {
#define X(id, type, suffix) EXACT_CASE(id, type, fabs(v))
        FLOAT_TYPES(X)
#undef X
#define X(id, type, suffix) EXACT_CASE(id, type, v < 0 ? 0 - (uint64_t)v : (uint64_t)v)
        SIGNED_TYPES(X)
#undef X
#define X(id, type, suffix) EXACT_CASE(id, type, v)
        UNSIGNED_TYPES(X)
#undef X
    default: return op_bad_type(c, x->type);
    }
}

static Status forward_neg(OpCall *c)
{
    EXACT_START(neg);
    switch (x->type) {
#define X(id, type, suffix) EXACT_CASE(id, type, -v)
        FLOAT_TYPES(X)
#undef X
#define X(id, type, suffix) EXACT_CASE(id, type, 0 - (uint64_t)v)
        INTEGER_TYPES(X)
#undef X
    default: return op_bad_type(c, x->type);
    }
}

static Status forward_sign(OpCall *c)
{
    EXACT_START(sign);
    switch (x->type) {
#define X(id, type, suffix) EXACT_CASE(id, type, v != v ? v : (type)((v > 0) - (v < 0)))
        FLOAT_TYPES(X)
#undef X
#define X(id, type, suffix) EXACT_CASE(id, type, (v > 0) - (v < 0))
        SIGNED_TYPES(X)
#undef X
#define X(id, type, suffix) EXACT_CASE(id, type, v > 0)
        UNSIGNED_TYPES(X)
#undef X
    default: return op_bad_type(c, x->type);
    }
}

static Status forward_bitwise_not(OpCall *c)
{
    TRY(opcall_prepare(c));
    const Tensor *x = c->in[0];
    if (!dtype_is_integer(x->type) || dtype_size(x->type) == 0) return op_bad_type(c, x->type);
    for (size_t i = 0; i < x->bytes; i++) c->out[0].data[i] = (uint8_t)~x->data[i];
    return OK;
}

/* ---- to bool: Not, IsNaN, IsInf ---- */

static Status infer_to_bool(InferCall *c)
{
    c->out[0] = (TypeInfo){ DT_BOOL, c->in[0].shape };
    return OK;
}

static Status forward_not(OpCall *c)
{
    TRY(opcall_prepare(c));
    if (c->in[0]->type != DT_BOOL) return op_bad_type(c, c->in[0]->type);
    for (size_t i = 0; i < c->in[0]->bytes; i++) c->out[0].data[i] = c->in[0]->data[i] == 0;
    return OK;
}

static Status forward_is_nan(OpCall *c)
{
    TRY(opcall_prepare(c));
    int64_t n = tensor_count(c->in[0]);
    if (dtype_size(c->in[0]->type) == 0) return op_bad_type(c, c->in[0]->type);
    for (int64_t i = 0; i < n; i++) c->out[0].data[i] = isnan(tensor_get(c->in[0], i)) != 0;
    return OK;
}

static Status forward_is_inf(OpCall *c)
{
    TRY(opcall_prepare(c));
    int64_t n = tensor_count(c->in[0]);
    bool negative = node_int(c->node, "detect_negative", 1) != 0, positive = node_int(c->node, "detect_positive", 1) != 0;
    if (dtype_size(c->in[0]->type) == 0) return op_bad_type(c, c->in[0]->type);
    for (int64_t i = 0; i < n; i++) {
        double v = tensor_get(c->in[0], i);
        c->out[0].data[i] = isinf(v) && (v < 0 ? negative : positive);
    }
    return OK;
}

/* ---- Clip: bounds are attributes before opset 11, optional inputs since ---- */

static const Tensor *clip_bound(const OpCall *c, int i)
{
    return c->opset >= 11 && i < c->input_count ? c->in[i] : NULL;
}

static double clip_value(const OpCall *c, int i, const char *attr, double fallback)
{
    const Attr *a = c->opset < 11 ? node_attr(c->node, attr) : NULL;
    const Tensor *t = clip_bound(c, i);
    return a != NULL ? (double)a->f : t != NULL ? tensor_get(t, 0) : fallback;
}

#define CLIP_ROW(type) \
    do { \
        const type *from = (const type *)(const void *)x->data; \
        type *to = (type *)(void *)y->data; \
        for (int64_t i = 0; i < n; i++) { \
            type v = from[i] < low ? (type)low : from[i]; \
            to[i] = v > high ? (type)high : v; \
        } \
    } while (0)

static void clip_f32(const float *x, float *y, int64_t n, float low, float high)
{
    for (int64_t i = 0; i < n; i++) {
        float v = x[i] < low ? low : x[i];
        y[i] = v > high ? high : v;
    }
}

static void clip_integers(const OpCall *c, const Tensor *x, Tensor *y)
{
    const Tensor *least = clip_bound(c, 1), *most = clip_bound(c, 2);
    int64_t n = tensor_count(x);
    for (int64_t i = 0; i < n; i++) {
        int64_t v = tensor_get_int(x, i);
        if (x->type == DT_UINT64) {
            if (least != NULL && (uint64_t)v < (uint64_t)tensor_get_int(least, 0)) v = tensor_get_int(least, 0);
            if (most != NULL && (uint64_t)v > (uint64_t)tensor_get_int(most, 0)) v = tensor_get_int(most, 0);
        } else {
            if (least != NULL && v < tensor_get_int(least, 0)) v = tensor_get_int(least, 0);
            if (most != NULL && v > tensor_get_int(most, 0)) v = tensor_get_int(most, 0);
        }
        tensor_set_int(y, i, v);
    }
}

static Status forward_clip(OpCall *c)
{
    EXACT_START(clip);
    for (int i = 1; i < 3; i++) {
        const Tensor *bound = clip_bound(c, i);
        if (bound != NULL && tensor_count(bound) != 1) return op_fail(c, ERR_DATA, "its bounds must be scalars");
    }
    double low = clip_value(c, 1, "min", -INFINITY), high = clip_value(c, 2, "max", INFINITY);
    if (x->type == DT_FLOAT) run_float(x, y, clip_f32, (float)low, (float)high);
    else if (x->type == DT_DOUBLE) CLIP_ROW(double);
    else if (dtype_is_integer(x->type)) clip_integers(c, x, y);
    else return op_bad_type(c, x->type);
    return OK;
}

#define PLAIN(type, since, forward) OP_ENTRY(type, since, 0, 1, 1, 1, 1, 0, infer_unary, forward, NULL)
#define COSTLY(type, since, forward) OP_ENTRY(type, since, 0, 1, 1, 1, 1, 0, infer_unary, forward, cost_transcendental)

const Op ops_unary[] = {
    OP_ENTRY("Relu", 1, 0, 1, 1, 1, 1, OP_MONOTONE, infer_unary, forward_relu, NULL),
    OP_ENTRY("Clip", 1, 10, 1, 1, 1, 1, OP_MONOTONE, infer_unary, forward_clip, NULL),
    OP_ENTRY("Clip", 11, 0, 1, 3, 1, 1, OP_MONOTONE, infer_unary, forward_clip, NULL),
    OP_ENTRY("Floor", 1, 0, 1, 1, 1, 1, 0, infer_same, forward_floor, NULL),
    OP_ENTRY("Ceil", 1, 0, 1, 1, 1, 1, 0, infer_same, forward_ceil, NULL),
    OP_ENTRY("Round", 11, 0, 1, 1, 1, 1, 0, infer_same, forward_round, NULL),
    PLAIN("Abs", 1, forward_abs),
    PLAIN("Neg", 1, forward_neg),
    PLAIN("Sign", 9, forward_sign),
    PLAIN("LeakyRelu", 1, forward_leaky_relu),
    PLAIN("ThresholdedRelu", 10, forward_thresholded_relu),
    PLAIN("Shrink", 9, forward_shrink),
    PLAIN("HardSigmoid", 1, forward_hard_sigmoid),
    PLAIN("HardSwish", 14, forward_hard_swish),
    COSTLY("Reciprocal", 1, forward_reciprocal),
    COSTLY("Sigmoid", 1, forward_sigmoid),
    COSTLY("Tanh", 1, forward_tanh),
    COSTLY("Exp", 1, forward_exp),
    COSTLY("Log", 1, forward_log),
    COSTLY("Sqrt", 1, forward_sqrt),
    COSTLY("Erf", 9, forward_erf),
    COSTLY("Sin", 7, forward_sin),
    COSTLY("Cos", 7, forward_cos),
    COSTLY("Tan", 7, forward_tan),
    COSTLY("Asin", 7, forward_asin),
    COSTLY("Acos", 7, forward_acos),
    COSTLY("Atan", 7, forward_atan),
    COSTLY("Sinh", 9, forward_sinh),
    COSTLY("Cosh", 9, forward_cosh),
    COSTLY("Asinh", 9, forward_asinh),
    COSTLY("Acosh", 9, forward_acosh),
    COSTLY("Atanh", 9, forward_atanh),
    COSTLY("Softplus", 1, forward_softplus),
    COSTLY("Softsign", 1, forward_softsign),
    COSTLY("Elu", 1, forward_elu),
    OP_ENTRY("Selu", 1, 5, 1, 1, 1, 1, 0, infer_unary, forward_selu_oldest, cost_transcendental),
    COSTLY("Selu", 6, forward_selu),
    COSTLY("Celu", 12, forward_celu),
    COSTLY("Gelu", 20, forward_gelu),
    COSTLY("Mish", 18, forward_mish),
    COSTLY("Swish", 24, forward_swish),
    OP_ENTRY("Not", 1, 0, 1, 1, 1, 1, 0, infer_to_bool, forward_not, NULL),
    OP_ENTRY("BitwiseNot", 18, 0, 1, 1, 1, 1, 0, infer_unary, forward_bitwise_not, NULL),
    OP_ENTRY("IsNaN", 9, 0, 1, 1, 1, 1, 0, infer_to_bool, forward_is_nan, NULL),
    OP_ENTRY("IsInf", 10, 0, 1, 1, 1, 1, 0, infer_to_bool, forward_is_inf, NULL),
    OP_END,
};
