/* Rewrites of a float network that keep its function: equalization, absorption, balance, smoothing. */
#include "repair_nets.h"

#include "quantize/repairs.h"

static const struct Row {
    const char *name;
    Graph *(*make)(void);
    int equalized, skipped, balanced, absorbed; /* skipped: by equalize_graph */
    int vectors, layers, inputs;                /* places to smooth */
} rows[] = {
    { "conv-relu-conv", net_pair, 1, 0, 1, 0, 0, 0, 0 },
    { "conv-depthwise-pointwise", net_depthwise, 2, 0, 2, 0, 0, 0, 0 },
    { "groups", net_grouped, 1, 0, 1, 0, 0, 0, 0 },
    { "slope-per-channel", net_slopes, 1, 0, 1, 0, 0, 0, 0 },
    { "pools-pad-flatten", net_flatten, 1, 0, 1, 0, 0, 1, 0 },
    { "gemm-matmul-add", net_gemms, 3, 0, 3, 1, 0, 3, 0 },
    { "residual", net_residual, 1, 0, 1, 0, 0, 0, 0 },
    { "shared-weights", net_shared, 0, 2, 0, 0, 0, 0, 0 },
    { "output-between", net_output_between, 0, 0, 0, 0, 0, 0, 0 },
    { "sigmoid-between", net_curved, 0, 0, 0, 0, 0, 0, 0 },
    { "clip-never-reached", net_clip_free, 1, 0, 1, 0, 0, 0, 0 },
    { "clip-reached", net_clip_met, 0, 0, 0, 0, 0, 0, 0 },
    { "clip-reached-by-some", net_clip_some, 1, 0, 1, 0, 0, 0, 0 },
    { "concat-shuffle-split", net_branches, 2, 0, 2, 0, 0, 0, 0 },
    { "transformer", net_pre, 2, 0, 2, 0, 2, 2, 0 },
    { "transformer-post-norm", net_post, 2, 0, 2, 0, 1, 2, 1 },
    { "high-bias", net_biased, 1, 0, 1, 1, 0, 0, 0 },
    { "high-bias-padded", net_padded, 1, 0, 1, 0, 0, 0, 0 },
};

#define SAMPLES 6

static Dataset *noise8(const Graph *g)
{
    Err err;
    Dataset *d;
    Shape shape = shape_of(4, (int64_t[]){ 1, 4, 8, 8 });
    assert_ok(dataset_random(g, &shape, SAMPLES, 5, &d, &err), &err);
    return d;
}

/* Largest difference of any output over the largest magnitude: on the calibration data, or else on other noise. */
static double difference(const Graph *a, const Graph *b, bool calibration)
{
    Err err;
    Tensor in;
    if (!calibration) return net_difference(a, b, DIMS(SAMPLES, 4, 8, 8));
    Dataset *data = noise8(a);
    assert_ok(dataset_read(data, 0, SAMPLES, &in, NULL, &err), &err);
    dataset_free(data);
    double worst = net_difference_on(a, b, &in);
    tensor_release(&in);
    return worst;
}

static void measure(const Graph *g, ChannelRanges *out)
{
    Err err;
    Dataset *data = noise8(g);
    SweepOptions options = { .threads = 1 };
    assert_ok(repairs_measure(g, data, &options, out, &err), &err);
    dataset_free(data);
}

static int count_kind(const PassRecord *r, RecordKind kind)
{
    int count = 0;
    for (size_t i = 0; i < r->count; i++) count += r->entries[i].kind == kind;
    return count;
}

static int build_muls(const Graph *g)
{
    int count = 0;
    for (uint32_t i = 0; i < g->order_count; i++) count += str_is(graph_node(g, g->order[i])->type, "Mul");
    return count;
}

typedef Status (*RepairFn)(Graph *g, ChannelRanges *ranges, PassRecord *record, int *changed, Err *err);

static Status absorb(Graph *g, ChannelRanges *ranges, PassRecord *record, int *changed, Err *err)
{
    return absorb_graph(g, ranges, -1.0, record, changed, err);
}

static bool ranges_close(const ChannelRanges *a, const ChannelRanges *b)
{
    for (int i = 0; i < a->count; i++) {
        const ChannelRange *x = &a->items[i], *y = channel_ranges_find(b, x->value, x->axis);
        for (int64_t c = 0; y != NULL && c < x->channels; c++) {
            double size = 1e-4 * (channel_peak(y, c) + 1e-3);
            if (fabs(x->min[c] - y->min[c]) > size || fabs(x->max[c] - y->max[c]) > size) return false;
            if (fabs(x->sum[c] - y->sum[c]) > size * (double)x->count) return false;
        }
    }
    return true;
}

