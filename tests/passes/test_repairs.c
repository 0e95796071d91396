/* Rewrites of a float network that keep its function: equalization, absorption, balance, smoothing. */
#include "mixed_net.h"

#include "quantize/repairs.h"

static ValueId weight(Graph *g, const char *name, int rank, const int64_t *dims)
{
    ValueId v = net_constant(g, name, DT_FLOAT, rank, dims, NULL);
    return v;
}

static void attr_ints(Graph *g, ValueId v, const char *name, const int64_t *list, int count)
{
    Err err;
    assert_ok(graph_set_ints(g, graph_value(g, v)->producer, name, list, count, &err), &err);
}

static void attr_int(Graph *g, ValueId v, const char *name, int64_t value)
{
    Err err;
    assert_ok(graph_set_int(g, graph_value(g, v)->producer, name, value, &err), &err);
}

static ValueId image(Graph *g)
{
    return net_feed(g, "x", DT_FLOAT, DIMS(graph_symbol(g, STR("N")), 4, 8, 8));
}

static ValueId conv(Graph *g, ValueId x, const char *name, int64_t out, int64_t in, int64_t kernel, int64_t groups)
{
    char w[32], b[32];
    snprintf(w, sizeof w, "%s.w", name);
    snprintf(b, sizeof b, "%s.b", name);
    ValueId y = NODE(g, "Conv", name, name, x, weight(g, w, DIMS(out, in, kernel, kernel)), weight(g, b, DIMS(out)));
    if (kernel == 3) attr_ints(g, y, "pads", (int64_t[]){ 1, 1, 1, 1 }, 4);
    attr_int(g, y, "group", groups);
    return y;
}

static ValueId relu(Graph *g, ValueId x, const char *name)
{
    return NODE(g, "Relu", name, name, x);
}

static ValueId number(Graph *g, const char *name, double value)
{
    return net_constant(g, name, DT_FLOAT, 0, NULL, &value);
}

static ValueId ints(Graph *g, const char *name, int64_t count, const double *values)
{
    return net_constant(g, name, DT_INT64, 1, &count, values);
}

static Graph *finish(Graph *g, ValueId y)
{
    net_output(g, y);
    net_done(g);
    return g;
}

static Graph *net_pair(void)
{
    Graph *g = net_new(17);
    return finish(g, conv(g, relu(g, conv(g, image(g), "c1", 6, 4, 3, 1), "r1"), "c2", 5, 6, 3, 1));
}

/* conv, depthwise, pointwise: two places, three weights in balance. */
static Graph *net_depthwise(void)
{
    Graph *g = net_new(17);
    ValueId v = relu(g, conv(g, image(g), "c1", 6, 4, 3, 1), "r1");
    v = relu(g, conv(g, v, "c2", 6, 1, 3, 6), "r2");
    return finish(g, conv(g, v, "c3", 5, 6, 1, 1));
}

static Graph *net_grouped(void)
{
    Graph *g = net_new(17);
    ValueId v = NODE(g, "LeakyRelu", "r1", "r1", conv(g, image(g), "c1", 6, 2, 3, 2));
    return finish(g, conv(g, v, "c2", 4, 3, 3, 2));
}

static Graph *net_slopes(void)
{
    Graph *g = net_new(17);
    double slopes[6] = { 0.1, -0.5, 2.0, 0.0, 0.25, 1.0 };
    ValueId v = NODE(g, "PRelu", "p1", "p1", conv(g, image(g), "c1", 6, 4, 3, 1),
                     net_constant(g, "slopes", DT_FLOAT, DIMS(6, 1, 1), slopes));
    return finish(g, conv(g, v, "c2", 5, 6, 3, 1));
}

