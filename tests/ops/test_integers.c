/* Integer layers: the kernels against the plain integer forward, bit for bit, over shapes, weights that saturate, and instruction sets;
 * DequantizeLinear .. QuantizeLinear groups against the same operators one by one. */
#include "test.h"

#include <spawn.h>
#include <sys/wait.h>

#include "build_graph.h"
#include "engine/session.h"

extern char **environ;

typedef enum Fill { FILL_RANDOM, FILL_SAFE, FILL_MOST, FILL_LEAST, FILL_TURNS, FILL_POSITIVE } Fill;

/* One layer with constant weights. */
typedef struct Row {
    const char *name, *op;
    int64_t x[5], w[5];
    int64_t pads[6], strides[3], dilations[3]; /* a first 0: left out */
    int64_t group;
    DType x_type, w_type; /* DT_NONE: uint8, int8 */
    int x_zero, w_zero;
    Fill fill;
    bool plain; /* no kernel takes it: the plain forward does */
} Row;

#define X(...) .x = { __VA_ARGS__ }
#define W(...) .w = { __VA_ARGS__ }
#define PADS(...) .pads = { __VA_ARGS__ }
#define STRIDES(...) .strides = { __VA_ARGS__ }

static const Row rows[] = {
    { "pointwise", "QLinearConv", X(1, 64, 5, 5), W(16, 64, 1, 1), .fill = FILL_SAFE },
    { "pointwise, unsafe", "QLinearConv", X(3, 64, 5, 5), W(16, 64, 1, 1) },
    { "pointwise, extreme", "QLinearConv", X(1, 64, 2, 2), W(8, 64, 1, 1), .fill = FILL_MOST },
    { "3x3", "QLinearConv", X(3, 16, 9, 8), W(24, 16, 3, 3), PADS(1, 1, 1, 1), .fill = FILL_SAFE },
    { "3x3, unsafe", "QLinearConv", X(1, 16, 9, 8), W(24, 16, 3, 3), PADS(1, 1, 1, 1) },
    { "3x3, extreme", "QLinearConv", X(1, 16, 6, 6), W(8, 16, 3, 3), PADS(1, 1, 1, 1), .fill = FILL_MOST },
    { "3x3, least", "QLinearConv", X(1, 16, 6, 6), W(8, 16, 3, 3), PADS(1, 1, 1, 1), .fill = FILL_LEAST },
    { "zero point, padding", "QLinearConv", X(3, 8, 7, 9), W(8, 8, 3, 3), PADS(1, 1, 1, 1), .x_zero = 117 },
    { "zero point, uneven padding", "QLinearConv", X(1, 8, 7, 9), W(8, 8, 3, 3), PADS(2, 0, 0, 1), .x_zero = 255 },
    { "zero point, no padding", "QLinearConv", X(1, 8, 7, 9), W(8, 8, 3, 3), .x_zero = 3 },
    { "zero point, strides, dilations", "QLinearConv", X(3, 5, 15, 17), W(7, 5, 3, 2), PADS(2, 1, 2, 3), STRIDES(2, 3),
      .dilations = { 2, 1 }, .x_zero = 9 },
    { "stride 2", "QLinearConv", X(1, 16, 9, 9), W(32, 16, 3, 3), PADS(1, 1, 1, 1), STRIDES(2, 2) },
    { "odd channels", "QLinearConv", X(3, 13, 6, 5), W(7, 13, 3, 3), PADS(1, 1, 1, 1) },
    { "odd channels, extreme", "QLinearConv", X(1, 13, 6, 5), W(7, 13, 3, 3), PADS(1, 1, 1, 1), .fill = FILL_MOST },
    { "one channel", "QLinearConv", X(3, 1, 28, 28), W(6, 1, 5, 5), PADS(2, 2, 2, 2) },
    { "one channel, extreme", "QLinearConv", X(1, 1, 9, 9), W(6, 1, 5, 5), .fill = FILL_MOST },
    { "three channels", "QLinearConv", X(1, 3, 12, 12), W(16, 3, 3, 3), PADS(1, 1, 1, 1), .x_zero = 114 },
    { "three channels, extreme", "QLinearConv", X(1, 3, 12, 12), W(16, 3, 3, 3), PADS(1, 1, 1, 1), .fill = FILL_MOST },
    { "five filters of two channels", "QLinearConv", X(2, 2, 4, 4), W(5, 2, 2, 2), .fill = FILL_MOST },
    { "depthwise", "QLinearConv", X(3, 16, 7, 7), W(16, 1, 3, 3), PADS(1, 1, 1, 1), .group = 16, .x_zero = 12 },
    { "depthwise, extreme", "QLinearConv", X(1, 16, 7, 7), W(16, 1, 3, 3), PADS(1, 1, 1, 1), .group = 16, .fill = FILL_MOST },
    { "depthwise, least", "QLinearConv", X(1, 16, 7, 7), W(16, 1, 5, 5), .group = 16, .fill = FILL_LEAST },
    { "depthwise, odd", "QLinearConv", X(1, 13, 9, 7), W(13, 1, 3, 3), STRIDES(2, 2), .group = 13 },
    { "depthwise, multiplier", "QLinearConv", X(1, 6, 7, 7), W(12, 1, 3, 3), PADS(1, 1, 1, 1), .group = 6, .fill = FILL_MOST },
    { "groups", "QLinearConv", X(2, 12, 6, 6), W(18, 4, 3, 3), PADS(1, 1, 1, 1), .group = 3, .x_zero = 7 },
    { "groups of 8, extreme", "QLinearConv", X(2, 16, 6, 6), W(16, 8, 3, 3), .group = 2, .fill = FILL_MOST },
    { "sums beyond 2^24", "QLinearConv", X(1, 96, 5, 5), W(3, 96, 3, 3), PADS(1, 1, 1, 1), .fill = FILL_MOST },
    { "sums beyond 2^24, turning", "QLinearConv", X(1, 96, 5, 5), W(3, 96, 3, 3), PADS(1, 1, 1, 1), .fill = FILL_TURNS },
    { "1-D", "QLinearConv", X(2, 8, 20), W(6, 8, 5), PADS(2, 2), .x_zero = 5 },
    { "3-D", "QLinearConv", X(1, 4, 5, 6, 7), W(6, 4, 3, 3, 3), PADS(1, 1, 1, 1, 1, 1), .x_zero = 5 },
    { "int8 input", "QLinearConv", X(2, 9, 7, 7), W(8, 9, 3, 3), PADS(1, 1, 1, 1), .x_type = DT_INT8, .x_zero = -3 },
    { "int8 input, extreme", "QLinearConv", X(1, 64, 2, 2), W(8, 64, 1, 1), .x_type = DT_INT8, .fill = FILL_MOST },
    { "uint8 weights", "QLinearConv", X(1, 8, 7, 7), W(8, 8, 3, 3), PADS(1, 1, 1, 1), .w_type = DT_UINT8, .w_zero = 128 },
    { "uint8 weights beyond 8 bits", "QLinearConv", X(1, 3, 7, 7), W(4, 3, 3, 3), .w_type = DT_UINT8, .w_zero = 1, .plain = true },
    { "matrix", "QLinearMatMul", X(5, 84), W(84, 10), .x_zero = 11 },
    { "matrix, extreme", "QLinearMatMul", X(1, 64), W(64, 8), .fill = FILL_MOST },
    { "matrix, three axes", "QLinearMatMul", X(2, 3, 33), W(33, 17), .fill = FILL_SAFE },
    { "matrix, long", "QLinearMatMul", X(7, 2100), W(2100, 5), .x_zero = 128, .fill = FILL_MOST },
    { "ConvInteger", "ConvInteger", X(2, 8, 7, 7), W(8, 8, 3, 3), PADS(1, 1, 1, 1), .x_zero = 4 },
    { "ConvInteger, groups", "ConvInteger", X(2, 8, 7, 7), W(8, 4, 3, 3), .group = 2, .fill = FILL_MOST },
    { "ConvInteger, odd sums beyond 2^24", "ConvInteger", X(1, 200, 3, 3), W(3, 200, 3, 3), .fill = FILL_POSITIVE },
    { "ConvInteger, odd sums beyond 2^24, groups", "ConvInteger", X(1, 400, 3, 3), W(4, 200, 3, 3), .group = 2, .fill = FILL_POSITIVE },
    { "MatMulInteger", "MatMulInteger", X(3, 40), W(40, 12), .x_zero = 255 },
    { "MatMulInteger, int8", "MatMulInteger", X(3, 40), W(40, 12), .x_type = DT_INT8, .fill = FILL_LEAST },
};

