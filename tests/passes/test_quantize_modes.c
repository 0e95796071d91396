/* Modes, forms and options of quantization, on small networks: what is written, what is listed, what comes out. */
#include "test.h"

#include "quantize_net.h"
#include "stats/left_out.h"

/* ---- networks ---- */

static Graph *recurrent(const char *type, int gates)
{
    Graph *g = build_new(14);
    Err err;
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(5, 2, 6));
    ValueId w = build_weight(g, "w", 3, DIMS(1, gates * 8, 6)), r = build_weight(g, "r", 4, DIMS(1, gates * 8, 8));
    ValueId y = build_node(g, type, "cell", x, w, r, -1);
    assert_ok(graph_set_int(g, build_maker(g, y), "hidden_size", 8, &err), &err);
    ValueId axes = build_constant(g, "one", DT_INT64, (double[]){ 1 }, DIMS(1));
    ValueId flat = build_node(g, "Squeeze", "flat", y, axes, -1);
    build_output(g, build_node(g, "MatMul", "head", flat, build_weight(g, "hw", 5, DIMS(8, 7)), -1));
    return g;
}

static Graph *lstm(void) { return recurrent("LSTM", 4); }
static Graph *gru(void) { return recurrent("GRU", 3); }

/* Words and places looked up, a product, and a head that shares the words' table. */
static Graph *words(void)
{
    Graph *g = build_new(13);
    Err err;
    ValueId x = build_input(g, "words", DT_INT64, DIMS(batch_of(g), 4)), table = build_weight(g, "table", 10, DIMS(24, 32));
    ValueId row = build_node(g, "Gather", "embed", table, x, -1);
    ValueId place = build_node(g, "Gather", "place", build_weight(g, "places", 11, DIMS(9, 32)), build_node(g, "Abs", "abs", x, -1), -1);
    ValueId sum = build_node(g, "Add", "sum", row, place, -1);
    ValueId middle = build_node(g, "MatMul", "middle", sum, build_weight(g, "mw", 12, DIMS(32, 32)), -1);
    ValueId shape = build_constant(g, "shape", DT_INT64, (double[]){ -1, 32 }, DIMS(2));
    ValueId head = build_node(g, "Gemm", "head", build_node(g, "Reshape", "flat", middle, shape, -1), table, -1);
    assert_ok(graph_set_int(g, build_maker(g, head), "transB", 1, &err), &err);
    build_output(g, head);
    return g;
}

/* ---- what must be said of every layer ---- */

static bool listed(const PassRecord *r, Str name)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->entries[i].kind != RECORD_NOTE && str_is(name, r->entries[i].object)) return true;
    return false;
}

static void assert_all_listed(const char *row, const Layer *layers, int count, const PassRecord *r)
{
    for (int i = 0; i < count; i++)
        if (!listed(r, layers[i].name)) fail_msg("%s: layer '%.*s' is neither changed nor skipped", row, STR_ARG(layers[i].name));
}

static int64_t constant_bytes(const Graph *g)
{
    int64_t bytes = 0;
    for (ValueId v = 1; v <= g->value_count; v++)
        if (graph_value(g, v)->tensor != NULL) bytes += (int64_t)graph_value(g, v)->tensor->bytes;
    return bytes;
}

/* ---- rows ---- */

typedef struct ModeRow {
    const char *name;
    Graph *(*make)(void);
    const char *options[8];
    const char *type;  /* of the nodes counted */
    int count;
    double sqnr;       /* at least, dB */
    bool no_data;
} ModeRow;

