/* The walk: a pass that changes nothing leaves both networks equal to the last bit; one that refits a pruned network brings it back. */
#include "mixed_net.h"

#include "engine/fold.h"
#include "graph/format.h"
#include "stats/solve.h"
#include "stats/walk.h"

typedef struct Unchanged {
    Graph *g;
    bool touch;      /* write every weight back as it is, so that nothing is shared any more */
    int stops, shifted, apart, outputs;
} Unchanged;

static Status leave(void *user, const WalkLayer *w, Err *err)
{
    Unchanged *u = user;
    const LayerForm *f = w->form;
    u->stops++;
    u->shifted += w->shift != NULL;
    u->apart += !w->same_input;
    size_t columns = (size_t)(f->groups * f->width);
    assert_memory_equal(w->sum, w->sum_original, columns * sizeof(double));
    for (int64_t i = 0; w->shift != NULL && i < form_weights(f); i++) assert_true(w->shift[i] == 0.0);
    for (int64_t i = 0; i < f->groups * f->width; i++) /* the lower triangle of C is summed in another order than its mirror */
        for (int64_t k = i % f->width; k < f->width; k++) assert_true(w->square[i * f->width + k] == w->cross[i * f->width + k]);
    if (!u->touch) return OK;
    Tensor *t;
    return tensor_make_writable(u->g, f->layer.weight, &t, err);
}

static Status equal_outputs(void *user, int output, int64_t first, int64_t count, const Tensor *a, const Tensor *b, Err *err)
{
    Unchanged *u = user;
    (void)output;
    (void)first;
    (void)err;
    assert_true(shape_eq(&a->shape, &b->shape) && a->bytes == b->bytes);
    assert_memory_equal(a->data, b->data, a->bytes);
    u->outputs += (int)count;
    return OK;
}

static void nothing_changed(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool touch;
        uint64_t max_mem;
        int64_t samples, batch, positions;
        int threads;
    } rows[] = {
        { "shared", false, 0, 50, 4, 0, 1 },
        { "apart", true, 0, 50, 4, 0, 1 },
        { "two threads", true, 0, 50, 4, 0, 2 },
        { "in the file", true, 5000000, 1200, 100, 0, 1 },
        { "some positions", true, 0, 50, 3, 50, 1 },
    };
    Graph *g = mixed();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Err err;
        WalkCost cost;
        Graph *copy = net_clone(g);
        Dataset *d = noise(g, rows[i].samples);
        Unchanged u = { .g = copy, .touch = rows[i].touch };
        WalkOptions o = { .threads = rows[i].threads, .batch = rows[i].batch, .max_mem = rows[i].max_mem, .output = equal_outputs,
                          .positions = rows[i].positions, .seed = 3 };
        print_message("%s\n", rows[i].name);
        assert_ok(walk_layers(g, copy, d, &o, leave, &u, &cost, &err), &err);
        assert_int_equal(u.stops, 6);
        assert_int_equal(u.outputs, rows[i].samples);
        assert_int_equal(u.apart, rows[i].touch ? 5 : 0);
        assert_int_equal(u.shifted, rows[i].touch);
        int64_t calls = (rows[i].samples + rows[i].batch - 1) / rows[i].batch;
        assert_int_equal(cost.runs, calls * cost.segments * (rows[i].touch ? 2 : 1));
        if (rows[i].max_mem != 0) assert_true(cost.spilled > 0 && cost.peak <= rows[i].max_mem / 2);
        else assert_true(cost.spilled == 0);
        dataset_free(d);
        graph_free(copy);
    }
    graph_free(g);
}

/* The zoo's networks cut at every layer: both copies equal to the last bit, and near what the network as a whole gives. */
typedef struct Cut {
    Graph *g;
    Tensor whole[16];
    const char *name;
    int stops;
} Cut;

