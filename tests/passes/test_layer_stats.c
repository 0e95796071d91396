/* The layer statistics: against what the layers give, the same for any threads and groups of layers, kept and found damaged in the cache,
 * in memory that does not grow. */
#include "mixed_net.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "graph/format.h"
#include "stats/layers.h"

static LayerStats *gather(const Graph *g, Dataset *d, const LayerStatsOptions *o)
{
    Err err;
    LayerStats *s;
    assert_ok(layer_stats_gather(g, d, o, &s, &err), &err);
    return s;
}

static double *square_of(const LayerStats *s, int i, int64_t group)
{
    Err err;
    int64_t n = layer_stats_form(s, i)->width;
    double *h = malloc((size_t)(n * n) * sizeof *h);
    assert_non_null(h);
    assert_ok(layer_stats_square(s, i, group, h, &err), &err);
    return h;
}

/* --- what a layer gives is W x + b: so W H W^T must be the second moment of its output without the bias */

typedef struct Seen {
    const LayerForm *f;
    const double *b;
    double *square, *sum; /* [groups,outputs,outputs], [groups,outputs] */
} Seen;

static Status add_output(void *user, ValueId v, const Tensor *t, Err *err)
{
    Seen *s = user;
    const LayerForm *f = s->f;
    (void)err;
    if (v != f->layer.output) return OK;
    int64_t all = form_outputs(f), m = f->outputs, count = tensor_count(t), places = 1;
    for (int i = 2; f->kind != FORM_ROWS && i < t->shape.rank; i++) places *= t->shape.dims[i];
    for (int64_t p = 0; p < count / all; p++)
        for (int64_t k = 0; k < all; k++) {
            int64_t first = p / places * places * all + p % places;
            double y = tensor_get(t, first + k * places) - s->b[k];
            s->sum[k] += y;
            for (int64_t j = k / m * m; j < k / m * m + m; j++)
                s->square[k * m + j % m] += y * (tensor_get(t, first + j * places) - s->b[j]);
        }
    return OK;
}

static void check_layer(const Graph *g, const LayerStats *s, int i, const Tensor *input)
{
    Err err;
    const LayerForm *f = layer_stats_form(s, i);
    int64_t n = f->width, m = f->outputs, all = form_outputs(f);
    double *w = malloc((size_t)form_weights(f) * sizeof *w), *b = malloc((size_t)all * sizeof *b);
    Seen seen = { f, b, calloc((size_t)(all * m), sizeof(double)), calloc((size_t)all, sizeof(double)) };
    assert_true(w != NULL && b != NULL && seen.square != NULL && seen.sum != NULL);
    layer_read_weights(g, f, w);
    layer_read_bias(g, f, b);
    Session *session;
    Tensor out;
    assert_ok(session_new(g, &(SessionOptions){ .threads = 1 }, &session, &err), &err);
    assert_ok(session_observe(session, &f->layer.output, 1, add_output, &seen, &err), &err);
    assert_ok(session_run(session, input, &out, &err), &err);
    tensor_release(&out);
    session_free(session);
    for (int64_t k = 0; k < f->groups; k++) {
        double *h = square_of(s, i, k);
        const double *wk = w + k * m * n, *sum = layer_stats_sum(s, i) + k * n;
        double scale = 0.0;
        for (int64_t r = 0; r < m * m; r++) scale = fmax(scale, fabs(seen.square[k * m * m + r]));
        for (int64_t r = 0; r < m; r++) {
            double mean = 0.0;
            for (int64_t j = 0; j < n; j++) mean += wk[r * n + j] * sum[j];
            assert_near(mean, seen.sum[k * m + r], 1e-4 * sqrt(scale * (double)layer_stats_columns(s, i)));
            for (int64_t c = 0; c < m; c++) {
                double made = 0.0;
                for (int64_t j = 0; j < n; j++)
                    for (int64_t l = 0; l < n; l++) made += wk[r * n + j] * h[j * n + l] * wk[c * n + l];
                assert_near(made, seen.square[(k * m + r) * m + c], 1e-5 * scale);
            }
        }
        free(h);
    }
    free(w);
    free(b);
    free(seen.square);
    free(seen.sum);
}

