/* Nothing is left out in silence: what quantization did not do, or did for a runtime's sake, stands in the record. */
#include "test.h"

#include "quantize_net.h"

/* One layer: nothing before or behind it that a repair could rescale. */
static Graph *single(void)
{
    Graph *g = build_new(13);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 12));
    build_output(g, build_node(g, "Gemm", "only", x, build_weight(g, "w", 10, DIMS(12, 16)), -1));
    return g;
}

/* Weights that are integers in steps of 1/64 with the largest at 127: rounding has nothing to gain. */
static Graph *on_grid(void)
{
    Graph *g = residual();
    for (ValueId v = 1; v <= g->value_count; v++) {
        const Value *value = graph_value(g, v);
        if (value->tensor == NULL || value->shape.rank < 2) continue;
        Err err;
        Tensor t;
        assert_ok(tensor_clone(value->tensor, &t, &err), &err);
        int64_t width = tensor_count(&t) / (value->shape.rank == 4 ? t.shape.dims[0] : 1);
        for (int64_t i = 0; i < tensor_count(&t); i++)
            tensor_set(&t, i, i % width == 0 ? 127.0 / 64.0 : (double)((i * 37) % 61 - 30) / 64.0);
        assert_ok(graph_set_constant(g, v, &t, &err), &err);
    }
    return g;
}

/* x x^T x W, and W' with a row behind it. All shapes are known. */
static Graph *attention(void)
{
    Graph *g = build_new(13);
    Err err;
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(1, 4, 8)), turned = build_node(g, "Transpose", "turned", x, -1);
    assert_ok(graph_set_ints(g, build_maker(g, turned), "perm", (int64_t[]){ 0, 2, 1 }, 3, &err), &err);
    ValueId shares = build_node(g, "Softmax", "shares", build_node(g, "MatMul", "scores", x, turned, -1), -1);
    ValueId mix = build_node(g, "MatMul", "mix", shares, x, -1);
    ValueId hidden = build_node(g, "MatMul", "up", mix, build_weight(g, "w", 10, DIMS(8, 8)), -1);
    ValueId sum = build_node(g, "Add", "sum", build_weight(g, "row", 11, DIMS(8)), hidden, -1);
    build_output(g, build_node(g, "MatMul", "down", build_node(g, "Tanh", "tanh", sum, -1), build_weight(g, "v", 12, DIMS(8, 3)), -1));
    return g;
}

/* A float operator reads what a convolution and its Relu made. */
static Graph *behind_relu(void)
{
    Graph *g = build_new(13);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 3, 8, 8));
    ValueId a = build_node(g, "Relu", "a_r", conv(g, "a", x, 10, 8, 3, 1, true), -1);
    build_output(g, head(g, build_node(g, "Tanh", "tanh", a, -1), 8));
    return g;
}

static Graph *lstm(void)
{
    Graph *g = build_new(14);
    Err err;
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(5, batch_of(g), 6));
    ValueId y = build_node(g, "LSTM", "cell", x, build_weight(g, "w", 10, DIMS(1, 32, 6)), build_weight(g, "r", 11, DIMS(1, 32, 8)), -1);
    assert_ok(graph_set_int(g, build_maker(g, y), "hidden_size", 8, &err), &err);
    build_output(g, build_node(g, "MatMul", "out", y, build_weight(g, "v", 12, DIMS(8, 3)), -1));
    return g;
}

/* Words looked up, and a head that shares their table. */
static Graph *words(void)
{
    Graph *g = build_new(13);
    Err err;
    ValueId x = build_input(g, "words", DT_INT64, DIMS(batch_of(g), 4)), table = build_weight(g, "table", 10, DIMS(24, 32));
    ValueId shape = build_constant(g, "shape", DT_INT64, (double[]){ -1, 32 }, DIMS(2));
    ValueId rows = build_node(g, "Tanh", "tanh", build_node(g, "Gather", "embed", table, x, -1), -1);
    ValueId head = build_node(g, "Gemm", "head", build_node(g, "Reshape", "flat", rows, shape, -1), table, -1);
    assert_ok(graph_set_int(g, build_maker(g, head), "transB", 1, &err), &err);
    build_output(g, head);
    return g;
}