static Status touch(void *user, const WalkLayer *w, Err *err)
{
    Cut *c = user;
    Tensor *t;
    c->stops++;
    return tensor_make_writable(c->g, w->form->layer.weight, &t, err);
}

static Status as_whole(void *user, int output, int64_t first, int64_t count, const Tensor *a, const Tensor *b, Err *err)
{
    const Cut *c = user;
    double worst = 0.0, peak = 1e-30;
    (void)count;
    (void)err;
    assert_true(shape_eq(&a->shape, &b->shape));
    if (memcmp(a->data, b->data, a->bytes) != 0) fail_msg("%s: output %d differs between the copies", c->name, output);
    if (first != 0) return OK;
    assert_int_equal(tensor_count(a), tensor_count(&c->whole[output]));
    for (int64_t i = 0; i < tensor_count(a); i++) {
        worst = fmax(worst, fabs(tensor_get(a, i) - tensor_get(&c->whole[output], i)));
        peak = fmax(peak, fabs(tensor_get(&c->whole[output], i)));
    }
    if (!(worst <= 1e-4 * peak)) fail_msg("%s: output %d is %g from the whole network's", c->name, output, worst / peak);
    return OK;
}

static void zoo_cut(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t size; /* of dimensions that the file leaves open, but the first */
        int stops;    /* at least */
    } rows[] = {
        { "mnist/lenet5.onnx", 1, 4 },          { "mnist/mnist_8.onnx", 1, 2 },      { "cifar10/resnet8_nhwc.onnx", 1, 9 },
        { "kws/dscnn_nhwc.onnx", 1, 10 },       { "gcn/gcn_cora.onnx", 30, 2 },      { "stories260k/stories260K.onnx", 5, 30 },
        { "detect/yunet_n_320.onnx", 1, 40 },   { "detect/ultraface_rfb_320.onnx", 1, 40 },
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        Err err;
        Graph *g;
        Dataset *d;
        Session *session;
        Shape shapes[4];
        Tensor in[4] = { { 0 } };
        ValueId feeds[4];
        assert_ok(model_load(zoo_path(rows[r].name), &(LoadOptions){ 0 }, &g, &err), &err);
        engine_bind(g);
        assert_ok(engine_infer(g, &err), &err);
        int count = graph_feeds(g, feeds, 4);
        assert_true(count <= 4 && g->output_count <= 16);
        for (int i = 0; i < count; i++) {
            shapes[i] = graph_value(g, feeds[i])->shape;
            for (int k = 0; k < shapes[i].rank; k++)
                if (shapes[i].dims[k] < 0) shapes[i].dims[k] = k == 0 && rows[r].size < 30 ? 1 : rows[r].size;
        }
        assert_ok(dataset_random(g, shapes, 2, 3, &d, &err), &err);
        Graph *copy = net_clone(g);
        Cut c = { .g = copy, .name = rows[r].name };
        int64_t batch = dataset_batched(d) ? dataset_batch(d, 1) : 1;
        assert_ok(dataset_read(d, 0, batch, in, NULL, &err), &err);
        assert_ok(session_new(g, &(SessionOptions){ .threads = 2 }, &session, &err), &err);
        assert_ok(session_run(session, in, c.whole, &err), &err);
        session_free(session);
        WalkOptions o = { .threads = 2, .batch = 1, .positions = 100, .output = as_whole };
        assert_ok(walk_layers(g, copy, d, &o, touch, &c, NULL, &err), &err);
        print_message("%s: %d layers\n", c.name, c.stops);
        assert_true(c.stops >= rows[r].stops);
        for (int i = 0; i < count; i++) tensor_release(&in[i]);
        for (int i = 0; i < g->output_count; i++) tensor_release(&c.whole[i]);
        dataset_free(d);
        graph_free(copy);
        graph_free(g);
    }
}

/* --- refitting a pruned network */

typedef struct Refit {
    Graph *g;
    int threads;
} Refit;

