#include "test.h"

#include "quantize/grid.h"
#include "quantize/rounding.h"
#include "quantize_net.h"
#include "safe_pairs.h"

/* Structure does not depend on what the repairs find worth keeping. */
static const char *const bare[] = { "repairs=none", "calibration=minmax", NULL };
static const char *const bare_outputs[] = { "repairs=none", "calibration=minmax", "outputs=true", NULL };

/* ---- scales and zero points, in closed form ---- */

static void activation_grids(void **state)
{
    (void)state;
    static const struct {
        double low, high, scale;
        int zero;
    } rows[] = {
        { 0.0, 255.0, 1.0, 0 },       { -1.0, 1.0, 2.0 / 255, 128 }, /* 127.5 to even */
        { 2.0, 5.1, 5.1 / 255, 0 },   { -5.1, -2.0, 5.1 / 255, 255 },
        { -1.0, 254.0, 1.0, 1 },      { 0.0, 0.0, 1e-4 / 255, 0 },
        { 3.0, 3.0, 3.0 / 255, 0 },   { 0.0, 1e-39, 1.0, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Grid g = grid_activation(rows[i].low, rows[i].high);
        assert_near(g.scale, rows[i].scale, rows[i].scale * 1e-7);
        assert_int_equal(g.zero, rows[i].zero);
        assert_true(grid_low(g) <= 0.0 && grid_high(g) >= 0.0);
    }
}

/* ---- pairs ---- */

typedef struct PairRow {
    const char *name;
    int64_t shape[4];
    int rank;
    int64_t groups;       /* 0: a matrix with output axis 0 */
    double values[12];    /* of the first output */
    bool broken; /* by plain rounding */
} PairRow;

static const PairRow pair_rows[] = {
    { "two large of one sign", { 1, 2, 1, 1 }, 4, 1, { 1.0, 1.0 }, true },
    { "two large of opposite signs", { 1, 2, 1, 1 }, 4, 1, { 1.0, -1.0 }, false },
    { "large beside nothing", { 1, 2, 1, 1 }, 4, 1, { 1.0, 0.0 }, false },
    { "large beside one step", { 1, 2, 1, 1 }, 4, 1, { 127.0, 1.0 }, false },
    { "large beside two steps", { 1, 2, 1, 1 }, 4, 1, { 127.0, 2.0 }, true },
    { "negative", { 1, 2, 1, 1 }, 4, 1, { -1.0, -0.5 }, true },
    { "not a pair: elements 1 and 2", { 1, 4, 1, 1 }, 4, 1, { 0.0, 1.0, 1.0, 0.0 }, false },
    { "taps of one channel", { 1, 1, 1, 2 }, 4, 2, { 1.0, 1.0 }, true },
    { "depthwise", { 1, 1, 1, 2 }, 4, 1, { 1.0, 1.0 }, false },
    /* three channels, two taps: stored c-major, so tap 0 is values 0, 2, 4 and tap 1 is 1, 3, 5 */
    { "odd channels, across taps", { 1, 3, 1, 2 }, 4, 1, { 0.0, 1.0, 0.0, 0.0, 1.0, 0.0 }, true },
    { "odd channels, within the second tap", { 1, 3, 1, 2 }, 4, 1, { 0.0, 1.0, 0.0, 1.0, 0.0, 0.0 }, true },
    { "odd channels, no pair", { 1, 3, 1, 2 }, 4, 1, { 0.0, 0.0, 1.0, 0.0, 0.0, 1.0 }, false },
    { "matrix row", { 1, 4 }, 2, 0, { 0.0, 0.0, -3.0, -2.0 }, true },
};

static Rows rows_for(const PairRow *p)
{
    Shape shape = shape_of(p->rank, p->shape);
    return p->groups == 0 ? rows_of_matrix(&shape, 0) : rows_of_conv(&shape, p->groups);
}

/* Plain rounding of such a row breaks the rule or does not; with the rule it never does. */
static void safe_pairs(void **state)
{
    const PairRow *p = *state;
    Rows r = rows_for(p);
    int8_t q[12];
    int32_t partner[24];
    int64_t length = r.taps * r.channels;
    double peak = 0.0;
    for (int64_t i = 0; i < length; i++) peak = fmax(peak, fabs(p->values[i]));
    rows_partners(&r, partner);
    for (int rule = 0; rule < (r.pairs ? 2 : 1); rule++) {
        RoundSpec spec = { .bits = 8, .symmetric = true, .restricted = true, .partner = rule ? partner : NULL, .clips = 1 };
        Rounded made;
        Err err;
        assert_ok(round_matrix(&spec, 1, length, p->values, NULL, NULL, 1, &made, &err), &err);
        for (int64_t i = 0; i < length; i++) q[i] = (int8_t)made.q[rows_column(&r, i)];
        assert_int_equal(!r.pairs || pairs_safe(&r, q), rule || !p->broken);
        if (!rule) assert_near(made.scales[0], peak / 127.0, peak * 1e-7);
        rounded_release(&made);
    }
}

static void scale_follows_the_bias(void **state)
{
    (void)state;
    static const struct { double row[4], least, scale; int first; } rows[] = {
        { { 1, 0, 0, 0 }, 0.5, 0.5, 2 }, { { 1, 0, 0, 0 }, 0.0, 1.0 / 127, 127 }, { { 0, 0, 0, 0 }, 0.25, 1.0, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        RoundSpec spec = { .bits = 8, .symmetric = true, .restricted = true, .clips = 1, .least = &rows[i].least };
        Rounded made;
        Err err;
        assert_ok(round_matrix(&spec, 1, 4, rows[i].row, NULL, NULL, 1, &made, &err), &err);
        assert_near(made.scales[0], rows[i].scale, 1e-9);
        assert_int_equal(made.q[0], rows[i].first);
        rounded_release(&made);
    }
}

/* ---- whole networks ---- */

/* Channel padding and striding of a shortcut, as CIFAR residual networks have them. */
static Graph *padded_shortcut(void)
{
    Graph *g = build_new(13);
    Err err;
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 4, 8, 8));
    ValueId a = build_node(g, "Relu", "a_r", conv(g, "a", x, 10, 4, 4, 1, true), -1);
    ValueId starts = build_constant(g, "starts", DT_INT64, (double[]){ 0, 0 }, DIMS(2));
    ValueId ends = build_constant(g, "ends", DT_INT64, (double[]){ 8, 8 }, DIMS(2));
    ValueId axes = build_constant(g, "axes", DT_INT64, (double[]){ 2, 3 }, DIMS(2));
    ValueId steps = build_constant(g, "steps", DT_INT64, (double[]){ 2, 2 }, DIMS(2));
    ValueId cut = build_node(g, "Slice", "cut", a, starts, ends, axes, steps, -1);
    ValueId pads = build_constant(g, "pads", DT_INT64, (double[]){ 0, 2, 0, 0, 0, 2, 0, 0 }, DIMS(8));
    ValueId wide = build_node(g, "Pad", "wide", cut, pads, -1);
    ValueId b = conv(g, "b", a, 12, 8, 4, 1, true);
    assert_ok(graph_set_ints(g, build_maker(g, b), "strides", (int64_t[]){ 2, 2 }, 2, &err), &err);
    build_output(g, head(g, build_node(g, "Relu", "sum_r", build_node(g, "Add", "sum", b, wide, -1), -1), 8));
    return g;
}

