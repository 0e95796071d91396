#include "net.h"

#include "base/version.h"
#include "data/dataset.h"
#include "data/targets.h"
#include "stats/digest.h"

extern const Pass pass_distill;

static char folder[] = P_tmpdir "/pare-test-distill-XXXXXX";
static char data_path[sizeof folder + 16], target_path[sizeof folder + 16];

enum { SAMPLES = 5, CLASSES = 3 };

/* Three logits a sample; the teacher `net` adds its bias. */
static const float inputs[SAMPLES * CLASSES] = { 0, 0, 0, /**/ 1, 2, 3, /**/ -4, 0, 4, /**/ 100, 0, -100, /**/ 0.5f, 0.5f, 0.25f };

static int make_folder(void **state)
{
    (void)state;
    Err err;
    NpzWriter *w;
    int array;
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(data_path, sizeof data_path, "%s/data.npz", folder);
    snprintf(target_path, sizeof target_path, "%s/targets.npz", folder);
    Shape shape = shape_of(DIMS(SAMPLES, CLASSES)), labels = shape_of(DIMS(SAMPLES));
    if (npz_writer_open(data_path, false, &w, &err) != OK || npz_writer_array(w, "x", DT_FLOAT, &shape, &array, &err) != OK ||
        npz_writer_rows(w, array, inputs, SAMPLES, &err) != OK || npz_writer_array(w, "label", DT_INT64, &labels, &array, &err) != OK)
        return -1;
    return npz_writer_rows(w, array, (int64_t[]){ 0, 2, 2, 0, 1 }, SAMPLES, &err) != OK || npz_writer_commit(w, &err) != OK ? -1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(data_path);
    unlink(target_path);
    return rmdir(folder);
}

/* y = x + bias, then Softmax when asked. */
static Graph *teacher(double b0, double b1, double b2, bool softmax)
{
    Graph *g = net_new(17);
    ValueId x = net_feed(g, "x", DT_FLOAT, DIMS(-1, CLASSES));
    ValueId sum = NODE(g, "Add", "add", "sum", x, net_constant(g, "bias", DT_FLOAT, DIMS(CLASSES), (double[]){ b0, b1, b2 }));
    net_output(g, softmax ? NODE(g, "Softmax", "softmax", "y", sum) : NODE(g, "Identity", "same", "y", sum));
    net_done(g);
    return g;
}

/* Runs the pass on g with these teachers and leaves target_path. */
static Status distill(Graph *g, Graph **models, int model_count, const char *const *set, PassRecord *record, Err *err)
{
    static const char *const hashes[] = { "first", "second", "third" };
    Dataset *data;
    Targets *targets;
    DataOptions options = { .want_labels = true };
    assert_ok(dataset_open(data_path, g, &options, &data, err), err);
    assert_ok(targets_open(target_path, true, &targets, err), err);
    PassContext with = { .threads = 1, .calibration = data, .models = models, .model_hashes = hashes, .model_count = model_count,
                         .targets = targets };
    const char *all[16] = { "targets", "targets.npz" };
    for (int i = 0; set[i] != NULL; i++) {
        all[2 + i] = set[i];
        all[3 + i] = NULL;
    }
    Status status = net_pass(&pass_distill, g, all, NULL, 0, &with, record, err);
    dataset_free(data);
    if (status == OK) return targets_commit(targets, err);
    targets_abort(targets);
    return status;
}

static void read_target(Npz *z, const char *name, Tensor *out)
{
    Err err;
    int i = npz_find(z, name);
    if (i < 0) fail_msg("no array '%s'", name);
    assert_ok(npz_tensor(z, i, out, &err), &err);
}

static Npz *open_targets(void)
{
    Err err;
    Npz *z;
    assert_ok(npz_open(target_path, 0, &z, &err), &err);
    return z;
}

static double number_of(Npz *z, const char *name)
{
    Tensor t;
    read_target(z, name, &t);
    double value = tensor_get(&t, 0);
    tensor_release(&t);
    return value;
}

