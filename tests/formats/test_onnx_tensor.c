/* Every encoding of a tensor's numbers. */
#include "formats/messages.h"

#include "formats/tensor_pb.h"

typedef struct Row {
    const char *name;
    DType type;
    int64_t count;      /* elements, in one dimension */
    uint32_t field;
    bool packed;
    const int64_t *in;  /* entries of the field; floats by their bits */
    int entries;
    const uint8_t *bytes; /* what the tensor holds */
    size_t size;
    Status status;
} Row;

#define IN(...) (const int64_t[]){ __VA_ARGS__ }, (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t))
#define OUT(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ })
#define ONE 0x3f800000 /* 1.0f */
#define HALF 0x3f000000

static const Row rows[] = {
    { "float packed", DT_FLOAT, 2, 4, true, IN(ONE, HALF), OUT(0, 0, 0x80, 0x3f, 0, 0, 0, 0x3f), OK },
    { "float one by one", DT_FLOAT, 2, 4, false, IN(ONE, HALF), OUT(0, 0, 0x80, 0x3f, 0, 0, 0, 0x3f), OK },
    { "float too few", DT_FLOAT, 3, 4, true, IN(ONE, HALF), NULL, 0, ERR_DATA },
    { "float too many", DT_FLOAT, 1, 4, true, IN(ONE, HALF), NULL, 0, ERR_DATA },
    { "float too many one by one", DT_FLOAT, 1, 4, false, IN(ONE, HALF), NULL, 0, ERR_DATA },
    { "complex64", DT_COMPLEX64, 1, 4, true, IN(ONE, HALF), OUT(0, 0, 0x80, 0x3f, 0, 0, 0, 0x3f), OK },
    { "double", DT_DOUBLE, 1, 10, true, IN(0x3ff0000000000000), OUT(0, 0, 0, 0, 0, 0, 0xf0, 0x3f), OK },
    { "double one by one", DT_DOUBLE, 1, 10, false, IN(0x3ff0000000000000), OUT(0, 0, 0, 0, 0, 0, 0xf0, 0x3f), OK },
    { "int64", DT_INT64, 2, 7, true, IN(-2, 300), OUT(0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x2c, 1, 0, 0, 0, 0, 0, 0), OK },
    { "int64 one by one", DT_INT64, 1, 7, false, IN(-2), OUT(0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), OK },
    { "int32", DT_INT32, 2, 5, true, IN(-1, 7), OUT(0xff, 0xff, 0xff, 0xff, 7, 0, 0, 0), OK },
    { "int16", DT_INT16, 1, 5, true, IN(-2), OUT(0xfe, 0xff), OK },
    { "int8", DT_INT8, 2, 5, true, IN(-128, 127), OUT(0x80, 0x7f), OK },
    { "int8 out of range", DT_INT8, 1, 5, true, IN(300), NULL, 0, ERR_DATA },
    { "uint8", DT_UINT8, 2, 5, true, IN(255, 0), OUT(0xff, 0), OK },
    { "uint16", DT_UINT16, 1, 5, true, IN(65535), OUT(0xff, 0xff), OK },
    { "bool", DT_BOOL, 3, 5, true, IN(1, 0, 1), OUT(1, 0, 1), OK },
    { "float16", DT_FLOAT16, 2, 5, true, IN(0x3c00, 0xbc00), OUT(0, 0x3c, 0, 0xbc), OK },
    { "bfloat16", DT_BFLOAT16, 1, 5, true, IN(0x3f80), OUT(0x80, 0x3f), OK },
    { "float8", DT_FLOAT8E4M3FN, 2, 5, true, IN(0x38, 0xb8), OUT(0x38, 0xb8), OK },
    { "int4 pairs, odd count", DT_INT4, 3, 5, true, IN(0x21, 0x0f), OUT(0x21, 0x0f), OK },
    { "uint4 pairs", DT_UINT4, 4, 5, true, IN(0x21, 0x43), OUT(0x21, 0x43), OK },
    { "float4 pairs", DT_FLOAT4E2M1, 2, 5, true, IN(0x21), OUT(0x21), OK },
    { "int2 fours", DT_INT2, 5, 5, true, IN(0xe4, 1), OUT(0xe4, 1), OK },
    { "uint32", DT_UINT32, 1, 11, true, IN(4000000000), OUT(0, 0x28, 0x6b, 0xee), OK },
    { "uint32 out of range", DT_UINT32, 1, 11, true, IN(4294967296), NULL, 0, ERR_DATA },
    { "uint64", DT_UINT64, 1, 11, true, IN(-1), OUT(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), OK },
    { "int64 in the wrong field", DT_INT64, 1, 5, true, IN(1), NULL, 0, ERR_DATA },
    { "float16 in float_data", DT_FLOAT16, 1, 4, true, IN(ONE), NULL, 0, ERR_DATA },
    { "no element type", DT_NONE, 1, 4, true, IN(ONE), NULL, 0, ERR_DATA },
};

