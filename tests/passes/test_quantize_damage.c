/* What quantization refuses, and what it makes of damaged weights and constant activations, in every mode. */
#include "test.h"

#include "quantize_net.h"

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *options[4], *says;
        const char *rule[2]; /* an option of layer 'a' and its value */
        bool no_data;
    } rows[] = {
        { { "mode=static" }, "--data", { NULL }, true },
        { { "bits=4" }, "--mode=weights", { NULL }, false },
        { { "mode=dynamic", "bits=4" }, "--mode=weights", { NULL }, false },
        { { "block=32" }, "--mode=weights", { NULL }, false },
        { { "mode=dynamic", "block=64" }, "--mode=weights", { NULL }, false },
        { { "format=nbits" }, "choose qdq", { NULL }, false },
        { { "mode=dynamic", "format=nbits" }, "choose qdq", { NULL }, false },
        { { "mode=dynamic", "format=qoperator" }, "leave format out", { NULL }, false },
        { { "mode=weights", "format=qoperator" }, "choose qdq or nbits", { NULL }, false },
        { { "symmetric=no" }, "leave symmetric out", { NULL }, false },
        { { "mode=dynamic", "activations=int8" }, "--mode=static", { NULL }, false },
        { { "mode=weights", "activations=uint8" }, "leave activations out", { NULL }, false },
        { { "mode=weights", "reduce-range=true" }, "--bits=7", { NULL }, false },
        { { "mode=dynamic", "target=gpu" }, "--mode=static", { NULL }, false },
        { { "target=gpu", "activations=uint8" }, "leave activations out", { NULL }, false },
        { { "mode=weights", "table=t" }, "--mode=static", { NULL }, false },
        { { "mode=dynamic", "table=t" }, "--mode=static", { NULL }, false },
        { { "mode=weights", "save-table=t" }, "leave save-table out", { NULL }, false },
        { { "mode=weights", "outputs=true" }, "--mode=static", { NULL }, false },
        { { "mode=weights", "calibration=mse" }, "leave calibration out", { NULL }, false },
        { { "mode=dynamic", "calibration=minmax" }, "leave calibration out", { NULL }, false },
        { { "mode=weights", "percentile=99" }, "percentile is for", { NULL }, false },
        { { "mode=dynamic", "percentile=99" }, "percentile is for", { NULL }, false },
        { { "calibration=mse", "percentile=99" }, "percentile is for", { NULL }, false },
        { { "calibration=minmax", "percentile=99.999" }, "percentile is for", { NULL }, false }, /* also what is taken unless named */
        { { "mode=weights", "percentile=99.999" }, "percentile is for", { NULL }, false },
        { { "percentile=20" }, "expected 50.5 to 100", { NULL }, false },
        { { "mode=weights", "repairs=bias" }, "--data", { NULL }, true },
        { { "mode=weights", "repairs=gptq,equalize" }, "--data", { NULL }, true },
        { { "mode=dynamic", "repairs=gptq" }, "--data", { NULL }, true },
        { { "mode=weights", "repairs=smooth" }, "--mode=static", { NULL }, false },
        { { "mode=dynamic", "repairs=bias,absorb" }, "--mode=static", { NULL }, false },
        { { "repairs=best" }, "no repair", { NULL }, false },
        { { "repairs=auto,bias" }, "alone", { NULL }, false },
        { { "ops=Softmax" }, "choose from", { NULL }, false },
        { { NULL }, "layer 'a'", { "bits", "4" }, false },
        { { "mode=dynamic" }, "layer 'a'", { "block", "32" }, false },
        { { "mode=weights" }, "layer 'a'", { "reduce-range", "true" }, false },
    };
    Err err;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Graph *g = residual();
        build_ready(g);
        uint64_t before = fingerprint(g);
        const char *names[] = { rows[i].rule[0] }, *values[] = { rows[i].rule[1] };
        LayerRule rule = { .match = "a", .names = names, .values = values, .count = 1 };
        QuantizeCall call = { .options = rows[i].options, .rules = &rule, .rule_count = rows[i].rule[0] != NULL,
                              .no_data = rows[i].no_data };
        Status status = quantize_call(g, &call, &err);
        if (status != ERR_USAGE) fail_msg("row %zu (%s): status %d: %s", i, rows[i].says, (int)status, err.text);
        if (strstr(err.text, rows[i].says) == NULL) fail_msg("'%s' does not say '%s'", err.text, rows[i].says);
        assert_true(fingerprint(g) == before);
        graph_free(g);
    }
}

typedef enum Damage { NAN_WEIGHT, NAN_CHANNEL, INFINITE_WEIGHT, ZERO_WEIGHT, ZERO_CHANNEL, EQUAL_WEIGHTS, TINY_WEIGHTS } Damage;

static void damage(Graph *g, Damage what)
{
    Err err;
    Tensor *t;
    const Node *n = graph_node(g, graph_value(g, graph_find_value(g, STR("a")))->producer);
    assert_ok(tensor_make_writable(g, n->inputs[1], &t, &err), &err);
    int64_t channel = tensor_count(t) / 8;
    for (int64_t i = 0; i < tensor_count(t); i++) {
        bool first = i < channel;
        double v = tensor_get(t, i);
        if (what == NAN_WEIGHT) v = i == 5 ? NAN : v;
        else if (what == NAN_CHANNEL) v = first ? NAN : v;
        else if (what == INFINITE_WEIGHT) v = i == 7 ? -INFINITY : v;
        else if (what == ZERO_WEIGHT) v = 0.0;
        else if (what == ZERO_CHANNEL) v = first ? 0.0 : v;
        else if (what == EQUAL_WEIGHTS) v = 0.25;
        else v = first ? v * 1e-30 : v;
        tensor_set(t, i, v);
    }
}

