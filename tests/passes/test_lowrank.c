#include "net.h"

#include "engine/blas_glue.h"
#include "greenness/counts.h"
#include "lowrank/factor.h"
#include "stats/digest.h"

extern const Pass pass_lowrank;

typedef enum Form { MATMUL, GEMM, CONV } Form;

typedef struct SplitRow {
    const char *name;
    Form form;
    int opset;
    int trans_a, trans_b;
    double alpha, beta;
    bool bias;
    int64_t stride, pad;
    int spatial;          /* axes of the convolution */
    const char *auto_pad; /* NULL: none */
} SplitRow;

static const SplitRow split_rows[] = {
    { "matmul", MATMUL, 17, 0, 0, 1, 1, false, 1, 0, 0, NULL },
    { "gemm", GEMM, 17, 0, 0, 1, 1, true, 1, 0, 0, NULL },
    { "gemm without bias", GEMM, 17, 0, 0, 1, 1, false, 1, 0, 0, NULL },
    { "gemm transB", GEMM, 17, 0, 1, 1, 1, true, 1, 0, 0, NULL },
    { "gemm transA", GEMM, 17, 1, 0, 1, 1, true, 1, 0, 0, NULL },
    { "gemm both, alpha, beta", GEMM, 17, 1, 1, 0.5, 2, true, 1, 0, 0, NULL },
    { "gemm, opset 9 needs a bias", GEMM, 9, 0, 1, 0.5, 2, true, 1, 0, 0, NULL },
    { "conv", CONV, 17, 0, 0, 1, 1, true, 1, 0, 2, NULL },
    { "conv without bias", CONV, 17, 0, 0, 1, 1, false, 1, 0, 2, NULL },
    { "conv with stride", CONV, 17, 0, 0, 1, 1, true, 2, 0, 2, NULL },
    { "conv with padding: the bias is all that is seen there", CONV, 17, 0, 0, 1, 1, true, 1, 1, 2, NULL },
    { "conv with stride and padding", CONV, 17, 0, 0, 1, 1, true, 3, 2, 2, NULL },
    { "conv with auto_pad", CONV, 17, 0, 0, 1, 1, true, 2, 0, 2, "SAME_UPPER" },
    { "conv of one axis", CONV, 17, 0, 0, 1, 1, true, 2, 1, 1, NULL },
};

enum { IN = 12, OUT = 10, RANK = 3 };

/* A matrix [rows, cols] of rank 3 exactly. */
static void rank_three(double *m, int rows, int cols)
{
    Rng rng;
    double u[IN * RANK], v[IN * RANK];
    rng_init(&rng, 11);
    for (int i = 0; i < rows * RANK; i++) u[i] = rng_normal(&rng);
    for (int i = 0; i < cols * RANK; i++) v[i] = rng_normal(&rng);
    blas_dgemm(false, true, rows, cols, RANK, 1, u, RANK, v, RANK, 0, m, cols);
}

static Shape input_of(const SplitRow *row)
{
    if (row->form == MATMUL) return shape_of(DIMS(2, 5, IN));
    if (row->form == GEMM) return row->trans_a ? shape_of(DIMS(IN, 4)) : shape_of(DIMS(4, IN));
    return row->spatial == 1 ? shape_of(DIMS(2, IN, 7)) : shape_of(DIMS(2, IN, 7, 5));
}

static void set_conv(Graph *g, NodeId n, const SplitRow *row)
{
    Err err;
    int64_t strides[] = { row->stride, row->stride }, pads[] = { row->pad, row->pad, row->pad, row->pad };
    assert_ok(graph_set_ints(g, n, "kernel_shape", (int64_t[]){ 1, 1 }, row->spatial, &err), &err);
    assert_ok(graph_set_ints(g, n, "strides", strides, row->spatial, &err), &err);
    if (row->auto_pad != NULL) assert_ok(graph_set_string(g, n, "auto_pad", str_of(row->auto_pad), &err), &err);
    else assert_ok(graph_set_ints(g, n, "pads", pads, 2 * row->spatial, &err), &err);
}

