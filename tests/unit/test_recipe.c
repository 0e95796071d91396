#include "test.h"

#include "pipeline/json_read.h"
#include "pipeline/json_write.h"
#include "pipeline/recipe.h"

static Recipe *parse(const char *text)
{
    Err err;
    Recipe *r;
    assert_ok(recipe_parse(text, strlen(text), "r.json", NULL, &r, &err), &err);
    return r;
}

static void a_whole_recipe(void **state)
{
    (void)state;
    Recipe *r = parse("{ \"data\": { \"calibration\": \"c.npz\", \"evaluation\": { \"file\": \"t.npz\" } }, \"seed\": 7,"
                      "  \"passes\": [ { \"pass\": \"fold\" }, { \"pass\": \"prune\", \"sparsity\": 0.8, \"scope\": \"global\","
                      "    \"layers\": [ { \"match\": \"head*\", \"skip\": true }, { \"match\": \"fc\", \"sparsity\": 0.25 } ] } ],"
                      "  \"goals\": { \"max-accuracy-drop\": 1.5, \"max-size\": \"30%\" } }");
    assert_int_equal(r->pass_count, 2);
    assert_string_equal(r->passes[0].pass->name, "fold");
    assert_string_equal(r->passes[1].pass->name, "prune");
    assert_int_equal(r->passes[1].rule_count, 2);
    assert_string_equal(r->passes[1].rules[0].match, "head*");
    assert_true(r->passes[1].rules[0].skip);
    assert_int_equal(r->passes[1].rules[1].count, 1);
    assert_string_equal(r->passes[1].rules[1].names[0], "sparsity");
    assert_string_equal(r->passes[1].rules[1].values[0], "0.25");
    assert_true(cJSON_IsString(r->calibration));
    assert_true(cJSON_IsObject(r->evaluation));
    assert_true(r->has_seed);
    assert_int_equal(r->seed, 7);
    assert_near(r->goals.max_accuracy_drop, 1.5, 0);
    assert_string_equal(r->goals.max_size, "30%");
    assert_true(isnan(r->goals.max_latency_ratio));
    cJSON *options = recipe_options_json(&r->passes[1]);
    assert_near(cJSON_GetNumberValue(cJSON_GetObjectItem(options, "sparsity")), 0.8, 0);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(options, "scope")), "global");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(options, "method")), "magnitude"); /* a default, in full */
    cJSON_Delete(options);
    recipe_free(r);
}