/* Of every four inputs at one kernel place the two of largest magnitude stay: [outputs,width] of a layer with channel, kernel columns. */
static void mask_2_4(const LayerForm *f, const double *w, bool *keep)
{
    int64_t channels = f->width / f->taps;
    for (int64_t i = 0; i < form_outputs(f); i++)
        for (int64_t tap = 0; tap < f->taps; tap++)
            for (int64_t c = 0; c < channels; c++) {
                const double *row = w + i * f->width + tap;
                int64_t first = c / 4 * 4, larger = 0;
                for (int64_t k = first; k < first + 4; k++) {
                    double mine = fabs(row[c * f->taps]), other = fabs(row[k * f->taps]);
                    larger += k != c && (other > mine || (other == mine && k < c));
                }
                keep[i * f->width + c * f->taps + tap] = larger < 2;
            }
}

static bool dense(const LayerForm *f)
{
    return f->width / f->taps % 4 != 0;
}

/* Least squares on the support, towards what the original network gives, the mean absorbed in the bias. */
static Status refit(void *user, const WalkLayer *w, Err *err)
{
    Refit *r = user;
    LayerForm *f = w->form;
    assert_int_equal(f->groups, 1);
    if (dense(f)) return OK;
    size_t n = (size_t)f->width, m = (size_t)f->outputs;
    double *h = malloc(n * n * sizeof *h), *c = malloc(n * n * sizeof *c), *d = calloc(m * n, sizeof *d), *b = malloc(m * sizeof *b);
    double *old = malloc(m * n * sizeof *old), *target = malloc(m * n * sizeof *target), *made = malloc(m * n * sizeof *made);
    bool *keep = malloc(m * n);
    assert_true(h != NULL && c != NULL && d != NULL && b != NULL && old != NULL && target != NULL && made != NULL && keep != NULL);
    memcpy(h, w->square, n * n * sizeof *h);
    memcpy(c, w->cross, n * n * sizeof *c);
    solve_center(h, f->width, f->width, w->sum, w->sum, w->count);
    solve_center(c, f->width, f->width, w->sum_original, w->sum, w->count);
    if (w->shift != NULL) {
        memcpy(d, w->shift, m * n * sizeof *d);
        solve_center(d, f->outputs, f->width, w->sum_shift, w->sum, w->count);
    }
    layer_read_weights(r->g, f, old);
    layer_read_bias(r->g, f, b);
    mask_2_4(f, old, keep);
    Factor factor;
    assert_ok(solve_factor(&factor, f->layer.name, f->width, h, 0.01, err), err);
    assert_ok(solve_target(&factor, f->outputs, old, c, d, target, err), err);
    assert_ok(solve_support(&factor, f->layer.name, f->outputs, target, keep, r->threads, made, err), err);
    solve_bias(b, f->outputs, f->width, old, w->sum_original, w->sum_shift, made, w->sum, w->count);
    assert_ok(layer_write_weights(r->g, f, made, err), err);
    assert_ok(layer_write_bias(r->g, f, b, err), err);
    factor_release(&factor);
    free(h);
    free(c);
    free(d);
    free(b);
    free(old);
    free(target);
    free(made);
    free(keep);
    return OK;
}

static void prune_2_4(Graph *g)
{
    Err err;
    Layer *layers;
    int count;
    assert_ok(layers_find(g, &layers, &count, &err), &err);
    for (int i = 0; i < count; i++) {
        LayerForm f;
        assert_true(layer_form(g, &layers[i], &f, NULL));
        if (dense(&f)) continue;
        double *w = malloc((size_t)form_weights(&f) * sizeof *w);
        bool *keep = malloc((size_t)form_weights(&f));
        assert_true(w != NULL && keep != NULL);
        layer_read_weights(g, &f, w);
        mask_2_4(&f, w, keep);
        for (int64_t k = 0; k < form_weights(&f); k++) w[k] = keep[k] ? w[k] : 0.0;
        assert_ok(layer_write_weights(g, &f, w, &err), &err);
        free(w);
        free(keep);
    }
    free(layers);
}