static void put_entry(Pb *p, uint32_t field, int64_t value)
{
    if (field == 4) pb_raw(p, &(uint32_t){ (uint32_t)value }, 4);
    else if (field == 10) pb_raw(p, &value, 8);
    else pb_varint(p, (uint64_t)value);
}

static Pb tensor_of(const Row *r)
{
    Pb t = pb_tensor("w", r->type, 1, &r->count, NULL, 0), body = { 0 };
    unsigned wire = r->field == 4 ? WIRE_FIXED32 : r->field == 10 ? WIRE_FIXED64 : WIRE_VARINT;
    for (int i = 0; i < r->entries; i++) {
        if (!r->packed) pb_varint(&t, r->field << 3 | wire);
        put_entry(r->packed ? &body : &t, r->field, r->in[i]);
    }
    if (r->packed) pb_blob(&t, r->field, body.data, body.size);
    pb_free(&body);
    return t;
}

static Pb model_with(Pb tensor)
{
    Pb g = { 0 };
    pb_sub(&g, 1, pb_node("Identity", "id", "w", NULL, "y"));
    pb_sub(&g, 5, tensor);
    pb_sub(&g, 12, pb_value("y", -1));
    return pb_model(g);
}

static void test_typed_fields(void **state)
{
    (void)state;
    char folder[64];
    folder_make(folder);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const Row *r = &rows[i];
        Err err = { 0 };
        Graph *g = NULL;
        Pb m = model_with(tensor_of(r));
        Status status = load_bytes(&m, 0, &g, &err);
        if (status != r->status) fail_msg("%s: status %d, expected %d: %s", r->name, (int)status, (int)r->status, err.text);
        pb_free(&m);
        if (status != OK) continue;
        const Tensor *t = graph_value(g, graph_find_value(g, STR("w")))->tensor;
        if (t->bytes != r->size || memcmp(t->data, r->bytes, r->size) != 0) fail_msg("%s: other bytes", r->name);
        graph_free(assert_round_trip(g, folder));
        graph_free(g);
    }
    folder_remove(folder);
}

/* The same bytes as raw_data: a view of the file, nothing copied. */
static void test_raw_is_a_view(void **state)
{
    (void)state;
    char folder[64];
    folder_make(folder);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const Row *r = &rows[i];
        if (r->status != OK) continue;
        Err err;
        Graph *g = NULL;
        Pb m = model_with(pb_tensor("w", r->type, 1, &r->count, r->bytes, r->size));
        assert_ok(load_bytes(&m, 0, &g, &err), &err);
        const Tensor *t = graph_value(g, graph_find_value(g, STR("w")))->tensor;
        assert_memory_equal(t->data, r->bytes, r->size);
        assert_true(t->buffer->read_only);
        assert_true(t->data >= t->buffer->data && t->data + t->bytes <= t->buffer->data + t->buffer->size);
        graph_free(assert_round_trip(g, folder));
        graph_free(g);
        pb_free(&m);
    }
    folder_remove(folder);
}

typedef struct BadRow {
    const char *name, *message;
    int64_t dims[17];
    int rank;
    size_t raw; /* bytes of raw_data */
    bool both;  /* float_data beside it */
    Status status;
} BadRow;