typedef struct Row {
    const char *name;
    Graph *(*make)(void);
    const char *options[4];
    const char *table;
    RecordKind kind;
    const char *object, *text; /* text: a part of the entry's; NULL: there is no such entry */
} Row;

static const Row rows[] = {
    { "no place to equalize", single, { "mode=static" }, NULL, RECORD_NOTE, "equalize", "not tried: it finds nothing" },
    { "no place to balance", single, { "mode=static" }, NULL, RECORD_NOTE, "balance", "not tried: it finds nothing" },
    { "nothing to absorb", residual, { "mode=static", "repairs=absorb" }, NULL, RECORD_NOTE, "absorb", "output SQNR" },
    { "no place to absorb", single, { "mode=static", "repairs=absorb" }, NULL, RECORD_NOTE, "absorb", "not tried: it finds nothing" },
    { "no place to smooth", behind_relu, { "mode=static", "repairs=smooth" }, NULL, RECORD_NOTE, "smooth", "not tried" },
    { "switched off", residual, { "mode=static", "repairs=equalize" }, NULL, RECORD_NOTE, "gptq", NULL },
    { "biases gain", residual, { "mode=static" }, NULL, RECORD_NOTE, "bias", "without the corrected biases" },
    { "biases gain, weights alone", residual, { "mode=weights", "bits=3" }, NULL, RECORD_NOTE, "bias", "without the corrected biases" },
    { "biases without gptq", residual, { "mode=static", "repairs=bias" }, NULL, RECORD_NOTE, "bias", "output SQNR" },
    { "no biases", attention, { "mode=static" }, NULL, RECORD_NOTE, "bias", "not tried" },
    { "gptq has no room", on_grid, { "mode=static" }, NULL, RECORD_NOTE, "bias", "not tried: biases are corrected on gptq's walk" },
    { "nor has adaround", on_grid, { "mode=static", "repairs=adaround" }, NULL, RECORD_NOTE, "adaround", "not tried: it starts from gptq" },
    { "data used", residual, { "mode=static", "samples=16" }, NULL, RECORD_NOTE, "data", "the first 16 of 64 samples" },
    { "all data used", residual, { "mode=weights" }, NULL, RECORD_NOTE, "data", "all 64 samples" },
    { "2 bits in 4", attention, { "mode=weights", "bits=2" }, NULL, RECORD_NOTE, "graph", "--format=nbits packs" },
    { "ops, weights", residual, { "mode=weights", "ops=Gemm" }, NULL, RECORD_SKIPPED, "a", "not in the list of ops" },
    { "ops, dynamic", residual, { "mode=dynamic", "ops=Gemm" }, NULL, RECORD_SKIPPED, "a", "not in the list of ops" },
    { "ops takes a cell in", lstm, { "mode=weights", "ops=LSTM" }, NULL, RECORD_CHANGED, "cell", "8-bit weights" },
    { "and leaves a product", lstm, { "mode=weights", "ops=LSTM" }, NULL, RECORD_SKIPPED, "out", "not in the list of ops" },
    { "a cell is not walked", lstm, { "mode=weights", "bits=3" }, NULL, RECORD_CHANGED, "cell", "rounded by itself" },
    { "two activations", attention, { "mode=static" }, NULL, RECORD_SKIPPED, "scores", "both of its operands are activations" },
    { "two activations, dynamic", attention, { "mode=dynamic" }, NULL, RECORD_SKIPPED, "mix", "both of its operands are activations" },
    { "a row behind a product", attention, { "mode=static" }, NULL, RECORD_CHANGED, "sum", "with 3 dimensions" },
    { "the same, weights alone", attention, { "mode=weights", "bits=4", "block=32" }, NULL, RECORD_CHANGED, "sum", "with 3 dimensions" },
    { "none behind integers", attention, { "mode=dynamic" }, NULL, RECORD_CHANGED, "sum", NULL },
    { "float behind a Relu", behind_relu, { "mode=static" }, NULL, RECORD_NOTE, "tanh", "reads what integer layers made" },
    { "output kept in float", residual, { "mode=static" }, "#\"a_r\" 0 1 minmax\n", RECORD_SKIPPED, "a", "keeps its output in float" },
    { "input kept in float", residual, { "mode=static" }, "#\"a_r\" 0 1 minmax\n", RECORD_SKIPPED, "b", "keeps its input in float" },
};

