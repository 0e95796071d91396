/* Shape inference over whole graphs: symbols, shape arithmetic, contradictions, concrete shapes, evaluation of constants. */
#include "test.h"

#include "build_graph.h"
#include "graph/format.h"

#define INTS(...) (const double[]){ __VA_ARGS__ }

static void expect_shape(const Graph *g, ValueId v, const char *expected)
{
    char text[128];
    graph_print_shape(g, &graph_value(g, v)->shape, text, sizeof text);
    assert_string_equal(text, expected);
}

/* A graph with one float input x whose first axis is N. */
static Graph *new_graph(int64_t opset, const int64_t *dims, int rank, ValueId *x)
{
    Graph *g = build_new(opset);
    int64_t own[MAX_RANK];
    for (int d = 0; d < rank; d++) own[d] = dims[d];
    own[0] = graph_symbol(g, STR("N"));
    *x = build_input(g, "x", DT_FLOAT, own, rank);
    return g;
}

static ValueId ints(Graph *g, const char *name, int count, const double *values)
{
    const int64_t dims[1] = { count };
    return build_constant(g, name, DT_INT64, values, dims, 1);
}

static ValueId scalar(Graph *g, const char *name, double value)
{
    return build_constant(g, name, DT_INT64, &value, NULL, 0);
}

/* What exporters write for x.view(x.shape[0], -1). */
static void test_flatten_by_shape(void **state)
{
    (void)state;
    ValueId x;
    Graph *g = new_graph(13, DIMS(0, 64, 1, 1), &x);
    ValueId shape = build_node(g, "Shape", "shape", x, -1);
    ValueId n = build_node(g, "Gather", "n", shape, scalar(g, "zero", 0), -1);
    ValueId row = build_node(g, "Unsqueeze", "row", n, ints(g, "axes", 1, INTS(0)), -1);
    ValueId target = build_node(g, "Concat", "target", row, ints(g, "minus", 1, INTS(-1)), -1);
    Err err;
    assert_ok(graph_set_int(g, build_maker(g, target), "axis", 0, &err), &err);
    ValueId y = build_node(g, "Reshape", "y", x, target, -1);
    build_output(g, y);
    build_ready(g);
    expect_shape(g, y, "[N,64]");
    expect_shape(g, target, "[2]");
    assert_int_equal(graph_value(g, y)->type, DT_FLOAT);
    graph_free(g);
}

/* PyTorch's expand: -1 entries are replaced through ConstantOfShape, Mul, Equal and Where. */
static void test_expand_by_where(void **state)
{
    (void)state;
    ValueId x;
    Graph *g = new_graph(13, DIMS(0, 1, 8), &x);
    ValueId shape = build_node(g, "Shape", "shape", x, -1);
    ValueId n = build_node(g, "Slice", "n", shape, ints(g, "from", 1, INTS(0)), ints(g, "to", 1, INTS(1)), -1);
    ValueId wanted = build_node(g, "Concat", "wanted", n, ints(g, "rest", 2, INTS(4, -1)), -1);
    Err err;
    assert_ok(graph_set_int(g, build_maker(g, wanted), "axis", 0, &err), &err);
    ValueId equal = build_node(g, "Equal", "equal", wanted, ints(g, "open", 3, INTS(-1, -1, -1)), -1);
    ValueId chosen = build_node(g, "Where", "chosen", equal, ints(g, "ones", 3, INTS(1, 1, 1)), wanted, -1);
    ValueId y = build_node(g, "Expand", "y", x, chosen, -1);
    build_output(g, y);
    build_ready(g);
    expect_shape(g, y, "[N,4,8]");
    graph_free(g);
}

/* Sizes that are computed in float, as for Resize: numbers are evaluated by the ops themselves. */
static void test_float_arithmetic(void **state)
{
    (void)state;
    ValueId x;
    Graph *g = new_graph(13, DIMS(0, 3, 5, 7), &x);
    ValueId shape = build_node(g, "Shape", "shape", x, -1);
    ValueId size = build_node(g, "Slice", "size", shape, ints(g, "from", 1, INTS(2)), ints(g, "to", 1, INTS(4)), -1);
    ValueId real = build_node(g, "Cast", "real", size, -1);
    Err err;
    assert_ok(graph_set_int(g, build_maker(g, real), "to", DT_FLOAT, &err), &err);
    ValueId half = build_node(g, "Mul", "half", real, build_constant(g, "factor", DT_FLOAT, INTS(1.5), NULL, 0), -1);
    ValueId floor = build_node(g, "Floor", "floor", half, -1);
    ValueId whole = build_node(g, "Cast", "whole", floor, -1);
    assert_ok(graph_set_int(g, build_maker(g, whole), "to", DT_INT64, &err), &err);
    ValueId y = build_node(g, "ConstantOfShape", "y", whole, -1);
    build_output(g, y);
    build_ready(g);
    expect_shape(g, y, "[7,10]");
    graph_free(g);
}

