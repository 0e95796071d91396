/* Sessions: plans by shapes, watched values, shapes that depend on the data, limits, threads. */
#include "test.h"

#include "build_graph.h"
#include "engine/session.h"

static Tensor noise(const int64_t *dims, int rank, uint64_t seed)
{
    Tensor t;
    Err err;
    Shape shape = shape_of(rank, dims);
    assert_ok(tensor_new(&t, DT_FLOAT, &shape, &err), &err);
    for (int64_t i = 0; i < tensor_count(&t); i++) tensor_set(&t, i, build_noise(seed, i));
    return t;
}

/* x [N,3,8,8] -> Conv -> Relu -> Conv + shortcut -> Relu -> GlobalAveragePool -> Reshape [0,-1] -> Gemm. */
static Graph *make_wide(int64_t channels)
{
    Graph *g = build_new(17);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(DIM_UNKNOWN, 3, 8, 8));
    ValueId w1 = build_weight(g, "w1", 1, DIMS(channels, 3, 3, 3)), w2 = build_weight(g, "w2", 2, DIMS(channels, channels, 3, 3));
    ValueId w3 = build_weight(g, "w3", 3, DIMS(channels, 4)), to = build_constant(g, "to", DT_INT64, (double[]){ 0, -1 }, DIMS(2));
    Err err;
    ValueId a = build_node(g, "Conv", "a", x, w1, -1), b = build_node(g, "Relu", "b", a, -1), c = build_node(g, "Conv", "c", b, w2, -1);
    const int64_t same[] = { 1, 1, 1, 1 };
    assert_ok(graph_set_ints(g, build_maker(g, a), "pads", same, 4, &err), &err);
    assert_ok(graph_set_ints(g, build_maker(g, c), "pads", same, 4, &err), &err);
    ValueId d = build_node(g, "Add", "d", c, b, -1), e = build_node(g, "Relu", "e", d, -1), p = build_node(g, "GlobalAveragePool", "p", e,
                                                                                                           -1);
    ValueId f = build_node(g, "Reshape", "f", p, to, -1);
    build_output(g, build_node(g, "Gemm", "y", f, w3, -1));
    build_ready(g);
    return g;
}

static Graph *make_network(void)
{
    return make_wide(9);
}

static Session *open_session(const Graph *g, SessionOptions options)
{
    Session *s;
    Err err;
    assert_ok(session_new(g, &options, &s, &err), &err);
    return s;
}

static Tensor run(Session *s, const Tensor *x)
{
    Tensor y;
    Err err;
    assert_ok(session_run(s, x, &y, &err), &err);
    return y;
}

static int count_plans(const Session *s)
{
    int count = 0;
    for (int i = 0; i < PLAN_CACHE; i++) count += s->plans[i] != NULL;
    return count;
}

static void test_batches_and_plans(void **state)
{
    (void)state;
    Graph *g = make_network();
    Session *s = open_session(g, (SessionOptions){ .threads = 1 });
    for (int round = 0; round < 2; round++)
        for (int64_t batch = 1; batch <= PLAN_CACHE + 3; batch++) {
            Tensor x = noise(DIMS(batch, 3, 8, 8), 1), y = run(s, &x);
            assert_int_equal(y.shape.dims[0], batch);
            assert_true(count_plans(s) <= PLAN_CACHE);
            Tensor one = noise(DIMS(1, 3, 8, 8), 1), alone; /* the first sample is the same in every batch */
            alone = run(s, &one);
            for (int i = 0; i < 4; i++) assert_near(tensor_get(&y, i), tensor_get(&alone, i), 1e-5);
            tensor_release(&x);
            tensor_release(&y);
            tensor_release(&one);
            tensor_release(&alone);
        }
    assert_int_equal(count_plans(s), PLAN_CACHE);
    Tensor x = noise(DIMS(2, 3, 8, 8), 1), y = run(s, &x);
    const Plan *kept = NULL;
    for (int i = 0; i < PLAN_CACHE; i++)
        if (s->plans[i]->shapes[0].dims[0] == 2) kept = s->plans[i];
    tensor_release(&y);
    y = run(s, &x);
    for (int i = 0; i < PLAN_CACHE; i++)
        if (s->plans[i]->shapes[0].dims[0] == 2) assert_ptr_equal(s->plans[i], kept);
    tensor_release(&x);
    tensor_release(&y);
    session_free(s);
    graph_free(g);
}

typedef struct Watch {
    const Session *session;
    int calls, stop_at;
    char order[256];
    double sum[32];
} Watch;

