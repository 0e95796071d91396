/* The rewrites on real networks: what they find there, that the function stays, and the figure of equalization. */
#include "mixed_net.h"

#include "engine/fold.h"
#include "graph/format.h"
#include "quantize/repairs.h"

static Graph *load(const char *name)
{
    Err err;
    Graph *g;
    PassRecord record = { 0 };
    assert_ok(model_load(zoo_path(name), &(LoadOptions){ 0 }, &g, &err), &err);
    engine_bind(g);
    assert_ok(engine_infer(g, &err), &err);
    assert_ok(fold_graph(g, &FOLD_ALL, &record, &err), &err);
    record_release(&record);
    engine_bind(g);
    assert_ok(engine_infer(g, &err), &err);
    return g;
}

#define IMAGE "\"scale\":0.00392156862745098,\"mean\":[0.485,0.456,0.406],\"std\":[0.229,0.224,0.225],\"transpose\":[0,3,1,2]"

/* `input`: the entry of "inputs" as JSON; NULL: the arrays as they are. */
static Dataset *open_data(const Graph *g, const char *file, const char *input)
{
    char text[2048];
    Err err;
    Dataset *d;
    snprintf(text, sizeof text, "{\"file\":\"%s\"%s%s%s}", zoo_path(file), input != NULL ? ",\"inputs\":{" : "", input != NULL ? input : "",
             input != NULL ? "}" : "");
    cJSON *json = cJSON_Parse(text);
    assert_non_null(json);
    assert_ok(dataset_open_json(json, g, &(DataOptions){ .want_labels = false }, &d, &err), &err);
    cJSON_Delete(json);
    return d;
}

/* Signal to noise of the first output of b against that of a, in dB, over samples [first, first + count). */
static double fidelity(const Graph *a, const Graph *b, Dataset *d, int64_t first, int64_t count)
{
    Err err;
    Session *s[2];
    double signal = 0, noise = 0;
    int64_t step = dataset_batch(d, 25);
    assert_ok(session_new(a, &(SessionOptions){ .threads = 1 }, &s[0], &err), &err);
    assert_ok(session_new(b, &(SessionOptions){ .threads = 1 }, &s[1], &err), &err);
    for (int64_t i = first; i < first + count; i += step) {
        Tensor in[4], x[8] = { { 0 } }, y[8] = { { 0 } };
        int64_t n = first + count - i < step ? first + count - i : step;
        assert_ok(dataset_read(d, i, n, in, NULL, &err), &err);
        assert_ok(session_run(s[0], in, x, &err), &err);
        assert_ok(session_run(s[1], in, y, &err), &err);
        for (int64_t k = 0; k < tensor_count(&x[0]); k++) {
            double v = tensor_get(&x[0], k), e = v - tensor_get(&y[0], k);
            signal += v * v;
            noise += e * e;
        }
        for (int k = 0; k < graph_feeds(a, NULL, 0); k++) tensor_release(&in[k]);
        for (int k = 0; k < a->output_count; k++) {
            tensor_release(&x[k]);
            tensor_release(&y[k]);
        }
    }
    session_free(s[0]);
    session_free(s[1]);
    return noise > 0 ? 10.0 * log10(signal / noise) : 200.0;
}

/* Inner channels of the blocks times 10^[-2,2]; the function stays. */
static Graph *scaled(const Graph *g, uint64_t seed)
{
    Err err;
    Graph *out = net_clone(g);
    Places places;
    Rng rng;
    rng_init(&rng, seed);
    assert_ok(places_find(out, PLACE_LAYER, &places, &err), &err);
    for (int i = 0; i < places.count; i++) {
        double s[256];
        assert_true(places.items[i].channels <= 256);
        if (!str_is(graph_node(out, places.items[i].readers[0].node)->type, "Conv")) continue;
        for (int64_t c = 0; c < places.items[i].channels; c++) s[c] = pow(10.0, 4.0 * rng_uniform(&rng) - 2.0);
        assert_ok(place_rescale(out, &places.items[i], s, NULL, &err), &err);
    }
    places_release(&places);
    return out;
}

/* Every weight on one symmetric 8-bit grid. */
static Graph *rounded(const Graph *g)
{
    Err err;
    Graph *out = net_clone(g);
    Layer *layers;
    int count;
    assert_ok(layers_find(out, &layers, &count, &err), &err);
    for (int i = 0; i < count; i++) {
        Tensor *t;
        double peak = 0;
        assert_ok(tensor_make_writable(out, layers[i].weight, &t, &err), &err);
        for (int64_t k = 0; k < tensor_count(t); k++) peak = fmax(peak, fabs(tensor_get(t, k)));
        for (int64_t k = 0; k < tensor_count(t); k++) tensor_set(t, k, peak / 127 * nearbyint(tensor_get(t, k) / (peak / 127)));
    }
    free(layers);
    return out;
}

static Graph *equalized(const Graph *g, int *changed)
{
    Err err;
    Graph *out = net_clone(g);
    PassRecord record = { 0 };
    assert_ok(equalize_graph(out, NULL, &record, changed, &err), &err);
    record_release(&record);
    return out;
}