static Graph *layer_of(const SplitRow *row, const double *weights)
{
    static const char *const types[] = { "MatMul", "Gemm", "Conv" };
    Err err;
    Graph *g = net_new(row->opset);
    Shape in = input_of(row);
    bool out_first = row->form == CONV || row->trans_b;
    int64_t dims[] = { out_first ? OUT : IN, out_first ? IN : OUT, 1, 1 };
    ValueId inputs[4] = { net_feed(g, "x", DT_FLOAT, in.rank, in.dims), 0, NET_END, NET_END };
    inputs[1] = net_constant(g, "w", DT_FLOAT, row->form == CONV ? 2 + row->spatial : 2, dims, weights);
    if (row->bias) inputs[2] = net_constant(g, "b", DT_FLOAT, DIMS(OUT), NULL);
    ValueId y = net_node(g, types[row->form], "fc", "y", inputs);
    NodeId n = graph_value(g, y)->producer;
    if (row->form == CONV) set_conv(g, n, row);
    if (row->form == GEMM) {
        assert_ok(graph_set_float(g, n, "alpha", (float)row->alpha, &err), &err);
        assert_ok(graph_set_float(g, n, "beta", (float)row->beta, &err), &err);
        assert_ok(graph_set_int(g, n, "transA", row->trans_a, &err), &err);
        assert_ok(graph_set_int(g, n, "transB", row->trans_b, &err), &err);
    }
    net_output(g, y);
    net_done(g);
    return g;
}

/* A matrix of rank 3 is split at rank 3 without loss, whatever the layer's attributes. */
static void exact_splits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof split_rows / sizeof *split_rows; i++) {
        const SplitRow *row = &split_rows[i];
        double weights[IN * OUT];
        Err err;
        PassRecord record = { 0 };
        bool out_first = row->form == CONV || row->trans_b;
        rank_three(weights, out_first ? OUT : IN, out_first ? IN : OUT);
        Graph *before = layer_of(row, weights), *g = net_clone(before);
        if (net_pass(&pass_lowrank, g, (const char *[]){ "rank", "3", NULL }, NULL, 0, NULL, &record, &err) != OK)
            fail_msg("%s: %s", row->name, err.text);
        if (net_find(g, "fc.u") == 0 || net_find(g, "fc.v") == 0 || net_find(g, "fc") != 0) fail_msg("%s: not split", row->name);
        Shape in = input_of(row);
        double difference = net_difference(before, g, in.rank, in.dims);
        if (!(difference < 1e-5)) fail_msg("%s: outputs differ by %g", row->name, difference);
        assert_int_equal(tensor_count(net_tensor(g, "w.u")) + tensor_count(net_tensor(g, "w.v")), RANK * (IN + OUT));
        assert_int_equal(graph_find_value(g, STR("w")) != 0 && graph_value(g, graph_find_value(g, STR("w")))->tensor != NULL, 0);
        const RecordEntry *e = net_entry(&record, RECORD_CHANGED, "fc");
        assert_near(net_number(e, "rank"), RANK, 0);
        assert_near(net_number(e, "kept_energy"), 1, 1e-12);
        assert_near(net_number(e, "parameters_after"), RANK * (IN + OUT), 0);
        Counts a, b;
        assert_ok(counts_of(before, NULL, &a, &err), &err);
        assert_ok(counts_of(g, NULL, &b, &err), &err);
        assert_true(b.macs_float < a.macs_float);
        assert_true(row->opset < 11 || b.parameters < a.parameters);
        counts_release(&a);
        counts_release(&b);
        record_release(&record);
        graph_free(g);
        graph_free(before);
    }
}