static const ModeRow mode_rows[] = {
    { "static, plain", residual, { "repairs=none", "calibration=minmax" }, "QuantizeLinear", 7, 25, false },
    { "static, defaults", residual, { NULL }, "QuantizeLinear", 7, 28, false },
    { "static, symmetric int8", residual, { "activations=int8" }, "QuantizeLinear", 7, 22, false },
    { "static, for a GPU", residual, { "target=gpu" }, "QuantizeLinear", 7, 22, false },
    { "static, 7 bits", residual, { "reduce-range=true" }, "QuantizeLinear", 7, 22, false },
    { "static, one scale a tensor", residual, { "block=tensor" }, "QuantizeLinear", 7, 22, false },
    { "static, operators on integers", residual, { "format=qoperator" }, "QLinearConv", 4, 25, false },
    { "static, depthwise, operators on integers", depthwise_with_clip, { "format=qoperator" }, "QLinearConv", 2, 22, false },
    { "static, entropy", residual, { "calibration=entropy" }, "QuantizeLinear", 7, 15, false },
    { "static, percentile", residual, { "calibration=percentile" }, "QuantizeLinear", 7, 20, false },
    { "static, mse", residual, { "calibration=mse" }, "QuantizeLinear", 7, 25, false },
    { "static, moving average", residual, { "calibration=moving" }, "QuantizeLinear", 7, 15, false },
    { "dynamic", residual, { "mode=dynamic" }, "ConvInteger", 4, 25, true },
    { "dynamic, data for the weights", residual, { "mode=dynamic" }, "ConvInteger", 4, 25, false },
    { "dynamic, 7 bits", residual, { "mode=dynamic", "reduce-range=true" }, "ConvInteger", 4, 22, true },
    { "dynamic, one scale a tensor", tied_perceptron, { "mode=dynamic", "block=tensor" }, "MatMulInteger", 3, 25, true },
    { "dynamic, LSTM", lstm, { "mode=dynamic" }, "DynamicQuantizeLSTM", 1, 25, true },
    { "dynamic, LSTM, tensor", lstm, { "mode=dynamic", "block=tensor" }, "DynamicQuantizeLSTM", 1, 25, true },
    { "dynamic, GRU", gru, { "mode=dynamic" }, "GRU", 1, 25, true },
    { "weights, LSTM", lstm, { "mode=weights" }, "DequantizeLinear", 3, 30, true },
    { "weights, GRU in 4 bits", gru, { "mode=weights", "bits=4" }, "DequantizeLinear", 3, 12, true },
    { "weights, words", words, { "mode=weights" }, "Gather", 3, 30, true },
    { "weights, words in nbits", words, { "mode=weights", "format=nbits", "bits=4", "block=32" }, "GatherBlockQuantized", 1, 12, true },
    { "dynamic, words", words, { "mode=dynamic" }, "MatMulInteger", 2, 25, true },
};

static void mode_row(void **state)
{
    const ModeRow *row = *state;
    Err err;
    Graph *g = row->make();
    PassRecord record = { 0 };
    Layer *layers;
    int count;
    build_ready(g);
    assert_ok(layers_find(g, &layers, &count, &err), &err);
    Tensor before = build_run(g, 4, 1.5, true);
    QuantizeCall call = { .options = row->options, .record = &record, .no_data = row->no_data };
    assert_ok(quantize_call(g, &call, &err), &err);
    assert_ok(graph_verify(g, &err), &err);
    if (build_count(g, row->type) != row->count) fail_msg("%d %s, expected %d", build_count(g, row->type), row->type, row->count);
    Tensor plain = build_run(g, 4, 1.5, true), fast = build_run(g, 4, 1.5, false);
    if (!(sqnr(&before, &plain) >= row->sqnr)) fail_msg("%.1f dB, expected %.1f", sqnr(&before, &plain), row->sqnr);
    if (!(sqnr(&before, &fast) >= row->sqnr - 0.5)) fail_msg("%.1f dB by the fast kernels", sqnr(&before, &fast));
    assert_all_listed(row->name, layers, count, &record);
    assert_int_equal(entries(&record, RECORD_SKIPPED), row->make == words ? 1 : 0); /* the places */
    free(layers);
    tensor_release(&before);
    tensor_release(&plain);
    tensor_release(&fast);
    record_release(&record);
    graph_free(g);
}

