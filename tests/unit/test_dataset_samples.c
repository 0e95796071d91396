/* Which samples are read and what comes with them: labels, seeded choices, batches, expected outputs, hashes, random data; memory. */
#include "unit/dataset_fixture.h"

#include "data/targets.h"

static void check_labels(const char *graph, const char *section, int count, const int64_t *expected)
{
    Err err;
    Graph *g;
    Dataset *d;
    Tensor inputs[4], labels;
    assert_ok(open_text(section, graph, &labelled, &g, &d, &err), &err);
    assert_true(dataset_has_labels(d));
    assert_ok(dataset_read(d, 0, dataset_samples(d), inputs, &labels, &err), &err);
    assert_int_equal(labels.type, DT_INT64);
    assert_int_equal(tensor_count(&labels), count);
    for (int i = 0; i < count; i++) assert_int_equal(tensor_get_int(&labels, i), expected[i]);
    for (int i = 0; i < g->input_count; i++) tensor_release(&inputs[i]);
    tensor_release(&labels);
    dataset_free(d);
    free_graph(g);
}

static void test_labels(void **state)
{
    (void)state;
    check_labels("x:1:N,3", "\"t.npz\"", 4, (int64_t[]){ 0, 1, 2, 3 });
    check_labels("x:1:N,3", FILE_KEY "\"label\": \"bad_label\", \"ignore-label\": -3}", 4, (int64_t[]){ 0, 1, -3, 2 });
    check_labels("x:1:N,3", FILE_KEY "\"rows\": \"pick\"}", 3, (int64_t[]){ 0, 2, 3 });
    /* inputs listed backwards: labels, in the file's order, are those of the rows they belong to */
    check_labels("x:1:N,3", FILE_KEY "\"inputs\": {\"x\": {\"rows\": \"order\"}}}", 4, (int64_t[]){ 3, 2, 1, 0 });
}

static void test_whole_labels(void **state)
{
    (void)state;
    check_labels("x:1:N,3 square:1:N,N", "\"t.npz\"", 4, (int64_t[]){ 0, 1, 2, 3 });
    check_labels("x:1:N,3 square:1:N,N", FILE_KEY "\"label\": {\"rows\": \"pick\", \"first\": 2}}", 4, (int64_t[]){ 0, -1, -1, 3 });
    check_labels("x:1:N,3", FILE_KEY "\"sample-axis\": null, \"ignore-label\": 255, \"label\": {\"every\": 2}}", 4, (int64_t[]){ 0, 255, 2,
        255 });
}

/* The choice depends on the seed alone, comes in the file's order, and is the same on every machine. */
static void test_shuffle(void **state)
{
    (void)state;
    Err err;
    double chosen[4][10];
    static const char *const sections[4] = {
        FILE_KEY "\"first\": 10, \"shuffle\": true, \"seed\": 1, \"label\": null}",
            FILE_KEY "\"first\": 10, \"shuffle\": true, \"seed\": 1, \"label\": null}",
        FILE_KEY "\"first\": 10, \"shuffle\": true, \"seed\": 2, \"label\": null}",
            FILE_KEY "\"every\": 10, \"shuffle\": true, \"seed\": 1, \"label\": null}",
    };
    for (int s = 0; s < 4; s++) {
        Graph *g;
        Dataset *d;
        assert_ok(open_text(sections[s], "hundred:1:N,1", &labelled, &g, &d, &err), &err);
        assert_int_equal(dataset_samples(d), 10);
        for (int i = 0; i < 10; i++) {
            Tensor t;
            assert_ok(dataset_read(d, i, 1, &t, NULL, &err), &err);
            chosen[s][i] = tensor_get(&t, 0);
            tensor_release(&t);
            if (i > 0) assert_true(chosen[s][i] > chosen[s][i - 1]);
        }
        dataset_free(d);
        free_graph(g);
    }
    assert_memory_equal(chosen[0], chosen[1], sizeof chosen[0]);
    assert_memory_equal(chosen[0], chosen[3], sizeof chosen[0]);
    assert_memory_not_equal(chosen[0], chosen[2], sizeof chosen[0]);
    assert_true(chosen[0][9] > 20); /* from all hundred, not the first ten */
}