static int rank_of(const int64_t *dims)
{
    int rank = 0;
    while (rank < 5 && dims[rank] != 0) rank++;
    return rank;
}

static int64_t weight_of(Fill fill, int64_t i)
{
    double noise = build_noise(31, i);
    switch (fill) {
    case FILL_SAFE: return lrint(noise * 64);
    case FILL_MOST: return 127;
    case FILL_LEAST: return -128;
    case FILL_POSITIVE: return 94 + lrint(noise * 33);
    case FILL_TURNS: return i % 864 < 800 ? 127 : -127;
    default: return lrint(noise * 127);
    }
}

static ValueId number(Graph *g, const char *name, DType type, double value)
{
    return build_constant(g, name, type, &value, NULL, 0);
}

static ValueId weights(Graph *g, const Row *r)
{
    DType type = r->w_type != DT_NONE ? r->w_type : DT_INT8;
    Shape shape = shape_of(rank_of(r->w), r->w);
    Tensor t;
    Err err;
    assert_ok(tensor_new(&t, type, &shape, &err), &err);
    for (int64_t i = 0; i < tensor_count(&t); i++) tensor_set_int(&t, i, weight_of(r->fill, i) + (type == DT_UINT8 ? 128 : 0));
    ValueId v = graph_add_constant(g, STR("w"), &t);
    assert_true(v != 0);
    return v;
}

