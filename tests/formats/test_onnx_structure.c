/* What a file may hold besides tensors survives loading and saving: subgraphs, functions, unknown fields, IR 3 inputs, strings. */
#include "formats/messages.h"

/* Saves and loads; returns the bytes of the saved file. */
static Pb saved_bytes(Graph *g, const char *folder)
{
    char path[256];
    Pb out = { 0 };
    graph_free(assert_round_trip(g, folder));
    snprintf(path, sizeof path, "%s/again.onnx", folder);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    uint8_t block[4096];
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;) pb_raw(&out, block, n);
    fclose(f);
    return out;
}

static bool contains(const Pb *p, const void *what, size_t size)
{
    return memmem(p->data, p->size, what, size) != NULL;
}

static Graph *load_model(Pb m)
{
    Err err;
    Graph *g = NULL;
    assert_ok(load_bytes(&m, 0, &g, &err), &err);
    pb_free(&m);
    return g;
}

/* Saved bytes of a model must hold each of these texts. */
static void assert_kept(Pb model, const char *const *texts)
{
    char folder[64];
    folder_make(folder);
    Graph *g = load_model(model);
    Pb bytes = saved_bytes(g, folder);
    for (int i = 0; texts[i] != NULL; i++) {
        if (!contains(&bytes, texts[i], strlen(texts[i]))) fail_msg("'%s' is lost", texts[i]);
    }
    pb_free(&bytes);
    graph_free(g);
    folder_remove(folder);
}

static void put_pair(Pb *p, uint32_t field, const char *key, const char *value)
{
    Pb e = { 0 };
    pb_text(&e, 1, key);
    pb_text(&e, 2, value);
    pb_sub(p, field, e);
}

static void test_everything_beside_the_tables(void **state)
{
    (void)state;
    Pb node = pb_node("Relu", "relu", "x", NULL, "y"), g = { 0 }, m = { 0 }, opset = { 0 };
    pb_text(&node, 6, "doc of node");
    pb_text(&node, 8, "overload of node");
    put_pair(&node, 9, "node key", "node metadata");
    pb_text(&node, 77, "unknown of node");
    pb_sub(&g, 1, node);
    pb_text(&g, 2, "g");
    pb_text(&g, 10, "doc of graph");
    Pb x = pb_value("x", -1), w = pb_tensor("w", DT_FLOAT, 0, NULL, "\0\0\0\0", 4);
    pb_text(&x, 3, "doc of input");
    pb_sub(&g, 11, x);
    pb_text(&w, 12, "doc of tensor");
    pb_text(&w, 78, "unknown of tensor");
    pb_sub(&g, 5, w);
    pb_sub(&g, 12, pb_value("y", -1));
    pb_sub(&g, 13, pb_value("stale value", 3));
    Pb annotation = { 0 };
    pb_text(&annotation, 1, "y");
    put_pair(&annotation, 2, "SCALE_TENSOR", "scale of annotation");
    pb_sub(&g, 14, annotation);
    put_pair(&g, 16, "graph key", "graph metadata");
    pb_int(&m, 1, 10);
    pb_text(&m, 2, "producer");
    pb_text(&m, 3, "producer version");
    pb_text(&m, 4, "domain of model");
    pb_int(&m, 5, 123456789);
    pb_text(&m, 6, "doc of model");
    pb_sub(&m, 7, g);
    pb_text(&opset, 1, "ai.onnx");
    pb_int(&opset, 2, 13);
    pb_text(&opset, 79, "unknown of opset");
    pb_sub(&m, 8, opset);
    put_pair(&m, 14, "model key", "model metadata");
    Pb training = { 0 };
    put_pair(&training, 3, "training key", "training value");
    pb_sub(&m, 20, training);
    Pb function = { 0 }, body = pb_node("Neg", "inside", "a", NULL, "b");
    pb_text(&function, 1, "function name");
    pb_sub(&function, 7, body);
    pb_text(&function, 8, "doc of function");
    pb_sub(&m, 25, function);
    Pb device = { 0 };
    pb_text(&device, 3, "device of model");
    pb_sub(&m, 26, device);
    pb_text(&m, 500, "unknown of model");
    static const char *const texts[] = {
        "doc of node", "overload of node", "node key", "node metadata", "unknown of node", "doc of graph", "doc of input", "doc of tensor",
        "unknown of tensor", "stale value", "scale of annotation", "graph key", "graph metadata", "producer", "producer version",
        "domain of model", "doc of model", "ai.onnx", "unknown of opset", "model key", "model metadata", "training key", "training value",
        "function name", "inside", "doc of function", "device of model", "unknown of model", NULL,
    };
    assert_kept(m, texts);
}

