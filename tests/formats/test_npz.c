/* Reading .npz and .npy: every element type, order and packing; hostile headers and archives are named errors. */
#include "formats/npz_fixture.h"

/* ---- types, orders, packings ---- */

typedef struct TypeRow {
    const char *descr;
    DType type;
    const char *bytes; /* six elements, as in the file in C order [2,3] */
    size_t item;
    double values[6];
} TypeRow;

static const TypeRow type_rows[] = {
    { "|b1", DT_BOOL, "\0\1\1\0\1\0", 1, { 0, 1, 1, 0, 1, 0 } },
    { "|i1", DT_INT8, "\0\1\377\200\177\2", 1, { 0, 1, -1, -128, 127, 2 } },
    { "<u1", DT_UINT8, "\0\1\377\200\177\2", 1, { 0, 1, 255, 128, 127, 2 } },
    { "<i2", DT_INT16, "\0\0\1\0\377\377\0\200\2\0\0\1", 2, { 0, 1, -1, -32768, 2, 256 } },
    { ">i2", DT_INT16, "\0\0\0\1\377\377\200\0\0\2\1\0", 2, { 0, 1, -1, -32768, 2, 256 } },
    { ">u2", DT_UINT16, "\0\0\0\1\377\377\200\0\0\2\1\0", 2, { 0, 1, 65535, 32768, 2, 256 } },
    { "<i4", DT_INT32, "\1\0\0\0\2\0\0\0\3\0\0\0\377\377\377\377\0\0\0\200\0\1\0\0", 4, { 1, 2, 3, -1, -2147483648.0, 256 } },
    { ">u4", DT_UINT32, "\0\0\0\1\0\0\0\2\0\0\0\3\377\377\377\377\200\0\0\0\0\0\1\0", 4, { 1, 2, 3, 4294967295.0, 2147483648.0, 256 } },
    { ">i8", DT_INT64, "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\377\377\377\377\377\377\377\377\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0",
      8,
      { 1, 2, -1, 256, 0, 4294967296.0 } },
    { "<u8", DT_UINT64, "\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0", 8,
      { 1, 2, 3, 256, 0, 4294967296.0 } },
    { "<f2", DT_FLOAT16, "\0\74\0\300\0\0\0\70\377\173\1\0", 2, { 1, -2, 0, 0.5, 65504, 0x1p-24 } },
    { ">f2", DT_FLOAT16, "\74\0\300\0\0\0\70\0\173\377\0\1", 2, { 1, -2, 0, 0.5, 65504, 0x1p-24 } },
    { "|V2", DT_BFLOAT16, "\200\77\0\300\0\0\0\77\200\100\40\101", 2, { 1, -2, 0, 0.5, 4, 10 } },
    { "<f4", DT_FLOAT, "\0\0\200\77\0\0\0\300\0\0\0\0\0\0\0\77\0\0\200\100\0\0\40\101", 4, { 1, -2, 0, 0.5, 4, 10 } },
    { ">f4", DT_FLOAT, "\77\200\0\0\300\0\0\0\0\0\0\0\77\0\0\0\100\200\0\0\101\40\0\0", 4, { 1, -2, 0, 0.5, 4, 10 } },
    { "<f8", DT_DOUBLE, "\0\0\0\0\0\0\360\77\0\0\0\0\0\0\0\300\0\0\0\0\0\0\0\0\0\0\0\0\0\0\340\77\0\0\0\0\0\0\20\100\0\0\0\0\0\0\44\100", 8,
      { 1, -2, 0, 0.5, 4, 10 } },
    { ">f8", DT_DOUBLE, "\77\360\0\0\0\0\0\0\300\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\77\340\0\0\0\0\0\0\100\20\0\0\0\0\0\0\100\44\0\0\0\0\0\0", 8,
      { 1, -2, 0, 0.5, 4, 10 } },
};

