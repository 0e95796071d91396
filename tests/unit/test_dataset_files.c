/* A folder of .npz files as one data set: samples of varying shape, in the order of the files' names. */
#include "unit/dataset_fixture.h"

#define FILES 5

static const char *const names[FILES] = { "a.npz", "b.npz", "c.npz", "notes.txt", ".hidden.npz" };

static const char *in_folder(const char *name)
{
    static char path[2][300];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", temp_path("many"), name);
    return path[turn];
}

typedef struct Made {
    int rows, length; /* rows 0: not written */
    bool label;
} Made;

/* x [rows,length] counts on from 100 times the file's number; so do the labels. */
static void write_folder(const Made made[3])
{
    Err err;
    assert_int_equal(mkdir(temp_path("many"), 0700), 0);
    for (int i = 0; i < 3; i++) {
        NpzWriter *w;
        double values[64], labels[8];
        if (made[i].rows == 0) continue;
        for (int k = 0; k < 64; k++) values[k] = 100 * i + k;
        for (int k = 0; k < 8; k++) labels[k] = 10 * i + k;
        assert_ok(npz_writer_open(in_folder(names[i]), i == 1, &w, &err), &err);
        add_array(w, "x", DT_FLOAT, S(made[i].rows, made[i].length), values);
        if (made[i].label) add_array(w, "label", DT_INT64, S(made[i].rows), labels);
        assert_ok(npz_writer_commit(w, &err), &err);
    }
}

static void write_text(const char *name, const char *text, size_t size)
{
    FILE *f = fopen(in_folder(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, size, f), size);
    fclose(f);
}

static void remove_folder(void)
{
    for (int i = 0; i < FILES; i++) unlink(in_folder(names[i]));
    unlink(in_folder("input_0.pb"));
    assert_int_equal(rmdir(temp_path("many")), 0);
}

static void test_samples_follow_each_other(void **state)
{
    (void)state;
    static const struct { int64_t length; double first, label; } expected[] = { { 4, 0, 0 }, { 4, 4, 1 }, { 9, 100, 10 }, { 1, 200, 20 },
                                                                                { 1, 201, 21 }, { 1, 202, 22 } };
    Err err;
    Graph *g;
    Dataset *d;
    write_folder((Made[]){ { 2, 4, true }, { 1, 9, true }, { 3, 1, true } });
    write_text("notes.txt", "no", 2);
    write_text(".hidden.npz", "no", 2);
    assert_ok(open_text("\"many\"", "x:1:N,L", &labelled, &g, &d, &err), &err);
    assert_int_equal(dataset_samples(d), 6);
    assert_int_equal(dataset_batch(d, 64), 1);
    assert_true(dataset_batched(d) && dataset_has_labels(d) && dataset_varies(d));
    for (int turn = 0; turn < 2; turn++)
        for (int i = 0; i < 6; i++) {
            int at = turn == 0 ? i : 5 - i;
            Tensor x, label;
            assert_ok(dataset_read(d, at, 1, &x, &label, &err), &err);
            assert_true(x.shape.rank == 2 && x.shape.dims[0] == 1 && x.shape.dims[1] == expected[at].length);
            assert_near(tensor_get(&x, 0), expected[at].first, 0);
            assert_near(tensor_get(&label, 0), expected[at].label, 0);
            tensor_release(&x);
            tensor_release(&label);
        }
    dataset_free(d);
    free_graph(g);
    remove_folder();
}

static void test_section_and_hash(void **state)
{
    (void)state;
    Err err;
    char hash[3][HASH_TEXT];
    static const char *const sections[] = { "\"many\"", "{\"file\": \"many\", \"inputs\": {\"x\": {\"scale\": 2, \"expand\": [1]}}}" };
    static const char *const graphs[] = { "x:1:N,L", "x:1:N,1,L" };
    for (int i = 0; i < 3; i++) {
        Graph *g;
        Dataset *d;
        Tensor x;
        write_folder((Made[]){ { 1, 4, false }, { 1, i == 2 ? 8 : 9, false }, { 0, 0, false } });
        assert_ok(open_text(sections[i % 2], graphs[i % 2], &labelled, &g, &d, &err), &err);
        assert_ok(dataset_read(d, 1, 1, &x, NULL, &err), &err);
        assert_near(tensor_get(&x, 1), i % 2 == 1 ? 202 : 101, 0);
        assert_int_equal(x.shape.rank, 2 + i % 2);
        assert_false(dataset_has_labels(d));
        assert_ok(dataset_hash(d, hash[i], &err), &err);
        tensor_release(&x);
        dataset_free(d);
        free_graph(g);
        remove_folder();
    }
    assert_string_not_equal(hash[0], hash[1]);
    assert_string_not_equal(hash[0], hash[2]);
}

