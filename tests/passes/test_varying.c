/* Samples of varying shape through everything that gathers statistics: the sums over a folder of files are those of the files one by one.
 * More shapes than a session keeps plans for. */
#include "net.h"

#include <sys/stat.h>

#include "data/dataset.h"
#include "formats/npz.h"
#include "stats/layers.h"
#include "stats/walk.h"

#define FILES 12

static char folder[] = "/tmp/test-varying-XXXXXX";

static const char *file_path(int i)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/%02d.npz", folder, i);
    return path;
}

/* x [N,L,4] -> MatMul -> Relu -> MatMul + shortcut -> mean over L -> Gemm */
static Graph *sequences(void)
{
    Graph *g = net_new(17);
    ValueId x = net_feed(g, "x", DT_FLOAT, DIMS(graph_symbol(g, STR("N")), graph_symbol(g, STR("L")), 4));
    ValueId a = NODE(g, "MatMul", "a", "a", x, net_constant(g, "w1", DT_FLOAT, DIMS(4, 6), NULL)), r = NODE(g, "Relu", "r", "r", a);
    ValueId b = NODE(g, "MatMul", "b", "b", r, net_constant(g, "w2", DT_FLOAT, DIMS(6, 6), NULL));
    ValueId sum = NODE(g, "Add", "sum", "sum", b, r), mean = NODE(g, "ReduceMean", "mean", "mean", sum);
    Err err;
    assert_ok(graph_set_ints(g, graph_value(g, mean)->producer, "axes", (int64_t[]){ 1 }, 1, &err), &err);
    assert_ok(graph_set_int(g, graph_value(g, mean)->producer, "keepdims", 0, &err), &err);
    net_output(g, NODE(g, "Gemm", "c", "y", mean, net_constant(g, "w3", DT_FLOAT, DIMS(6, 3), NULL)));
    net_done(g);
    return g;
}

/* x [N,2,H,W] -> Conv -> Relu -> Conv -> GlobalAveragePool -> Flatten -> Gemm */
static Graph *images(void)
{
    Graph *g = net_new(17);
    Err err;
    ValueId x = net_feed(g, "x", DT_FLOAT, DIMS(graph_symbol(g, STR("N")), 2, graph_symbol(g, STR("H")), graph_symbol(g, STR("W"))));
    ValueId a = NODE(g, "Conv", "a", "a", x, net_constant(g, "w1", DT_FLOAT, DIMS(6, 2, 3, 3), NULL));
    assert_ok(graph_set_ints(g, graph_value(g, a)->producer, "pads", (int64_t[]){ 1, 1, 1, 1 }, 4, &err), &err);
    ValueId r = NODE(g, "Relu", "r", "r", a), b = NODE(g, "Conv", "b", "b", r, net_constant(g, "w2", DT_FLOAT, DIMS(6, 6, 1, 1), NULL));
    ValueId p = NODE(g, "GlobalAveragePool", "p", "p", b), f = NODE(g, "Flatten", "f", "f", p);
    net_output(g, NODE(g, "Gemm", "c", "y", f, net_constant(g, "w3", DT_FLOAT, DIMS(6, 3), NULL)));
    net_done(g);
    return g;
}

static const struct { const char *name; Graph *(*make)(void); bool image; } nets[] = { { "sequences", sequences, false },
                                                                                     { "images", images, true } };

/* One sample a file, all of different size, but for the last, which repeats the first's, and the fourth, which holds two. */
static void write_files(bool image)
{
    for (int i = 0; i < FILES; i++) {
        Err err;
        NpzWriter *w;
        Tensor t;
        int64_t rows = i == 3 ? 2 : 1, length = i == FILES - 1 ? 1 : i + 1;
        Shape shape = image ? shape_of(4, (int64_t[]){ rows, 2, length + 2, 3 + i % 4 }) : shape_of(3, (int64_t[]){ rows, length, 4 });
        Rng rng;
        rng_init(&rng, 7 + (uint64_t)i);
        assert_ok(tensor_new(&t, DT_FLOAT, &shape, &err), &err);
        for (int64_t k = 0; k < tensor_count(&t); k++) tensor_set(&t, k, rng_normal(&rng));
        assert_ok(npz_writer_open(file_path(i), i % 2 == 1, &w, &err), &err);
        assert_ok(npz_writer_tensor(w, "x", &t, &err), &err);
        assert_ok(npz_writer_commit(w, &err), &err);
        tensor_release(&t);
    }
}