static Graph *output_conv(void)
{
    Graph *g = build_new(13);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 4, 8, 8));
    build_output(g, conv(g, "last", build_node(g, "Relu", "r", conv(g, "first", x, 10, 4, 4, 1, true), -1), 12, 2, 4, 1, true));
    return g;
}

/* Clip to [0.5, 2]: the ends of a grid hold 0, so the Clip has to stay. */
static Graph *clip_above_zero(void)
{
    Graph *g = build_new(13);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 4, 8, 8));
    ValueId low = build_constant(g, "low", DT_FLOAT, (double[]){ 0.5 }, NULL, 0);
    ValueId high = build_constant(g, "high", DT_FLOAT, (double[]){ 2.0 }, NULL, 0);
    ValueId a = build_node(g, "Clip", "clip", conv(g, "a", x, 10, 4, 4, 1, true), low, high, -1);
    build_output(g, head(g, conv(g, "b", a, 12, 8, 4, 1, true), 8));
    return g;
}

/* A dead channel (weights 0, bias not) and one whose bias would leave int32 at its own scale. */
static Graph *odd_channels(void)
{
    Graph *g = build_new(13);
    Err err;
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 6)), w = build_weight(g, "w", 10, DIMS(6, 3));
    Tensor *t;
    assert_ok(tensor_make_writable(g, w, &t, &err), &err);
    for (int64_t i = 0; i < 6; i++) {
        tensor_set(t, 3 * i + 1, 0.0);
        tensor_set(t, 3 * i + 2, 1e-12 * (double)(i + 1));
    }
    build_output(g, build_node(g, "Gemm", "fc", x, w, build_constant(g, "b", DT_FLOAT, (double[]){ 0.5, -0.75, 2.0 }, DIMS(3)), -1));
    return g;
}

