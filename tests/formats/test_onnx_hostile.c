/* Files that are damaged or made to harm: a clear error, never a crash, bounded memory. */
#include "formats/messages.h"

#include <sys/resource.h>

static Pb small_model(void)
{
    return pb_model(pb_small_graph());
}

/* What came in whole may also load; either way nothing may leak or be read out of bounds. */
static Status load_and_free(const Pb *p, Err *err)
{
    Graph *g = NULL;
    Status status = load_bytes(p, 0, &g, err);
    if (status != OK) assert_null(g);
    if (status != OK && err->text[0] == '\0') fail_msg("an error without a message");
    graph_free(g);
    return status;
}

static void test_cut_everywhere(void **state)
{
    (void)state;
    Pb m = small_model();
    for (size_t n = 0; n < m.size; n++) {
        Err err = { 0 };
        Pb cut = { .data = m.data, .size = n };
        Status status = load_and_free(&cut, &err);
        if (status != ERR_DATA) fail_msg("cut at %zu of %zu: status %d", n, m.size, (int)status);
    }
    Err err;
    assert_ok(load_and_free(&m, &err), &err);
    pb_free(&m);
}

static void test_every_bit_flipped(void **state)
{
    (void)state;
    Pb m = small_model();
    for (size_t bit = 0; bit < 8 * m.size; bit++) {
        Err err = { 0 };
        m.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        Status status = load_and_free(&m, &err);
        if (status != OK && status != ERR_DATA && status != ERR_UNSUPPORTED) fail_msg("bit %zu: status %d: %s", bit, (int)status, err.text);
        m.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    pb_free(&m);
}

static void test_graphs_in_graphs(void **state)
{
    (void)state;
    static const struct { int depth; Status status; } rows[] = { { 1, OK }, { 10, OK }, { 20, OK }, { 21, ERR_DATA }, { 1000, ERR_DATA } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Err err = { 0 };
        Pb inner = { 0 };
        pb_text(&inner, 2, "g");
        for (int d = 0; d < rows[i].depth; d++) {
            Pb attr = { 0 }, node = pb_node("If", "if", NULL, NULL, NULL), outer = { 0 };
            pb_text(&attr, 1, "then_branch");
            pb_sub(&attr, 6, inner);
            pb_int(&attr, 20, ATTR_GRAPH);
            pb_sub(&node, 5, attr);
            pb_sub(&outer, 1, node);
            inner = outer;
        }
        Pb m = pb_model(inner);
        Status status = load_and_free(&m, &err);
        if (status != rows[i].status) fail_msg("%d deep: status %d: %s", rows[i].depth, (int)status, err.text);
        pb_free(&m);
    }
}

/* Types nest without graphs too: a sequence of sequences. */
static void test_types_in_types(void **state)
{
    (void)state;
    Pb type = { 0 };
    for (int d = 0; d < 5000; d++) {
        Pb sequence = { 0 }, outer = { 0 };
        pb_sub(&sequence, 1, type);
        pb_sub(&outer, 4, sequence);
        type = outer;
    }
    Pb value = { 0 }, g = { 0 };
    pb_text(&value, 1, "x");
    pb_sub(&value, 2, type);
    pb_sub(&g, 11, value);
    Pb m = pb_model(g);
    Err err = { 0 };
    assert_status(load_and_free(&m, &err), ERR_DATA, &err);
    pb_free(&m);
}

static long peak_kilobytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* 10 MB of two-byte messages would decode to over a gigabyte. */
static void test_millions_of_empty_messages(void **state)
{
    (void)state;
    static const struct { const char *name; uint8_t tag; uint64_t max_mem; } rows[] = {
        { "nodes", 1 << 3 | WIRE_BYTES, 64 << 20 },       { "nodes without a limit", 1 << 3 | WIRE_BYTES, 0 },
        { "initializers", 5 << 3 | WIRE_BYTES, 64 << 20 }, { "initializers without a limit", 5 << 3 | WIRE_BYTES, 0 },
        { "inputs", 11 << 3 | WIRE_BYTES, 64 << 20 },      { "unknown fields", 9 << 3 | WIRE_BYTES, 64 << 20 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Pb g = { 0 };
        for (int n = 0; n < 5000000; n++) pb_raw(&g, (uint8_t[]){ rows[i].tag, 0 }, 2);
        Pb m = pb_model(g);
        long before = peak_kilobytes();
        Err err = { 0 };
        Graph *loaded = NULL;
        assert_status(load_bytes(&m, rows[i].max_mem, &loaded, &err), ERR_MEMORY, &err);
        assert_non_null(strstr(err.text, "--max-mem"));
        long grown = peak_kilobytes() - before;
        if (grown > 128 << 10) fail_msg("%s: %ld kB more", rows[i].name, grown);
        pb_free(&m);
    }
}

typedef struct GraphRow {
    const char *name, *message;
    void (*build)(Pb *g);
} GraphRow;

static void build_cycle(Pb *g)
{
    pb_sub(g, 1, pb_node("Relu", "first", "b", NULL, "a"));
    pb_sub(g, 1, pb_node("Relu", "second", "a", NULL, "b"));
}

static void build_self_cycle(Pb *g)
{
    pb_sub(g, 1, pb_node("Relu", "self", "a", NULL, "a"));
}

static void build_missing_input(Pb *g)
{
    pb_sub(g, 1, pb_node("Relu", "relu", "nowhere", NULL, "y"));
}

static void build_missing_output(Pb *g)
{
    pb_sub(g, 12, pb_value("y", 3));
}

static void build_two_outputs(Pb *g)
{
    pb_sub(g, 11, pb_value("x", 3));
    pb_sub(g, 1, pb_node("Relu", "one", "x", NULL, "y"));
    pb_sub(g, 1, pb_node("Relu", "two", "x", NULL, "y"));
}

static void build_two_inputs(Pb *g)
{
    pb_sub(g, 11, pb_value("x", 3));
    pb_sub(g, 11, pb_value("x", 3));
}

static void build_two_initializers(Pb *g)
{
    static const int64_t none[1] = { 0 };
    pb_sub(g, 5, pb_tensor("w", DT_FLOAT, 1, none, NULL, 0));
    pb_sub(g, 5, pb_tensor("w", DT_FLOAT, 1, none, NULL, 0));
}

static void build_node_over_input(Pb *g)
{
    pb_sub(g, 11, pb_value("x", 3));
    pb_sub(g, 1, pb_node("Relu", "relu", "x", NULL, "x"));
}

static void build_node_over_initializer(Pb *g)
{
    static const int64_t none[1] = { 0 };
    pb_sub(g, 11, pb_value("x", 3));
    pb_sub(g, 5, pb_tensor("w", DT_FLOAT, 1, none, NULL, 0));
    pb_sub(g, 1, pb_node("Relu", "relu", "x", NULL, "w"));
}

static void build_no_operator(Pb *g)
{
    Pb n = { 0 };
    pb_text(&n, 3, "nameless");
    pb_sub(g, 1, n);
}

static void build_no_domain(Pb *g)
{
    Pb n = pb_node("Thing", "thing", NULL, NULL, "y");
    pb_text(&n, 7, "far.away");
    pb_sub(g, 1, n);
}

static void build_nameless_initializer(Pb *g)
{
    static const int64_t none[1] = { 0 };
    pb_sub(g, 5, pb_tensor(NULL, DT_FLOAT, 1, none, NULL, 0));
}

static const GraphRow graph_rows[] = {
    { "cycle", "cycle", build_cycle },
    { "self cycle", "cycle", build_self_cycle },
    { "missing input", "Relu 'relu': input 0 'nowhere'", build_missing_input },
    { "missing output", "output 'y' is made by no node", build_missing_output },
    { "two outputs", "Relu 'two' (node 1): output 'y' is made twice", build_two_outputs },
    { "two inputs", "two inputs are named 'x'", build_two_inputs },
    { "two initializers", "two initializers are named 'w'", build_two_initializers },
    { "node over input", "is also a graph input", build_node_over_input },
    { "node over initializer", "is also an initializer", build_node_over_initializer },
    { "no operator", "'nameless' has no operator", build_no_operator },
    { "domain not imported", "far.away", build_no_domain },
    { "nameless initializer", "an initializer has no name", build_nameless_initializer },
};

static void test_bad_graphs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof graph_rows / sizeof *graph_rows; i++) {
        Err err = { 0 };
        Pb g = { 0 };
        graph_rows[i].build(&g);
        Pb m = pb_model(g);
        Status status = load_and_free(&m, &err);
        if (status != ERR_DATA || strstr(err.text, graph_rows[i].message) == NULL) {
            fail_msg("%s: status %d: %s", graph_rows[i].name, (int)status, err.text);
        }
        pb_free(&m);
    }
}