static Dataset *open_data(const Graph *g, const char *path)
{
    Err err;
    Dataset *d;
    assert_ok(dataset_open(path, g, &(DataOptions){ 0 }, &d, &err), &err);
    return d;
}

static LayerStats *gather(const Graph *g, const char *path, LayerStatsOptions o)
{
    Err err;
    LayerStats *s;
    Dataset *d = open_data(g, path);
    assert_ok(layer_stats_gather(g, d, &o, &s, &err), &err);
    dataset_free(d);
    return s;
}

static double *square_of(const LayerStats *s, int i)
{
    Err err;
    size_t width = (size_t)layer_stats_form(s, i)->width;
    double *h = calloc(width * width, sizeof *h);
    assert_non_null(h);
    assert_ok(layer_stats_square(s, i, 0, h, &err), &err);
    return h;
}

static void layer_statistics(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof nets / sizeof *nets; n++) {
        Graph *g = nets[n].make();
        write_files(nets[n].image);
        ValueId watched = graph_find_value(g, STR("r"));
        LayerStatsOptions o = { .threads = 1, .batch = 32, .values = &watched, .value_count = 1 };
        LayerStats *all = gather(g, folder, o), *single[FILES];
        int64_t elements = 0;
        double most = 0, sum = 0;
        for (int k = 0; k < FILES; k++) {
            single[k] = gather(g, file_path(k), o);
            const ActivationStats *a = layer_stats_activation(single[k], watched);
            elements += a->count;
            most = fmax(most, a->max);
            sum += a->sum;
        }
        const ActivationStats *a = layer_stats_activation(all, watched);
        assert_true(a->count == elements && a->max == most && a->min == 0.0);
        assert_near(a->sum, sum, 1e-9 * sum);
        assert_int_equal(layer_stats_count(all), 3);
        for (int i = 0; i < 3; i++) {
            size_t width = (size_t)layer_stats_form(all, i)->width;
            double *h = square_of(all, i);
            int64_t columns = 0;
            print_message("%s: %.*s\n", nets[n].name, STR_ARG(layer_stats_form(all, i)->layer.name));
            for (int k = 0; k < FILES; k++) {
                double *part = square_of(single[k], i);
                for (size_t c = 0; c < width * width; c++) h[c] -= part[c];
                columns += layer_stats_columns(single[k], i);
                free(part);
            }
            assert_int_equal(layer_stats_columns(all, i), columns);
            /* float32 inputs of about 1: their last bits may depend on how many rows a run has */
            for (size_t c = 0; c < width * width; c++) assert_near(h[c], 0.0, 1e-7 * (double)columns);
            free(h);
        }
        for (int k = 0; k < FILES; k++) layer_stats_free(single[k]);
        LayerStats *some = gather(g, folder, (LayerStatsOptions){ .threads = 1, .positions = 26 });
        assert_int_equal(layer_stats_columns(some, 2), FILES + 1);
        assert_true(layer_stats_columns(some, 0) < layer_stats_columns(all, 0) && layer_stats_columns(some, 0) <= 26);
        LayerStats *few = gather(g, folder, (LayerStatsOptions){ .threads = 1, .samples = 4 });
        assert_int_equal(layer_stats_columns(few, 2), 4);
        layer_stats_free(few);
        layer_stats_free(some);
        layer_stats_free(all);
        graph_free(g);
    }
}

