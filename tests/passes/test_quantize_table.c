/* Tables beside rewrites of the network: ends of rescaled tensors fit no others. */
#include "test.h"

#include <math.h>
#include <string.h>

#include "quantize_net.h"

/* The same numbers again and again, in [-1, 1). */
static double noise(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 40) / 8388608.0 - 1.0;
}

/* Conv, Relu, Conv: channels of very different size between them, which rewrites even out. */
static Graph *uneven(void)
{
    enum { BETWEEN = 16, OUT = 8 };
    Graph *g = build_new(13);
    Err err;
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 3, 8, 8));
    Tensor first, second;
    int64_t first_dims[] = { BETWEEN, 3, 3, 3 }, second_dims[] = { OUT, BETWEEN, 3, 3 };
    Shape first_shape = shape_of(4, first_dims), second_shape = shape_of(4, second_dims);
    uint64_t state = 12345;
    assert_ok(tensor_new(&first, DT_FLOAT, &first_shape, &err), &err);
    assert_ok(tensor_new(&second, DT_FLOAT, &second_shape, &err), &err);
    for (int64_t i = 0; i < tensor_count(&first); i++)
        tensor_set(&first, i, noise(&state) * 0.01 * pow(10.0, (double)(i / 27 % BETWEEN) / 8.0 - 1.0));
    for (int64_t i = 0; i < tensor_count(&second); i++)
        tensor_set(&second, i, noise(&state) * 100.0 * pow(10.0, 1.0 - (double)(i / 9 % BETWEEN) / 8.0));
    ValueId a = build_node(g, "Relu", "r", build_node(g, "Conv", "a", x, graph_add_constant(g, STR("wa"), &first), -1), -1);
    ValueId b = build_node(g, "Conv", "b", a, graph_add_constant(g, STR("wb"), &second), -1);
    build_output(g, head(g, build_node(g, "Relu", "r2", b, -1), OUT));
    return g;
}

/* What is left of the network's output, in dB. */
static double quantized(const char *const *options, const char *table, StrBuf *saved, PassRecord *record)
{
    Err err;
    Graph *g = uneven();
    Tensor before = build_run(g, 4, 1.0, true);
    assert_ok(quantize_call(g, &(QuantizeCall){ .options = options, .table = table, .saved = saved, .record = record }, &err), &err);
    Tensor after = build_run(g, 4, 1.0, true);
    double db = sqnr(&before, &after);
    tensor_release(&before);
    tensor_release(&after);
    graph_free(g);
    return db;
}

static bool warned(const PassRecord *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->entries[i].object, "table") == 0 && strstr(r->entries[i].text, "may not fit") != NULL) return true;
    return false;
}

/* Ends of the network as it is: nothing is rewritten. Ends by hand: rewrites are judged with them, none is kept that takes the tensors
 * away from them. */
static void plain_table(void **state)
{
    (void)state;
    StrBuf saved = { 0 };
    PassRecord record = { 0 };
    double without = quantized(LIST("repairs=none", "calibration=minmax", "save-table=t"), NULL, &saved, NULL);
    char *line = strstr(saved.data, "# The network was rewritten first by: nothing\n");
    assert_non_null(line);
    for (int by_hand = 0; by_hand < 2; by_hand++) {
        double with = quantized(LIST("table=t"), saved.data, NULL, &record);
        print_message("without repairs %.1f dB, that table with repairs %.1f dB\n", without, with);
        assert_true(with > without - 1.0);
        assert_false(warned(&record));
        record_release(&record);
        memset(line, '#', strlen("# The network was rewritten first by: nothing"));
    }
    strbuf_release(&saved);
}

/* A table says which rewrites its ends belong to. */
static void rewritten_table(void **state)
{
    (void)state;
    StrBuf saved = { 0 };
    PassRecord record = { 0 };
    double first = quantized(LIST("save-table=t"), NULL, &saved, NULL);
    assert_non_null(strstr(saved.data, "# The network was rewritten first by: "));
    double again = quantized(LIST("table=t"), saved.data, NULL, &record);
    assert_near(again, first, 0.5);
    assert_false(warned(&record));
    record_release(&record);
    double apart = quantized(LIST("repairs=none", "table=t"), saved.data, NULL, &record);
    print_message("%.1f dB, again %.1f dB, without its rewrites %.1f dB\n", first, again, apart);
    assert_true(apart < first - 10.0);
    assert_true(warned(&record));
    record_release(&record);
    strbuf_release(&saved);
}

/* Hardly anything is left: said, and not only where gptq is told of. */
static void ruined(void **state)
{
    (void)state;
    PassRecord record = { 0 };
    bool said = false;
    assert_true(quantized(LIST("repairs=none", "table=t"), "\"x\" 0 0 manual\n", NULL, &record) < 10.0);
    for (size_t i = 0; i < record.count; i++) said |= strstr(record.entries[i].text, "hardly anything of it is left") != NULL;
    assert_true(said);
    record_release(&record);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(plain_table), cmocka_unit_test(rewritten_table), cmocka_unit_test(ruined) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