/* Once balanced, nothing is left to do. */
static void check_again(const struct Row *row, const char *what, RepairFn fn, Graph *g, ChannelRanges *ranges)
{
    Err err;
    PassRecord record = { 0 };
    int changed;
    assert_ok(fn(g, ranges, &record, &changed, &err), &err);
    if (changed != 0 || count_kind(&record, RECORD_CHANGED) != 0) fail_msg("%s: %s twice changes %d places", row->name, what, changed);
    record_release(&record);
}

/* Runs one rewrite: so many places change, the function stays, ranges that were carried on are those that are measured. */
static void check(const struct Row *row, const char *what, RepairFn fn, int changes, int skips, bool calibration)
{
    Err err;
    Graph *g = row->make(), *before = net_clone(g);
    ChannelRanges ranges, after;
    PassRecord record = { 0 };
    int changed;
    measure(g, &ranges);
    assert_ok(fn(g, &ranges, &record, &changed, &err), &err);
    if (changed != changes || count_kind(&record, RECORD_CHANGED) != changes)
        fail_msg("%s: %s changed %d places, expected %d", row->name, what, changed, changes);
    if (skips >= 0 && count_kind(&record, RECORD_SKIPPED) != skips)
        fail_msg("%s: %s skipped %d places, expected %d", row->name, what, count_kind(&record, RECORD_SKIPPED), skips);
    assert_ok(graph_verify(g, &err), &err);
    double off = difference(before, g, calibration);
    if (!(off < 1e-5)) fail_msg("%s: %s changes the outputs by %g", row->name, what, off);
    if (changed == 0 && difference(before, g, true) != 0.0) fail_msg("%s: %s changes what it does not list", row->name, what);
    measure(g, &after);
    if (!ranges_close(&ranges, &after)) fail_msg("%s: %s: the ranges do not follow", row->name, what);
    if (fn != balance_graph) check_again(row, what, fn, g, &ranges); /* balance goes half of the way each time */
    channel_ranges_release(&ranges);
    channel_ranges_release(&after);
    record_release(&record);
    graph_free(g);
    graph_free(before);
}

static void test_equalize(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check(&rows[i], "equalize", equalize_graph, rows[i].equalized, rows[i].skipped, strstr(rows[i].name, "clip") != NULL);
}

static void test_balance(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check(&rows[i], "balance", balance_graph, rows[i].balanced, rows[i].skipped, strstr(rows[i].name, "clip") != NULL);
}

static void test_absorb(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) check(&rows[i], "absorb", absorb, rows[i].absorbed, -1, true);
}

static void test_smooth(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct Row *row = &rows[i];
        Err err;
        Graph *g = row->make(), *before = net_clone(g);
        ChannelRanges ranges, after;
        PassRecord record = { 0 };
        Places places;
        int kinds[5] = { 0 };
        bool changed;
        measure(g, &ranges);
        assert_ok(smooth_find(g, &places, &err), &err);
        for (int k = 0; k < places.count; k++) {
            kinds[places.items[k].kind]++;
            assert_ok(smooth_apply(g, &places.items[k], 0.5, &ranges, &record, &changed, &err), &err);
            if (!changed) fail_msg("%s: place %d was not smoothed", row->name, k);
        }
        if (kinds[PLACE_VECTOR] != row->vectors || kinds[PLACE_LAYER] != row->layers || kinds[PLACE_INPUT] != row->inputs)
            fail_msg("%s: %d vectors, %d layers, %d inputs to smooth", row->name, kinds[PLACE_VECTOR], kinds[PLACE_LAYER],
                     kinds[PLACE_INPUT]);
        assert_int_equal(build_muls(g) - build_muls(before), row->inputs);
        net_done(g);
        double off = difference(before, g, false);
        if (!(off < 1e-5)) fail_msg("%s: smoothing changes the outputs by %g", row->name, off);
        measure(g, &after);
        if (!ranges_close(&ranges, &after)) fail_msg("%s: smoothing: the ranges do not follow", row->name);
        channel_ranges_release(&ranges);
        channel_ranges_release(&after);
        record_release(&record);
        places_release(&places);
        graph_free(g);
        graph_free(before);
    }
}