static void test_versions(void **state)
{
    (void)state;
    static const struct { int64_t ir; Status status; } rows[] = {
        { 0, ERR_DATA }, { 2, ERR_UNSUPPORTED }, { 3, OK }, { 14, OK }, { 15, ERR_UNSUPPORTED }, { -1, ERR_DATA },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Pb m = { 0 }, opset = { 0 };
        Err err = { 0 };
        pb_int(&m, 1, rows[i].ir);
        pb_sub(&m, 7, pb_small_graph());
        pb_int(&opset, 2, 13);
        pb_sub(&m, 8, opset);
        Status status = load_and_free(&m, &err);
        if (status != rows[i].status) fail_msg("IR %lld: status %d: %s", (long long)rows[i].ir, (int)status, err.text);
        pb_free(&m);
    }
}

/* A graph twice would be merged by protobuf-c; no writer does that. Groups and the private field do not exist in ONNX. */
static void test_messages_no_writer_makes(void **state)
{
    (void)state;
    Err err = { 0 };
    Pb m = small_model();
    pb_sub(&m, 7, pb_small_graph());
    assert_status(load_and_free(&m, &err), ERR_DATA, &err);
    pb_free(&m);
    m = small_model();
    pb_raw(&m, (uint8_t[]){ 15 << 3 | 3, 1 }, 2);
    assert_status(load_and_free(&m, &err), ERR_DATA, &err);
    pb_free(&m);
    Pb g = { 0 }, t = pb_tensor("w", DT_FLOAT, 0, NULL, "\0\0\0\0", 4);
    pb_int(&t, TENSOR_PAYLOAD, 77);
    pb_sub(&g, 5, t);
    m = pb_model(g);
    assert_status(load_and_free(&m, &err), ERR_DATA, &err);
    pb_free(&m);
}

static void test_other_files(void **state)
{
    (void)state;
    static const char *const texts[] = { "", "PK\x03\x04 a zip", "{\"json\": 1}", "\x89PNG\r\n\x1a\n", "\x08\x08" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        Err err = { 0 };
        Pb p = { .data = (uint8_t *)(uintptr_t)texts[i], .size = strlen(texts[i]) };
        assert_status(load_and_free(&p, &err), ERR_DATA, &err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_everywhere),
        cmocka_unit_test(test_every_bit_flipped),
        cmocka_unit_test(test_graphs_in_graphs),
        cmocka_unit_test(test_types_in_types),
        cmocka_unit_test(test_millions_of_empty_messages),
        cmocka_unit_test(test_bad_graphs),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_messages_no_writer_makes),
        cmocka_unit_test(test_other_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
