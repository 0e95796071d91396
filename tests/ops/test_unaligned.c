/* Constants that lie at odd addresses, as those of a file do: the same bytes as with aligned ones, and no copy where none is read. */
#include "test.h"

#include "build_graph.h"

static const double indices[] = { 3, 0, 299, 7 };

static ValueId conv(Graph *g, const char *op, const char *name, ValueId x, ValueId w, int64_t groups)
{
    Err err;
    ValueId y = build_node(g, op, name, x, w, -1);
    assert_ok(graph_set_int(g, build_maker(g, y), "group", groups, &err), &err);
    return y;
}

static ValueId product(Graph *g)
{
    return build_node(g, "MatMul", "y", build_input(g, "x", DT_FLOAT, DIMS(7, 72)), build_weight(g, "w", 1, DIMS(72, 160)), -1);
}

static ValueId wide_product(Graph *g)
{
    return build_node(g, "MatMul", "y", build_input(g, "x", DT_FLOAT, DIMS(3, 520)), build_weight(g, "w", 1, DIMS(520, 1000)), -1);
}

static ValueId odd_product(Graph *g)
{
    ValueId biases = build_weight(g, "b", 2, DIMS(1, 1037)), x = build_input(g, "x", DT_FLOAT, DIMS(2, 41));
    ValueId y = build_node(g, "MatMul", "m", x, build_weight(g, "w", 1, DIMS(41, 1037)), -1);
    return build_node(g, "Add", "y", y, biases, -1);
}

static ValueId turned_product(Graph *g)
{
    Err err;
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(5, 48)), w = build_weight(g, "w", 1, DIMS(56, 48));
    ValueId b = build_weight(g, "b", 2, DIMS(56));
    ValueId y = build_node(g, "Gemm", "y", x, w, b, -1);
    assert_ok(graph_set_int(g, build_maker(g, y), "transB", 1, &err), &err);
    return y;
}

/* Packed, and read as it is. */
static ValueId twice(Graph *g)
{
    ValueId w = build_weight(g, "w", 1, DIMS(48, 48)), m = build_node(g, "MatMul", "m", build_input(g, "x", DT_FLOAT, DIMS(48, 48)), w, -1);
    return build_node(g, "Add", "y", m, w, -1);
}

static ValueId pointwise(Graph *g)
{
    return conv(g, "Conv", "y", build_input(g, "x", DT_FLOAT, DIMS(1, 40, 9, 9)), build_weight(g, "w", 1, DIMS(48, 40, 1, 1)), 1);
}

static ValueId window(Graph *g)
{
    return conv(g, "Conv", "y", build_input(g, "x", DT_FLOAT, DIMS(1, 32, 9, 9)), build_weight(g, "w", 1, DIMS(80, 32, 3, 3)), 1);
}

static ValueId odd_window(Graph *g)
{
    return conv(g, "Conv", "y", build_input(g, "x", DT_FLOAT, DIMS(1, 19, 9, 9)), build_weight(g, "w", 1, DIMS(21, 19, 3, 3)), 1);
}

static ValueId groups(Graph *g)
{
    return conv(g, "Conv", "y", build_input(g, "x", DT_FLOAT, DIMS(1, 64, 9, 9)), build_weight(g, "w", 1, DIMS(48, 32, 3, 3)), 2);
}

static ValueId depthwise(Graph *g)
{
    return conv(g, "Conv", "y", build_input(g, "x", DT_FLOAT, DIMS(1, 160, 9, 9)), build_weight(g, "w", 1, DIMS(160, 1, 3, 3)), 160);
}

static ValueId transposed(Graph *g)
{
    return conv(g, "ConvTranspose", "y", build_input(g, "x", DT_FLOAT, DIMS(1, 32, 5, 5)), build_weight(g, "w", 1, DIMS(32, 24, 3, 3)), 1);
}

static ValueId line(Graph *g)
{
    return conv(g, "Conv", "y", build_input(g, "x", DT_FLOAT, DIMS(2, 32, 30)), build_weight(g, "w", 1, DIMS(40, 32, 5)), 1);
}

static ValueId normalised(Graph *g)
{
    ValueId y = window(g), variance = build_node(g, "Mul", "v", build_weight(g, "s", 2, DIMS(80)), build_weight(g, "s2", 2, DIMS(80)), -1);
    return build_node(g, "BatchNormalization", "z", y, build_weight(g, "k", 3, DIMS(80)), build_weight(g, "t", 4, DIMS(80)),
                      build_weight(g, "m", 5, DIMS(80)), variance, -1);
}

static ValueId table_rows(Graph *g)
{
    ValueId at = build_constant(g, "at", DT_INT64, indices, DIMS(4)), x = build_input(g, "x", DT_FLOAT, DIMS(4, 16));
    return build_node(g, "Add", "y", x, build_node(g, "Gather", "r", build_weight(g, "w", 1, DIMS(300, 16)), at, -1), -1);
}

