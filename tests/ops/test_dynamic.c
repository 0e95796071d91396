/* Grids found while the network runs, and operators on bytes of other files: kernels against the plain forward, bit for bit.
 *   x -> DynamicQuantizeLinear -> ConvInteger -> Cast -> Mul -> Add -> Relu, once more, or parts of it;  QGemm;  QLinearAdd */
#include "test.h"

#include "build_graph.h"
#include "engine/session.h"

typedef struct Row {
    const char *name;
    int64_t x[4], w[4], pad, stride, dilation, group; /* 0: none, 1, 1, 1 */
    const char *behind; /* c: Cast, s S: Mul by a scale, by one per filter, b: Add, r: Relu, w: the Mul comes after the Add */
    bool most;          /* weights of 127 */
    bool twice, fed, is_signed, shifted; /* two layers; bytes and zero point are inputs; int8; weights have a zero point */
    int kernels;        /* steps of kernel rows "dynamic" that must be there */
} Row;

#define X(...) .x = { __VA_ARGS__ }
#define W(...) .w = { __VA_ARGS__ }

static const Row rows[] = {
    { "all of it", X(2, 16, 9, 8), W(16, 16, 3, 3), 1, .behind = "cSbr", .kernels = 2 },
    { "two layers", X(2, 16, 9, 8), W(16, 16, 3, 3), 1, .behind = "cSbr", .twice = true, .kernels = 4 },
    { "two layers of odd channels", X(1, 13, 9, 8), W(13, 13, 3, 3), 1, .behind = "csb", .twice = true, .kernels = 4 },
    { "one scale", X(1, 8, 7, 7), W(16, 8, 1, 1), .behind = "cs", .kernels = 2 },
    { "one channel", X(3, 1, 12, 12), W(20, 1, 5, 5), .behind = "cSb", .kernels = 2 },
    { "three channels", X(1, 3, 12, 12), W(16, 3, 3, 3), 1, 2, .behind = "cSbr", .kernels = 2 },
    { "three filters", X(1, 8, 6, 6), W(3, 8, 3, 3), .behind = "cSbr", .kernels = 2 },
    { "dilation", X(1, 8, 12, 12), W(8, 8, 3, 3), 2, 1, 2, .behind = "cSb", .kernels = 2 },
    { "depthwise", X(1, 16, 9, 9), W(16, 1, 3, 3), 1, .group = 16, .behind = "cSbr", .kernels = 2 },
    { "groups", X(2, 12, 6, 6), W(18, 4, 3, 3), 1, .group = 3, .behind = "cSbr", .kernels = 2 },
    { "no scale", X(1, 8, 6, 6), W(8, 8, 3, 3), .behind = "cbr", .kernels = 2 },
    { "Relu behind the Cast", X(1, 8, 6, 6), W(8, 8, 3, 3), .behind = "cr", .kernels = 2 },
    { "scale behind the bias", X(1, 8, 6, 6), W(8, 8, 3, 3), .behind = "cwr", .kernels = 2 },
    { "integers", X(2, 8, 7, 7), W(8, 8, 3, 3), 1, .kernels = 2 },
    { "Cast alone", X(2, 8, 7, 7), W(8, 8, 3, 3), 1, .behind = "c", .kernels = 2 },
    { "zero points of weights", X(1, 8, 7, 7), W(8, 8, 3, 3), 1, .behind = "cSb", .shifted = true, .kernels = 2 },
    { "uint8 fed", X(2, 8, 7, 7), W(8, 8, 3, 3), 1, .behind = "cSbr", .fed = true, .kernels = 1 },
    { "int8 fed", X(2, 8, 7, 7), W(8, 8, 3, 3), 1, .behind = "c", .fed = true, .is_signed = true, .kernels = 1 },
    { "large weights", X(1, 56, 6, 6), W(8, 56, 3, 3), 1, .behind = "cS", .most = true, .kernels = 2 },
    { "sums beyond 2^24", X(1, 64, 5, 5), W(3, 64, 3, 3), 1, .behind = "cS", .most = true, .kernels = 1 },
};

static ValueId integers(Graph *g, const char *name, DType type, const int64_t *dims, int rank, int64_t limit, bool most)
{
    Shape shape = shape_of(rank, dims);
    Tensor t;
    Err err;
    assert_ok(tensor_new(&t, type, &shape, &err), &err);
    for (int64_t i = 0; i < tensor_count(&t); i++) tensor_set_int(&t, i, most ? limit : (int64_t)((double)limit * build_noise(5, i)));
    ValueId v = graph_add_constant(g, str_of(name), &t);
    assert_true(v != 0);
    return v;
}