static void equalize_resnet20(void **state)
{
    (void)state;
    Graph *g = load("cifar10/resnet20_bn.onnx");
    Dataset *d = open_data(g, "cifar10/dev.npz", "\"input\":{\"array\":\"image\"," IMAGE "}");
    int64_t samples = SLOW ? 25 : 200;
    int changed;
    Graph *even = equalized(g, &changed), *q = rounded(even);
    assert_true(changed >= 9);
    assert_true(fidelity(g, even, d, 0, samples) >= 100.0);
    double untouched = fidelity(g, q, d, 0, samples);
    graph_free(q);
    for (uint64_t seed = 1; seed <= 2; seed++) {
        Graph *wide = scaled(g, seed);
        double kept = fidelity(g, wide, d, 0, samples);
        q = rounded(wide);
        double before = fidelity(g, q, d, 0, samples);
        graph_free(q);
        Graph *same = equalized(wide, &changed);
        q = rounded(same);
        double after = fidelity(g, q, d, 0, samples), apart = fidelity(even, same, d, 0, samples);
        print_message("seed %d: scaled %.1f dB from the original; rounded %.1f dB, equalized %.2f dB, untouched and equalized %.2f dB\n",
                      (int)seed, kept, before, after, untouched);
        assert_true(kept >= 100.0 && apart >= 100.0);
        assert_true(after >= 32.5 || SLOW);
        assert_near(after, untouched, 0.1);
        graph_free(q);
        graph_free(same);
        graph_free(wide);
    }
    dataset_free(d);
    graph_free(even);
    graph_free(g);
}

static const struct ZooRow {
    const char *net, *data, *input;
    int64_t samples;
    int equalized, balanced;   /* at least */
    int vectors, layers, inputs; /* places to smooth */
} zoo[] = {
    { "cifar10/resnet20_bn.onnx", "cifar10/train20k.npz", "\"input\":{\"array\":\"image\"," IMAGE "}", 20, 9, 9, 0, 0, 1 },
    { "kws/dscnn_nhwc.onnx", "kws/calib.npz", "\"input\":{\"array\":\"mfcc\"}", 20, 9, 9, 0, 1, 0 },
    { "imagenet/mobilenet_v2.onnx", "imagenet/sample300.npz", "\"input\":{\"array\":\"image\"," IMAGE "}", 4, 20, 20, 0, 1, 0 },
    { "mnist/lenet5.onnx", "mnist/train.npz", "\"image\":{\"scale\":0.00392156862745098,\"expand\":[1]}", 20, 3, 3, 0, 2, 0 },
    { "stories260k/stories260K.onnx", "stories260k/calib.npz", NULL, 4, 5, 5, 11, 10, 0 },
};

typedef Status (*RepairFn)(Graph *g, ChannelRanges *ranges, PassRecord *record, int *changed, Err *err);

static int apply(const struct ZooRow *row, const Graph *g, const ChannelRanges *measured, Dataset *d, const char *what, RepairFn fn)
{
    Err err;
    Graph *out = net_clone(g);
    PassRecord record = { 0 };
    ChannelRanges ranges;
    int changed;
    assert_ok(channel_ranges_clone(measured, &ranges, &err), &err);
    assert_ok(fn(out, &ranges, &record, &changed, &err), &err);
    double db = fidelity(g, out, d, 0, row->samples);
    print_message("%s: %s: %d places, %.1f dB\n", row->net, what, changed, db);
    if (db < 90.0) fail_msg("%s: %s changes the outputs: %.1f dB", row->net, what, db);
    channel_ranges_release(&ranges);
    record_release(&record);
    graph_free(out);
    return changed;
}

static void smooth(const struct ZooRow *row, const Graph *g, ChannelRanges *ranges, Dataset *d)
{
    Err err;
    Graph *out = net_clone(g);
    PassRecord record = { 0 };
    Places places;
    int kinds[5] = { 0 };
    bool changed;
    assert_ok(smooth_find(g, &places, &err), &err);
    for (int i = 0; i < places.count; i++) {
        kinds[places.items[i].kind]++;
        assert_ok(smooth_apply(out, &places.items[i], 0.8, ranges, &record, &changed, &err), &err);
    }
    engine_bind(out);
    assert_ok(engine_infer(out, &err), &err);
    double db = fidelity(g, out, d, 0, row->samples);
    print_message("%s: smoothed at %d vectors, %d layers, %d inputs: %.1f dB\n", row->net, kinds[PLACE_VECTOR], kinds[PLACE_LAYER],
                  kinds[PLACE_INPUT], db);
    if (db < 90.0) fail_msg("%s: smoothing changes the outputs: %.1f dB", row->net, db);
    assert_int_equal(kinds[PLACE_VECTOR], row->vectors);
    assert_int_equal(kinds[PLACE_LAYER], row->layers);
    assert_int_equal(kinds[PLACE_INPUT], row->inputs);
    places_release(&places);
    record_release(&record);
    graph_free(out);
}

static Status absorb(Graph *g, ChannelRanges *ranges, PassRecord *record, int *changed, Err *err)
{
    return absorb_graph(g, ranges, -1.0, record, changed, err);
}

static void networks(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof zoo / sizeof *zoo; i++) {
        const struct ZooRow *row = &zoo[i];
        Err err;
        Graph *g = load(row->net);
        Dataset *d = open_data(g, row->data, row->input);
        SweepOptions options = { .threads = 1, .samples = row->samples, .batch = 4 };
        ChannelRanges ranges;
        assert_ok(repairs_measure(g, d, &options, &ranges, &err), &err);
        assert_true(apply(row, g, &ranges, d, "equalized", equalize_graph) >= row->equalized);
        assert_true(apply(row, g, &ranges, d, "balanced", balance_graph) >= row->balanced);
        apply(row, g, &ranges, d, "absorbed", absorb);
        smooth(row, g, &ranges, d);
        channel_ranges_release(&ranges);
        dataset_free(d);
        graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equalize_resnet20),
        cmocka_unit_test(networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