static const RecordEntry *find(const PassRecord *r, const Row *row)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->entries[i].kind == row->kind && strcmp(r->entries[i].object, row->object) == 0) return &r->entries[i];
    return NULL;
}

static void listed(void **state)
{
    const Row *row = *state;
    Err err;
    PassRecord record = { 0 };
    Graph *g = row->make();
    assert_ok(quantize_call(g, &(QuantizeCall){ .options = row->options, .table = row->table, .record = &record }, &err), &err);
    const RecordEntry *e = find(&record, row);
    bool fine = row->text == NULL ? e == NULL : e != NULL && strstr(e->text, row->text) != NULL;
    for (size_t k = 0; !fine && k < record.count; k++) print_message("%s: %s\n", record.entries[k].object, record.entries[k].text);
    assert_true(fine);
    record_release(&record);
    graph_free(g);
}

/* The row has the product's rank and its own numbers. */
static void row_of_a_product(void **state)
{
    (void)state;
    Err err;
    Graph *g = attention();
    assert_ok(quantize_call(g, &(QuantizeCall){ .options = LIST("mode=static") }, &err), &err);
    ValueId v = graph_find_value(g, STR("row_row"));
    assert_true(v != 0);
    const Tensor *t = graph_value(g, v)->tensor;
    assert_true(t->shape.rank == 3 && t->shape.dims[0] == 1 && t->shape.dims[1] == 1 && t->shape.dims[2] == 8);
    for (int64_t i = 0; i < 8; i++) assert_true(tensor_get(t, i) == (double)(float)build_noise(11, i));
    graph_free(g);
}

/* A second run takes the layers that the first one left, on the grids that are there. */
static void in_two_runs(void **state)
{
    (void)state;
    Err err;
    PassRecord record = { 0 };
    Graph *g = residual();
    static const LayerRule rules[] = { { .match = "b", .skip = true }, { .match = "c", .skip = true } };
    assert_ok(quantize_call(g, &(QuantizeCall){ .options = LIST("mode=static"), .rules = rules, .rule_count = 2 }, &err), &err);
    uint32_t before = g->node_count;
    assert_ok(quantize_call(g, &(QuantizeCall){ .options = LIST("mode=static", "repairs=none"), .record = &record }, &err), &err);
    assert_int_equal(listed_layer(&record, "b")->kind, RECORD_CHANGED);
    assert_int_equal(listed_layer(&record, "c")->kind, RECORD_CHANGED);
    assert_int_equal(listed_layer(&record, "a")->kind, RECORD_SKIPPED);
    for (NodeId n = 1; n <= g->node_count; n++) {
        const Node *node = graph_node(g, n);
        if (node->removed || !str_is(node->type, "QuantizeLinear")) continue;
        NodeId from = graph_value(g, node->inputs[0])->producer;
        if (n > before && from != 0) assert_false(str_is(graph_node(g, from)->type, "DequantizeLinear")); /* no grid upon a grid */
    }
    record_release(&record);
    graph_free(g);
}

/* What calibration sees at an output is laid to the weight that makes it. */
static void infinite_weight(void **state)
{
    (void)state;
    Err err;
    Tensor t;
    Graph *g = attention();
    ValueId w = graph_find_value(g, STR("v"));
    assert_ok(tensor_clone(graph_value(g, w)->tensor, &t, &err), &err);
    tensor_set(&t, 5, INFINITY);
    assert_ok(graph_set_constant(g, w, &t, &err), &err);
    assert_status(quantize_call(g, &(QuantizeCall){ .options = LIST("mode=static") }, &err), ERR_DATA, &err);
    assert_string_equal(err.text, "weight 'v': element 5 is infinite");
    graph_free(g);
}