static void check_values(Npz *z, int i, const TypeRow *row)
{
    Err err;
    Tensor t = { 0 };
    uint8_t rows[64];
    assert_int_equal(npz_array(z, i)->type, row->type);
    assert_ok(npz_tensor(z, i, &t, &err), &err);
    assert_int_equal(t.bytes, 6 * row->item);
    for (int k = 0; k < 6; k++) {
        if (tensor_get(&t, k) != row->values[k]) fail_msg("%s [%d] = %g, expected %g", row->descr, k, tensor_get(&t, k), row->values[k]);
    }
    Tensor part = { .type = t.type, .shape = shape_of(1, (int64_t[]){ 3 }), .data = rows, .bytes = 3 * row->item };
    assert_ok(npz_slice(z, i, 0, 1, 1, rows, &err), &err);
    for (int k = 0; k < 3; k++) assert_true(tensor_get(&part, k) == row->values[3 + k]);
    assert_ok(npz_slice(z, i, 1, 1, 2, rows, &err), &err);
    part.shape.dims[0] = 4;
    for (int k = 0; k < 4; k++) assert_true(tensor_get(&part, k) == row->values[k / 2 * 3 + 1 + k % 2]);
    tensor_release(&t);
}

static void test_types(void **state)
{
    (void)state;
    for (size_t r = 0; r < sizeof type_rows / sizeof *type_rows; r++) {
        const TypeRow *row = &type_rows[r];
        for (int way = 0; way < 6; way++) {
            bool fortran = way % 2 == 1, alone = way >= 4, deflated = way == 2 || way == 3;
            uint8_t data[128], npy[512];
            char header[200];
            for (size_t k = 0; k < 6; k++) { /* element k of the file is (k % 2, k / 2) in Fortran order */
                size_t from = fortran ? k % 2 * 3 + k / 2 : k;
                memcpy(data + k * row->item, row->bytes + from * row->item, row->item);
            }
            snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': %s, 'shape': (2, 3), }\n", row->descr,
                fortran ? "True" : "False");
            size_t size = make_npy(npy, way % 3 + 1, header, data, 6 * row->item);
            Err err;
            Npz *z = NULL;
            if (alone) {
                write_file(temp_path("lone.npy"), npy, size);
            } else {
                Zip zip = { 0 };
                Lie truth = { .method = -1, .wide = way == 0 };
                zip_add(&zip, "x.npy", npy, size, deflated, &truth);
                zip_finish(&zip, temp_path("lone.npy"), way == 0);
            }
            assert_ok(npz_open(temp_path("lone.npy"), 0, &z, &err), &err);
            assert_int_equal(npz_count(z), 1);
            assert_string_equal(npz_array(z, 0)->name.data, alone ? "lone" : "x");
            assert_int_equal(npz_find(z, alone ? "lone" : "x"), 0);
            assert_int_equal(npz_find(z, "y"), -1);
            check_values(z, 0, row);
            npz_close(z);
        }
    }
}

/* A Fortran array of three axes larger than a tile and than 1024 rows. */
static void test_fortran_tiles(void **state)
{
    (void)state;
    enum { A = 1500, B = 7, C = 130 };
    uint32_t *data = malloc(4 * A * B * C);
    uint8_t *npy = malloc(4 * A * B * C + 200);
    assert_non_null(data);
    assert_non_null(npy);
    for (int a = 0; a < A; a++) {
        for (int b = 0; b < B; b++) {
            for (int c = 0; c < C; c++) data[a + A * (b + B * c)] = (uint32_t)((a * B + b) * C + c);
        }
    }
    size_t size = make_npy(npy, 1, "{'descr': '<u4', 'fortran_order': True, 'shape': (1500, 7, 130), }\n", data, 4 * A * B * C);
    write_file(temp_path("f.npy"), npy, size);
    Err err;
    Npz *z;
    Tensor t;
    assert_ok(npz_open(temp_path("f.npy"), 0, &z, &err), &err);
    assert_ok(npz_tensor(z, 0, &t, &err), &err);
    for (int64_t i = 0; i < A * B * C; i++) assert_int_equal(tensor_get_int(&t, i), i);
    tensor_release(&t);
    npz_close(z);
    free(npy);
    free(data);
}

