/* Random convolutional networks, in float32 and with quantized groups, in every way the engine can run them: plain operators, all kernels,
 * integers or float32 in quantized convolutions. Seeds are fixed; PARE_SEEDS=N runs more. */
#include "test.h"

#include "build_graph.h"
#include "random_network.h"

#define SEEDS 60
#define STEP (4.091 / 127 * 1.013) /* of the coarsest grid */

static const struct {
    const char *name;
    SessionOptions options;
} modes[] = {
    { "plain", { .threads = 1, .plain = true } },        { "kernels", { .threads = 1 } },
    { "two threads", { .threads = 2 } },                 { "the faster", { .threads = 1, .int8 = INT8_AUTO } },
    { "float32", { .threads = 1, .int8 = INT8_NEVER } },
};
#define MODES (sizeof modes / sizeof *modes)

static void run(const Graph *g, const SessionOptions *options, int64_t batch, Tensor y[2])
{
    Session *s;
    Tensor x;
    Err err;
    Shape shape = graph_value(g, g->inputs[0])->shape;
    shape.dims[0] = batch;
    assert_ok(tensor_new(&x, DT_FLOAT, &shape, &err), &err);
    for (int64_t i = 0; i < tensor_count(&x); i++) tensor_set(&x, i, build_noise(5, i));
    assert_ok(session_new(g, options, &s, &err), &err);
    assert_ok(session_run(s, &x, y, &err), &err);
    session_free(s);
    tensor_release(&x);
}

static double largest_gap(const Tensor *a, const Tensor *b)
{
    double gap = 0;
    assert_true(shape_eq(&a->shape, &b->shape));
    for (int64_t i = 0; i < tensor_count(a); i++) gap = fmax(gap, fabs(tensor_get(a, i) - tensor_get(b, i)));
    return gap;
}

/* Where nothing is quantized results are near; where groups are, those that a tie turned are few, and a step of one layer off. */
static void random_row(bool quantized)
{
    const char *more = getenv("PARE_SEEDS");
    int64_t seeds = more != NULL ? atoi(more) : SEEDS, elements = 0, off[MODES] = { 0 };
    for (int64_t seed = 0; seed < seeds; seed++) {
        Graph *g = random_network((uint64_t)seed, quantized, false);
        Tensor y[MODES][2];
        for (size_t m = 0; m < MODES; m++) run(g, &modes[m].options, seed % 2 == 0 ? 3 : 1, y[m]);
        for (size_t m = 1; m < MODES; m++) {
            for (int o = 0; o < 2; o++) {
                double distance = quantized ? largest_gap(&y[m][o], &y[0][o]) : build_distance(&y[m][o], &y[0][o]);
                if (!(distance <= (quantized ? 2.5 * STEP : 1e-5)))
                    fail_msg("seed %d, %s, output %d: %g from the plain operators", (int)seed, modes[m].name, o, distance);
            }
            for (int64_t i = 0; i < tensor_count(&y[0][1]); i++)
                off[m] += fabs(tensor_get(&y[m][1], i) - tensor_get(&y[0][1], i)) > 1e-3;
        }
        elements += tensor_count(&y[0][1]);
        for (size_t m = 0; m < MODES; m++)
            for (int o = 0; o < 2; o++) tensor_release(&y[m][o]);
        graph_free(g);
    }
    for (size_t m = 1; m < MODES; m++) {
        print_message("%s: %lld of %lld results are off\n", modes[m].name, (long long)off[m], (long long)elements);
        assert_true(off[m] * 1000 <= elements);
    }
}

static void floats(void **state)
{
    (void)state;
    random_row(false);
}

static void integers(void **state)
{
    (void)state;
    random_row(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(floats), cmocka_unit_test(integers) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
