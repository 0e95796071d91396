/* Slice and Pad of what a convolution leaves in blocks of channels, and nodes that hand their operand on: the plain forward's elements,
 * and the kernel where one is meant to be taken. */
#include "test.h"

#include "build_graph.h"
#include "engine/dnnl_glue.h"

typedef struct Row {
    const char *name, *op;
    int64_t lists[4][4]; /* Slice: starts, ends, axes, steps; Pad: before, behind */
    int count;           /* of entries; 0: axes and steps left out */
    double value;
    const char *kernel;
} Row;

#define END INT64_MAX

static const Row rows[] = {
    { "every second row and column", "Slice", { { 0, 0 }, { END, END }, { 2, 3 }, { 2, 2 } }, 2, 0, "blocks" },
    { "columns from the end", "Slice", { { -5 }, { -1 }, { -1 }, { 3 } }, 1, 0, "blocks" },
    { "a start before the first", "Slice", { { -100 }, { 100 }, { 2 }, { 1 } }, 1, 0, "blocks" },
    { "a block of channels", "Slice", { { 8 }, { 16 }, { 1 }, { 1 } }, 1, 0, "blocks" },
    { "all axes by place", "Slice", { { 0, 8, 1, 2 }, { END, 24, END, 7 } }, 0, 0, "blocks" },
    { "half a block", "Slice", { { 4 }, { 12 }, { 1 }, { 1 } }, 1, 0, "plain" },
    { "a sample", "Slice", { { 1 }, { 2 }, { 0 }, { 1 } }, 1, 0, "plain" },
    { "backwards", "Slice", { { -1 }, { INT64_MIN }, { 3 }, { -1 } }, 1, 0, "plain" },
    { "channels around", "Pad", { { 0, 8, 0, 0 }, { 0, 16, 0, 0 } }, 4, 0, "blocks" },
    { "pixels and channels around", "Pad", { { 0, 0, 2, 1 }, { 0, 8, 0, 3 } }, 4, 0, "blocks" },
    { "a value around", "Pad", { { 0, 0, 1, 1 }, { 0, 0, 1, 1 } }, 4, -1.5, "blocks" },
    { "cut off", "Pad", { { 0, -8, -1, 0 }, { 0, 0, 2, -4 } }, 4, 0, "blocks" },
    { "odd channels around", "Pad", { { 0, 3, 0, 0 }, { 0, 0, 0, 0 } }, 4, 0, "plain" },
    { "samples around", "Pad", { { 1, 0, 0, 0 }, { 0, 0, 0, 0 } }, 4, 0, "plain" },
    { "nothing around", "Pad", { { 0, 0, 0, 0 }, { 0, 0, 0, 0 } }, 4, 0, "view" },
    { "handed on", "Identity", { { 0 } }, 0, 0, "view" },
};

static ValueId list(Graph *g, const char *name, const int64_t *entries, int count)
{
    Tensor t;
    Err err;
    assert_ok(tensor_new(&t, DT_INT64, &(Shape){ .rank = 1, .dims = { count } }, &err), &err);
    memcpy(t.data, entries, (size_t)count * sizeof *entries);
    ValueId v = graph_add_constant(g, str_of(name), &t);
    assert_true(v != 0);
    return v;
}

static Graph *make(const Row *r)
{
    Graph *g = build_new(17);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(2, 16, 9, 10)), y;
    Err err;
    ValueId in = build_node(g, "Conv", "in", x, build_weight(g, "w", 3, DIMS(32, 16, 3, 3)), -1);
    assert_ok(graph_set_ints(g, build_maker(g, in), "pads", (int64_t[]){ 1, 1, 1, 1 }, 4, &err), &err);
    if (strcmp(r->op, "Slice") == 0) {
        int count = r->count > 0 ? r->count : 4;
        ValueId starts = list(g, "starts", r->lists[0], count), ends = list(g, "ends", r->lists[1], count);
        if (r->count == 0) y = build_node(g, "Slice", "y", in, starts, ends, -1);
        else y = build_node(g, "Slice", "y", in, starts, ends, list(g, "axes", r->lists[2], count), list(g, "steps", r->lists[3], count),
                            -1);
    } else if (strcmp(r->op, "Pad") == 0) {
        int64_t pads[8];
        memcpy(pads, r->lists[0], sizeof r->lists[0]);
        memcpy(pads + 4, r->lists[1], sizeof r->lists[1]);
        ValueId around = list(g, "pads", pads, 8);
        y = r->value == 0 ? build_node(g, "Pad", "y", in, around, -1)
                          : build_node(g, "Pad", "y", in, around, build_constant(g, "value", DT_FLOAT, &r->value, NULL, 0), -1);
    } else {
        y = build_node(g, r->op, "y", in, -1);
    }
    build_output(g, build_node(g, "Relu", "z", y, -1));
    build_ready(g);
    return g;
}