static void products(void **state)
{
    (void)state;
    Err err;
    static const int64_t columns[] = { 7 * 6 * 10, 7 * 6 * 10, 7 * 6 * 10, 14 * 12 * 10, 3 * 14 * 10, 10 };
    Graph *g = mixed();
    Dataset *d = noise(g, 10);
    Tensor input;
    LayerStats *s = gather(g, d, &(LayerStatsOptions){ .threads = 1, .batch = 3 });
    assert_int_equal(layer_stats_count(s), 6);
    assert_int_equal(layer_stats_sweeps(s), 1);
    assert_ok(dataset_read(d, 0, 10, &input, NULL, &err), &err);
    for (int i = 0; i < 6; i++) {
        print_message("%.*s\n", STR_ARG(layer_stats_form(s, i)->layer.name));
        assert_int_equal(layer_stats_columns(s, i), columns[i]);
        assert_int_equal(layer_stats_find(s, layer_stats_form(s, i)->layer.node), i);
        check_layer(g, s, i, &input);
    }
    tensor_release(&input);
    layer_stats_free(s);
    dataset_free(d);
    graph_free(g);
}

static bool same(const LayerStats *a, const LayerStats *b)
{
    bool equal = layer_stats_count(a) == layer_stats_count(b);
    for (int i = 0; equal && i < layer_stats_count(a); i++) {
        const LayerForm *f = layer_stats_form(a, i);
        equal = layer_stats_columns(a, i) == layer_stats_columns(b, i);
        equal = equal && memcmp(layer_stats_sum(a, i), layer_stats_sum(b, i), (size_t)(f->groups * f->width) * sizeof(double)) == 0;
        for (int64_t k = 0; equal && k < f->groups; k++) {
            double *x = square_of(a, i, k), *y = square_of(b, i, k);
            equal = memcmp(x, y, (size_t)(f->width * f->width) * sizeof(double)) == 0;
            free(x);
            free(y);
        }
    }
    return equal;
}

static void same_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        LayerStatsOptions o;
        bool equal;
        int sweeps;
    } rows[] = {
        { "again", { .threads = 1, .batch = 8 }, true, 1 },
        { "two threads", { .threads = 2, .batch = 8 }, true, 1 },
        { "in groups", { .threads = 1, .batch = 8, .max_mem = 1800000 }, true, 2 },
        { "some positions", { .threads = 1, .batch = 8, .positions = 200, .seed = 1 }, false, 1 },
        { "fewer samples", { .threads = 1, .batch = 8, .samples = 39 }, false, 1 },
    };
    Graph *g = mixed();
    Dataset *d = noise(g, 40);
    LayerStats *first = gather(g, d, &(LayerStatsOptions){ .threads = 1, .batch = 8 });
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        LayerStats *s = gather(g, d, &rows[i].o);
        if (same(first, s) != rows[i].equal) fail_msg("%s: the same is %d", rows[i].name, !rows[i].equal);
        if (rows[i].sweeps == 1 ? layer_stats_sweeps(s) != 1 : layer_stats_sweeps(s) < 2)
            fail_msg("%s: %d sweeps", rows[i].name, layer_stats_sweeps(s));
        if (rows[i].o.positions > 0) assert_int_equal(layer_stats_columns(s, 0), 200);
        layer_stats_free(s);
    }
    Err err;
    LayerStats *s;
    assert_status(layer_stats_gather(g, d, &(LayerStatsOptions){ .threads = 1, .max_mem = 100000 }, &s, &err), ERR_MEMORY, &err);
    layer_stats_free(first);
    dataset_free(d);
    graph_free(g);
}

/* Positions are drawn per sample: batching does not change which, so only the order of the sums can differ. */
static void drawn_positions(void **state)
{
    (void)state;
    Graph *g = mixed();
    Dataset *d = noise(g, 12);
    LayerStats *a = gather(g, d, &(LayerStatsOptions){ .threads = 1, .batch = 1, .positions = 60, .seed = 4 });
    LayerStats *b = gather(g, d, &(LayerStatsOptions){ .threads = 1, .batch = 12, .positions = 60, .seed = 4 });
    LayerStats *c = gather(g, d, &(LayerStatsOptions){ .threads = 1, .batch = 12, .positions = 60, .seed = 5 });
    for (int64_t k = 0; k < layer_stats_form(a, 0)->width; k++)
        assert_near(layer_stats_sum(a, 0)[k], layer_stats_sum(b, 0)[k], 1e-9);
    assert_true(!same(b, c));
    layer_stats_free(a);
    layer_stats_free(b);
    layer_stats_free(c);
    dataset_free(d);
    graph_free(g);
}

