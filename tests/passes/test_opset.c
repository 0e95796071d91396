#include "test.h"

#include "build_graph.h"
#include "graph/opset.h"

/* Each row: one op as an old opset writes it, behind a Relu; raised to `to` and on to 25, it must compute the same. */
typedef struct OpsetRow {
    const char *name;
    int opset;
    Graph *(*make)(int opset);
    const char *type; /* nodes of this type after raising */
    int count;
    int inputs;       /* of the first of them, 0: not checked */
    int to;
} OpsetRow;

static ValueId start(Graph *g, int64_t a, int64_t b, int64_t c)
{
    return build_node(g, "Relu", "start", build_input(g, "x", DT_FLOAT, DIMS(a, b, c)), -1);
}

static Graph *with_ints(int opset, const char *type, const char *attr, const int64_t *values, int64_t count)
{
    Err err;
    Graph *g = build_new(opset);
    ValueId y = build_node(g, type, "y", start(g, 2, 3, 4), -1);
    assert_ok(graph_set_ints(g, build_maker(g, y), attr, values, count, &err), &err);
    build_output(g, y);
    return g;
}

static Graph *with_int(int opset, const char *type, const char *attr, int64_t value)
{
    Err err;
    Graph *g = build_new(opset);
    ValueId y = build_node(g, type, "y", start(g, 2, 3, 4), -1);
    assert_ok(graph_set_int(g, build_maker(g, y), attr, value, &err), &err);
    build_output(g, y);
    return g;
}

static Graph *unsqueeze(int opset) { return with_ints(opset, "Unsqueeze", "axes", (int64_t[]){ 0, 2 }, 2); }
static Graph *reduce_sum(int opset) { return with_ints(opset, "ReduceSum", "axes", (int64_t[]){ 1 }, 1); }
static Graph *softmax_middle(int opset) { return with_int(opset, "Softmax", "axis", 1); }
static Graph *softmax_last(int opset) { return with_int(opset, "Softmax", "axis", 2); }
static Graph *log_softmax_first(int opset) { return with_int(opset, "LogSoftmax", "axis", 0); }

static Graph *softmax_default(int opset)
{
    Graph *g = build_new(opset);
    build_output(g, build_node(g, "Softmax", "y", start(g, 2, 3, 4), -1));
    return g;
}

static Graph *squeeze(int opset)
{
    Err err;
    Graph *g = build_new(opset);
    ValueId y = build_node(g, "Squeeze", "y", start(g, 2, 1, 4), -1);
    assert_ok(graph_set_ints(g, build_maker(g, y), "axes", (int64_t[]){ 1 }, 1, &err), &err);
    build_output(g, y);
    return g;
}

static Graph *clip(int opset)
{
    Err err;
    Graph *g = build_new(opset);
    ValueId y = build_node(g, "Clip", "y", start(g, 2, 3, 4), -1);
    assert_ok(graph_set_float(g, build_maker(g, y), "max", 0.25f, &err), &err);
    build_output(g, y);
    return g;
}

static Graph *pad(int opset)
{
    Err err;
    Graph *g = with_ints(opset, "Pad", "pads", (int64_t[]){ 0, 1, 0, 0, 0, 2 }, 6);
    assert_ok(graph_set_float(g, build_maker(g, g->outputs[0]), "value", 0.5f, &err), &err);
    return g;
}

static Graph *slice(int opset)
{
    Err err;
    Graph *g = with_ints(opset, "Slice", "starts", (int64_t[]){ 1, -2 }, 2);
    NodeId n = build_maker(g, g->outputs[0]);
    assert_ok(graph_set_ints(g, n, "ends", (int64_t[]){ 3, 1000 }, 2, &err), &err);
    assert_ok(graph_set_ints(g, n, "axes", (int64_t[]){ 1, 2 }, 2, &err), &err);
    return g;
}

