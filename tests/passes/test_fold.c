#include "test.h"

#include "build_graph.h"
#include "engine/fold.h"

#include "base/hash.h"

/* ---- networks ---- */

static int64_t batch_of(Graph *g) { return graph_symbol(g, STR("N")); }

static ValueId norm_after(Graph *g, ValueId x, const char *name, int64_t channels)
{
    double s[16], t[16], m[16], v[16];
    for (int i = 0; i < 16; i++) {
        s[i] = 1.0 + 0.3 * build_noise(1, i);
        t[i] = build_noise(2, i);
        m[i] = build_noise(3, i);
        v[i] = 0.5 + 0.4 * build_noise(4, i);
    }
    ValueId sc = build_constant(g, "s", DT_FLOAT, s, DIMS(channels)), sh = build_constant(g, "t", DT_FLOAT, t, DIMS(channels));
    ValueId me = build_constant(g, "m", DT_FLOAT, m, DIMS(channels)), va = build_constant(g, "v", DT_FLOAT, v, DIMS(channels));
    return build_node(g, "BatchNormalization", name, x, sc, sh, me, va, -1);
}

static ValueId conv_after(Graph *g, ValueId x, const char *name, int64_t out, int64_t in, bool bias)
{
    ValueId w = build_weight(g, "w", 5, DIMS(out, in, 3, 3));
    ValueId y = bias ? build_node(g, "Conv", name, x, w, build_weight(g, "b", 6, DIMS(out)), -1) : build_node(g, "Conv", name, x, w, -1);
    Err err;
    assert_ok(graph_set_ints(g, build_maker(g, y), "pads", (int64_t[]){ 1, 1, 1, 1 }, 4, &err), &err);
    return y;
}

static Graph *conv_norm(void)
{
    Graph *g = build_new(13);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 3, 6, 6));
    build_output(g, build_node(g, "Relu", "y", norm_after(g, conv_after(g, x, "conv", 4, 3, true), "norm", 4), -1));
    return g;
}

static Graph *conv_norm_without_bias(void)
{
    Graph *g = build_new(9);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 3, 6, 6));
    build_output(g, norm_after(g, conv_after(g, x, "conv", 4, 3, false), "norm", 4));
    return g;
}

static Graph *conv_norm_two_readers(void)
{
    Graph *g = build_new(13);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 4, 6, 6));
    ValueId c = conv_after(g, x, "conv", 4, 4, true);
    build_output(g, build_node(g, "Add", "y", norm_after(g, c, "norm", 4), c, -1));
    return g;
}

/* One weight, two convolutions, a normalisation behind one of them: the other must not change. */
static Graph *conv_norm_tied(void)
{
    Graph *g = build_new(13);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 3, 6, 6)), w = build_weight(g, "w", 5, DIMS(4, 3, 3, 3));
    ValueId a = build_node(g, "Conv", "a", x, w, -1), b = build_node(g, "Conv", "b", x, w, -1);
    build_output(g, build_node(g, "Add", "y", norm_after(g, a, "norm", 4), build_node(g, "Relu", "r", b, -1), -1));
    return g;
}

static Graph *transposed_norm(void)
{
    Graph *g = build_new(13);
    Err err;
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 4, 5, 5)), w = build_weight(g, "w", 5, DIMS(4, 3, 3, 3));
    ValueId y = build_node(g, "ConvTranspose", "up", x, w, -1);
    assert_ok(graph_set_int(g, build_maker(g, y), "group", 2, &err), &err);
    build_output(g, norm_after(g, y, "norm", 6));
    return g;
}

static Graph *gemm_norm(void)
{
    Graph *g = build_new(13);
    Err err;
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 7)), w = build_weight(g, "w", 5, DIMS(5, 7));
    ValueId y = build_node(g, "Gemm", "fc", x, w, build_weight(g, "b", 6, DIMS(1, 5)), -1);
    assert_ok(graph_set_int(g, build_maker(g, y), "transB", 1, &err), &err);
    assert_ok(graph_set_float(g, build_maker(g, y), "beta", 0.5f, &err), &err);
    build_output(g, norm_after(g, y, "norm", 5));
    return g;
}

static Graph *matmul_add(void)
{
    Graph *g = build_new(13);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 7)), w = build_weight(g, "w", 5, DIMS(7, 5));
    ValueId y = build_node(g, "MatMul", "mm", x, w, -1);
    build_output(g, build_node(g, "Add", "y", build_weight(g, "b", 6, DIMS(1, 5)), y, -1));
    return g;
}

static Graph *matmul_add_of_rank_3(void)
{
    Graph *g = build_new(13);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 2, 7)), w = build_weight(g, "w", 5, DIMS(7, 5));
    build_output(g, build_node(g, "Add", "y", build_node(g, "MatMul", "mm", x, w, -1), build_weight(g, "b", 6, DIMS(5)), -1));
    return g;
}

static Graph *conv_add(void)
{
    Graph *g = build_new(8);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 3, 6, 6));
    build_output(g, build_node(g, "Add", "y", conv_after(g, x, "conv", 4, 3, false), build_weight(g, "c", 7, DIMS(4, 1, 1)), -1));
    return g;
}