static ValueId named(Graph *g, const char *type, int layer, ValueId a, ValueId b)
{
    char name[32];
    snprintf(name, sizeof name, "%s%d", type, layer);
    return build_node(g, type, arena_str(g->arena, str_of(name)).data, (int)a, (int)b, -1);
}

static void set_pair(Graph *g, NodeId n, const char *name, int64_t value)
{
    Err err;
    if (value > 0) assert_ok(graph_set_ints(g, n, name, (int64_t[]){ value, value }, 2, &err), &err);
}

/* `x` float, or with row->fed bytes whose zero point is `zero`. */
static ValueId layer(Graph *g, const Row *r, int at, ValueId x, ValueId zero)
{
    Err err;
    char name[3][24];
    const char *const what[] = { "quantized", "scale", "zero" };
    ValueId q[3] = { x, 0, zero };
    for (int i = 0; i < 3; i++) snprintf(name[i], sizeof name[i], "%s%d", what[i], at);
    for (int i = 0; !r->fed && i < 3; i++) q[i] = graph_add_value(g, arena_str(g->arena, str_of(name[i])), DT_NONE, NULL);
    if (!r->fed) assert_true(graph_add_node(g, "DynamicQuantizeLinear", "", STR("range"), &x, 1, q, 3) != 0);
    snprintf(name[0], sizeof name[0], "w%d", at);
    ValueId w = integers(g, arena_str(g->arena, str_of(name[0])).data, DT_INT8, r->w, 4, r->shifted ? 60 : 127, r->most);
    int64_t filters = r->w[0];
    ValueId in[4] = { q[0], w, q[2], r->shifted ? integers(g, "wz", DT_INT8, &filters, 1, 50, false) : 0 }, out;
    snprintf(name[1], sizeof name[1], "sums%d", at);
    out = graph_add_value(g, arena_str(g->arena, str_of(name[1])), DT_NONE, NULL);
    NodeId conv = graph_add_node(g, "ConvInteger", "", STR("conv"), in, 4, &out, 1);
    assert_true(conv != 0);
    set_pair(g, conv, "strides", r->stride);
    set_pair(g, conv, "dilations", r->dilation);
    if (r->pad > 0) assert_ok(graph_set_ints(g, conv, "pads", (int64_t[]){ r->pad, r->pad, r->pad, r->pad }, 4, &err), &err);
    if (r->group > 0) assert_ok(graph_set_int(g, conv, "group", r->group, &err), &err);
    ValueId v = out, each = build_weight(g, at == 0 ? "each0" : "each1", 9, DIMS(filters, 1, 1));
    ValueId bias = build_weight(g, at == 0 ? "bias0" : "bias1", 8, DIMS(1, filters, 1, 1));
    ValueId half = build_constant(g, at == 0 ? "half0" : "half1", DT_FLOAT, (double[]){ 0.0078125 }, NULL, 0);
    ValueId scales = q[1] != 0 ? named(g, "Mul", at * 10, q[1], each) : each;
    for (const char *c = r->behind; c != NULL && *c != 0; c++) {
        int number = at * 10 + 1 + (int)(c - r->behind);
        if (*c == 'c') {
            v = build_node(g, "Cast", at == 0 ? "cast0" : "cast1", (int)v, -1);
            assert_ok(graph_set_int(g, build_maker(g, v), "to", DT_FLOAT, &err), &err);
        } else if (*c == 'w') {
            v = named(g, "Add", number, bias, v);
            v = named(g, "Mul", number, v, scales);
        } else if (*c == 'r') {
            v = build_node(g, "Relu", at == 0 ? "relu0" : "relu1", (int)v, -1);
        } else {
            v = *c == 'b' ? named(g, "Add", number, bias, v) : named(g, "Mul", number, v, *c == 'S' ? scales : half);
        }
    }
    return v;
}

static Graph *make(const Row *r)
{
    Graph *g = build_new(13);
    DType type = !r->fed ? DT_FLOAT : r->is_signed ? DT_INT8 : DT_UINT8;
    ValueId x = build_input(g, "x", type, r->x, 4), zero = r->fed ? build_input(g, "zero", type, NULL, 0) : 0;
    ValueId y = layer(g, r, 0, x, zero);
    build_output(g, r->twice ? layer(g, r, 1, y, 0) : y);
    build_ready(g);
    return g;
}

