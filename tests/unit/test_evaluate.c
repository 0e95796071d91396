#include "../passes/net.h"

#include "formats/npz.h"
#include "pipeline/evaluate.h"

static char folder[] = P_tmpdir "/pare-test-evaluate-XXXXXX";
static char data_path[sizeof folder + 16];

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(data_path, sizeof data_path, "%s/data.npz", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(data_path);
    return rmdir(folder);
}

/* An .npz with x of this shape and, when there are any, int64 labels. */
static void write_data(int rank, const int64_t *dims, const float *x, int label_rank, const int64_t *label_dims, const int64_t *labels)
{
    Err err;
    NpzWriter *w;
    Shape shape = shape_of(rank, dims), label_shape = shape_of(label_rank, label_dims);
    int array;
    assert_ok(npz_writer_open(data_path, false, &w, &err), &err);
    assert_ok(npz_writer_array(w, "x", DT_FLOAT, &shape, &array, &err), &err);
    assert_ok(npz_writer_rows(w, array, x, dims[0], &err), &err);
    if (labels != NULL) {
        assert_ok(npz_writer_array(w, "label", DT_INT64, &label_shape, &array, &err), &err);
        assert_ok(npz_writer_rows(w, array, labels, label_dims[0], &err), &err);
    }
    assert_ok(npz_writer_commit(w, &err), &err);
}

/* y = op(x), x of this shape. */
static Graph *one_op(const char *type, int rank, const int64_t *dims)
{
    Graph *g = net_new(17);
    net_output(g, NODE(g, type, "op", "y", net_feed(g, "x", DT_FLOAT, rank, dims)));
    net_done(g);
    return g;
}

/* `json` NULL: the plain file. */
static Status run(const Graph *g, const Graph *reference, const char *json, int64_t batch, Evaluation *out, Err *err)
{
    Dataset *data;
    DataOptions options = { .want_labels = true, .folder = folder };
    if (json != NULL) {
        cJSON *section = cJSON_Parse(json);
        assert_non_null(section);
        Status status = dataset_open_json(section, g, &options, &data, err);
        cJSON_Delete(section);
        assert_ok(status, err);
    } else {
        assert_ok(dataset_open(data_path, g, &options, &data, err), err);
    }
    EvaluateOptions o = { .threads = 1, .batch = batch };
    Status status = evaluate(g, reference, data, &o, out, err);
    dataset_free(data);
    return status;
}

/* Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 17 (1998), table I, method 3. */
static void wilson(void **state)
{
    (void)state;
    static const struct { int64_t correct, samples; double low, high; } rows[] = {
        { 81, 263, 0.2553, 0.3662 }, { 15, 148, 0.0624, 0.1605 }, { 0, 20, 0.0000, 0.1611 }, { 1, 29, 0.0061, 0.1718 },
        { 20, 20, 0.8389, 1.0000 }, { 0, 0, 0, 1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double low, high;
        wilson_interval(rows[i].correct, rows[i].samples, &low, &high);
        assert_near(low, rows[i].low, 5e-5);
        assert_near(high, rows[i].high, 5e-5);
    }
}

typedef struct LossRow {
    const char *name, *op;
    float x[6];
    int64_t label[3];
    double accuracy, loss; /* NaN: not defined */
} LossRow;

static const LossRow loss_rows[] = { /* three samples of two classes */
    { "even logits", "Identity", { 0, 0, 5, 5, -7, -7 }, { 0, 1, 0 }, 2.0 / 3, 0.69314718056 },
    { "one to three", "Identity", { 0, 1.0986123f, 0, 1.0986123f, 1.0986123f, 0 }, { 1, 1, 1 }, 2.0 / 3,
      (0.28768207245 + 0.28768207245 + 1.38629436112) / 3 },
    { "far apart", "Identity", { 1000, 0, 0, 1000, 1000, 0 }, { 0, 1, 1 }, 2.0 / 3, 1000.0 / 3 },
    { "softmax in the network", "Softmax", { 0, 1.0986123f, 0, 1.0986123f, 1.0986123f, 0 }, { 1, 1, 1 }, 2.0 / 3,
      (0.28768207245 + 0.28768207245 + 1.38629436112) / 3 },
    { "softmax that rounds to zero meets the floor", "Softmax", { 1000, 0, 0, 1000, 1000, 0 }, { 0, 1, 1 }, 2.0 / 3, 16.11809565 / 3 },
    { "log softmax in the network", "LogSoftmax", { 0, 1.0986123f, 0, 1.0986123f, 1.0986123f, 0 }, { 1, 1, 1 }, 2.0 / 3,
      (0.28768207245 + 0.28768207245 + 1.38629436112) / 3 },
    { "sigmoid ranks but has no loss", "Sigmoid", { 2, 1, 2, 1, 2, 1 }, { 0, 0, 1 }, 2.0 / 3, NAN },
};

static void cross_entropy(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof loss_rows / sizeof *loss_rows; i++) {
        const LossRow *row = &loss_rows[i];
        for (int64_t batch = 0; batch <= 3; batch++) {
            Err err;
            Evaluation e;
            Graph *g = one_op(row->op, DIMS(-1, 2));
            write_data(DIMS(3, 2), row->x, DIMS(3), row->label);
            assert_ok(run(g, NULL, NULL, batch, &e, &err), &err);
            assert_true(e.has_accuracy && e.samples == 3 && e.fidelity == NULL);
            if (fabs(e.accuracy - row->accuracy) > 1e-12) fail_msg("%s: accuracy %g", row->name, e.accuracy);
            double tolerance = 5e-6 * (1 + row->loss); /* the network's own softmax is float32 */
            bool same = isnan(row->loss) ? isnan(e.cross_entropy) : fabs(e.cross_entropy - row->loss) < tolerance;
            if (!same) fail_msg("%s: cross-entropy %.9g, expected %.9g", row->name, e.cross_entropy, row->loss);
            double low, high;
            wilson_interval(2, 3, &low, &high);
            assert_true(e.low == low && e.high == high);
            evaluation_release(&e);
            graph_free(g);
        }
    }
}

