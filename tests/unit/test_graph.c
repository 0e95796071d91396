#include "test.h"

#include "base/rng.h"
#include "graph/edit.h"
#include "graph/layer.h"
#include "graph/verify.h"

/* x -> Relu -> a -> Add(a, w) -> y */
typedef struct Small {
    Graph *g;
    ValueId x, w, a, y;
    NodeId relu, add;
} Small;

static Tensor floats(int64_t n, float value)
{
    Err err;
    Tensor t;
    assert_ok(tensor_new(&t, DT_FLOAT, &(Shape){ 1, { n } }, &err), &err);
    for (int64_t i = 0; i < n; i++) tensor_set(&t, i, value);
    return t;
}

static Small small_graph(void)
{
    Err err;
    Small s = { .g = graph_new(NULL) };
    Graph *g = s.g;
    assert_non_null(g);
    Shape shape = { 1, { 4 } };
    s.x = graph_add_value(g, STR("x"), DT_FLOAT, &shape);
    g->values[s.x].flags |= VALUE_INPUT;
    g->inputs = malloc(sizeof *g->inputs);
    g->inputs[0] = s.x;
    g->input_count = 1;
    Tensor t = floats(4, 2);
    s.w = graph_add_constant(g, STR("w"), &t);
    s.a = graph_add_value(g, STR("a"), DT_FLOAT, &shape);
    s.y = graph_add_value(g, STR("y"), DT_FLOAT, &shape);
    g->values[s.y].flags |= VALUE_OUTPUT;
    g->outputs = malloc(sizeof *g->outputs);
    g->outputs[0] = s.y;
    g->output_count = 1;
    s.add = graph_add_node(g, "Add", "", STR("add"), (ValueId[]){ s.a, s.w }, 2, &s.y, 1); /* on purpose before its producer */
    s.relu = graph_add_node(g, "Relu", "", STR("relu"), &s.x, 1, &s.a, 1);
    assert_ok(graph_set_opset(g, STR(""), 13, &err), &err);
    assert_ok(graph_finish(g, &err), &err);
    assert_ok(graph_verify(g, &err), &err);
    return s;
}

static void test_order_follows_producers(void **state)
{
    (void)state;
    Small s = small_graph();
    assert_int_equal(s.g->order_count, 2);
    assert_int_equal(s.g->order[0], s.relu);
    assert_int_equal(s.g->order[1], s.add);
    assert_int_equal(graph_find_value(s.g, STR("a")), s.a);
    assert_int_equal(graph_find_value(s.g, STR("nothing")), 0);
    assert_int_equal(graph_sole_reader(s.g, s.a), s.add);
    assert_int_equal(graph_sole_reader(s.g, s.y), 0);
    assert_int_equal(graph_readers(s.g, s.y), 1);
    graph_free(s.g);
}

static void test_cycles_are_named(void **state)
{
    (void)state;
    Err err;
    Small s = small_graph();
    assert_ok(graph_set_input(s.g, s.relu, 0, s.y, &err), &err);
    assert_status(graph_finish(s.g, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "is part of a cycle"));
    graph_free(s.g);
}

static void test_clone_shares_until_written(void **state)
{
    (void)state;
    Err err;
    Small s = small_graph();
    Graph *copy;
    assert_ok(graph_clone(s.g, &copy, &err), &err);
    assert_ptr_equal(copy->values[s.w].tensor->data, s.g->values[s.w].tensor->data);
    assert_int_equal(s.g->values[s.w].tensor->buffer->refs, 2);
    Tensor *w;
    assert_ok(tensor_make_writable(copy, s.w, &w, &err), &err);
    tensor_set(w, 0, 7);
    assert_near(tensor_get(s.g->values[s.w].tensor, 0), 2, 0);
    assert_near(tensor_get(copy->values[s.w].tensor, 0), 7, 0);
    assert_int_equal(s.g->values[s.w].tensor->buffer->refs, 1);
    const uint8_t *data = w->data;
    assert_ok(tensor_make_writable(copy, s.w, &w, &err), &err); /* its own already: no second copy */
    assert_ptr_equal(w->data, data);
    assert_ok(graph_set_int(copy, s.relu, "k", 3, &err), &err);
    assert_int_equal(node_int(graph_node(s.g, s.relu), "k", -1), -1);
    assert_int_equal(node_int(graph_node(copy, s.relu), "k", -1), 3);
    graph_free(s.g);
    assert_ok(graph_verify(copy, &err), &err);
    graph_free(copy);
}