/* The constant makes the result larger than the Conv's: it is no bias. */
static Graph *conv_add_wide(void)
{
    Graph *g = build_new(13);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 3, 6, 6));
    build_output(g, build_node(g, "Add", "y", conv_after(g, x, "conv", 4, 3, false), build_weight(g, "c", 7, DIMS(4, 6, 6)), -1));
    return g;
}

/* Shape(x)[0] next to a constant: what exporters write for a flatten. */
static Graph *exported_flatten(void)
{
    Graph *g = build_new(13);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 3, 6, 6));
    ValueId zero = build_constant(g, "zero", DT_INT64, (double[]){ 0 }, DIMS(1));
    ValueId rest = build_constant(g, "rest", DT_INT64, (double[]){ 108 }, DIMS(1));
    ValueId first = build_node(g, "Gather", "first", build_node(g, "Shape", "shape", x, -1), zero, -1);
    ValueId target = build_node(g, "Concat", "target", first, rest, -1);
    Err err;
    assert_ok(graph_set_int(g, build_maker(g, target), "axis", 0, &err), &err);
    build_output(g, build_node(g, "Relu", "y", build_node(g, "Reshape", "flat", x, target, -1), -1));
    return g;
}

static Graph *identities(void)
{
    Graph *g = build_new(13);
    Err err;
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 3, 6));
    ValueId a = build_node(g, "Identity", "a", x, -1), b = build_node(g, "Dropout", "b", a, -1), c = build_node(g, "Cast", "c", b, -1);
    assert_ok(graph_set_int(g, build_maker(g, c), "to", DT_FLOAT, &err), &err);
    ValueId d = build_node(g, "Transpose", "d", c, -1), e = build_node(g, "Transpose", "e", d, -1);
    assert_ok(graph_set_ints(g, build_maker(g, d), "perm", (int64_t[]){ 1, 2, 0 }, 3, &err), &err);
    assert_ok(graph_set_ints(g, build_maker(g, e), "perm", (int64_t[]){ 2, 0, 1 }, 3, &err), &err);
    ValueId f = build_node(g, "Add", "f", e, build_constant(g, "k0", DT_FLOAT, (double[]){ 0 }, NULL, 0), -1);
    ValueId h = build_node(g, "Mul", "h", f, build_constant(g, "k1", DT_FLOAT, (double[]){ 1 }, DIMS(1)), -1);
    ValueId p = build_node(g, "Pad", "p", h, build_constant(g, "k2", DT_INT64, (double[]){ 0, 0, 0, 0, 0, 0 }, DIMS(6)), -1);
    build_output(g, build_node(g, "Relu", "y", p, -1));
    return g;
}

/* An Identity between the network's input and its output has to stay. */
static Graph *input_to_output(void)
{
    Graph *g = build_new(13);
    build_output(g, build_node(g, "Identity", "y", build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 3)), -1));
    return g;
}

static Graph *twins(void)
{
    Graph *g = build_new(13);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 4));
    ValueId a = build_node(g, "MatMul", "a", x, build_weight(g, "w1", 5, DIMS(4, 4)), -1);
    build_output(g, build_node(g, "MatMul", "b", a, build_weight(g, "w2", 5, DIMS(4, 4)), -1));
    return g;
}

static Graph *computed_weight(void)
{
    Graph *g = build_new(8);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 8));
    ValueId target = build_constant(g, "k", DT_INT64, (double[]){ 8, 3 }, DIMS(2));
    ValueId w = build_node(g, "Reshape", "w2", build_weight(g, "w", 5, DIMS(2, 4, 3)), target, -1);
    build_output(g, build_node(g, "MatMul", "y", x, w, -1));
    return g;
}

/* 1,000,000 zeros from one number: larger than it is worth in a file. */
static Graph *large_constant(void)
{
    Graph *g = build_new(13);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(1000, 1000));
    ValueId z = build_node(g, "ConstantOfShape", "z", build_constant(g, "k", DT_INT64, (double[]){ 1000, 1000 }, DIMS(2)), -1);
    build_output(g, build_node(g, "Max", "y", x, z, -1));
    return g;
}

static Graph *dead_nodes(void)
{
    Graph *g = build_new(13);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 4));
    build_node(g, "MatMul", "unread", x, build_weight(g, "w", 5, DIMS(4, 4)), -1);
    build_output(g, build_node(g, "Relu", "y", x, -1));
    return g;
}

typedef struct Row {
    const char *name;
    Graph *(*make)(void);
    const char *type; /* nodes of this type ... */
    int left;         /* ... that stay */
    int nodes;        /* all nodes that stay */
    int skipped;      /* entries that say why not */
} Row;