static void geometry(Graph *g, NodeId n, const Row *r)
{
    Err err;
    int dims = rank_of(r->x) - 2;
    bool pads = false;
    for (int i = 0; i < 2 * dims && dims > 0; i++) pads = pads || r->pads[i] != 0;
    if (pads) assert_ok(graph_set_ints(g, n, "pads", r->pads, 2 * dims, &err), &err);
    if (r->strides[0] != 0) assert_ok(graph_set_ints(g, n, "strides", r->strides, dims, &err), &err);
    if (r->dilations[0] != 0) assert_ok(graph_set_ints(g, n, "dilations", r->dilations, dims, &err), &err);
    if (r->group > 1) assert_ok(graph_set_int(g, n, "group", r->group, &err), &err);
}

/* Scales of powers of two, so that ties are met often; one per filter. */
static Graph *layer_graph(const Row *r)
{
    Graph *g = build_new(17);
    bool linear = r->op[0] == 'Q', conv = strstr(r->op, "Conv") != NULL;
    DType x_type = r->x_type != DT_NONE ? r->x_type : DT_UINT8, w_type = r->w_type != DT_NONE ? r->w_type : DT_INT8;
    ValueId x = build_input(g, "x", x_type, r->x, rank_of(r->x)), w = weights(g, r), in[9];
    int64_t filters = conv ? r->w[0] : r->w[1];
    double scales[64], bias[64];
    assert_true(filters <= 64);
    for (int64_t k = 0; k < filters; k++) {
        scales[k] = ldexp(1 + (double)(k % 3) / 4, -9 - (int)(k % 4));
        bias[k] = floor(build_noise(8, k) * 5000);
    }
    ValueId zero = number(g, "x_zero", x_type, r->x_zero), w_zero = number(g, "w_zero", w_type, r->w_zero);
    int count = 0;
    in[count++] = x;
    if (linear) in[count++] = number(g, "x_scale", DT_FLOAT, 0.5);
    else in[count++] = w;
    in[count++] = zero;
    if (linear) {
        in[count++] = w;
        in[count++] = build_constant(g, "w_scale", DT_FLOAT, scales, &filters, 1);
        double zeros[64];
        for (int64_t k = 0; k < filters; k++) zeros[k] = r->w_zero;
        in[count++] = build_constant(g, "w_zeros", w_type, zeros, &filters, 1);
        in[count++] = number(g, "y_scale", DT_FLOAT, 2);
        in[count++] = number(g, "y_zero", DT_UINT8, 100);
        if (conv) in[count++] = build_constant(g, "bias", DT_INT32, bias, &filters, 1);
    } else {
        in[count++] = w_zero;
    }
    ValueId y = graph_add_value(g, STR("y"), DT_NONE, NULL);
    NodeId n = graph_add_node(g, r->op, "", STR("layer"), in, count, &y, 1);
    assert_true(y != 0 && n != 0);
    if (conv) geometry(g, n, r);
    build_output(g, y);
    build_ready(g);
    return g;
}