static Graph *split(int opset)
{
    Err err;
    Graph *g = build_new(opset);
    ValueId x = start(g, 2, 3, 4), outputs[2];
    outputs[0] = graph_add_value(g, STR("y"), DT_NONE, NULL);
    outputs[1] = graph_add_value(g, STR("z"), DT_NONE, NULL);
    NodeId n = graph_add_node(g, "Split", "", STR("split"), &x, 1, outputs, 2);
    assert_ok(graph_set_int(g, n, "axis", 2, &err), &err);
    assert_ok(graph_set_ints(g, n, "split", (int64_t[]){ 1, 3 }, 2, &err), &err);
    build_output(g, outputs[1]);
    build_output(g, outputs[0]);
    return g;
}

static Graph *dropout(int opset)
{
    Err err;
    Graph *g = build_new(opset);
    ValueId y = build_node(g, "Dropout", "y", start(g, 2, 3, 4), -1);
    assert_ok(graph_set_float(g, build_maker(g, y), "ratio", 0.3f, &err), &err);
    build_output(g, y);
    return g;
}

static Graph *batchnorm(int opset)
{
    Err err;
    Graph *g = build_new(opset);
    double ones[3] = { 1, 2, 3 }, zeros[3] = { 0, 1, 0 };
    ValueId x = start(g, 2, 3, 4);
    ValueId s = build_constant(g, "s", DT_FLOAT, ones, DIMS(3)), t = build_constant(g, "t", DT_FLOAT, zeros, DIMS(3));
    ValueId y = build_node(g, "BatchNormalization", "y", x, s, t, t, s, -1);
    assert_ok(graph_set_int(g, build_maker(g, y), "spatial", 1, &err), &err);
    build_output(g, y);
    return g;
}

/* ---- from 13 on ---- */

static Graph *reduce_mean(int opset) { return with_ints(opset, "ReduceMean", "axes", (int64_t[]){ -1, 1 }, 2); }
static Graph *reduce_max(int opset) { return with_ints(opset, "ReduceMax", "axes", (int64_t[]){ 2 }, 1); }
static Graph *reduce_l2(int opset) { return with_ints(opset, "ReduceL2", "axes", (int64_t[]){ 0 }, 1); }
static Graph *reduce_all(int opset) { return with_int(opset, "ReduceLogSumExp", "keepdims", 0); }

static Graph *equal_parts(int opset)
{
    Err err;
    Graph *g = build_new(opset);
    ValueId x = start(g, 2, 3, 4), outputs[2];
    outputs[0] = graph_add_value(g, STR("y"), DT_NONE, NULL);
    outputs[1] = graph_add_value(g, STR("z"), DT_NONE, NULL);
    NodeId n = graph_add_node(g, "Split", "", STR("split"), &x, 1, outputs, 2);
    assert_ok(graph_set_int(g, n, "axis", 2, &err), &err);
    build_output(g, outputs[1]);
    build_output(g, outputs[0]);
    return g;
}

static Graph *image(int opset, ValueId *x)
{
    Graph *g = build_new(opset);
    *x = build_node(g, "Relu", "start", build_input(g, "x", DT_FLOAT, DIMS(2, 4, 5, 6)), -1);
    return g;
}

static Graph *resize(int opset)
{
    Err err;
    ValueId x;
    Graph *g = image(opset, &x);
    ValueId scales = build_constant(g, "scales", DT_FLOAT, (double[]){ 1, 1, 1.7, 0.6 }, DIMS(4));
    ValueId y = build_node(g, "Resize", "y", x, 0, scales, -1);
    assert_ok(graph_set_string(g, build_maker(g, y), "mode", STR("linear"), &err), &err);
    build_output(g, y);
    return g;
}