/* Softmax behind what only moves or requantizes elements is still softmax. */
static void softmax_is_seen_through_moves(void **state)
{
    (void)state;
    Err err;
    Evaluation e;
    Graph *g = net_new(17);
    ValueId p = NODE(g, "Softmax", "p", "p", net_feed(g, "x", DT_FLOAT, DIMS(-1, 2)));
    ValueId shape = net_constant(g, "s", DT_INT64, DIMS(2), (double[]){ -1, 2 });
    net_output(g, NODE(g, "Identity", "i", "i", NODE(g, "Reshape", "r", "r", p, shape)));
    net_done(g);
    write_data(DIMS(2, 2), (float[]){ 0, 0, 0, 0 }, DIMS(2), (int64_t[]){ 0, 1 });
    assert_ok(run(g, NULL, NULL, 0, &e, &err), &err);
    assert_near(e.cross_entropy, 0.69314718056, 1e-6);
    evaluation_release(&e);
    graph_free(g);
}

static void labels_by_position(void **state)
{
    (void)state;
    static const float x[] = { 9, 0, 0, /**/ 0, 9, 0, /**/ 0, 0, 9, /**/ 9, 0, 0 }; /* [2,2,3]: classes 0 1 2 0 */
    static const float channels_first[] = { 9, 0, 0, 9, 0, 0, /**/ 0, 9, 0, 0, 9, 0 }; /* [2,3,2] of the same: 0 1 | 2 0 */
    Err err;
    Evaluation e;
    Graph *g = one_op("Identity", DIMS(-1, 2, 3));
    write_data(DIMS(2, 2, 3), x, DIMS(2, 2), (int64_t[]){ 0, 1, 2, 1 });
    assert_ok(run(g, NULL, NULL, 1, &e, &err), &err);
    assert_int_equal(e.samples, 4);
    assert_int_equal(e.correct, 3);
    evaluation_release(&e);
    assert_ok(run(g, NULL, "{\"file\":\"data.npz\",\"label\":\"label\",\"ignore-label\":1}", 0, &e, &err), &err);
    assert_int_equal(e.samples, 2); /* both ones are left out */
    assert_int_equal(e.correct, 2);
    evaluation_release(&e);
    graph_free(g);
    g = one_op("Identity", DIMS(-1, 3, 2));
    write_data(DIMS(2, 3, 2), channels_first, DIMS(2, 2), (int64_t[]){ 0, 1, 1, 0 });
    assert_ok(run(g, NULL, "{\"file\":\"data.npz\",\"label\":\"label\",\"class-axis\":1}", 0, &e, &err), &err);
    assert_int_equal(e.samples, 4);
    assert_int_equal(e.correct, 3);
    evaluation_release(&e);
    graph_free(g);
}

