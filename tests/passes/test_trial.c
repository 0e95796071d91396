/* What a candidate loses: against sums taken by hand. */
#include "net.h"

#include "data/dataset.h"
#include "quantize/trial.h"

enum { IN = 3, OUT = 4 };

/* y = act(x W + b) with W times `scale`, b plus `shift`; a second output when asked. */
static Graph *net(double scale, double shift, const char *act, int batch, bool second)
{
    Graph *g = net_new(17);
    double w[IN * OUT], b[OUT];
    for (int i = 0; i < IN * OUT; i++) w[i] = (i % 5 - 2) * 0.25 * scale;
    for (int i = 0; i < OUT; i++) b[i] = (i - 1) * 0.5 + shift;
    ValueId x = net_feed(g, "x", DT_FLOAT, DIMS(batch, IN));
    ValueId y = NODE(g, "Gemm", "layer", "logits", x, net_constant(g, "w", DT_FLOAT, DIMS(IN, OUT), w),
                     net_constant(g, "b", DT_FLOAT, DIMS(OUT), b));
    net_output(g, NODE(g, act, "act", "y", y));
    if (second) net_output(g, NODE(g, "Neg", "minus", "other", y));
    net_done(g);
    return g;
}

static Dataset *noise(const Graph *g, int64_t samples)
{
    Err err;
    Dataset *d;
    Shape shape = graph_value(g, g->inputs[0])->shape;
    if (shape.dims[0] < 0) shape.dims[0] = 1;
    assert_ok(dataset_random(g, &shape, samples, 3, &d, &err), &err);
    return d;
}

static double error_of(const Graph *a, const Graph *b, Dataset *d, int64_t samples)
{
    Err err;
    Trial *t;
    double error = -1.0;
    assert_ok(trial_new(a, d, samples, 0, 1, 0, NULL, &t, &err), &err);
    assert_ok(trial_error(t, b, &error, &err), &err);
    double again = -1.0;
    assert_ok(trial_error(t, b, &again, &err), &err);
    assert_true(error == again || (isinf(error) && isinf(again)));
    trial_free(t);
    return error;
}

/* The definition over the samples that are expected: the middle ones of equal parts. */
static double by_hand(const Graph *a, const Graph *b, Dataset *d, int64_t samples)
{
    Err err;
    double noise_sum = 0.0, sum = 0.0, squares = 0.0, count = 0.0;
    int64_t all = dataset_samples(d);
    if (samples > all) samples = all;
    for (int64_t i = 0; i < samples; i++) {
        Tensor in, y0[2], y[2];
        int64_t at = (2 * i + 1) * all / (2 * samples);
        assert_ok(dataset_read(d, at, 1, &in, NULL, &err), &err);
        net_run(a, &in, y0);
        net_run(b, &in, y);
        for (int64_t k = 0; k < tensor_count(&y0[0]); k++) {
            double u = tensor_get(&y0[0], k), v = tensor_get(&y[0], k);
            noise_sum += (u - v) * (u - v);
            sum += u;
            squares += u * u;
            count++;
        }
        tensor_release(&in);
        tensor_release(&y0[0]);
        tensor_release(&y[0]);
    }
    return noise_sum / (squares - sum * sum / count);
}