static void expect_text(Npz *z, const char *name, const char *text)
{
    Tensor t;
    read_target(z, name, &t);
    assert_int_equal(tensor_count(&t), strlen(text));
    assert_memory_equal(t.data, text, strlen(text));
    tensor_release(&t);
}

/* softmax((x + b) / T) by its definition, in long double. */
static void softmax(const float *x, const double *b, double temperature, double *out)
{
    long double sum = 0, largest = -INFINITY;
    for (int k = 0; k < CLASSES; k++) largest = fmaxl(largest, (long double)x[k] + b[k]);
    for (int k = 0; k < CLASSES; k++) sum += expl(((long double)x[k] + b[k] - largest) / temperature);
    for (int k = 0; k < CLASSES; k++) out[k] = (double)(expl(((long double)x[k] + b[k] - largest) / temperature) / sum);
}

static void one_teacher(void **state)
{
    (void)state;
    static const char *const temperatures[] = { "1", "4", "0.5", "20" };
    for (size_t t = 0; t < 4; t++) {
        for (int batch = 1; batch <= 5; batch += 2) {
            Err err;
            char batch_text[16];
            PassRecord record = { 0 };
            Graph *g = teacher(0, 0, 0, false);
            snprintf(batch_text, sizeof batch_text, "%d", batch);
            const char *set[] = { "temperature", temperatures[t], "batch", batch_text, NULL };
            assert_ok(distill(g, NULL, 0, set, &record, &err), &err);
            Npz *z = open_targets();
            Tensor logits, probabilities;
            read_target(z, "logits", &logits);
            read_target(z, "probabilities", &probabilities);
            assert_true(logits.type == DT_FLOAT && logits.shape.rank == 2 && logits.shape.dims[0] == SAMPLES);
            for (int i = 0; i < SAMPLES; i++) {
                double p[CLASSES];
                softmax(inputs + i * CLASSES, (double[3]){ 0 }, atof(temperatures[t]), p);
                for (int k = 0; k < CLASSES; k++) {
                    assert_near(tensor_get(&logits, i * CLASSES + k), inputs[i * CLASSES + k], 0);
                    assert_near(tensor_get(&probabilities, i * CLASSES + k), p[k], 1e-7);
                }
            }
            assert_near(number_of(z, "temperature"), atof(temperatures[t]), 0);
            assert_near(number_of(z, "samples"), SAMPLES, 0);
            expect_text(z, "pare_version", PARE_VERSION);
            char hash[HASH_TEXT];
            assert_ok(graph_digest(g, hash, &err), &err);
            expect_text(z, "teacher_0_contents_sha256", hash);
            assert_near(net_number(net_entry(&record, RECORD_NOTE, "targets"), "accuracy"), 0.8, 1e-12); /* the last is a tie of 0 and 1 */
            tensor_release(&logits);
            tensor_release(&probabilities);
            npz_close(z);
            record_release(&record);
            graph_free(g);
        }
    }
}

/* p = 0.75 softmax(z1 / T) + 0.25 softmax(z2 / T); a teacher that ends in Softmax counts by its log probabilities. */
static void weighted_ensemble(void **state)
{
    (void)state;
    static const double first[] = { 0, 1, 0 }, second[] = { 2, 0, -1 };
    for (int with_softmax = 0; with_softmax < 2; with_softmax++) {
        Err err;
        PassRecord record = { 0 };
        Graph *g = teacher(0, 0, 0, false);
        Graph *models[] = { teacher(0, 1, 0, false), teacher(2, 0, -1, with_softmax) };
        static const char *const set[] = { "temperature", "2", "teacher", "a,b", "weights", "3,1", NULL };
        assert_ok(distill(g, models, 2, set, &record, &err), &err);
        Npz *z = open_targets();
        Tensor logits, probabilities;
        read_target(z, "logits", &logits);
        read_target(z, "probabilities", &probabilities);
        for (int i = 0; i < SAMPLES; i++) {
            double p[CLASSES], q[CLASSES];
            if (with_softmax && i == 3) continue; /* its probabilities fall under the floor */
            softmax(inputs + i * CLASSES, first, 2, p);
            softmax(inputs + i * CLASSES, second, 2, q);
            for (int k = 0; k < CLASSES; k++) {
                double x = inputs[i * CLASSES + k];
                assert_near(tensor_get(&probabilities, i * CLASSES + k), 0.75 * p[k] + 0.25 * q[k], 1e-5);
                double mean = 0.75 * (x + first[k]) + 0.25 * (x + second[k]);
                if (!with_softmax) assert_near(tensor_get(&logits, i * CLASSES + k), mean, 1e-5);
            }
        }
        expect_text(z, "teacher_0_sha256", "first");
        expect_text(z, "teacher_1_sha256", "second");
        expect_text(z, "teacher_1_logits", with_softmax ? "log probabilities" : "logits");
        assert_near(number_of(z, "teacher_0_weight"), 0.75, 0);
        tensor_release(&logits);
        tensor_release(&probabilities);
        npz_close(z);
        record_release(&record);
        graph_free(g);
        graph_free(models[0]);
        graph_free(models[1]);
    }
}