static void bad_labels(void **state)
{
    (void)state;
    static const float x[8] = { 0 };
    Err err;
    Evaluation e;
    Graph *g = one_op("Identity", DIMS(-1, 2));
    write_data(DIMS(4, 2), x, DIMS(4), (int64_t[]){ 0, 1, 0, 2 });
    assert_status(run(g, NULL, NULL, 2, &e, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "label 2"));
    assert_non_null(strstr(err.text, "sample 3"));
    write_data(DIMS(4, 2), x, DIMS(4), (int64_t[]){ 0, -1, 0, 0 });
    assert_status(run(g, NULL, NULL, 0, &e, &err), ERR_DATA, &err);
    write_data(DIMS(4, 2), x, DIMS(4, 2), (int64_t[]){ 0, 0, 0, 0, 0, 0, 0, 0 });
    assert_status(run(g, NULL, NULL, 0, &e, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "[4,2]"));
    graph_free(g);
}

typedef struct FidelityRow {
    const char *name, *op, *reference;
    double sqnr, cosine, max_abs, top1;
} FidelityRow;

/* x = { 3 4 0 | 0 0 2 }: |x|^2 = 29. */
static const FidelityRow fidelity_rows[] = {
    { "equal", "Identity", "Identity", INFINITY, 1, 0, 1 },
    { "opposite", "Neg", "Identity", -6.0205999133, -1, 8, 0 },
    { "relu of what is positive", "Relu", "Identity", INFINITY, 1, 0, 1 },
    { "sign", "Sign", "Identity", 3.1627004757 /* 10 log10(29 / (4 + 9 + 1)) */, 0.9949747468 /* mean of 7 / (5 sqrt 2) and 1 */, 3, 0.5 },
    { "zero reference", "Identity", "Zero", -INFINITY, 0, 4, 0 },
};

static Graph *reference_of(const char *type)
{
    if (strcmp(type, "Zero") != 0) return one_op(type, DIMS(-1, 3));
    Graph *g = net_new(17);
    ValueId x = net_feed(g, "x", DT_FLOAT, DIMS(-1, 3));
    net_output(g, NODE(g, "Sub", "zero", "y", x, x));
    net_done(g);
    return g;
}

static void fidelity(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fidelity_rows / sizeof *fidelity_rows; i++) {
        const FidelityRow *row = &fidelity_rows[i];
        for (int64_t batch = 1; batch <= 2; batch++) {
            Err err;
            Evaluation e;
            Graph *g = one_op(row->op, DIMS(-1, 3)), *reference = reference_of(row->reference);
            write_data(DIMS(2, 3), (float[]){ 3, 4, 0, 0, 0, 2 }, 0, NULL, NULL);
            assert_ok(run(g, reference, NULL, batch, &e, &err), &err);
            assert_true(!e.has_accuracy && e.fidelity_count == 1 && e.fidelity[0].positions == 2);
            const Fidelity *f = &e.fidelity[0];
            bool same = isinf(row->sqnr) ? f->sqnr_db == row->sqnr : fabs(f->sqnr_db - row->sqnr) < 1e-6;
            if (!same || fabs(f->cosine - row->cosine) > 1e-9 || f->max_abs != row->max_abs || f->top1_agreement != row->top1)
                fail_msg("%s: %g dB, cosine %g, max %g, top-1 %g", row->name, f->sqnr_db, f->cosine, f->max_abs, f->top1_agreement);
            evaluation_release(&e);
            graph_free(g);
            graph_free(reference);
        }
    }
}

static void integer_outputs(void **state)
{
    (void)state;
    Err err;
    Evaluation e;
    Graph *g = net_new(17);
    ValueId x = net_feed(g, "x", DT_FLOAT, DIMS(-1, 3));
    ValueId y = NODE(g, "ArgMax", "top", "y", x);
    assert_ok(graph_set_int(g, graph_value(g, y)->producer, "axis", 1, &err), &err);
    assert_ok(graph_set_int(g, graph_value(g, y)->producer, "keepdims", 0, &err), &err);
    net_output(g, y);
    net_done(g);
    Graph *other = net_clone(g);
    assert_ok(graph_set_type(other, graph_value(other, y)->producer, "ArgMin", "", &err), &err);
    write_data(DIMS(4, 3), (float[]){ 1, 2, 3, /**/ 5, 5, 5, /**/ 9, 8, 7, /**/ 0, 1, 0 }, DIMS(4), (int64_t[]){ 2, 0, 0, 0 });
    assert_ok(run(g, other, NULL, 3, &e, &err), &err);
    assert_int_equal(e.correct, 3); /* 2 0 0 1 */
    assert_true(isnan(e.cross_entropy));
    assert_near(e.fidelity[0].top1_agreement, 0.25, 0); /* against 0 0 2 0 */
    assert_near(e.fidelity[0].max_abs, 2, 0);
    evaluation_release(&e);
    graph_free(g);
    graph_free(other);
}