/* x[1,20] diag(8, 4, 2, 1, 1 ... 0) : the spectrum is known. Squares 64, 16, 4, 1, 1: sum 86. Break-even 10. */
static Graph *diagonal(void)
{
    enum { SIZE = 20 };
    static const double sigma[] = { 1, 8, 2, 1, 4 }; /* out of order on purpose */
    double w[SIZE * SIZE] = { 0 };
    for (int i = 0; i < 5; i++) w[i * SIZE + i] = i % 2 == 0 ? sigma[i] : -sigma[i];
    Graph *g = net_new(17);
    ValueId x = net_feed(g, "x", DT_FLOAT, DIMS(1, SIZE));
    net_output(g, NODE(g, "MatMul", "fc", "y", x, net_constant(g, "w", DT_FLOAT, DIMS(SIZE, SIZE), w)));
    net_done(g);
    return g;
}

typedef struct RankRow {
    const char *option, *value;
    int rank;       /* 0: left alone */
    double kept;
} RankRow;

static const RankRow rank_rows[] = {
    { "energy", "0.7", 1, 64.0 / 86 },
    { "energy", "0.75", 2, 80.0 / 86 },
    { "energy", "0.93", 2, 80.0 / 86 },
    { "energy", "0.94", 3, 84.0 / 86 },
    { "energy", "0.98", 4, 85.0 / 86 },
    { "energy", "1", 5, 1 },
    { "rank", "2", 2, 80.0 / 86 },
    { "rank", "9", 9, 1 },
    { "rank", "10", 0, 0 }, /* 10 (20 + 20) = 400: nothing gained */
    { "rank", "1000", 0, 0 },
    { "ratio", "0.2", 2, 80.0 / 86 },
    { "ratio", "0.3", 3, 84.0 / 86 },
    { "ratio", "0.001", 1, 64.0 / 86 },
    { "ratio", "1", 0, 0 },
};

static void ranks(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rank_rows / sizeof *rank_rows; i++) {
        const RankRow *row = &rank_rows[i];
        Err err;
        PassRecord record = { 0 };
        Graph *g = diagonal();
        assert_ok(net_pass(&pass_lowrank, g, (const char *[]){ row->option, row->value, NULL }, NULL, 0, NULL, &record, &err), &err);
        if (row->rank == 0) {
            const RecordEntry *e = net_entry(&record, RECORD_SKIPPED, "fc");
            assert_near(net_number(e, "break_even"), 10, 0);
            assert_true(net_find(g, "fc") != 0);
        } else {
            const RecordEntry *e = net_entry(&record, RECORD_CHANGED, "fc");
            if (e == NULL) fail_msg("%s %s: not split", row->option, row->value);
            assert_near(net_number(e, "rank"), row->rank, 0);
            assert_near(net_number(e, "kept_energy"), row->kept, 1e-9);
            assert_near(net_number(e, "relative_error"), sqrt(1 - row->kept), 1e-7);
            assert_int_equal(net_tensor(g, "w.u")->shape.dims[1], row->rank);
        }
        record_release(&record);
        graph_free(g);
    }
}

/* The split itself, at every rank up to the full one, which the pass never takes because it does not pay. */
static void factors_approach_the_matrix(void **state)
{
    (void)state;
    enum { M = 9, N = 14 };
    Err err;
    Tensor w, left, right;
    Spectrum s;
    double product[M * N], last = INFINITY;
    assert_ok(tensor_new(&w, DT_DOUBLE, &(Shape){ .rank = 2, .dims = { M, N } }, &err), &err);
    Rng rng;
    rng_init(&rng, 5);
    for (int i = 0; i < M * N; i++) tensor_set(&w, i, rng_normal(&rng));
    assert_ok(spectrum_of(&w, M, N, &s, &err), &err);
    for (int rank = 1; rank <= M; rank++) {
        Shape ls = shape_of(DIMS(M, rank)), rs = shape_of(DIMS(rank, N));
        assert_ok(spectrum_factors(&s, rank, DT_DOUBLE, &ls, &rs, &left, &right, &err), &err);
        blas_dgemm(false, false, M, N, rank, 1, (double *)left.data, rank, (double *)right.data, N, 0, product, N);
        double error = 0, norm = 0, column = 0, row = 0;
        for (int i = 0; i < M * N; i++) {
            double d = product[i] - tensor_get(&w, i);
            error += d * d;
            norm += tensor_get(&w, i) * tensor_get(&w, i);
        }
        assert_near(error / norm, 1 - spectrum_kept(&s, rank), 1e-12); /* Eckart and Young */
        assert_true(error < last);
        last = error;
        for (int i = 0; i < M; i++) column += pow(tensor_get(&left, i * rank), 2);
        for (int j = 0; j < N; j++) row += pow(tensor_get(&right, j), 2);
        assert_near(column, row, 1e-9 * row); /* the scales of both factors agree */
        tensor_release(&left);
        tensor_release(&right);
    }
    assert_true(last < 1e-24);
    spectrum_release(&s);
    tensor_release(&w);
}

