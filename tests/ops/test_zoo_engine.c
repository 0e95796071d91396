/* The zoo's networks in the engine: kernels against the plain forwards, one thread and two, and the one recorded output there is.
 * (tests/interop holds them against ONNX Runtime.) */
#include "test.h"

#include "build_graph.h"
#include "formats/tensor_pb.h"
#include "graph/format.h"

static Graph *load(const char *name)
{
    Graph *g;
    Err err;
    LoadOptions options = { 0 };
    assert_ok(model_load(zoo_path(name), &options, &g, &err), &err);
    engine_bind(g);
    assert_ok(engine_infer(g, &err), &err);
    return g;
}

/* Every output of one run: float inputs are noise, integer ones small numbers. */
static void run_all(const Graph *g, int64_t batch, SessionOptions options, Tensor *outputs)
{
    Err err;
    Session *s;
    ValueId feeds[8];
    Tensor inputs[8] = { 0 };
    int count = graph_feeds(g, feeds, 8);
    assert_true(count <= 8);
    for (int i = 0; i < count; i++) {
        const Value *v = graph_value(g, feeds[i]);
        Shape shape = v->shape;
        for (int k = 0; k < shape.rank; k++)
            if (shape.dims[k] < 0) shape.dims[k] = batch;
        assert_ok(tensor_new(&inputs[i], v->type, &shape, &err), &err);
        for (int64_t k = 0; k < tensor_count(&inputs[i]); k++)
            tensor_set(&inputs[i], k, dtype_is_float(v->type) ? build_noise(3 + (uint64_t)i, k) : (double)(k % 100));
    }
    assert_ok(session_new(g, &options, &s, &err), &err);
    assert_ok(session_run(s, inputs, outputs, &err), &err);
    session_free(s);
    for (int i = 0; i < count; i++) tensor_release(&inputs[i]);
}

static const struct {
    const char *name;
    int64_t batch;
} rows[] = {
    { "mnist/lenet300.onnx", 3 },      { "mnist/lenet5.onnx", 3 },          { "mnist/mnist_8.onnx", 1 },       { "cifar10/resnet20.onnx",
                                                                                                                2 },
    { "cifar10/resnet56_bn.onnx", 1 },  { "imagenet/mobilenet_v2.onnx", 1 },  { "charlm/shakespeare_lstm.onnx", 3 },
    { "speech/dtln_1.onnx", 1 },        { "speech/gtcrn_simple.onnx", 1 },
    { "cifar10/resnet20_bn.onnx", 2 }, { "cifar10/resnet8_nhwc.onnx", 2 },  { "kws/dscnn_nhwc.onnx", 3 },      { "gcn/gcn_cora.onnx", 30 },
    { "detect/yunet_n_320.onnx", 1 },  { "detect/ultraface_rfb_320.onnx", 1 }, { "stories260k/stories260K.onnx", 5 },
};

static void test_kernels_agree_with_plain(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Graph *g = load(rows[i].name);
        Tensor out[3][16];
        assert_true(g->output_count <= 16);
        for (int k = 0; k < 3; k++) run_all(g, rows[i].batch, (SessionOptions){ .threads = k == 2 ? 2 : 1, .plain = k == 0 }, out[k]);
        for (int o = 0; o < g->output_count; o++) {
            for (int k = 1; k < 3; k++) {
                double distance = build_distance(&out[k][o], &out[0][o]);
                if (!(distance <= 1e-4)) fail_msg("%s, output %d, %d threads: %g from the plain forwards", rows[i].name, o, k, distance);
            }
            for (int k = 0; k < 3; k++) tensor_release(&out[k][o]);
        }
        graph_free(g);
    }
}

static void test_recorded_output(void **state)
{
    (void)state;
    Graph *g = load("superres/super_resolution_10.onnx");
    Tensor in, want, got;
    Err err;
    Session *s;
    SessionOptions options = { .threads = 2 };
    assert_ok(tensor_pb_load(zoo_path("superres/input_0.pb"), 0, &in, NULL, 0, &err), &err);
    assert_ok(tensor_pb_load(zoo_path("superres/output_0.pb"), 0, &want, NULL, 0, &err), &err);
    assert_ok(session_new(g, &options, &s, &err), &err);
    assert_ok(session_run(s, &in, &got, &err), &err);
    assert_true(shape_eq(&got.shape, &want.shape));
    double distance = build_distance(&got, &want);
    if (!(distance <= 1e-4)) fail_msg("superres: %g", distance);
    tensor_release(&in);
    tensor_release(&want);
    tensor_release(&got);
    session_free(s);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernels_agree_with_plain),
        cmocka_unit_test(test_recorded_output),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