static Graph *resize_tf(int opset)
{
    Err err;
    ValueId x;
    Graph *g = image(opset, &x);
    ValueId scales = build_constant(g, "scales", DT_FLOAT, (double[]){ 1, 1, 2, 3 }, DIMS(4));
    ValueId roi = build_constant(g, "roi", DT_FLOAT, (double[]){ 0 }, DIMS(0));
    ValueId y = build_node(g, "Resize", "y", x, roi, scales, -1);
    NodeId n = build_maker(g, y);
    assert_ok(graph_set_string(g, n, "nearest_mode", STR("floor"), &err), &err);
    assert_ok(graph_set_string(g, n, "coordinate_transformation_mode", STR("tf_half_pixel_for_nn"), &err), &err);
    build_output(g, y);
    return g;
}

static Graph *roi_align(int opset)
{
    Err err;
    ValueId x;
    Graph *g = image(opset, &x);
    ValueId rois = build_constant(g, "rois", DT_FLOAT, (double[]){ 0.5, 1, 4, 3.5, 1, 0, 5, 4 }, DIMS(2, 4));
    ValueId at = build_constant(g, "at", DT_INT64, (double[]){ 0, 1 }, DIMS(2));
    ValueId y = build_node(g, "RoiAlign", "y", x, rois, at, -1);
    assert_ok(graph_set_int(g, build_maker(g, y), "output_height", 3, &err), &err);
    assert_ok(graph_set_int(g, build_maker(g, y), "output_width", 2, &err), &err);
    build_output(g, y);
    return g;
}

static Graph *grid_sample(int opset)
{
    Err err;
    ValueId x;
    Graph *g = image(opset, &x);
    ValueId y = build_node(g, "GridSample", "y", x, build_weight(g, "places", 5, DIMS(2, 3, 3, 2)), -1);
    assert_ok(graph_set_string(g, build_maker(g, y), "mode", STR("bicubic"), &err), &err);
    build_output(g, y);
    return g;
}

static Graph *grid_default(int opset)
{
    ValueId x;
    Graph *g = image(opset, &x);
    build_output(g, build_node(g, "GridSample", "y", x, build_weight(g, "places", 5, DIMS(2, 3, 3, 2)), -1));
    return g;
}

static Graph *dft(int opset)
{
    Graph *g = build_new(opset);
    build_output(g, build_node(g, "DFT", "y", start(g, 4, 6, 1), -1));
    return g;
}

static Graph *group_norm(int opset)
{
    Err err;
    ValueId x;
    Graph *g = image(opset, &x);
    ValueId y = build_node(g, "GroupNormalization", "y", x, build_weight(g, "s", 1, DIMS(2)), build_weight(g, "t", 2, DIMS(2)), -1);
    assert_ok(graph_set_int(g, build_maker(g, y), "num_groups", 2, &err), &err);
    build_output(g, y);
    return g;
}

static Graph *lstm(int opset)
{
    Err err;
    Graph *g = build_new(opset);
    ValueId w = build_weight(g, "w", 1, DIMS(1, 20, 4)), r = build_weight(g, "r", 2, DIMS(1, 20, 5));
    ValueId y = build_node(g, "LSTM", "y", start(g, 3, 2, 4), w, r, -1);
    assert_ok(graph_set_int(g, build_maker(g, y), "hidden_size", 5, &err), &err);
    build_output(g, y);
    return g;
}

static Graph *average_pool(int opset)
{
    Err err;
    ValueId x;
    Graph *g = image(opset, &x);
    ValueId y = build_node(g, "AveragePool", "y", x, -1);
    NodeId n = build_maker(g, y);
    assert_ok(graph_set_ints(g, n, "kernel_shape", (int64_t[]){ 3, 3 }, 2, &err), &err);
    assert_ok(graph_set_ints(g, n, "strides", (int64_t[]){ 2, 2 }, 2, &err), &err);
    assert_ok(graph_set_ints(g, n, "pads", (int64_t[]){ 1, 1, 1, 1 }, 4, &err), &err);
    assert_ok(graph_set_int(g, n, "ceil_mode", 1, &err), &err);
    build_output(g, y);
    return g;
}