/* Unnamed dimensions are told apart and recognised again: the elements of x go into [d0, 64]. */
static void test_unnamed_symbols(void **state)
{
    (void)state;
    Graph *g = build_new(13);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(DIM_UNKNOWN, 16, 4));
    ValueId y = build_node(g, "Reshape", "y", x, ints(g, "target", 2, INTS(0, -1)), -1);
    ValueId other = build_input(g, "other", DT_FLOAT, DIMS(DIM_UNKNOWN, 64));
    ValueId sum = build_node(g, "Add", "sum", y, other, -1);
    build_output(g, sum);
    build_ready(g);
    expect_shape(g, y, "[?,64]");
    expect_shape(g, sum, "[?,64]");
    graph_free(g);
}

static void test_unknown_op(void **state)
{
    (void)state;
    ValueId x;
    Graph *g = new_graph(13, DIMS(0, 3), &x);
    ValueId y = build_node(g, "Mystery", "y", x, -1);
    ValueId z = build_node(g, "Relu", "z", y, -1);
    build_output(g, z);
    build_ready(g);
    assert_int_equal(graph_value(g, z)->shape.rank, -1);
    graph_free(g);
}

/* What the file says about a value is kept where it says more, and refused where it says something else. */
static void test_declared(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t dims[3];
        int rank;
        DType type;
        Status status;
        const char *shape;
    } cases[] = {
        { "more definite", { 5, 3 }, 2, DT_FLOAT, OK, "[5,3]" },
        { "less definite", { DIM_UNKNOWN, DIM_UNKNOWN }, 2, DT_FLOAT, OK, "[N,3]" },
        { "another size", { 5, 4 }, 2, DT_FLOAT, ERR_DATA, "" },
        { "another rank", { 5, 3, 1 }, 3, DT_FLOAT, ERR_DATA, "" },
        { "another type", { 5, 3 }, 2, DT_INT64, ERR_DATA, "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ValueId x;
        Err err = { .code = OK };
        Graph *g = new_graph(13, DIMS(0, 3), &x);
        ValueId y = build_node(g, "Relu", "y", x, -1);
        build_output(g, y);
        graph_value(g, y)->type = cases[i].type;
        graph_value(g, y)->shape = shape_of(cases[i].rank, cases[i].dims);
        assert_ok(graph_finish(g, &err), &err);
        engine_bind(g);
        Status status = engine_infer(g, &err);
        if (status != cases[i].status) fail_msg("%s: status %d: %s", cases[i].name, (int)status, err.text);
        if (status == OK) expect_shape(g, y, cases[i].shape);
        else assert_non_null(strstr(err.text, "Relu 'y'"));
        graph_free(g);
    }
}

/* Inferring twice changes nothing. */
static void test_idempotent(void **state)
{
    (void)state;
    ValueId x;
    Err err;
    Graph *g = new_graph(13, DIMS(0, 4, 4), &x);
    ValueId y = build_node(g, "Transpose", "y", x, -1), z = build_node(g, "Flatten", "z", y, -1);
    build_output(g, z);
    build_ready(g);
    expect_shape(g, y, "[4,4,N]");
    expect_shape(g, z, "[4,?]");
    assert_ok(engine_infer(g, &err), &err);
    expect_shape(g, z, "[4,?]");
    graph_free(g);
}

static void test_concrete(void **state)
{
    (void)state;
    ValueId x;
    Err err;
    Graph *g = new_graph(13, DIMS(0, 3), &x);
    ValueId y = build_node(g, "NonZero", "y", x, -1), z = build_node(g, "Relu", "z", x, -1);
    build_output(g, y);
    build_output(g, z);
    build_ready(g);
    expect_shape(g, y, "[2,?]");
    TypeInfo *types;
    const Shape good = { .rank = 2, .dims = { 7, 3 } }, bad = { .rank = 2, .dims = { 7, 4 } };
    assert_ok(engine_concrete_shapes(g, &good, 1, &types, &err), &err);
    assert_int_equal(types[y].shape.rank, -1);
    assert_int_equal(types[z].shape.dims[0], 7);
    free(types);
    assert_status(engine_concrete_shapes(g, &bad, 1, &types, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "'x'"));
    assert_status(engine_concrete_shapes(g, &good, 0, &types, &err), ERR_DATA, &err);
    graph_free(g);
}