static void test_batches(void **state)
{
    (void)state;
    static const struct { const char *graph, *section; int64_t want, batch; bool batched; } rows[] = {
        { "hundred:1:N,1", FILE_KEY "\"label\": null}", 0, 32, true },
        { "hundred:1:N,1", FILE_KEY "\"label\": null}", 7, 7, true },
        { "hundred:1:N,1", FILE_KEY "\"label\": null}", 1000, 100, true },
        { "hundred:1:1,1", FILE_KEY "\"label\": null}", 64, 1, true },
        { "hundred:1:25,1", FILE_KEY "\"label\": null}", 64, 25, true },
        { "hundred:1:N,1", FILE_KEY "\"sample-axis\": null, \"label\": null}", 64, 1, false },
        { "square:1:N,N", "\"t.npz\"", 64, 1, false },
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        Err err;
        Graph *g;
        Dataset *d;
        assert_ok(open_text(rows[r].section, rows[r].graph, &labelled, &g, &d, &err), &err);
        assert_int_equal(dataset_batch(d, rows[r].want), rows[r].batch);
        assert_int_equal(dataset_batched(d), rows[r].batched);
        dataset_free(d);
        free_graph(g);
    }
}

static void test_fixed_batch_must_divide(void **state)
{
    (void)state;
    Err err;
    Graph *g;
    Dataset *d;
    assert_status(open_text(FILE_KEY "\"label\": null}", "hundred:1:32,1", &labelled, &g, &d, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "take \"first\": 96"));
}

static void test_expected(void **state)
{
    (void)state;
    Err err;
    Graph *g;
    Dataset *d;
    Tensor t;
    assert_ok(open_text(FILE_KEY "\"rows\": \"pick\"}", "x:1:N,3 | gone:1:N square:1:N,4", &labelled, &g, &d, &err), &err);
    assert_false(dataset_has_expected(d, 0));
    assert_true(dataset_has_expected(d, 1));
    assert_false(dataset_has_expected(d, 2));
    assert_ok(dataset_read_expected(d, 1, 1, 2, &t, &err), &err);
    assert_int_equal(tensor_get(&t, 0), 8);
    assert_int_equal(tensor_get(&t, 4), 12);
    tensor_release(&t);
    dataset_free(d);
    free_graph(g);
}

static void open_hash(const char *section, char *text)
{
    Err err;
    Graph *g;
    Dataset *d;
    assert_ok(open_text(section, "x:1:N,3", &labelled, &g, &d, &err), &err);
    assert_ok(dataset_hash(d, text, &err), &err);
    dataset_free(d);
    free_graph(g);
}

/* Same meaning, same hash, however it is written; any other sampling or scaling changes it. */
static void test_hash(void **state)
{
    (void)state;
    char a[HASH_TEXT], b[HASH_TEXT], c[HASH_TEXT], e[HASH_TEXT];
    open_hash("\"t.npz\"", a);
    open_hash(FILE_KEY "\"inputs\": {\"x\": {\"array\": \"x\", \"every\": 1}}}", b);
    open_hash(FILE_KEY "\"first\": 3}", c);
    open_hash(FILE_KEY "\"inputs\": {\"x\": {\"scale\": 2}}}", e);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    assert_string_not_equal(a, e);
}