static const OpsetRow rows[] = {
    { "Unsqueeze 11", 11, unsqueeze, "Unsqueeze", 1, 2, 13 },
    { "Unsqueeze 8", 8, unsqueeze, "Unsqueeze", 1, 2, 13 },
    { "Squeeze 9", 9, squeeze, "Squeeze", 1, 2, 13 },
    { "ReduceSum 11", 11, reduce_sum, "ReduceSum", 1, 2, 13 },
    { "Softmax over a middle axis", 11, softmax_middle, "Flatten", 1, 0, 13 },
    { "Softmax over the last axis", 11, softmax_last, "Flatten", 0, 0, 13 },
    { "Softmax by default", 9, softmax_default, "Flatten", 1, 0, 13 },
    { "LogSoftmax over everything", 9, log_softmax_first, "Reshape", 1, 2, 13 },
    { "Clip 7", 7, clip, "Clip", 1, 3, 13 },
    { "Pad 10", 10, pad, "Pad", 1, 3, 13 },
    { "Slice 9", 9, slice, "Slice", 1, 4, 13 },
    { "Split 11", 11, split, "Split", 1, 2, 13 },
    { "Dropout 7", 7, dropout, "Dropout", 1, 2, 13 },
    { "BatchNormalization 8", 8, batchnorm, "BatchNormalization", 1, 5, 13 },
    { "already there", 13, softmax_last, "Softmax", 1, 1, 13 },
    { "ReduceMean 13", 13, reduce_mean, "ReduceMean", 1, 2, 18 },
    { "ReduceMax 12", 12, reduce_max, "ReduceMax", 1, 2, 21 },
    { "ReduceL2 17", 17, reduce_l2, "ReduceL2", 1, 2, 18 },
    { "ReduceLogSumExp of everything", 13, reduce_all, "ReduceLogSumExp", 1, 1, 21 },
    { "Split in equal parts", 13, equal_parts, "Split", 1, 1, 18 },
    { "Resize 13", 13, resize, "Resize", 1, 3, 21 },
    { "Resize as TensorFlow did", 11, resize_tf, "Resize", 1, 3, 13 },
    { "RoiAlign 10", 10, roi_align, "RoiAlign", 1, 3, 16 },
    { "GridSample bicubic", 16, grid_sample, "GridSample", 1, 2, 20 },
    { "GridSample by default", 16, grid_default, "GridSample", 1, 2, 20 },
    { "DFT over axis 1", 17, dft, "DFT", 1, 3, 20 },
    { "GroupNormalization 18", 18, group_norm, "GroupNormalization", 1, 3, 21 },
    { "LSTM 13", 13, lstm, "LSTM", 1, 3, 21 },
    { "AveragePool 11 with ceil_mode", 11, average_pool, "AveragePool", 1, 1, 21 },
};

static void raise_row(void **state)
{
    const OpsetRow *row = *state;
    Err err;
    Graph *g = row->make(row->opset);
    build_ready(g);
    Tensor before = build_run(g, 1, 2.0, true);
    int to = row->to;
    assert_ok(opset_raise(g, to, NULL, &err), &err);
    build_ready(g);
    assert_int_equal(graph_opset(g, STR("")), to);
    assert_int_equal(build_count(g, row->type), row->count);
    for (NodeId n = 1; n <= g->node_count && row->inputs > 0; n++) {
        if (graph_node(g, n)->removed || !str_is(graph_node(g, n)->type, row->type)) continue;
        assert_int_equal(graph_node(g, n)->input_count, row->inputs);
        break;
    }
    Tensor after = build_run(g, 1, 2.0, true);
    assert_true(shape_eq(&before.shape, &after.shape));
    assert_near(build_distance(&after, &before), 0.0, 1e-6);
    uint32_t nodes = g->node_count;
    assert_ok(opset_raise(g, to, NULL, &err), &err);
    assert_int_equal(g->node_count, nodes);
    tensor_release(&after);
    assert_ok(opset_raise(g, OPSET_RAISED, NULL, &err), &err);
    build_ready(g);
    after = build_run(g, 1, 2.0, true);
    assert_near(build_distance(&after, &before), 0.0, 1e-6);
    tensor_release(&before);
    tensor_release(&after);
    graph_free(g);
}