static void top_k(void **state)
{
    (void)state;
    static const int32_t order[SAMPLES][2] = { { 0, 1 }, { 2, 1 }, { 2, 1 }, { 0, 1 }, { 0, 1 } };
    Err err;
    PassRecord record = { 0 };
    Graph *g = teacher(0, 0, 0, false);
    assert_ok(distill(g, NULL, 0, (const char *[]){ "top-k", "2", "temperature", "3", NULL }, &record, &err), &err);
    Npz *z = open_targets();
    Tensor indices, logits, probabilities;
    assert_true(npz_find(z, "logits") < 0);
    read_target(z, "top_indices", &indices);
    read_target(z, "top_logits", &logits);
    read_target(z, "top_probabilities", &probabilities);
    for (int i = 0; i < SAMPLES; i++) {
        double p[CLASSES];
        softmax(inputs + i * CLASSES, (double[3]){ 0 }, 3, p);
        for (int k = 0; k < 2; k++) {
            assert_int_equal(tensor_get_int(&indices, 2 * i + k), order[i][k]);
            assert_near(tensor_get(&logits, 2 * i + k), inputs[i * CLASSES + order[i][k]], 0);
            assert_near(tensor_get(&probabilities, 2 * i + k), p[order[i][k]], 1e-7);
        }
    }
    tensor_release(&indices);
    tensor_release(&logits);
    tensor_release(&probabilities);
    npz_close(z);
    assert_status(distill(g, NULL, 0, (const char *[]){ "top-k", "4", NULL }, &record, &err), ERR_USAGE, &err);
    record_release(&record);
    graph_free(g);
}

static void intermediate_tensors(void **state)
{
    (void)state;
    Err err;
    PassRecord record = { 0 };
    Graph *g = teacher(1, 2, 3, true);
    assert_ok(distill(g, NULL, 0, (const char *[]){ "tensors", "su*,x", "batch", "2", NULL }, &record, &err), &err);
    Npz *z = open_targets();
    Tensor sum, x;
    read_target(z, "tensor:sum", &sum);
    read_target(z, "tensor:x", &x);
    assert_int_equal(tensor_count(&sum), SAMPLES * CLASSES);
    for (int i = 0; i < SAMPLES * CLASSES; i++) {
        assert_near(tensor_get(&x, i), inputs[i], 0);
        assert_near(tensor_get(&sum, i), inputs[i] + 1 + i % CLASSES, 1e-6);
    }
    tensor_release(&sum);
    tensor_release(&x);
    npz_close(z);
    assert_status(distill(g, NULL, 0, (const char *[]){ "tensors", "sun", NULL }, &record, &err), ERR_USAGE, &err);
    assert_non_null(strstr(err.text, "'sum'"));
    Graph *models[] = { teacher(0, 0, 0, false), teacher(1, 1, 1, false) };
    assert_ok(distill(g, models, 2, (const char *[]){ "teacher", "a,b", "tensors", "sum", NULL }, &record, &err), &err);
    z = open_targets();
    assert_true(npz_find(z, "tensor:0:sum") >= 0 && npz_find(z, "tensor:1:sum") >= 0);
    npz_close(z);
    record_release(&record);
    graph_free(g);
    graph_free(models[0]);
    graph_free(models[1]);
}