/* The first output of a run on noise; *kernels: how many steps rows of this name took. */
static Tensor run(const Graph *g, SessionOptions options, const char *name, int *kernels)
{
    Session *s;
    Tensor in[4] = { 0 }, out[4] = { 0 };
    ValueId feeds[4];
    Err err;
    int count = graph_feeds(g, feeds, 4);
    for (int i = 0; i < count; i++) {
        const Value *v = graph_value(g, feeds[i]);
        assert_ok(tensor_new(&in[i], v->type, &v->shape, &err), &err);
        for (int64_t k = 0; k < tensor_count(&in[i]); k++) {
            double noise = build_noise(31 + (uint64_t)i, k) + 0.25; /* the range is not symmetric */
            if (v->type == DT_FLOAT) tensor_set(&in[i], k, noise);
            else tensor_set_int(&in[i], k, (int64_t)floor(100 * noise) + (v->type == DT_UINT8 ? 125 : 0));
        }
    }
    assert_ok(session_new(g, &options, &s, &err), &err);
    assert_ok(session_run(s, in, out, &err), &err);
    *kernels = 0;
    for (int p = 0; p < PLAN_CACHE; p++)
        for (size_t i = 0; s->plans[p] != NULL && i < s->plans[p]->step_count; i++) {
            const Kernel *k = s->plans[p]->steps[i].kernel;
            *kernels += k != NULL && strncmp(k->name, name, strlen(name)) == 0;
        }
    session_free(s);
    for (int i = 0; i < count; i++) tensor_release(&in[i]);
    for (int i = 1; i < g->output_count; i++) tensor_release(&out[i]);
    return out[0];
}

static void assert_agrees(const Graph *g, const char *label, const char *kernel, int wanted)
{
    int found;
    Tensor want = run(g, (SessionOptions){ .threads = 1, .plain = true }, kernel, &found);
    if (found != 0) fail_msg("%s: %d kernels where plain ones were asked for", label, found);
    for (int threads = 1; threads <= 2; threads++) {
        Tensor got = run(g, (SessionOptions){ .threads = threads }, kernel, &found);
        if (found != wanted) fail_msg("%s: %d kernels '%s', expected %d", label, found, kernel, wanted);
        if (!shape_eq(&got.shape, &want.shape) || got.type != want.type) fail_msg("%s: another shape or type", label);
        for (int64_t i = 0; i < tensor_count(&want); i++)
            if (tensor_get(&got, i) != tensor_get(&want, i))
                fail_msg("%s: element %lld is %.9g, expected %.9g", label, (long long)i, tensor_get(&got, i), tensor_get(&want, i));
        tensor_release(&got);
    }
    tensor_release(&want);
}

static void convolutions_are_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Graph *g = make(&rows[i]);
        assert_agrees(g, rows[i].name, "dynamic", rows[i].kernels);
        graph_free(g);
    }
}

/* --- operators on bytes of com.microsoft */

typedef struct Gemm {
    const char *name;
    int64_t rows, depth, columns;
    DType type;
    bool turned, per_column, bias, y_zero, quantized, column_bias; /* column_bias: [rows, 1], no bias of a row */
    float alpha; /* 0: 1 */
    int kernels;
} Gemm;

static const Gemm gemms[] = {
    { "plain", 5, 84, 10, DT_UINT8, .quantized = true, .y_zero = true, .kernels = 1 },
    { "turned", 5, 84, 10, DT_UINT8, true, true, true, true, true, .kernels = 1 },
    { "int8", 3, 40, 17, DT_INT8, true, false, true, true, true, .kernels = 1 },
    { "float result", 3, 40, 17, DT_UINT8, true, true, true, true, false, .kernels = 1 },
    { "no zero point of the result", 3, 40, 17, DT_UINT8, true, true, true, false, true, .kernels = 1 },
    { "alpha", 3, 40, 17, DT_UINT8, true, true, true, true, true, .alpha = 0.5F, .kernels = 0 },
    { "a bias of each row", 3, 40, 17, DT_UINT8, true, true, true, true, true, true, .kernels = 0 },
};

static Graph *gemm_graph(const Gemm *r)
{
    Graph *g = build_new(13);
    Err err;
    assert_ok(graph_set_opset(g, STR("com.microsoft"), 1, &err), &err);
    int64_t b[] = { r->turned ? r->columns : r->depth, r->turned ? r->depth : r->columns }, list = r->per_column ? r->columns : 1;
    double scales[32], zero = r->type == DT_INT8 ? -3 : 121;
    for (int64_t i = 0; i < list; i++) scales[i] = 0.004 + 0.001 * (double)(i % 5);
    ValueId in[9] = { build_input(g, "x", r->type, DIMS(r->rows, r->depth)) };
    in[1] = build_constant(g, "xs", DT_FLOAT, (double[]){ 0.02 }, NULL, 0);
    in[2] = build_constant(g, "xz", r->type, &zero, NULL, 0);
    in[3] = integers(g, "w", DT_INT8, b, 2, 127, false);
    in[4] = build_constant(g, "ws", DT_FLOAT, scales, &list, r->per_column ? 1 : 0);
    in[5] = integers(g, "wz", DT_INT8, &list, r->per_column ? 1 : 0, 0, true);
    int64_t bias[] = { r->rows, 1 };
    if (r->bias && r->column_bias) in[6] = integers(g, "c", DT_INT32, bias, 2, 9000, false);
    else if (r->bias) in[6] = integers(g, "c", DT_INT32, &r->columns, 1, 9000, false);
    if (r->quantized) in[7] = build_constant(g, "ys", DT_FLOAT, (double[]){ 0.07 }, NULL, 0);
    if (r->quantized && r->y_zero) in[8] = build_constant(g, "yz", r->type, &zero, NULL, 0);
    ValueId y = graph_add_value(g, STR("y"), DT_NONE, NULL);
    NodeId n = graph_add_node(g, "QGemm", "com.microsoft", STR("gemm"), in, 9, &y, 1);
    assert_true(n != 0);
    assert_ok(graph_set_int(g, n, "transB", r->turned, &err), &err);
    if (r->alpha != 0) assert_ok(graph_set_float(g, n, "alpha", r->alpha, &err), &err);
    build_output(g, y);
    build_ready(g);
    return g;
}