/* Tensors in places that the tables do not model keep their numbers, in whatever field. */
static void test_tensors_beside_the_tables(void **state)
{
    (void)state;
    static const int64_t two[1] = { 2 }, four[1] = { 4 };
    Pb g = pb_small_graph(), sparse = { 0 };
    pb_sub(&sparse, 1, pb_tensor("sparse", DT_FLOAT, 1, two, "sparse!!", 8));
    Pb indices = pb_tensor(NULL, DT_INT64, 1, two, NULL, 0);
    pb_blob(&indices, 7, "\x01\x03", 2);
    pb_sub(&sparse, 2, indices);
    pb_int(&sparse, 3, 9);
    pb_sub(&g, 15, sparse);
    pb_sub(&g, 1, pb_node("Neg", "neg", "sparse", NULL, "z"));
    Pb strings = pb_tensor("strings", DT_STRING, 1, two, NULL, 0);
    pb_text(&strings, 6, "first string");
    pb_text(&strings, 6, "second string");
    pb_sub(&g, 5, strings);
    pb_sub(&g, 5, pb_tensor("six bits", (DType)27, 1, four, "abc", 3));
    Pb m = pb_model(g), function = { 0 }, node = pb_node("Constant", NULL, NULL, NULL, "c"), attr = { 0 };
    pb_text(&attr, 1, "value");
    pb_sub(&attr, 5, pb_tensor(NULL, DT_FLOAT, 1, two, "function", 8));
    pb_int(&attr, 20, ATTR_TENSOR);
    pb_sub(&node, 5, attr);
    pb_sub(&function, 7, node);
    pb_sub(&m, 25, function);
    static const char *const texts[] = {
        "sparse!!", "\x3a\x02\x01\x03", "first string", "second string", "\x4a\x03" "abc", "function", NULL,
    };
    assert_kept(m, texts);
}

/* If with a branch in a branch that reads a value of the main graph. */
static Pb nested_model(void)
{
    Pb inner = { 0 }, middle = { 0 }, g = { 0 };
    pb_sub(&inner, 1, pb_node("Add", "inner add", "x", "m", "i"));
    pb_text(&inner, 2, "inner");
    pb_sub(&inner, 12, pb_value("i", 3));
    Pb attr = { 0 }, node = pb_node("If", "inner if", "c", NULL, "o");
    pb_text(&attr, 1, "then_branch");
    pb_sub(&attr, 6, inner);
    pb_int(&attr, 20, ATTR_GRAPH);
    pb_sub(&node, 5, attr);
    pb_sub(&middle, 1, pb_node("Neg", "neg", "x", NULL, "m"));
    pb_sub(&middle, 1, node);
    pb_text(&middle, 2, "middle");
    pb_sub(&middle, 12, pb_value("o", 3));
    Pb outer_attr = { 0 }, outer = pb_node("If", "outer if", "c", NULL, "y");
    pb_text(&outer_attr, 1, "then_branch");
    pb_sub(&outer_attr, 6, middle);
    pb_int(&outer_attr, 20, ATTR_GRAPH);
    pb_sub(&outer, 5, outer_attr);
    pb_sub(&g, 1, outer);
    pb_sub(&g, 11, pb_value("x", -1));
    pb_sub(&g, 11, pb_value("c", 1));
    pb_sub(&g, 12, pb_value("y", 3));
    return pb_model(g);
}

static void test_captures(void **state)
{
    (void)state;
    char folder[64];
    folder_make(folder);
    Graph *g = load_model(nested_model());
    const Node *outer = graph_node(g, 1);
    assert_int_equal(outer->capture_count, 2); /* x, and c for the inner If */
    const Graph *middle = node_attr(outer, "then_branch")->graph;
    assert_ptr_equal(middle->parent, g);
    ValueId x = graph_find_value(middle, STR("x"));
    assert_true(graph_value(middle, x)->flags & VALUE_OUTER);
    assert_string_equal(graph_symbol_name(middle, graph_value(middle, x)->shape.dims[0]).data, "n");
    const Node *inner_if = graph_node(middle, 2);
    assert_int_equal(inner_if->capture_count, 2); /* x from outside, m of its own graph */
    const Graph *inner = node_attr(inner_if, "then_branch")->graph;
    assert_true(graph_value(inner, graph_find_value(inner, STR("m")))->flags & VALUE_OUTER);
    graph_free(assert_round_trip(g, folder));
    Graph *clone = NULL;
    Err err;
    assert_ok(graph_clone(g, &clone, &err), &err);
    graph_free(g);
    graph_free(assert_round_trip(clone, folder)); /* what a clone needs outlives the original */
    graph_free(clone);
    folder_remove(folder);
}

