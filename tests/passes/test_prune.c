#include "net.h"

#include "greenness/counts.h"
#include "prune/select.h"
#include "stats/digest.h"

extern const Pass pass_prune;

/* x[N,n] W[n,1] with one layer "fc" of the given weights. */
static Graph *one_layer(DType type, int count, const double *weights)
{
    Graph *g = net_new(17);
    ValueId x = net_feed(g, "x", type, DIMS(2, count));
    ValueId w = net_constant(g, "w", type, DIMS(count, 1), weights);
    net_output(g, NODE(g, "MatMul", "fc", "y", x, w));
    net_done(g);
    return g;
}

typedef struct MaskRow {
    const char *name;
    const char *sparsity;
    int count;
    double weights[8], expected[8];
} MaskRow;

static const MaskRow mask_rows[] = {
    { "smallest magnitudes go", "0.5", 4, { -1, 4, 2, -3 }, { 0, 4, 0, -3 } },
    { "equal ones go in order", "0.5", 4, { 1, -1, 1, -1 }, { 0, 0, 1, -1 } },
    { "zeros count", "0.5", 4, { 0, 3, 0, 4 }, { 0, 3, 0, 4 } },
    { "more zeros than asked", "0.25", 4, { 0, 3, 0, 0 }, { 0, 3, 0, 0 } },
    { "the count is rounded down", "0.5", 5, { 5, 4, 3, 2, 1 }, { 5, 4, 3, 0, 0 } },
    { "none", "0", 3, { 1, 2, 3 }, { 1, 2, 3 } },
    { "all", "1", 3, { 1, 2, 3 }, { 0, 0, 0 } },
    { "subnormal against zero", "0.5", 2, { 6e-8, 0 }, { 6e-8, 0 } }, /* the smallest float16 */
    { "infinity stays", "0.5", 2, { INFINITY, 1 }, { INFINITY, 0 } },
};

static void masks(void **state)
{
    (void)state;
    static const DType types[] = { DT_FLOAT, DT_FLOAT16, DT_BFLOAT16, DT_DOUBLE };
    for (size_t i = 0; i < sizeof mask_rows / sizeof *mask_rows; i++) {
        for (size_t t = 0; t < 4; t++) {
            const MaskRow *row = &mask_rows[i];
            Err err;
            PassRecord record = { 0 };
            Graph *g = one_layer(types[t], row->count, row->weights), *expected = one_layer(types[t], row->count, row->expected);
            assert_ok(net_pass(&pass_prune, g, (const char *[]){ "sparsity", row->sparsity, NULL }, NULL, 0, NULL, &record, &err), &err);
            if (!net_same_constant(net_tensor(g, "w"), net_tensor(expected, "w"))) fail_msg("%s: %s", row->name, dtype_name(types[t]));
            record_release(&record);
            graph_free(g);
            graph_free(expected);
        }
    }
}

static int by_magnitude(const void *a, const void *b)
{
    double x = fabs(*(const double *)a), y = fabs(*(const double *)b);
    return x < y ? -1 : x > y;
}