/* What a Gemm makes goes to an operator that has no integer kernel, and out of the network. */
static Graph *between_floats(void)
{
    Graph *g = build_new(13);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 6));
    ValueId a = build_node(g, "Gemm", "a", x, build_weight(g, "w", 10, DIMS(6, 8)), build_weight(g, "b", 11, DIMS(8)), -1);
    build_output(g, build_node(g, "MatMul", "c", build_node(g, "Erf", "erf", a, -1), build_weight(g, "v", 12, DIMS(8, 3)), -1));
    return g;
}

typedef struct NetRow {
    const char *name;
    Graph *(*make)(void);
    int layers;   /* that run in integers */
    int quantize, dequantize; /* nodes of each kind */
    int skipped;
    double sqnr;  /* at least, dB */
    const char *const *options; /* NULL: bare */
} NetRow;

static const NetRow net_rows[] = {
    /* input, stem, a, b, sum, c, and the flattened mean (whose integers alone are read before); 5 weights, 4 biases (b has none) */
    { "residual block", residual, 5, 7, 7 + 5 + 4, 0, 25, NULL },
    { "depthwise, Clip, MaxPool at opset 10", depthwise_with_clip, 3, 5, 5 + 3 + 3, 0, 25, NULL },
    { "one weight, three layers", tied_perceptron, 3, 3, 3 + 1 + 1, 0, 25, NULL },
    { "Slice and Pad move integers", padded_shortcut, 3, 5, 4 + 3 + 3 + 2, 0, 22, NULL },
    { "a Conv that makes the output stays float", output_conv, 1, 2, 2 + 2, 1, 30, NULL },
    { "a Clip above zero stays", clip_above_zero, 3, 5, 5 + 3 + 3, 0, 25, NULL },
    { "channels without weights", odd_channels, 1, 1, 1 + 1 + 1, 0, 35, NULL },
    { "a Gemm before a float operator", between_floats, 2, 2, 2 + 2 + 1, 0, 25, NULL },
    { "its output quantized, too", between_floats, 2, 4, 4 + 2 + 1, 0, 25, bare_outputs },
    { "an output Conv quantized", output_conv, 2, 3, 3 + 2 + 2, 0, 25, bare_outputs },
};

static void network_row(void **state)
{
    const NetRow *row = *state;
    Err err;
    Graph *g = row->make();
    PassRecord record = { 0 };
    build_ready(g);
    Tensor before = build_run(g, 4, 1.5, true);
    assert_ok(quantize(g, row->options != NULL ? row->options : bare, NULL, 0, &record, &err), &err);
    assert_ok(graph_verify(g, &err), &err);
    int layers;
    assert_ok(safe_check(g, &layers, &err), &err);
    assert_int_equal(layers, row->layers);
    assert_int_equal(build_count(g, "QuantizeLinear"), row->quantize);
    assert_int_equal(build_count(g, "DequantizeLinear"), row->dequantize);
    assert_int_equal(entries(&record, RECORD_SKIPPED), row->skipped);
    assert_true(graph_opset(g, STR("")) >= 13 && g->ir_version >= 7);
    Tensor plain = build_run(g, 4, 1.5, true), fast = build_run(g, 4, 1.5, false);
    if (!(sqnr(&before, &plain) >= row->sqnr)) fail_msg("%.1f dB, expected %.1f", sqnr(&before, &plain), row->sqnr);
    assert_near(build_distance(&fast, &plain), 0.0, 2e-2); /* fused integer groups may round a tie the other way */
    tensor_release(&before);
    tensor_release(&plain);
    tensor_release(&fast);
    record_release(&record);
    graph_free(g);
}

