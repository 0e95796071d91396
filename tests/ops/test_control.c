/* Control flow and recurrent layers where the conformance cases do not reach: bounds of loops, interruption, branches folded and counted,
 * two weights of one node. Results against ONNX Runtime: tests/interop. */
#include "test.h"

#include <unistd.h>

#include "engine/fold.h"
#include "graph/format.h"
#include "graph/verify.h"
#include "greenness/counts.h"

static Err err;

static Graph *load(const char *path)
{
    Graph *g = NULL;
    assert_ok(model_load(path, NULL, &g, &err), &err);
    engine_bind(g);
    return g;
}

static Tensor floats(int count, const float *values)
{
    Tensor t = { 0 };
    Shape shape = shape_of(1, (int64_t[]){ count });
    assert_ok(tensor_new(&t, DT_FLOAT, &shape, &err), &err);
    for (int i = 0; i < count; i++) tensor_set(&t, i, values[i]);
    return t;
}

static int count_ops(const Graph *g, const char *type)
{
    int count = 0;
    for (uint32_t i = 0; i < g->order_count; i++) count += str_is(graph_node(g, g->order[i])->type, type);
    return count;
}

/* --- loops without an end */

typedef struct Endless {
    const char *name, *path;
    bool listens; /* somebody can interrupt, and has */
    uint64_t max_mem;
    Status status;
    const char *says;
} Endless;

static const Endless endless[] = {
    { "interrupted", "tests/data/endless.onnx", true, 0, ERR_INTERRUPTED, "interrupted" },
    { "nobody to interrupt", "tests/data/endless.onnx", false, 0, ERR_UNSUPPORTED, "Loop 'loop': more than 1048576 steps" },
    { "stacks too much", "tests/data/endless_stack.onnx", false, 8 << 20, ERR_MEMORY, "passes 8388608 bytes" },
};

static void endless_row(void **state)
{
    const Endless *row = *state;
    Graph *g = load(row->path);
    volatile int flag = 1;
    Log log;
    log_init(&log, NULL, true);
    log.interrupted = row->listens ? &flag : NULL;
    SessionOptions options = { .max_mem = row->max_mem, .log = &log };
    Session *s = NULL;
    assert_ok(session_new(g, &options, &s, &err), &err);
    Tensor x = floats(1, (float[]){ 0 }), out[2] = { { 0 } };
    assert_status(session_run(s, &x, out, &err), row->status, &err);
    if (strstr(err.text, row->says) == NULL) fail_msg("'%s' does not say '%s'", err.text, row->says);
    tensor_release(&x);
    session_free(s);
    graph_free(g);
}

/* --- branches */

static void check_branches(const Graph *g, bool plain)
{
    static const float expected[2][4] = { { 1, 21, -0.5f, 23 }, { 4.5f, 12, 3, 14 } };
    SessionOptions options = { .plain = plain };
    Session *s = NULL;
    assert_ok(session_new(g, &options, &s, &err), &err);
    for (int truth = 0; truth < 2; truth++) {
        Tensor in[2] = { floats(2, (float[]){ 1.5f, -2 }), { 0 } }, out[2];
        Shape scalar = { .rank = 0 };
        assert_ok(tensor_new(&in[1], DT_BOOL, &scalar, &err), &err);
        tensor_set_int(&in[1], 0, truth);
        assert_ok(session_run(s, in, out, &err), &err);
        for (int i = 0; i < 4; i++) assert_near(tensor_get(&out[i / 2], i % 2), expected[truth][i], 0);
        for (int i = 0; i < 2; i++) {
            tensor_release(&in[i]);
            tensor_release(&out[i]);
        }
    }
    session_free(s);
}

static void branch_is_folded(void **state)
{
    (void)state;
    Graph *g = load("tests/data/branches.onnx");
    PassRecord record = { 0 };
    check_branches(g, false);
    check_branches(g, true);
    assert_ok(fold_graph(g, &FOLD_ALL, &record, &err), &err);
    assert_ok(graph_verify(g, &err), &err);
    assert_int_equal(count_ops(g, "If"), 1); /* the inner one, whose condition is an input */
    assert_int_equal(count_ops(g, "Mul"), 1);
    bool told = false;
    for (size_t i = 0; i < record.count; i++) told = told || strcmp(record.entries[i].object, "outer") == 0;
    assert_true(told);
    record_release(&record);
    check_branches(g, false);
    graph_free(g);
}