/* Rows of a table at places that are fed. */
static ValueId fed_rows(Graph *g)
{
    return build_node(g, "Gather", "y", build_weight(g, "w", 1, DIMS(300, 16)), build_input(g, "x", DT_INT64, DIMS(2, 5)), -1);
}

static ValueId fed_entries(Graph *g)
{
    Err err;
    ValueId y = build_node(g, "Gather", "y", build_weight(g, "w", 1, DIMS(16, 300)), build_input(g, "x", DT_INT64, DIMS(5)), -1);
    assert_ok(graph_set_int(g, build_maker(g, y), "axis", 1, &err), &err);
    return y;
}

static ValueId recurrent(Graph *g)
{
    Err err;
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(4, 2, 24)), w = build_weight(g, "w", 1, DIMS(1, 128, 24));
    ValueId y = build_node(g, "LSTM", "y", x, w, build_weight(g, "r", 2, DIMS(1, 128, 32)), build_weight(g, "b", 3, DIMS(1, 256)), -1);
    assert_ok(graph_set_int(g, build_maker(g, y), "hidden_size", 32, &err), &err);
    return y;
}

static ValueId added(Graph *g)
{
    return build_node(g, "Add", "y", build_input(g, "x", DT_FLOAT, DIMS(40, 40)), build_weight(g, "w", 1, DIMS(40, 40)), -1);
}

static ValueId handed_on(Graph *g)
{
    build_input(g, "x", DT_FLOAT, DIMS(1));
    return build_node(g, "Identity", "y", build_weight(g, "w", 1, DIMS(400, 400)), -1);
}

static const struct {
    const char *name;
    ValueId (*make)(Graph *g);
} rows[] = {
    { "product", product }, { "wide product", wide_product }, { "odd product", odd_product }, { "turned product", turned_product },
    { "twice", twice }, { "pointwise", pointwise }, { "window", window }, { "odd window", odd_window }, { "groups", groups },
    { "depthwise", depthwise }, { "transposed", transposed }, { "line", line }, { "normalised", normalised }, { "table rows", table_rows },
    { "fed rows", fed_rows }, { "fed entries", fed_entries }, { "recurrent", recurrent }, { "added", added }, { "handed on", handed_on },
};

/* Every constant one byte further on. */
static void shift(Graph *g)
{
    for (ValueId v = 1; v <= g->value_count; v++) {
        Tensor *t = graph_value(g, v)->tensor;
        if (t == NULL) continue;
        Buffer *b = buffer_new(t->bytes + 1);
        assert_non_null(b);
        memcpy(b->data + 1, t->data, t->bytes);
        buffer_unref(t->buffer);
        t->buffer = b;
        t->data = b->data + 1;
    }
}

static Graph *make(size_t row, bool shifted)
{
    Graph *g = build_new(17);
    build_output(g, rows[row].make(g));
    build_ready(g);
    if (shifted) shift(g);
    return g;
}

static Tensor run(const Graph *g, SessionOptions options)
{
    Err err;
    ValueId feed;
    Tensor x, y = { 0 };
    assert_int_equal(graph_feeds(g, &feed, 1), 1);
    const Value *v = graph_value(g, feed);
    assert_ok(tensor_new(&x, v->type, &v->shape, &err), &err);
    for (int64_t k = 0; k < tensor_count(&x); k++) tensor_set(&x, k, v->type == DT_FLOAT ? build_noise(77, k) : (double)(k * 31));
    Session *session;
    assert_ok(session_new(g, &options, &session, &err), &err);
    assert_ok(session_run(session, &x, &y, &err), &err);
    session_free(session);
    tensor_release(&x);
    return y;
}

static void test_same_bytes(void **state)
{
    (void)state;
    static const SessionOptions options[] = { { .threads = 1 }, { .threads = 2 }, { .threads = 1, .plain = true } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t k = 0; k < sizeof options / sizeof *options; k++) {
            Graph *aligned = make(i, false), *shifted = make(i, true);
            Tensor expected = run(aligned, options[k]), found = run(shifted, options[k]);
            if (expected.bytes != found.bytes || memcmp(expected.data, found.data, found.bytes) != 0) fail_msg("%s, %zu", rows[i].name, k);
            tensor_release(&expected);
            tensor_release(&found);
            graph_free(aligned);
            graph_free(shifted);
        }
}

/* With half the memory that a copy would take. */
static void test_no_copy(void **state)
{
    (void)state;
    Graph *g = build_new(17);
    build_output(g, build_node(g, "Gather", "y", build_weight(g, "w", 1, DIMS(30000, 64)), build_input(g, "x", DT_INT64, DIMS(900)), -1));
    build_ready(g);
    shift(g);
    Tensor y = run(g, (SessionOptions){ .threads = 1, .max_mem = 3840000 });
    for (int64_t k = 0; k < tensor_count(&y); k++) assert_near(tensor_get(&y, k), build_noise(1, k / 64 * 31 * 64 + k % 64), 1e-7);
    tensor_release(&y);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_no_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