/* Pools, Pad, Flatten: 6 channels become 6 * 16 inputs of the Gemm. */
static Graph *net_flatten(void)
{
    Graph *g = net_new(17);
    ValueId v = relu(g, conv(g, image(g), "c1", 6, 4, 3, 1), "r1");
    v = NODE(g, "MaxPool", "m1", "m1", v);
    attr_ints(g, v, "kernel_shape", (int64_t[]){ 2, 2 }, 2);
    attr_ints(g, v, "strides", (int64_t[]){ 2, 2 }, 2);
    v = NODE(g, "Pad", "pad", "pad", v, ints(g, "pads", 8, (double[]){ 0, 0, 1, 1, 0, 0, 1, 1 }));
    v = NODE(g, "AveragePool", "a1", "a1", v);
    attr_ints(g, v, "kernel_shape", (int64_t[]){ 3, 3 }, 2);
    v = NODE(g, "Flatten", "f", "f", v);
    v = NODE(g, "Gemm", "fc", "fc", v, weight(g, "fc.w", DIMS(7, 96)), weight(g, "fc.b", DIMS(7)));
    attr_int(g, v, "transB", 1);
    return finish(g, v);
}

static Graph *net_gemms(void)
{
    Graph *g = net_new(17);
    ValueId v = NODE(g, "GlobalAveragePool", "gap", "gap", conv(g, image(g), "c1", 6, 4, 3, 1));
    v = NODE(g, "Reshape", "flat", "flat", v, ints(g, "shape", 2, (double[]){ 0, -1 }));
    v = NODE(g, "Gemm", "g1", "g1", v, weight(g, "g1.w", DIMS(6, 9)), weight(g, "g1.b", DIMS(9)));
    v = NODE(g, "MatMul", "m2", "m2", relu(g, v, "r1"), weight(g, "m2.w", DIMS(9, 8)));
    v = NODE(g, "Add", "a2", "a2", weight(g, "a2.b", DIMS(8)), v);
    return finish(g, NODE(g, "MatMul", "m3", "m3", relu(g, v, "r2"), weight(g, "m3.w", DIMS(8, 3))));
}

/* The inner channels of a block may be scaled, those of the shortcut may not. */
static Graph *net_residual(void)
{
    Graph *g = net_new(17);
    ValueId stem = relu(g, conv(g, image(g), "c0", 6, 4, 3, 1), "r0");
    ValueId v = conv(g, relu(g, conv(g, stem, "c1", 6, 6, 3, 1), "r1"), "c2", 6, 6, 3, 1);
    v = relu(g, NODE(g, "Add", "sum", "sum", v, stem), "r2");
    return finish(g, conv(g, v, "c3", 5, 6, 1, 1));
}

static Graph *net_shared(void)
{
    Graph *g = net_new(17);
    ValueId w = weight(g, "w", DIMS(4, 4, 1, 1));
    ValueId v = relu(g, NODE(g, "Conv", "c1", "c1", image(g), w), "r1");
    v = relu(g, NODE(g, "Conv", "c2", "c2", v, w), "r2");
    return finish(g, conv(g, v, "c3", 5, 4, 1, 1));
}

static Graph *net_output_between(void)
{
    Graph *g = net_new(17);
    ValueId v = relu(g, conv(g, image(g), "c1", 6, 4, 3, 1), "r1");
    net_output(g, conv(g, v, "c2", 5, 6, 3, 1));
    return finish(g, v);
}

static Graph *net_curved(void)
{
    Graph *g = net_new(17);
    ValueId v = conv(g, image(g), "c1", 6, 4, 3, 1);
    return finish(g, conv(g, NODE(g, "Sigmoid", "s", "s", v), "c2", 5, 6, 3, 1));
}

static Graph *clipped(double high)
{
    Graph *g = net_new(17);
    ValueId v = NODE(g, "Clip", "clip", "clip", conv(g, image(g), "c1", 6, 4, 3, 1), number(g, "low", 0.0), number(g, "high", high));
    return finish(g, conv(g, v, "c2", 5, 6, 3, 1));
}

static Graph *net_clip_free(void) { return clipped(1000.0); } /* never reached */
static Graph *net_clip_met(void) { return clipped(2.0); }     /* reached by every channel */
static Graph *net_clip_some(void) /* reached by those channels that are wide */
{
    Graph *g = clipped(6.0);
    Err err;
    Tensor *t;
    assert_ok(tensor_make_writable(g, graph_find_value(g, STR("c1.w")), &t, &err), &err);
    for (int64_t i = 0; i < 3 * 36; i++) tensor_set(t, i, 0.02 * tensor_get(t, i));
    return g;
}

