/* What static quantization does not even try, and says so. */
#include "test.h"

#include "quantize_net.h"

/* Weights that are integers in steps of 1/64 with the largest at 127: no rounding moves them. */
static Graph *on_grid(void)
{
    Graph *g = residual();
    for (ValueId v = 1; v <= g->value_count; v++) {
        const Value *value = graph_value(g, v);
        if (value->tensor == NULL || value->shape.rank < 2) continue;
        Err err;
        Tensor t;
        assert_ok(tensor_clone(value->tensor, &t, &err), &err);
        int64_t rows = value->shape.rank == 4 ? t.shape.dims[0] : 1, width = tensor_count(&t) / rows;
        for (int64_t i = 0; i < tensor_count(&t); i++)
            tensor_set(&t, i, i % width == 0 ? 127.0 / 64.0 : (double)((i * 37) % 61 - 30) / 64.0);
        assert_ok(graph_set_constant(g, v, &t, &err), &err);
    }
    return g;
}

static Graph *perceptron(void)
{
    Graph *g = build_new(13);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 12));
    ValueId a = build_node(g, "Relu", "a_r", build_node(g, "Gemm", "a", x, build_weight(g, "w", 10, DIMS(12, 16)), -1), -1);
    build_output(g, build_node(g, "Gemm", "b", a, build_weight(g, "v", 11, DIMS(16, 8)), -1));
    return g;
}

static bool says(const PassRecord *r, const char *object, const char *start)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->entries[i].object, object) == 0 && r->entries[i].kind == RECORD_NOTE)
            return strncmp(r->entries[i].text, start, strlen(start)) == 0;
    return false;
}

static void not_tried(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        Graph *(*make)(void);
        const char *object, *start;
    } rows[] = {
        { "weights on a grid leave nothing to round", on_grid, "gptq", "not tried: output SQNR" },
        { "random weights do", residual, "gptq", "output SQNR" },
        { "one small product behind convolutions", residual, "smooth", "not tried: the layers it could help do 0.0" },
        { "nothing but products", perceptron, "smooth", "output SQNR" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Err err;
        PassRecord record = { 0 };
        Graph *g = rows[i].make();
        QuantizeCall call = { .options = (const char *const[]){ "mode=static", NULL }, .record = &record };
        assert_ok(quantize_call(g, &call, &err), &err);
        if (!says(&record, rows[i].object, rows[i].start)) {
            for (size_t k = 0; k < record.count; k++) print_message("%s: %s\n", record.entries[k].object, record.entries[k].text);
            fail_msg("%s", rows[i].name);
        }
        record_release(&record);
        graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(not_tried) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