/* What cannot be raised is named, and nothing has changed. */
static void refusals(void **state)
{
    (void)state;
    Err err;
    Graph *g = batchnorm(8);
    assert_ok(graph_set_int(g, build_maker(g, g->outputs[0]), "spatial", 0, &err), &err);
    assert_ok(graph_finish(g, &err), &err);
    assert_status(opset_raise(g, 13, NULL, &err), ERR_UNSUPPORTED, &err);
    assert_non_null(strstr(err.text, "BatchNormalization 'y'"));
    assert_int_equal(graph_opset(g, STR("")), 8);
    graph_free(g);
    g = build_new(9);
    build_output(g, build_node(g, "NoSuchOp", "odd", start(g, 2, 3, 4), -1));
    assert_ok(graph_finish(g, &err), &err);
    assert_status(opset_raise(g, 13, NULL, &err), ERR_UNSUPPORTED, &err);
    assert_non_null(strstr(err.text, "NoSuchOp 'odd'"));
    graph_free(g);
    ValueId x;
    g = image(18, &x);
    ValueId s = build_input(g, "s", DT_FLOAT, DIMS(2)), t = build_weight(g, "t", 2, DIMS(2));
    ValueId y = build_node(g, "GroupNormalization", "y", x, s, t, -1);
    assert_ok(graph_set_int(g, build_maker(g, y), "num_groups", 2, &err), &err);
    build_output(g, y);
    build_ready(g);
    assert_status(opset_raise(g, 21, NULL, &err), ERR_UNSUPPORTED, &err);
    assert_non_null(strstr(err.text, "GroupNormalization 'y'"));
    graph_free(g);
    g = build_new(6);
    ValueId one = start(g, 2, 3, 4);
    build_output(g, build_node(g, "Add", "sum", one, one, -1));
    build_ready(g);
    assert_status(opset_raise(g, 13, NULL, &err), ERR_UNSUPPORTED, &err);
    assert_non_null(strstr(err.text, "Add 'sum'"));
    graph_free(g);
    g = build_new(6);
    assert_status(opset_raise(g, 13, NULL, &err), ERR_UNSUPPORTED, &err);
    graph_free(g);
}

/* IR 3 lists initializers as inputs; from 4 on they would be defaults that a caller may override. */
static void ir_drops_listed_initializers(void **state)
{
    (void)state;
    Err err;
    Graph *g = build_new(8);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(2, 4)), w = build_input(g, "w", DT_FLOAT, DIMS(4, 3));
    Shape shape = shape_of(2, (int64_t[]){ 4, 3 });
    Tensor t;
    assert_ok(tensor_new(&t, DT_FLOAT, &shape, &err), &err);
    assert_ok(graph_set_constant(g, w, &t, &err), &err);
    g->ir_version = 3;
    build_output(g, build_node(g, "MatMul", "y", x, w, -1));
    build_ready(g);
    assert_ok(opset_settle_ir(g, &err), &err);
    assert_int_equal(g->ir_version, 3); /* all are listed */
    assert_int_equal(g->input_count, 2);
    assert_ok(opset_raise_ir(g, 7, &err), &err);
    assert_int_equal(g->ir_version, 7);
    assert_int_equal(g->input_count, 1);
    assert_ok(graph_verify(g, &err), &err);
    graph_free(g);
}

int main(void)
{
    enum { ROWS = sizeof rows / sizeof *rows };
    struct CMUnitTest tests[ROWS + 2];
    for (size_t i = 0; i < ROWS; i++)
        tests[i] = (struct CMUnitTest){ .name = rows[i].name, .test_func = raise_row, .initial_state = (void *)(uintptr_t)&rows[i] };
    tests[ROWS] = (struct CMUnitTest)cmocka_unit_test(refusals);
    tests[ROWS + 1] = (struct CMUnitTest)cmocka_unit_test(ir_drops_listed_initializers);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
