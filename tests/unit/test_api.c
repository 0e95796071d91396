/* The public interface, used as a stranger would: nothing but include/pare.h for what is tested. */
#include "test.h"

#include "include/pare.h"

#define MODEL "tests/data/tiny.onnx"

static PareModel *load(void)
{
    PareModel *m;
    PareError error;
    if (pare_model_load(MODEL, 0, &m, &error) != 0) fail_msg("%s", error.text);
    return m;
}

static void infer(const PareModel *m, float out[6])
{
    float x[32];
    for (int i = 0; i < 32; i++) x[i] = (float)((i * 7) % 11) / 11.0f - 0.4f;
    PareArray input = { .name = "x", .type = 1, .rank = 4, .dims = { 2, 1, 4, 4 }, .data = x, .bytes = sizeof x };
    PareOutputs *outputs;
    PareError error;
    if (pare_model_infer(m, &input, 1, 1, &outputs, &error) != 0) fail_msg("%s", error.text);
    assert_int_equal(pare_outputs_count(outputs), 1);
    const PareArray *y = pare_outputs_get(outputs, 0);
    assert_string_equal(y->name, "y");
    assert_int_equal(y->type, 1);
    assert_int_equal(y->rank, 2);
    assert_int_equal(y->dims[0], 2);
    assert_int_equal(y->dims[1], 3);
    assert_int_equal(y->bytes, 24);
    assert_null(pare_outputs_get(outputs, 1));
    assert_null(pare_outputs_get(outputs, -1));
    memcpy(out, y->data, 24);
    pare_outputs_free(outputs);
}

static void a_recipe_runs(void **state)
{
    (void)state;
    PareModel *m = load(), *small, *again;
    PareError error;
    char *report;
    float before[6], after[6], loaded[6], source[6];
    infer(m, before);
    static const char recipe[] = "{ \"passes\": [ { \"pass\": \"prune\", \"sparsity\": 0.5,"
                                 "  \"layers\": [ { \"match\": \"conv\", \"skip\": true } ] } ] }";
    if (pare_model_run_recipe(m, recipe, NULL, 1, &small, &report, &error) != 0) fail_msg("%s", error.text);
    assert_non_null(strstr(report, "\"prune\""));
    assert_non_null(strstr(report, "conv"));
    pare_text_free(report);
    infer(m, source);
    assert_memory_equal(before, source, sizeof before); /* the network it was made from stays as it was */
    pare_model_free(m);
    infer(small, after); /* the result lives on its own */
    assert_memory_not_equal(before, after, sizeof before);
    char path[] = "/tmp/pare-api-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    if (pare_model_save(small, path, &error) != 0) fail_msg("%s", error.text);
    if (pare_model_load(path, 0, &again, &error) != 0) fail_msg("%s", error.text);
    infer(again, loaded);
    assert_memory_equal(after, loaded, sizeof after);
    unlink(path);
    pare_model_free(again);
    pare_model_free(small);
}

static void inspect_counts(void **state)
{
    (void)state;
    PareModel *m = load();
    PareError error;
    char *json;
    if (pare_model_inspect(m, &json, &error) != 0) fail_msg("%s", error.text);
    assert_non_null(strstr(json, "\"parameters\":\t235")); /* 36 + 4 + 192 + 3 */
    assert_non_null(strstr(json, "\"total\":\t768"));      /* 16 x 4 x 9 + 64 x 3 */
    pare_text_free(json);
    pare_model_free(m);
}

static void errors_carry_code_and_text(void **state)
{
    (void)state;
    PareModel *m, *result;
    PareOutputs *outputs;
    PareError error;
    assert_int_equal(pare_model_load("tests/data/no-such-file.onnx", 0, &m, &error), 7);
    assert_int_equal(error.code, 7);
    assert_non_null(strstr(error.text, "no-such-file"));
    assert_null(m);
    assert_int_equal(pare_model_load("tests/data/cycle.onnx", 0, &m, NULL), 3);
    m = load();
    assert_int_equal(pare_model_run_recipe(m, "{ \"passes\": [ { \"pass\": \"shave\" } ] }", NULL, 1, &result, NULL, &error), 2);
    assert_null(result);
    assert_non_null(strstr(error.text, "shave"));
    assert_int_equal(pare_model_run_recipe(m, "{ \"passes\": [ { \"pass\": \"quantize\" } ] }", NULL, 1, &result, NULL, &error), 2);
    assert_non_null(strstr(error.text, "calibration"));
    float x[16] = { 0 };
    PareArray input = { .name = "x", .type = 1, .rank = 4, .dims = { 1, 1, 4, 4 }, .data = x, .bytes = sizeof x - 4 };
    assert_int_equal(pare_model_infer(m, &input, 1, 1, &outputs, &error), 3);
    input.bytes = sizeof x;
    input.name = "z";
    assert_int_equal(pare_model_infer(m, &input, 1, 1, &outputs, &error), 3);
    assert_non_null(strstr(error.text, "'x'"));
    input.name = "x";
    input.type = 99;
    assert_int_equal(pare_model_infer(m, &input, 1, 1, &outputs, &error), 3);
    input.type = 1;
    input.rank = 17;
    assert_int_equal(pare_model_infer(m, &input, 1, 1, &outputs, &error), 3);
    pare_model_free(m);
    pare_model_free(NULL);
    pare_outputs_free(NULL);
    assert_string_equal(pare_code_text(5), "a goal is missed; the file is written");
    assert_string_equal(pare_version(), "0.1.0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recipe_runs),
        cmocka_unit_test(inspect_counts),
        cmocka_unit_test(errors_carry_code_and_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