/* Two layers of one input share one entry. */
static void shared_input(void **state)
{
    (void)state;
    Graph *g = net_new(17);
    ValueId x = net_feed(g, "x", DT_FLOAT, DIMS(graph_symbol(g, STR("N")), 5));
    ValueId q = NODE(g, "MatMul", "q", "q", x, net_constant(g, "wq", DT_FLOAT, DIMS(5, 3), NULL));
    ValueId k = NODE(g, "MatMul", "k", "k", x, net_constant(g, "wk", DT_FLOAT, DIMS(5, 3), NULL));
    net_output(g, NODE(g, "Add", "y", "y", q, k));
    net_done(g);
    Err err;
    Dataset *d;
    Shape shape = shape_of(2, (int64_t[]){ 1, 5 });
    assert_ok(dataset_random(g, &shape, 9, 1, &d, &err), &err);
    LayerStats *s = gather(g, d, &(LayerStatsOptions){ .threads = 1 });
    assert_int_equal(layer_stats_count(s), 2);
    assert_ptr_equal(layer_stats_sum(s, 0), layer_stats_sum(s, 1));
    assert_int_equal(layer_stats_columns(s, 1), 9);
    layer_stats_free(s);
    dataset_free(d);
    graph_free(g);
}

/* --- activations */

/* Each sample's own ends, whatever the batches, the order in which the kernels keep the elements, and the threads. */
static void sample_ends(void **state)
{
    (void)state;
    Graph *g = mixed();
    Dataset *d = noise(g, 20);
    ValueId v = graph_find_value(g, STR("r1"));
    static const LayerStatsOptions rows[] = {
        { .threads = 1, .batch = 1, .means_only = true },    { .threads = 1, .batch = 20, .means_only = true },
        { .threads = 1, .batch = 3, .values_only = true },   { .threads = 2, .batch = 20, .values_only = true },
        { .threads = 1, .batch = 6, .values_only = true, .ends_only = true },
    };
    double low = 0.0, high = 0.0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        LayerStatsOptions o = rows[i];
        o.values = &v;
        o.value_count = 1;
        LayerStats *s = gather(g, d, &o);
        const ActivationStats *a = layer_stats_activation(s, v);
        assert_int_equal(a->parts, 20);
        if (i == 0) low = a->sum_min, high = a->sum_max;
        assert_near(a->sum_min, low, 1e-6);
        assert_near(a->sum_max, high, 1e-5);
        assert_true(a->sum_max > 0.0 && a->sum_max < 20.0 * a->max && a->sum_min >= 20.0 * a->min);
        layer_stats_free(s);
    }
    dataset_free(d);
    graph_free(g);
}

static void activations(void **state)
{
    (void)state;
    Err err;
    Graph *g = mixed();
    Dataset *d = noise(g, 20);
    ValueId v = graph_find_value(g, STR("r1"));
    LayerStats *s = gather(g, d, &(LayerStatsOptions){ .threads = 1, .batch = 20, .values = &v, .value_count = 1, .means_only = true });
    LayerStats *t = gather(g, d, &(LayerStatsOptions){ .threads = 1, .batch = 3, .values = &v, .value_count = 1, .means_only = true });
    const ActivationStats *a = layer_stats_activation(s, v), *b = layer_stats_activation(t, v);
    assert_non_null(a);
    assert_null(layer_stats_activation(s, v + 1));
    assert_int_equal(a->count, 20 * 8 * 7 * 6);
    assert_memory_equal(&a->histogram, &b->histogram, sizeof a->histogram); /* whatever the batches */
    assert_true(a->min == 0.0 && a->min == b->min && a->max == b->max && a->max > 0.0);
    assert_true(a->average_max == a->max && b->average_max < a->max); /* one call; several */
    uint64_t total = 0;
    int first = -1, last = -1;
    for (int i = 0; i < HISTOGRAM_BINS; i++) {
        total += a->histogram.bins[i];
        if (a->histogram.bins[i] > 0) last = i;
        if (a->histogram.bins[i] > 0 && first < 0) first = i;
    }
    assert_int_equal(total, a->count);
    assert_true(histogram_edge(&a->histogram, first) <= a->min && histogram_edge(&a->histogram, last) <= a->max);
    assert_true(histogram_edge(&a->histogram, last + 1) > a->max && last >= 1023);
    double *h = malloc(36 * 36 * sizeof *h);
    assert_status(layer_stats_square(s, 0, 0, h, &err), ERR_BUG, &err);
    free(h);
    layer_stats_free(s);
    layer_stats_free(t);
    dataset_free(d);
    graph_free(g);
}