static Status watch(void *user, ValueId v, const Tensor *t, Err *err)
{
    Watch *w = user;
    Str name = graph_value(session_graph(w->session), v)->name;
    snprintf(w->order + strlen(w->order), sizeof w->order - strlen(w->order), "%.*s ", STR_ARG(name));
    w->sum[w->calls] = 0;
    for (int64_t i = 0; i < tensor_count(t); i++) w->sum[w->calls] += tensor_get(t, i);
    w->calls++;
    return w->calls == w->stop_at ? err_set(err, ERR_INTERRUPTED, "stopped") : OK;
}

/* Every value is reported once, as soon as it is made, with the plain forward's contents, whatever is fused otherwise. */
static void test_observe(void **state)
{
    (void)state;
    static const char *const names[] = { "x", "w1", "a", "b", "c", "d", "e", "p", "f", "y" };
    enum { COUNT = sizeof names / sizeof *names };
    Graph *g = make_network();
    Watch seen[2] = { { 0 } };
    for (int plain = 0; plain < 2; plain++) {
        Session *s = open_session(g, (SessionOptions){ .threads = 1, .plain = plain });
        seen[plain].session = s;
        ValueId values[COUNT];
        for (int i = 0; i < COUNT; i++) values[i] = graph_find_value(session_graph(s), str_of(names[i]));
        Err err;
        Tensor x = noise(DIMS(3, 3, 8, 8), 1), before = run(s, &x);
        assert_ok(session_observe(s, values, COUNT, watch, &seen[plain], &err), &err);
        Tensor during = run(s, &x);
        assert_true(build_distance(&during, &before) < 1e-6);
        assert_string_equal(seen[plain].order, "x w1 a b c d e p f y ");
        assert_ok(session_observe(s, NULL, 0, NULL, NULL, &err), &err);
        Tensor after = run(s, &x);
        assert_int_equal(seen[plain].calls, COUNT);
        tensor_release(&x);
        tensor_release(&before);
        tensor_release(&during);
        tensor_release(&after);
        session_free(s);
    }
    for (int i = 0; i < COUNT; i++) assert_near(seen[0].sum[i], seen[1].sum[i], 1e-3);
    graph_free(g);
}

/* In any order: still every element of every value once, whether the library pads the channels (9) or not (16). */
static void test_observe_unordered(void **state)
{
    (void)state;
    static const char *const names[] = { "x", "a", "b", "c", "d", "e", "y" };
    enum { COUNT = sizeof names / sizeof *names };
    for (int64_t channels = 9; channels <= 16; channels += 7) {
        Graph *g = make_wide(channels);
        Watch seen[2] = { { 0 } };
        size_t steps[2] = { 0 };
        for (int unordered = 0; unordered < 2; unordered++) {
            Session *s = open_session(g, (SessionOptions){ .threads = 1 });
            seen[unordered].session = s;
            ValueId values[COUNT];
            for (int i = 0; i < COUNT; i++) values[i] = graph_find_value(session_graph(s), str_of(names[i]));
            Err err;
            Tensor x = noise(DIMS(3, 3, 8, 8), 1);
            assert_ok(session_observe(s, values, COUNT, watch, &seen[unordered], &err), &err);
            if (unordered) session_observe_unordered(s);
            Tensor y = run(s, &x);
            assert_string_equal(seen[unordered].order, "x a b c d e y ");
            for (int i = 0; i < PLAN_CACHE; i++)
                if (s->plans[i] != NULL) steps[unordered] = s->plans[i]->step_count;
            tensor_release(&x);
            tensor_release(&y);
            session_free(s);
        }
        for (int i = 0; i < COUNT; i++) assert_near(seen[0].sum[i], seen[1].sum[i], 1e-3);
        assert_true(steps[1] <= steps[0]);
        graph_free(g);
    }
}

static void test_observer_stops_the_run(void **state)
{
    (void)state;
    Graph *g = make_network();
    Session *s = open_session(g, (SessionOptions){ .threads = 1 });
    Watch w = { .session = s, .stop_at = 2 };
    ValueId values[] = { graph_find_value(session_graph(s), STR("b")), graph_find_value(session_graph(s), STR("d")),
                         graph_find_value(session_graph(s), STR("y")) };
    Err err;
    assert_ok(session_observe(s, values, 3, watch, &w, &err), &err);
    Tensor x = noise(DIMS(1, 3, 8, 8), 1), y;
    assert_status(session_run(s, &x, &y, &err), ERR_INTERRUPTED, &err);
    assert_string_equal(w.order, "b d ");
    assert_null(y.data);
    tensor_release(&x);
    session_free(s);
    graph_free(g);
}

