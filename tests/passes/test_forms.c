#include "test.h"

#include "build_graph.h"
#include "graph/opset.h"
#include "quantize/form_dynamic.h"
#include "quantize/form_qoperator.h"
#include "quantize/grid.h"

/* Rows of integers that nothing but this file made: q runs through its range, scales are halves. */
typedef struct FormRow {
    const char *name;
    Graph *(*make)(void);
    WeightSpec spec;
    const char *op;      /* to be found afterwards */
    double tolerance;    /* of the outputs; activations on 8 bits cost some */
} FormRow;

static Graph *new_graph(void) { return build_new(21); }

static Graph *product(void)
{
    Graph *g = new_graph();
    build_output(g, build_node(g, "MatMul", "y", build_input(g, "x", DT_FLOAT, DIMS(3, 40)), build_weight(g, "w", 1, DIMS(40, 6)), -1));
    return g;
}

static Graph *gemm(void)
{
    Err err;
    Graph *g = new_graph();
    ValueId y = build_node(g, "Gemm", "y", build_input(g, "x", DT_FLOAT, DIMS(3, 40)), build_weight(g, "w", 1, DIMS(6, 40)),
                           build_weight(g, "b", 2, DIMS(6)), -1);
    assert_ok(graph_set_int(g, build_maker(g, y), "transB", 1, &err), &err);
    assert_ok(graph_set_float(g, build_maker(g, y), "alpha", -0.5f, &err), &err);
    assert_ok(graph_set_float(g, build_maker(g, y), "beta", 3.0f, &err), &err);
    build_output(g, y);
    return g;
}

static Graph *conv(void)
{
    Err err;
    Graph *g = new_graph();
    ValueId y = build_node(g, "Conv", "y", build_input(g, "x", DT_FLOAT, DIMS(1, 8, 5, 4)), build_weight(g, "w", 1, DIMS(6, 4, 3, 2)),
                           build_weight(g, "b", 2, DIMS(6)), -1);
    assert_ok(graph_set_int(g, build_maker(g, y), "group", 2, &err), &err);
    build_output(g, y);
    return g;
}

static Graph *transposed(void)
{
    Err err;
    Graph *g = new_graph();
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(1, 8, 5, 4));
    ValueId y = build_node(g, "ConvTranspose", "y", x, build_weight(g, "w", 1, DIMS(8, 3, 3, 2)), -1);
    assert_ok(graph_set_int(g, build_maker(g, y), "group", 2, &err), &err);
    build_output(g, y);
    return g;
}

static const FormRow rows[] = {
    { "product, int8 by channel", product, { .bits = 8, .symmetric = true }, "DequantizeLinear", 1e-5 },
    { "product, uint8 around 128", product, { .bits = 8, .symmetric = true, .shifted = true }, "DequantizeLinear", 1e-5 },
    { "product, int4 in blocks", product, { .bits = 4, .symmetric = true, .block = 16 }, "DequantizeLinear", 1e-5 },
    { "product, uint4 in blocks with a short one", product, { .bits = 4, .block = 32 }, "DequantizeLinear", 1e-5 },
    { "product, one scale", product, { .bits = 3, .symmetric = true, .block = -1 }, "DequantizeLinear", 1e-5 },
    { "Gemm with alpha and beta", gemm, { .bits = 8, .symmetric = true }, "DequantizeLinear", 1e-5 },
    { "Gemm in blocks", gemm, { .bits = 2, .symmetric = true, .block = 16 }, "DequantizeLinear", 1e-5 },
    { "Conv by channel", conv, { .bits = 5 }, "DequantizeLinear", 1e-5 },
    { "Conv in blocks", conv, { .bits = 4, .symmetric = true, .block = 8 }, "Reshape", 1e-5 },
    { "ConvTranspose with groups", transposed, { .bits = 4, .symmetric = true }, "Transpose", 1e-5 },
    { "MatMulNBits", product, { WEIGHT_NBITS, .bits = 4, .symmetric = true, .block = 32 }, "MatMulNBits", 1e-5 },
    { "MatMulNBits, one scale for a row", product, { WEIGHT_NBITS, .bits = 3 }, "MatMulNBits", 1e-5 },
    { "MatMulNBits of a Gemm", gemm, { WEIGHT_NBITS, .bits = 2, .block = 16 }, "MatMulNBits", 1e-5 },
    { "MatMulInteger", product, { WEIGHT_DYNAMIC, .bits = 8, .symmetric = true }, "MatMulInteger", 0.02 },
    { "MatMulInteger, zero points", product, { WEIGHT_DYNAMIC, .bits = 8 }, "MatMulInteger", 0.02 },
    { "MatMulInteger of a Gemm", gemm, { WEIGHT_DYNAMIC, .bits = 8, .symmetric = true, .shifted = true }, "MatMulInteger", 0.02 },
    { "ConvInteger", conv, { WEIGHT_DYNAMIC, .bits = 8, .symmetric = true }, "ConvInteger", 0.02 },
    { "ConvInteger, one zero point", conv, { WEIGHT_DYNAMIC, .bits = 8, .block = -1 }, "ConvInteger", 0.02 },
};

