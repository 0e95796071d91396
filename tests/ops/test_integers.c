/* Integer layers: the kernels against the plain integer forward, bit for bit, over shapes, weights that saturate, and instruction sets. */
#include "integers.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_are_exact),
        cmocka_unit_test(float_form_is_near),
        cmocka_unit_test(sums_do_not_saturate),
        cmocka_unit_test(instruction_sets),
    };
    return run_integer_tests(tests, sizeof tests / sizeof *tests);
}