/* Against a sort, over tensors of uneven sizes with many equal values. */
static void selection_agrees_with_sort(void **state)
{
    (void)state;
    enum { A = 10007, B = 3 };
    static const int64_t removes[] = { 1, 2, 17, 4999, 9000, A, A + B };
    Err err;
    Tensor t[2];
    double *sorted = malloc((A + B) * sizeof *sorted);
    assert_non_null(sorted);
    assert_ok(tensor_new(&t[0], DT_FLOAT, &(Shape){ .rank = 1, .dims = { A } }, &err), &err);
    assert_ok(tensor_new(&t[1], DT_DOUBLE, &(Shape){ .rank = 1, .dims = { B } }, &err), &err);
    Rng rng;
    rng_init(&rng, 3);
    for (int i = 0; i < A; i++) tensor_set(&t[0], i, i % 3 == 0 ? (double)(int)(rng_normal(&rng) * 8) / 8 : rng_normal(&rng));
    for (int i = 0; i < B; i++) tensor_set(&t[1], i, 1e-300 * i);
    for (int i = 0; i < A + B; i++) sorted[i] = i < A ? tensor_get(&t[0], i) : tensor_get(&t[1], i - A);
    qsort(sorted, A + B, sizeof *sorted, by_magnitude);
    for (size_t i = 0; i < sizeof removes / sizeof *removes; i++) {
        MagnitudeCut cut;
        const Tensor *tensors[] = { &t[0], &t[1] };
        assert_ok(magnitude_select(tensors, (Str[]){ STR("a"), STR("b") }, 2, removes[i], &cut, &err), &err);
        assert_true(cut.threshold == fabs(sorted[removes[i] - 1]));
        int64_t smaller = 0;
        for (int k = 0; k < A + B; k++) smaller += fabs(sorted[k]) < cut.threshold;
        assert_int_equal(cut.smaller, smaller);
        assert_int_equal(cut.smaller + cut.ties, removes[i]);
    }
    free(sorted);
    tensor_release(&t[0]);
    tensor_release(&t[1]);
}

/* Conv - BatchNormalization - Gemm (bias) - MatMul, and a Gather table beside. */
static Graph *mixed(void)
{
    Graph *g = net_new(15);
    ValueId x = net_feed(g, "x", DT_FLOAT, DIMS(1, 2, 4, 4)), index = net_feed(g, "index", DT_INT64, DIMS(1, 1));
    ValueId conv = NODE(g, "Conv", "stem", "a", x, net_constant(g, "stem.w", DT_FLOAT, DIMS(3, 2, 3, 3), NULL),
                        net_constant(g, "stem.b", DT_FLOAT, DIMS(3), NULL));
    double ones[] = { 1, 1, 1 };
    ValueId bn = NODE(g, "BatchNormalization", "norm", "b", conv, net_constant(g, "s", DT_FLOAT, DIMS(3), ones),
                      net_constant(g, "t", DT_FLOAT, DIMS(3), NULL), net_constant(g, "m", DT_FLOAT, DIMS(3), NULL),
                      net_constant(g, "v", DT_FLOAT, DIMS(3), ones));
    ValueId flat = NODE(g, "Flatten", "", "c", bn);
    ValueId gemm = NODE(g, "Gemm", "fc1", "d", flat, net_constant(g, "fc1.w", DT_FLOAT, DIMS(12, 10), NULL),
                        net_constant(g, "fc1.b", DT_FLOAT, DIMS(10), NULL));
    ValueId head = NODE(g, "MatMul", "head", "e", gemm, net_constant(g, "head.w", DT_FLOAT, DIMS(10, 6), NULL));
    ValueId row = NODE(g, "Gather", "embed", "f", net_constant(g, "table", DT_FLOAT, DIMS(8, 6), NULL), index);
    net_output(g, NODE(g, "Add", "sum", "y", head, row));
    net_done(g);
    return g;
}

static int64_t zeros_of(const Graph *g, const char *name)
{
    const Tensor *t = net_tensor(g, name);
    return tensor_count(t) - tensor_nonzeros(t);
}

static void layers_only(void **state)
{
    (void)state;
    Err err;
    PassRecord record = { 0 };
    Graph *before = mixed(), *g = net_clone(before);
    assert_ok(net_pass(&pass_prune, g, (const char *[]){ "sparsity", "0.5", NULL }, NULL, 0, NULL, &record, &err), &err);
    assert_int_equal(zeros_of(g, "stem.w"), 27);
    assert_int_equal(zeros_of(g, "fc1.w"), 60);
    assert_int_equal(zeros_of(g, "head.w"), 30);
    static const char *const kept[] = { "stem.b", "s", "t", "m", "v", "fc1.b", "table" };
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        assert_true(net_same_constant(net_tensor(g, kept[i]), net_tensor(before, kept[i])));
    assert_int_equal(zeros_of(before, "fc1.w"), 0); /* the clone's buffers are its own */
    assert_near(net_number(net_entry(&record, RECORD_CHANGED, "fc1"), "sparsity"), 0.5, 0);
    assert_non_null(net_entry(&record, RECORD_SKIPPED, "embed"));
    assert_non_null(strstr(net_entry(&record, RECORD_NOTE, "network")->text, "zeros only"));
    record_release(&record);
    graph_free(g);
    graph_free(before);
}