static void laws(void **state)
{
    (void)state;
    Err err;
    char before[HASH_TEXT], after[HASH_TEXT], again[HASH_TEXT];
    PassRecord record = { 0 };
    double weights[IN * OUT];
    Rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < IN * OUT; i++) weights[i] = rng_normal(&rng);
    Graph *g = layer_of(&split_rows[0], weights), *other = net_clone(g);
    static const char *const whole[][3] = { { "energy", "1", NULL }, { "rank", "10", NULL }, { "ratio", "1", NULL } };
    assert_ok(graph_digest(g, before, &err), &err);
    for (int i = 0; i < 3; i++) { /* full rank changes nothing */
        assert_ok(net_pass(&pass_lowrank, g, whole[i], NULL, 0, NULL, &record, &err), &err);
        assert_ok(graph_digest(g, after, &err), &err);
        assert_string_equal(before, after);
    }
    static const char *const low[] = { "rank", "2", NULL };
    assert_ok(net_pass(&pass_lowrank, g, low, NULL, 0, NULL, &record, &err), &err);
    assert_ok(net_pass(&pass_lowrank, other, low, NULL, 0, NULL, &record, &err), &err);
    assert_ok(graph_digest(g, after, &err), &err);
    assert_ok(graph_digest(other, again, &err), &err);
    assert_string_not_equal(before, after);
    assert_string_equal(after, again); /* the same recipe, the same bytes */
    assert_ok(net_pass(&pass_lowrank, g, low, NULL, 0, NULL, &record, &err), &err);
    assert_ok(graph_digest(g, again, &err), &err);
    assert_string_equal(after, again); /* twice: a thin factor does not pay any more */
    record_release(&record);
    graph_free(g);
    graph_free(other);
}

/* One network with a layer of each kind that cannot be split, and the reason each must get. */
static void reasons(void **state)
{
    (void)state;
    static const char *const expected[][2] = {
        { "wide", "3x3 convolution" }, { "grouped", "groups" }, { "up", "ConvTranspose" }, { "first", "shared" }, { "second", "shared" },
        { "stack", "3 axes" }, { "quantized", "quantized" }, { "left", "skipped by a rule" },
    };
    Err err;
    PassRecord record = { 0 };
    Graph *g = net_new(17);
    ValueId x = net_feed(g, "x", DT_FLOAT, DIMS(1, 8, 8, 8));
    ValueId a = NODE(g, "Conv", "wide", "a", x, net_constant(g, "w1", DT_FLOAT, DIMS(8, 8, 3, 3), NULL));
    ValueId b = NODE(g, "Conv", "grouped", "b", a, net_constant(g, "w2", DT_FLOAT, DIMS(8, 2, 1, 1), NULL));
    assert_ok(graph_set_int(g, graph_value(g, b)->producer, "group", 4, &err), &err);
    ValueId c = NODE(g, "ConvTranspose", "up", "c", b, net_constant(g, "w3", DT_FLOAT, DIMS(8, 8, 1, 1), NULL));
    ValueId tied = net_constant(g, "w4", DT_FLOAT, DIMS(6, 6), NULL);
    ValueId d = NODE(g, "MatMul", "second", "e", NODE(g, "MatMul", "first", "d", c, tied), tied);
    ValueId f = NODE(g, "MatMul", "stack", "f", d, net_constant(g, "w5", DT_FLOAT, DIMS(8, 6, 6), NULL));
    ValueId dq = NODE(g, "DequantizeLinear", "dq", "wf", net_constant(g, "w6", DT_INT8, DIMS(6, 6), NULL),
                      net_constant(g, "scale", DT_FLOAT, 0, NULL, (double[]){ 0.5 }));
    ValueId h = NODE(g, "MatMul", "quantized", "h", f, dq);
    net_output(g, NODE(g, "MatMul", "left", "y", h, net_constant(g, "w7", DT_FLOAT, DIMS(6, 6), NULL)));
    net_done(g);
    LayerRule rule = { .match = "left", .skip = true };
    char before[HASH_TEXT], after[HASH_TEXT];
    assert_ok(graph_digest(g, before, &err), &err);
    assert_ok(net_pass(&pass_lowrank, g, (const char *[]){ "rank", "1", NULL }, &rule, 1, NULL, &record, &err), &err);
    assert_ok(graph_digest(g, after, &err), &err);
    assert_string_equal(before, after);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const RecordEntry *e = net_entry(&record, RECORD_SKIPPED, expected[i][0]);
        if (e == NULL || strstr(e->text, expected[i][1]) == NULL) fail_msg("%s: %s", expected[i][0], e != NULL ? e->text : "not recorded");
    }
    record_release(&record);
    graph_free(g);
}