/* ---- malformed headers and archives ---- */

typedef struct HeaderRow {
    const char *name, *header;
    Status status;
    const char *message;
} HeaderRow;

static const HeaderRow header_rows[] = {
    { "not a dictionary", "['descr']\n", ERR_DATA, "no dictionary" },
    { "missing key", "{'descr': '<f4', 'shape': (2,), }\n", ERR_DATA, "exactly descr, fortran_order and shape" },
    { "unknown key", "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}\n", ERR_DATA, "unknown key 'x'" },
    { "twice", "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}\n", ERR_DATA, "'descr' twice" },
    { "call", "{'descr': '<f4', 'fortran_order': bool(0), 'shape': (2,)}\n", ERR_DATA, "'fortran_order' is malformed" },
    { "number for shape", "{'descr': '<f4', 'fortran_order': False, 'shape': (2)}\n", ERR_DATA, "'shape' is malformed" },
    { "negative", "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}\n", ERR_DATA, "'shape' is malformed" },
    { "dimension overflows", "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}\n", ERR_DATA,
      "'shape' is malformed" },
    { "product overflows", "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}\n", ERR_DATA, "overflows" },
    { "trailing text", "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} + {}\n", ERR_DATA, "exactly" },
    { "too few bytes", "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}\n", ERR_DATA, "takes 12 bytes, 8 are there" },
    { "too many bytes", "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}\n", ERR_DATA, "takes 4 bytes, 8 are there" },
    { "no dtype", "{'descr': 'float', 'fortran_order': False, 'shape': (2,)}\n", ERR_DATA, "'descr' is malformed" },
    { "native order", "{'descr': '|f4', 'fortran_order': False, 'shape': (2,)}\n", ERR_DATA, "'descr' is malformed" },
    { "17 axes", "{'descr': '<f8', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)}\n", ERR_UNSUPPORTED, "17 axes" },
    { "text", "{'descr': '<U1', 'fortran_order': False, 'shape': (2,)}\n", OK, "element type '<U1'" },
    { "objects", "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n", OK, "element type '|O'" },
    { "records", "{'descr': [('a', '<f4'), ('b]', '<i4')], 'fortran_order': False, 'shape': (1,)}\n", OK, "a structured type" },
    { "python 2", "{'shape': (2L,), 'fortran_order': False, 'descr': \"<f4\"}\n", OK, NULL },
};

static void test_headers(void **state)
{
    (void)state;
    for (size_t r = 0; r < sizeof header_rows / sizeof *header_rows; r++) {
        const HeaderRow *row = &header_rows[r];
        uint8_t npy[512];
        Err err = { 0 };
        Npz *z = NULL;
        Tensor t;
        write_file(temp_path("h.npy"), npy, make_npy(npy, 1, row->header, "\0\0\0\0\0\0\0\0", 8));
        Status status = npz_open(temp_path("h.npy"), 0, &z, &err);
        if (status != row->status) fail_msg("%s: status %d: %s", row->name, status, err.text);
        if (status == OK) {
            assert_int_equal(npz_tensor(z, 0, &t, &err), row->message == NULL ? OK : ERR_UNSUPPORTED);
            if (row->message == NULL) tensor_release(&t);
            npz_close(z);
        }
        if (row->message != NULL && (strstr(err.text, row->message) == NULL || strstr(err.text, "h.npy") == NULL))
            fail_msg("%s: message '%s' lacks '%s'", row->name, err.text, row->message);
    }
}