static void global_takes_one_threshold(void **state)
{
    (void)state;
    Err err;
    PassRecord record = { 0 };
    Graph *g = net_new(17);
    ValueId x = net_feed(g, "x", DT_FLOAT, DIMS(1, 4));
    ValueId a = NODE(g, "MatMul", "small", "a", x, net_constant(g, "w1", DT_FLOAT, DIMS(4, 1), (double[]){ 1, 2, 3, 9 }));
    net_output(g, NODE(g, "MatMul", "large", "y", a, net_constant(g, "w2", DT_FLOAT, DIMS(1, 4), (double[]){ 3, 10, 11, 12 })));
    net_done(g);
    assert_ok(net_pass(&pass_prune, g, (const char *[]){ "sparsity", "0.5", "scope", "global", NULL }, NULL, 0, NULL, &record, &err), &err);
    assert_int_equal(zeros_of(g, "w1"), 3); /* 1, 2 and the first 3 */
    assert_int_equal(zeros_of(g, "w2"), 1);
    assert_near(net_number(net_entry(&record, RECORD_CHANGED, "large"), "threshold"), 3, 0);
    record_release(&record);
    graph_free(g);
}

typedef struct RuleRow {
    const char *name, *match, *scope;
    bool skip;
    const char *sparsity; /* NULL: not set */
    int64_t stem, fc1, head, table;
} RuleRow;

static const RuleRow rule_rows[] = { /* 54, 120, 60, 48 weights at 0.5 */
    { "skip by name", "fc1", "layer", true, NULL, 27, 0, 30, 0 },
    { "skip by weight's name", "head.w", "layer", true, NULL, 27, 60, 0, 0 },
    { "glob", "*d*", "layer", true, NULL, 27, 60, 0, 0 },
    { "other sparsity", "fc1", "layer", false, "0.9", 27, 108, 30, 0 },
    { "a table that is named", "embed", "layer", false, NULL, 27, 60, 30, 24 },
    { "everything names no table", "*", "layer", false, "0.1", 5, 12, 6, 0 },
    { "apart from the global threshold", "fc1", "global", false, "0.9", -1, 108, -1, 0 },
};

static void rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rule_rows / sizeof *rule_rows; i++) {
        const RuleRow *row = &rule_rows[i];
        Err err;
        PassRecord record = { 0 };
        Graph *g = mixed();
        const char *names[] = { "sparsity" }, *values[] = { row->sparsity };
        LayerRule rule = { .match = row->match, .skip = row->skip, .names = names, .values = values, .count = row->sparsity != NULL };
        assert_ok(net_pass(&pass_prune, g, (const char *[]){ "scope", row->scope, NULL }, &rule, 1, NULL, &record, &err), &err);
        const char *weights[] = { "stem.w", "fc1.w", "head.w", "table" };
        int64_t expected[] = { row->stem, row->fc1, row->head, row->table };
        for (int k = 0; k < 4; k++) {
            if (expected[k] >= 0 && zeros_of(g, weights[k]) != expected[k])
                fail_msg("%s: %s has %lld zeros", row->name, weights[k], (long long)zeros_of(g, weights[k]));
        }
        if (expected[0] < 0) assert_int_equal(zeros_of(g, "stem.w") + zeros_of(g, "head.w"), 57);
        record_release(&record);
        graph_free(g);
    }
}