static const Row rows[] = {
    { "Conv + BatchNormalization", conv_norm, "BatchNormalization", 0, 2, 0 },
    { "Conv without bias + BatchNormalization", conv_norm_without_bias, "BatchNormalization", 0, 1, 0 },
    { "the Conv has another reader", conv_norm_two_readers, "BatchNormalization", 1, 3, 1 },
    { "a weight read by two Convs", conv_norm_tied, "BatchNormalization", 0, 4, 0 },
    { "ConvTranspose with groups", transposed_norm, "BatchNormalization", 0, 1, 0 },
    { "Gemm with transB and beta", gemm_norm, "BatchNormalization", 0, 1, 0 },
    { "MatMul + Add", matmul_add, "Gemm", 1, 1, 0 },
    { "MatMul + Add of rank 3", matmul_add_of_rank_3, "MatMul", 1, 2, 0 },
    { "Conv + Add per channel", conv_add, "Add", 0, 1, 0 },
    { "Conv + Add per position", conv_add_wide, "Add", 1, 2, 0 },
    { "flatten as exporters write it", exported_flatten, "Shape", 0, 2, 0 },
    { "nodes that change nothing", identities, "Relu", 1, 1, 0 },
    { "input to output", input_to_output, "Identity", 1, 1, 0 },
    { "equal weights", twins, "MatMul", 2, 2, 0 },
    { "weight behind a Reshape", computed_weight, "Reshape", 0, 1, 0 },
    { "large constant", large_constant, "ConstantOfShape", 1, 2, 0 },
    { "dead nodes", dead_nodes, "MatMul", 0, 1, 0 },
};

static int live(const Graph *g)
{
    int count = 0;
    for (NodeId n = 1; n <= g->node_count; n++) count += !graph_node(g, n)->removed;
    return count;
}

static int entries(const PassRecord *r, RecordKind kind)
{
    int count = 0;
    for (size_t i = 0; i < r->count; i++) count += r->entries[i].kind == kind;
    return count;
}

static void fold_row(void **state)
{
    const Row *row = *state;
    Err err;
    Graph *g = row->make();
    build_ready(g);
    Tensor before = build_run(g, 2, 1.0, true);
    PassRecord record = { 0 }, again = { 0 };
    assert_ok(fold_graph(g, &FOLD_ALL, &record, &err), &err);
    assert_ok(graph_verify(g, &err), &err);
    if (build_count(g, row->type) != row->left) fail_msg("%d of %s left, expected %d", build_count(g, row->type), row->type, row->left);
    if (live(g) != row->nodes) fail_msg("%d nodes left, expected %d", live(g), row->nodes);
    assert_int_equal(entries(&record, RECORD_SKIPPED), row->skipped);
    Tensor after = build_run(g, 2, 1.0, true);
    assert_near(build_distance(&after, &before), 0.0, 2e-6);
    /* Run twice it changes nothing. */
    assert_ok(fold_graph(g, &FOLD_ALL, &again, &err), &err);
    assert_int_equal(entries(&again, RECORD_CHANGED), 0);
    assert_int_equal(live(g), row->nodes);
    tensor_release(&before);
    tensor_release(&after);
    record_release(&record);
    record_release(&again);
    graph_free(g);
}

/* A clone taken before still computes what it did: weights are written only where nobody shares them. */
static void clone_is_untouched(void **state)
{
    (void)state;
    Err err;
    Graph *g = conv_norm(), *kept;
    build_ready(g);
    assert_ok(graph_clone(g, &kept, &err), &err);
    Tensor before = build_run(kept, 2, 1.0, true);
    assert_ok(fold_graph(g, &FOLD_ALL, NULL, &err), &err);
    Tensor after = build_run(kept, 2, 1.0, true);
    assert_near(build_distance(&after, &before), 0.0, 0.0);
    assert_int_equal(build_count(kept, "BatchNormalization"), 1);
    tensor_release(&before);
    tensor_release(&after);
    graph_free(kept);
    graph_free(g);
}

static void switches_leave(void **state)
{
    (void)state;
    Err err;
    FoldOptions none = { .growth = 65536 };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Graph *g = rows[i].make();
        build_ready(g);
        int before = live(g);
        PassRecord record = { 0 };
        assert_ok(fold_graph(g, &none, &record, &err), &err);
        assert_int_equal(live(g), before);
        assert_int_equal(record.count, 0);
        record_release(&record);
        graph_free(g);
    }
}

static void twins_share(void **state)
{
    (void)state;
    Err err;
    Graph *g = twins();
    build_ready(g);
    assert_ok(fold_graph(g, &FOLD_ALL, NULL, &err), &err);
    assert_int_equal(graph_find_value(g, STR("w1")) != 0, 1);
    assert_null(graph_value(g, graph_find_value(g, STR("w2")))->tensor);
    graph_free(g);
}

int main(void)
{
    enum { ROWS = sizeof rows / sizeof *rows };
    struct CMUnitTest tests[ROWS + 3];
    for (size_t i = 0; i < ROWS; i++)
        tests[i] = (struct CMUnitTest){ .name = rows[i].name, .test_func = fold_row, .initial_state = (void *)(uintptr_t)&rows[i] };
    tests[ROWS] = (struct CMUnitTest)cmocka_unit_test(clone_is_untouched);
    tests[ROWS + 1] = (struct CMUnitTest)cmocka_unit_test(switches_leave);
    tests[ROWS + 2] = (struct CMUnitTest)cmocka_unit_test(twins_share);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