/* Weights of every width, every block and both forms: fewer bits, fewer bytes, and no more lost than they must. */
static void weights_row(void **state)
{
    static const struct {
        const char *bits;
        double sqnr, share;
    } widths[] = { { "bits=8", 33, 0.40 }, { "bits=4", 10, 0.28 }, { "bits=3", 4, 0.28 }, { "bits=2", -1, 0.28 } };
    static const char *const blocks[] = { "block=channel", "block=tensor", "block=32" };
    const char *format = *state;
    Err err;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++) {
            PassRecord record = { 0 };
            Graph *g = words();
            build_ready(g);
            Tensor before = build_run(g, 4, 1.5, true);
            int64_t bytes = constant_bytes(g);
            QuantizeCall call = { .options = LIST("mode=weights", "tables=yes", format, widths[i].bits, blocks[b]), .record = &record,
                                  .no_data = true };
            assert_ok(quantize_call(g, &call, &err), &err);
            Tensor after = build_run(g, 4, 1.5, true);
            double db = sqnr(&before, &after), share = (double)constant_bytes(g) / (double)bytes;
            if (!(db >= widths[i].sqnr)) fail_msg("%s %s %s: %.1f dB", format, widths[i].bits, blocks[b], db);
            if (!(share <= widths[i].share)) fail_msg("%s %s %s: %.3f of the bytes", format, widths[i].bits, blocks[b], share);
            assert_int_equal(entries(&record, RECORD_SKIPPED), 0);
            record_release(&record);
            tensor_release(&before);
            tensor_release(&after);
            graph_free(g);
        }
}

/* ---- what the integers are ---- */

static void grids_for_a_gpu(void **state)
{
    (void)state;
    Err err;
    Graph *g = residual();
    build_ready(g);
    assert_ok(quantize(g, LIST("target=gpu"), NULL, 0, NULL, &err), &err);
    for (NodeId id = 1; id <= g->node_count; id++) {
        const Node *n = graph_node(g, id);
        if (n->removed || !str_is(n->type, "QuantizeLinear")) continue;
        const Tensor *zero = node_constant(g, n, 2);
        assert_non_null(zero);
        assert_int_equal(zero->type, DT_INT8);
        assert_int_equal(tensor_get_int(zero, 0), 0);
    }
    graph_free(g);
}

static void seven_bits(void **state)
{
    const char *const *options = *state;
    Err err;
    int weights = 0;
    Graph *g = residual();
    build_ready(g);
    assert_ok(quantize(g, options, NULL, 0, NULL, &err), &err);
    for (ValueId v = 1; v <= g->value_count; v++) {
        const Tensor *t = graph_value(g, v)->tensor;
        if (t == NULL || t->type != DT_INT8 || t->shape.rank < 2) continue;
        weights++;
        for (int64_t i = 0; i < tensor_count(t); i++) assert_true(llabs(tensor_get_int(t, i)) <= 64);
    }
    assert_int_equal(weights, 5);
    graph_free(g);
}

static void tied_table_is_stored_once(void **state)
{
    const char *const *options = *state;
    Err err;
    int stored = 0;
    Graph *g = words();
    build_ready(g);
    assert_ok(quantize_call(g, &(QuantizeCall){ .options = options, .no_data = true }, &err), &err);
    ValueId old = graph_find_value(g, STR("table"));
    assert_true(old == 0 || graph_value(g, old)->tensor == NULL);
    for (ValueId v = 1; v <= g->value_count; v++) {
        const Value *value = graph_value(g, v);
        stored += value->tensor != NULL && dtype_is_integer(value->type) && value->type != DT_INT64 && value->name.len > 6
            && memcmp(value->name.data, "table_", 6) == 0 && tensor_count(value->tensor) >= 24 * 32 / 2;
    }
    assert_int_equal(stored, 1);
    graph_free(g);
}