/* A list without a word is no list, and one that takes in none of the layers is said aloud. */
static void empty_lists(void **state)
{
    (void)state;
    Err err;
    PassRecord record = { 0 };
    Graph *g = residual();
    assert_status(quantize_call(g, &(QuantizeCall){ .options = LIST("repairs=") }, &err), ERR_USAGE, &err);
    assert_non_null(strstr(err.text, "repairs: the list is empty"));
    assert_status(quantize_call(g, &(QuantizeCall){ .options = LIST("ops=") }, &err), ERR_USAGE, &err);
    assert_non_null(strstr(err.text, "ops: the list is empty"));
    assert_ok(quantize_call(g, &(QuantizeCall){ .options = LIST("ops=LSTM"), .record = &record }, &err), &err);
    bool said = false;
    for (size_t i = 0; i < record.count; i++) said |= strstr(record.entries[i].text, "none of its layers is one of LSTM") != NULL;
    assert_true(said);
    record_release(&record);
    graph_free(g);
}

typedef struct Again {
    const char *name;
    Graph *(*make)(void);
    const char *options[6];
    const char *matches[3];
    const char *refused; /* a pattern that fits nothing */
} Again;

static const Again agains[] = {
    { "again, static", residual, { "mode=static" }, { "a", "b" }, "d" },
    { "again, on integers", residual, { "mode=static", "format=qoperator" }, { "a", "b" }, "d" },
    { "again, dynamic", residual, { "mode=dynamic" }, { "a", "b" }, "d" },
    { "again, weights", attention, { "mode=weights", "bits=4", "block=16" }, { "up", "v" }, "w_row" },
    { "again, nbits", attention, { "mode=weights", "bits=4", "block=16", "format=nbits" }, { "up", "v" }, "w_row" },
    { "again, a cell", lstm, { "mode=dynamic" }, { "cell", "out" }, "cells" },
    { "again, a cell's weights", lstm, { "mode=weights" }, { "cell", "w" }, "cells" },
    { "again, a table", words, { "mode=weights" }, { "embed", "head" }, "embeds" },
    { "again, a table of blocks", words, { "mode=weights", "bits=4", "block=32" }, { "embed", "head" }, "embeds" },
    { "again, a table in nbits", words, { "mode=weights", "bits=4", "block=32", "format=nbits" }, { "embed", "head" }, "embeds" },
};

/* The rules of a run hold for a run on its result, too, where the layers they name are listed as quantized already. */
static void with_its_rules(void **state)
{
    const Again *row = *state;
    Err err;
    PassRecord record = { 0 };
    Graph *g = row->make();
    LayerRule rules[2] = { { .match = row->matches[0] }, { .match = row->matches[1], .skip = true } };
    assert_ok(quantize_call(g, &(QuantizeCall){ .options = row->options }, &err), &err);
    QuantizeCall call = { .options = row->options, .rules = rules, .rule_count = 2, .record = &record };
    assert_ok(quantize_call(g, &call, &err), &err);
    assert_non_null(strstr(listed_layer(&record, row->matches[0])->text, "it is quantized already"));
    rules[1].match = row->refused;
    assert_status(quantize_call(g, &call, &err), ERR_USAGE, &err);
    assert_non_null(strstr(err.text, "matches no layer; the nearest is"));
    record_release(&record);
    graph_free(g);
}

int main(void)
{
    enum { MANY = sizeof rows / sizeof *rows };
    enum { AGAINS = sizeof agains / sizeof *agains };
    struct CMUnitTest tests[MANY + 4 + AGAINS];
    for (int i = 0; i < MANY; i++)
        tests[i] = (struct CMUnitTest){ .name = rows[i].name, .test_func = listed, .initial_state = (void *)(uintptr_t)&rows[i] };
    tests[MANY] = (struct CMUnitTest)cmocka_unit_test(row_of_a_product);
    tests[MANY + 1] = (struct CMUnitTest)cmocka_unit_test(in_two_runs);
    tests[MANY + 2] = (struct CMUnitTest)cmocka_unit_test(infinite_weight);
    tests[MANY + 3] = (struct CMUnitTest)cmocka_unit_test(empty_lists);
    for (int i = 0; i < AGAINS; i++)
        tests[MANY + 4 + i] = (struct CMUnitTest){ .name = agains[i].name, .test_func = with_its_rules,
                                                   .initial_state = (void *)(uintptr_t)&agains[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