/* NonZero's shape is known only when it has run; what reads it goes on from there. */
static void test_data_dependent_shapes(void **state)
{
    (void)state;
    Graph *g = build_new(17);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(DIM_UNKNOWN)), n = build_node(g, "NonZero", "n", x, -1);
    ValueId shape = build_node(g, "Shape", "shape", n, -1), flat = build_node(g, "Reshape", "flat", n,
                                                                              build_constant(g, "to", DT_INT64, (double[]){ -1 },
                                                                                             DIMS(1)), -1);
    ValueId picked = build_node(g, "Gather", "picked", x, flat, -1);
    ValueId doubled = build_node(g, "Add", "doubled", picked, picked, -1);
    build_output(g, doubled);
    build_output(g, shape);
    build_ready(g);
    Session *s = open_session(g, (SessionOptions){ .threads = 1 });
    for (int round = 0; round < 4; round++) {
        Tensor in = noise(DIMS(10), 1), out[2];
        int zeros = round == 3 ? 10 : round * 3;
        for (int i = 0; i < zeros; i++) tensor_set(&in, i, 0);
        Err err;
        assert_ok(session_run(s, &in, out, &err), &err);
        assert_int_equal(out[0].shape.rank, 1);
        assert_int_equal(out[0].shape.dims[0], 10 - zeros);
        assert_int_equal(tensor_get_int(&out[1], 1), 10 - zeros);
        for (int i = zeros; i < 10; i++) assert_near(tensor_get(&out[0], i - zeros), 2 * tensor_get(&in, i), 1e-6);
        tensor_release(&in);
        tensor_release(&out[0]);
        tensor_release(&out[1]);
    }
    session_free(s);
    graph_free(g);
}

/* Weights larger than everything else: what a session packs, sets aside and copies is counted, before it is allocated. */
static void test_memory_of_weights(void **state)
{
    (void)state;
    enum { WEIGHTS = 9 * 128 * 128 * 4, LITTLE = WEIGHTS / 2, ENOUGH = WEIGHTS * 2 };
    Graph *g = build_new(17);
    Err err;
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(DIM_UNKNOWN, 128, 4, 4)), w = build_weight(g, "w", 1, DIMS(128, 128, 3, 3));
    build_output(g, build_node(g, "Conv", "y", x, w, -1));
    build_ready(g);
    static const struct { const char *name; uint64_t limit; bool plain; Status status; } rows[] = {
        { "packed weights do not fit", LITTLE, false, ERR_MEMORY },
        { "packed weights fit", ENOUGH, false, OK },
        { "the plain form packs nothing", LITTLE, true, OK },
        { "the plain form's activations", 1024, true, ERR_MEMORY },
        { "no limit", 0, false, OK },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Tensor in = noise(DIMS(1, 128, 4, 4), 1), out = { 0 };
        Session *s = open_session(g, (SessionOptions){ .threads = 1, .plain = rows[i].plain, .max_mem = rows[i].limit });
        assert_status(session_run(s, &in, &out, &err), rows[i].status, &err);
        assert_true(rows[i].limit == 0 || s->budget->taken <= rows[i].limit);
        if (rows[i].status != OK) assert_non_null(strstr(err.text, "--max-mem"));
        else if (!rows[i].plain) assert_true(s->budget->taken >= WEIGHTS + s->arena_bytes);
        tensor_release(&in);
        tensor_release(&out);
        session_free(s);
    }
    graph_free(g);
}

/* Constants that cost too much to make stay nodes of the network, and the limit holds for them there. */
static void test_work_of_constants(void **state)
{
    (void)state;
    Graph *g = build_new(17);
    Err err;
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(40));
    ValueId product = build_node(g, "MatMul", "product", build_weight(g, "a", 1, DIMS(20, 30)), build_weight(g, "b", 2, DIMS(30, 40)), -1);
    build_output(g, build_node(g, "Add", "y", x, product, -1));
    build_ready(g);
    static const struct { const char *name; uint64_t limit; bool folded; Status status; } rows[] = {
        { "the product alone is over it", 24000, false, ERR_UNSUPPORTED },
        { "folded", 30000, true, OK },
        { "no limit", 0, true, OK },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Tensor in = noise(DIMS(40), 1), out = { 0 };
        Session *s = open_session(g, (SessionOptions){ .threads = 1, .max_work = rows[i].limit });
        assert_true((s->constants[product].data != NULL) == rows[i].folded);
        assert_status(session_run(s, &in, &out, &err), rows[i].status, &err);
        if (rows[i].status != OK) assert_non_null(strstr(err.text, "product"));
        tensor_release(&in);
        tensor_release(&out);
        session_free(s);
    }
    graph_free(g);
}