static void tables_by_option_and_name(void **state)
{
    (void)state;
    static const struct {
        const char *tables, *match; /* match NULL: no rule */
        bool skip, embed, place;
    } rows[] = {
        { "tables=auto", NULL, false, true, false },   { "tables=no", NULL, false, false, false },
        { "tables=yes", NULL, false, true, true },     { "tables=no", "place", false, false, true },
        { "tables=auto", "table", true, false, false }, { "tables=no", "*", false, false, false },
    };
    Err err;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        PassRecord record = { 0 };
        Graph *g = words();
        build_ready(g);
        LayerRule rule = { .match = rows[i].match, .skip = rows[i].skip };
        QuantizeCall call = { .options = LIST("mode=weights", rows[i].tables), .rules = &rule, .rule_count = rows[i].match != NULL,
                              .record = &record, .no_data = true };
        assert_ok(quantize_call(g, &call, &err), &err);
        assert_int_equal(listed_layer(&record, "embed")->kind == RECORD_CHANGED, rows[i].embed);
        assert_int_equal(listed_layer(&record, "place")->kind == RECORD_CHANGED, rows[i].place);
        record_release(&record);
        graph_free(g);
    }
}

/* ---- quantize_modes ---- */

static void same_bytes(void **state)
{
    const char *const *options = *state;
    Err err;
    uint64_t first = 0;
    for (int run = 0; run < 3; run++) { /* twice with one thread, once with two */
        Graph *g = residual();
        build_ready(g);
        assert_ok(quantize_call(g, &(QuantizeCall){ .options = options, .threads = run == 2 ? 2 : 1 }, &err), &err);
        if (run == 0) first = fingerprint(g);
        assert_true(fingerprint(g) == first);
        graph_free(g);
    }
}

/* What is in integers already is said to be so, and left. */
static void second_time(void **state)
{
    const char *const *options = *state;
    Err err;
    PassRecord record = { 0 };
    Graph *g = residual();
    build_ready(g);
    assert_ok(quantize(g, options, NULL, 0, NULL, &err), &err);
    Tensor once = build_run(g, 2, 1.0, true);
    const char *const again[] = { options[0], "fold=false", options[1], options[1] != NULL ? options[2] : NULL, NULL };
    assert_ok(quantize(g, again, NULL, 0, &record, &err), &err);
    for (size_t i = 0; i < record.count; i++)
        if (record.entries[i].kind == RECORD_CHANGED) fail_msg("%s: %s", record.entries[i].object, record.entries[i].text);
    Tensor twice = build_run(g, 2, 1.0, true);
    assert_near(build_distance(&twice, &once), 0.0, 0.0);
    static const char *const names[] = { "stem", "a", "b", "c", "fc" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!listed(&record, str_of(names[i]))) fail_msg("'%s' is not listed", names[i]);
    tensor_release(&once);
    tensor_release(&twice);
    record_release(&record);
    graph_free(g);
}

static Status float_table(Graph *g, PassRecord *record, const char *table, Err *err)
{
    return quantize_call(g, &(QuantizeCall){ .options = LIST("table=the.table"), .record = record, .table = table }, err);
}

/* The table that a run saves gives the same network again; a line commented out keeps that tensor, the layers that read it and
 * the convolution that makes it in float. */
