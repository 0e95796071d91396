#include "test.h"

#include "base/rng.h"
#include "formats/onnx.h"
#include "quantize/file_size.h"
#include "quantize_net.h"

/* ---- networks ---- */

/* Three layers; the input of the second has one channel 20,000 times as large as the others, which one grid cannot tell from 0. */
static Graph *one_breaks(void)
{
    Graph *g = build_new(13);
    double wide[16 * 16], narrow[16 * 10];
    Rng rng;
    rng_init(&rng, 3);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 16));
    for (int i = 0; i < 256; i++) wide[i] = 0.25 * rng_normal(&rng) * (i % 16 == 0 ? 20000.0 : 1.0);
    ValueId wa = build_constant(g, "wa", DT_FLOAT, wide, DIMS(16, 16));
    ValueId a = build_node(g, "Relu", "a_r", build_node(g, "MatMul", "a", x, wa, -1), -1);
    for (int i = 0; i < 256; i++) wide[i] = rng_normal(&rng) / (i / 16 == 0 ? 20000.0 : 1.0);
    ValueId wb = build_constant(g, "wb", DT_FLOAT, wide, DIMS(16, 16));
    ValueId b = build_node(g, "Relu", "b_r", build_node(g, "MatMul", "b", a, wb, -1), -1);
    for (int i = 0; i < 160; i++) narrow[i] = rng_normal(&rng);
    build_output(g, build_node(g, "MatMul", "c", b, build_constant(g, "wc", DT_FLOAT, narrow, DIMS(16, 10)), -1));
    build_ready(g);
    return g;
}

/* The difference of two layers whose weights lie on one integer grid, neighbours large and of one sign, a few steps apart: exact in 8 bits,
 * and lost under the pair rule. A third layer loses nothing by it. */
static Graph *pairs_cost(void)
{
    Graph *g = build_new(13);
    double first[32 * 16], second[32 * 16], third[16 * 10];
    Rng rng;
    rng_init(&rng, 5);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 32));
    for (int i = 0; i < 32 * 16; i++) {
        double sign = i / 16 % 4 < 2 ? 1.0 : -1.0, large = i / 16 < 4 ? 127.0 : 105.0 + (double)rng_below(&rng, 20);
        first[i] = sign * large / 127.0;
        second[i] = sign * (large - (i / 16 < 4 ? 0.0 : (double)rng_below(&rng, 4))) / 127.0;
    }
    ValueId a = build_node(g, "MatMul", "a", x, build_constant(g, "wa", DT_FLOAT, first, DIMS(32, 16)), -1);
    ValueId b = build_node(g, "MatMul", "b", x, build_constant(g, "wb", DT_FLOAT, second, DIMS(32, 16)), -1);
    for (int i = 0; i < 160; i++) third[i] = rng_normal(&rng) * (i / 10 % 2 == 1 ? 0.002 : 1.0); /* no pair beyond it */
    ValueId c = build_constant(g, "wc", DT_FLOAT, third, DIMS(16, 10));
    build_output(g, build_node(g, "MatMul", "c", build_node(g, "Sub", "apart", a, b, -1), c, -1));
    build_ready(g);
    return g;
}

/* ---- what the record says ---- */

static const RecordEntry *entry_of(const PassRecord *r, const char *object, const char *text)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->entries[i].object, object) == 0 && strstr(r->entries[i].text, text) != NULL) return &r->entries[i];
    return NULL;
}

static double number_of(const RecordEntry *e, const char *name)
{
    assert_non_null(e);
    for (int i = 0; i < e->number_count; i++)
        if (strcmp(e->numbers[i].name, name) == 0) return e->numbers[i].value;
    fail_msg("'%s' has no number '%s'", e->object, name);
    return 0.0;
}

static int count_type(const Graph *g, DType type, int rank)
{
    int count = 0;
    for (ValueId v = 1; v <= g->value_count; v++) {
        const Value *value = graph_value(g, v);
        count += value->tensor != NULL && value->tensor->type == type && value->tensor->shape.rank == rank;
    }
    return count;
}

static Status run_on(Graph *g, const char *const *options, int64_t samples, PassRecord *record, Err *err)
{
    return quantize_call(g, &(QuantizeCall){ .options = options, .samples = samples, .record = record }, err);
}

/* ---- static ---- */

#define PLAINLY "repairs=none", "calibration=minmax"