/* Bytes all over the range; `most`: nothing but the largest. */
static Tensor bytes(DType type, const Shape *shape, bool most)
{
    Tensor t;
    Err err;
    assert_ok(tensor_new(&t, type, shape, &err), &err);
    for (int64_t i = 0; i < tensor_count(&t); i++) {
        int64_t v = most ? 255 : (int64_t)floor(128 + 128 * build_noise(17, i));
        tensor_set_int(&t, i, type == DT_INT8 ? v - 128 : v);
    }
    return t;
}

/* The first output of a run; *kernels: how many steps ran the integer kernels, *float_steps: how many made a float tensor. */
static Tensor run(const Graph *g, const Tensor *x, SessionOptions options, int *kernels, int *floats)
{
    Session *s;
    Tensor y[4] = { 0 };
    Err err;
    assert_ok(session_new(g, &options, &s, &err), &err);
    assert_ok(session_run(s, x, y, &err), &err);
    if (kernels != NULL) {
        *kernels = *floats = 0;
        for (int p = 0; p < PLAN_CACHE; p++)
            for (size_t i = 0; s->plans[p] != NULL && i < s->plans[p]->step_count; i++) {
                const Step *step = &s->plans[p]->steps[i];
                *kernels += step->kernel != NULL && strcmp(step->kernel->name, "integer") == 0;
                *floats += step->kernel != &kernel_reorder && s->plans[p]->slots[step->out[0]].tensor.type == DT_FLOAT;
            }
    }
    session_free(s);
    for (int i = 1; i < g->output_count; i++) tensor_release(&y[i]);
    return y[0];
}

static void assert_same(const char *name, const Tensor *got, const Tensor *want)
{
    if (!shape_eq(&got->shape, &want->shape) || got->type != want->type) fail_msg("%s: another shape or type", name);
    for (int64_t i = 0; i < tensor_count(want); i++)
        if (tensor_get(got, i) != tensor_get(want, i))
            fail_msg("%s: element %lld is %.9g, expected %.9g", name, (long long)i, tensor_get(got, i), tensor_get(want, i));
}

static void kernels_are_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const Row *r = &rows[i];
        Graph *g = layer_graph(r);
        for (int most = 0; most < 2; most++) {
            Tensor x = bytes(r->x_type != DT_NONE ? r->x_type : DT_UINT8, &graph_value(g, g->inputs[0])->shape, most == 1);
            int kernels, floats;
            Tensor want = run(g, &x, (SessionOptions){ .threads = 1, .plain = true }, NULL, NULL);
            for (int threads = 1; threads <= 2; threads++) {
                Tensor got = run(g, &x, (SessionOptions){ .threads = threads }, &kernels, &floats);
                if (kernels != !r->plain) fail_msg("%s: %d integer kernels", r->name, kernels);
                assert_same(r->name, &got, &want);
                tensor_release(&got);
            }
            tensor_release(&want);
            tensor_release(&x);
        }
        graph_free(g);
    }
}

/* The bytes of two results: a step apart at most. */
static void assert_near_bytes(const char *name, const Tensor *got, const Tensor *want)
{
    assert_true(got->type == want->type && shape_eq(&got->shape, &want->shape));
    for (int64_t i = 0; i < tensor_count(want); i++)
        if (fabs(tensor_get(got, i) - tensor_get(want, i)) > 1)
            fail_msg("%s: element %lld is %g, expected %g", name, (long long)i, tensor_get(got, i), tensor_get(want, i));
}

static bool equal_bytes(const Tensor *a, const Tensor *b)
{
    return a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0;
}

static void count_floats(void *user, const StepTrace *step)
{
    *(int *)user += strcmp(step->kernel, "auto") == 0 && step->type == DT_FLOAT;
}

/* How many layers the float form takes when it is asked for. */
static int float_steps(const Graph *g, const Tensor *x)
{
    Session *s;
    Tensor y;
    Err err;
    int count = 0;
    assert_ok(session_new(g, &(SessionOptions){ .threads = 1, .int8 = INT8_NEVER }, &s, &err), &err);
    session_trace(s, count_floats, &count);
    assert_ok(session_run(s, x, &y, &err), &err);
    session_free(s);
    tensor_release(&y);
    return count;
}

