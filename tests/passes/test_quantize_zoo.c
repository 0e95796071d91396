/* No layer of a real network stays in float without a word, in any mode. */
#include "test.h"

#include "engine/engine.h"
#include "graph/format.h"
#include "quantize_net.h"

static Graph *load(const char *path)
{
    Err err;
    Graph *g;
    assert_ok(model_load(path, &(LoadOptions){ 0 }, &g, &err), &err);
    engine_bind(g);
    assert_ok(engine_infer(g, &err), &err);
    return g;
}

static bool is_weight(const Graph *g, ValueId v)
{
    const Tensor *t = v != 0 ? graph_value(g, v)->tensor : NULL;
    return t != NULL && t->type == DT_FLOAT && t->shape.rank >= 2;
}

/* By the operator's name and its operands alone; whatever the library counts as a layer. */
static int has_weights(const Graph *g, const Node *n)
{
    static const struct {
        const char *type;
        int weight, other; /* inputs that hold weights when constant */
    } ops[] = { { "Conv", 1, 1 }, { "ConvTranspose", 1, 1 }, { "Gemm", 0, 1 }, { "MatMul", 0, 1 }, { "LSTM", 1, 2 }, { "GRU", 1, 2 },
                { "RNN", 1, 2 } };
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (str_is(n->type, ops[i].type)) return is_weight(g, node_input(n, ops[i].weight)) || is_weight(g, node_input(n, ops[i].other));
    return false;
}

static void every_layer_is_listed(void **state)
{
    (void)state;
    static const struct {
        const char *network;
        int least;       /* layers at the top, counted by hand or by onnx */
        bool no_static;  /* random numbers are no input of it */
    } rows[] = {
        { "mnist/lenet5.onnx", 4, false },           { "cifar10/resnet20_bn.onnx", 20, false },
        { "cifar10/resnet8_nhwc.onnx", 9, false },   { "kws/dscnn_nhwc.onnx", 9, false },
        { "detect/yunet_n_320.onnx", 40, false },    { "superres/super_resolution_10.onnx", 4, false },
        { "charlm/shakespeare_lstm.onnx", 2, true }, { "speech/gtcrn_simple.onnx", 20, false },
        { "speech/dtln_1.onnx", 3, false },          { "stories260k/stories260K.onnx", 30, true },
        { "gcn/gcn_cora.onnx", 2, true },            { "speech/silero_vad_16k_op15.onnx", 1, true },
    };
    const char *const *const modes[] = { LIST("mode=static", "repairs=none", "calibration=minmax"), LIST("mode=dynamic"),
                                                LIST("mode=weights", "repairs=none") };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t m = rows[i].no_static ? 1 : 0; m < sizeof modes / sizeof *modes; m++) {
            Err err;
            PassRecord record = { 0 };
            Graph *g = load(zoo_path(rows[i].network)), *before = load(zoo_path(rows[i].network));
            int count = 0;
            QuantizeCall call = { .options = modes[m], .record = &record, .samples = 2, .no_data = rows[i].no_static };
            assert_ok(quantize_call(g, &call, &err), &err);
            for (uint32_t k = 0; k < before->order_count; k++) {
                const Node *n = graph_node(before, before->order[k]);
                Str label = node_label(before, n);
                char name[256];
                if (!has_weights(before, n)) continue;
                count++;
                snprintf(name, sizeof name, "%.*s", STR_ARG(label));
                const RecordEntry *e = listed_layer(&record, name);
                if (e == NULL || (e->kind == RECORD_CHANGED && strstr(e->text, "weights") == NULL && strstr(e->text, "quantized") == NULL))
                    fail_msg("%s, %s: '%s' is neither changed nor skipped", rows[i].network, modes[m][0], name);
            }
            if (count < rows[i].least) fail_msg("%s: %d layers, expected %d at least", rows[i].network, count, rows[i].least);
            record_release(&record);
            graph_free(g);
            graph_free(before);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_layer_is_listed) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