static void nan_outputs_are_named(void **state)
{
    (void)state;
    Err err;
    Evaluation e;
    Graph *g = one_op("Sqrt", DIMS(-1, 2)), *same = one_op("Identity", DIMS(-1, 2));
    write_data(DIMS(2, 2), (float[]){ 1, 1, 1, -1 }, DIMS(2), (int64_t[]){ 0, 0 });
    assert_status(run(g, NULL, NULL, 1, &e, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "'y'"));
    assert_non_null(strstr(err.text, "sample 1"));
    write_data(DIMS(2, 2), (float[]){ 1, 1, 1, -1 }, 0, NULL, NULL);
    assert_status(run(g, same, NULL, 0, &e, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "of the network"));
    assert_status(run(same, g, NULL, 0, &e, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "of the reference"));
    graph_free(g);
    graph_free(same);
}

/* Outputs find each other by name, whatever their order; others by position. */
static void outputs_are_matched(void **state)
{
    (void)state;
    Err err;
    Evaluation e;
    Graph *g = net_new(17), *other = net_new(17), *wide = one_op("Identity", DIMS(-1, 3));
    ValueId x = net_feed(g, "x", DT_FLOAT, DIMS(-1, 2)), z = net_feed(other, "renamed", DT_FLOAT, DIMS(-1, 2));
    net_output(g, NODE(g, "Identity", "", "a", x));
    net_output(g, NODE(g, "Neg", "", "b", x));
    net_output(other, NODE(other, "Neg", "", "b", z));
    net_output(other, NODE(other, "Identity", "", "a", z));
    net_done(g);
    net_done(other);
    write_data(DIMS(2, 2), (float[]){ 1, 2, 3, 4 }, 0, NULL, NULL);
    assert_ok(run(g, other, NULL, 0, &e, &err), &err);
    assert_int_equal(e.fidelity_count, 2);
    for (int i = 0; i < 2; i++) assert_true(e.fidelity[i].sqnr_db == INFINITY);
    assert_true(str_is(e.fidelity[1].output, "b"));
    evaluation_release(&e);
    assert_status(run(g, wide, NULL, 0, &e, &err), ERR_DATA, &err); /* the reference cannot take this data */
    graph_free(g);
    graph_free(other);
    graph_free(wide);
}

/* Comparing with kept outputs gives what comparing with the running reference gives; what is too large is not kept, and not needed. */
static void kept_outputs_compare_alike(void **state)
{
    (void)state;
    static const float x[] = { 1, -2, 3, -4, 5, -6, 7, -8, 9, -10 };
    Err err;
    Dataset *data;
    Evaluation live, kept;
    Kept outputs = { 0 };
    Graph *g = one_op("Relu", DIMS(-1, 2)), *reference = one_op("Identity", DIMS(-1, 2));
    write_data(DIMS(5, 2), x, 0, NULL, NULL);
    assert_ok(dataset_open(data_path, g, &(DataOptions){ 0 }, &data, &err), &err);
    EvaluateOptions o = { .threads = 1, .batch = 2, .keep = &outputs };
    assert_ok(evaluate(reference, NULL, data, &o, &live, &err), &err);
    evaluation_release(&live);
    assert_int_equal(outputs.count, 3);
    o.keep = NULL;
    assert_ok(evaluate(g, reference, data, &o, &live, &err), &err);
    o.reference_outputs = &outputs;
    assert_ok(evaluate(g, reference, data, &o, &kept, &err), &err);
    assert_near(kept.fidelity[0].sqnr_db, live.fidelity[0].sqnr_db, 0);
    assert_near(kept.fidelity[0].max_abs, 10, 0);
    assert_near(kept.fidelity[0].top1_agreement, live.fidelity[0].top1_agreement, 0);
    evaluation_release(&live);
    evaluation_release(&kept);
    Tensor large = { .type = DT_FLOAT, .bytes = KEPT_MOST + 1 };
    kept_add(&outputs, &large, 1);
    assert_false(kept_usable(&outputs));
    kept_release(&outputs);
    dataset_free(data);
    graph_free(g);
    graph_free(reference);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wilson),
        cmocka_unit_test(cross_entropy),
        cmocka_unit_test(softmax_is_seen_through_moves),
        cmocka_unit_test(labels_by_position),
        cmocka_unit_test(bad_labels),
        cmocka_unit_test(fidelity),
        cmocka_unit_test(integer_outputs),
        cmocka_unit_test(nan_outputs_are_named),
        cmocka_unit_test(outputs_are_matched),
        cmocka_unit_test(kept_outputs_compare_alike),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
