/* Writing .npz: what is written is read again, the same arrays give the same bytes, a failed run leaves the old file. */
#include "formats/npz_fixture.h"

#include "base/hash.h"

static void write_all(const char *path, bool compress)
{
    Err err;
    NpzWriter *w;
    int rows, scalar;
    float chunk[6] = { 1, 2, 3, 4, 5, 6 };
    double pi = 3.25;
    assert_ok(npz_writer_open(path, compress, &w, &err), &err);
    assert_ok(npz_writer_array(w, "rows", DT_FLOAT, &(Shape){ .rank = 2, .dims = { 0, 3 } }, &rows, &err), &err);
    assert_ok(npz_writer_array(w, "scalar", DT_DOUBLE, &(Shape){ .rank = 0 }, &scalar, &err), &err);
    assert_ok(npz_writer_rows(w, rows, chunk, 2, &err), &err);
    assert_ok(npz_writer_rows(w, scalar, &pi, 1, &err), &err);
    assert_ok(npz_writer_rows(w, rows, chunk, 1, &err), &err);
    for (DType t = DT_FLOAT; t < DT_COUNT; t++) {
        Tensor x;
        char name[32];
        if (dtype_numpy(t)[0] == '\0') continue;
        assert_ok(tensor_new(&x, t, &(Shape){ .rank = 2, .dims = { 3, 1 } }, &err), &err);
        for (int i = 0; i < 3; i++) {
            if (dtype_is_integer(t) || dtype_is_float(t) || t == DT_BOOL) tensor_set(&x, i, i % 2);
        }
        snprintf(name, sizeof name, "type/%s", dtype_name(t));
        assert_ok(npz_writer_tensor(w, name, &x, &err), &err);
        tensor_release(&x);
    }
    assert_status(npz_writer_array(w, "rows", DT_FLOAT, &(Shape){ .rank = 1 }, &rows, &err), ERR_DATA, &err);
    assert_ok(npz_writer_commit(w, &err), &err);
}

static void check_written(const char *path)
{
    Err err;
    Npz *z;
    Tensor t;
    assert_ok(npz_open(path, 0, &z, &err), &err);
    int i = npz_find(z, "rows");
    assert_true(i >= 0);
    assert_ok(npz_tensor(z, i, &t, &err), &err);
    assert_int_equal(t.shape.dims[0], 3);
    const double expected[9] = { 1, 2, 3, 4, 5, 6, 1, 2, 3 };
    for (int k = 0; k < 9; k++) assert_true(tensor_get(&t, k) == expected[k]);
    tensor_release(&t);
    i = npz_find(z, "scalar");
    assert_ok(npz_tensor(z, i, &t, &err), &err);
    assert_int_equal(t.shape.rank, 0);
    assert_true(tensor_get(&t, 0) == 3.25);
    tensor_release(&t);
    for (DType type = DT_FLOAT; type < DT_COUNT; type++) {
        char name[32];
        snprintf(name, sizeof name, "type/%s", dtype_name(type));
        if (dtype_numpy(type)[0] == '\0') continue;
        i = npz_find(z, name);
        assert_true(i >= 0);
        DType read = dtype_bits(type) < 8 && dtype_is_integer(type) ? (strcmp(dtype_numpy(type), "|i1") == 0 ? DT_INT8 : DT_UINT8) : type;
        if (strcmp(dtype_numpy(type), "|V1") == 0) read = DT_NONE; /* bytes of an unknown kind */
        assert_int_equal(npz_array(z, i)->type, read);
        if (!dtype_is_integer(type) && !dtype_is_float(type) && type != DT_BOOL) continue;
        assert_ok(npz_tensor(z, i, &t, &err), &err);
        for (int k = 0; k < 3; k++) assert_true(tensor_get(&t, k) == k % 2);
        tensor_release(&t);
    }
    npz_close(z);
}

static void test_write(void **state)
{
    (void)state;
    char path[256], again[256], text[2][HASH_TEXT];
    for (int compress = 0; compress < 2; compress++) {
        snprintf(path, sizeof path, "%s", temp_path("out.npz"));
        snprintf(again, sizeof again, "%s", temp_path("again.npz"));
        write_all(path, compress);
        check_written(path);
        write_all(again, compress);
        Err err;
        assert_ok(hash_file(path, text[0], &err), &err);
        assert_ok(hash_file(again, text[1], &err), &err);
        assert_string_equal(text[0], text[1]);
    }
}

/* Stored elements begin at a multiple of 64 bytes of the file: views of the mapping are aligned. */
static void test_alignment(void **state)
{
    (void)state;
    Err err;
    Npz *z;
    Tensor t;
    write_all(temp_path("out.npz"), false);
    assert_ok(npz_open(temp_path("out.npz"), 0, &z, &err), &err);
    for (int i = 0; i < npz_count(z); i++) {
        if (npz_array(z, i)->type == DT_NONE) continue;
        assert_ok(npz_tensor(z, i, &t, &err), &err);
        assert_int_equal((uintptr_t)t.data % 64, 0);
        tensor_release(&t);
    }
    npz_close(z);
}

static void test_abort_leaves_old(void **state)
{
    (void)state;
    Err err;
    NpzWriter *w;
    int array;
    char path[256];
    snprintf(path, sizeof path, "%s", temp_path("old.npz"));
    write_file(path, "old", 3);
    assert_ok(npz_writer_open(path, false, &w, &err), &err);
    assert_ok(npz_writer_array(w, "a", DT_FLOAT, &(Shape){ .rank = 1 }, &array, &err), &err);
    npz_writer_abort(w);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, 3);
}

/* Names that would be refused on reading are refused on writing. */
static void test_write_names(void **state)
{
    (void)state;
    Err err;
    NpzWriter *w;
    int array;
    static const struct { const char *name; Status status; } rows[] = {
        { "a", OK }, { "/a", OK }, { "a/b:0", OK }, { "..", OK }, { "", ERR_DATA }, { "../a", ERR_DATA }, { "a/../b", ERR_DATA },
    };
    assert_ok(npz_writer_open(temp_path("names.npz"), false, &w, &err), &err);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_status(npz_writer_array(w, rows[i].name, DT_FLOAT, &(Shape){ .rank = 1 }, &array, &err), rows[i].status, &err);
    assert_ok(npz_writer_commit(w, &err), &err);
    Npz *z;
    assert_ok(npz_open(temp_path("names.npz"), 0, &z, &err), &err);
    assert_int_equal(npz_count(z), 4);
    npz_close(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write), cmocka_unit_test(test_alignment), cmocka_unit_test(test_abort_leaves_old),
        cmocka_unit_test(test_write_names),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