static void test_inputs_that_are_initializers(void **state)
{
    (void)state;
    char folder[64];
    folder_make(folder);
    static const float w[3] = { 1, 2, 3 };
    static const int64_t dims[1] = { 3 };
    Pb graph = { 0 }, m = { 0 }, opset = { 0 };
    pb_sub(&graph, 1, pb_node("Add", "add", "x", "w", "y"));
    pb_sub(&graph, 5, pb_tensor("w", DT_FLOAT, 1, dims, w, sizeof w));
    pb_sub(&graph, 11, pb_value("w", 3));
    pb_sub(&graph, 11, pb_value("x", 3));
    pb_sub(&graph, 12, pb_value("y", 3));
    pb_int(&m, 1, 3);
    pb_sub(&m, 7, graph);
    pb_int(&opset, 2, 7);
    pb_sub(&m, 8, opset);
    Graph *g = load_model(m);
    ValueId feed;
    assert_int_equal(g->input_count, 2);
    assert_int_equal(graph_feeds(g, &feed, 1), 1);
    assert_true(str_is(graph_value(g, feed)->name, "x"));
    assert_int_equal(graph_value(g, graph_find_value(g, STR("w")))->flags, VALUE_INPUT | VALUE_INITIALIZER | VALUE_TENSOR | VALUE_DECLARED);
    graph_free(assert_round_trip(g, folder));
    graph_free(g);
    folder_remove(folder);
}

typedef struct ConstantRow {
    const char *attribute;
    AttrType type;
    DType element;
    int rank;
    double first;
} ConstantRow;

static const ConstantRow constants[] = {
    { "value", ATTR_TENSOR, DT_FLOAT, 1, 0.5 },       { "value_float", ATTR_FLOAT, DT_FLOAT, 0, 0.5 },
    { "value_floats", ATTR_FLOATS, DT_FLOAT, 1, 0.5 }, { "value_int", ATTR_INT, DT_INT64, 0, 7 },
    { "value_ints", ATTR_INTS, DT_INT64, 1, 7 },      { "value_string", ATTR_STRING, DT_NONE, 0, 0 },
    { "value_strings", ATTR_STRINGS, DT_NONE, 0, 0 },
};

static void put_constant(Pb *attr, AttrType type)
{
    static const int64_t one[1] = { 1 };
    static const float half = 0.5f;
    switch (type) {
    case ATTR_TENSOR: pb_sub(attr, 5, pb_tensor("t", DT_FLOAT, 1, one, &half, 4)); break;
    case ATTR_FLOAT: case ATTR_FLOATS:
        pb_varint(attr, (type == ATTR_FLOAT ? 2 : 7) << 3 | WIRE_FIXED32);
        pb_raw(attr, &half, 4);
        break;
    case ATTR_INT: case ATTR_INTS: pb_int(attr, type == ATTR_INT ? 3 : 8, 7); break;
    default: pb_text(attr, type == ATTR_STRING ? 4 : 9, "text");
    }
}

static void test_constant_nodes(void **state)
{
    (void)state;
    char folder[64];
    folder_make(folder);
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        const ConstantRow *r = &constants[i];
        Pb graph = { 0 }, node = pb_node("Constant", NULL, NULL, NULL, "c"), attr = { 0 };
        pb_text(&attr, 1, r->attribute);
        put_constant(&attr, r->type);
        pb_int(&attr, 20, r->type);
        pb_sub(&node, 5, attr);
        pb_sub(&graph, 1, node);
        pb_sub(&graph, 12, pb_value("c", 1));
        Graph *g = load_model(pb_model(graph));
        const Tensor *t = graph_value(g, graph_find_value(g, STR("c")))->tensor;
        assert_int_equal(g->order_count, 1);
        if (r->element == DT_NONE) {
            assert_null(t);
        } else {
            assert_non_null(t);
            assert_int_equal(t->type, r->element);
            assert_int_equal(t->shape.rank, r->rank);
            assert_near(tensor_get(t, 0), r->first, 0);
        }
        graph_free(assert_round_trip(g, folder));
        graph_free(g);
    }
    folder_remove(folder);
}