/* Every row is refused as ERR_USAGE, and the message holds each of these. */
static void bad_recipes_name_the_place(void **state)
{
    (void)state;
    static const struct {
        const char *what, *text, *parts[3];
    } rows[] = {
        { "nothing", "", { "r.json is empty" } },
        { "white space", " \n", { "r.json is empty" } },
        { "not JSON", "{ \"passes\": [\n  oops ] }", { "r.json:2:3", "not valid JSON" } },
        { "cut off", "{ \"passes\": [ ", { "r.json:1:" } },
        { "more after the end", "{ \"passes\": [] } x", { "r.json:1:18" } },
        { "an array", "[]", { "an array", "an object" } },
        { "no passes", "{ }", { "passes" } },
        { "unknown key", "{ \"passes\": [], \"gaols\": {} }", { "'gaols'", "'goals'" } },
        { "unknown data key", "{ \"passes\": [], \"data\": { \"calibraton\": \"x\" } }", { "data", "'calibraton'", "'calibration'" } },
        { "data of a wrong type", "{ \"passes\": [], \"data\": { \"calibration\": 5 } }", { "data.calibration", "a number" } },
        { "passes of a wrong type", "{ \"passes\": {} }", { "passes", "an object", "an array" } },
        { "pass of a wrong type", "{ \"passes\": [ \"fold\" ] }", { "passes[0]", "a string" } },
        { "pass without a name", "{ \"passes\": [ { } ] }", { "passes[0]", "\"pass\"" } },
        { "unknown pass", "{ \"passes\": [ { \"pass\": \"prun\" } ] }", { "passes[0]", "'prun'", "'prune'" } },
        { "unknown option", "{ \"passes\": [ { \"pass\": \"prune\", \"sparsty\": 0.5 } ] }", { "passes[0]", "'sparsty'", "'sparsity'" } },
        { "out of range", "{ \"passes\": [ { \"pass\": \"prune\", \"sparsity\": 1.5 } ] }", { "passes[0]", "sparsity", "0 to 1" } },
        { "number as text", "{ \"passes\": [ { \"pass\": \"prune\", \"sparsity\": \"0.5\" } ] }",
          { "passes[0].sparsity", "a string", "a number" } },
        { "null", "{ \"passes\": [ { \"pass\": \"prune\", \"sparsity\": null } ] }", { "passes[0].sparsity", "null" } },
        { "not a choice", "{ \"passes\": [ { \"pass\": \"prune\", \"scope\": \"world\" } ] }", { "passes[0]", "scope", "global" } },
        { "rules of a wrong type", "{ \"passes\": [ { \"pass\": \"prune\", \"layers\": {} } ] }", { "passes[0].layers" } },
        { "rule without a pattern", "{ \"passes\": [ { \"pass\": \"prune\", \"layers\": [ { \"skip\": true } ] } ] }",
          { "passes[0].layers[0]", "\"match\"" } },
        { "unknown key in a rule", "{ \"passes\": [ { \"pass\": \"prune\", \"layers\": [ { \"mach\": \"x\" } ] } ] }",
          { "passes[0].layers[0]", "'mach'", "'match'" } },
        { "option that is not per layer",
          "{ \"passes\": [ { \"pass\": \"prune\", \"layers\": [ { \"match\": \"x\", \"scope\": \"global\" } ] } ] }",
          { "passes[0].layers[0]", "scope" } },
        { "rule out of range", "{ \"passes\": [ { \"pass\": \"prune\", \"layers\": [ { \"match\": \"x\", \"sparsity\": -1 } ] } ] }",
          { "passes[0].layers[0]", "sparsity" } },
        { "unknown goal", "{ \"passes\": [], \"goals\": { \"max-sise\": 5 } }", { "goals", "'max-sise'", "'max-size'" } },
        { "goal out of range", "{ \"passes\": [], \"goals\": { \"max-accuracy-drop\": -5 } }", { "max-accuracy-drop" } },
        { "negative seed", "{ \"passes\": [], \"seed\": -1 }", { "seed" } },
        { "half a seed", "{ \"passes\": [], \"seed\": 0.5 }", { "seed" } },
        { "key twice", "{ \"passes\": [], \"passes\": [] }", { "'passes'", "twice" } },
        { "key twice, deep", "{ \"passes\": [ { \"pass\": \"prune\", \"sparsity\": 0.1, \"sparsity\": 0.2 } ] }",
          { "passes[0].sparsity", "twice" } },
        { "number too large", "{ \"passes\": [], \"seed\": 1e999 }", { "seed", "too large" } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Err err;
        Recipe *r;
        Status status = recipe_parse(rows[i].text, strlen(rows[i].text), "r.json", NULL, &r, &err);
        if (status != ERR_USAGE) fail_msg("%s: status %d, expected 2", rows[i].what, (int)status);
        assert_null(r);
        for (int k = 0; k < 3 && rows[i].parts[k] != NULL; k++) {
            if (strstr(err.text, rows[i].parts[k]) == NULL) fail_msg("%s: no %s in: %s", rows[i].what, rows[i].parts[k], err.text);
        }
    }
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    Err err;
    Recipe *r;
    size_t size = 2000000;
    char *text = malloc(size);
    memset(text, '[', size);
    assert_status(recipe_parse(text, size, "r.json", NULL, &r, &err), ERR_USAGE, &err);
    assert_non_null(strstr(err.text, "r.json:1:33"));
    free(text);
    static const char zero[] = "{ \"passes\": \0 [] }";
    assert_status(recipe_parse(zero, sizeof zero - 1, "r.json", NULL, &r, &err), ERR_USAGE, &err);
    assert_non_null(strstr(err.text, "r.json:1:13"));
}

static void hash_is_of_the_meaning(void **state)
{
    (void)state;
    static const char *const same[] = {
        "{\"passes\":[{\"pass\":\"prune\",\"sparsity\":0.5}],\"seed\":1}",
        "{ \"seed\": 1.0,\n\t\"passes\": [ { \"sparsity\": 5e-1, \"pass\": \"prune\" } ] }",
    };
    Recipe *a = parse(same[0]), *b = parse(same[1]), *c = parse("{\"passes\":[{\"pass\":\"prune\",\"sparsity\":0.6}],\"seed\":1}");
    assert_string_equal(a->hash, b->hash);
    assert_string_not_equal(a->hash, c->hash);
    recipe_free(a);
    recipe_free(b);
    recipe_free(c);
}

static void numbers_are_exact_and_short(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } rows[] = { { 0, "0" }, { -0.0, "0" }, { 1, "1" }, { -12, "-12" }, { 0.5, "0.5" }, { 0.1, "0.1" },
                 { 1e-7, "1e-07" }, { 123456789, "123456789" } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[32];
        json_number_text(rows[i].value, text);
        assert_string_equal(text, rows[i].text);
    }
    char text[32];
    json_number_text(0.003921568627450980, text);
    assert_true(strtod(text, NULL) == 0.003921568627450980);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_recipe),
        cmocka_unit_test(bad_recipes_name_the_place),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(hash_is_of_the_meaning),
        cmocka_unit_test(numbers_are_exact_and_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