static void layer_that_breaks_stays_float(void **state)
{
    (void)state;
    Err err;
    PassRecord record = { 0 };
    Graph *g = one_breaks();
    assert_ok(run_on(g, (const char *[]){ PLAINLY, "max-accuracy-drop=8", NULL }, 256, &record, &err), &err);
    assert_int_equal(entries(&record, RECORD_SKIPPED), 1);
    assert_non_null(entry_of(&record, "b", "accuracy needs it in float"));
    assert_non_null(entry_of(&record, "b", "kept in float"));
    const RecordEntry *choice = entry_of(&record, "mixed precision", "of 3 layers");
    assert_non_null(strstr(choice->text, "met"));
    assert_true(number_of(choice, "accuracy_drop") <= 8.0);
    assert_near(number_of(choice, "layers_float"), 1.0, 0.0);
    double broken = number_of(entry_of(&record, "b", "sensitivity"), "sensitivity_db");
    assert_true(broken + 10.0 < number_of(entry_of(&record, "a", "sensitivity"), "sensitivity_db"));
    assert_true(broken + 10.0 < number_of(entry_of(&record, "c", "sensitivity"), "sensitivity_db"));
    assert_int_equal(count_type(g, DT_INT8, 2), 2);
    record_release(&record);
    graph_free(g);
}

/* The same without the goal: the layer is in integers, and breaks. */
static void nobody_asks(void **state)
{
    (void)state;
    Err err;
    PassRecord record = { 0 };
    Graph *g = one_breaks();
    assert_ok(run_on(g, (const char *[]){ PLAINLY, NULL }, 256, &record, &err), &err);
    assert_null(entry_of(&record, "b", "sensitivity"));
    assert_int_equal(count_type(g, DT_INT8, 2), 3);
    record_release(&record);
    graph_free(g);
}

static void room_goes_to_float(void **state)
{
    (void)state;
    Err err;
    PassRecord record = { 0 };
    Graph *g = one_breaks();
    double whole = file_size(g);
    assert_ok(run_on(g, (const char *[]){ PLAINLY, "max-size=95%", NULL }, 256, &record, &err), &err);
    assert_true(file_size(g) <= 0.95 * whole);
    assert_non_null(entry_of(&record, "b", "kept in float"));
    assert_non_null(entry_of(&record, "max-size", ": met"));
    record_release(&record);
    graph_free(g);
}

static void size_out_of_reach_is_said(void **state)
{
    (void)state;
    Err err;
    PassRecord record = { 0 };
    Graph *g = one_breaks();
    assert_ok(run_on(g, (const char *[]){ PLAINLY, "max-size=5%", "max-accuracy-drop=8", NULL }, 256, &record, &err), &err);
    assert_non_null(entry_of(&record, "max-size", "missed"));
    assert_non_null(entry_of(&record, "mixed precision", "missed"));
    assert_int_equal(count_type(g, DT_INT8, 2), 3);
    record_release(&record);
    graph_free(g);
}

/* ---- weights ---- */

static void bits_climb_until_it_holds(void **state)
{
    (void)state;
    Err err;
    PassRecord record = { 0 };
    Graph *g = one_breaks();
    assert_ok(run_on(g, (const char *[]){ "mode=weights", "bits=2", "max-accuracy-drop=4", NULL }, 256, &record, &err), &err);
    const RecordEntry *choice = entry_of(&record, "mixed precision", "of 3 weights");
    assert_true(number_of(choice, "accuracy_drop") <= 4.0);
    assert_true(number_of(choice, "layers_raised") + number_of(choice, "layers_float") > 0.0);
    assert_non_null(entry_of(&record, "max-accuracy-drop", "met"));
    record_release(&record);
    graph_free(g);
}

static void bits_within_a_size(void **state)
{
    static const struct {
        const char *limit;
        double share;
        bool met;
    } rows[] = { { "max-size=100%", 1.0, true }, { "max-size=85%", 0.85, true }, { "max-size=1%", 0.01, false } };
    (void)state;
    Err err;
    double last = INFINITY;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        PassRecord record = { 0 };
        Graph *g = one_breaks();
        double whole = file_size(g);
        assert_ok(run_on(g, (const char *[]){ "mode=weights", "bits=2", rows[i].limit, NULL }, 64, &record, &err), &err);
        double size = file_size(g);
        assert_int_equal(size <= rows[i].share * whole, rows[i].met);
        assert_non_null(entry_of(&record, "max-size", rows[i].met ? ": met" : "missed"));
        assert_true(size <= last);
        last = size;
        record_release(&record);
        graph_free(g);
    }
}