typedef struct HostileRow {
    const char *name;
    const char *member, *second; /* second NULL: one member only */
    Lie lie;                     /* about the last one */
    bool deflated;
    Status open, read;
    const char *message;
} HostileRow;

static const HostileRow hostile_rows[] = {
    { "fine", "a.npy", "b.npy", { .method = -1 }, false, OK, OK, NULL },
    { "fine deflated", "a.npy", "b.npy", { .method = -1 }, true, OK, OK, NULL },
    { "slash in a name", "model/a.npy", "/b.npy", { .method = -1 }, true, OK, OK, NULL },
    { "encrypted", "a.npy", NULL, { .method = -1, .flags = 1 }, false, ERR_UNSUPPORTED, OK, "'a.npy' is encrypted" },
    { "unknown method", "a.npy", NULL, { .method = 12 }, false, ERR_UNSUPPORTED, OK, "packed with method 12" },
    { "crc stored", "a.npy", NULL, { .method = -1, .crc = 1 }, false, OK, ERR_DATA, "CRC-32" },
    { "crc deflated", "a.npy", NULL, { .method = -1, .crc = 1 }, true, OK, ERR_DATA, "CRC-32" },
    { "duplicate", "a.npy", "a.npy", { .method = -1 }, false, ERR_DATA, OK, "'a.npy' is there twice" },
    { "parent folder", "a.npy", "../b.npy", { .method = -1 }, false, ERR_DATA, OK, "climbs out" },
    { "parent inside", "a/../b.npy", NULL, { .method = -1 }, false, ERR_DATA, OK, "climbs out" },
    { "overlap", "a.npy", "b.npy", { .method = -1, .packed = 1000000, .size = 1000000 }, false, ERR_DATA, OK, "truncated or damaged" },
    { "another's bytes", "a.npy", "a2.npy", { .method = -1, .offset = -100000 }, false, ERR_DATA, OK, "'a2.npy'" },
    { "local name differs", "a.npy", NULL, { .method = -1, .local_name = "c.npy" }, false, ERR_DATA, OK, "another name or method" },
    { "stored sizes differ", "a.npy", NULL, { .method = -1, .size = 4 }, false, ERR_DATA, OK, "stored member 'a.npy'" },
    { "inflates to more", "a.npy", NULL, { .method = -1, .size = -4 }, true, ERR_DATA, OK, "takes 24 bytes, 20 are there" },
    { "inflates to less", "a.npy", NULL, { .method = -1, .size = 4 }, true, ERR_DATA, OK, "takes 24 bytes, 28 are there" },
    { "packed too short", "a.npy", NULL, { .method = -1, .packed = -5 }, true, OK, ERR_DATA, "damaged" },
    { "zip64", "a.npy", "b.npy", { .method = -1, .wide = true }, true, OK, OK, NULL },
    { "zip64 lies", "a.npy", NULL, { .method = -1, .wide = true, .packed = INT64_MAX, .size = INT64_MAX }, false, ERR_DATA, OK,
      "truncated or damaged" },
    { "zip64 offset", "a.npy", NULL, { .method = -1, .wide = true, .offset = INT64_MAX }, false, ERR_DATA, OK, "past the members' end" },
};