/* Names are bytes: inner NULs and anything else stay, and stay apart. */
static void test_names_with_any_byte(void **state)
{
    (void)state;
    char folder[64];
    folder_make(folder);
    Pb graph = { 0 }, node = { 0 };
    pb_blob(&node, 1, "a\0b", 3);
    pb_blob(&node, 2, "a\0c", 3);
    pb_text(&node, 4, "Relu");
    pb_sub(&graph, 1, node);
    Pb x = { 0 }, y = { 0 };
    pb_blob(&x, 1, "a\0b", 3);
    pb_blob(&y, 1, "a\0c", 3);
    pb_sub(&graph, 11, x);
    pb_sub(&graph, 12, y);
    Graph *g = load_model(pb_model(graph));
    assert_int_not_equal(g->inputs[0], g->outputs[0]);
    Pb bytes = saved_bytes(g, folder);
    assert_true(contains(&bytes, "a\0b", 3) && contains(&bytes, "a\0c", 3));
    pb_free(&bytes);
    graph_free(g);
    folder_remove(folder);
}

/* A pass's edits come out: a new shape replaces the declared one, new constants and metadata are written, removed ones are not. */
static void test_edits_are_written(void **state)
{
    (void)state;
    char folder[64];
    Err err;
    folder_make(folder);
    Graph *g = load_model(pb_model(pb_small_graph()));
    Shape shape = shape_of(1, (const int64_t[]){ 2 });
    Tensor t;
    assert_ok(tensor_new(&t, DT_FLOAT, &shape, &err), &err);
    tensor_set(&t, 1, 5);
    ValueId w = graph_add_constant(g, STR("w"), &t), y = graph_find_value(g, STR("y"));
    assert_true(str_is(graph_value(g, w)->name, "w_2"));
    assert_ok(graph_set_input(g, 1, 1, w, &err), &err);
    assert_ok(graph_set_int(g, 1, "axis", -1, &err), &err);
    assert_ok(graph_set_metadata(g, "key", "new entry", &err), &err);
    assert_ok(graph_set_opset(g, STR(""), 17, &err), &err);
    graph_value(g, y)->shape = shape;
    int removed;
    graph_remove_dead(g, &removed);
    assert_int_equal(removed, 1);
    assert_ok(graph_finish(g, &err), &err);
    char path[128];
    Graph *again = NULL;
    snprintf(path, sizeof path, "%s/edited.onnx", folder);
    assert_ok(model_save(g, path, NULL, &err), &err);
    assert_ok(model_load(path, NULL, &again, &err), &err);
    assert_int_equal(graph_find_value(again, STR("w")), 0);
    assert_near(tensor_get(node_constant(again, graph_node(again, 1), 1), 1), 5, 0);
    assert_int_equal(graph_value(again, again->outputs[0])->shape.dims[0], 2);
    assert_int_equal(node_int(graph_node(again, 1), "axis", 0), -1);
    assert_int_equal(graph_opset(again, STR("")), 17);
    assert_true(str_is(again->metadata[0].value, "new entry"));
    graph_free(again);
    graph_free(g);
    folder_remove(folder);
}

/* A graph made from nothing. */
static void test_new_graph(void **state)
{
    (void)state;
    char folder[64];
    Err err;
    folder_make(folder);
    Graph *g = graph_new(NULL);
    assert_non_null(g);
    Shape shape = shape_of(2, (const int64_t[]){ 2, 2 });
    ValueId x = graph_add_value(g, STR("x"), DT_FLOAT, &shape), y = graph_add_value(g, STR("y"), DT_FLOAT, &shape);
    g->inputs = malloc(sizeof *g->inputs);
    g->outputs = malloc(sizeof *g->outputs);
    g->inputs[g->input_count++] = x;
    g->outputs[g->output_count++] = y;
    graph_value(g, x)->flags |= VALUE_INPUT | VALUE_DECLARED;
    graph_value(g, y)->flags |= VALUE_OUTPUT | VALUE_DECLARED;
    g->ir_version = 8;
    g->name = STR("new");
    NodeId n = graph_add_node(g, "Softmax", "", STR("soft"), &x, 1, &y, 1);
    assert_ok(graph_set_opset(g, STR(""), 13, &err), &err);
    assert_ok(graph_set_int(g, n, "axis", 1, &err), &err);
    assert_ok(graph_set_string(g, n, "text", STR("value"), &err), &err);
    assert_ok(graph_set_float(g, n, "f", 0.5f, &err), &err);
    assert_ok(graph_set_ints(g, n, "ints", (const int64_t[]){ 1, -2 }, 2, &err), &err);
    assert_ok(graph_finish(g, &err), &err);
    graph_free(assert_round_trip(g, folder));
    graph_free(g);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_beside_the_tables), cmocka_unit_test(test_tensors_beside_the_tables),
        cmocka_unit_test(test_captures),                     cmocka_unit_test(test_inputs_that_are_initializers),
        cmocka_unit_test(test_constant_nodes),               cmocka_unit_test(test_names_with_any_byte),
        cmocka_unit_test(test_edits_are_written),            cmocka_unit_test(test_new_graph),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