static void ranges(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof nets / sizeof *nets; n++) {
        Graph *g = nets[n].make();
        write_files(nets[n].image);
        ValueId b = graph_find_value(g, STR("b"));
        ActivationStats sum = { .min = INFINITY, .max = -INFINITY };
        LayerStatsOptions o = { .threads = 1, .batch = 32, .values_only = true, .values = &b, .value_count = 1 };
        LayerStats *together = gather(g, folder, o);
        const ActivationStats *all = layer_stats_activation(together, b);
        o.batch = 0;
        for (int k = 0; k < FILES; k++) {
            LayerStats *single = gather(g, file_path(k), o);
            const ActivationStats *one = layer_stats_activation(single, b);
            sum.min = fmin(sum.min, one->min);
            sum.max = fmax(sum.max, one->max);
            sum.count += one->count;
            sum.sum_squares += one->sum_squares;
            layer_stats_free(single);
        }
        assert_true(all->count == sum.count);
        assert_near(all->min, sum.min, 1e-5);
        assert_near(all->max, sum.max, 1e-5);
        assert_near(all->sum_squares, sum.sum_squares, 1e-5 * sum.sum_squares);
        layer_stats_free(together);
        graph_free(g);
    }
}

typedef struct Halving {
    Graph *g;
    const LayerStats *stats;
    int stops;
    bool halve;
} Halving;

/* The first layer's weights become half of what they were: behind a Relu every input x' is x / 2, so C = sum x x'^T is 2 H. */
static Status halve(void *user, const WalkLayer *w, Err *err)
{
    Halving *u = user;
    const LayerForm *f = w->form;
    double *h = square_of(u->stats, w->index);
    assert_int_equal(w->count, layer_stats_columns(u->stats, w->index));
    for (int64_t i = 0; w->index < 2 && i < f->width * f->width; i++) {
        double scale = u->halve && w->index == 1 ? 0.5 : 1.0;
        assert_near(w->square[i], scale * scale * h[i], 1e-5 * (double)w->count);
        assert_near(w->cross[i], scale * h[i], 1e-5 * (double)w->count);
    }
    free(h);
    u->stops++;
    if (w->index != 0 || !u->halve) return OK;
    Tensor *t;
    TRY(tensor_make_writable(u->g, f->layer.weight, &t, err));
    for (int64_t i = 0; i < tensor_count(t); i++) tensor_set(t, i, 0.5 * tensor_get(t, i));
    return OK;
}

typedef struct Outputs {
    Halving h;
    int calls;
    bool equal;
} Outputs;

static Status look(void *user, int output, int64_t first, int64_t count, const Tensor *a, const Tensor *b, Err *err)
{
    Outputs *o = user;
    (void)output;
    (void)err;
    assert_true(first == o->calls && count == 1 && a->bytes == b->bytes);
    o->equal = o->equal && memcmp(a->data, b->data, a->bytes) == 0;
    o->calls++;
    return OK;
}

static void walk(void **state)
{
    (void)state;
    static const struct { const char *name; bool halve; } rows[] = {
        { "nothing changes", false }, { "halved", true } };
    for (size_t n = 0; n < sizeof nets / sizeof *nets; n++) {
        Graph *g = nets[n].make();
        write_files(nets[n].image);
        LayerStats *stats = gather(g, folder, (LayerStatsOptions){ .threads = 1 });
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            Err err;
            WalkCost cost;
            Graph *copy = net_clone(g);
            Dataset *d = open_data(g, folder);
            Outputs o = { .h = { .g = copy, .stats = stats, .halve = rows[i].halve }, .equal = true };
            print_message("%s: %s\n", nets[n].name, rows[i].name);
            assert_ok(walk_layers(g, copy, d, &(WalkOptions){ .threads = 1, .batch = 32, .output = look }, halve,
                                  &o, &cost, &err), &err);
            assert_int_equal(o.h.stops, 3);
            assert_int_equal(o.calls, FILES + 1);
            assert_int_equal(o.equal, !rows[i].halve);
            dataset_free(d);
            graph_free(copy);
        }
        layer_stats_free(stats);
        graph_free(g);
    }
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < FILES; i++) unlink(file_path(i));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layer_statistics),
        cmocka_unit_test(ranges),
        cmocka_unit_test(walk),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