/* A second run finds everything quantized and says so; the network computes what it did. */
static void second_run_leaves(void **state)
{
    const NetRow *row = *state;
    Err err;
    Graph *g = row->make();
    PassRecord record = { 0 };
    build_ready(g);
    assert_ok(quantize(g, NULL, NULL, 0, NULL, &err), &err);
    int quantizers = build_count(g, "QuantizeLinear"), dequantizers = build_count(g, "DequantizeLinear");
    Tensor once = build_run(g, 2, 1.0, true);
    assert_ok(quantize(g, NULL, NULL, 0, &record, &err), &err);
    assert_int_equal(entries(&record, RECORD_CHANGED), 0);
    assert_true(entries(&record, RECORD_SKIPPED) >= row->layers);
    assert_int_equal(build_count(g, "QuantizeLinear"), quantizers);
    assert_int_equal(build_count(g, "DequantizeLinear"), dequantizers);
    Tensor twice = build_run(g, 2, 1.0, true);
    assert_near(build_distance(&twice, &once), 0.0, 0.0);
    tensor_release(&once);
    tensor_release(&twice);
    record_release(&record);
    graph_free(g);
}

static void same_bytes_again(void **state)
{
    const NetRow *row = *state;
    Err err;
    Graph *a = row->make(), *b = row->make();
    build_ready(a);
    build_ready(b);
    assert_ok(quantize(a, NULL, NULL, 0, NULL, &err), &err);
    assert_ok(quantize(b, NULL, NULL, 0, NULL, &err), &err);
    assert_true(fingerprint(a) == fingerprint(b));
    graph_free(a);
    graph_free(b);
}

static void full_range_has_unsafe_pairs(void **state)
{
    (void)state;
    Err err;
    Graph *g = residual();
    build_ready(g);
    assert_ok(quantize(g, (const char *[]){ "target=x86-vnni", NULL }, NULL, 0, NULL, &err), &err);
    assert_status(safe_check(g, NULL, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "pair"));
    graph_free(g);
}

static void per_tensor_is_safe(void **state)
{
    (void)state;
    Err err;
    int layers;
    Graph *g = residual();
    build_ready(g);
    assert_ok(quantize(g, (const char *[]){ "block=tensor", NULL }, NULL, 0, NULL, &err), &err);
    assert_ok(safe_check(g, &layers, &err), &err);
    assert_int_equal(layers, 5);
    graph_free(g);
}

static void rules_skip_layers(void **state)
{
    (void)state;
    Err err;
    int layers;
    PassRecord record = { 0 };
    Graph *g = residual();
    build_ready(g);
    LayerRule skip = { .match = "fc", .skip = true }, wrong = { .match = "nothing*", .skip = true };
    assert_ok(quantize(g, NULL, &skip, 1, &record, &err), &err);
    assert_ok(safe_check(g, &layers, &err), &err);
    assert_int_equal(layers, 4);
    assert_int_equal(entries(&record, RECORD_SKIPPED), 1);
    record_release(&record);
    graph_free(g);
    g = residual();
    build_ready(g);
    assert_status(quantize(g, NULL, &wrong, 1, NULL, &err), ERR_USAGE, &err);
    graph_free(g);
}

/* Everything skipped: nothing is changed, not even the opset. */
static void all_skipped_changes_nothing(void **state)
{
    (void)state;
    Err err;
    Graph *g = depthwise_with_clip();
    build_ready(g);
    uint64_t before = fingerprint(g);
    LayerRule skip = { .match = "*", .skip = true };
    assert_ok(quantize(g, (const char *[]){ "fold=false", NULL }, &skip, 1, NULL, &err), &err);
    assert_true(fingerprint(g) == before);
    assert_int_equal(graph_opset(g, STR("")), 10);
    graph_free(g);
}