/* In float32 a layer is at most a step off; `auto` gives what integers give or what float32 gives, nothing third. */
static void float_form_is_near(void **state)
{
    (void)state;
    int in_float = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const Row *r = &rows[i];
        if (r->plain || strcmp(r->op, "QLinearConv") != 0) continue;
        Graph *g = layer_graph(r);
        Tensor x = bytes(r->x_type != DT_NONE ? r->x_type : DT_UINT8, &graph_value(g, g->inputs[0])->shape, false);
        int kernels, floats;
        Tensor exact = run(g, &x, (SessionOptions){ .threads = 1 }, &kernels, &floats);
        Tensor near = run(g, &x, (SessionOptions){ .threads = 1, .int8 = INT8_NEVER }, &kernels, &floats);
        assert_int_equal(kernels, 0);
        Tensor chosen = run(g, &x, (SessionOptions){ .threads = 1, .int8 = INT8_AUTO }, NULL, NULL);
        Tensor shared = run(g, &x, (SessionOptions){ .threads = 2, .int8 = INT8_NEVER }, NULL, NULL);
        assert_near_bytes(r->name, &near, &exact);
        assert_same(r->name, &shared, &near);
        if (!equal_bytes(&chosen, &exact) && !equal_bytes(&chosen, &near)) fail_msg("%s: auto is neither", r->name);
        in_float += float_steps(g, &x);
        tensor_release(&exact);
        tensor_release(&near);
        tensor_release(&chosen);
        tensor_release(&shared);
        tensor_release(&x);
        graph_free(g);
    }
    if (getenv("ONEDNN_MAX_CPU_ISA") == NULL) assert_true(in_float > 0); /* an old instruction set may have no kernel */
}

/* What saturating kernels make of 64 products of the largest numbers. */
static void sums_do_not_saturate(void **state)
{
    (void)state;
    static const struct {
        DType x;
        double x_value, sum;
    } cases[] = { { DT_UINT8, 255, 2072640 }, { DT_INT8, 127, 1032256 } };
    for (int matrix = 0; matrix < 2; matrix++)
        for (size_t i = 0; i < 2; i++) {
            Row conv = { "", "ConvInteger", X(1, 64, 1, 1), W(1, 64, 1, 1), .fill = FILL_MOST, .x_type = cases[i].x };
            Row product = { "", "MatMulInteger", X(1, 64), W(64, 1), .fill = FILL_MOST, .x_type = cases[i].x };
            Graph *g = layer_graph(matrix ? &product : &conv);
            Tensor x;
            Err err;
            assert_ok(tensor_new(&x, cases[i].x, &graph_value(g, g->inputs[0])->shape, &err), &err);
            for (int64_t k = 0; k < 64; k++) tensor_set(&x, k, cases[i].x_value);
            Tensor y = run(g, &x, (SessionOptions){ .threads = 1 }, NULL, NULL);
            assert_near(tensor_get(&y, 0), cases[i].sum, 0);
            tensor_release(&x);
            tensor_release(&y);
            graph_free(g);
        }
}

/* --- groups, with scales of powers of two: sums and products are exact in float32 too, so both ways must agree in every tie */

typedef struct Group {
    const char *name, *chain; /* operators, "+Relu" behind the layer and so on */
    int kernels, floats;      /* expected of the plan */
    int zero;                 /* of the results */
    bool float_end;
} Group;

static const Group groups[] = {
    { "Conv", "Conv", 1, 0, 3, false },
    { "Conv, Relu", "Conv Relu", 1, 0, 40, false },
    { "Conv, Clip", "Conv Clip", 1, 0, 17, false },
    { "Conv, Clip, Relu", "Conv Clip Relu", 1, 0, 200, false },
    { "Conv, float", "Conv", 1, 1, 0, true },
    { "Conv, Conv", "Conv Q Conv", 2, 0, 9, false },
    { "Conv, Add", "Conv Q Add", 2, 0, 30, false },
    { "Conv, Add, Relu", "Conv Q Add Relu", 2, 0, 30, false },
    { "Conv, MaxPool", "Conv Q MaxPool", 1, 0, 5, false },
    { "Conv, AveragePool", "Conv Q AveragePool", 2, 0, 5, false },
    { "Conv, GlobalAveragePool", "Conv Q GlobalAveragePool", 2, 0, 99, false },
    { "Conv, Flatten, Gemm", "Conv Q Flatten Q Gemm", 2, 0, 5, false },
    { "Conv, Flatten, Gemm, float", "Conv Q Flatten Q Gemm", 2, 1, 5, true },
};