static void damaged_weights(void **state)
{
    (void)state;
    Err err;
    for (size_t m = 0; m < sizeof quantize_modes / sizeof *quantize_modes; m++)
        for (int what = NAN_WEIGHT; what <= TINY_WEIGHTS; what++) {
            PassRecord record = { 0 };
            bool whole = what >= ZERO_WEIGHT;
            Graph *g = residual();
            damage(g, what);
            build_ready(g);
            Tensor before = build_run(g, 3, 1.0, true);
            /* With NaN in the network there is nothing to choose by: the weights alone, or by ends. */
            const char *const *mode = quantize_modes[m];
            const char *const options[] = { mode[0], mode[1] != NULL ? mode[1] : "samples=64", NULL };
            Status status = quantize_call(g, &(QuantizeCall){ .options = options, .record = &record }, &err);
            if (status == ERR_DATA && !whole) { /* said so, with the layer or tensor */
                assert_non_null(strchr(err.text, '\''));
            } else {
                if (status != OK) fail_msg("mode %zu, damage %d: %d %s", m, what, (int)status, err.text);
                const RecordEntry *a = listed_layer(&record, "a");
                assert_non_null(a);
                assert_int_equal(a->kind, whole ? RECORD_CHANGED : RECORD_SKIPPED);
                if (!whole) assert_non_null(strstr(a->text, "NaN"));
                Tensor after = build_run(g, 3, 1.0, true);
                if (whole && !(sqnr(&before, &after) >= (m == 4 ? -3 : m == 3 ? 8 : 20)))
                    fail_msg("mode %zu, damage %d: %.1f dB", m, what, sqnr(&before, &after));
                tensor_release(&after);
            }
            tensor_release(&before);
            record_release(&record);
            graph_free(g);
        }
}

/* An activation that is the same number always, or nothing but zeros. */
static void constant_activations(void **state)
{
    (void)state;
    static const double factors[] = { 0.0, 1e-20, 1.0 };
    Err err;
    for (size_t m = 0; m < sizeof quantize_modes / sizeof *quantize_modes; m++)
        for (size_t i = 0; i < sizeof factors / sizeof *factors; i++) {
            Graph *g = build_new(13);
            ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 4));
            ValueId zero = build_constant(g, "zero", DT_FLOAT, (double[]){ 0.0 }, DIMS(1));
            ValueId add = build_constant(g, "add", DT_FLOAT, (double[]){ factors[i] }, DIMS(1));
            ValueId flat = build_node(g, "Add", "same", build_node(g, "Mul", "none", x, zero, -1), add, -1);
            ValueId a = build_node(g, "Gemm", "a", flat, build_weight(g, "aw", 1, DIMS(4, 8)), build_weight(g, "ab", 2, DIMS(8)), -1);
            build_output(g, build_node(g, "Gemm", "b", a, build_weight(g, "bw", 3, DIMS(8, 3)), -1));
            build_ready(g);
            Tensor before = build_run(g, 2, 1.0, true);
            assert_ok(quantize(g, quantize_modes[m], NULL, 0, NULL, &err), &err);
            Tensor after = build_run(g, 2, 1.0, true);
            for (int64_t k = 0; k < tensor_count(&after); k++) assert_true(isfinite(tensor_get(&after, k)));
            if (!(sqnr(&before, &after) >= (m == 4 ? -3 : m == 3 ? 8 : 20)))
                fail_msg("mode %zu, %g: %.1f dB", m, factors[i], sqnr(&before, &after));
            tensor_release(&before);
            tensor_release(&after);
            graph_free(g);
        }
}

/* One channel of denormal weights and a huge bias: factors that even it out leave float32, and are not kept. */
static void rewrite_beyond_float32(void **state)
{
    (void)state;
    enum { WIDTH = 12 };
    Err err;
    PassRecord record = { 0 };
    double weights[WIDTH * WIDTH], bias[WIDTH];
    for (int i = 0; i < WIDTH * WIDTH; i++) weights[i] = (i % WIDTH == 3 ? 1e-39 : 0.02) * (i * 37 % 61 - 30);
    for (int i = 0; i < WIDTH; i++) bias[i] = i == 3 ? 1e20 : 0.1 * i;
    Graph *g = build_new(13);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), WIDTH));
    ValueId a = build_node(g, "Gemm", "a", x, build_constant(g, "wa", DT_FLOAT, weights, DIMS(WIDTH, WIDTH)),
                           build_constant(g, "ba", DT_FLOAT, bias, DIMS(WIDTH)), -1);
    build_output(g, build_node(g, "Gemm", "c", build_node(g, "Relu", "r", a, -1), build_weight(g, "wc", 9, DIMS(WIDTH, 5)),
                               build_weight(g, "bc", 8, DIMS(5)), -1));
    build_ready(g);
    assert_ok(quantize(g, NULL, NULL, 0, &record, &err), &err);
    bool said = false;
    for (size_t i = 0; i < record.count; i++) said |= strstr(record.entries[i].text, "it leaves float32") != NULL;
    assert_true(said);
    record_release(&record);
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused), cmocka_unit_test(damaged_weights), cmocka_unit_test(constant_activations),
        cmocka_unit_test(rewrite_beyond_float32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