static void table_and_back(void **state)
{
    (void)state;
    Err err;
    StrBuf saved = { 0 }, again = { 0 };
    PassRecord record = { 0 };
    Graph *g = residual();
    build_ready(g);
    assert_ok(quantize_call(g, &(QuantizeCall){ .options = LIST("save-table=t"), .saved = &saved }, &err), &err);
    uint64_t first = fingerprint(g);
    graph_free(g);
    g = residual();
    build_ready(g);
    QuantizeCall call = { .options = LIST("table=t", "save-table=t"), .table = saved.data, .saved = &again };
    assert_ok(quantize_call(g, &call, &err), &err);
    assert_true(fingerprint(g) == first);
    assert_string_equal(saved.data, again.data);
    graph_free(g);
    strbuf_release(&again);

    char *line = strstr(saved.data, "\"a_r\""); /* the second Relu, read by b */
    if (line == NULL) fail_msg("no line for a_r in:\n%s", saved.data);
    StrBuf edited = { 0 };
    strbuf_printf(&edited, "%.*s#%s", (int)(line - saved.data), saved.data, line);
    g = residual();
    build_ready(g);
    assert_ok(quantize_call(g, &(QuantizeCall){ .options = LIST("table=t", "save-table=t"), .table = edited.data, .saved = &again,
                                                .record = &record }, &err), &err);
    const RecordEntry *b = listed_layer(&record, "b");
    assert_int_equal(b->kind, RECORD_SKIPPED);
    assert_non_null(strstr(b->text, "table"));
    assert_non_null(strstr(listed_layer(&record, "a")->text, "keeps its output")); /* a convolution cannot make floats of integers */
    assert_int_equal(entries(&record, RECORD_SKIPPED), 2);
    assert_non_null(strstr(again.data, "#\"a_r\"")); /* and is kept so */
    strbuf_release(&saved);
    strbuf_release(&edited);
    strbuf_release(&again);
    record_release(&record);
    graph_free(g);
}

static void table_of_another_plan(void **state)
{
    (void)state;
    static const struct {
        const char *table, *says;
    } rows[] = {
        { "\"x\" -1 1 manual\n\"flat\" -1 1 manual\n", "line 2" },    /* moves the mean's integers */
        { "\"fc\" -1 1 manual\n", "stays float" },                    /* the output */
        { "# first\n#\"stem\" -1 1 manual\n", "line 2" },             /* before its Relu */
    };
    Err err;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Graph *g = residual();
        build_ready(g);
        assert_status(float_table(g, NULL, rows[i].table, &err), ERR_DATA, &err);
        if (strstr(err.text, rows[i].says) == NULL) fail_msg("'%s' does not say '%s'", err.text, rows[i].says);
        graph_free(g);
    }
}

#define MANY(array) (sizeof(array) / sizeof *(array))
#define ROW(name_, function, value) (struct CMUnitTest){ .name = name_, .test_func = function, .initial_state = (void *)(uintptr_t)(value) }

int main(void)
{
    static const char *const reduced[] = { "reduce-range=true", NULL };
    static const char *const reduced_dynamic[] = { "mode=dynamic", "reduce-range=true", NULL };
    static const char *const tied[][5] = { { "mode=weights", NULL }, { "mode=weights", "bits=4", "block=32", NULL },
                                           { "mode=weights", "bits=4", "format=nbits", "block=32", NULL } };
    struct CMUnitTest tests[MANY(mode_rows) + 2 * MANY(quantize_modes) + MANY(tied) + 9];
    size_t n = 0;
    for (size_t i = 0; i < MANY(mode_rows); i++) tests[n++] = ROW(mode_rows[i].name, mode_row, &mode_rows[i]);
    for (size_t i = 0; i < MANY(quantize_modes); i++) tests[n++] = ROW("same bytes, one thread and two", same_bytes, quantize_modes[i]);
    for (size_t i = 0; i < MANY(quantize_modes); i++) tests[n++] = ROW("a second time", second_time, quantize_modes[i]);
    for (size_t i = 0; i < MANY(tied); i++) tests[n++] = ROW("a tied table is stored once", tied_table_is_stored_once, tied[i]);
    tests[n++] = ROW("weights as DequantizeLinear", weights_row, "format=qdq");
    tests[n++] = ROW("weights as MatMulNBits", weights_row, "format=nbits");
    tests[n++] = ROW("7 bits, static", seven_bits, reduced);
    tests[n++] = ROW("7 bits, dynamic", seven_bits, reduced_dynamic);
    const struct CMUnitTest others[] = {
        cmocka_unit_test(grids_for_a_gpu), cmocka_unit_test(tables_by_option_and_name), cmocka_unit_test(table_and_back),
        cmocka_unit_test(table_of_another_plan),
    };
    for (size_t i = 0; i < MANY(others); i++) tests[n++] = others[i];
    return _cmocka_run_group_tests("quantize modes", tests, n, NULL, NULL);
}