static Dataset *images(const Graph *g, const char *file, int first, bool labels)
{
    char text[2048];
    Err err;
    Dataset *d;
    snprintf(text, sizeof text, "{\"file\":\"%s\",\"inputs\":{\"input\":{\"array\":\"image\",\"scale\":%.17g,\"mean\":[0.485,0.456,0.406],"
             "\"std\":[0.229,0.224,0.225],\"transpose\":[0,3,1,2]}}%s,\"first\":%d}", zoo_path(file), 1.0 / 255.0,
             labels ? ",\"label\":{\"array\":\"label\"}" : "", first);
    cJSON *json = cJSON_Parse(text);
    assert_non_null(json);
    assert_ok(dataset_open_json(json, g, &(DataOptions){ .want_labels = labels }, &d, &err), &err);
    cJSON_Delete(json);
    return d;
}

static double accuracy(const Graph *g, Dataset *d)
{
    Err err;
    Session *s;
    int64_t samples = dataset_samples(d), right = 0;
    assert_ok(session_new(g, &(SessionOptions){ .threads = 2 }, &s, &err), &err);
    for (int64_t first = 0; first < samples; first += 100) {
        Tensor in, out, labels;
        int64_t count = samples - first < 100 ? samples - first : 100;
        assert_ok(dataset_read(d, first, count, &in, &labels, &err), &err);
        assert_ok(session_run(s, &in, &out, &err), &err);
        for (int64_t i = 0; i < count; i++) {
            int64_t best = 0;
            for (int64_t k = 1; k < 10; k++) best = tensor_get(&out, i * 10 + k) > tensor_get(&out, i * 10 + best) ? k : best;
            right += best == tensor_get_int(&labels, i);
        }
        tensor_release(&in);
        tensor_release(&out);
        tensor_release(&labels);
    }
    session_free(s);
    return 100.0 * (double)right / (double)samples;
}

static void refit_2_4(void **state)
{
    (void)state;
    Err err;
    Graph *g, *pruned, *fitted;
    assert_ok(model_load(zoo_path("cifar10/resnet20_bn.onnx"), &(LoadOptions){ 0 }, &g, &err), &err);
    engine_bind(g);
    assert_ok(engine_infer(g, &err), &err);
    PassRecord record = { 0 };
    assert_ok(fold_graph(g, &FOLD_ALL, &record, &err), &err);
    record_release(&record);
    engine_bind(g);
    assert_ok(engine_infer(g, &err), &err);
    Dataset *train = images(g, "cifar10/train20k.npz", SLOW ? 300 : 1000, false);
    Dataset *test = images(g, "cifar10/dev.npz", SLOW ? 300 : 4900, true);
    pruned = net_clone(g);
    prune_2_4(pruned);
    fitted = net_clone(g);
    Refit r = { .g = fitted, .threads = 2 };
    WalkOptions o = { .threads = 2, .batch = 50, .positions = SLOW ? 6000 : 30000, .seed = 1 };
    WalkCost cost;
    assert_ok(walk_layers(g, fitted, train, &o, refit, &r, &cost, &err), &err);
    double before = accuracy(pruned, test), after = accuracy(fitted, test);
    print_message("2:4 by magnitude %.2f %%, refitted %.2f %% (%d parts, %lld runs)\n", before, after, cost.segments, (long long)cost.runs);
    if (!SLOW) assert_near(before, 73.0, 1.5);
    assert_true(after >= (SLOW ? 80.0 : 90.5));
    dataset_free(train);
    dataset_free(test);
    graph_free(g);
    graph_free(pruned);
    graph_free(fitted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_changed),
        cmocka_unit_test(zoo_cut),
        cmocka_unit_test(refit_2_4),
    };
    return cmocka_run_group_tests_name("walk", tests, NULL, NULL);
}