/* Two branches joined, split again; a channel shuffle (Reshape, Transpose, Reshape). */
static Graph *net_branches(void)
{
    Graph *g = net_new(17);
    Err err;
    ValueId x = image(g), a = relu(g, conv(g, x, "ca", 4, 4, 3, 1), "ra"), b = relu(g, conv(g, x, "cb", 2, 4, 1, 1), "rb");
    ValueId v = NODE(g, "Concat", "cat", "cat", a, b);
    attr_int(g, v, "axis", 1);
    v = NODE(g, "Reshape", "s1", "s1", v, ints(g, "s1.shape", 5, (double[]){ 0, 2, 3, 8, 8 }));
    v = NODE(g, "Transpose", "s2", "s2", v);
    attr_ints(g, v, "perm", (int64_t[]){ 0, 2, 1, 3, 4 }, 5);
    v = NODE(g, "Reshape", "s3", "s3", v, ints(g, "s3.shape", 4, (double[]){ 0, 6, 8, 8 }));
    ValueId parts[2] = { graph_add_value(g, STR("p0"), DT_NONE, NULL), graph_add_value(g, STR("p1"), DT_NONE, NULL) };
    ValueId in[2] = { v, ints(g, "parts", 2, (double[]){ 2, 4 }) };
    NodeId split = graph_add_node(g, "Split", "", STR("split"), in, 2, parts, 2);
    assert_ok(graph_set_int(g, split, "axis", 1, &err), &err);
    ValueId y0 = conv(g, parts[0], "c0", 5, 2, 1, 1), y1 = conv(g, parts[1], "c1", 5, 4, 1, 1);
    return finish(g, NODE(g, "Add", "sum", "sum", y0, y1));
}

/* One block of a transformer over 4 x 8 tokens of 8 numbers: norm, attention with 2 of 4 heads of keys and values, gated product. `post`:
 * the second norm's result also goes into the shortcut. */
static Graph *transformer(bool post)
{
    Graph *g = net_new(17);
    ValueId x = net_feed(g, "x", DT_FLOAT, DIMS(graph_symbol(g, STR("N")), 4, 8, 8));
    x = NODE(g, "Reshape", "tokens", "tokens", x, ints(g, "tokens.shape", 3, (double[]){ 0, -1, 16 }));
    ValueId n1 = NODE(g, "LayerNormalization", "n1", "n1", x, weight(g, "n1.g", DIMS(16)), weight(g, "n1.b", DIMS(16)));
    ValueId q = NODE(g, "MatMul", "q", "q", n1, weight(g, "q.w", DIMS(16, 16)));
    ValueId k = NODE(g, "MatMul", "k", "k", n1, weight(g, "k.w", DIMS(16, 16)));
    ValueId v = NODE(g, "MatMul", "v", "v0", n1, weight(g, "v.w", DIMS(16, 8)));
    v = NODE(g, "Add", "v.add", "v", v, weight(g, "v.b", DIMS(8)));
    ValueId heads = ints(g, "heads", 4, (double[]){ 0, 0, -1, 4 });
    q = NODE(g, "Transpose", "qt", "qt", NODE(g, "Reshape", "qr", "qr", q, heads));
    k = NODE(g, "Transpose", "kt", "kt", NODE(g, "Reshape", "kr", "kr", k, heads));
    v = NODE(g, "Reshape", "vr", "vr", v, ints(g, "vheads", 5, (double[]){ 0, 0, 2, 1, 4 }));
    v = NODE(g, "Expand", "ve", "ve", v, ints(g, "repeat", 5, (double[]){ 1, 1, 2, 2, 4 }));
    v = NODE(g, "Transpose", "vt", "vt", NODE(g, "Reshape", "vf", "vf", v, heads));
    attr_ints(g, q, "perm", (int64_t[]){ 0, 2, 1, 3 }, 4);
    attr_ints(g, k, "perm", (int64_t[]){ 0, 2, 3, 1 }, 4);
    attr_ints(g, v, "perm", (int64_t[]){ 0, 2, 1, 3 }, 4);
    ValueId s = NODE(g, "Softmax", "soft", "soft", NODE(g, "MatMul", "scores", "scores", q, k));
    ValueId c = NODE(g, "Transpose", "ct", "ct", NODE(g, "MatMul", "context", "context", s, v));
    attr_ints(g, c, "perm", (int64_t[]){ 0, 2, 1, 3 }, 4);
    c = NODE(g, "Reshape", "cr", "cr", c, ints(g, "joined", 3, (double[]){ 0, 0, 16 }));
    c = NODE(g, "MatMul", "o", "o", c, weight(g, "o.w", DIMS(16, 16)));
    ValueId r = NODE(g, "Add", "r1", "r1", c, x);
    ValueId norm = NODE(g, "Mul", "n2", "n2", NODE(g, "Tanh", "n2.t", "n2.t", r), weight(g, "n2.g", DIMS(16)));
    norm = NODE(g, "Add", "n2.add", "n2.y", norm, weight(g, "n2.b", DIMS(16)));
    ValueId up = NODE(g, "MatMul", "up", "up", norm, weight(g, "up.w", DIMS(16, 12)));
    ValueId gate = NODE(g, "MatMul", "gate", "gate", norm, weight(g, "gate.w", DIMS(16, 12)));
    gate = NODE(g, "Mul", "silu", "silu", gate, NODE(g, "Sigmoid", "sig", "sig", gate));
    ValueId down = NODE(g, "MatMul", "down", "down", NODE(g, "Mul", "gated", "gated", gate, up), weight(g, "down.w", DIMS(12, 16)));
    return finish(g, NODE(g, "Add", "r2", "y", down, post ? norm : r));
}