/* Two MatMul on one weight. */
static Graph *tied(void)
{
    Graph *g = net_new(17);
    ValueId x = net_feed(g, "x", DT_FLOAT, DIMS(1, 4)), w = net_constant(g, "w", DT_FLOAT, DIMS(4, 4), NULL);
    net_output(g, NODE(g, "MatMul", "second", "y", NODE(g, "MatMul", "first", "a", x, w), w));
    net_done(g);
    return g;
}

static void shared_weight_is_decided_once(void **state)
{
    (void)state;
    Err err;
    PassRecord record = { 0 };
    Graph *g = tied();
    assert_ok(net_pass(&pass_prune, g, (const char *[]){ "sparsity", "0.5", "scope", "global", NULL }, NULL, 0, NULL, &record, &err), &err);
    assert_int_equal(zeros_of(g, "w"), 8);
    assert_non_null(net_entry(&record, RECORD_CHANGED, "first"));
    assert_non_null(net_entry(&record, RECORD_NOTE, "second"));
    record_release(&record);
    graph_free(g);
    g = tied();
    LayerRule rule = { .match = "second", .skip = true };
    assert_status(net_pass(&pass_prune, g, NULL, &rule, 1, NULL, &record, &err), ERR_USAGE, &err);
    assert_non_null(strstr(err.text, "'first'"));
    assert_non_null(strstr(err.text, "'second'"));
    record_release(&record);
    graph_free(g);
}

static void quantized_weights_are_skipped(void **state)
{
    (void)state;
    Err err;
    PassRecord record = { 0 };
    Graph *g = net_new(17);
    ValueId x = net_feed(g, "x", DT_FLOAT, DIMS(1, 4));
    ValueId w = NODE(g, "DequantizeLinear", "dq", "wf", net_constant(g, "wq", DT_INT8, DIMS(4, 4), NULL),
                     net_constant(g, "scale", DT_FLOAT, 0, NULL, (double[]){ 0.5 }));
    net_output(g, NODE(g, "MatMul", "fc", "y", x, w));
    net_done(g);
    Graph *before = net_clone(g);
    assert_ok(net_pass(&pass_prune, g, NULL, NULL, 0, NULL, &record, &err), &err);
    assert_true(net_same_constant(net_tensor(g, "wq"), net_tensor(before, "wq")));
    const RecordEntry *e = net_entry(&record, RECORD_SKIPPED, "fc");
    assert_non_null(e);
    assert_non_null(strstr(e->text, "quantized"));
    record_release(&record);
    graph_free(g);
    graph_free(before);
}

/* Attention: the second operand comes from a table, but by way of the input. It is no layer, and not listed as one left out. */
static void products_of_activations_are_no_layers(void **state)
{
    (void)state;
    Err err;
    PassRecord record = { 0 };
    Graph *g = net_new(17);
    ValueId index = net_feed(g, "index", DT_INT64, DIMS(3));
    ValueId rows = NODE(g, "Gather", "embed", "a", net_constant(g, "table", DT_FLOAT, DIMS(8, 4), NULL), index);
    ValueId scores = NODE(g, "MatMul", "scores", "b", rows, NODE(g, "Transpose", "t", "c", rows));
    net_output(g, scores);
    net_done(g);
    assert_ok(net_pass(&pass_prune, g, NULL, NULL, 0, NULL, &record, &err), &err);
    assert_null(net_entry(&record, RECORD_SKIPPED, "scores"));
    assert_int_equal(zeros_of(g, "table"), 0);
    record_release(&record);
    graph_free(g);
}

