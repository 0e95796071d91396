/* The calibration table: what is written is read back, every bad line is named, and a pass gets and leaves it through the runner. */
#include "net.h"

#include "quantize/table.h"

/* x -> a -> "b c" -> an odd name -> y; w is a constant. */
static const char odd[] = "\"q\\u\tote\"\xff#";
static Graph *net(void)
{
    Graph *g = net_new(17);
    ValueId x = net_feed(g, "x", DT_FLOAT, DIMS(2)), w = net_constant(g, "w", DT_FLOAT, DIMS(2), NULL);
    ValueId a = NODE(g, "Add", "1", "layer/a", x, w), b = NODE(g, "Relu", "2", "b c", a), c = NODE(g, "Neg", "3", odd, b);
    net_output(g, NODE(g, "Abs", "4", "y", c));
    net_done(g);
    return g;
}

static TableEntry entry(const Graph *g, const CalibrationTable *t, const char *name)
{
    return calibration_table_find(t, graph_find_value(g, str_of(name)));
}

static void round_trip(void **state)
{
    (void)state;
    Err err;
    Graph *g = net();
    const char *const names[] = { "x", "layer/a", "b c", odd, "y" };
    static const TableLine lines[] = {
        { .ends = { -0.1, 1.0 / 3.0 }, .method = CALIBRATE_MSE },
        { .ends = { (double)-1e-30f, 3.4e38 }, .method = CALIBRATE_PERCENTILE, .is_float = true },
        { .ends = { -0.0, 0.0 }, .method = CALIBRATE_ENTROPY },
        { .ends = { -123456.789, -5e-324 }, .method = CALIBRATE_MOVING },
        { .ends = { 2.0, 2.0 }, .method = CALIBRATE_METHODS, .is_float = true },
    };
    TableLine all[5];
    for (int i = 0; i < 5; i++) {
        all[i] = lines[i];
        all[i].value = graph_find_value(g, str_of(names[i]));
        assert_true(all[i].value != 0);
    }
    StrBuf b = { 0 }, again = { 0 };
    calibration_table_write(g, "balance smooth", all, 5, &b);
    calibration_table_write(g, "balance smooth", all, 5, &again);
    assert_false(b.failed);
    assert_string_equal(b.data, again.data);
    assert_non_null(strstr(b.data, "\n#\"layer/a\" "));
    assert_non_null(strstr(b.data, "\n\"b c\" 0 0 entropy\n"));
    assert_non_null(strstr(b.data, "\"\\\"q\\\\u\\x09ote\\\"\\xff#\" -123456.789"));
    CalibrationTable t;
    assert_ok(calibration_table_read((Str){ b.data, b.len }, "t", g, &t, &err), &err);
    assert_int_equal(t.count, 5);
    assert_string_equal(t.rewritten, "balance smooth");
    for (int i = 0; i < 5; i++) {
        TableEntry e = calibration_table_find(&t, all[i].value);
        assert_int_equal(e.state, all[i].is_float ? TABLE_FLOAT : TABLE_ENDS);
        assert_true(e.ends.low == all[i].ends.low && e.ends.high == all[i].ends.high && e.method == all[i].method);
        assert_int_equal(e.line, 5 + i);
    }
    assert_int_equal(calibration_table_find(&t, 0).state, TABLE_ABSENT);
    assert_int_equal(calibration_table_find(&t, 1000000).state, TABLE_ABSENT);
    calibration_table_release(&t);
    strbuf_release(&b);
    strbuf_release(&again);
    calibration_table_write(g, TABLE_AS_IT_IS, NULL, 0, &b);
    assert_ok(calibration_table_read((Str){ b.data, b.len }, "t", g, &t, &err), &err);
    assert_int_equal(t.count, 0);
    assert_string_equal(t.rewritten, TABLE_AS_IT_IS);
    strbuf_release(&b);
    calibration_table_release(&t);
    assert_int_equal(calibration_table_find(&t, 1).state, TABLE_ABSENT);
    graph_free(g);
}

/* What people type. */
static void by_hand(void **state)
{
    (void)state;
    Err err;
    Graph *g = net();
    static const char text[] = "\xef\xbb\xbf# words, and 3 numbers 1 2 minmax\r\n"
                               "\r\n"
                               "  x\t-1   2.5\tmanual  \r\n"
                               "# layer/a 0 1 mse\r\n"
                               "# y is loud\n"
                               "#x 0\n"
                               "\"b c\" 0x1p-3 1e3 minmax";
    CalibrationTable t;
    assert_ok(calibration_table_read((Str){ text, sizeof text - 1 }, "t", g, &t, &err), &err);
    assert_int_equal(t.count, 3);
    TableEntry x = entry(g, &t, "x"), a = entry(g, &t, "layer/a"), b = entry(g, &t, "b c");
    assert_true(x.state == TABLE_ENDS && x.ends.low == -1.0 && x.ends.high == 2.5 && x.method == CALIBRATE_METHODS && x.line == 3);
    assert_true(a.state == TABLE_FLOAT && a.line == 4);
    assert_true(b.state == TABLE_ENDS && b.ends.low == 0.125 && b.ends.high == 1000.0);
    assert_int_equal(entry(g, &t, "y").state, TABLE_ABSENT);
    calibration_table_release(&t);
    assert_ok(calibration_table_read(STR(""), "t", g, &t, &err), &err);
    calibration_table_release(&t);
    graph_free(g);
}