static ValueId quantize(Graph *g, ValueId v, ValueId scale, ValueId zero, int index, bool back)
{
    char name[32];
    snprintf(name, sizeof name, "q%d", index);
    v = build_node(g, "QuantizeLinear", name, v, scale, zero, -1);
    snprintf(name, sizeof name, "d%d", index);
    return back ? build_node(g, "DequantizeLinear", name, v, scale, zero, -1) : v;
}

static ValueId dequantized(Graph *g, const char *name, DType type, const int64_t *dims, int rank, int axis, double limit, int exponent)
{
    Tensor t;
    Err err;
    Shape shape = shape_of(rank, dims);
    double scales[64];
    char text[32];
    assert_ok(tensor_new(&t, type, &shape, &err), &err);
    for (int64_t i = 0; i < tensor_count(&t); i++) tensor_set(&t, i, rint(limit * build_noise(5 + (uint64_t)exponent, i)));
    ValueId q = graph_add_constant(g, str_of(name), &t);
    for (int64_t k = 0; k < dims[axis]; k++) scales[k] = ldexp(1, -exponent - (int)(k % 3));
    snprintf(text, sizeof text, "%s_scale", name);
    ValueId scale = build_constant(g, text, DT_FLOAT, scales, &dims[axis], 1);
    snprintf(text, sizeof text, "%s_float", name);
    ValueId v = build_node(g, "DequantizeLinear", text, q, scale, -1);
    assert_ok(graph_set_int(g, build_maker(g, v), "axis", axis, &err), &err);
    return v;
}

/* x (uint8) -> DequantizeLinear -> the chain -> QuantizeLinear; every tensor between operators has scale 1/8. */
static Graph *group_graph(const Group *r)
{
    Graph *g = build_new(17);
    Err err;
    ValueId scale = number(g, "scale", DT_FLOAT, 0.125), zero = number(g, "zero", DT_UINT8, r->zero);
    ValueId x = build_input(g, "x", DT_UINT8, DIMS(2, 8, 8, 8)), x_zero = number(g, "x_zero", DT_UINT8, 7);
    ValueId v = build_node(g, "DequantizeLinear", "dx", x, scale, x_zero, -1), first = v;
    char chain[64], name[32];
    snprintf(chain, sizeof chain, "%s", r->chain);
    int index = 0;
    for (char *save = NULL, *op = strtok_r(chain, " ", &save); op != NULL; op = strtok_r(NULL, " ", &save), index++) {
        snprintf(name, sizeof name, "n%d", index);
        char w[32], b[32];
        snprintf(w, sizeof w, "w%d", index);
        snprintf(b, sizeof b, "b%d", index);
        if (strcmp(op, "Q") == 0) {
            v = quantize(g, v, scale, zero, index, true);
        } else if (strcmp(op, "Conv") == 0) {
            ValueId k = dequantized(g, w, DT_INT8, DIMS(8, 8, 3, 3), 0, 100, 4), bias = dequantized(g, b, DT_INT32, DIMS(8), 0, 3000, 7);
            v = build_node(g, op, name, v, k, bias, -1);
            assert_ok(graph_set_ints(g, build_maker(g, v), "pads", (const int64_t[]){ 1, 1, 1, 1 }, 4, &err), &err);
        } else if (strcmp(op, "Gemm") == 0) {
            ValueId k = dequantized(g, w, DT_INT8, DIMS(10, 512), 0, 100, 4), bias = dequantized(g, b, DT_INT32, DIMS(10), 0, 90, 7);
            v = build_node(g, op, name, v, k, bias, -1);
            assert_ok(graph_set_int(g, build_maker(g, v), "transB", 1, &err), &err);
        } else if (strcmp(op, "Clip") == 0) {
            v = build_node(g, op, name, v, number(g, "low", DT_FLOAT, -3.3), number(g, "high", DT_FLOAT, 4.4), -1);
        } else if (strcmp(op, "Add") == 0) {
            v = build_node(g, op, name, v, first, -1);
        } else {
            v = build_node(g, op, name, v, -1);
        }
        if (strcmp(op, "MaxPool") == 0 || strcmp(op, "AveragePool") == 0) {
            assert_ok(graph_set_ints(g, build_maker(g, v), "kernel_shape", (const int64_t[]){ 2, 2 }, 2, &err), &err);
            assert_ok(graph_set_ints(g, build_maker(g, v), "strides", (const int64_t[]){ 2, 2 }, 2, &err), &err);
        }
    }
    build_output(g, r->float_end ? v : quantize(g, v, scale, zero, index, false));
    build_ready(g);
    return g;
}