static void test_names_stay_unique(void **state)
{
    (void)state;
    Small s = small_graph();
    ValueId v = graph_add_value(s.g, STR("a"), DT_FLOAT, NULL);
    assert_string_equal(s.g->values[v].name.data, "a_2");
    for (int i = 0; i < 500; i++) assert_int_not_equal(graph_add_value(s.g, STR("a"), DT_FLOAT, NULL), 0);
    assert_int_equal(graph_find_value(s.g, STR("a")), s.a);
    assert_int_equal(graph_find_value(s.g, STR("a_2")), v);
    graph_free(s.g);
}

/* Runtimes refuse two nodes of a name: the later one gets another, unless a file brought it so. */
static void test_node_names_come_apart(void **state)
{
    (void)state;
    Err err;
    static const char *const names[] = { "relu", "relu_2", "relu", "", "", "relu", "relu_2" };
    static const char *const apart[] = { "relu_3", "relu_2", "relu_4", "", "", "relu", "relu_2_2" };
    Small s = small_graph();
    NodeId nodes[7];
    for (int i = 0; i < 7; i++) {
        ValueId v = graph_add_value(s.g, STR("more"), DT_FLOAT, NULL);
        nodes[i] = graph_add_node(s.g, "Neg", "", str_of(names[i]), &s.x, 1, &v, 1);
        assert_true(nodes[i] != 0);
    }
    graph_node(s.g, nodes[5])->origin = &s; /* as from a file */
    assert_ok(graph_node_names_apart(s.g, &err), &err);
    for (int i = 0; i < 7; i++)
        if (!str_is(graph_node(s.g, nodes[i])->name, apart[i])) fail_msg("%d: %.*s", i, STR_ARG(graph_node(s.g, nodes[i])->name));
    assert_true(str_is(graph_node(s.g, s.relu)->name, "relu"));
    assert_ok(graph_node_names_apart(s.g, &err), &err); /* and stays so */
    assert_true(str_is(graph_node(s.g, nodes[6])->name, "relu_2_2"));
    graph_free(s.g);
}

/* Bypassing a node that feeds a graph output keeps the output's name. */
static void test_replacing_an_output_keeps_its_name(void **state)
{
    (void)state;
    Err err;
    Small s = small_graph();
    assert_ok(graph_replace_value(s.g, s.y, s.a, &err), &err);
    assert_int_equal(graph_remove_dead(s.g, NULL), 1);
    assert_ok(graph_finish(s.g, &err), &err);
    assert_ok(graph_verify(s.g, &err), &err);
    assert_int_equal(s.g->outputs[0], s.a);
    assert_string_equal(s.g->values[s.a].name.data, "y");
    assert_int_equal(graph_find_value(s.g, STR("y")), s.a);
    assert_null(s.g->values[s.w].tensor); /* nobody reads w any more */
    graph_free(s.g);
}

static void test_dead_nodes_go(void **state)
{
    (void)state;
    Err err;
    Small s = small_graph();
    ValueId dead = graph_add_value(s.g, STR("dead"), DT_FLOAT, NULL);
    Tensor t = floats(2, 1);
    ValueId unread = graph_add_constant(s.g, STR("unread"), &t);
    assert_int_not_equal(graph_add_node(s.g, "Relu", "", STR("useless"), &s.a, 1, &dead, 1), 0);
    int constants;
    assert_int_equal(graph_remove_dead(s.g, &constants), 1);
    assert_int_equal(constants, 1);
    assert_false(s.g->values[unread].flags & VALUE_INITIALIZER);
    assert_ok(graph_finish(s.g, &err), &err);
    assert_ok(graph_verify(s.g, &err), &err);
    assert_int_equal(graph_remove_dead(s.g, &constants), 0);
    assert_int_equal(constants, 0);
    graph_free(s.g);
}

static void break_double_output(Small *s) { s->g->nodes[s->relu].outputs = s->g->nodes[s->add].outputs; }
static void break_opset(Small *s) { s->g->opset_count = 0; }
static void break_bytes(Small *s) { s->g->values[s->w].tensor->bytes--; }
static void break_producer(Small *s)
{
    graph_remove_node(s->g, s->relu);
    Err err;
    assert_ok(graph_finish(s->g, &err), &err);
}