static void test_random(void **state)
{
    (void)state;
    Err err;
    Graph *g = make_graph("x:1:N,50 y:7:N");
    Dataset *d;
    Shape shapes[2] = { { .rank = 2, .dims = { 1, 50 } }, { .rank = 1, .dims = { 1 } } };
    Tensor all[2], one[2];
    assert_ok(dataset_random(g, shapes, 40, 9, &d, &err), &err);
    assert_int_equal(dataset_samples(d), 40);
    assert_ok(dataset_read(d, 0, 40, all, NULL, &err), &err);
    double sum = 0, squares = 0;
    for (int i = 0; i < 2000; i++) {
        sum += tensor_get(&all[0], i);
        squares += tensor_get(&all[0], i) * tensor_get(&all[0], i);
    }
    assert_near(sum / 2000, 0, 0.1);
    assert_near(squares / 2000, 1, 0.15);
    assert_ok(dataset_read(d, 17, 1, one, NULL, &err), &err);
    for (int i = 0; i < 50; i++) assert_true(tensor_get(&one[0], i) == tensor_get(&all[0], 17 * 50 + i));
    for (int i = 0; i < 40; i++) assert_in_range(tensor_get_int(&all[1], i), 0, 1);
    for (int i = 0; i < 2; i++) {
        tensor_release(&all[i]);
        tensor_release(&one[i]);
    }
    dataset_free(d);
    free_graph(g);
}

/* ---- a .json file, other files ---- */

static void test_files(void **state)
{
    (void)state;
    Err err;
    Dataset *d;
    Graph *g = make_graph("x:1:N,3");
    static const struct { const char *name, *text; Status status; const char *message; } rows[] = {
        { "ok.json", "\n {\"file\": \"t.npz\", \"first\": 2}", OK, "" },
        { "bad.json", "{\"file\": \"t.npz\",\n \"first\": }", ERR_USAGE, "bad.json: not JSON at line 2" },
        { "key.json", "{\"file\": \"t.npz\", \"sed\": 1}", ERR_USAGE, "key.json: data section: unknown key 'sed'; did you mean 'seed'?" },
        { "gone.json", "{\"file\": \"gone.npz\"}", ERR_IO, "gone.npz: No such file or directory" },
        { "other.bin", "hello", ERR_DATA, "neither .npz nor .npy" },
        { "empty.bin", "", ERR_DATA, "neither .npz nor .npy (empty)" },
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        FILE *f = fopen(temp_path(rows[r].name), "w");
        assert_non_null(f);
        fputs(rows[r].text, f);
        fclose(f);
        Status status = dataset_open(temp_path(rows[r].name), g, &labelled, &d, &err);
        unlink(temp_path(rows[r].name));
        if (status != rows[r].status || (status != OK && strstr(err.text, rows[r].message) == NULL)) fail_msg("%s: %d %s", rows[r].name,
            status, err.text);
        if (status == OK) dataset_free(d);
    }
    free_graph(g);
}

static void test_targets(void **state)
{
    (void)state;
    Err err;
    Targets *targets;
    Npz *z;
    Tensor rows, other, t;
    assert_ok(tensor_new(&rows, DT_FLOAT, S(2, 3), &err), &err);
    assert_ok(tensor_new(&other, DT_FLOAT, S(2, 4), &err), &err);
    for (int i = 0; i < 6; i++) tensor_set(&rows, i, i);
    assert_ok(targets_open(temp_path("targets.npz"), true, &targets, &err), &err);
    for (int i = 0; i < 3; i++) assert_ok(targets_append(targets, "logits", &rows, &err), &err);
    assert_status(targets_append(targets, "logits", &other, &err), ERR_DATA, &err);
    assert_ok(targets_note(targets, "data_sha256", "abc", &err), &err);
    assert_ok(targets_number(targets, "temperature", 4, &err), &err);
    assert_ok(targets_commit(targets, &err), &err);
    assert_ok(npz_open(temp_path("targets.npz"), 0, &z, &err), &err);
    assert_int_equal(npz_count(z), 3);
    assert_ok(npz_tensor(z, npz_find(z, "logits"), &t, &err), &err);
    assert_int_equal(t.shape.dims[0], 6);
    for (int i = 0; i < 18; i++) assert_int_equal(tensor_get(&t, i), i % 6);
    tensor_release(&t);
    assert_ok(npz_tensor(z, npz_find(z, "data_sha256"), &t, &err), &err);
    assert_memory_equal(t.data, "abc", 3);
    tensor_release(&t);
    npz_close(z);
    tensor_release(&rows);
    tensor_release(&other);
    unlink(temp_path("targets.npz"));
}