static void histograms(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int count;
        float x[6];
    } rows[] = {
        { "growing", 6, { 0.001f, -0.002f, 1.0f, -50.0f, 1e6f, 3.0f } },
        { "zeros first", 4, { 0.0f, 0.0f, 1e-30f, 7.0f } },
        { "one value", 3, { 5.0f, 5.0f, 5.0f } },
        { "far from zero", 4, { 1000.0f, 1000.5f, 1001.0f, 1000.25f } },
        { "huge", 3, { 3e38f, -3e38f, 1.0f } },
        { "subnormal", 3, { 1e-45f, 3e-45f, 0.0f } },
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        Histogram forward = { 0 }, backward = { 0 };
        int n = rows[r].count;
        for (int i = 0; i < n; i++) {
            double x = (double)rows[r].x[i], y = (double)rows[r].x[n - 1 - i];
            histogram_add(&forward, &rows[r].x[i], 1, x, x);
            histogram_add(&backward, &rows[r].x[n - 1 - i], 1, y, y);
        }
        if (memcmp(&forward, &backward, sizeof forward) != 0) fail_msg("%s: the order matters", rows[r].name);
        for (int i = 0; i < n; i++) {
            double x = (double)rows[r].x[i];
            uint64_t below = 0, counted = 0;
            for (int k = 0; k < HISTOGRAM_BINS; k++)
                if (histogram_edge(&forward, k + 1) <= x) counted += forward.bins[k];
            for (int k = 0; k < n; k++) below += floor(ldexp((double)rows[r].x[k], -(int)forward.exponent)) <
                                                 floor(ldexp(x, -(int)forward.exponent));
            if (below != counted) fail_msg("%s: %d values counted below %g, there are %d", rows[r].name, (int)counted, x, (int)below);
        }
    }
}

/* --- the cache */

static char *only_entry(const char *folder)
{
    char *path = NULL;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.') continue;
        assert_null(path);
        assert_true(asprintf(&path, "%s/%s", folder, e->d_name) > 0);
    }
    closedir(dir);
    return path;
}

static void damage(const char *path, long at, bool cut)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    if (cut) {
        assert_int_equal(ftruncate(fileno(f), at), 0);
    } else {
        assert_int_equal(fseek(f, at, SEEK_SET), 0);
        int c = fgetc(f);
        assert_int_equal(fseek(f, at, SEEK_SET), 0);
        fputc(c ^ 1, f);
    }
    fclose(f);
}

static void cache(void **state)
{
    (void)state;
    static const struct {
        long at; /* -1: leave it; from the end when below that */
        bool cut, cached;
    } rows[] = { { -1, false, true }, { 0, false, false }, { 100, false, false }, { 200, false, false }, { 20000, false, false },
                 { -10, false, false }, { 300, true, false }, { 0, true, false }, { -1, false, true } };
    char base[] = P_tmpdir "/pare-test-layers-XXXXXX", folder[64];
    assert_non_null(mkdtemp(base));
    snprintf(folder, sizeof folder, "%s/a/b", base);
    Graph *g = mixed();
    Dataset *d = noise(g, 16), *other = noise(g, 15);
    ValueId v = graph_find_value(g, STR("r1"));
    LayerStatsOptions o = { .threads = 1, .values = &v, .value_count = 1, .cache_dir = folder };
    LayerStats *first = gather(g, d, &o);
    assert_false(layer_stats_cached(first));
    char *path = only_entry(folder);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        if (rows[i].at != -1) damage(path, rows[i].at < 0 ? st.st_size + rows[i].at : rows[i].at, rows[i].cut);
        LayerStats *s = gather(g, d, &o);
        if (layer_stats_cached(s) != rows[i].cached) fail_msg("row %zu: cached %d", i, layer_stats_cached(s));
        assert_true(same(first, s));
        assert_memory_equal(layer_stats_activation(first, v), layer_stats_activation(s, v), sizeof(ActivationStats));
        layer_stats_free(s);
    }
    LayerStats *s = gather(g, other, &o); /* other data, another entry */
    assert_false(layer_stats_cached(s));
    assert_false(same(first, s));
    layer_stats_free(s);
    layer_stats_free(first);
    unlink(path);
    free(path);
    path = only_entry(folder);
    unlink(path);
    free(path);
    rmdir(folder);
    snprintf(folder, sizeof folder, "%s/a", base);
    rmdir(folder);
    o.cache_dir = "/dev/null/cache"; /* cannot be: goes on without */
    s = gather(g, d, &o);
    assert_false(layer_stats_cached(s));
    layer_stats_free(s);
    rmdir(base);
    dataset_free(d);
    dataset_free(other);
    graph_free(g);
}