static LayerForm form_of(const Graph *g)
{
    Err err;
    Layer *layers;
    int count;
    LayerForm f;
    const char *why = "";
    assert_ok(layers_find(g, &layers, &count, &err), &err);
    assert_int_equal(count, 1);
    if (!layer_form(g, &layers[0], &f, &why)) fail_msg("%s", why);
    free(layers);
    return f;
}

/* Integers that use every value of the range, and the floats they stand for. */
static Rounded make_rounded(const LayerForm *f, const WeightSpec *s, double *w)
{
    Rounded r = { .rows = form_outputs(f), .width = f->width, .blocks = 1 };
    if (s->block > 0 && s->block < f->width) r.blocks = (f->width + s->block - 1) / s->block;
    r.q = malloc(sizeof *r.q * (size_t)(r.rows * r.width));
    r.scales = malloc(sizeof *r.scales * (size_t)(r.rows * r.blocks));
    r.zeros = malloc(sizeof *r.zeros * (size_t)(r.rows * r.blocks));
    assert_true(r.q != NULL && r.scales != NULL && r.zeros != NULL);
    int low = s->symmetric ? -(1 << (s->bits - 1)) : 0, span = 1 << s->bits;
    for (int64_t i = 0; i < r.rows * r.blocks; i++) {
        r.scales[i] = s->block < 0 ? 0.5f : 0.25f * (float)(1 + i % 4);
        r.zeros[i] = (int16_t)(s->symmetric ? 0 : s->block < 0 ? span / 2 : (5 * i + 1) % span);
    }
    for (int64_t i = 0; i < r.rows; i++)
        for (int64_t k = 0; k < r.width; k++) {
            int64_t at = i * r.width + k, b = i * r.blocks + (r.blocks > 1 ? k / s->block : 0);
            r.q[at] = (int16_t)(low + (7 * at + at / 3) % span);
            w[at] = (double)r.scales[b] * (r.q[at] - r.zeros[b]);
        }
    return r;
}

static void form_row(void **state)
{
    const FormRow *row = *state;
    Err err;
    Graph *g = row->make(), *reference;
    build_ready(g);
    LayerForm f = form_of(g);
    double *w = malloc(sizeof *w * (size_t)form_weights(&f));
    assert_non_null(w);
    Rounded r = make_rounded(&f, &row->spec, w);
    assert_ok(graph_clone(g, &reference, &err), &err);
    assert_ok(layer_write_weights(reference, &f, w, &err), &err);
    StoredWeight stored;
    assert_true(form_weight_opset(&f, &row->spec) <= 21);
    assert_ok(form_weight_store(g, &f, &r, &row->spec, &stored, &err), &err);
    assert_ok(form_weight_attach(g, &f, &stored, &err), &err);
    graph_remove_dead(g, NULL);
    build_ready(g);
    assert_true(build_count(g, row->op) > 0);
    Tensor got = build_run(g, 1, 2.0, true), want = build_run(reference, 1, 2.0, true);
    assert_true(shape_eq(&got.shape, &want.shape));
    assert_near(build_distance(&got, &want), 0.0, row->tolerance);
    tensor_release(&got);
    tensor_release(&want);
    free(w);
    free(r.q);
    free(r.scales);
    free(r.zeros);
    graph_free(g);
    graph_free(reference);
}