/* ---- memory ---- */

static long peak_kb(void)
{
    char line[256];
    long kb = -1;
    FILE *f = fopen("/proc/self/status", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "VmHWM: %ld", &kb) == 1) break;
    }
    fclose(f);
    return kb;
}

static void stream_all(const char *path, Graph *g)
{
    Err err;
    Dataset *d;
    assert_ok(dataset_open(path, g, &labelled, &d, &err), &err);
    for (int64_t i = 0; i < dataset_samples(d); i += 50) {
        Tensor t;
        assert_ok(dataset_read(d, i, 50, &t, NULL, &err), &err);
        tensor_release(&t);
    }
    dataset_free(d);
}

/* 500 samples, then 60,000 (94 MB as floats, stored and deflated): the peak stays. */
static void test_memory(void **state)
{
    (void)state;
    enum { ROW = 400 };
    Err err;
    Graph *g = make_graph("x:1:N,400");
    float *row = calloc(ROW * 500, sizeof *row);
    assert_non_null(row);
    for (int i = 0; i < ROW * 500; i++) row[i] = (float)(i % 251);
    long peak[3];
    for (int round = 0; round < 3; round++) { /* small, large stored, large deflated */
        NpzWriter *w;
        int array;
        assert_ok(npz_writer_open(temp_path("large.npz"), round == 2, &w, &err), &err);
        assert_ok(npz_writer_array(w, "x", DT_FLOAT, S(0, ROW), &array, &err), &err);
        for (int k = 0; k < (round == 0 ? 1 : 120); k++) assert_ok(npz_writer_rows(w, array, row, 500, &err), &err);
        assert_ok(npz_writer_commit(w, &err), &err);
        stream_all(temp_path("large.npz"), g);
        peak[round] = peak_kb();
    }
    unlink(temp_path("large.npz"));
    free(row);
    free_graph(g);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    if (peak[2] > peak[0] + 8192) fail_msg("peak grew from %ld to %ld, then %ld kB", peak[0], peak[1], peak[2]);
#else
    assert_true(peak[2] > 0); /* a sanitizer keeps what was freed */
#endif
}

/* ---- the networks beside the project ---- */

static void test_zoo(void **state)
{
    (void)state;
    Err err;
    Dataset *d;
    Tensor t[2], labels;
    char path[1024];
    snprintf(path, sizeof path, "%s", zoo_path("gcn/cora.npz"));
    Graph *g = make_graph("x:1:N,1433 adj:1:N,N");
    assert_ok(dataset_open(path, g, &labelled, &d, &err), &err);
    assert_false(dataset_batched(d));
    dataset_free(d);
    free_graph(g);
    g = make_graph("tokens:7:B,T");
    assert_ok(dataset_open(zoo_path("stories260k/stories.npz"), g, &labelled, &d, &err), &err);
    assert_int_equal(dataset_samples(d), 26);
    assert_ok(dataset_read(d, 0, 26, t, &labels, &err), &err);
    for (int i = 0; i < 26; i++) { /* the label is the next token */
        for (int k = 0; k < 63; k++) assert_int_equal(tensor_get_int(&labels, i * 64 + k), tensor_get_int(&t[0], i * 64 + k + 1));
    }
    tensor_release(&t[0]);
    tensor_release(&labels);
    dataset_free(d);
    free_graph(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory), cmocka_unit_test(test_labels), cmocka_unit_test(test_whole_labels), cmocka_unit_test(test_shuffle),
        cmocka_unit_test(test_batches), cmocka_unit_test(test_fixed_batch_must_divide), cmocka_unit_test(test_expected),
        cmocka_unit_test(test_hash), cmocka_unit_test(test_random), cmocka_unit_test(test_files), cmocka_unit_test(test_targets),
        cmocka_unit_test(test_zoo),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