static void test_refusals(void **state)
{
    (void)state;
    Graph *g = make_network();
    Err err;
    Tensor x = noise(DIMS(64, 3, 8, 8), 1), y;
    Session *s = open_session(g, (SessionOptions){ .threads = 1, .max_mem = 100000 });
    assert_status(session_run(s, &x, &y, &err), ERR_MEMORY, &err);
    assert_non_null(strstr(err.text, "--max-mem"));
    assert_true(s->arena_bytes == 0); /* refused before it was allocated */
    Tensor small = noise(DIMS(1, 3, 8, 8), 1);
    assert_ok(session_run(s, &small, &y, &err), &err);
    assert_true(session_activation_bytes(s) > 0 && session_activation_bytes(s) < 100000);
    tensor_release(&y);
    Tensor wrong = noise(DIMS(1, 4, 8, 8), 1), flat = noise(DIMS(3, 8), 1);
    assert_status(session_run(s, &wrong, &y, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "'x'"));
    assert_status(session_run(s, &flat, &y, &err), ERR_DATA, &err);
    wrong.type = DT_INT32;
    assert_status(session_run(s, &wrong, &y, &err), ERR_DATA, &err);
    tensor_release(&x);
    tensor_release(&small);
    tensor_release(&wrong);
    tensor_release(&flat);
    session_free(s);
    graph_free(g);
}

static void test_unknown_operators_are_named(void **state)
{
    (void)state;
    Graph *g = build_new(17);
    ValueId v = build_input(g, "x", DT_FLOAT, DIMS(2));
    for (int i = 0; i < 7; i++) {
        char name[8];
        snprintf(name, sizeof name, "n%d", i);
        v = build_node(g, i % 2 ? "Frobnicate" : "Relu", name, v, -1);
    }
    build_output(g, v);
    Err err;
    assert_ok(graph_finish(g, &err), &err);
    Session *s;
    assert_status(session_new(g, NULL, &s, &err), ERR_UNSUPPORTED, &err);
    assert_non_null(strstr(err.text, "Frobnicate 'n1', Frobnicate 'n3', Frobnicate 'n5'"));
    assert_null(s);
    graph_free(g);
}

static void test_threads(void **state)
{
    (void)state;
    Graph *g = make_network();
    Tensor x = noise(DIMS(5, 3, 8, 8), 1), y[2];
    for (int i = 0; i < 2; i++) {
        Session *s = open_session(g, (SessionOptions){ .threads = i + 1 });
        y[i] = run(s, &x);
        session_free(s);
    }
    assert_true(build_distance(&y[1], &y[0]) < 1e-6);
    tensor_release(&x);
    tensor_release(&y[0]);
    tensor_release(&y[1]);
    graph_free(g);
}

/* A chain whose values never live together needs room for two of them, and never for all. */
static void test_memory_is_reused(void **state)
{
    (void)state;
    Graph *g = build_new(17);
    ValueId v = build_input(g, "x", DT_FLOAT, DIMS(1000));
    for (int i = 0; i < 20; i++) {
        char name[8];
        snprintf(name, sizeof name, "n%d", i);
        v = build_node(g, i % 2 ? "Neg" : "Sigmoid", name, v, -1);
    }
    build_output(g, v);
    build_ready(g);
    Session *s = open_session(g, (SessionOptions){ .threads = 1 });
    Tensor x = noise(DIMS(1000), 1), y = run(s, &x);
    assert_true(session_activation_bytes(s) <= 2 * 4096);
    tensor_release(&x);
    tensor_release(&y);
    session_free(s);
    graph_free(g);
}

/* A graph output that is an input or a constant, twice. */
static void test_trivial_outputs(void **state)
{
    (void)state;
    Graph *g = build_new(17);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(3)), c = build_weight(g, "c", 4, DIMS(2));
    ValueId i = build_node(g, "Identity", "i", x, -1), k = build_node(g, "Neg", "k", c, -1);
    build_output(g, i);
    build_output(g, k);
    build_ready(g);
    Session *s = open_session(g, (SessionOptions){ .threads = 1 });
    Tensor in = noise(DIMS(3), 1), out[2];
    Err err;
    assert_ok(session_run(s, &in, out, &err), &err);
    for (int n = 0; n < 3; n++) assert_near(tensor_get(&out[0], n), tensor_get(&in, n), 0);
    assert_near(tensor_get(&out[1], 1), -build_noise(4, 1), 1e-6);
    assert_true(out[0].data != in.data);
    tensor_release(&in);
    tensor_release(&out[0]);
    tensor_release(&out[1]);
    session_free(s);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batches_and_plans),
        cmocka_unit_test(test_observe), cmocka_unit_test(test_observe_unordered),
        cmocka_unit_test(test_observer_stops_the_run),
        cmocka_unit_test(test_data_dependent_shapes),
        cmocka_unit_test(test_memory_of_weights),
        cmocka_unit_test(test_work_of_constants),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_unknown_operators_are_named),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_memory_is_reused),
        cmocka_unit_test(test_trivial_outputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