static void groups_agree(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        Graph *g = group_graph(&groups[i]);
        Tensor x = bytes(DT_UINT8, &graph_value(g, g->inputs[0])->shape, false);
        Tensor want = run(g, &x, (SessionOptions){ .threads = 1, .plain = true }, NULL, NULL);
        for (int threads = 1; threads <= 2; threads++) {
            int kernels, floats;
            Tensor got = run(g, &x, (SessionOptions){ .threads = threads }, &kernels, &floats);
            if (kernels != groups[i].kernels || floats != groups[i].floats)
                fail_msg("%s: %d integer kernels, %d float tensors", groups[i].name, kernels, floats);
            assert_same(groups[i].name, &got, &want);
            tensor_release(&got);
        }
        tensor_release(&x);
        tensor_release(&want);
        graph_free(g);
    }
}

/* --- watched values are made, wherever in a group they lie */

typedef struct Seen {
    ValueId value;
    Tensor tensor;
} Seen;

static Status see(void *user, ValueId value, const Tensor *tensor, Err *err)
{
    Seen *seen = user;
    seen->value = value;
    tensor_release(&seen->tensor);
    return tensor_clone(tensor, &seen->tensor, err);
}

static void watched_values_are_seen(void **state)
{
    (void)state;
    Graph *g = group_graph(&groups[7]); /* Conv Q Add Relu */
    Tensor x = bytes(DT_UINT8, &graph_value(g, g->inputs[0])->shape, false), out[2][1];
    static const char *const names[] = { "dx", "n0", "q1", "d1", "n2", "n3", "q4" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        Seen seen[2] = { { 0 } };
        for (int plain = 0; plain < 2; plain++) {
            Session *s;
            Err err;
            assert_ok(session_new(g, &(SessionOptions){ .threads = 1, .plain = plain == 1 }, &s, &err), &err);
            ValueId v = graph_find_value(session_graph(s), str_of(names[i]));
            assert_ok(session_observe(s, &v, 1, see, &seen[plain], &err), &err);
            assert_ok(session_run(s, &x, out[plain], &err), &err);
            if (seen[plain].tensor.data == NULL) fail_msg("%s was not seen", names[i]);
            assert_int_equal(seen[plain].value, graph_find_value(g, str_of(names[i])));
            tensor_release(&out[plain][0]);
            assert_ok(session_observe(s, NULL, 0, NULL, NULL, &err), &err);
            assert_ok(session_run(s, &x, out[plain], &err), &err);
            session_free(s);
        }
        assert_same(names[i], &seen[0].tensor, &seen[1].tensor);
        assert_same(names[i], &out[0][0], &out[1][0]);
        for (int k = 0; k < 2; k++) {
            tensor_release(&seen[k].tensor);
            tensor_release(&out[k][0]);
        }
    }
    tensor_release(&x);
    graph_free(g);
}

/* --- the same under every instruction set that the processor has; oneDNN reads the cap once, so each in a process of its own */

static void instruction_sets(void **state)
{
    (void)state;
    static const char *const sets[] = { "SSE41", "AVX", "AVX2", "AVX512_CORE" };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        pid_t child;
        int status = 0;
        char name[] = "test_integers", *const argv[] = { name, NULL };
        assert_int_equal(setenv("ONEDNN_MAX_CPU_ISA", sets[i], 1), 0);
        assert_int_equal(posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        unsetenv("ONEDNN_MAX_CPU_ISA");
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fail_msg("capped at %s: status %d", sets[i], status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_are_exact),
        cmocka_unit_test(float_form_is_near),       cmocka_unit_test(sums_do_not_saturate), cmocka_unit_test(groups_agree),
        cmocka_unit_test(watched_values_are_seen), cmocka_unit_test(instruction_sets),
    };
    size_t count = sizeof tests / sizeof *tests;
    if (getenv("ONEDNN_MAX_CPU_ISA") == NULL) return cmocka_run_group_tests(tests, NULL, NULL);
    return _cmocka_run_group_tests("capped", tests, count - 1, NULL, NULL);
}