static size_t file_bytes(uint8_t *out, size_t size)
{
    FILE *f = fopen(target_path, "rb");
    assert_non_null(f);
    size_t n = fread(out, 1, size, f);
    fclose(f);
    return n;
}

static void laws(void **state)
{
    (void)state;
    static uint8_t one[1 << 16], two[1 << 16];
    Err err;
    char before[HASH_TEXT], after[HASH_TEXT];
    PassRecord record = { 0 };
    Graph *g = teacher(1, 2, 3, false);
    assert_ok(graph_digest(g, before, &err), &err);
    assert_ok(distill(g, NULL, 0, (const char *[]){ "tensors", "sum", NULL }, &record, &err), &err);
    size_t first = file_bytes(one, sizeof one);
    assert_ok(distill(g, NULL, 0, (const char *[]){ "tensors", "sum", NULL }, &record, &err), &err);
    assert_int_equal(first, file_bytes(two, sizeof two));
    assert_memory_equal(one, two, first); /* the same recipe, the same bytes */
    assert_ok(graph_digest(g, after, &err), &err);
    assert_string_equal(before, after); /* the network stays */
    record_release(&record);
    graph_free(g);
}

static Graph *wide_teacher(void)
{
    Graph *g = net_new(17);
    ValueId x = net_feed(g, "x", DT_FLOAT, DIMS(-1, CLASSES));
    net_output(g, NODE(g, "MatMul", "fc", "scores", x, net_constant(g, "w", DT_FLOAT, DIMS(CLASSES, 4), NULL)));
    net_done(g);
    return g;
}

static void errors(void **state)
{
    (void)state;
    static const struct { const char *set[5]; Status status; const char *text; } rows[] = {
        { { "weights", "1,2", NULL }, ERR_USAGE, "2 weights for 1 teachers" },
        { { "weights", "none", NULL }, ERR_USAGE, "'none'" },
        { { "weights", "0", NULL }, ERR_USAGE, "0" },
        { { "logits", "z", NULL }, ERR_USAGE, "'z'" },
        { { "temperature", "0", NULL }, ERR_USAGE, "temperature" },
    };
    Err err;
    PassRecord record = { 0 };
    Graph *g = teacher(0, 0, 0, false);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_status(distill(g, NULL, 0, rows[i].set, &record, &err), rows[i].status, &err);
        if (strstr(err.text, rows[i].text) == NULL) fail_msg("%s %s: %s", rows[i].set[0], rows[i].set[1], err.text);
    }
    Graph *models[] = { teacher(0, 0, 0, false), wide_teacher() };
    assert_status(distill(g, models, 2, (const char *[]){ "teacher", "small,big", NULL }, &record, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "'small'"));
    assert_non_null(strstr(err.text, "'big'"));
    assert_non_null(strstr(err.text, "[5,4]"));
    Graph *nan = net_new(17);
    net_output(nan, NODE(nan, "Sqrt", "root", "y", net_feed(nan, "x", DT_FLOAT, DIMS(-1, CLASSES))));
    net_done(nan);
    assert_status(distill(nan, NULL, 0, (const char *[]){ NULL }, &record, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "'y'"));
    Graph *sigmoid = net_new(17);
    net_output(sigmoid, NODE(sigmoid, "Sigmoid", "gate", "y", net_feed(sigmoid, "x", DT_FLOAT, DIMS(-1, CLASSES))));
    net_done(sigmoid);
    assert_status(distill(sigmoid, NULL, 0, (const char *[]){ NULL }, &record, &err), ERR_UNSUPPORTED, &err);
    record_release(&record);
    graph_free(g);
    graph_free(models[0]);
    graph_free(models[1]);
    graph_free(nan);
    graph_free(sigmoid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_teacher),
        cmocka_unit_test(weighted_ensemble),
        cmocka_unit_test(top_k),
        cmocka_unit_test(intermediate_tensors),
        cmocka_unit_test(laws),
        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