/* A network that fixes its batch takes whole batches of one file. */
static void test_fixed_batch(void **state)
{
    (void)state;
    Err err;
    Graph *g;
    Dataset *d;
    Tensor x;
    write_folder((Made[]){ { 4, 3, false }, { 2, 5, false }, { 0, 0, false } });
    assert_ok(open_text("\"many\"", "x:1:2,L", &labelled, &g, &d, &err), &err);
    assert_int_equal(dataset_batch(d, 64), 2);
    assert_ok(dataset_read(d, 2, 2, &x, NULL, &err), &err);
    assert_near(tensor_get(&x, 0), 6, 0);
    tensor_release(&x);
    assert_ok(dataset_read(d, 4, 2, &x, NULL, &err), &err);
    assert_int_equal(x.shape.dims[1], 5);
    tensor_release(&x);
    dataset_free(d);
    free_graph(g);
    remove_folder();
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct { const char *name, *section, *graph, *text; Made made[3]; Status status; } rows[] = {
        { "another rank", "\"many\"", "x:1:N,L,1", "a.npz", { { 1, 4, false }, { 1, 4, false } }, ERR_DATA },
        { "one does not fit", "\"many\"", "x:1:N,4", "b.npz", { { 1, 4, false }, { 1, 5, false } }, ERR_DATA },
        { "labels in one only", "\"many\"", "x:1:N,L", "b.npz: has no labels", { { 1, 4, true }, { 1, 5, false } }, ERR_DATA },
        { "labels in the second only", "\"many\"", "x:1:N,L", "b.npz: has labels", { { 1, 4, false }, { 1, 5, true } }, ERR_DATA },
        { "no such array", "\"many\"", "z:1:N,L", "a.npz", { { 1, 4, false } }, ERR_DATA },
        { "the batch is not filled", "\"many\"", "x:1:2,L", "b.npz", { { 2, 4, false }, { 3, 4, false } }, ERR_DATA },
        { "samples chosen", "{\"file\": \"many\", \"first\": 2}", "x:1:N,L", "'first'", { { 2, 4, false } }, ERR_USAGE },
        { "samples of an input chosen", "{\"file\": \"many\", \"inputs\": {\"x\": {\"shuffle\": true}}}", "x:1:N,L", "'shuffle'",
          { { 2, 4, false } }, ERR_USAGE },
        { "an unknown key", "{\"file\": \"many\", \"frist\": 2}", "x:1:N,L", "frist", { { 2, 4, false } }, ERR_USAGE },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Err err;
        Graph *g;
        Dataset *d;
        print_message("%s\n", rows[i].name);
        write_folder(rows[i].made);
        assert_status(open_text(rows[i].section, rows[i].graph, &labelled, &g, &d, &err), rows[i].status, &err);
        if (strstr(err.text, rows[i].text) == NULL) fail_msg("%s: '%s' does not say '%s'", rows[i].name, err.text, rows[i].text);
        remove_folder();
    }
}

/* Bytes that are no archive, arrays of Python objects (pickles), and a file that changes behind our back. */
static void test_bad_files(void **state)
{
    (void)state;
    Err err;
    Graph *g;
    Dataset *d;
    Tensor x;
    write_folder((Made[]){ { 1, 4, false }, { 0, 0, false }, { 0, 0, false } });
    write_text("b.npz", "PK\3\4 and no more", 16);
    assert_status(open_text("\"many\"", "x:1:N,L", &labelled, &g, &d, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "b.npz"));
    remove_folder();

    static const char object[] = "\x93NUMPY\1\0\x76\0{'descr': '|O', 'fortran_order': False, 'shape': (2,), }";
    char npy[128];
    memset(npy, ' ', sizeof npy);
    memcpy(npy, object, sizeof object - 1);
    npy[127] = '\n';
    assert_int_equal(mkdir(temp_path("many"), 0700), 0);
    write_text("a.npz", npy, sizeof npy);
    assert_status(open_text("\"many\"", "x:1:N,L", &labelled, &g, &d, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "a.npz"));
    remove_folder();

    write_folder((Made[]){ { 1, 4, false }, { 2, 5, false }, { 0, 0, false } });
    assert_ok(open_text("\"many\"", "x:1:N,L", &labelled, &g, &d, &err), &err);
    remove_folder();
    assert_status(dataset_read(d, 0, 1, &x, NULL, &err), ERR_IO, &err);
    write_folder((Made[]){ { 1, 4, false }, { 3, 5, false }, { 0, 0, false } });
    assert_ok(dataset_read(d, 0, 1, &x, NULL, &err), &err);
    tensor_release(&x);
    assert_status(dataset_read(d, 1, 1, &x, NULL, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "b.npz: changed"));
    dataset_free(d);
    free_graph(g);
    remove_folder();
}

/* input_0.pb says what a folder is, whatever else lies in it. */
static void test_folder_of_pb_stays_one(void **state)
{
    (void)state;
    Err err;
    Graph *g;
    Dataset *d;
    write_folder((Made[]){ { 1, 4, false }, { 0, 0, false }, { 0, 0, false } });
    write_text("input_0.pb", "\xff", 1);
    assert_status(open_text("\"many\"", "x:1:N,L", &labelled, &g, &d, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "input_0.pb"));
    remove_folder();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples_follow_each_other),
        cmocka_unit_test(test_section_and_hash),
        cmocka_unit_test(test_fixed_batch),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_folder_of_pb_stays_one),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