static void known_branch_is_counted(void **state)
{
    (void)state;
    Graph *g = load(zoo_path("speech/silero_vad_16k_op15.onnx"));
    Counts c;
    assert_ok(counts_of(g, NULL, &c, &err), &err);
    assert_int_equal(c.uncounted, 0);
    assert_int_equal(c.guess, 224); /* 1, 16 and 64 samples are less than a window */
    int64_t within = 0;
    for (int i = 0; i < c.layer_count; i++)
        if (str_is(c.layers[i].type, "If")) within += c.layers[i].cost.macs;
    assert_int_equal(within, 4 * 128 * (128 + 128)); /* one step of an LSTM of 128 units on 128 inputs */
    counts_release(&c);
    graph_free(g);
}

/* Which branch of it is taken depends on an input, the rate: that for 8 kHz makes three frames of 224 samples, the other one. */
static void larger_branch_is_counted(void **state)
{
    (void)state;
    Graph *g = load(zoo_path("speech/silero_vad.onnx"));
    Counts c;
    assert_ok(counts_of(g, NULL, &c, &err), &err);
    assert_int_equal(c.uncounted, 0);
    assert_int_equal(c.undecided, 1); /* those within are known in either branch */
    int64_t expected = 3 * 130 * 128 + 3 * 128 * 65 * 3 + 2 * 64 * 128 * 3 + 64 * 64 * 3 + 128 * 64 * 3 + 4 * 128 * 256 + 128;
    assert_int_equal(c.macs_float, expected);
    counts_release(&c);
    graph_free(g);
    g = load("tests/data/branches.onnx");
    assert_ok(counts_of(g, NULL, &c, &err), &err);
    assert_int_equal(c.uncounted, 0);
    assert_int_equal(c.undecided, 1);
    counts_release(&c);
    graph_free(g);
}

/* --- Scan of opset 8 */

/* Everything has the batch first; the steps are the scan inputs' second axis. This one has a state [B,2] and scans [B,T,2]. */
static void batched_scan_is_inferred(void **state)
{
    (void)state;
    const char *root = getenv("PARE_ONNX_DATA");
    char path[512];
    snprintf(path, sizeof path, "%s/node/test_scan_sum/model.onnx", root != NULL ? root : "/usr/share/libonnx-testdata/data");
    if (access(path, R_OK) != 0) skip();
    Graph *g = load(path);
    assert_int_equal(graph_opset(g, STR("")), 8);
    for (int i = 0; i < g->output_count; i++) graph_value(g, g->outputs[i])->shape = (Shape){ .rank = -1 };
    Shape shapes[] = { { 2, { 4, 2 } }, { 3, { 4, 5, 2 } } };
    TypeInfo *types;
    for (int i = 0; i < 2; i++) graph_value(g, g->inputs[i])->shape = (Shape){ .rank = -1 };
    assert_ok(engine_concrete_shapes(g, shapes, 2, &types, &err), &err);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(types[g->outputs[i]].type, DT_FLOAT);
        assert_true(shape_eq(&types[g->outputs[i]].shape, &shapes[i]));
    }
    free(types);
    graph_free(g);
}

/* --- recurrent layers */

static void two_weights_of_a_node(void **state)
{
    (void)state;
    Graph *g = load(zoo_path("speech/dtln_1.onnx"));
    Layer *layers = NULL;
    int count = 0, recurrent = 0;
    assert_ok(layers_find(g, &layers, &count, &err), &err);
    for (int i = 0; i < count; i++) {
        const Node *n = graph_node(g, layers[i].node);
        if (!str_is(n->type, "LSTM")) continue;
        assert_int_equal(layers[i].out_axis, 1);
        assert_int_equal(layers[i].weight, n->inputs[1 + recurrent % 2]);
        recurrent++;
    }
    assert_int_equal(recurrent, 4);
    free(layers);
    graph_free(g);
}

int main(void)
{
    struct CMUnitTest tests[5 + sizeof endless / sizeof *endless] = {
        cmocka_unit_test(branch_is_folded),
        cmocka_unit_test(known_branch_is_counted),
        cmocka_unit_test(larger_branch_is_counted),
        cmocka_unit_test(batched_scan_is_inferred),
        cmocka_unit_test(two_weights_of_a_node),
    };
    for (size_t i = 0; i < sizeof endless / sizeof *endless; i++)
        tests[5 + i] = (struct CMUnitTest){ .name = endless[i].name, .test_func = endless_row,
                                            .initial_state = (void *)(uintptr_t)&endless[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