static void test_verify_names_the_object(void **state)
{
    (void)state;
    const struct { void (*damage)(Small *); const char *words; } rows[] = {
        { break_double_output, "output 'y'" }, { break_opset, "imports no opset" }, { break_bytes, "tensor 'w': 15 bytes, expected 16" },
        { break_producer, "makes its input 'a'" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Err err = { 0 };
        Small s = small_graph();
        rows[i].damage(&s);
        assert_int_not_equal(graph_verify(s.g, &err), OK);
        if (strstr(err.text, rows[i].words) == NULL && i > 0) fail_msg("'%s' does not say '%s'", err.text, rows[i].words);
        graph_free(s.g);
    }
}

static void test_symbols_print(void **state)
{
    (void)state;
    Small s = small_graph();
    Shape shape = { 3, { graph_symbol(s.g, STR("N")), 3, DIM_UNKNOWN } };
    assert_int_equal(graph_symbol(s.g, STR("N")), shape.dims[0]);
    char text[64];
    graph_print_shape(s.g, &shape, text, sizeof text);
    assert_string_equal(text, "[N,3,?]");
    int64_t count;
    assert_false(shape_count(&shape, &count));
    assert_false(shape_count(&(Shape){ 3, { INT64_MAX, 2, 3 } }, &count));
    assert_true(shape_count(&(Shape){ 3, { INT64_MAX, 0, 3 } }, &count));
    assert_int_equal(count, 0);
    graph_free(s.g);
}

/* Every numeric type stores and returns what it can represent, packed types included. */
static void test_elements_of_every_type(void **state)
{
    (void)state;
    const struct { DType type; double values[6]; } rows[] = {
        { DT_FLOAT, { 0, -1.5, 0x1p100, 0.25, -0.0, 7 } },   { DT_DOUBLE, { 1e300, -1e-300, 3, 4, 5, 6 } },
        { DT_FLOAT16, { 0, 1, -2.5, 65504, 0x1p-24, 8 } }, { DT_BFLOAT16, { 0, 1, -2.5, 0x1p100, 3, 8 } },
        { DT_INT8, { -128, 127, 0, 5, -5, 1 } },           { DT_UINT8, { 0, 255, 128, 5, 7, 1 } },
        { DT_INT16, { -32768, 32767, 0, 1, 2, 3 } },       { DT_UINT16, { 0, 65535, 1, 2, 3, 4 } },
        { DT_INT32, { -2147483648.0, 2147483647, 0, 1, 2, 3 } }, { DT_UINT32, { 0, 4294967295.0, 1, 2, 3, 4 } },
        { DT_INT64, { -9007199254740992.0, 9007199254740992.0, 0, 1, 2, 3 } }, { DT_UINT64, { 0, 9007199254740992.0, 1, 2, 3, 4 } },
        { DT_BOOL, { 0, 1, 1, 0, 1, 0 } },                 { DT_INT4, { -8, 7, 0, -1, 3, -4 } },
        { DT_UINT4, { 0, 15, 8, 1, 3, 4 } },               { DT_INT2, { -2, 1, 0, -1, 1, -2 } },
        { DT_UINT2, { 0, 3, 2, 1, 3, 0 } },                { DT_FLOAT8E4M3FN, { 0, 448, -0.015625, 1, -2, 0x1p-9 } },
        { DT_FLOAT8E5M2, { 0, 57344, -0.25, 1, -2, 0x1p-16 } }, { DT_FLOAT8E4M3FNUZ, { 0, 240, -0.25, 1, -2, 0x1p-10 } },
        { DT_FLOAT8E5M2FNUZ, { 0, 57344, -0.25, 1, -2, 0x1p-17 } }, { DT_FLOAT4E2M1, { 0, 0.5, -1.5, 6, -3, 4 } },
        { DT_FLOAT8E8M0, { 1, 2, 0.5, 0x1p127, 0x1p-127, 4 } },
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        Err err;
        Tensor t, copy;
        assert_ok(tensor_new(&t, rows[r].type, &(Shape){ 1, { 6 } }, &err), &err);
        for (int i = 0; i < 6; i++) tensor_set(&t, i, rows[r].values[i]);
        for (int i = 0; i < 6; i++) {
            if (tensor_get(&t, i) != rows[r].values[i])
                fail_msg("%s: %.17g came back as %.17g", dtype_name(rows[r].type), rows[r].values[i], tensor_get(&t, i));
        }
        assert_ok(tensor_convert(&t, DT_DOUBLE, &copy, &err), &err);
        for (int i = 0; i < 6; i++) assert_near(tensor_get(&copy, i), rows[r].values[i], 0);
        tensor_release(&copy);
        tensor_release(&t);
    }
}

static void test_integers_saturate_and_round_to_even(void **state)
{
    (void)state;
    Err err;
    Tensor t;
    assert_ok(tensor_new(&t, DT_INT8, &(Shape){ 1, { 5 } }, &err), &err);
    const double in[] = { 300, -300, 2.5, 3.5, NAN }, out[] = { 127, -128, 2, 4, 0 };
    for (int i = 0; i < 5; i++) tensor_set(&t, i, in[i]);
    for (int i = 0; i < 5; i++) assert_near(tensor_get(&t, i), out[i], 0);
    assert_int_equal(tensor_nonzeros(&t), 4);
    tensor_release(&t);
    const struct { DType type; double largest; } floats8[] = {
        { DT_FLOAT8E4M3FN, 448 }, { DT_FLOAT8E5M2, 57344 }, { DT_FLOAT8E4M3FNUZ, 240 }, { DT_FLOAT8E5M2FNUZ, 57344 }, { DT_FLOAT4E2M1, 6 },
    };
    for (size_t r = 0; r < sizeof floats8 / sizeof *floats8; r++) {
        assert_ok(tensor_new(&t, floats8[r].type, &(Shape){ 1, { 3 } }, &err), &err);
        tensor_set(&t, 0, 1e300);
        tensor_set(&t, 1, -INFINITY);
        tensor_set(&t, 2, 1e9);
        assert_near(tensor_get(&t, 0), floats8[r].largest, 0);
        assert_near(tensor_get(&t, 1), -floats8[r].largest, 0);
        assert_near(tensor_get(&t, 2), floats8[r].largest, 0);
        tensor_release(&t);
    }
    size_t bytes;
    assert_true(dtype_bytes(DT_INT4, 3, &bytes));
    assert_int_equal(bytes, 2);
    assert_true(dtype_bytes(DT_INT2, 5, &bytes));
    assert_int_equal(bytes, 2);
    assert_false(dtype_bytes(DT_DOUBLE, INT64_MAX, &bytes));
}

static void test_misaligned_tensors_read_and_align(void **state)
{
    (void)state;
    Err err;
    Buffer *b = buffer_new(17);
    float values[4] = { 1, 2, 3, 4 }, out[4];
    memcpy(b->data + 1, values, 16);
    Tensor t = { DT_FLOAT, { 1, { 4 } }, b, b->data + 1, 16 };
    assert_near(tensor_get(&t, 3), 4, 0);
    tensor_read_floats(&t, 1, 3, out);
    assert_near(out[2], 4, 0);
    assert_ok(tensor_align(&t, &err), &err);
    assert_int_equal((uintptr_t)t.data % 4, 0);
    assert_near(((float *)(void *)t.data)[0], 1, 0);
    tensor_release(&t);
}

/* Random edits on random graphs: every one that finishes must verify, and the order must stay topological. */
static void test_random_edits_keep_the_tables_right(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        Err err;
        Rng rng;
        rng_init(&rng, seed);
        Small s = small_graph();
        Graph *g = s.g;
        for (int step = 0; step < 60; step++) {
            ValueId from = 1 + (ValueId)rng_below(&rng, g->value_count);
            bool live = g->values[from].producer != 0 || (g->values[from].flags & (VALUE_INPUT | VALUE_INITIALIZER)) != 0;
            if (!live || from == s.y) continue;
            ValueId out = graph_add_value(g, STR("t"), DT_FLOAT, NULL);
            NodeId made = graph_add_node(g, "Relu", "", STR(""), &from, 1, &out, 1);
            assert_int_not_equal(made, 0);
            if (rng_below(&rng, 3) == 0) { /* put it on the edge to the output */
                assert_ok(graph_set_input(g, s.add, (int)rng_below(&rng, 2), out, &err), &err);
            }
            if (rng_below(&rng, 4) == 0) graph_remove_dead(g, NULL);
            if (graph_finish(g, &err) != OK) fail_msg("seed %llu: %s", (unsigned long long)seed, err.text);
            assert_ok(graph_verify(g, &err), &err);
            Graph *copy;
            assert_ok(graph_clone(g, &copy, &err), &err);
            graph_free(g);
            g = copy;
        }
        graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_follows_producers),          cmocka_unit_test(test_cycles_are_named),
        cmocka_unit_test(test_clone_shares_until_written),       cmocka_unit_test(test_names_stay_unique),
        cmocka_unit_test(test_node_names_come_apart),
        cmocka_unit_test(test_replacing_an_output_keeps_its_name), cmocka_unit_test(test_dead_nodes_go),
        cmocka_unit_test(test_verify_names_the_object),          cmocka_unit_test(test_symbols_print),
        cmocka_unit_test(test_elements_of_every_type),           cmocka_unit_test(test_integers_saturate_and_round_to_even),
        cmocka_unit_test(test_misaligned_tensors_read_and_align), cmocka_unit_test(test_random_edits_keep_the_tables_right),
    };
    return cmocka_run_group_tests_name("graph", tests, NULL, NULL);
}