/* Entries of other networks, sparse files of an age: the oldest goes when there is more than 2 GB, others stay. */
static void cache_is_bounded(void **state)
{
    (void)state;
    static const char *const names[] = { "oldest.stats", "older.stats", "old.stats", "large.other" };
    char folder[] = P_tmpdir "/pare-test-layers-XXXXXX", path[128];
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(ftruncate(fileno(f), (off_t)900 << 20), 0);
        fclose(f);
        struct timespec times[2] = { { .tv_sec = 1000 + i }, { .tv_sec = 1000 + i } };
        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    }
    Graph *g = mixed();
    Dataset *d = noise(g, 4);
    LayerStatsOptions o = { .threads = 1, .cache_dir = folder };
    layer_stats_free(gather(g, d, &o));
    LayerStats *s = gather(g, d, &o);
    assert_true(layer_stats_cached(s));
    layer_stats_free(s);
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        assert_int_equal(access(path, F_OK) == 0, i > 0);
        unlink(path);
    }
    char *made = only_entry(folder);
    assert_non_null(made);
    unlink(made);
    free(made);
    rmdir(folder);
    dataset_free(d);
    graph_free(g);
}

/* --- memory */

static long peak_kb(void)
{
    char line[256];
    long kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "VmHWM:", 6) == 0) kb = strtol(line + 6, NULL, 10);
    fclose(f);
    assert_true(kb > 0);
    return kb;
}

static void memory(void **state)
{
    (void)state;
    Err err;
    Graph *g;
    Dataset *d;
    assert_ok(model_load(zoo_path("mnist/lenet5.onnx"), &(LoadOptions){ 0 }, &g, &err), &err);
    engine_bind(g);
    assert_ok(engine_infer(g, &err), &err);
    cJSON *section = cJSON_CreateObject(), *inputs = cJSON_AddObjectToObject(section, "inputs");
    cJSON_AddStringToObject(section, "file", zoo_path("mnist/train.npz"));
    cJSON *image = cJSON_AddObjectToObject(inputs, "image");
    cJSON_AddStringToObject(image, "array", "image");
    cJSON_AddNumberToObject(image, "scale", 1.0 / 255.0);
    cJSON_AddItemToObject(image, "expand", cJSON_CreateIntArray((int[]){ 1 }, 1));
    assert_ok(dataset_open_json(section, g, &(DataOptions){ 0 }, &d, &err), &err);
    cJSON_Delete(section);
    assert_int_equal(dataset_samples(d), 60000);
    long peak[2];
    static const int64_t samples[] = { 500, SLOW ? 3000 : 60000 };
    for (int i = 0; i < 2; i++) {
        LayerStats *s = gather(g, d, &(LayerStatsOptions){ .threads = 1, .batch = 100, .samples = samples[i],
                                                          .positions = samples[i] });
        assert_int_equal(layer_stats_columns(s, 0), samples[i]);
        layer_stats_free(s);
        peak[i] = peak_kb();
    }
    print_message("peak of 500 samples %ld kB, of %d %ld kB\n", peak[0], (int)samples[1], peak[1]);
    if (!SLOW) assert_true(peak[1] - peak[0] < 4096); /* AddressSanitizer keeps freed memory back */
    dataset_free(d);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products),   cmocka_unit_test(same_bytes), cmocka_unit_test(drawn_positions), cmocka_unit_test(shared_input),
        cmocka_unit_test(sample_ends), cmocka_unit_test(activations), cmocka_unit_test(histograms), cmocka_unit_test(cache),
        cmocka_unit_test(memory),
        cmocka_unit_test(cache_is_bounded),
    };
    return cmocka_run_group_tests_name("layer statistics", tests, NULL, NULL);
}