typedef struct Seen {
    const char *op, *kernel;
} Seen;

static void look(void *user, const StepTrace *step)
{
    Seen *seen = user;
    if (step->node != 0 && str_is(graph_node(step->graph, step->node)->type, seen->op)) seen->kernel = step->kernel;
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Graph *g = make(&rows[i]);
        Tensor plain = build_run(g, 1, 1, true), fast = build_run(g, 1, 1, false), x, y;
        assert_true(shape_eq(&plain.shape, &fast.shape));
        double distance = build_distance(&fast, &plain);
        if (!(distance <= 1e-6)) fail_msg("%s '%s': %g from the plain forward", rows[i].op, rows[i].name, distance);
        Session *s;
        Err err;
        Seen seen = { rows[i].op, "" };
        assert_ok(tensor_new(&x, DT_FLOAT, &graph_value(g, g->inputs[0])->shape, &err), &err);
        memset(x.data, 0, x.bytes);
        assert_ok(session_new(g, &(SessionOptions){ .threads = 1 }, &s, &err), &err);
        session_trace(s, look, &seen);
        assert_ok(session_run(s, &x, &y, &err), &err);
        bool sure = device_is_avx2() || strcmp(rows[i].kernel, "blocks") != 0; /* else the library's order is its own choice */
        if (sure && strcmp(seen.kernel, rows[i].kernel) != 0)
            fail_msg("%s '%s': by '%s', expected '%s'", rows[i].op, rows[i].name, seen.kernel, rows[i].kernel);
        session_free(s);
        tensor_release(&x);
        tensor_release(&y);
        tensor_release(&plain);
        tensor_release(&fast);
        graph_free(g);
    }
}

/* A shortcut that the order of nodes makes later than the convolution before the addition is made first, so that it is computed along. */
static void test_late_shortcut(void **state)
{
    (void)state;
    Graph *g = build_new(17);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(2, 16, 9, 10));
    ValueId a = build_node(g, "Conv", "a", x, build_weight(g, "w", 3, DIMS(24, 16, 1, 1)), -1);
    ValueId b = build_node(g, "Conv", "b", x, build_weight(g, "v", 4, DIMS(24, 16, 1, 1)), -1);
    ValueId c = build_node(g, "Sigmoid", "c", b, -1);
    build_output(g, build_node(g, "Relu", "z", build_node(g, "Add", "y", a, c, -1), -1));
    build_ready(g);
    Tensor plain = build_run(g, 1, 1, true), fast = build_run(g, 1, 1, false), in, y;
    assert_true(build_distance(&fast, &plain) <= 1e-6);
    Session *s;
    Err err;
    Seen seen = { "Add", "" };
    assert_ok(tensor_new(&in, DT_FLOAT, &graph_value(g, g->inputs[0])->shape, &err), &err);
    memset(in.data, 0, in.bytes);
    assert_ok(session_new(g, &(SessionOptions){ .threads = 1 }, &s, &err), &err);
    session_trace(s, look, &seen);
    assert_ok(session_run(s, &in, &y, &err), &err);
    assert_string_equal(seen.kernel, ""); /* no step of its own */
    session_free(s);
    tensor_release(&in);
    tensor_release(&y);
    tensor_release(&plain);
    tensor_release(&fast);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows), cmocka_unit_test(test_late_shortcut) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