/* Clips: Relu where no channel reaches the end, as it is where one does; left alone, and listed, without data. */
static void test_clip(void **state)
{
    (void)state;
    static const struct { Graph *(*make)(void); bool data; int changed, skipped, clips; } cases[] = {
        { net_clip_free, true, 1, 0, 0 },
        { net_clip_free, false, 0, 1, 1 },
        { net_clip_some, true, 1, 0, 1 },
        { net_clip_met, true, 0, 0, 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Err err;
        Graph *g = cases[i].make();
        ChannelRanges ranges;
        PassRecord record = { 0 };
        int changed, clips = 0;
        measure(g, &ranges);
        assert_ok(equalize_graph(g, cases[i].data ? &ranges : NULL, &record, &changed, &err), &err);
        for (uint32_t k = 0; k < g->order_count; k++) clips += str_is(graph_node(g, g->order[k])->type, "Clip");
        assert_int_equal(changed, cases[i].changed);
        assert_int_equal(count_kind(&record, RECORD_SKIPPED), cases[i].skipped);
        assert_int_equal(clips, cases[i].clips);
        channel_ranges_release(&ranges);
        record_release(&record);
        graph_free(g);
    }
}

/* Channels of zeros, on either side, and a weight that is no number: they stay, the others are equalized. */
static void test_dead(void **state)
{
    (void)state;
    Err err;
    Graph *g = net_pair();
    Tensor *w1, *w2;
    assert_ok(tensor_make_writable(g, graph_find_value(g, STR("c1.w")), &w1, &err), &err);
    assert_ok(tensor_make_writable(g, graph_find_value(g, STR("c2.w")), &w2, &err), &err);
    for (int64_t i = 0; i < 36; i++) tensor_set(w1, i, 0.0);
    for (int64_t o = 0; o < 5; o++)
        for (int64_t i = 0; i < 9; i++) tensor_set(w2, (o * 6 + 1) * 9 + i, 0.0);
    tensor_set(w1, 2 * 36, (double)INFINITY);
    Graph *before = net_clone(g);
    PassRecord record = { 0 };
    int changed;
    assert_ok(equalize_graph(g, NULL, &record, &changed, &err), &err);
    assert_int_equal(changed, 1);
    const Tensor *a = net_tensor(before, "c1.w"), *b = net_tensor(g, "c1.w");
    for (int64_t c = 0; c < 6; c++) {
        bool same = memcmp(a->data + c * 144, b->data + c * 144, 144) == 0;
        if (same != (c < 3)) fail_msg("channel %d %s", (int)c, same ? "stays" : "moves");
    }
    record_release(&record);
    graph_free(g);
    graph_free(before);
}

/* Rows and columns really meet: 100 in one, 1 in the other become 10 and 10. */
static void test_formula(void **state)
{
    (void)state;
    Err err;
    Graph *g = net_new(17);
    double w1[2] = { 100, -4 }, w2[2] = { -1, 1 }, b[2] = { 50, 2 };
    ValueId x = net_feed(g, "x", DT_FLOAT, DIMS(graph_symbol(g, STR("N")), 1));
    ValueId v = NODE(g, "Gemm", "g1", "g1", x, net_constant(g, "w1", DT_FLOAT, DIMS(1, 2), w1), net_constant(g, "b", DT_FLOAT, DIMS(2), b));
    finish(g, NODE(g, "MatMul", "m", "m", relu(g, v, "r"), net_constant(g, "w2", DT_FLOAT, DIMS(2, 1), w2)));
    PassRecord record = { 0 };
    int changed;
    assert_ok(equalize_graph(g, NULL, &record, &changed, &err), &err);
    static const struct { const char *name; double values[2]; } expected[] = {
        { "w1", { 10, -2 } }, { "b", { 5, 1 } }, { "w2", { -10, 2 } },
    };
    for (size_t i = 0; i < 3; i++)
        for (int k = 0; k < 2; k++) assert_near(tensor_get(net_tensor(g, expected[i].name), k), expected[i].values[k], 1e-5);
    record_release(&record);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equalize),
        cmocka_unit_test(test_balance),
        cmocka_unit_test(test_absorb),
        cmocka_unit_test(test_smooth),
        cmocka_unit_test(test_clip),
        cmocka_unit_test(test_dead),
        cmocka_unit_test(test_formula),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