static void plain(void **state)
{
    (void)state;
    static const struct {
        int64_t all, samples;
        double scale, shift;
    } rows[] = { { 100, 32, 1.1, 0.0 },  { 32, 32, 1.0, 0.25 }, { 7, 32, 0.5, 0.0 },
                 { 1, 1, 1.01, 0.0 },    { 100, 3, 0.0, 0.0 },  { 33, 32, 1.0, 0.0 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Graph *a = net(1.0, 0.0, "Identity", -1, false), *b = net(rows[i].scale, rows[i].shift, "Identity", -1, false);
        Dataset *d = noise(a, rows[i].all);
        double expected = by_hand(a, b, d, rows[i].samples);
        assert_near(error_of(a, b, d, rows[i].samples), expected, 1e-6 * expected);
        dataset_free(d);
        graph_free(a);
        graph_free(b);
    }
}

static void outputs(void **state)
{
    (void)state;
    Graph *a = net(1.0, 0.0, "Softmax", -1, false), *shifted = net(1.0, 2.0, "Softmax", -1, false);
    Graph *b = net(1.1, 0.0, "Softmax", -1, false);
    Graph *logits = net(1.0, 0.0, "Identity", -1, false), *other = net(1.1, 0.0, "Identity", -1, false);
    Dataset *d = noise(a, 64);
    assert_near(error_of(a, shifted, d, 32), 0.0, 1e-10); /* the same probabilities */
    assert_true(error_of(a, a, d, 32) == 0.0);
    double as_probabilities = error_of(a, b, d, 32), as_logits = error_of(logits, other, d, 32);
    assert_true(as_probabilities > as_logits * 0.5 && as_probabilities < as_logits * 2.0); /* but for each row's mean */
    graph_free(a);
    graph_free(b);
    graph_free(shifted);
    a = net(1.0, 0.0, "Identity", -1, true);
    b = net(1.1, 0.0, "Identity", -1, true);
    assert_near(error_of(a, b, d, 32), as_logits, 1e-6 * as_logits); /* two equal outputs: their average */
    graph_free(b);
    b = net(INFINITY, 0.0, "Identity", -1, true);
    assert_true(isinf(error_of(a, b, d, 32)));
    graph_free(a);
    graph_free(b);
    graph_free(logits);
    graph_free(other);
    dataset_free(d);
}

/* A network that fixes its batch takes whole ones. */
static void fixed_batch(void **state)
{
    (void)state;
    Graph *a = net(1.0, 0.0, "Identity", 4, false), *b = net(1.1, 0.0, "Identity", 4, false);
    Graph *free_a = net(1.0, 0.0, "Identity", -1, false), *free_b = net(1.1, 0.0, "Identity", -1, false);
    Dataset *d = noise(a, 40), *same = noise(free_a, 40);
    double expected = by_hand(free_a, free_b, same, 8);
    assert_near(error_of(a, b, d, 11), expected, 1e-6 * expected);
    assert_true(error_of(a, b, d, 2) > 0.0);
    dataset_free(d);
    dataset_free(same);
    graph_free(a);
    graph_free(b);
    graph_free(free_a);
    graph_free(free_b);
}

/* A quarter of the calls: two of eight, and an error that is the same in each. */
static void glances(void **state)
{
    (void)state;
    Err err;
    Trial *t;
    Judgement j;
    double whole;
    Graph *a = net(1.0, 0.0, "Identity", -1, false), *shifted = net(1.0, 0.25, "Identity", -1, false);
    Dataset *d = noise(a, 8);
    assert_ok(trial_new(a, d, 8, 0, 1, 0, NULL, &t, &err), &err);
    assert_ok(trial_error(t, shifted, &whole, &err), &err);
    assert_ok(trial_judge(t, &shifted, 1, INFINITY, &j, &err), &err);
    assert_true(whole > 0.0);
    assert_near(j.error, whole, 1e-12 * whole);
    assert_near(j.glance, whole / TRIAL_SHARE, 1e-6 * whole);
    assert_ok(trial_judge(t, &shifted, 1, j.glance, &j, &err), &err); /* no better than that */
    assert_true(isinf(j.error));
    assert_ok(trial_judge(t, &a, 1, 1.0, &j, &err), &err);
    assert_true(j.glance == 0.0 && j.error == 0.0);
    trial_free(t);
    dataset_free(d);
    graph_free(a);
    graph_free(shifted);
}

/* Side by side or one after another: the same numbers. Clones share an arena. */
static void side_by_side(void **state)
{
    (void)state;
    enum { COUNT = 9 };
    Err err;
    Graph *a = net(1.0, 0.0, "Identity", -1, false), *b = net(1.1, 0.2, "Identity", -1, false), *two = net(1.0, 0.0, "Identity", -1, true);
    Graph *candidates[COUNT];
    Dataset *d = noise(a, 16);
    Judgement found[2][COUNT];
    for (int i = 0; i < COUNT; i++) assert_ok(graph_clone(i % 3 == 0 ? a : b, &candidates[i], &err), &err);
    for (int together = 0; together < 2; together++) {
        Trial *t;
        int threads = together ? 3 : 1;
        assert_ok(trial_new(a, d, 16, 0, threads, 0, NULL, &t, &err), &err);
        assert_int_equal(trial_together(t), threads);
        assert_ok(trial_judge(t, candidates, COUNT, INFINITY, found[together], &err), &err);
        assert_status(trial_judge(t, (Graph *[]){ a, two, b, two }, 4, INFINITY, (Judgement[4]){ { 0 } }, &err), ERR_BUG, &err);
        trial_free(t);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_true(found[0][i].error == found[1][i].error && found[0][i].glance == found[1][i].glance);
        assert_true((found[0][i].error == 0.0) == (i % 3 == 0));
        graph_free(candidates[i]);
    }
    Trial *t;
    assert_ok(trial_new(a, d, 16, 0, 3, 1 << 30, NULL, &t, &err), &err);
    assert_int_equal(trial_together(t), 1); /* each would want the limit of memory for itself */
    trial_free(t);
    dataset_free(d);
    graph_free(a);
    graph_free(b);
    graph_free(two);
}

static void refusals(void **state)
{
    (void)state;
    Err err;
    Trial *t;
    double error;
    Graph *a = net(1.0, 0.0, "Identity", -1, false), *two = net(1.0, 0.0, "Identity", -1, true);
    Graph *broken = net(INFINITY, 0.0, "Identity", -1, false);
    Dataset *d = noise(a, 5);
    assert_status(trial_new(broken, d, 4, 0, 1, 0, NULL, &t, &err), ERR_DATA, &err);
    assert_null(t);
    assert_non_null(strstr(err.text, "'y'"));
    assert_status(trial_new(a, d, 0, 0, 1, 0, NULL, &t, &err), ERR_DATA, &err);
    assert_ok(trial_new(a, d, 4, 0, 1, 0, NULL, &t, &err), &err);
    assert_status(trial_error(t, two, &error, &err), ERR_BUG, &err);
    trial_free(t);
    trial_free(NULL);
    int stop = 1;
    Log log = { .interrupted = &stop };
    assert_status(trial_new(a, d, 4, 0, 1, 0, &log, &t, &err), ERR_INTERRUPTED, &err);
    assert_near(trial_db(0.001), 30.0, 1e-9);
    dataset_free(d);
    graph_free(a);
    graph_free(two);
    graph_free(broken);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(plain), cmocka_unit_test(outputs), cmocka_unit_test(fixed_batch),
                                        cmocka_unit_test(glances), cmocka_unit_test(side_by_side), cmocka_unit_test(refusals) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