static void bad_lines(void **state)
{
    (void)state;
    static const struct {
        const char *text, *line, *says;
    } rows[] = {
        { "x", "line 1", "the low end is missing" },
        { "x 0", "line 1", "the high end is missing" },
        { "x 0 1", "line 1", "the method is missing" },
        { "\nx 0 1 magic", "line 2", "method 'magic', expected one of minmax" },
        { "x 0 1 auto", "line 1", "method 'auto'" },
        { "x 0 1 mse mse", "line 1", "'mse' behind the method" },
        { "x zero 1 mse", "line 1", "the low end is 'zero', expected a number" },
        { "x 0 1,5 mse", "line 1", "the high end is '1,5'" },
        { "x nan 1 mse", "line 1", "finite float32" },
        { "x 0 inf mse", "line 1", "finite float32" },
        { "x 0 1e39 mse", "line 1", "finite float32" },
        { "x 0 1e999 mse", "line 1", "finite float32" },
        { "x 2 1 mse", "line 1", "low 2 is above high 1" },
        { "# fine\n\nlayer/b 0 1 mse", "line 3", "no tensor 'layer/b'; did you mean 'layer/a'?" },
        { "#layer/b 0 1 mse", "line 1", "no tensor 'layer/b'" },
        { "zzzzzzzzzz 0 1 mse", "line 1", "no tensor 'zzzzzzzzzz'" },
        { "w 0 1 mse", "line 1", "is a constant" },
        { "x 0 1 mse\nx 0 2 mse", "line 2", "stands on line 1 already" },
        { "x 0 1 mse\n#\"x\" 0 2 mse", "line 2", "stands on line 1 already" },
        { "#\"x\" 0 1", "line 1", "the method is missing" },
        { "\"b c 0 1 mse", "line 1", "closing quote" },
        { "\"b c\"0 1 mse", "line 1", "a blank is missing" },
        { "\"b\\ c\" 0 1 mse", "line 1", "a backslash" },
        { "\"b\\x2\" 0 1 mse", "line 1", "a backslash" },
        { "\"b\\", "line 1", "a backslash" },
        { "\"\" 0 1 mse", "line 1", "the name is empty" },
        { "b\"c 0 1 mse", "line 1", "stands in quotes" },
        { "\\x00", "line 1", "the low end is missing" },
    };
    Err err;
    Graph *g = net();
    CalibrationTable t;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_status(calibration_table_read(str_of(rows[i].text), "my.txt", g, &t, &err), ERR_DATA, &err);
        print_message("%s\n", err.text);
        if (strstr(err.text, rows[i].line) == NULL || strstr(err.text, rows[i].says) == NULL || strncmp(err.text, "my.txt", 6) != 0)
            fail_msg("'%s' says: %s", rows[i].text, err.text);
        calibration_table_release(&t);
    }
    assert_status(calibration_table_read((Str){ "x 0\0 1 mse", 10 }, "my.txt", g, &t, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "a zero byte"));
    calibration_table_release(&t);
    graph_free(g);
}

/* Any cut and any changed byte of a table is read or refused, never worse. */
static void damaged(void **state)
{
    (void)state;
    static const char text[] = "# head\n\"x\" -1 2.5 mse\n#\"b c\" 0 1 minmax\nlayer/a 0 1e3 entropy\n";
    Graph *g = net();
    char copy[sizeof text];
    Rng rng;
    rng_init(&rng, 5);
    for (int i = 0; i < 20000; i++) {
        Err err;
        CalibrationTable t;
        memcpy(copy, text, sizeof text);
        size_t len = i % 2 == 0 ? sizeof text - 1 : (size_t)rng_below(&rng, sizeof text);
        for (int k = 0; k < 1 + i % 3; k++) copy[rng_below(&rng, sizeof text - 1)] = (char)rng_below(&rng, 256);
        char *exact = malloc(len + 1); /* so that a sanitizer sees a read behind the end */
        assert_non_null(exact);
        memcpy(exact, copy, len);
        Status status = calibration_table_read((Str){ exact, len }, "t", g, &t, &err);
        assert_true(status == OK || status == ERR_DATA);
        calibration_table_release(&t);
        free(exact);
    }
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(round_trip), cmocka_unit_test(by_hand), cmocka_unit_test(bad_lines),
                                        cmocka_unit_test(damaged) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