static void byte_products_are_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof gemms / sizeof *gemms; i++) {
        Graph *g = gemm_graph(&gemms[i]);
        assert_agrees(g, gemms[i].name, "integer", gemms[i].kernels);
        graph_free(g);
    }
}

/* Scales of powers of two and windows of four: the plain forward, in float32, meets the same ties. */
static void byte_averages_are_exact(void **state)
{
    (void)state;
    for (int form = 0; form < 3; form++) { /* windows, everything, and channels last, which stays with the plain forward */
        Graph *g = build_new(13);
        Err err;
        bool global = form == 1, last = form == 2;
        assert_ok(graph_set_opset(g, STR("com.microsoft"), 1, &err), &err);
        ValueId in[5] = { build_input(g, "x", DT_UINT8, DIMS(2, 21, 8, 8)) };
        in[1] = build_constant(g, "xs", DT_FLOAT, (double[]){ 0.25 }, NULL, 0);
        in[2] = build_constant(g, "xz", DT_UINT8, (double[]){ 117 }, NULL, 0);
        in[3] = build_constant(g, "ys", DT_FLOAT, (double[]){ 0.125 }, NULL, 0);
        in[4] = build_constant(g, "yz", DT_UINT8, (double[]){ 99 }, NULL, 0);
        ValueId y = graph_add_value(g, STR("y"), DT_NONE, NULL);
        const char *type = global ? "QLinearGlobalAveragePool" : "QLinearAveragePool";
        NodeId n = graph_add_node(g, type, "com.microsoft", STR("mean"), in, 5, &y, 1);
        assert_true(n != 0);
        if (!global) assert_ok(graph_set_ints(g, n, "kernel_shape", (const int64_t[]){ 2, 2 }, 2, &err), &err);
        if (last) assert_ok(graph_set_int(g, n, "channels_last", 1, &err), &err);
        build_output(g, y);
        build_ready(g);
        assert_agrees(g, global ? "everything" : last ? "channels last" : "windows", "integer", last ? 0 : 1);
        graph_free(g);
    }
}

static void byte_additions_are_exact(void **state)
{
    (void)state;
    for (int wide = 0; wide < 2; wide++) { /* the second operand of one channel: spread, by the plain forward */
        Graph *g = build_new(13);
        Err err;
        assert_ok(graph_set_opset(g, STR("com.microsoft"), 1, &err), &err);
        ValueId in[8] = { build_input(g, "a", DT_UINT8, DIMS(2, 5, 7, 3)) };
        in[1] = build_constant(g, "as", DT_FLOAT, (double[]){ 0.031 }, NULL, 0);
        in[2] = build_constant(g, "az", DT_UINT8, (double[]){ 117 }, NULL, 0);
        in[3] = build_input(g, "b", DT_UINT8, DIMS(2, wide ? 1 : 5, 7, 3));
        in[4] = build_constant(g, "bs", DT_FLOAT, (double[]){ 0.0173 }, NULL, 0);
        in[6] = build_constant(g, "ys", DT_FLOAT, (double[]){ 0.0412 }, NULL, 0);
        in[7] = build_constant(g, "yz", DT_UINT8, (double[]){ 99 }, NULL, 0);
        ValueId y = graph_add_value(g, STR("y"), DT_NONE, NULL);
        assert_true(graph_add_node(g, "QLinearAdd", "com.microsoft", STR("add"), in, 8, &y, 1) != 0);
        build_output(g, y);
        build_ready(g);
        assert_agrees(g, wide ? "spread" : "alike", "integer", wide ? 0 : 1);
        graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_are_exact),
        cmocka_unit_test(byte_products_are_exact),
        cmocka_unit_test(byte_averages_are_exact),
        cmocka_unit_test(byte_additions_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