static void test_evaluate(void **state)
{
    (void)state;
    Graph *g = build_new(13);
    Err err;
    Tensor out[1];
    ValueId y = build_node(g, "Add", "y", ints(g, "a", 2, INTS(1, 2)), ints(g, "b", 1, INTS(40)), -1);
    ValueId big = build_node(g, "ConstantOfShape", "big", ints(g, "size", 2, INTS(1000000, 1000000)), -1);
    ValueId x = build_input(g, "x", DT_INT64, DIMS(2)), z = build_node(g, "Add", "z", y, x, -1),
        odd = build_node(g, "Mystery", "odd", y, -1);
    build_output(g, z);
    ValueId left = build_weight(g, "left", 1, DIMS(20, 30)), right = build_weight(g, "right", 2, DIMS(30, 40));
    ValueId product = build_node(g, "MatMul", "product", left, right, -1);
    uint64_t work = 10000;
    engine_bind(g);
    assert_ok(engine_evaluate(g, build_maker(g, y), 1 << 20, &work, out, &err), &err);
    assert_int_equal(tensor_get_int(&out[0], 0), 41);
    assert_int_equal(tensor_get_int(&out[0], 1), 42);
    tensor_release(&out[0]);
    assert_status(engine_evaluate(g, build_maker(g, y), 15, &work, out, &err), ERR_MEMORY, &err);
    assert_status(engine_evaluate(g, build_maker(g, big), 1 << 20, &work, out, &err), ERR_MEMORY, &err);
    assert_status(engine_evaluate(g, build_maker(g, z), 1 << 20, &work, out, &err), ERR_UNSUPPORTED, &err);
    assert_status(engine_evaluate(g, build_maker(g, odd), 1 << 20, &work, out, &err), ERR_UNSUPPORTED, &err);
    assert_true(work > 9000 && work < 10000);
    assert_status(engine_evaluate(g, build_maker(g, product), 1 << 20, &work, out, &err), ERR_UNSUPPORTED, &err);
    assert_non_null(strstr(err.text, "operations"));
    work = 30000; /* 20 x 30 x 40 products and 20 x 40 results */
    assert_ok(engine_evaluate(g, build_maker(g, product), 1 << 20, &work, out, &err), &err);
    assert_true(work < 6000 && work >= 5000);
    tensor_release(&out[0]);
    graph_free(g);
}

/* Every network of the zoo without control flow and recurrence: nothing stays open. */
static void test_zoo(void **state)
{
    (void)state;
    static const char *const names[] = {
        "mnist/lenet300.onnx", "mnist/lenet5.onnx", "mnist/mnist_8.onnx", "cifar10/resnet20.onnx", "cifar10/resnet20_bn.onnx",
        "cifar10/resnet56_bn.onnx", "cifar10/resnet8_nhwc.onnx", "imagenet/mobilenet_v2.onnx", "kws/dscnn_nhwc.onnx", "gcn/gcn_cora.onnx",
        "superres/super_resolution_10.onnx", "detect/yunet_n_320.onnx", "detect/ultraface_rfb_320.onnx", "stories260k/stories260K.onnx",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        Graph *g;
        Err err;
        LoadOptions options = { .max_mem = 0 };
        assert_ok(model_load(zoo_path(names[i]), &options, &g, &err), &err);
        engine_bind(g);
        assert_ok(engine_infer(g, &err), &err);
        for (uint32_t k = 0; k < g->order_count; k++) {
            const Node *n = graph_node(g, g->order[k]);
            for (int o = 0; o < n->output_count; o++) {
                const Value *v = graph_value(g, n->outputs[o]);
                bool open = v->type == DT_NONE || v->shape.rank < 0;
                for (int d = 0; d < v->shape.rank; d++) open = open || v->shape.dims[d] == DIM_UNKNOWN;
                if (open) fail_msg("%s: '%.*s' of %.*s stays open", names[i], STR_ARG(v->name), STR_ARG(n->type));
            }
        }
        graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flatten_by_shape), cmocka_unit_test(test_expand_by_where), cmocka_unit_test(test_float_arithmetic),
        cmocka_unit_test(test_unnamed_symbols),  cmocka_unit_test(test_unknown_op),      cmocka_unit_test(test_declared),
        cmocka_unit_test(test_idempotent),       cmocka_unit_test(test_concrete),        cmocka_unit_test(test_evaluate),
        cmocka_unit_test(test_zoo),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