static Graph *net_pre(void) { return transformer(false); }
static Graph *net_post(void) { return transformer(true); }

/* Biases far above what the weights can take back. */
static Graph *net_biased(void)
{
    Graph *g = net_new(17);
    double high[6] = { 100, 90, 0, -5, 60, 200 };
    ValueId v = NODE(g, "Conv", "c1", "c1", image(g), weight(g, "c1.w", DIMS(6, 4, 1, 1)),
                     net_constant(g, "c1.b", DT_FLOAT, DIMS(6), high));
    return finish(g, conv(g, relu(g, v, "r1"), "c2", 5, 6, 1, 1));
}

static Graph *net_padded(void)
{
    Graph *g = net_biased();
    ValueId y = graph_find_value(g, STR("c2"));
    Err err;
    assert_ok(graph_set_ints(g, graph_value(g, y)->producer, "pads", (int64_t[]){ 1, 1, 1, 1 }, 4, &err), &err);
    net_done(g);
    return g;
}

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
    Tensor in, x[4] = { { 0 } }, y[4] = { { 0 } };
    double worst = 0;
    if (!calibration) return net_difference(a, b, DIMS(SAMPLES, 4, 8, 8));
    Dataset *data = noise8(a);
    assert_ok(dataset_read(data, 0, SAMPLES, &in, NULL, &err), &err);
    dataset_free(data);
    net_run(a, &in, x);
    net_run(b, &in, y);
    double largest = 0;
    for (int64_t i = 0; i < tensor_count(&x[0]); i++) {
        worst = fmax(worst, fabs(tensor_get(&x[0], i) - tensor_get(&y[0], i)));
        largest = fmax(largest, fabs(tensor_get(&x[0], i)));
    }
    tensor_release(&in);
    for (int i = 0; i < 4; i++) {
        tensor_release(&x[i]);
        tensor_release(&y[i]);
    }
    return worst / largest;
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
            fail_msg("%s: %d vectors, %d layers, %d inputs to smooth", row->name,
                     kinds[PLACE_VECTOR], kinds[PLACE_LAYER], kinds[PLACE_INPUT]);
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
        { net_clip_free, true, 1, 0, 0 }, { net_clip_free, false, 0, 1, 1 },
        { net_clip_some, true, 1, 0, 1 }, { net_clip_met, true, 0, 0, 1 },
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
        { "w1", { 10, -2 } }, { "b", { 5, 1 } }, { "w2", { -10, 2 } } };
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