static const BadRow bad_rows[] = {
    { "negative", "dimension 1 is -3", { 2, -3 }, 2, 8, false, ERR_DATA },
    { "overflow", "more elements than memory", { INT64_MAX, INT64_MAX }, 2, 8, false, ERR_DATA },
    { "overflow of bytes", "more elements than memory", { INT64_MAX }, 1, 8, false, ERR_DATA },
    { "too short", "holds 8 bytes, float32 [3] needs 12", { 3 }, 1, 8, false, ERR_DATA },
    { "too long", "holds 16 bytes, float32 [3] needs 12", { 3 }, 1, 16, false, ERR_DATA },
    { "absent", "has no data", { 3 }, 1, 0, false, ERR_DATA },
    { "twice", "both", { 2 }, 1, 8, true, ERR_DATA },
    { "rank", "17 dimensions", { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 }, 17, 4, false, ERR_UNSUPPORTED },
};

static void test_sizes_that_do_not_fit(void **state)
{
    (void)state;
    static const uint8_t zeros[16];
    for (size_t i = 0; i < sizeof bad_rows / sizeof *bad_rows; i++) {
        const BadRow *r = &bad_rows[i];
        Err err = { 0 };
        Graph *g = NULL;
        Pb t = pb_tensor("w\x1b[31m", DT_FLOAT, r->rank, r->dims, r->raw > 0 ? zeros : NULL, r->raw);
        if (r->both) pb_blob(&t, 4, zeros, 8);
        Pb graph = { 0 };
        pb_sub(&graph, 5, t);
        Pb m = pb_model(graph);
        Status status = load_bytes(&m, 0, &g, &err);
        if (status != r->status || strstr(err.text, r->message) == NULL) fail_msg("%s: status %d: %s", r->name, (int)status, err.text);
        assert_non_null(strstr(err.text, "initializer 'w"));
        assert_null(strchr(err.text, '\x1b'));
        assert_null(g);
        pb_free(&m);
    }
}

static void test_empty_and_scalar(void **state)
{
    (void)state;
    Err err;
    Graph *g = NULL;
    static const int64_t none[1] = { 0 };
    static const float one = 1;
    Pb graph = { 0 };
    pb_sub(&graph, 5, pb_tensor("empty", DT_INT64, 1, none, NULL, 0));
    pb_sub(&graph, 5, pb_tensor("scalar", DT_FLOAT, 0, NULL, &one, 4));
    Pb m = pb_model(graph);
    assert_ok(load_bytes(&m, 0, &g, &err), &err);
    assert_int_equal(tensor_count(graph_value(g, graph_find_value(g, STR("empty")))->tensor), 0);
    assert_near(tensor_get(graph_value(g, graph_find_value(g, STR("scalar")))->tensor, 0), 1, 0);
    graph_free(g);
    pb_free(&m);
}

static void test_tensor_files(void **state)
{
    (void)state;
    char folder[64], path[128], name[8];
    Err err;
    Tensor t, again;
    static const int64_t dims[2] = { 2, 3 };
    folder_make(folder);
    snprintf(path, sizeof path, "%s/input_0.pb", folder);
    Shape shape = shape_of(2, dims);
    assert_ok(tensor_new(&t, DT_FLOAT, &shape, &err), &err);
    for (int i = 0; i < 6; i++) tensor_set(&t, i, i * 0.5);
    assert_ok(tensor_pb_save(path, &t, "a long name", &err), &err);
    assert_ok(tensor_pb_load(path, 0, &again, name, sizeof name, &err), &err);
    assert_string_equal(name, "a long ");
    assert_same_tensor(&t, &again, "tensor");
    tensor_release(&again);
    tensor_release(&t);
    write_file(folder, "input_0.pb", "\x08\x03\x10", 3);
    assert_status(tensor_pb_load(path, 0, &again, NULL, 0, &err), ERR_DATA, &err);
    Pb strings = pb_tensor("s", DT_STRING, 1, (const int64_t[]){ 1 }, NULL, 0);
    pb_text(&strings, 6, "text");
    write_file(folder, "input_0.pb", strings.data, strings.size);
    assert_status(tensor_pb_load(path, 0, &again, NULL, 0, &err), ERR_UNSUPPORTED, &err);
    pb_free(&strings);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_typed_fields),
        cmocka_unit_test(test_raw_is_a_view),
        cmocka_unit_test(test_sizes_that_do_not_fit),
        cmocka_unit_test(test_empty_and_scalar),
        cmocka_unit_test(test_tensor_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
