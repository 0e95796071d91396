#include "test.h"

#include <math.h>

#include "pipeline/comparison.h"
#include "pipeline/fields.h"
#include "pipeline/text.h"

static void test_units(void **state)
{
    (void)state;
    static const struct { double n; const char *text; } rows[] = {
        { 0.00123, "1.23 mJ" }, { 1.5, "1.5 J" }, { 999, "999 J" }, { 12300, "12.3 kJ" }, { 4.2e6, "4.2 MJ" }, { 3e-7, "300 nJ" },
        { 2e-13, "0.2 pJ" }, { 0, "0 J" }, { -0.02, "-20 mJ" }, { NAN, "nan J" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[32];
        text_quantity(rows[i].n, "J", text);
        assert_string_equal(text, rows[i].text);
    }
}

typedef struct Inner {
    double number;
} Inner;

typedef struct Outer {
    int64_t whole;
    Inner inner, spread;
    const char *text;
    char chars[8], texts[2][4];
    int text_count, choice;
    bool flag;
    Inner *list;
    int count;
} Outer;

static const char *choice_text(int i) { return i == 1 ? "one" : "other"; }

static const Field inner_fields[] = { F(Inner, FIELD_NUMBER, number, "a number"), FIELD_END };
static const Field spread_fields[] = {
    { .name = "beside", .type = FIELD_NUMBER, .at = offsetof(Inner, number), .help = "a number" },
    FIELD_END,
};
static const Field outer_fields[] = {
    F(Outer, FIELD_INT, whole, "a count"),
    FO(Outer, inner, inner_fields, "a struct"),
    FI(Outer, spread, spread_fields),
    F(Outer, FIELD_TEXT, text, "a name"),
    F(Outer, FIELD_CHARS, chars, "a name"),
    { .name = "texts", .type = FIELD_TEXTS, .at = offsetof(Outer, texts), .count_at = offsetof(Outer, text_count), .item_size = 4,
      .help = "names" },
    { .name = "choice", .type = FIELD_ENUM, .at = offsetof(Outer, choice), .text = choice_text, .help = "a choice" },
    F(Outer, FIELD_BOOL, flag, "yes or no"),
    FL(Outer, list, count, Inner, inner_fields, "structs"),
    FIELD_END,
};

static void assert_json(const Outer *o, const char *expected)
{
    cJSON *json = fields_json(outer_fields, o);
    char *text = cJSON_PrintUnformatted(json);
    assert_string_equal(text, expected);
    cJSON_free(text);
    cJSON_Delete(json);
}

static void test_json(void **state)
{
    (void)state;
    Inner list[] = { { 1 }, { INFINITY } };
    assert_json(&(Outer){ .whole = 7, .inner = { 0.5 }, .spread = { 2 }, .text = "a\x01\xff", .chars = "b", .texts = { "x", "y" },
                          .text_count = 2, .choice = 1, .flag = true, .list = list, .count = 2 },
                "{\"whole\":7,\"inner\":{\"number\":0.5},\"beside\":2,\"text\":\"a\\\\x01\\\\xff\",\"chars\":\"b\",\"texts\":[\"x\",\"y\"],"
                "\"choice\":\"one\",\"flag\":true,\"list\":[{\"number\":1},{\"number\":null}]}");
    assert_json(&(Outer){ .whole = -1, .inner = { NAN }, .spread = { NAN } }, /* nothing is there */
                "{\"whole\":null,\"inner\":{\"number\":null},\"beside\":null,\"text\":null,\"chars\":null,\"texts\":[],"
                "\"choice\":\"other\",\"flag\":false,\"list\":[]}");
}

/* Whether a document has the keys of its schema in their order, and values of the types named, all the way down. */
static void assert_follows(const cJSON *value, const cJSON *schema, const char *path)
{
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(schema, "type"), *one;
    const char *found = cJSON_IsNull(value) ? "null" : cJSON_IsBool(value) ? "boolean" : cJSON_IsString(value) ? "string"
        : cJSON_IsArray(value) ? "array" : cJSON_IsObject(value) ? "object" : "number";
    bool fits = cJSON_IsString(type) && strcmp(type->valuestring, found) == 0;
    bool whole = strcmp(found, "number") == 0 && value->valuedouble == floor(value->valuedouble);
    if (cJSON_IsString(type)) fits = fits || (whole && strcmp(type->valuestring, "integer") == 0);
    if (cJSON_IsArray(type))
        cJSON_ArrayForEach(one, type)
            fits = fits || strcmp(one->valuestring, found) == 0 || (whole && strcmp(one->valuestring, "integer") == 0);
    if (!fits) fail_msg("%s is %s, and the schema does not say so", path, found);
    const cJSON *properties = cJSON_GetObjectItemCaseSensitive(schema, "properties");
    const cJSON *items = cJSON_GetObjectItemCaseSensitive(schema, "items");
    if (cJSON_IsObject(value) && properties != NULL) {
        const cJSON *key = properties->child;
        for (const cJSON *v = value->child; v != NULL || key != NULL; v = v->next, key = key->next) {
            if (v == NULL || key == NULL || strcmp(v->string, key->string) != 0)
                fail_msg("%s: key '%s', and the schema has '%s'", path, v != NULL ? v->string : "none", key != NULL ? key->string : "none");
            assert_follows(v, key, v->string);
        }
    }
    if (cJSON_IsArray(value) && items != NULL)
        cJSON_ArrayForEach(one, value) assert_follows(one, items, path);
}

static void test_comparison_follows_its_schema(void **state)
{
    (void)state;
    Err err;
    Goals goals;
    Footprint footprint;
    static const FootprintTexts nothing;
    const char *const paths[] = { "examples/digits/digits.onnx", "examples/digits/digits.onnx" };
    ComparisonReport *report;
    goals_init(&goals);
    goals.max_size = "100%";
    assert_ok(footprint_parse(&nothing, &footprint, &err), &err);
    const ComparisonOptions o = { .paths = paths, .count = 2, .goals = &goals, .footprint = &footprint, .threads = 1, .no_fork = true,
                                  .measure = { .budget = 0.3, .source = { .sysroot = "/nowhere" } } };
    assert_ok(compare_files(&o, &report, &err), &err);
    assert_int_equal(report->file_count, 2);
    assert_int_equal(report->goal_count, 1);
    assert_int_equal(report->files[1].state.peak_memory, -1);
    cJSON *json = comparison_json(report), *schema = comparison_schema();
    assert_follows(json, schema, "the document");
    cJSON_Delete(json);
    cJSON_Delete(schema);
    comparison_report_free(report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_comparison_follows_its_schema),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
