/* Every kernel of the table on random networks: what it gives is what the plain operators give, with one thread and two the same bytes, and
 * each one is reached at least once. PARE_SEEDS=N runs more. */
#include "test.h"

#include "engine/dnnl_glue.h"
#include "engine/versions.h"
#include "random_network.h"
#include "random_sequence.h"

#define SEEDS 90
#define KERNELS 128

typedef struct Reached {
    const char *kernel;
    char op[40];
    int count;
} Reached;

static Reached reached[KERNELS];

/* *user: whether a convolution went through the library's matrix product, which splits sums by the number of threads. */
static void note(void *user, const StepTrace *step)
{
    if (step->node == 0) return;
    if (step->detail != NULL && strstr(step->detail, "gemm") != NULL) *(bool *)user = true;
    Str type = graph_node(step->graph, step->node)->type;
    for (int i = 0; i < KERNELS; i++) {
        Reached *r = &reached[i];
        if (r->kernel != NULL && (strcmp(r->kernel, step->kernel) != 0 || !str_is(type, r->op))) continue;
        r->kernel = step->kernel;
        snprintf(r->op, sizeof r->op, "%.*s", STR_ARG(type));
        r->count++;
        return;
    }
    fail_msg("more than %d kernels", KERNELS);
}

static bool run(const Graph *g, int64_t batch, const SessionOptions *options, Tensor y[2])
{
    bool split = false;
    Session *s;
    Tensor x;
    Err err;
    Shape shape = graph_value(g, g->inputs[0])->shape;
    shape.dims[0] = batch;
    assert_ok(tensor_new(&x, DT_FLOAT, &shape, &err), &err);
    for (int64_t i = 0; i < tensor_count(&x); i++) tensor_set(&x, i, build_noise(5, i));
    assert_ok(session_new(g, options, &s, &err), &err);
    session_trace(s, note, &split);
    assert_ok(session_run(s, &x, y, &err), &err);
    session_free(s);
    tensor_release(&x);
    return split;
}

/* Against the largest one, or 1: what is all but zero may be off by as much. */
static double distance_of(const Tensor *a, const Tensor *b)
{
    double gap = 0, peak = 1;
    assert_true(shape_eq(&a->shape, &b->shape));
    for (int64_t i = 0; i < tensor_count(a); i++) {
        double off = fabs(tensor_get(a, i) - tensor_get(b, i));
        if (!(off <= gap)) gap = off; /* NaN stays */
        peak = fmax(peak, fabs(tensor_get(b, i)));
    }
    return gap / peak;
}

static void compare(const Graph *g, uint64_t seed, const char *kind, double most)
{
    for (int64_t batch = 1; batch < 4; batch += 2) {
        Tensor y[3][2] = { { { 0 } } };
        run(g, batch, &(SessionOptions){ .threads = 1, .plain = true }, y[0]);
        bool split = false;
        for (int k = 1; k < 3; k++) split = run(g, batch, &(SessionOptions){ .threads = k }, y[k]) || split;
        for (int o = 0; o < g->output_count; o++) {
            double distance = distance_of(&y[1][o], &y[0][o]);
            if (!(distance <= most))
                fail_msg("%s %d, batch %d, output %d: %g from the plain operators", kind, (int)seed, (int)batch, o, distance);
            if (split ? distance_of(&y[2][o], &y[1][o]) > 1e-5 : memcmp(y[1][o].data, y[2][o].data, y[1][o].bytes) != 0)
                fail_msg("%s %d, batch %d, output %d: two threads give other bytes", kind, (int)seed, (int)batch, o);
            for (int k = 0; k < 3; k++) tensor_release(&y[k][o]);
        }
    }
}

static uint64_t seeds(void)
{
    const char *more = getenv("PARE_SEEDS");
    return more != NULL ? (uint64_t)atoi(more) : SEEDS;
}

static void test_images(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < seeds(); seed++) {
        Graph *g = random_network(seed, false, true);
        compare(g, seed, "image", 5e-5);
        graph_free(g);
    }
}

static void test_sequences(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < seeds(); seed++) {
        Graph *g = random_sequence(seed);
        compare(g, seed, "sequence", 1e-4);
        graph_free(g);
    }
}

/* What quantized groups give beside the plain operators, tests/ops/test_modes.c holds; here they are run in all ways. */
static void test_integers(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < seeds() / 3; seed++) {
        Graph *g = random_network(seed, true, true);
        for (int use = 0; use < 2; use++) {
            Tensor y[2];
            run(g, 3, &(SessionOptions){ .threads = 1, .int8 = (Int8Use)use }, y);
            for (int o = 0; o < 2; o++) tensor_release(&y[o]);
        }
        graph_free(g);
    }
}

/* Kernels of 8-bit sums stand in for one another: which of them serves depends on the processor's instructions. */
static bool is_integer(const char *name)
{
    return strncmp(name, "integer", 7) == 0 || strcmp(name, "dynamic") == 0;
}

static bool was_reached(const Kernel *k)
{
    bool named = !is_integer(k->name), served = !is_integer(k->name); /* by this name; for this operator */
    for (int i = 0; i < KERNELS && reached[i].kernel != NULL; i++) {
        bool name = strcmp(reached[i].kernel, k->name) == 0, op = strcmp(reached[i].op, k->op) == 0;
        if (!is_integer(k->name) && name && op) return true;
        named = named || name;
        served = served || (op && is_integer(reached[i].kernel));
    }
    return is_integer(k->name) && named && served;
}

/* The networks are made to reach all of them where there is AVX2 and nothing wider, with the library's version 2: others choose otherwise
 * among the same kernels. */
static bool is_usual(void)
{
    char version[32];
    engine_version_onednn(version, sizeof version);
    return device_is_avx2() && strncmp(version, "2.", 2) == 0;
}

static void test_every_kernel_was_reached(void **state)
{
    (void)state;
    int missing = 0;
    for (const Kernel *const *list = kernels_all(); *list != NULL; list++)
        for (const Kernel *k = *list; k->name != NULL; k++) {
            if (was_reached(k)) continue;
            print_message("the %s kernel of %s was never chosen\n", k->name, k->op);
            missing++;
        }
    if (is_usual() && seeds() >= SEEDS) assert_int_equal(missing, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_images), cmocka_unit_test(test_sequences), cmocka_unit_test(test_integers),
                                        cmocka_unit_test(test_every_kernel_was_reached) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