static void test_hostile(void **state)
{
    (void)state;
    uint8_t npy[256];
    size_t size = make_npy(npy, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", type_rows[13].bytes, 24);
    for (size_t r = 0; r < sizeof hostile_rows / sizeof *hostile_rows; r++) {
        const HostileRow *row = &hostile_rows[r];
        Zip zip = { 0 };
        Lie truth = { .method = -1 };
        if (row->second != NULL) zip_add(&zip, row->member, npy, size, row->deflated, &truth);
        zip_add(&zip, row->second != NULL ? row->second : row->member, npy, size, row->deflated, &row->lie);
        zip_finish(&zip, temp_path("hostile.npz"), row->lie.wide);
        Err err = { 0 };
        Npz *z = NULL;
        Status status = npz_open(temp_path("hostile.npz"), 1 << 20, &z, &err);
        if (status != row->open) fail_msg("%s: opens with %d: %s", row->name, status, err.text);
        if (status == OK) {
            Tensor t;
            Status read = npz_tensor(z, npz_count(z) - 1, &t, &err);
            if (read != row->read) fail_msg("%s: reads with %d: %s", row->name, read, err.text);
            if (read == OK) tensor_release(&t);
            npz_close(z);
        }
        if (row->message != NULL && (strstr(err.text, row->message) == NULL || strstr(err.text, "hostile.npz") == NULL))
            fail_msg("%s: message '%s' lacks '%s'", row->name, err.text, row->message);
    }
}

/* Two directory entries for the same bytes, and a directory that is cut or lies about its count. */
static void test_directory(void **state)
{
    (void)state;
    uint8_t npy[256];
    size_t size = make_npy(npy, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", type_rows[13].bytes, 24);
    Zip zip = { 0 };
    Lie lie = { .method = -1 };
    zip_add(&zip, "a.npy", npy, size, false, &lie);
    size_t one = zip.body_len, entry = zip.central_len;
    memcpy(zip.central + entry, zip.central, entry); /* the second name differs, the place does not */
    zip.central_len = 2 * entry;
    zip.count = 2;
    zip.central[entry + 46] = 'b';
    Err err;
    Npz *z = NULL;
    zip_finish(&zip, temp_path("d.npz"), false);
    assert_status(npz_open(temp_path("d.npz"), 0, &z, &err), ERR_DATA, &err);
    for (size_t cut = 0; cut < one + entry; cut++) { /* every truncation is an error, none a crash */
        Zip whole = { 0 };
        zip_add(&whole, "a.npy", npy, size, false, &lie);
        zip_finish(&whole, temp_path("d.npz"), false);
        assert_int_equal(truncate(temp_path("d.npz"), (off_t)cut), 0);
        assert_status(npz_open(temp_path("d.npz"), 0, &z, &err), ERR_DATA, &err);
    }
}

/* A small member that says it holds gigabytes: refused before anything is written. */
static void test_bomb(void **state)
{
    (void)state;
    uint8_t npy[20000] = { 0 };
    const char *header = "{'descr': '|u1', 'fortran_order': False, 'shape': (2000000000,), }\n";
    size_t head = make_npy(npy, 1, header, "", 0);
    Zip zip = { 0 };
    Lie lie = { .method = -1, .size = (int64_t)(head + 2000000000) - 20000 };
    zip_add(&zip, "bomb.npy", npy, 20000, true, &lie);
    zip_finish(&zip, temp_path("bomb.npz"), false);
    Err err;
    Npz *z;
    Tensor t;
    assert_ok(npz_open(temp_path("bomb.npz"), 0, &z, &err), &err);
    assert_status(npz_tensor(z, 0, &t, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "cannot become"));
    npz_close(z);

    Zip true_zip = { 0 };
    Lie truth = { .method = -1 };
    head = make_npy(npy, 1, "{'descr': '|u1', 'fortran_order': False, 'shape': (19000,), }\n", "", 0);
    zip_add(&true_zip, "bomb.npy", npy, head + 19000, true, &truth);
    zip_finish(&true_zip, temp_path("bomb.npz"), false);
    assert_ok(npz_open(temp_path("bomb.npz"), 10000, &z, &err), &err);
    assert_status(npz_tensor(z, 0, &t, &err), ERR_MEMORY, &err);
    npz_close(z);
    assert_ok(npz_open(temp_path("bomb.npz"), 20000, &z, &err), &err);
    assert_ok(npz_tensor(z, 0, &t, &err), &err);
    tensor_release(&t);
    npz_close(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types), cmocka_unit_test(test_fortran_tiles), cmocka_unit_test(test_headers), cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_directory), cmocka_unit_test(test_bomb),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