static void errors_name_the_object(void **state)
{
    (void)state;
    Err err;
    PassRecord record = { 0 };
    Graph *g = one_layer(DT_FLOAT, 4, (double[]){ 1, 2, NAN, 4 });
    assert_status(net_pass(&pass_prune, g, NULL, NULL, 0, NULL, &record, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "'w'"));
    assert_non_null(strstr(err.text, "element 2"));
    assert_status(net_pass(&pass_prune, g, (const char *[]){ "sparsity", "0", NULL }, NULL, 0, NULL, &record, &err), ERR_DATA, &err);
    assert_status(net_pass(&pass_prune, g, (const char *[]){ "sparsity", "1.5", NULL }, NULL, 0, NULL, &record, &err), ERR_USAGE, &err);
    LayerRule rule = { .match = "fd", .skip = true };
    assert_status(net_pass(&pass_prune, g, NULL, &rule, 1, NULL, &record, &err), ERR_USAGE, &err);
    assert_non_null(strstr(err.text, "'fc'"));
    record_release(&record);
    graph_free(g);
}

static void digest(const Graph *g, char text[HASH_TEXT])
{
    Err err;
    assert_ok(graph_digest(g, text, &err), &err);
}

static void laws(void **state)
{
    (void)state;
    static const char *const scopes[] = { "layer", "global" };
    char before[HASH_TEXT], once[HASH_TEXT], twice[HASH_TEXT], again[HASH_TEXT];
    for (int s = 0; s < 2; s++) {
        Err err;
        PassRecord record = { 0 };
        Graph *original = mixed(), *g = net_clone(original), *other = net_clone(original);
        const char *none[] = { "scope", scopes[s], "sparsity", "0", NULL }, *most[] = { "scope", scopes[s], "sparsity", "0.7", NULL };
        digest(original, before);
        assert_ok(net_pass(&pass_prune, g, none, NULL, 0, NULL, &record, &err), &err);
        digest(g, once);
        assert_string_equal(before, once); /* zero sparsity changes nothing */
        assert_ok(net_pass(&pass_prune, g, most, NULL, 0, NULL, &record, &err), &err);
        digest(g, once);
        assert_string_not_equal(before, once);
        assert_ok(net_pass(&pass_prune, other, most, NULL, 0, NULL, &record, &err), &err);
        digest(other, again);
        assert_string_equal(once, again); /* the same recipe, the same bytes */
        assert_ok(net_pass(&pass_prune, g, most, NULL, 0, NULL, &record, &err), &err);
        digest(g, twice);
        assert_string_equal(once, twice); /* twice changes nothing */
        Counts full, pruned;
        assert_ok(counts_of(original, NULL, &full, &err), &err);
        assert_ok(counts_of(g, NULL, &pruned, &err), &err);
        assert_true(pruned.macs_float <= full.macs_float && pruned.nonzeros < full.nonzeros && pruned.parameters == full.parameters);
        counts_release(&full);
        counts_release(&pruned);
        record_release(&record);
        graph_free(original);
        graph_free(g);
        graph_free(other);
    }
}

static void weights_without_nodes(void **state)
{
    (void)state;
    Err err;
    PassRecord record = { 0 };
    Graph *g = net_new(17);
    net_constant(g, "layer.weight", DT_FLOAT16, DIMS(4, 5), NULL);
    net_constant(g, "layer.bias", DT_FLOAT16, DIMS(4), NULL);
    assert_ok(net_pass(&pass_prune, g, NULL, NULL, 0, NULL, &record, &err), &err);
    assert_int_equal(zeros_of(g, "layer.weight"), 10);
    assert_int_equal(zeros_of(g, "layer.bias"), 0);
    record_release(&record);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks),
        cmocka_unit_test(selection_agrees_with_sort),
        cmocka_unit_test(layers_only),
        cmocka_unit_test(global_takes_one_threshold),
        cmocka_unit_test(rules),
        cmocka_unit_test(shared_weight_is_decided_once),
        cmocka_unit_test(quantized_weights_are_skipped),
        cmocka_unit_test(products_of_activations_are_no_layers),
        cmocka_unit_test(errors_name_the_object),
        cmocka_unit_test(laws),
        cmocka_unit_test(weights_without_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