static void dynamic_stays_float_where_asked(void **state)
{
    (void)state;
    Err err;
    PassRecord record = { 0 };
    Graph *g = one_breaks();
    assert_ok(run_on(g, (const char *[]){ "mode=dynamic", "max-accuracy-drop=8", NULL }, 256, &record, &err), &err);
    assert_non_null(entry_of(&record, "b", "kept in float"));
    assert_true(number_of(entry_of(&record, "mixed precision", "weights"), "accuracy_drop") <= 8.0);
    record_release(&record);
    graph_free(g);
}

/* ---- uint8 weights ---- */

static void pairs_that_cost_take_uint8(void **state)
{
    (void)state;
    Err err;
    static const struct {
        const char *target;
        int shifted;
    } rows[] = { { "target=portable", 2 }, { "target=x86-vnni", 0 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        PassRecord record = { 0 };
        Graph *g = pairs_cost();
        assert_ok(run_on(g, (const char *[]){ PLAINLY, rows[i].target, NULL }, 64, &record, &err), &err);
        assert_int_equal(count_type(g, DT_UINT8, 2), rows[i].shifted);
        assert_int_equal(count_type(g, DT_INT8, 2), 3 - rows[i].shifted);
        assert_int_equal(entry_of(&record, "a", "uint8 weights: output SQNR") != NULL, rows[i].shifted > 0);
        assert_null(entry_of(&record, "c", "uint8 weights"));
        record_release(&record);
        graph_free(g);
    }
}

/* ---- sizes and bad input ---- */

static void size_is_near_the_file(void **state)
{
    (void)state;
    Err err;
    char path[] = "/tmp/pare-mixed-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    Graph *g = residual();
    build_ready(g);
    for (int i = 0; i < 2; i++) { /* in float, in integers */
        if (i == 1) assert_ok(run_on(g, NULL, 16, NULL, &err), &err);
        assert_ok(onnx_save(g, path, &(SaveOptions){ 0 }, &err), &err);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        assert_int_equal(fseek(f, 0, SEEK_END), 0);
        double real = (double)ftell(f);
        fclose(f);
        assert_in_set((uintmax_t)(file_size(g) >= 0.97 * real && file_size(g) <= 1.2 * real), ((const uintmax_t[]){ 1 }), 1);
    }
    close(fd);
    unlink(path);
    graph_free(g);
}

static void bad_input(void **state)
{
    (void)state;
    static const struct {
        const char *options[3];
        bool no_data;
        const char *says;
    } rows[] = {
        { { "max-accuracy-drop=1", "mode=weights" }, true, "calibration data" },
        { { "max-size=50%", "mode=weights" }, true, "calibration data" },
        { { "max-accuracy-drop=1" }, true, "calibration data" },
        { { "max-size=half" }, false, "not a size" },
        { { "max-accuracy-drop=-0.5" }, false, "0 to 100" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Err err;
        Graph *g = one_breaks();
        assert_status(quantize_call(g, &(QuantizeCall){ .options = rows[i].options, .no_data = rows[i].no_data }, &err), ERR_USAGE, &err);
        assert_non_null(strstr(err.text, rows[i].says));
        graph_free(g);
    }
}

static void no_classes(void **state)
{
    (void)state;
    Err err;
    Graph *g = build_new(13);
    ValueId x = build_input(g, "x", DT_FLOAT, DIMS(batch_of(g), 12));
    build_output(g, build_node(g, "MatMul", "a", x, build_weight(g, "w", 3, DIMS(12, 1)), -1));
    build_ready(g);
    assert_status(run_on(g, (const char *[]){ "max-accuracy-drop=1", NULL }, 64, NULL, &err), ERR_DATA, &err);
    assert_non_null(strstr(err.text, "no classes"));
    graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layer_that_breaks_stays_float), cmocka_unit_test(nobody_asks), cmocka_unit_test(room_goes_to_float),
        cmocka_unit_test(size_out_of_reach_is_said), cmocka_unit_test(bits_climb_until_it_holds), cmocka_unit_test(bits_within_a_size),
        cmocka_unit_test(dynamic_stays_float_where_asked), cmocka_unit_test(pairs_that_cost_take_uint8),
        cmocka_unit_test(size_is_near_the_file), cmocka_unit_test(bad_input), cmocka_unit_test(no_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