static void one_way_at_a_time(void **state)
{
    (void)state;
    Err err;
    PassRecord record = { 0 };
    Graph *g = diagonal();
    static const char *const two[] = { "rank", "2", "energy", "0.9", NULL };
    assert_status(net_pass(&pass_lowrank, g, two, NULL, 0, NULL, &record, &err), ERR_USAGE, &err);
    const char *both_names[] = { "rank", "ratio" }, *both_values[] = { "2", "0.5" };
    LayerRule both = { .match = "fc", .names = both_names, .values = both_values, .count = 2 };
    assert_status(net_pass(&pass_lowrank, g, NULL, &both, 1, NULL, &record, &err), ERR_USAGE, &err);
    LayerRule other = { .match = "fc", .names = both_names, .values = both_values, .count = 1 };
    assert_ok(net_pass(&pass_lowrank, g, (const char *[]){ "energy", "0.99", NULL }, &other, 1, NULL, &record, &err), &err);
    assert_near(net_number(net_entry(&record, RECORD_CHANGED, "fc"), "rank"), 2, 0); /* the rule's way counts */
    record_release(&record);
    graph_free(g);
}

static void bad_weights_and_old_files(void **state)
{
    (void)state;
    Err err;
    PassRecord record = { 0 };
    double weights[IN * OUT] = { 0 };
    weights[17] = NAN;
    Graph *g = layer_of(&split_rows[0], weights);
    assert_status(net_pass(&pass_lowrank, g, NULL, NULL, 0, NULL, &record, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "'w'"));
    assert_non_null(strstr(err.text, "17"));
    graph_free(g);
    weights[17] = 0;
    g = layer_of(&split_rows[0], weights); /* all zeros: rank 1 keeps everything */
    assert_ok(net_pass(&pass_lowrank, g, NULL, NULL, 0, NULL, &record, &err), &err);
    assert_near(net_number(net_entry(&record, RECORD_CHANGED, "fc"), "rank"), 1, 0);
    PassContext little = { .threads = 1, .max_mem = 1000 };
    graph_free(g);
    g = layer_of(&split_rows[0], weights);
    assert_status(net_pass(&pass_lowrank, g, NULL, NULL, 0, &little, &record, &err), ERR_MEMORY, &err);
    record_release(&record);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_splits),
        cmocka_unit_test(ranks),
        cmocka_unit_test(factors_approach_the_matrix),
        cmocka_unit_test(laws),
        cmocka_unit_test(reasons),
        cmocka_unit_test(one_way_at_a_time),
        cmocka_unit_test(bad_weights_and_old_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