/* What a form cannot hold is told, before anything is changed. */
static void refusals(void **state)
{
    (void)state;
    static const struct {
        Graph *(*make)(void);
        WeightSpec spec;
        const char *says;
    } wrong[] = {
        { conv, { WEIGHT_NBITS, .bits = 4, .symmetric = true, .block = 32 }, "product of matrices" },
        { product, { WEIGHT_NBITS, .bits = 4, .symmetric = true, .block = 24 }, "multiple of 16" },
        { product, { WEIGHT_DYNAMIC, .bits = 8, .symmetric = true, .block = 16 }, "not blocks" },
        { conv, { WEIGHT_DYNAMIC, .bits = 8 }, "one zero point" },
        { transposed, { WEIGHT_DYNAMIC, .bits = 8, .symmetric = true }, "no operator" },
        { product, { WEIGHT_QDQ, .bits = 9, .symmetric = true }, "2 to 8 bits" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        Err err;
        const char *why = NULL;
        Graph *g = wrong[i].make();
        build_ready(g);
        LayerForm f = form_of(g);
        uint32_t values = g->value_count;
        StoredWeight stored;
        Rounded none = { 0 };
        assert_false(form_weight_fits(g, &f, &wrong[i].spec, &why));
        assert_non_null(strstr(why, wrong[i].says));
        assert_status(form_weight_store(g, &f, &none, &wrong[i].spec, &stored, &err), ERR_UNSUPPORTED, &err);
        assert_non_null(strstr(err.text, "'y'"));
        assert_int_equal(g->value_count, values);
        graph_free(g);
    }
}

/* A table read by rows and as a product: one constant. */
static void tied(void **state)
{
    (void)state;
    Err err;
    const char *why = "";
    WeightFormat formats[] = { WEIGHT_QDQ, WEIGHT_NBITS };
    for (int i = 0; i < 2; i++) {
        Graph *g = build_new(13), *reference;
        ValueId w = build_weight(g, "w", 1, DIMS(9, 40));
        ValueId e = build_node(g, "Gather", "e", w, build_constant(g, "at", DT_INT64, (double[]){ 3, -1, 8 }, DIMS(3)), -1);
        ValueId y = build_node(g, "Gemm", "y", build_node(g, "Add", "sum", e, build_input(g, "x", DT_FLOAT, DIMS(3, 40)), -1), w, -1);
        assert_ok(graph_set_int(g, build_maker(g, y), "transB", 1, &err), &err);
        build_output(g, y);
        build_ready(g);
        LayerForm head = form_of(g), table;
        if (!form_of_table(g, build_maker(g, e), &table, &why)) fail_msg("%s", why);
        WeightSpec spec = { formats[i], .bits = 8, .symmetric = true };
        double values[9 * 40];
        Rounded r = make_rounded(&head, &spec, values);
        assert_ok(graph_clone(g, &reference, &err), &err);
        assert_ok(layer_write_weights(reference, &head, values, &err), &err);
        StoredWeight stored;
        assert_ok(form_weight_store(g, &head, &r, &spec, &stored, &err), &err);
        assert_ok(form_weight_attach(g, &head, &stored, &err), &err);
        assert_ok(form_weight_attach(g, &table, &stored, &err), &err);
        graph_remove_dead(g, NULL);
        build_ready(g);
        Tensor got = build_run(g, 1, 2.0, true), want = build_run(reference, 1, 2.0, true);
        assert_near(build_distance(&got, &want), 0.0, 1e-5);
        int large = 0;
        for (ValueId v = 1; v <= g->value_count; v++) {
            const Tensor *t = graph_value(g, v)->tensor;
            large += t != NULL && graph_readers(g, v) > 0 && t->bytes >= 9 * 40;
        }
        assert_int_equal(large, 1);
        tensor_release(&got);
        tensor_release(&want);
        free(r.q);
        free(r.scales);
        free(r.zeros);
        graph_free(g);
        graph_free(reference);
    }
}

/* ---- QOperator ---- */

static ValueId grid(Graph *g, const char *name, double scale, double zero, ValueId *z)
{
    char text[64];
    snprintf(text, sizeof text, "%s_zero", name);
    *z = build_constant(g, text, DT_UINT8, &zero, NULL, 0);
    snprintf(text, sizeof text, "%s_scale", name);
    return build_constant(g, text, DT_FLOAT, &scale, NULL, 0);
}

static ValueId through(Graph *g, const char *name, ValueId v, double scale, double zero)
{
    char q[64], d[64];
    ValueId z, s = grid(g, name, scale, zero, &z);
    snprintf(q, sizeof q, "%s_q", name);
    snprintf(d, sizeof d, "%s_d", name);
    return build_node(g, "DequantizeLinear", d, build_node(g, "QuantizeLinear", q, v, s, z, -1), s, z, -1);
}

/* Conv -> pool -> Add -> Tanh: all but the last in integers, and the last is named. */
static void qoperator(void **state)
{
    (void)state;
    Err err;
    Graph *g = build_new(13), *before;
    double q[6 * 8 * 4], scales[6], bias[6], bias_scales[6];
    for (int i = 0; i < 6 * 8 * 4; i++) q[i] = i * 37 % 101 - 50;
    for (int i = 0; i < 6; i++) {
        scales[i] = 0.01 * (i + 1);
        bias[i] = 100 * i - 250;
        bias_scales[i] = (double)((float)scales[i] * 0.02f);
    }
    ValueId x = through(g, "x", build_input(g, "x", DT_FLOAT, DIMS(1, 8, 6, 6)), 0.02, 117);
    NodeId n;
    ValueId w = build_node(g, "DequantizeLinear", "w_d", build_constant(g, "w", DT_INT8, q, DIMS(6, 8, 2, 2)),
                           build_constant(g, "ws", DT_FLOAT, scales, DIMS(6)), -1);
    assert_ok(graph_set_int(g, build_maker(g, w), "axis", 0, &err), &err);
    ValueId b = build_node(g, "DequantizeLinear", "b_d", build_constant(g, "b", DT_INT32, bias, DIMS(6)),
                           build_constant(g, "bs", DT_FLOAT, bias_scales, DIMS(6)), -1);
    assert_ok(graph_set_int(g, build_maker(g, b), "axis", 0, &err), &err);
    ValueId c = through(g, "c", build_node(g, "Relu", "relu", build_node(g, "Conv", "conv", x, w, b, -1), -1), 0.05, 0);
    ValueId m = build_node(g, "MaxPool", "m", c, -1);
    n = build_maker(g, m);
    assert_ok(graph_set_ints(g, n, "kernel_shape", (int64_t[]){ 2, 2 }, 2, &err), &err);
    m = through(g, "m2", m, 0.05, 0);
    ValueId a = through(g, "a", build_node(g, "Add", "sum", m, m, -1), 0.1, 3);
    build_output(g, build_node(g, "Tanh", "y", a, -1));
    build_ready(g);
    assert_ok(graph_clone(g, &before, &err), &err);
    PassRecord record = { 0 };
    int converted = 0;
    assert_ok(form_qoperator(g, &record, &converted, &err), &err);
    assert_int_equal(converted, 3);
    assert_int_equal(record.count, 1);
    assert_string_equal(record.entries[0].object, "y");
    record_release(&record);
    graph_remove_dead(g, NULL);
    build_ready(g);
    assert_int_equal(build_count(g, "QLinearConv"), 1);
    assert_int_equal(build_count(g, "QLinearAdd"), 1);
    assert_int_equal(build_count(g, "MaxPool"), 1);
    assert_int_equal(build_count(g, "Relu"), 0);
    assert_int_equal(build_count(g, "QuantizeLinear"), 1);
    assert_int_equal(build_count(g, "DequantizeLinear"), 1);
    Tensor got = build_run(g, 1, 2.0, true), want = build_run(before, 1, 2.0, true);
    assert_near(build_distance(&got, &want), 0.0, 0.01); /* a tie may fall to the neighbouring byte */
    tensor_release(&got);
    tensor_release(&want);
    graph_free(g);
    graph_free(before);
}

/* Types, symmetry and 7 bits: real = (q - zero) scale holds the range's ends to half a step, and 0 exactly. */
static void grids(void **state)
{
    (void)state;
    static const struct {
        double low, high;
        DType type;
        bool symmetric, reduced;
        int zero, qmin, qmax;
    } cases[] = {
        { -1.0, 3.0, DT_UINT8, false, false, 64, 0, 255 }, { -1.0, 3.0, DT_INT8, false, false, -64, -128, 127 },
        { -1.0, 3.0, DT_INT8, true, false, 0, -127, 127 }, { -1.0, 3.0, DT_UINT8, true, false, 128, 0, 255 },
        { -1.0, 3.0, DT_UINT8, false, true, 32, 0, 127 },  { -1.0, 3.0, DT_INT8, false, true, -32, -64, 64 },
        { 2.0, 3.0, DT_UINT8, false, false, 0, 0, 255 },   { 0.0, 0.0, DT_INT8, true, false, 0, -127, 127 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Grid g = grid_make(cases[i].low, cases[i].high, cases[i].type, cases[i].symmetric, cases[i].reduced);
        assert_int_equal(g.zero, cases[i].zero);
        assert_int_equal(g.qmin, cases[i].qmin);
        assert_int_equal(g.qmax, cases[i].qmax);
        assert_true(g.scale > 0.0f && grid_low(g) <= fmin(cases[i].low, 0.0) + (double)g.scale / 2 + 1e-6);
        assert_true(grid_high(g) >= cases[i].high - (double)g.scale / 2 - 1e-6);
    }
    Grid same = grid_activation(-1.0, 3.0), old = { .scale = same.scale, .zero = same.zero };
    assert_near(grid_high(old), grid_high(same), 0.0);
    assert_near(grid_low(old), grid_low(same), 0.0);
}

int main(void)
{
    enum { ROWS = sizeof rows / sizeof *rows };
    struct CMUnitTest tests[ROWS + 4];
    for (size_t i = 0; i < ROWS; i++)
        tests[i] = (struct CMUnitTest){ .name = rows[i].name, .test_func = form_row, .initial_state = (void *)(uintptr_t)&rows[i] };
    tests[ROWS] = (struct CMUnitTest)cmocka_unit_test(refusals);
    tests[ROWS + 1] = (struct CMUnitTest)cmocka_unit_test(tied);
    tests[ROWS + 2] = (struct CMUnitTest)cmocka_unit_test(qoperator);
    tests[ROWS + 3] = (struct CMUnitTest)cmocka_unit_test(grids);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