static void bias_fits_its_integers(void **state)
{
    (void)state;
    Err err;
    Graph *g = odd_channels();
    build_ready(g);
    assert_ok(quantize(g, bare, NULL, 0, NULL, &err), &err);
    const Tensor *b = graph_value(g, graph_find_value(g, STR("b_int32")))->tensor;
    const Tensor *s = graph_value(g, graph_find_value(g, STR("b_scale")))->tensor;
    static const double expected[] = { 0.5, -0.75, 2.0 };
    assert_int_equal(b->type, DT_INT32);
    for (int i = 0; i < 3; i++) assert_near(tensor_get(b, i) * tensor_get(s, i), expected[i], 0.5 * tensor_get(s, i) + 1e-6);
    graph_free(g);
}

static void tied_weight_is_stored_once(void **state)
{
    (void)state;
    Err err;
    Graph *g = tied_perceptron();
    build_ready(g);
    assert_ok(quantize(g, NULL, NULL, 0, NULL, &err), &err);
    int stored = 0;
    for (ValueId v = 1; v <= g->value_count; v++) {
        const Value *value = graph_value(g, v);
        stored += value->tensor != NULL && value->type == DT_INT8 && value->shape.rank == 2;
    }
    assert_int_equal(stored, 1);
    assert_null(graph_value(g, graph_find_value(g, STR("w")))->tensor);
    graph_free(g);
}

/* Layers of one weight that are asked for different integers do not share them. */
static void tied_weight_with_a_rule(void **state)
{
    (void)state;
    Err err;
    const char *names[] = { "reduce-range" }, *values[] = { "true" };
    for (const char *layer = "ac"; *layer != '\0'; layer++) {
        LayerRule rule = { .match = (char[]){ *layer, '\0' }, .names = names, .values = values, .count = 1 };
        Graph *g = tied_perceptron();
        build_ready(g);
        assert_ok(quantize(g, LIST("mode=static", "repairs=none", "target=x86-vnni"), &rule, 1, NULL, &err), &err);
        int small = 0, large = 0;
        for (ValueId v = 1; v <= g->value_count; v++) {
            const Value *value = graph_value(g, v);
            int64_t most = 0;
            if (value->tensor == NULL || value->type != DT_INT8 || value->shape.rank != 2) continue;
            for (int64_t i = 0; i < tensor_count(value->tensor); i++) {
                int64_t q = tensor_get_int(value->tensor, i);
                most = llabs(q) > most ? llabs(q) : most;
            }
            *(most <= 64 ? &small : &large) += 1;
        }
        assert_int_equal(small, 1);
        assert_int_equal(large, 1);
        graph_free(g);
    }
}

#define MANY(array) (sizeof(array) / sizeof *(array))

int main(void)
{
    struct CMUnitTest tests[MANY(pair_rows) + 3 * MANY(net_rows) + 16];
    size_t n = 0;
    for (size_t i = 0; i < MANY(pair_rows); i++)
        tests[n++] = (struct CMUnitTest){ .name = pair_rows[i].name, .test_func = safe_pairs,
                                          .initial_state = (void *)(uintptr_t)&pair_rows[i] };
    for (size_t i = 0; i < MANY(net_rows); i++) {
        void *row = (void *)(uintptr_t)&net_rows[i];
        tests[n++] = (struct CMUnitTest){ .name = net_rows[i].name, .test_func = network_row, .initial_state = row };
        tests[n++] = (struct CMUnitTest){ .name = "second run", .test_func = second_run_leaves, .initial_state = row };
        tests[n++] = (struct CMUnitTest){ .name = "same bytes", .test_func = same_bytes_again, .initial_state = row };
    }
    const struct CMUnitTest others[] = {
        cmocka_unit_test(activation_grids), cmocka_unit_test(scale_follows_the_bias), cmocka_unit_test(full_range_has_unsafe_pairs),
        cmocka_unit_test(per_tensor_is_safe), cmocka_unit_test(rules_skip_layers), cmocka_unit_test(all_skipped_changes_nothing),
        cmocka_unit_test(bias_fits_its_integers), cmocka_unit_test(tied_weight_is_stored_once), cmocka_unit_test(tied_weight_with_a_rule),
    };
    for (size_t i = 0; i < MANY(others); i++) tests[n++] = others[i];
    return _cmocka_run_group_tests("quantize", tests, n, NULL, NULL);
}
